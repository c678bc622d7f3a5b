//! The placer thread: gives each segment to the opener of a volume, to another when that one fails or hangs, and
//! takes live segments off volumes that stand still or are gone.
//!
//! ```text
//!  Open ──► choose ──► opener of volume A ──┬─► done: the media thread has it
//!             ▲                              ├─► failed ───────────────┐
//!             │   another volume             └─► nothing for 1 s ──────┤
//!             └────────────────────────────────────────────────────────┘  none left: Refused
//! ```
//!
//! It touches no disk, so no disk can hold it up. When an opener that hung comes to itself after another has
//! opened the segment, it finds it claimed and removes what it made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use model::{
    CallId, Conclusion, Failure, Incident, Mono, OpenSegment, RecordingState, Report, SegmentId, TenantId,
};
use spool::placement;

use super::Threads;
use super::media_thread::{MediaOrder, Shared};
use super::sealer::SealJob;
use super::tell::Teller;
use crate::clock::mono;
use crate::pulse::Pulse;
use crate::volumes::{Standing, Volumes};

/// How often it is looked whether something hangs.
const LOOK: Duration = Duration::from_millis(100);
/// How long an opener may take before another volume is asked as well. Half of it is left to that one, twice over,
/// before the front's own deadline.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an order may wait altogether. The front refuses the request half a second later: what comes to itself
/// then finds that it is too late, and no segment begins that nobody would send to.
const OPEN_DEADLINE: Duration = Duration::from_millis(4_500);
/// Calls whose volume is remembered: many times those that can be in progress. Beyond it those that are concluded are
/// forgotten, the oldest first, and where none is, others; their next segment goes anywhere.
const HOMES_MAX: usize = 65_536;

/// What the placer is told.
pub(crate) enum Placing {
    /// Open this segment; since when that is wanted.
    Open(Mono, Box<OpenSegment>),
    /// Nobody waits for this segment any more: it is not opened, if it is not yet.
    Withdraw(SegmentId),
    /// Note how a call came out, where its last segment is.
    Conclude(Conclusion),
    /// This call is another, of which its further segments are.
    Joined(CallId),
}

/// What an opener is told.
pub(crate) struct OpenJob {
    pub(crate) order: Arc<OpenSegment>,
    pub(crate) claim: Arc<Claim>,
}

/// What an opener says.
pub(crate) struct Tried {
    pub(crate) segment: SegmentId,
    pub(crate) volume: usize,
    pub(crate) result: Result<(), Failure>,
}

/// Who may have a segment: the first that comes.
#[derive(Debug, Default)]
pub(crate) struct Claim(AtomicBool);

impl Claim {
    /// Whether it is one's own from now on.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(crate) struct Placer {
    pub(crate) orders: Receiver<Placing>,
    pub(crate) tried: Receiver<Tried>,
    pub(crate) volumes: Volumes,
    pub(crate) openers: Vec<Sender<OpenJob>>,
    pub(crate) sealers: Vec<Sender<SealJob>>,
    pub(crate) media: Threads,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments_max: usize,
    /// How long an operation may take before its volume counts as standing still.
    pub(crate) stall: Duration,
    pub(crate) teller: Teller,
    pub(crate) tenant: TenantId,
    pub(crate) pulse: Pulse,
}

/// A segment that is being opened.
struct Opening {
    order: Arc<OpenSegment>,
    claim: Arc<Claim>,
    since: Mono,
    /// Volumes that were asked, the last one last, and when that was.
    asked: Vec<usize>,
    asked_at: Mono,
    /// How many of them have not answered.
    awaited: usize,
    why: Option<Failure>,
}

#[derive(Default)]
struct State {
    opening: BTreeMap<SegmentId, Opening>,
    homes: Homes,
    /// Segments that were taken off their volume, so that it is said once.
    lost: BTreeSet<SegmentId>,
}

/// The volume of each call's newest segment.
#[derive(Default)]
struct Homes {
    volumes: BTreeMap<CallId, usize>,
    /// Those of whom nothing is expected any more, though it may come.
    over: BTreeSet<CallId>,
}

impl Homes {
    fn of(&self, call: CallId) -> Option<usize> {
        self.volumes.get(&call).copied()
    }

    /// The newest segment of a call is there. More than so many are not remembered.
    fn set(&mut self, call: CallId, volume: usize, most: usize) {
        self.volumes.insert(call, volume);
        self.over.remove(&call);
        if self.volumes.len() > most {
            match self.over.pop_first() {
                Some(over) => _ = self.volumes.remove(&over),
                None => _ = self.volumes.pop_first(),
            }
        }
    }

    /// Nothing more is expected of a call.
    fn end(&mut self, call: CallId) {
        if self.volumes.contains_key(&call) {
            self.over.insert(call);
        }
    }

    /// More is expected of it after all.
    fn goes_on(&mut self, call: CallId) {
        self.over.remove(&call);
    }
}

impl Placer {
    /// Runs until nobody can order any more.
    pub(crate) fn run(self) {
        let mut state = State::default();
        let mut looked = mono();
        loop {
            self.pulse.goes_on();
            select! {
                recv(self.orders) -> order => match order {
                    Ok(Placing::Open(since, order)) => self.begin(&mut state, since, *order),
                    Ok(Placing::Withdraw(segment)) => self.withdraw(&mut state, segment),
                    Ok(Placing::Conclude(conclusion)) => self.conclude(&mut state, conclusion),
                    Ok(Placing::Joined(call)) => state.homes.end(call),
                    Err(_) => return,
                },
                recv(self.tried) -> tried => {
                    if let Ok(tried) = tried {
                        self.answered(&mut state, tried);
                    }
                }
                default(LOOK) => {}
            }
            let now = mono();
            if now.since(looked) >= LOOK {
                looked = now;
                self.look(&mut state, now);
            }
        }
    }

    fn begin(&self, state: &mut State, since: Mono, order: OpenSegment) {
        let segment = order.segment;
        if self.shared.segments.load(Ordering::Relaxed) >= self.segments_max {
            let why = Failure::Resources("the limit of segments is reached".to_owned());
            return self.refuse(segment, why);
        }
        let (claim, now) = (Arc::new(Claim::default()), mono());
        let order = Arc::new(order);
        let opening =
            Opening { order, claim, since, asked: Vec::new(), asked_at: now, awaited: 0, why: None };
        state.opening.insert(segment, opening);
        self.ask_next(state, segment, now);
    }

    /// Asks the next volume; when there is none and nothing is awaited any more, the segment is refused.
    fn ask_next(&self, state: &mut State, segment: SegmentId, now: Mono) {
        let Some(opening) = state.opening.get_mut(&segment) else { return };
        let home = state.homes.of(opening.order.call);
        let asked = &opening.asked;
        let chosen = placement::choose(&self.volumes.candidates(now), home, |v| asked.contains(&v));
        opening.asked_at = now;
        if let Some((volume, way)) = chosen.and_then(|v| Some((v, self.openers.get(v)?))) {
            opening.asked.push(volume);
            let job = OpenJob { order: Arc::clone(&opening.order), claim: Arc::clone(&opening.claim) };
            if way.try_send(job).is_ok() {
                opening.awaited += 1;
            } else {
                opening.why = Some(Failure::Resources("segments wait to be opened".to_owned()));
                // Another volume may be quicker; each is asked once.
                return self.ask_next(state, segment, now);
            }
        }
        if opening.awaited == 0 {
            let why = opening.why.clone().unwrap_or_else(|| self.none_fits());
            self.give_up(state, segment, why);
        }
    }

    fn answered(&self, state: &mut State, tried: Tried) {
        let Some(opening) = state.opening.get_mut(&tried.segment) else { return };
        match tried.result {
            Ok(()) => {
                state.homes.set(opening.order.call, tried.volume, HOMES_MAX);
                state.opening.remove(&tried.segment);
            }
            Err(why) => {
                opening.awaited = opening.awaited.saturating_sub(1);
                // What ran out has run out for every volume.
                let elsewhere = !matches!(why, Failure::Resources(_));
                opening.why = Some(why.clone());
                if elsewhere {
                    self.ask_next(state, tried.segment, mono());
                } else if opening.awaited == 0 {
                    self.give_up(state, tried.segment, why);
                }
            }
        }
    }

    fn give_up(&self, state: &mut State, segment: SegmentId, why: Failure) {
        let Some(opening) = state.opening.remove(&segment) else { return };
        // Else an opener has it at this very moment, and the media thread reports it.
        if opening.claim.take() {
            self.refuse(segment, why);
        }
    }

    /// Nobody waits for a segment. An opener that comes to it finds it claimed, and does nothing; one that has it reports
    /// it, and it ends.
    fn withdraw(&self, state: &mut State, segment: SegmentId) {
        if state.opening.get(&segment).is_some_and(|opening| opening.claim.take()) {
            state.opening.remove(&segment);
            self.never_came(segment);
            let _ = self.reports.blocking_send(Report::Withdrawn { segment });
        }
    }

    fn never_came(&self, segment: SegmentId) {
        let _ = self.media.send(segment, MediaOrder::NeverCame(segment));
        self.media.forget(segment);
    }

    fn refuse(&self, segment: SegmentId, why: Failure) {
        self.never_came(segment);
        let _ = self.reports.blocking_send(Report::Refused { segment, why });
    }

    /// Why nothing can be begun anywhere.
    fn none_fits(&self) -> Failure {
        let standings: Vec<_> = self.volumes.iter().map(|v| (v, v.standing())).collect();
        if standings.iter().all(|(_, s)| *s == Standing::Full) {
            return Failure::DiskFull;
        }
        let are: Vec<_> = standings
            .iter()
            .map(|(v, s)| match s {
                Standing::Ready => format!("{} cannot keep up", v.name),
                s => format!("{} is {}", v.name, s.name()),
            })
            .collect();
        Failure::Storage(format!("no volume can be written: {}", are.join(", ")))
    }

    /// Looks for what hangs: volumes, and openers.
    fn look(&self, state: &mut State, now: Mono) {
        for volume in self.volumes.iter() {
            let stalled = volume.busy_for(now) > self.stall;
            if volume.set_stalled(stalled) {
                self.tell_stall(&volume.name.to_string(), stalled);
            }
        }
        self.leave_lost_volumes(state, now);
        let late = |o: &Opening| now.since(o.asked_at) >= PATIENCE || now.since(o.since) >= OPEN_DEADLINE;
        let late: Vec<_> =
            state.opening.iter().filter(|(_, o)| late(o)).map(|(id, o)| (*id, o.since)).collect();
        for (segment, since) in late {
            let is_had = state.opening.get(&segment).is_some_and(|opening| opening.claim.is_taken());
            if is_had && now.since(since) < 2 * OPEN_DEADLINE {
                // An opener has it at this very moment, and says so.
                continue;
            }
            if now.since(since) >= OPEN_DEADLINE {
                let why = Failure::Storage("the disk did not open the segment in time".to_owned());
                self.give_up(state, segment, why);
            } else {
                self.ask_next(state, segment, now);
            }
        }
    }

    /// Segments on a volume that stands still or is gone go on on another, if there is one that can take them.
    /// If there is none they stay: a disk may come to itself, and what waits for it is kept as long as it can be.
    fn leave_lost_volumes(&self, state: &mut State, now: Mono) {
        let lost: Vec<_> = self.volumes.iter().filter(|v| v.is_lost()).collect();
        if lost.is_empty() {
            return state.lost.clear();
        }
        if placement::choose(&self.volumes.candidates(now), None, |_| false).is_none() {
            return;
        }
        for volume in lost {
            let why = Failure::Storage(format!("volume {} is {}", volume.name, volume.standing().name()));
            for segment in volume.live() {
                let report = Report::Failing { segment, why: why.clone() };
                if !state.lost.contains(&segment) && self.reports.try_send(report).is_ok() {
                    state.lost.insert(segment);
                }
            }
        }
    }

    fn tell_stall(&self, name: &str, stalled: bool) {
        if stalled {
            let text = format!(
                "volume {name} stands still: an operation takes longer than {} s; segments go to another \
                 volume if there is one",
                self.stall.as_secs_f32()
            );
            self.teller.alarm(&self.tenant, Incident::Storage, None, None, text);
        } else {
            tracing::info!("volume {name} moves again");
        }
    }

    fn conclude(&self, state: &mut State, conclusion: Conclusion) {
        // It may go on: then its next segment should lie beside the others.
        let home = state.homes.of(conclusion.call).unwrap_or(0);
        match conclusion.state.is_none_or(RecordingState::is_gathered) {
            true => state.homes.end(conclusion.call),
            false => state.homes.goes_on(conclusion.call),
        }
        if let Some(sealer) = self.sealers.get(home) {
            let _ = sealer.send(SealJob::Conclude(conclusion));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_lasts_keeps_its_volume_while_others_come_and_go() {
        let call = CallId::from_u64;
        let mut homes = Homes::default();
        homes.set(call(1), 3, 4);
        for n in 2..100 {
            homes.set(call(n), 0, 4);
            homes.end(call(n));
        }
        assert_eq!((homes.of(call(1)), homes.of(call(99)), homes.volumes.len()), (Some(3), Some(0), 4));
        homes.goes_on(call(99));
        for n in 100..104 {
            homes.set(call(n), 0, 4);
        }
        assert_eq!((homes.volumes.len(), homes.over.len()), (4, 0), "where nothing is over the oldest goes");
        homes.end(call(1));
        assert_eq!(
            (homes.of(call(1)), homes.over.len()),
            (None, 0),
            "what is not remembered is not remembered as over"
        );
    }

    #[test]
    fn a_segment_is_claimed_once() {
        let claim = Claim::default();
        assert!(!claim.is_taken() && claim.take() && claim.is_taken() && !claim.take());
    }
}
