//! A call in progress: its dialogs, segments, numbers and totals, and how it is concluded.
//!
//! A call begins with its first dialog, ends when all its dialogs are over, and is concluded when all its
//! segments are sealed: then its total is corrected to the last segment there is and the state of its copy is
//! derived (`model::total`, `model::copy`).
//!
//! ```text
//!   Opening ──opened──► Open ──told to end──► Ending ──sealed──► (state)
//!      │                  └──another has it──► Parting ──┘ when its client sends there
//!      └──refused: withdrawn, its number is free again
//! ```

mod form;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::copy::gathered_outcome;
use model::join::moved_total;
use model::peer::FileNames;
use model::state::Respondent;
use model::{
    CallId, CallRecord, Conclusion, EndReason, Mono, NodeNumber, RecordingState, SegmentId, SegmentRecord,
    Side, StartTrigger, TakeOver, Transition, WallTime, total,
};
use sip::SessionId;

pub(crate) use self::form::{CallForm, Place, SegmentForm};
use crate::leg::Pending;
use crate::pausing::{Parting, Pausing};
use crate::reach::Reach;
use crate::segment_gate::Gate;
use crate::stopping::Stops;

/// How far a segment has come.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It was ordered; its ports are awaited.
    Opening {
        /// It takes over from another, which then ends.
        from: Option<TakeOver>,
        /// Other streams are wanted than those that it was ordered with.
        is_outdated: bool,
    },
    /// A record server records it.
    Open,
    /// Another takes over from it, or has, and its media come still, by the proxy that had its call before: it is to end for
    /// this reason when its client sends to the other.
    Parting(EndReason),
    /// It was told to end, or another takes over from it.
    Ending,
}

/// A segment as far as the call needs it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    number: u16,
    total: u16,
    pub(crate) standing: Standing,
    /// Whether its record server has said that it records it, or that it does not any more.
    is_answered: bool,
    /// Whether it keeps what arrives.
    pub(crate) gate: Gate,
    /// The state that its copy ended in; none while it is live or being closed.
    ended: Option<RecordingState>,
    /// Where that copy lies, as far as somebody said.
    node: Option<NodeNumber>,
    respondent: Respondent,
    /// When it was ordered here; none: by another proxy, or in place of what one had, and so not for what fails.
    began: Option<Mono>,
    /// The segments that were ordered in vain before it, for the same streams.
    vain: Vain,
    /// How many legs have had streams in it.
    legs: u16,
    /// Its media go through another proxy, which has its ports.
    pub(crate) is_foreign: bool,
    /// Digits that are pressed are not kept.
    pub(crate) masks: bool,
    /// An order to change its streams may have been lost.
    pub(crate) is_change_lost: bool,
    /// It was told that such an order is refused.
    pub(crate) is_refusal_told: bool,
}

impl Segment {
    /// Another leg has streams in it: how many had before.
    pub(crate) const fn join(&mut self) -> u16 {
        let before = self.legs;
        self.legs = before.saturating_add(1);
        before
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.standing, Standing::Parting(_) | Standing::Ending)
    }

    /// Why it ends when its client sends elsewhere.
    pub(crate) const fn parts_for(&self) -> Option<&EndReason> {
        match &self.standing {
            Standing::Parting(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether it is being opened, and not for one that failed: nothing of it was ever recorded.
    pub(crate) const fn is_fresh(&self) -> bool {
        matches!(self.standing, Standing::Opening { from: None, .. })
    }

    /// Whether it is sealed, or taken to be.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    fn is_opening(&self) -> bool {
        matches!(self.standing, Standing::Opening { .. })
    }
}

/// What was ordered before a segment, and nobody said whether it was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vain {
    /// When the first was ordered.
    pub(crate) since: Mono,
    /// How many.
    pub(crate) tries: u8,
    /// The number of an order that waits until it is open.
    order: Option<u64>,
}

/// What the copy of a call came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CameTo {
    /// Where it lies.
    pub(crate) at: NodeNumber,
    pub(crate) state: RecordingState,
}

/// A call of another front that is one with a call here, as far as that matters here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Other {
    /// The sides that dialogs of a phone's bridge bring of it.
    pub(crate) bridged: BTreeSet<Side>,
    /// Whether segments of the two lie on several record servers: then neither has a state before they are gathered.
    pub(crate) is_apart: bool,
}

/// A call whose conclusion is not written yet.
#[derive(Debug)]
pub(crate) struct LiveCall {
    pub(crate) record: CallRecord,
    /// Its recording dialogs.
    pub(crate) legs: BTreeSet<SessionId>,
    /// The trunk that brought it.
    pub(crate) trunk: Arc<str>,
    pub(crate) segments: Vec<Segment>,
    /// What files of its next segments are called.
    pub(crate) files: FileNames,
    /// Whether a record server opened a segment of it: until then there is nothing to tell of.
    pub(crate) is_recorded: bool,
    /// Whether segments of it may have two copies, at two record servers.
    pub(crate) is_doubled: bool,
    /// Who asks for a pause of it.
    pub(crate) pausing: Pausing,
    /// Somebody was told that it stays paused by dialogs that are over.
    pub(crate) is_left_told: bool,
    /// Who stopped its recording.
    stops: Stops,
    /// Segments that failed while another was being opened: they are taken over from when it is.
    pub(crate) failing: Vec<(SegmentId, EndReason)>,
    /// Dialogs that are to be recorded as soon as a number can be given.
    pub(crate) waiting: Vec<(SessionId, Pending, StartTrigger)>,
    /// How many dialogs it has had.
    pub(crate) legs_begun: u16,
    /// What its copy came to, when it is concluded and there is one.
    pub(crate) concluded: Option<CameTo>,
    /// What its copy went back to, when it went on after that.
    pub(crate) taken_back: Option<RecordingState>,
    /// Calls that turned out to be this one.
    pub(crate) aliases: Vec<CallId>,
    /// Calls of other fronts that turned out to be this one.
    pub(crate) elsewhere: BTreeMap<CallId, Other>,
}

impl LiveCall {
    pub(crate) fn new(record: CallRecord, trunk: Arc<str>) -> Self {
        Self {
            record,
            legs: BTreeSet::new(),
            pausing: Pausing::new(Arc::clone(&trunk)),
            is_left_told: false,
            stops: Stops::default(),
            trunk,
            segments: Vec::new(),
            files: FileNames::ByNumber,
            is_recorded: false,
            is_doubled: false,
            failing: Vec::new(),
            waiting: Vec::new(),
            legs_begun: 0,
            concluded: None,
            taken_back: None,
            aliases: Vec::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    /// Another dialog is of it, which came by this trunk.
    pub(crate) fn join(&mut self, session: SessionId, trunk: &Arc<str>) {
        self.legs.insert(session);
        self.pausing.enter(session, Arc::clone(trunk));
        self.legs_begun = self.legs_begun.saturating_add(1);
    }

    /// A dialog of it is over.
    pub(crate) fn part(&mut self, session: SessionId, parting: Parting) {
        self.legs.remove(&session);
        self.pausing.leave(session, parting);
    }

    /// Who stopped the whole of it; none while it is wanted.
    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stops.of_call(|reach| self.pausing.is_all(reach))
    }

    /// Who stopped what a dialog of it brings; none while it is wanted.
    pub(crate) fn stopped_for(&self, session: SessionId) -> Option<&str> {
        self.pausing.whose(session).and_then(|whose| self.stops.of(whose))
    }

    /// Who stopped what would come to it by a trunk.
    pub(crate) fn stopped_by_trunk(&self, trunk: &Arc<str>) -> Option<&str> {
        self.stops.of(&self.pausing.newcomer(Arc::clone(trunk)))
    }

    /// Whether a person stopped it: that no client ends.
    pub(crate) const fn is_stopped_by_order(&self) -> bool {
        self.stops.is_ordered()
    }

    /// Somebody stops what this reaches.
    pub(crate) fn stop(&mut self, reach: Reach, by: String) {
        self.stops.stop(reach, by);
    }

    /// Somebody ends the stops that they may end. Whether there was any.
    pub(crate) fn start(&mut self, reach: &Reach) -> bool {
        self.stops.start(reach)
    }

    /// It ended, and goes on after all.
    pub(crate) fn goes_on(&mut self) {
        self.record.ended = None;
        self.correct_total();
    }

    /// Takes another call in, which is this one: its segments are given the numbers that follow.
    pub(crate) fn absorb(&mut self, gone: Self) -> Vec<(SegmentId, u16)> {
        let mut next = self.segments.last().map_or(1, |s| s.number.saturating_add(1));
        let mut numbers = Vec::new();
        for mut segment in gone.segments {
            segment.total = moved_total(segment.total, segment.number, next);
            segment.number = next;
            numbers.push((segment.id, next));
            next = next.saturating_add(1);
            self.segments.push(segment);
        }
        self.legs.extend(gone.legs);
        self.legs_begun = self.legs_begun.saturating_add(gone.legs_begun);
        self.record.data.absorb(&gone.record.data);
        self.record.ended =
            if self.legs.is_empty() { self.record.ended.max(gone.record.ended) } else { None };
        self.is_recorded |= gone.is_recorded;
        self.is_doubled |= gone.is_doubled;
        self.stops.join(gone.stops);
        self.pausing.join(gone.pausing);
        self.failing.extend(gone.failing);
        self.waiting.extend(gone.waiting);
        self.aliases.push(gone.record.id);
        self.aliases.extend(gone.aliases);
        self.elsewhere.extend(gone.elsewhere);
        if self.record.ended.is_some() {
            self.total_is_last();
        } else {
            self.correct_total();
        }
        numbers
    }

    /// Gives the next number to a segment that begins.
    pub(crate) fn begin(
        &mut self,
        now: Mono,
        id: SegmentId,
        respondent: Respondent,
        from: Option<TakeOver>,
    ) -> u16 {
        let number = self.segments.last().map_or(1, |s| s.number.saturating_add(1));
        let total = total::at_begin(number);
        let failed = from.as_ref().and_then(|failed| self.segment(failed.segment));
        // A proxy that stops says nothing of record servers.
        let began = (!failed.is_some_and(|failed| failed.is_foreign)).then_some(now);
        let standing = Standing::Opening { from, is_outdated: false };
        let gate = Gate::begin(self.pausing.open().is_some());
        self.segments.push(Segment {
            id,
            number,
            total,
            standing,
            is_answered: false,
            gate,
            ended: None,
            node: None,
            respondent,
            began,
            vain: Vain { since: now, tries: 0, order: None },
            legs: 0,
            is_foreign: false,
            masks: false,
            is_change_lost: false,
            is_refusal_told: false,
        });
        self.correct_total();
        number
    }

    /// The newest segment that was not told to end.
    pub(crate) fn live(&self) -> Option<SegmentId> {
        self.segments.iter().rev().find(|s| s.is_live()).map(|s| s.id)
    }

    /// The segments that were not told to end.
    pub(crate) fn all_live(&self) -> Vec<SegmentId> {
        self.segments.iter().filter(|s| s.is_live()).map(|s| s.id).collect()
    }

    /// Whether a record server has opened it.
    pub(crate) fn was_opened(&self, id: SegmentId) -> bool {
        self.segment(id).is_some_and(|s| s.is_answered)
    }

    /// Whether another is being opened that takes over from this one, which records until then.
    pub(crate) fn is_taken_over(&self, id: SegmentId) -> bool {
        let from = |s: &Segment| match &s.standing {
            Standing::Opening { from, .. } => from.as_ref().map(|from| from.segment),
            Standing::Open | Standing::Parting(_) | Standing::Ending => None,
        };
        self.segments.iter().any(|s| from(s) == Some(id))
    }

    /// The segments of which something may be kept, or will be.
    pub(crate) fn all_keeping(&self) -> Vec<SegmentId> {
        self.keeping().map(|s| s.id).collect()
    }

    fn keeping(&self) -> impl Iterator<Item = &Segment> {
        let keeps = |s: &&Segment| s.is_live() || s.parts_for().is_some() || self.is_taken_over(s.id);
        self.segments.iter().filter(keeps)
    }

    /// The segments whose media come still, by another proxy, although others have taken over.
    pub(crate) fn all_parting(&self) -> Vec<(SegmentId, EndReason)> {
        self.segments.iter().filter_map(|s| Some((s.id, s.parts_for()?.clone()))).collect()
    }

    /// Another takes over from a segment, whose media come still, by another proxy.
    pub(crate) fn parting(&mut self, id: SegmentId, reason: &EndReason) {
        self.ending(id, reason);
        if let Some(segment) = self.segment_mut(id) {
            segment.standing = Standing::Parting(reason.clone());
        }
    }

    /// The segments that record, and keep nothing.
    pub(crate) fn all_closed(&self) -> Vec<SegmentId> {
        let is_closed = |s: &&Segment| matches!(s.standing, Standing::Open) && s.gate.is_closed();
        self.segments.iter().filter(is_closed).map(|s| s.id).collect()
    }

    /// The segment whose ports are awaited. There is one at most, so that one that is refused leaves no hole.
    pub(crate) fn opening(&self) -> Option<SegmentId> {
        self.segments.iter().find(|s| s.is_opening()).map(|s| s.id)
    }

    /// A segment of which nobody knows yet whether it is recorded, other than this one: while there is one no number is
    /// given, because its own may be free again.
    pub(crate) fn awaited_beside(&self, id: Option<SegmentId>) -> Option<SegmentId> {
        self.segments.iter().find(|s| !s.is_answered && Some(s.id) != id).map(|s| s.id)
    }

    /// Orders to pause and resume that are still to be carried out.
    pub(crate) fn awaited(&self) -> Vec<u64> {
        self.keeping().filter_map(|s| s.gate.awaited()).collect()
    }

    pub(crate) fn segment_mut(&mut self, id: SegmentId) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|s| s.id == id)
    }

    pub(crate) fn segment(&self, id: SegmentId) -> Option<&Segment> {
        self.segments.iter().find(|s| s.id == id)
    }

    /// A record server records a segment: whether it was being opened, and then whether other streams are wanted by
    /// now.
    pub(crate) fn opened(&mut self, id: SegmentId) -> Option<bool> {
        self.is_recorded = true;
        let segment = self.segment_mut(id)?;
        segment.is_answered = true;
        match std::mem::replace(&mut segment.standing, Standing::Open) {
            Standing::Opening { is_outdated, .. } => Some(is_outdated),
            Standing::Open => None,
            was @ (Standing::Parting(_) | Standing::Ending) => {
                segment.standing = was;
                None
            }
        }
    }

    /// Takes a segment back that no record server opened: its number is free again, so that there are no holes.
    /// What it was to take over from.
    pub(crate) fn withdraw(&mut self, id: SegmentId) -> Option<TakeOver> {
        let at = self.segments.iter().position(|s| s.id == id)?;
        let withdrawn = self.segments.remove(at);
        if self.record.ended.is_some() {
            self.total_is_last();
        } else {
            self.correct_total();
        }
        match withdrawn.standing {
            Standing::Opening { from, .. } => from,
            Standing::Open | Standing::Parting(_) | Standing::Ending => None,
        }
    }

    /// What there was in vain with a segment that nobody said of whether it is opened.
    pub(crate) fn in_vain(&self, id: SegmentId) -> Option<Vain> {
        let segment = self.segment(id)?;
        let order = segment.gate.reserved().or(segment.vain.order);
        Some(Vain { tries: segment.vain.tries.saturating_add(1), order, ..segment.vain })
    }

    /// A segment was ordered instead of those: whoever waits for an order to be carried out waits for it there.
    pub(crate) fn stands_in(&mut self, id: SegmentId, vain: Vain) {
        let Some(segment) = self.segment_mut(id) else { return };
        segment.vain = vain;
        if let Some(order) = vain.order {
            segment.gate.reserve_anew(order);
        }
    }

    /// Whether a segment took over from one that failed, not longer ago than this.
    pub(crate) fn just_took_over(&self, id: SegmentId, now: Mono, within: Duration) -> bool {
        let segment = self.segments.iter().find(|s| s.id == id);
        let is_recent = |began: Mono| now.since(began) < within;
        segment.is_some_and(|s| s.respondent == Respondent::Yes && s.began.is_some_and(is_recent))
    }

    /// How long ago a segment was wanted.
    pub(crate) fn waited(&self, id: SegmentId, now: Mono) -> Option<Duration> {
        self.segment(id).map(|segment| now.since(segment.vain.since))
    }

    /// Nobody says how a segment was closed: it is taken to have failed, at the only node if there is one only. False when
    /// it was closed already.
    pub(crate) fn presume_failed(&mut self, id: SegmentId, only: Option<NodeNumber>) -> bool {
        let Some(s) = self.segments.iter_mut().find(|s| s.id == id && s.ended.is_none()) else {
            return false;
        };
        let failed = RecordingState::begin(s.respondent).apply(Transition::EndedByInternalError);
        s.ended = Some(failed.unwrap_or(RecordingState::PartialInternalError));
        s.node = only;
        s.is_answered = true;
        true
    }

    /// A segment was told to end. What it was to take over from, if it was not open yet.
    pub(crate) fn ending(&mut self, id: SegmentId, reason: &EndReason) -> Option<TakeOver> {
        let segment = self.segments.iter_mut().find(|s| s.id == id);
        let was = segment.map(|s| {
            s.total = total::at_end(s.number, s.total, reason);
            std::mem::replace(&mut s.standing, Standing::Ending)
        });
        self.correct_total();
        match was {
            Some(Standing::Opening { from, .. }) => from,
            _ => None,
        }
    }

    /// A segment is sealed.
    pub(crate) fn ended(&mut self, record: &SegmentRecord) {
        if let Some(s) = self.segments.iter_mut().find(|s| s.id == record.id) {
            s.ended = Some(record.state);
            s.node = Some(record.node);
            s.is_answered = true;
            // Its number may be another by now than when the record was written.
            if let Some(reason) = &record.end {
                s.total = total::at_end(s.number, total::at_begin(s.number), reason);
            }
            s.standing = Standing::Ending;
        }
        if self.record.ended.is_none() {
            self.correct_total();
        }
    }

    /// The call ended: nothing more is expected, so the total is the last segment there is.
    pub(crate) fn end(&mut self, at: WallTime) {
        self.record.ended = Some(at);
        self.total_is_last();
    }

    fn total_is_last(&mut self) {
        self.record.total = self.segments.last().map_or(0, |s| s.number);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether it ended and every segment of it is sealed.
    pub(crate) fn is_settled(&self) -> bool {
        self.record.ended.is_some() && self.segments.iter().all(|s| s.ended.is_some())
    }

    /// Where all its segments lie, if that is one place.
    fn place(&self) -> Option<NodeNumber> {
        let first = self.segments.first()?.node.filter(|_| !self.is_doubled)?;
        self.segments.iter().all(|s| s.node == Some(first)).then_some(first)
    }

    /// Its conclusion, when it is settled, and what its copy comes to where all its segments are at one place.
    pub(crate) fn conclusion(&self) -> Option<(Conclusion, Option<CameTo>)> {
        let states: Option<Vec<_>> = self.segments.iter().map(|s| s.ended).collect();
        let gathered = total::is_gathered(self.segments.iter().map(|s| s.number), self.record.total);
        let outcome = states.filter(|_| self.is_settled() && gathered).and_then(|s| gathered_outcome(&s))?;
        let place = self.place().filter(|_| !self.elsewhere.values().any(|other| other.is_apart));
        let came_to = place.map(|at| CameTo { at, state: RecordingState::gathered(outcome) });
        let conclusion = Conclusion {
            call: self.record.id,
            call_started: self.record.started,
            tenant: self.record.tenant.clone(),
            total: self.record.total,
            from: came_to.and(self.taken_back),
            state: came_to.map(|came_to| came_to.state),
        };
        Some((conclusion, came_to))
    }

    fn correct_total(&mut self) {
        self.record.total = total::of_call(self.segments.iter().map(|s| s.total));
    }
}
