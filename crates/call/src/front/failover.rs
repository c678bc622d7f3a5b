//! A segment that cannot be written any more: the next one takes over from it, in the same dialog and on the same
//! ports, so that the client notices nothing. Where nobody can take over, the dialog ends and the client knows.
//!
//! ```text
//!  Failing ──► open n+1 as respondent, taking over from n ──► Opened: n has ended, n+1 records
//!                                                        └──► Refused: n is ended, BYE
//! ```

use std::time::Duration;

use model::{EndReason, Incident, Now, SegmentId, StartTrigger, TakeOver};

use super::{END_DEADLINE, Front, Timer};
use crate::leg::{Leg, Pending, Phase};

/// A segment that fails so soon after it took over is not taken over from: a disk that opens every file and takes
/// no octet would make thousands of segments of a call.
const TAKES_OVER_AFTER: Duration = Duration::from_secs(2);

impl Front {
    /// A segment failed inside: another takes over.
    pub(super) fn fail_over(&mut self, now: Now, segment: SegmentId, reason: EndReason) {
        let Some(call) = self.leg_of(segment).map(|l| l.call) else { return };
        let within = TAKES_OVER_AFTER;
        if self.calls.get(call).is_some_and(|c| c.just_took_over(segment, now.mono, within)) {
            return self.fail(now, segment, reason);
        }
        let Some(mut leg) = self.take_leg(segment) else { return };
        let text = format!("a segment ended early: {}; another takes over", reason.describe());
        self.alarm(Incident::InternalFailure, Some(call), Some(segment), text);
        self.timers.clear(Timer::Open(segment));
        if let Some(live) = self.calls.get_mut(call) {
            // A failing segment was opened, whether or not its opening was told yet.
            live.is_recorded = true;
            live.ending(segment, &reason);
        }
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        let failed = TakeOver { segment, reason };
        let next = self.open_segment(now, &mut leg, StartTrigger::Manager, Some(failed.clone()));
        let pending = match std::mem::replace(&mut leg.phase, Phase::Held) {
            Phase::Opening { pending, .. } | Phase::Changing { pending, .. } => pending,
            Phase::Recording { .. } | Phase::Held => Pending::Nothing,
        };
        leg.phase = Phase::Opening { segment: next, pending, from: Some(failed) };
        self.legs.insert(leg.session, leg);
    }

    /// What was to take over could not be opened: the failed segment ends, and the dialog with it.
    pub(super) fn nobody_takes_over(&mut self, now: Now, mut leg: Leg, failed: TakeOver) {
        let (session, phrase) = (leg.session, failed.reason.describe());
        leg.phase = Phase::Recording { segment: failed.segment };
        self.legs.insert(session, leg);
        self.leave(now, session, failed.reason, Some(&phrase));
    }
}
