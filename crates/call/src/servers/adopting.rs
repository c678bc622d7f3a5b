//! Segments of calls that go from one proxy to another: what is known here of where they are, and what was known there.
//!
//! ```text
//!  live where it was                         ──► as if it had been opened from here
//!  its record server is gone, began anew,
//!  or has it no more                         ──► fails, as where a record server is gone
//!  its media went through the other proxy    ──► fails too, and is ended by `Front`: they come until its client is told
//!  told to end                               ──► told again, or waited for
//! ```
//!
//! Where a segment is not live although its record server is what it was, it ended while it was nobody's, and whoever was
//! told so has forgotten: that is not waited for. What its record server says of it all the same is believed.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallId, EndReason, Failure, Now, PeerName, Report, SegmentId};

use super::RecordServers;
use super::held::{About, Failing, Fed, Held, Opening, Stage};
use super::peer::{Identity, Peer};
use super::reports::nobody_waits;
use super::several::{Several, Timer};
use crate::live_call::Place;
use crate::snapshot::Snapshot;

impl RecordServers {
    /// Where a segment is, and what else is known of it here.
    pub(crate) fn portray(&self, segment: SegmentId) -> Option<Place> {
        self.several()?.portray(segment)
    }

    /// The record servers that have segments of a call.
    #[must_use]
    pub fn places_of(&self, call: CallId) -> BTreeSet<PeerName> {
        self.several().map(|several| several.calls.places(call)).unwrap_or_default()
    }

    /// A call of another proxy is carried on from here. What is live of it, each record server that is reached has said.
    pub fn adopt(&mut self, now: Now, snapshot: &Snapshot, live: &BTreeMap<PeerName, BTreeSet<SegmentId>>) {
        if let Some(several) = self.several_mut() {
            let anchored = snapshot.legs.iter().filter(|leg| leg.is_anchored).filter_map(|leg| leg.segment);
            several.adopt(now, snapshot, &anchored.collect(), live);
        }
    }

    /// A call is carried on by another proxy, which has what is recorded of it there; what is elsewhere nobody knows. Its
    /// segments, of which nothing is known here any more.
    pub fn forget_call(&mut self, now: Now, call: CallId, there: &PeerName) -> Vec<SegmentId> {
        self.several_mut().map(|several| several.forget_call(now, call, there)).unwrap_or_default()
    }
}

impl Several {
    fn portray(&self, segment: SegmentId) -> Option<Place> {
        let held = self.segments.get(&segment)?;
        let end = match &held.stage {
            Stage::Opening(_) => return None,
            Stage::Ending { end, .. } => Some(end.clone()),
            Stage::Live(_) | Stage::Lost { .. } => None,
        };
        let About { started, trigger, dtmf, .. } = held.about.clone();
        let (node, run) = (held.by.node, held.by.run);
        Some(Place { at: held.at.clone(), node, run, started, trigger, dtmf, end })
    }

    fn adopt(
        &mut self,
        now: Now,
        snapshot: &Snapshot,
        anchored: &BTreeSet<SegmentId>,
        live: &BTreeMap<PeerName, BTreeSet<SegmentId>>,
    ) {
        let (call, segments) = (&snapshot.call.record, &snapshot.call.segments);
        for name in &snapshot.on {
            for forgotten in self.calls.began(call.id, name.clone()) {
                self.timers.clear(Timer::Forget(forgotten));
            }
        }
        for form in segments.iter().filter(|form| form.ended.is_none()) {
            let Some(place) = &form.place else { continue };
            let by = Identity { node: place.node, run: place.run };
            let is_there = self.peers.get(&place.at).and_then(Peer::identity) == Some(by);
            let is_live = is_there && live.get(&place.at).is_some_and(|live| live.contains(&form.id));
            let goes_on = is_live && !anchored.contains(&form.id);
            let is_fed = live.values().any(|live| live.contains(&form.id));
            let fed = if is_fed { Fed::ByAnother } else { Fed::No };
            let stage = match (&place.end, is_live) {
                (None, _) if goes_on => Stage::Live(Failing::No),
                (None, _) => Stage::Lost { since: now.wall, record: None, fed },
                (Some(end), true) => Stage::Ending { end: end.clone(), lost: None },
                (Some(end), false) => Stage::Ending { end: end.clone(), lost: Some(now.wall) },
            };
            let about = About {
                id: form.id,
                call: call.id,
                tenant: call.tenant.clone(),
                number: form.number,
                total: form.total,
                respondent: form.respondent,
                started: place.started,
                trigger: place.trigger.clone(),
                dtmf: place.dtmf,
            };
            let mut held = Held { at: place.at.clone(), by, about, stage };
            if is_there && !is_live && place.end.is_none() {
                let record = Box::new(held.presumed(now.wall, EndReason::Internal(Failure::Process)));
                held.stage = Stage::Lost { since: now.wall, record: Some(record), fed };
            }
            self.segments.insert(form.id, held);
            if place.end.is_none() && !goes_on {
                self.adopt_copy(form.id, &place.at, live);
            }
            match (&place.end, is_live) {
                (None, _) if goes_on => {}
                (None, _) => self.report(Report::Failing { segment: form.id, why: Failure::Process }),
                (Some(end), true) => self.send(&place.at, end.clone()),
                (Some(_), false) if is_there => self.presume_ended(form.id),
                (Some(_), false) => self.wait_for_end(now, form.id),
            }
        }
    }

    fn forget_call(&mut self, now: Now, call: CallId, there: &PeerName) -> Vec<SegmentId> {
        let mut of_call: Vec<SegmentId> = self
            .segments
            .iter()
            .filter(|(_, held)| held.call() == call)
            .map(|(segment, _)| *segment)
            .collect();
        for segment in of_call.iter().copied() {
            self.forget_copy_but(now, segment, there);
            if let Some((at, _)) = self.take_opening(segment) {
                self.owe_end(now, &at, segment);
                self.send(&at, nobody_waits(now, segment));
                continue;
            }
            let elsewhere = self.segments.get(&segment).filter(|held| held.at != *there);
            if let Some(at) = elsewhere.map(|held| held.at.clone()) {
                self.owe_end(now, &at, segment);
                self.send(&at, nobody_waits(now, segment));
            }
            self.forget_segment(segment);
        }
        // Nobody was asked for these yet.
        let is_of_call = |opening: &Opening| opening.order.call == call;
        let waiting = self.waiting.extract_if(.., |_, opening| is_of_call(opening));
        let waiting: Vec<SegmentId> = waiting.map(|(segment, _)| segment).collect();
        waiting.iter().for_each(|segment| self.timers.clear(Timer::Open(*segment)));
        of_call.extend(waiting);
        self.calls.forget(call);
        self.timers.clear(Timer::Forget(call));
        of_call
    }
}
