//! A segment that cannot be written any more: the next one takes over from it, in the same dialog and on the same
//! ports, so that the client notices nothing. Where nobody can take over, the dialog ends and the client knows.
//!
//! ```text
//!  Failing ──► open n+1 as respondent, taking over from n ──► Opened: n has ended, n+1 records
//!                                                        └──► Refused: n is ended, BYE
//! ```

use std::time::Duration;

use model::{EndReason, Incident, Now, SegmentId, StartTrigger, TakeOver};
use sip::SessionId;

use super::parting::PARTS_WITHIN;
use super::{END_DEADLINE, Front, Timer};
use crate::leg::Phase;

/// A segment that fails so soon after it took over is not taken over from: a disk that opens every file and takes
/// no octet would make thousands of segments of a call.
const TAKES_OVER_AFTER: Duration = Duration::from_secs(2);

impl Front {
    /// A segment failed inside: another takes over.
    pub(super) fn fail_over(&mut self, now: Now, segment: SegmentId, reason: EndReason) {
        let legs = self.legs_in(segment);
        let Some(call) = self.calls.of_segment(segment).filter(|_| !legs.is_empty()) else { return };
        let may_part = self.may_part(segment, &legs);
        let Some(live) = self.calls.get_mut(call) else { return };
        if live.just_took_over(segment, now.mono, TAKES_OVER_AFTER) {
            return self.fail(now, segment, reason);
        }
        if live.awaited_beside(Some(segment)).is_some() {
            // One at a time, so that numbers have no holes.
            live.failing.retain(|(failing, _)| *failing != segment);
            live.failing.push((segment, reason));
            return;
        }
        // A failing segment was opened, whether or not its opening was told yet.
        live.is_recorded = true;
        let text = if may_part {
            live.parting(segment, &reason);
            self.arm(now, PARTS_WITHIN, Timer::Part(segment));
            "the media of a segment go through another proxy, which stops or is gone; another segment takes over"
                .to_owned()
        } else {
            live.ending(segment, &reason);
            self.arm(now, END_DEADLINE, Timer::Close(segment));
            format!("a segment ended early: {}; another takes over", reason.describe())
        };
        self.alarm(Incident::InternalFailure, Some(call), Some(segment), text);
        self.timers.clear(Timer::Open(segment));
        let failed = TakeOver { segment, reason };
        let moved = legs.into_iter().filter_map(|session| {
            let leg = self.legs.get_mut(&session)?;
            Some((session, leg.take_pending()))
        });
        let moved = moved.collect();
        self.open_segment(now, call, moved, StartTrigger::Manager, Some(failed));
    }

    /// What was to take over could not be opened: the failed segment ends, and its dialogs with it.
    pub(super) fn nobody_takes_over(&mut self, now: Now, legs: &[SessionId], failed: TakeOver) {
        let TakeOver { segment, reason } = failed;
        let phrase = reason.describe();
        for session in legs {
            if let Some(leg) = self.legs.get_mut(session) {
                leg.phase = Phase::Recording { segment };
            }
        }
        self.leave_all(now, legs, reason, Some(&phrase));
    }
}
