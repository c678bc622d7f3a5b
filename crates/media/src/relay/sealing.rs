//! Keys of ours, and where each has come to.
//!
//! A key that began anew would use indices again, so what counts them outlives the end or the recorder that it was for: it
//! is put away, and taken out when the same key is wanted again. Two at a time never have the same.

use std::ops::Range;

use model::{Keys, WallTime};

use super::sends::Sends;
use super::{Refused, Which};
use crate::srtp::Outbound;

/// Keys that a call has had. A call has two or four, and others after each new handshake; who has had so many gets no more.
const RETIRED_MAX: usize = 64;

/// A key of ours, and what counts its indices.
pub(super) struct Sealing {
    pub(super) keys: Keys,
    outbound: Box<Outbound>,
}

impl Sealing {
    /// Puts what is there again, protected. None when it must not be sent.
    #[inline]
    pub(super) fn seal(
        &mut self,
        now: WallTime,
        sender: u8,
        which: Which,
        octets: Range<usize>,
        out: &mut Sends,
    ) -> Option<Range<usize>> {
        let outbound = &mut self.outbound;
        match which {
            Which::Rtp => out.sealed(octets, |packet| outbound.seal_once(sender, packet).map(|_| ())).ok(),
            Which::Rtcp => {
                out.sealed(octets, |packet| outbound.seal_rtcp(now, packet).then_some(()).ok_or(())).ok()
            }
        }
    }
}

/// Keys that nobody has now.
#[derive(Default)]
pub(super) struct Retired(Vec<Sealing>);

impl Retired {
    /// The key, where it was or new.
    pub(super) fn take(&mut self, keys: &Keys) -> Result<Sealing, Refused> {
        if let Some(place) = self.0.iter().position(|s| s.keys == *keys) {
            return Ok(self.0.swap_remove(place));
        }
        if self.0.len() >= RETIRED_MAX {
            return Err(Refused::Keys);
        }
        let outbound = Box::new(Outbound::new(keys).ok_or(Refused::Key)?);
        Ok(Sealing { keys: keys.clone(), outbound })
    }

    pub(super) fn put(&mut self, sealing: Option<Sealing>) {
        self.0.extend(sealing);
    }
}
