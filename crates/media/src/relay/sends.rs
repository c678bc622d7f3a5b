//! What is to be sent and kept after some datagrams were taken in: a batch in the caller's hands.
//!
//! It is carried out in this order, which is why these are three lists: [`forwards`](Sends::forwards), then
//! [`tees`](Sends::tees), then [`kept`](Sends::kept). So nothing that is recorded holds up what people hear.

use std::net::SocketAddr;
use std::ops::Range;

use model::WallTime;

use super::{EndId, Which};
use crate::srtp::PACKET_MAX;

/// Octets after which a batch is to be carried out: some 300 packets of audio, in the processor's second cache.
const FULL: usize = 128 << 10;

/// Datagrams and packets after which it is to be, however short: half of what there is room for.
const FULL_LISTS: usize = 1_024;

/// From which socket something is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum By {
    /// From this one of an end's own, so that its peer sees the address that it sends to itself.
    End(EndId, Which),
    /// From one that copies for recorders are sent from.
    Tee,
}

/// A datagram to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What the caller called the relay in [`Sends::begin`].
    pub tag: u32,
    /// From where.
    pub by: By,
    /// To whom.
    pub to: SocketAddr,
    octets: Range<usize>,
}

/// A packet for a recorder in the same process: in the clear, if we have the keys.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the caller called the relay in [`Sends::begin`].
    pub tag: u32,
    /// The end that it came to.
    pub end: EndId,
    /// RTP or RTCP, whatever port it came to.
    pub which: Which,
    /// When it arrived.
    pub at: WallTime,
    /// Where it came from.
    pub from: SocketAddr,
    octets: Range<usize>,
}

/// See the module. Used again and again it allocates nothing.
#[derive(Debug)]
pub struct Sends {
    tag: u32,
    octets: Vec<u8>,
    forwards: Vec<Outgoing>,
    tees: Vec<Outgoing>,
    kept: Vec<Kept>,
    /// Where a packet is protected before it is put behind the others.
    scratch: Vec<u8>,
}

impl Default for Sends {
    fn default() -> Self {
        Self {
            tag: 0,
            octets: Vec::with_capacity(2 * FULL),
            forwards: Vec::with_capacity(2 * FULL_LISTS),
            tees: Vec::with_capacity(2 * FULL_LISTS),
            kept: Vec::with_capacity(2 * FULL_LISTS),
            scratch: Vec::with_capacity(2 * PACKET_MAX),
        }
    }
}

impl Sends {
    /// What is taken in from now on belongs to the relay of this number.
    pub const fn begin(&mut self, tag: u32) {
        self.tag = tag;
    }

    /// Whether it is time to carry it out: what one more datagram brings fits in always.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let most = self.forwards.len().max(self.tees.len()).max(self.kept.len());
        self.octets.len() >= FULL || most >= FULL_LISTS
    }

    /// What goes to the other sides of the call: first of all.
    #[must_use]
    pub fn forwards(&self) -> &[Outgoing] {
        &self.forwards
    }

    /// Puts copies for the same host together, those of each in the order in which they came.
    pub fn sort_tees(&mut self) {
        if !self.tees.is_sorted_by_key(|tee| tee.to.ip()) {
            // What came later lies behind.
            self.tees.sort_unstable_by_key(|tee| (tee.to.ip(), tee.octets.start));
        }
    }

    /// What goes to recorders elsewhere: then.
    #[must_use]
    pub fn tees(&self) -> &[Outgoing] {
        &self.tees
    }

    /// What a recorder in this process keeps: last.
    #[must_use]
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The octets of a datagram to send.
    #[must_use]
    pub fn octets(&self, outgoing: &Outgoing) -> &[u8] {
        self.octets.get(outgoing.octets.clone()).unwrap_or_default()
    }

    /// The octets of a packet to keep.
    #[must_use]
    pub fn packet(&self, kept: &Kept) -> &[u8] {
        self.octets.get(kept.octets.clone()).unwrap_or_default()
    }

    /// It was carried out.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.forwards.clear();
        self.tees.clear();
        self.kept.clear();
    }

    /// Takes octets in; nothing is done with them yet.
    pub(super) fn put(&mut self, octets: &[u8]) -> Range<usize> {
        let from = self.octets.len();
        self.octets.extend_from_slice(octets);
        from..self.octets.len()
    }

    /// The same of two pieces.
    pub(super) fn put_both(&mut self, (first, second): (&[u8], &[u8])) -> Range<usize> {
        let from = self.put(first).start;
        from..self.put(second).end
    }

    /// Puts a copy of what was put, with this behind it.
    pub(super) fn put_again(&mut self, octets: Range<usize>, behind: &[u8]) -> Range<usize> {
        let from = self.octets.len();
        // What was put is there.
        self.octets.extend_from_within(octets.start.min(from)..octets.end.min(from));
        self.octets.extend_from_slice(behind);
        from..self.octets.len()
    }

    pub(super) fn get(&self, octets: Range<usize>) -> &[u8] {
        self.octets.get(octets).unwrap_or_default()
    }

    /// Throws away what was put last and is not used.
    pub(super) fn take_back(&mut self, octets: &Range<usize>) {
        self.octets.truncate(octets.start);
    }

    pub(super) fn forward(&mut self, by: By, to: SocketAddr, octets: Range<usize>) {
        self.forwards.push(Outgoing { tag: self.tag, by, to, octets });
    }

    pub(super) fn tee(&mut self, to: SocketAddr, octets: Range<usize>) {
        self.tees.push(Outgoing { tag: self.tag, by: By::Tee, to, octets });
    }

    pub(super) fn keep(
        &mut self,
        (end, which): (EndId, Which),
        at: WallTime,
        from: SocketAddr,
        octets: Range<usize>,
    ) {
        self.kept.push(Kept { tag: self.tag, end, which, at, from, octets });
    }

    /// Puts a copy of what was put, protected by `seal`.
    pub(super) fn sealed<E>(
        &mut self,
        octets: Range<usize>,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(self.get(octets));
        let sealed = seal(&mut scratch).map(|()| self.put(&scratch));
        self.scratch = scratch;
        sealed
    }
}
