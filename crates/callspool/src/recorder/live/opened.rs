//! What opens the packets of a stream: with which keys, and for how long after signalling has ended encryption.

use std::time::Duration;

use media::srtp::{Closed, Srtp};
use model::{Mono, Protection, WallTime};

use super::stream::Which;
use super::waiting::Waiting;

/// What opens the packets of a stream, where keys are known. Most streams have none: 2 KiB each, which stand elsewhere.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) rtp: Option<Box<Srtp>>,
    /// Where RTCP has a port of its own, it has a handshake of its own too (RFC 5764 section 3).
    pub(super) rtcp: Option<Box<Srtp>>,
    /// What waits for keys that come beside signalling.
    pub(super) waiting: Waiting,
}

/// What opened the packets of a stream until its segment ended.
pub(crate) struct Rested {
    protection: Protection,
    opened: Opened,
}

#[cfg(test)]
impl Rested {
    /// Of a stream that was protected so; none without keys.
    pub(crate) fn of(protection: &Protection) -> Option<Self> {
        let opened = Opened::by(protection);
        (!opened.is_empty()).then(|| Self { protection: protection.clone(), opened })
    }
}

impl Opened {
    pub(super) const fn is_empty(&self) -> bool {
        self.rtp.is_none() && self.rtcp.is_none()
    }

    pub(super) fn by(protection: &Protection) -> Self {
        let rtp = match protection {
            Protection::Srtp { inbound, outbound } => Srtp::new(inbound, outbound),
            // Nothing is protected by the second: nothing of ours is sent.
            Protection::Given(keys) => Srtp::new(keys, keys),
            Protection::None | Protection::Dtls(_) | Protection::Awaited => None,
        };
        Self { rtp: rtp.map(Box::new), rtcp: None, waiting: Waiting::default() }
    }

    /// What the next segment goes on with; none without keys.
    pub(super) fn rest(&mut self, protection: &Protection) -> Option<Rested> {
        let opened = std::mem::take(self);
        (!opened.is_empty()).then(|| Rested { protection: protection.clone(), opened })
    }

    /// The segment before had this; now it is protected so.
    pub(super) fn go_on_with(&mut self, rested: Rested, now: &Protection) {
        let Rested { protection: before, mut opened } = rested;
        match (&before, now) {
            // Under other terms it is another association.
            (Protection::Dtls(_), now) if before == *now && self.is_empty() => *self = opened,
            (Protection::Srtp { .. }, Protection::Srtp { inbound, outbound }) => {
                opened.rtp.iter_mut().for_each(|srtp| srtp.update(inbound, outbound));
                *self = opened;
            }
            (Protection::Given(_), Protection::Given(keys)) => {
                opened.rtp.iter_mut().for_each(|srtp| srtp.update(keys, keys));
                *self = opened;
            }
            _ => {}
        }
    }

    /// What opens what comes to this port. Keys of signalling are for both.
    pub(super) fn of(&mut self, which: Which, protection: &Protection) -> Option<&mut Srtp> {
        match (which, protection) {
            (Which::Rtcp, Protection::Dtls(_)) => self.rtcp.as_deref_mut(),
            _ => self.rtp.as_deref_mut(),
        }
    }
}

/// How long it is tried after a packet that was encrypted, or the first that was not.
const ENDING: Duration = Duration::from_secs(2);
/// How long in all: twice the time that a transaction takes (RFC 3261 section 17.1.1.2).
const ENDING_MAX: Duration = Duration::from_secs(64);

/// What opens packets that still come encrypted although signalling has ended that: our answer may be on its way for as
/// long as a transaction takes.
pub(super) struct Ending {
    srtp: Box<Srtp>,
    until: Mono,
    /// Not beyond that.
    end: Mono,
}

impl Ending {
    pub(super) fn new(srtp: Box<Srtp>, now: Mono) -> Self {
        Self { srtp, until: now + ENDING_MAX, end: now + ENDING_MAX }
    }

    pub(super) fn is_over(&self, now: Mono) -> bool {
        now >= self.until
    }

    pub(super) fn open(&mut self, now: Mono, at: WallTime, packet: &[u8]) -> Result<&[u8], Closed> {
        let opened = self.srtp.open_rtp(at, packet);
        match opened {
            Ok(_) => self.until = self.until.max(now + ENDING).min(self.end),
            Err(Closed::Unauthentic) => self.until = self.until.min(now + ENDING),
            Err(_) => {}
        }
        opened
    }
}

/// Whether its keys come beside signalling: later than packets by them, most of the time.
pub(super) const fn is_given(protection: &Protection) -> bool {
    matches!(protection, Protection::Awaited | Protection::Given(_))
}
