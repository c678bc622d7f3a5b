//! What record servers report of segments: what `Front` hears of it, and what is known of them since.
//!
//! A record server is believed of what it was asked to have, and of nothing else.

use model::{EndReason, Failure, Incident, Now, Order, PeerName, Report, SegmentId, SegmentRecord, TakeOver};

use super::copies::GONE;
use super::held::{Failing, Kin, Stage};
use super::several::{Several, Timer};

impl Several {
    pub(super) fn reported(&mut self, now: Now, from: &PeerName, report: Report) {
        let segment = report.segment();
        if !matches!(report, Report::Failing { .. } | Report::MediaTimedOut { .. })
            && let Some(peer) = self.peers.get_mut(from)
        {
            peer.answered();
        }
        if self.has_copy(segment, from) {
            return self.copy_reported(now, segment, report);
        }
        let Some(held) = self.segments.get(&segment).filter(|held| held.at == *from) else {
            return self.stray(now, from, segment, &report);
        };
        let is_opening = matches!(held.stage, Stage::Opening(_));
        let is_lost = matches!(held.stage, Stage::Lost { .. });
        let is_live = matches!(held.stage, Stage::Live(_));
        match report {
            Report::Refused { why, .. } if is_opening => self.refused(now, segment, why),
            Report::Withdrawn { .. } if is_opening => {
                let why = Failure::Resources("a record server withdrew a segment unasked".to_owned());
                self.refused(now, segment, why);
            }
            Report::Withdrawn { .. } => {}
            Report::Ended { record } => self.ended(now, segment, record),
            // That its record server was gone has been told.
            Report::Failing { .. } | Report::MediaTimedOut { .. } if is_lost => {}
            Report::Failing { ref why, .. }
                if is_live && self.goes_on_as_copy(now, segment, &EndReason::Internal(why.clone())) =>
            {
                let text =
                    format!("record server {from} lost its copy of segment {segment}: {}", why.describe());
                self.alarm(Incident::InternalFailure, text);
            }
            Report::CarriedOut { order, .. } if !self.is_carried_out(segment, order) => {}
            report => {
                // Some of its threads may be faster than the one that says so: whatever it reports of, it has opened.
                let begun = self.begun(segment);
                if let Report::Failing { .. } = report {
                    self.is_failing(segment);
                }
                self.report(report);
                if let Some((failed, kin)) = begun {
                    self.taken_over(now, failed, kin);
                }
            }
        }
    }

    /// Something of a segment that nobody expects from there.
    fn stray(&mut self, now: Now, from: &PeerName, segment: SegmentId, report: &Report) {
        let end = |reason| Order::End { segment, at: now.wall, reason, by: None };
        match report {
            // It was asked for it, and it was given up before it answered.
            Report::Opened { .. } => self.send(from, nobody_waits(now, segment)),
            Report::Refused { .. } | Report::Withdrawn { .. } | Report::Ended { .. } => {
                if let Some(peer) = self.peers.get_mut(from) {
                    peer.confirm(segment);
                }
            }
            // It was ordered before this proxy began, and nobody else would end it.
            Report::MediaTimedOut { .. } => {
                self.send(from, end(EndReason::Upstream(Failure::MediaTimeout)));
            }
            Report::Failing { why, .. } => self.send(from, end(EndReason::Internal(why.clone()))),
            Report::CarriedOut { .. } => {}
        }
    }

    /// It is opened, if it was being opened until now: from what it takes over, if it does.
    fn begun(&mut self, segment: SegmentId) -> Option<(TakeOver, Kin)> {
        let held = self.segments.get_mut(&segment)?;
        let (from, kin) = held.opened()?;
        self.timers.clear(Timer::Open(segment));
        let (call, at) = (held.call(), held.at.clone());
        for forgotten in self.calls.began(call, at) {
            self.timers.clear(Timer::Forget(forgotten));
        }
        Some((from?, kin))
    }

    fn is_failing(&mut self, segment: SegmentId) {
        if let Some(held) = self.segments.get_mut(&segment)
            && let Stage::Live(failing) = &mut held.stage
        {
            *failing = Failing::Yes;
        }
    }

    fn ended(&mut self, now: Now, segment: SegmentId, ended: Box<SegmentRecord>) {
        if let Some(held) = self.segments.get(&segment).filter(|held| matches!(held.stage, Stage::Live(_))) {
            // Nobody told it to.
            let (at, why) = (held.at.clone(), ended.end.clone().unwrap_or(GONE));
            if self.goes_on_as_copy(now, segment, &why) {
                if let Some(peer) = self.peers.get_mut(&at) {
                    peer.confirm(segment);
                }
                let text =
                    format!("the copy of segment {segment} at record server {at} ended: {}", why.describe());
                return self.alarm(Incident::InternalFailure, text);
            }
        }
        let begun = self.begun(segment);
        let Some(held) = self.segments.get_mut(&segment) else { return };
        if let Stage::Lost { record, .. } = &mut held.stage {
            // Its dialogs go on elsewhere first.
            *record = Some(ended);
            return;
        }
        if let Some(peer) = self.peers.get_mut(&held.at) {
            peer.confirm(segment);
        }
        self.forget_segment(segment);
        self.report(Report::Ended { record: ended });
        if let Some((failed, kin)) = begun {
            // Nothing goes on that could take over from it: it ends all the same.
            self.taken_over(now, failed, kin);
        }
    }

    pub(super) fn forget_segment(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
        for timer in [Timer::Open, Timer::Moved, Timer::Ended] {
            self.timers.clear(timer(segment));
        }
    }
}

/// Ends a segment at a record server of which nobody knows it any more.
pub(super) fn nobody_waits(now: Now, segment: SegmentId) -> Order {
    let reason = EndReason::Internal(Failure::Resources("nobody waited for it any more".to_owned()));
    Order::End { segment, at: now.wall, reason, by: None }
}
