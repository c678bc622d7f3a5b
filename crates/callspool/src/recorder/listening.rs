//! Those who listen to calls in progress, and how frames get to them.
//!
//! ```text
//!  media thread: receiver ─► (pause) ─► segment buffer
//!                                  └─► Taps ──► one bounded channel each ──► Ear ──► decoded, mixed, sent
//! ```
//!
//! A media thread never waits for a listener: what does not fit into a channel is missed by that listener alone, and
//! counted. Nobody is woken, either: listeners look each few milliseconds. Where nobody listens, a packet costs a
//! look at an empty list.
//!
//! Whoever listens, listens to a call, whatever segments it has: a media thread looks here when it takes a segment,
//! and when a listener came or went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crossbeam_channel::{Receiver, Sender, bounded};
use media::listen::{Foreign, InProcess};
use media::{Frame, FrameKind};
use model::join::CALLS_MAX;
use model::{CallId, Mono, SegmentId, Side, StreamId};

/// Listeners on a node. Each decodes what it hears, some hundredths of a core.
pub(crate) const LISTENERS_MAX: usize = 32;
/// Listeners of one call: its frames are copied for each in the media thread.
pub(crate) const LISTENERS_PER_CALL_MAX: usize = 8;
/// Frames that may wait for one listener: 2 s of a conference of five. Who takes nothing for longer misses some.
const FRAMES_MAX: usize = 512;
/// Joins that are remembered: many times what can be live. Of the oldest nothing is live any more.
const JOINED_MAX: usize = 4_096;
/// Octets of a payload that is copied: many times what speech takes.
const PAYLOAD_MAX: usize = 4_096;

/// How a payload becomes sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Here(InProcess),
    There(Foreign),
}

/// A frame that is kept, on its way to a listener.
#[derive(Debug)]
pub(crate) struct Overheard {
    pub(crate) at: Mono,
    pub(crate) segment: SegmentId,
    pub(crate) stream: StreamId,
    pub(crate) side: Side,
    pub(crate) coding: Coding,
    pub(crate) position_us: i64,
    pub(crate) payload: Box<[u8]>,
}

/// The way to one listener.
#[derive(Clone)]
struct Tap {
    number: u64,
    to: Sender<Arc<Overheard>>,
    missed: Arc<AtomicU64>,
}

/// The ways to the listeners of one call, as a segment has them.
#[derive(Clone, Default)]
pub(crate) struct Taps(Arc<[Tap]>);

impl Taps {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes a frame on. What comes late has its place behind it, and is for the recording alone.
    pub(crate) fn overhear(&self, now: Mono, segment: SegmentId, side: Side, frame: &Frame<'_>) {
        if frame.kind != FrameKind::Media || frame.late || frame.payload.len() > PAYLOAD_MAX {
            return;
        }
        let Some(codec) = frame.codec else { return };
        let here = InProcess::of(codec).map(Coding::Here);
        let Some(coding) = here.or_else(|| Foreign::of(codec).map(Coding::There)) else { return };
        let overheard = Arc::new(Overheard {
            at: now,
            segment,
            stream: frame.stream,
            side,
            coding,
            position_us: frame.position_us,
            payload: frame.payload.into(),
        });
        for tap in self.0.iter() {
            if tap.to.try_send(Arc::clone(&overheard)).is_err() {
                tap.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// No more listeners are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// On this node.
    Node,
    /// To this call.
    Call,
}

/// Who listens to what. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Listening(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Grows when a listener comes or goes.
    changes: AtomicU64,
    /// How many listen: `State::count`, for who may not wait.
    count: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    count: usize,
    calls: BTreeMap<CallId, Listened>,
    /// Calls that turned out to be others; segments of theirs may go on.
    joined: BTreeMap<CallId, CallId>,
}

impl State {
    /// The call that this one turned out to be.
    fn surviving(&self, call: CallId) -> CallId {
        let next = |call: &CallId| self.joined.get(call).copied();
        std::iter::successors(Some(call), next).take(CALLS_MAX).last().unwrap_or(call)
    }

    /// All who listen to a call, whichever of those that are one they asked for.
    fn listened(&self, call: CallId) -> impl Iterator<Item = &Listened> {
        let survivor = self.surviving(call);
        let is_it = move |(c, _): &(&CallId, &Listened)| self.surviving(**c) == survivor;
        self.calls.iter().filter(is_it).map(|(_, listened)| listened)
    }
}

/// A call that somebody listens to.
#[derive(Default)]
struct Listened {
    taps: Taps,
    over: Arc<AtomicBool>,
}

impl Listening {
    /// Lets somebody listen to a call from now on.
    pub(crate) fn begin(&self, call: CallId) -> Result<Ear, Crowded> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.count >= LISTENERS_MAX {
            return Err(Crowded::Node);
        }
        if state.calls.get(&call).is_some_and(|l| l.taps.0.len() >= LISTENERS_PER_CALL_MAX) {
            return Err(Crowded::Call);
        }
        state.count += 1;
        self.0.count.store(state.count, Ordering::Release);
        state.last += 1;
        let (to, from) = bounded(FRAMES_MAX);
        let (number, missed) = (state.last, Arc::new(AtomicU64::new(0)));
        let listened = state.calls.entry(call).or_default();
        let tap = Tap { number, to, missed: Arc::clone(&missed) };
        listened.taps = Taps(listened.taps.0.iter().cloned().chain([tap]).collect());
        let over = Arc::clone(&listened.over);
        self.0.changes.fetch_add(1, Ordering::Release);
        Ok(Ear { call, number, from, missed, over, listening: self.clone() })
    }

    /// Whether nobody listens to any call. It waits for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    /// The calls that somebody listens to.
    pub(crate) fn calls(&self) -> Vec<CallId> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let calls: BTreeSet<CallId> = state.calls.keys().map(|call| state.surviving(*call)).collect();
        calls.into_iter().collect()
    }

    /// A call turned out to be another: who listens to either hears both.
    pub(crate) fn join(&self, from: CallId, into: CallId) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if into < from {
            state.joined.insert(from, into);
        }
        if state.joined.len() > JOINED_MAX {
            state.joined.pop_first();
        }
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    /// The call is over: whoever listens to it is told.
    pub(crate) fn end(&self, call: CallId) {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.listened(call).for_each(|listened| listened.over.store(true, Ordering::Release));
    }

    fn leave(&self, call: CallId, number: u64) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listened) = state.calls.get_mut(&call) else { return };
        let left: Arc<[Tap]> = listened.taps.0.iter().filter(|t| t.number != number).cloned().collect();
        let is_last = left.is_empty();
        listened.taps = Taps(left);
        if is_last {
            state.calls.remove(&call);
        }
        state.count = state.count.saturating_sub(1);
        self.0.count.store(state.count, Ordering::Release);
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    /// What changes when somebody comes or goes.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Tells for any calls who listens to them; none when that cannot be told without waiting.
    pub(crate) fn look(&self) -> Option<impl Fn(CallId) -> Taps + use<'_>> {
        let state = match self.0.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(move |call| {
            let mut listened = state.listened(call);
            match (listened.next(), listened.next()) {
                (None, _) => Taps::default(),
                (Some(only), None) => only.taps.clone(),
                (Some(_), Some(_)) => {
                    Taps(state.listened(call).flat_map(|l| l.taps.0.iter().cloned()).collect())
                }
            }
        })
    }
}

/// One listener's end. Who drops it listens no more.
pub(crate) struct Ear {
    call: CallId,
    number: u64,
    from: Receiver<Arc<Overheard>>,
    missed: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    listening: Listening,
}

impl Ear {
    /// The next frame that has come, if one has.
    pub(crate) fn next(&self) -> Option<Arc<Overheard>> {
        self.from.try_recv().ok()
    }

    /// Whether the call is over. What was said before may still be here.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Frames that came while there was no room for them.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Which listener it is, since the start of the process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.listening.leave(self.call, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Codec, WallTime};

    fn call(n: u64) -> CallId {
        CallId::from_u64(n)
    }

    fn say(taps: &Taps, kind: FrameKind, late: bool) {
        let codec = Arc::new(Codec::new("PCMU", 8_000, 1));
        let frame = Frame {
            stream: StreamId::from_u64(1),
            position_us: 0,
            duration_us: Some(20_000),
            payload_type: 0,
            codec: Some(&codec),
            kind,
            payload: &[0xff; 160],
            packet: &[0xff; 172],
            source: ([127, 0, 0, 1], 4_000).into(),
            destination_port: 0,
            arrival: WallTime(0),
            late,
        };
        taps.overhear(Mono::ZERO, SegmentId::from_u64(1), Side::Agent, &frame);
    }

    #[test]
    fn each_hears_its_call_until_it_leaves() {
        let listening = Listening::default();
        let (one, two, other) = (
            listening.begin(call(1)).unwrap(),
            listening.begin(call(1)).unwrap(),
            listening.begin(call(2)).unwrap(),
        );
        let before = listening.changes();
        say(&listening.look().unwrap()(call(1)), FrameKind::Media, false);
        assert!(!listening.is_empty());
        assert!(one.next().is_some() && two.next().is_some() && other.next().is_none());
        drop(two);
        assert!(listening.changes() > before);
        let taps = listening.look().unwrap()(call(1));
        say(&taps, FrameKind::Media, true);
        say(&taps, FrameKind::TelephoneEvent, false);
        assert!(one.next().is_none(), "late frames and events are not heard");
        listening.end(call(1));
        assert!(one.is_over() && !other.is_over());
        drop(one);
        assert!(listening.look().unwrap()(call(1)).is_empty());
        assert_eq!(listening.calls(), [call(2)]);
        drop(other);
        assert!(listening.is_empty());
    }

    #[test]
    fn of_calls_that_are_one_everybody_hears_all_until_the_one_is_over() {
        let listening = Listening::default();
        let (one, other) = (listening.begin(call(1)).unwrap(), listening.begin(call(2)).unwrap());
        let before = listening.changes();
        listening.join(call(3), call(2));
        listening.join(call(2), call(1));
        assert!(listening.changes() > before);
        for segment_of in [1, 2, 3] {
            say(&listening.look().unwrap()(call(segment_of)), FrameKind::Media, false);
            assert!(one.next().is_some() && other.next().is_some(), "{segment_of}");
        }
        assert_eq!(listening.calls(), [call(1)]);
        listening.end(call(1));
        assert!(one.is_over() && other.is_over());
        drop(other);
        say(&listening.look().unwrap()(call(3)), FrameKind::Media, false);
        assert!(one.next().is_some());
    }

    #[test]
    fn who_takes_nothing_misses_what_comes_and_costs_nothing_more() {
        let listening = Listening::default();
        let ear = listening.begin(call(1)).unwrap();
        let taps = listening.look().unwrap()(call(1));
        (0..FRAMES_MAX + 7).for_each(|_| say(&taps, FrameKind::Media, false));
        assert_eq!(ear.missed(), 7);
        assert_eq!(std::iter::from_fn(|| ear.next()).count(), FRAMES_MAX);
    }

    #[test]
    fn so_many_may_listen_and_no_more() {
        let listening = Listening::default();
        let mut ears: Vec<_> =
            (0..LISTENERS_PER_CALL_MAX).map(|_| listening.begin(call(1)).unwrap()).collect();
        assert_eq!(listening.begin(call(1)).err(), Some(Crowded::Call));
        for n in LISTENERS_PER_CALL_MAX..LISTENERS_MAX {
            ears.push(listening.begin(call(2 + n as u64)).unwrap());
        }
        assert_eq!(listening.begin(call(1_000)).err(), Some(Crowded::Node));
        ears.pop();
        assert!(listening.begin(call(1_000)).is_ok());
    }

    #[test]
    fn a_media_thread_does_not_wait_for_who_looks() {
        let listening = Listening::default();
        let held = listening.look().unwrap();
        assert!(listening.look().is_none());
        drop(held);
        assert!(listening.look().is_some());
    }
}
