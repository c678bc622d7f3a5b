//! What recorders answer by RTCP comes to the sockets that copies are sent from, and goes to the peer whose copies they get.
//!
//! ```text
//!   peer ◄── port of its end ◄── answers ◄── socket for a recorder's host ◄── recorder
//! ```
//!
//! Whose an answer is says the port that it comes from: a recorder has one for each stream. What comes from anywhere else is
//! nobody's.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use media::relay::EndId;

/// The slot in keys of sockets that copies are sent from: no call has it.
pub(crate) const TEES: usize = 0xffff_ffff;

/// See the module. It has as many entries as there are ends.
#[derive(Default)]
pub(crate) struct Answers {
    ends: BTreeMap<SocketAddr, (usize, EndId)>,
    recorders: BTreeMap<(usize, EndId), SocketAddr>,
}

impl Answers {
    /// What comes from there is for the peer of this end, from now on; nothing is, where there is no such address.
    pub(crate) fn of(&mut self, end: (usize, EndId), recorder: Option<SocketAddr>) {
        let before = match recorder {
            Some(recorder) => self.recorders.insert(end, recorder),
            None => self.recorders.remove(&end),
        };
        if let Some(before) = before.filter(|before| self.ends.get(before) == Some(&end)) {
            self.ends.remove(&before);
        }
        if let Some(recorder) = recorder {
            self.ends.insert(recorder, end);
        }
    }

    /// A call is over.
    pub(crate) fn forget(&mut self, slot: usize) {
        let of_slot: Vec<_> = self.recorders.keys().filter(|(of, _)| *of == slot).copied().collect();
        of_slot.into_iter().for_each(|end| self.of(end, None));
    }

    /// For whose peer it is.
    pub(crate) fn end(&self, from: SocketAddr) -> Option<(usize, EndId)> {
        self.ends.get(&from).copied()
    }
}
