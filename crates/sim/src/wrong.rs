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
    /// A record server does not note how a call came out, and takes each to be somebody's who will say so.
    ForgetsConclusions,
    /// A record server writes to its disk and never syncs it.
    NeverSyncs,
    /// A proxy takes no call that it is offered.
    TakesNoOffer,
    /// A proxy goes on with calls that are another's.
    ForgetsNothing,
    /// A proxy tells nobody that its calls are over.
    ReleasesNothing,
    /// A record server notes a pause, and keeps what is said all the same.
    KeepsPauses,
}

impl Wrong {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::GivesUpEarly,
        Self::ForgetsTakeOver,
        Self::KeepsTwice,
        Self::LosesPackets,
        Self::NotesAnyState,
        Self::NeverEnds,
        Self::ForgetsConclusions,
        Self::NeverSyncs,
        Self::TakesNoOffer,
        Self::ForgetsNothing,
        Self::ReleasesNothing,
        Self::KeepsPauses,
    ];
}
