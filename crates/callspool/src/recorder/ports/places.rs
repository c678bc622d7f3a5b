//! Which shared pair of ports has which seats. Pure: it knows neither sockets nor a clock.
//!
//! A seat has the addresses that its sender's media come from, by what signalling says now. On one pair no address is of two
//! seats, nor of one after the other; so whose a datagram is follows from where it comes from, however late, or it is nobody's.
//! What a sender has moved away from is like what an ended seat had: kept from all others, and nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use model::peer::Family;
use model::{Mono, TenantId};

/// Streams that may share a pair. With 64 a call of two takes 0.06 descriptors for its ports instead of 4: more would save next
/// to nothing. And they share a buffer of the kernel: who floods their port takes it from all of them.
pub(crate) const STREAMS_PER_PORT_MAX: usize = 64;
/// How long a pair stays open that nobody sits on any more: what is still sent there reaches nobody who has its port next. Twice
/// the time that a transaction takes (RFC 3261 section 17.1.1.2), after which a client knows that its call is over.
const REST: Duration = Duration::from_secs(64);
/// Addresses of a seat: those that four offers may name, each with one of its own for RTCP.
const ADDRESSES_PER_SEAT: usize = 8;
/// Addresses that a pair has ever had, 64 KiB: those of 512 calls, most of the time. Then it takes nobody any more, and is closed
/// when the last has left.
const ADDRESSES_MAX: usize = 1_024;

/// Pairs that rest at a time. While there are as many, who finds no seat has ports of its own: pairs that nobody uses hold ports
/// and descriptors that calls need, however quickly senders use one address after the other.
const RESTING_MAX: usize = 16;

/// Names a pair, and never another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairId(u64);

/// Names a seat, and never another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeatId(u64);

/// Who may be on a pair together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) tenant: TenantId,
    pub(crate) family: Family,
    /// It is one port, for RTP and RTCP.
    pub(crate) rtcp_mux: bool,
}

/// Who looks for a seat.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    /// On none of these, as the other streams of its segment are there: two lines of one description do not have one address
    /// (RFC 8866 section 5.14).
    pub(crate) beside: Vec<PairId>,
    /// Where its sender's RTP and RTCP come from.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// An address that a seat has or had.
#[derive(Debug, Clone, Copy)]
struct Claim {
    seat: SeatId,
    /// Its sender is there, as signalling says now.
    is_current: bool,
}

#[derive(Debug)]
struct Pair<P> {
    kind: Kind,
    held: P,
    seats: BTreeSet<SeatId>,
    /// Whose each address is, or was: it is nobody else's as long as the pair is open.
    addresses: BTreeMap<SocketAddr, Claim>,
    /// When the last seat was left.
    empty: Option<Mono>,
}

impl<P> Pair<P> {
    /// Whether these may become the seat's, or a new one's.
    fn has_room(&self, addresses: &[SocketAddr], seat: Option<SeatId>) -> bool {
        let of = |address: &SocketAddr| self.addresses.get(address).map(|claim| claim.seat);
        let new = addresses.iter().filter(|address| of(address).is_none()).count();
        (new == 0 || self.addresses.len() + new <= ADDRESSES_MAX)
            && addresses.iter().all(|address| of(address).is_none_or(|owner| seat == Some(owner)))
    }

    /// They are kept for the seat, whose sender is not there yet.
    fn keep(&mut self, addresses: &[SocketAddr], seat: SeatId) {
        for address in addresses {
            self.addresses.entry(*address).or_insert(Claim { seat, is_current: false });
        }
    }

    /// The sender of the seat is there now, and nowhere else; where that is not the seat's, nothing is.
    fn turn(&mut self, to: &[SocketAddr], seat: SeatId) {
        for (address, claim) in self.addresses.iter_mut().filter(|(_, claim)| claim.seat == seat) {
            claim.is_current = to.contains(address);
        }
    }

    /// Whether this one may sit there.
    fn suits(&self, wanted: &Wanted, seats_max: usize) -> bool {
        self.seats.len() < seats_max && self.kind == wanted.kind && self.has_room(&wanted.addresses, None)
    }
}

/// See the module. `P` is what a pair holds.
#[derive(Debug)]
pub(crate) struct Places<P> {
    seats_max: usize,
    /// Pairs and seats that there ever were.
    count: u64,
    pairs: BTreeMap<PairId, Pair<P>>,
}

impl<P> Places<P> {
    pub(crate) const fn new(seats_max: usize) -> Self {
        Self { seats_max, count: 0, pairs: BTreeMap::new() }
    }

    const fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A seat on the pair that is there for longest of those that have room for it, and what that pair holds.
    pub(crate) fn sit(&mut self, wanted: &Wanted) -> Option<(PairId, SeatId, &P)> {
        let seat = SeatId(self.number());
        let most = self.seats_max;
        let suits = |id: &PairId, pair: &Pair<P>| !wanted.beside.contains(id) && pair.suits(wanted, most);
        let (id, pair) = self.pairs.iter_mut().find(|(id, pair)| suits(id, pair))?;
        pair.seats.insert(seat);
        pair.keep(&wanted.addresses, seat);
        pair.turn(&wanted.addresses, seat);
        pair.empty = None;
        Some((*id, seat, &pair.held))
    }

    /// Whether there may be another pair.
    pub(crate) fn may_open(&self) -> bool {
        self.pairs.values().filter(|pair| pair.empty.is_some()).count() < RESTING_MAX
    }

    /// The first seat on a new pair.
    pub(crate) fn open(&mut self, wanted: &Wanted, held: P) -> (PairId, SeatId) {
        let (id, seat) = (PairId(self.number()), SeatId(self.number()));
        let (kind, seats) = (wanted.kind.clone(), [seat].into());
        let mut pair = Pair { kind, held, seats, addresses: BTreeMap::new(), empty: None };
        pair.keep(&wanted.addresses, seat);
        pair.turn(&wanted.addresses, seat);
        self.pairs.insert(id, pair);
        (id, seat)
    }

    /// Keeps addresses for a seat whose sender is about to [turn](Self::turn) to them; false where somebody else is, or was.
    pub(crate) fn keep(&mut self, (pair, seat): (PairId, SeatId), to: &[SocketAddr]) -> bool {
        let Some(pair) = self.pairs.get_mut(&pair) else { return false };
        let had = pair.addresses.iter().filter(|(_, claim)| claim.seat == seat);
        let had: Vec<SocketAddr> = had.map(|(address, _)| *address).collect();
        let more = to.iter().filter(|address| !had.contains(address)).count();
        let may = (more == 0 || had.len() + more <= ADDRESSES_PER_SEAT)
            && pair.seats.contains(&seat)
            && pair.has_room(to, Some(seat));
        if may {
            pair.keep(to, seat);
        }
        may
    }

    /// The sender of a seat is there from now on, as far as that is kept for it, and nowhere else.
    pub(crate) fn turn(&mut self, (pair, seat): (PairId, SeatId), to: &[SocketAddr]) {
        if let Some(pair) = self.pairs.get_mut(&pair) {
            pair.turn(to, seat);
        }
    }

    /// Where the sender of a seat is now.
    pub(crate) fn addresses(&self, (pair, seat): (PairId, SeatId)) -> impl Iterator<Item = SocketAddr> {
        let all = self.pairs.get(&pair).into_iter().flat_map(|pair| &pair.addresses);
        all.filter(move |(_, claim)| claim.seat == seat && claim.is_current).map(|(address, _)| *address)
    }

    /// A seat is left.
    pub(crate) fn leave(&mut self, now: Mono, (id, seat): (PairId, SeatId)) {
        if let Some(pair) = self.pairs.get_mut(&id)
            && pair.seats.remove(&seat)
            && pair.seats.is_empty()
        {
            pair.empty = Some(now);
        }
    }

    /// Those pairs that nobody sits on any more and that have rested, and what they held.
    pub(crate) fn close(&mut self, now: Mono) -> Vec<(PairId, P)> {
        let has_rested = |pair: &Pair<P>| pair.empty.is_some_and(|since| now.since(since) >= REST);
        self.pairs.extract_if(.., |_, pair| has_rested(pair)).map(|(id, pair)| (id, pair.held)).collect()
    }
}

#[cfg(test)]
mod tests;
