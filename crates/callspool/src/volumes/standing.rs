//! How a volume stands, in a word and a sentence.

use std::sync::atomic::Ordering;

use super::{Presence, Volume};

/// How it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Segments are begun on it.
    Ready,
    /// It is only read, as configured.
    OnlyRead,
    /// It has less room than must stay free.
    Full,
    /// Its file system takes nothing.
    ReadOnly,
    /// An operation failed on it, and none has worked since.
    Failing,
    /// An operation does not come to its end.
    Stalled,
    /// It is not in its place.
    Away,
    /// Nobody has looked yet.
    Unknown,
}

impl Standing {
    /// The word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::OnlyRead => "only read",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Failing => "failing",
            Self::Stalled => "stalled",
            Self::Away => "away",
            Self::Unknown => "unknown",
        }
    }
}

impl Volume {
    /// How it stands; the gravest counts.
    pub(crate) fn standing(&self) -> Standing {
        let is = |flag: &std::sync::atomic::AtomicBool| flag.load(Ordering::Relaxed);
        match self.presence() {
            _ if is(&self.stalled) => Standing::Stalled,
            Presence::Away(_) => Standing::Away,
            Presence::Unknown => Standing::Unknown,
            Presence::Here if is(&self.read_only) => Standing::ReadOnly,
            Presence::Here if is(&self.full) => Standing::Full,
            Presence::Here if is(&self.suspect) => Standing::Failing,
            Presence::Here if self.weight == 0 => Standing::OnlyRead,
            Presence::Here => Standing::Ready,
        }
    }
}
