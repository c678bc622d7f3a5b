//! The timer table: one slot per deadline, the earliest first. It reads no clock.

use std::collections::{BTreeMap, BTreeSet};

use model::Mono;
use sipx_sip::Timer;

use crate::event::SessionId;

/// The number of a transaction. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TxId(pub(crate) u64);

/// What a session waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum SessionTimer {
    /// To send our 2xx again (RFC 3261 section 13.3.1.4).
    Retransmit,
    /// The ACK of our 2xx, or our user's answer for the ACK we owe.
    Ack,
    /// An answer to the request: from our user, or from the peer that rings.
    Answer,
    /// To send a reliable provisional response again (RFC 3262).
    Provisional,
    /// To say again that it rings, so that proxies wait on (section 13.3.1.1).
    Ring,
    /// To refresh the session (RFC 4028).
    Refresh,
    /// The session's end, should nobody refresh it.
    Expire,
    /// To try again after 491 (RFC 3261 section 14.1).
    Glare,
}

impl SessionTimer {
    pub(crate) const ALL: [Self; 8] = [
        Self::Retransmit,
        Self::Ack,
        Self::Answer,
        Self::Provisional,
        Self::Ring,
        Self::Refresh,
        Self::Expire,
        Self::Glare,
    ];
}

/// Who waits for what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Deadline {
    /// A timer of a transaction, by its place in [`Timer::ALL`], or [`GIVE_UP`].
    Transaction(TxId, u8),
    /// A timer of a session.
    Session(SessionId, SessionTimer),
}

/// The place of the one timer of a transaction that the RFC does not have.
pub(crate) const GIVE_UP: u8 = u8::MAX;

impl Deadline {
    pub(crate) fn transaction(tx: TxId, timer: Timer) -> Self {
        let place = Timer::ALL.iter().position(|t| *t == timer).and_then(|p| u8::try_from(p).ok());
        Self::Transaction(tx, place.unwrap_or(0))
    }
}

/// Every deadline there is.
#[derive(Default)]
pub(crate) struct TimerTable {
    order: BTreeSet<(Mono, Deadline)>,
    slots: BTreeMap<Deadline, Mono>,
}

impl TimerTable {
    /// Sets the slot, whatever was in it.
    pub(crate) fn set(&mut self, deadline: Deadline, at: Mono) {
        if let Some(before) = self.slots.insert(deadline, at) {
            self.order.remove(&(before, deadline));
        }
        self.order.insert((at, deadline));
    }

    pub(crate) fn clear(&mut self, deadline: Deadline) {
        if let Some(at) = self.slots.remove(&deadline) {
            self.order.remove(&(at, deadline));
        }
    }

    pub(crate) fn clear_session(&mut self, session: SessionId) {
        for timer in SessionTimer::ALL {
            self.clear(Deadline::Session(session, timer));
        }
    }

    pub(crate) fn clear_transaction(&mut self, tx: TxId) {
        for timer in Timer::ALL {
            self.clear(Deadline::transaction(tx, timer));
        }
        self.clear(Deadline::Transaction(tx, GIVE_UP));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that has come.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<Deadline> {
        let (at, deadline) = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.order.remove(&(at, deadline));
        self.slots.remove(&deadline);
        Some(deadline)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_one_deadline_and_the_earliest_comes_first() {
        let mut table = TimerTable::default();
        let ring = Deadline::Session(SessionId(1), SessionTimer::Ring);
        let answer = Deadline::Session(SessionId(1), SessionTimer::Answer);
        table.set(ring, Mono(10));
        table.set(answer, Mono(20));
        table.set(ring, Mono(30));
        assert_eq!((table.next(), table.len()), (Some(Mono(20)), 2));
        assert_eq!(table.pop(Mono(19)), None);
        assert_eq!(table.pop(Mono(40)), Some(answer));
        table.clear_session(SessionId(1));
        assert_eq!((table.pop(Mono(40)), table.len()), (None, 0));
    }
}
