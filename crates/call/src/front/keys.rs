//! Keys that come beside signalling: somebody gives them by the interface, for a stream that awaits them.
//!
//! ```text
//!  INVITE without keys ──► the line awaits them ──► given: the segment that records is told
//!                                              └──► given on hold, or while one opens: the next one has them
//! ```
//!
//! They stay with the line, through holds and segments that take over, until others are given.

use model::{Now, Order, Protection, SegmentId, StreamId};

use super::{Action, Front};
use crate::command::{Changed, CommandError, Done, GivenKeys};
use crate::lines::Given;
use crate::live_call::Standing;
use crate::trunk::KeysBy;

impl Front {
    /// Takes keys of a stream. See [`Done::awaits`].
    ///
    /// # Errors
    /// When the tenant has no such call here, when it is over or has no such stream, and when keys of this stream come
    /// by signalling.
    pub fn give_keys(&mut self, now: Now, given: GivenKeys) -> Result<Done, CommandError> {
        let GivenKeys { call, tenant, stream, keys } = given;
        self.is_in_progress(call, &tenant)?;
        let call = self.calls.resolve(call);
        self.touch(call);
        let has_it = |leg: &crate::leg::Leg| leg.lines.iter().any(|line| line.has_stream(stream));
        let legs = self.legs_of(call);
        let session = legs.into_iter().find(|session| self.legs.get(session).is_some_and(has_it));
        let leg = session.and_then(|s| self.legs.get_mut(&s)).ok_or(CommandError::NoSuchStream)?;
        if leg.trunk.keys == KeysBy::Signalling {
            let why = "its trunk brings keys by signalling: `keys` of the trunk says otherwise";
            return Err(CommandError::NotAllowed(why));
        }
        let segment = leg.segment();
        let line = leg.lines.iter_mut().find(|line| line.has_stream(stream));
        let line = line.ok_or(CommandError::NoSuchStream)?;
        let protection = Protection::Given(keys.clone());
        let changed = match line.give(keys) {
            Given::New => Changed::Yes,
            Given::Known => Changed::No,
            Given::Refused => {
                let why = "the stream is in the clear, or signalling brought its keys";
                return Err(CommandError::NotAllowed(why));
            }
        };
        let awaits = segment.and_then(|segment| self.order_keys(segment, stream, protection));
        Ok(Done { awaits: awaits.into_iter().collect(), ..self.done(now, call, changed) })
    }

    /// Tells the record server, also what it was told before: nobody knows whether that came through. The number of
    /// the order.
    fn order_keys(&mut self, segment: SegmentId, stream: StreamId, protection: Protection) -> Option<u64> {
        let call = self.calls.of_segment(segment).and_then(|call| self.calls.get_mut(call))?;
        match &mut call.segment_mut(segment)?.standing {
            // It is told all when it is open.
            Standing::Opening { is_outdated, .. } => {
                *is_outdated = true;
                None
            }
            Standing::Open => {
                self.gate_orders += 1;
                let order = self.gate_orders;
                self.actions.push_back(Action::Order(Order::Keys { segment, order, stream, protection }));
                Some(order)
            }
            Standing::Parting(_) | Standing::Ending => None,
        }
    }
}
