//! Known wrongs that can be planted, so that it is seen whether what is looked after finds them.

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wrong {
    /// A node removes a copy as soon as another asks what it has.
    GivesUpEarly,
    /// A proxy does not hear that a segment fails, so nobody takes over.
    ForgetsTakeOver,
    /// A record server keeps a packet in another segment too.
    KeepsTwice,
    /// A record server loses each seventh packet and does not say so.
    LosesPackets,
    /// A record server notes a state that the table does not allow.
    NotesAnyState,
    /// A record server does not end what it is told to end.
    NeverEnds,
    /// A record server does not note how a call came out.
    ForgetsConclusions,
    /// A record server writes to its disk and never syncs it.
    NeverSyncs,
}

impl Wrong {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::GivesUpEarly,
        Self::ForgetsTakeOver,
        Self::KeepsTwice,
        Self::LosesPackets,
        Self::NotesAnyState,
        Self::NeverEnds,
        Self::ForgetsConclusions,
        Self::NeverSyncs,
    ];
}
