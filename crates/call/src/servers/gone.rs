//! A record server that is gone, and one that returns.
//!
//! ```text
//!  gone ──► being opened there: unanswered       ──► returned as it was: ends that it was not told
//!       ├─► live there: failing, by its process,  └─ begun anew: it has none of what was there
//!       │   but where there is a second copy
//!       └─► told to end there: waited for
//! ```
//!
//! What is live there of which nobody here ever knew was ordered by this proxy before it began anew. Clients still send what
//! is said, and do not know that their dialogs are lost: it is recorded until they stop.
//!
//! Either way it is told, when it returns, how calls came out that have files there: also what it was told a moment before it
//! was gone, which may have been lost. Noting it twice changes nothing.

use std::collections::BTreeSet;

use model::{EndReason, Failure, Hello, Incident, Now, PeerName, Report, SegmentId};

use super::Step;
use super::copies::GONE;
use super::held::{Fed, Held, Stage};
use super::peer::Identity;
use super::reports::nobody_waits;
use super::several::{Several, Timer};

impl Several {
    /// There is no link to a record server any more, or it does not answer.
    pub(super) fn gone(&mut self, now: Now, name: &PeerName, why: &str) {
        let Some(peer) = self.peers.get_mut(name).filter(|peer| peer.is_up()) else { return };
        let given_up = peer.went_away(now.mono);
        self.tell_given_up(name, given_up);
        self.timers.clear(Timer::Heard(name.clone()));
        self.timers.clear(Timer::Probed(name.clone()));
        let there = self.at(name);
        let (mut moved, mut copied) = (0_usize, 0_usize);
        for segment in self.copies_at(name) {
            self.lose_copy(now, segment, GONE);
        }
        for segment in there {
            if let Some((_, opening)) = self.take_opening(segment) {
                self.owe_end(now, name, segment);
                self.steps.push_back(Step::Unanswered(Box::new(opening.order)));
                moved += 1;
                continue;
            }
            let is_live = |held: &Held| matches!(held.stage, Stage::Live(_));
            if self.segments.get(&segment).is_some_and(is_live) && self.goes_on_as_copy(now, segment, &GONE) {
                copied += 1;
                continue;
            }
            let Some(held) = self.segments.get_mut(&segment) else { continue };
            match &mut held.stage {
                Stage::Live(_) => {
                    held.stage = Stage::Lost { since: now.wall, record: None, fed: Fed::No };
                    self.report(Report::Failing { segment, why: Failure::Process });
                    moved += 1;
                }
                Stage::Ending { lost, .. } => {
                    lost.get_or_insert(now.wall);
                    self.wait_for_end(now, segment);
                }
                Stage::Lost { .. } | Stage::Opening(_) => {}
            }
        }
        let mut text =
            format!("record server {name} is gone: {why}; segments that are to go on elsewhere: {moved}");
        if copied > 0 {
            text.push_str(&format!("; segments that have another copy: {copied}"));
        }
        self.alarm(Incident::InternalFailure, text);
    }

    /// There is a link to a record server, which says who it is and what is live there.
    pub(super) fn returned(&mut self, now: Now, name: &PeerName, hello: &Hello) {
        self.gone(now, name, "it began another link");
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.came_up(hello);
        let Some(by) = peer.identity() else { return };
        let (mut owed, kept) = (peer.take_owed(), peer.take_kept());
        self.heard(now, name);
        let live: BTreeSet<SegmentId> = hello.segments.iter().copied().collect();
        let known = self.at(name);
        for segment in &known {
            self.found(now, *segment, by, live.contains(segment));
        }
        let mut strange = 0_usize;
        for segment in live.into_iter().filter(|segment| !known.contains(segment)) {
            let Some(end) = owed.remove(&segment) else {
                strange += 1;
                continue;
            };
            if let Some(peer) = self.peers.get_mut(name) {
                // This link may be lost too before it says that it has ended.
                peer.owe(segment, end.clone());
            }
            self.send(name, end);
        }
        if strange > 0 {
            let text = format!(
                "record server {name} goes on with segments that were ordered before this proxy began ({strange}): each is \
                 closed when its media end"
            );
            self.alarm(Incident::InternalFailure, text);
        }
        for order in kept {
            self.send_or_keep(now, name, order);
        }
    }

    /// A segment that nobody waits for may have been opened there: it is ended when that shows.
    pub(super) fn owe_end(&mut self, now: Now, at: &PeerName, segment: SegmentId) {
        if let Some(peer) = self.peers.get_mut(at) {
            peer.owe(segment, nobody_waits(now, segment));
        }
    }

    /// The segments that a record server has, or is to have.
    fn at(&self, name: &PeerName) -> BTreeSet<SegmentId> {
        self.segments.iter().filter(|(_, held)| held.at == *name).map(|(segment, _)| *segment).collect()
    }

    /// A record server that has returned as this says whether a segment that it had is live there.
    fn found(&mut self, now: Now, segment: SegmentId, by: Identity, is_live: bool) {
        let Some(held) = self.segments.get_mut(&segment) else { return };
        let is_same = held.by == by;
        let at = held.at.clone();
        match &mut held.stage {
            Stage::Ending { end, lost } if is_same && is_live => {
                *lost = None;
                let end = end.clone();
                self.timers.clear(Timer::Ended(segment));
                self.send(&at, end);
            }
            Stage::Ending { .. } if is_same => self.presume_ended(segment),
            Stage::Ending { .. } => self.presume_failed(now, segment),
            Stage::Lost { since, record: None, fed } if !(is_same && is_live) => {
                let (since, fed) = (*since, *fed);
                let record = held.presumed(since, EndReason::Internal(Failure::Process));
                self.tell_presumed(&record);
                if let Some(held) = self.segments.get_mut(&segment) {
                    held.stage = Stage::Lost { since, record: Some(Box::new(record)), fed };
                }
            }
            Stage::Lost { .. } | Stage::Live(_) | Stage::Opening(_) => {}
        }
    }
}
