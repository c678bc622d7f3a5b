//! Who of a call is the agent and who is external: as it was recorded, and as people corrected it in its log.

use api::port::{CallSides, Changed, NoteError, StreamSide};
use model::sides::STREAMS_MAX;
use model::{CallId, ChangeKind, Correction, Sides, TenantId};
use spool::log::{Entry, LogLine, correction_for, correction_of, corrections_of};

use super::{LINES_MAX, Notebook, next_time};
use crate::whole::WholeCall;

/// Corrections that are shown: all but those of a program that went wrong.
const HISTORY_SHOWN: usize = 100;

impl Notebook {
    pub(super) fn sides_of(&self, tenant: &TenantId, call: CallId) -> Result<CallSides, NoteError> {
        let whole = self.find(tenant, call)?;
        self.shown(&whole, &whole.lines())
    }

    pub(super) fn correct_sides(
        &self,
        tenant: &TenantId,
        call: CallId,
        to: Sides,
        by: &str,
    ) -> Result<(CallSides, Changed), NoteError> {
        if to.streams.len() > STREAMS_MAX {
            return Err(NoteError::TooMany(format!("a correction names at most {STREAMS_MAX} streams")));
        }
        // What is said of a call that turned out to be another is said of that one.
        let call = self.find(tenant, call)?.call;
        let _turn = self.turn(call)?;
        let whole = self.find(tenant, call)?;
        let mut lines = whole.lines();
        let shown = self.shown(&whole, &lines)?;
        if let Some(unknown) = to.streams.keys().find(|id| !shown.streams.iter().any(|s| s.stream == **id)) {
            let (at, why) = (format!("/streams/{unknown}"), format!("the call has no stream {unknown}"));
            return Err(NoteError::NoStream { at, why });
        }
        let calls: Vec<CallId> = whole.pieces.iter().map(|p| p.call).collect();
        let is_said = |call: &CallId| now_of(&lines, *call) == to;
        if calls.iter().all(is_said) {
            return Ok((shown, Changed::No));
        }
        if lines.len() >= LINES_MAX {
            return Err(NoteError::TooMany(format!("its log has {LINES_MAX} lines")));
        }
        let at = next_time(&lines);
        let correction = Correction { calls, from: shown.now, to, at, by: by.to_owned() };
        let entry = Entry::Sides(correction.clone());
        let (disk, log) = self.append(whole.directory(), at, &entry)?;
        let durable = disk.make_durable(&log);
        // It stands in the log now, and whoever tries again is told so: the catalog must say the same.
        self.teller.tell(tenant.clone(), ChangeKind::Sides(correction));
        lines.push(LogLine { at, entry });
        let shown = self.shown(&whole, &lines)?;
        self.heard.are(whole.pieces.iter().map(|p| p.call), &shown);
        durable.map(|()| (shown, Changed::Yes)).map_err(|e| NoteError::Failed(e.to_string()))
    }

    fn shown(&self, whole: &WholeCall, lines: &[LogLine]) -> Result<CallSides, NoteError> {
        let recorded = whole.recorded(&self.repository).map_err(|e| NoteError::Failed(e.to_string()))?;
        let mut streams = Vec::new();
        for (segment, file) in &recorded.read {
            let said = whole.correction(lines, segment, file).map(|c| c.to.clone());
            let sides = said.unwrap_or_default();
            streams.extend(segment.streams.iter().map(|s| StreamSide {
                stream: s.id,
                segment: segment.id,
                number: segment.number,
                label: s.label.clone(),
                recorded: s.side,
                side: sides.of(s.id, s.side),
            }));
        }
        let mut history: Vec<Correction> = corrections_of(lines).cloned().collect();
        history.drain(..history.len().saturating_sub(HISTORY_SHOWN));
        // What counts for a segment that would begin now.
        let all = whole.pieces.iter().map(|p| p.call).collect();
        let now = correction_for(lines, &all).map(|c| c.to.clone()).unwrap_or_default();
        Ok(CallSides { call: whole.call, now, streams, history })
    }
}

/// What was said last of segments that were recorded as those of a call.
fn now_of(lines: &[LogLine], call: CallId) -> Sides {
    correction_of(lines, call).map(|c| c.to.clone()).unwrap_or_default()
}
