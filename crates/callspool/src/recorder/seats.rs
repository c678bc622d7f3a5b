//! Whose a datagram is that came to a shared port. Pure.
//!
//! ```text
//!  (pair, where it comes from) ──► the seat that signalling says is there ──► its stream
//!                              └─► nobody's
//! ```
//!
//! Nothing else is asked: neither the source of the packet, which anybody may write, nor who is silent, nor who is left over. A
//! datagram of a call that has ended, or of a stranger, is nobody's; what is nobody's is counted and told, and recorded nowhere.
//! [Places](super::ports) see to it that no address is of two seats.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ports::{PairId, SeatId, canonical};
use super::source::Key;

/// An address, and whose it is.
#[derive(Debug, Clone, Copy)]
struct Owner {
    from: SocketAddr,
    seat: SeatId,
    /// Of the stream: which of its sockets says the key of the datagram.
    key: Key,
}

/// The seats of a media thread.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    /// By address, what each pair has.
    pairs: Vec<Option<Vec<Owner>>>,
    free: Vec<usize>,
    by_id: BTreeMap<PairId, usize>,
}

impl Seats {
    /// What comes to a pair from these addresses is this stream's from now on, and nothing else is. The key for the sockets
    /// of the pair, which are listened to until it is closed.
    pub(crate) fn sit(&mut self, (id, seat): (PairId, SeatId), from: &[SocketAddr], key: Key) -> Key {
        let index = *self.by_id.entry(id).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.pairs.push(None);
                self.pairs.len() - 1
            })
        });
        if let Some(place) = self.pairs.get_mut(index) {
            let owners = place.get_or_insert_with(Vec::new);
            owners.retain(|owner| owner.seat != seat);
            owners.extend(from.iter().map(|from| Owner { from: canonical(*from), seat, key }));
            owners.sort_unstable_by_key(|owner| owner.from);
        }
        Key::shared(index, key.which())
    }

    /// Nothing that comes is of this seat any more.
    pub(crate) fn leave(&mut self, (id, seat): (PairId, SeatId)) {
        if let Some(owners) = self.by_id.get(&id).and_then(|index| self.pairs.get_mut(*index)?.as_mut()) {
            owners.retain(|owner| owner.seat != seat);
        }
    }

    /// A pair is closed: nothing comes to it any more.
    pub(crate) fn close(&mut self, id: PairId) {
        if let Some(index) = self.by_id.remove(&id)
            && let Some(place) = self.pairs.get_mut(index)
        {
            *place = None;
            self.free.push(index);
        }
    }

    /// Whose a datagram is that came with the key of a shared pair; none: nobody's.
    #[inline]
    pub(crate) fn owner(&self, key: Key, from: SocketAddr) -> Option<Key> {
        let (index, which) = key.pair()?;
        let owners = self.pairs.get(index)?.as_ref()?;
        let from = canonical(from);
        let at = owners.binary_search_by_key(&from, |owner| owner.from).ok()?;
        owners.get(at).map(|owner| owner.key.at(which))
    }
}

#[cfg(test)]
mod tests;
