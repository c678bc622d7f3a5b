//! The calls in progress: their segments, numbers and totals, and how they are concluded.
//!
//! A call begins with its first segment, ends when its dialogs are over, and is concluded when all its
//! segments are sealed: then its total is corrected to the last segment there is and the state of its copy is
//! derived (`model::total`, `model::copy`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::copy::gathered_outcome;
use model::state::Respondent;
use model::{
    CallId, CallRecord, Conclusion, EndReason, Mono, RecordingState, SegmentId, SegmentRecord, TenantId,
    Transition, WallTime, total,
};
use sip::SessionId;

use crate::pausing::Pausing;

/// A segment as far as the call needs it.
#[derive(Debug)]
struct Segment {
    id: SegmentId,
    number: u16,
    total: u16,
    /// The state that its copy ended in; none while it is live or being closed.
    ended: Option<RecordingState>,
    respondent: Respondent,
    began: Mono,
}

/// A call whose conclusion is not written yet.
#[derive(Debug)]
pub(crate) struct LiveCall {
    pub(crate) record: CallRecord,
    /// Its recording dialog.
    pub(crate) session: SessionId,
    /// The trunk that brought it.
    trunk: Arc<str>,
    segments: Vec<Segment>,
    /// Whether a record server opened a segment of it: until then there is nothing to tell of.
    pub(crate) is_recorded: bool,
    /// Who paused it.
    pub(crate) pausing: Pausing,
    /// Who stopped its recording; none while it is wanted.
    pub(crate) stopped: Option<String>,
}

impl LiveCall {
    pub(crate) fn new(record: CallRecord, session: SessionId, trunk: Arc<str>) -> Self {
        Self {
            record,
            session,
            trunk,
            segments: Vec::new(),
            is_recorded: false,
            pausing: Pausing::default(),
            stopped: None,
        }
    }

    /// Gives the next number to a segment that begins.
    pub(crate) fn begin(&mut self, now: Mono, id: SegmentId, respondent: Respondent) -> u16 {
        let number = self.segments.last().map_or(1, |s| s.number.saturating_add(1));
        let total = total::at_begin(number);
        self.segments.push(Segment { id, number, total, ended: None, respondent, began: now });
        self.correct_total();
        number
    }

    /// Takes a segment back that no record server opened: its number is free again, so that there are no holes.
    pub(crate) fn withdraw(&mut self, id: SegmentId) {
        self.segments.retain(|s| s.id != id);
        if self.record.ended.is_some() {
            self.total_is_last();
        } else {
            self.correct_total();
        }
    }

    /// Whether a segment took over from one that failed, not longer ago than this.
    pub(crate) fn just_took_over(&self, id: SegmentId, now: Mono, within: Duration) -> bool {
        let segment = self.segments.iter().find(|s| s.id == id);
        segment.is_some_and(|s| s.respondent == Respondent::Yes && now.since(s.began) < within)
    }

    /// Nobody says how a segment was closed: it is taken to have failed. False when it was closed already.
    pub(crate) fn presume_failed(&mut self, id: SegmentId) -> bool {
        let Some(s) = self.segments.iter_mut().find(|s| s.id == id && s.ended.is_none()) else {
            return false;
        };
        let failed = RecordingState::begin(s.respondent).apply(Transition::EndedByInternalError);
        s.ended = Some(failed.unwrap_or(RecordingState::PartialInternalError));
        true
    }

    /// A segment was told to end.
    pub(crate) fn ending(&mut self, id: SegmentId, reason: &EndReason) {
        if let Some(s) = self.segments.iter_mut().find(|s| s.id == id) {
            s.total = total::at_end(s.number, s.total, reason);
        }
        self.correct_total();
    }

    /// A segment is sealed.
    pub(crate) fn ended(&mut self, record: &SegmentRecord) {
        if let Some(s) = self.segments.iter_mut().find(|s| s.id == record.id) {
            s.ended = Some(record.state);
            s.total = record.total;
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

    /// Its conclusion, when it is settled and all its segments are here.
    pub(crate) fn conclusion(&self) -> Option<Conclusion> {
        let states: Option<Vec<_>> = self.segments.iter().map(|s| s.ended).collect();
        let gathered = total::is_gathered(self.segments.iter().map(|s| s.number), self.record.total);
        let outcome = states.filter(|_| self.is_settled() && gathered).and_then(|s| gathered_outcome(&s))?;
        Some(Conclusion {
            call: self.record.id,
            call_started: self.record.started,
            tenant: self.record.tenant.clone(),
            total: self.record.total,
            from: None,
            state: RecordingState::gathered(outcome),
        })
    }

    fn correct_total(&mut self) {
        self.record.total = total::of_call(self.segments.iter().map(|s| s.total));
    }
}

/// The calls in progress, and which segment belongs to which.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: BTreeMap<CallId, LiveCall>,
    by_segment: BTreeMap<SegmentId, CallId>,
    /// How many each trunk has; none is left out.
    by_trunk: BTreeMap<Arc<str>, usize>,
    /// How many each tenant has; none is left out.
    by_tenant: BTreeMap<TenantId, usize>,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// How many a trunk brought.
    pub(crate) fn of_trunk(&self, trunk: &str) -> usize {
        self.by_trunk.get(trunk).copied().unwrap_or(0)
    }

    /// How many a tenant owns.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> usize {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, call: LiveCall) {
        *self.by_trunk.entry(call.trunk.clone()).or_default() += 1;
        *self.by_tenant.entry(call.record.tenant.clone()).or_default() += 1;
        self.calls.insert(call.record.id, call);
    }

    pub(crate) fn get(&self, id: CallId) -> Option<&LiveCall> {
        self.calls.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut LiveCall> {
        self.calls.get_mut(&id)
    }

    pub(crate) fn own_segment(&mut self, segment: SegmentId, call: CallId) {
        self.by_segment.insert(segment, call);
    }

    pub(crate) fn of_segment(&self, segment: SegmentId) -> Option<CallId> {
        self.by_segment.get(&segment).copied()
    }

    pub(crate) fn forget_segment(&mut self, segment: SegmentId) {
        self.by_segment.remove(&segment);
    }

    /// The calls that wait for their conclusion only.
    pub(crate) fn settled(&self) -> Vec<CallId> {
        self.calls.iter().filter(|(_, c)| c.is_settled()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn remove(&mut self, id: CallId) -> Option<LiveCall> {
        let call = self.calls.remove(&id)?;
        take_one(&mut self.by_trunk, &call.trunk);
        take_one(&mut self.by_tenant, &call.record.tenant);
        for segment in &call.segments {
            self.by_segment.remove(&segment.id);
        }
        Some(call)
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
