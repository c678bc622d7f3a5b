//! Whether a call is whole, and what it comes to when it is.
//!
//! The rules are the model's ([`model::total`], [`model::copy::gathered_outcome`]); this applies them to the
//! segments of one call that a repository holds.

use model::{
    CallId, Copy, CopyOf, Location, NodeNumber, Now, Outcome, RecordingState, SegmentRecord, copy, total,
};

use crate::layout;
use crate::log::{self, Entry, LogLine};
use crate::op::FileOp;

/// How the gathering of a call stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathering {
    /// The call's total: the highest of its segments'.
    pub total: u16,
    /// Numbers from 1 to the total that are not there.
    pub missing: Vec<u16>,
    /// Segments that have no end yet.
    pub live: usize,
    /// What the call comes to; none while something is missing or live.
    pub outcome: Option<Outcome>,
}

impl Gathering {
    /// The state of the call's copy here, once it is gathered.
    #[must_use]
    pub fn state(&self) -> Option<RecordingState> {
        self.outcome.map(RecordingState::gathered)
    }
}

/// How the gathering of a call stands whose segments here are these. `corrected` is the total after the call is
/// known to have ended; without it the segments' own totals count.
#[must_use]
pub fn outcome(segments: &[SegmentRecord], corrected: Option<u16>) -> Gathering {
    let total = corrected.unwrap_or_else(|| total::of_call(segments.iter().map(|s| s.total)));
    let missing: Vec<u16> = (1..=total).filter(|n| !segments.iter().any(|s| s.number == *n)).collect();
    let live = segments.iter().filter(|s| s.is_live()).count();
    let states: Vec<RecordingState> = segments.iter().map(|s| s.state).collect();
    let whole = missing.is_empty() && live == 0 && total > 0;
    let outcome = whole.then(|| copy::gathered_outcome(&states)).flatten();
    Gathering { total, missing, live, outcome }
}

/// Why a total is noted when a call ended: nothing more will come of it.
const ENDED: &str = "the call ended";

/// Notes in a call's log how the call came out; or, where it had come out already, that it goes on. Where its segments lie
/// on several record servers only their total is noted: what it comes to is known when they are gathered.
#[must_use]
pub fn conclude(now: Now, node: NodeNumber, conclusion: &model::Conclusion) -> Vec<FileOp> {
    let directory = layout::call_directory(&conclusion.tenant, conclusion.call_started, conclusion.call);
    let at = Location::Node(node);
    let (of_total, of_state) = match conclusion.state.is_none_or(RecordingState::is_gathered) {
        true => (ENDED, "gathered"),
        false => ("the call goes on", "continued"),
    };
    let total = Entry::Total { call: conclusion.call, total: conclusion.total, why: of_total.to_owned() };
    let state = conclusion.state.map(|state| Entry::State {
        copy: Copy { of: CopyOf::Call(conclusion.call), at, state },
        from: conclusion.from,
        why: of_state.to_owned(),
    });
    let bytes = [total].iter().chain(&state).flat_map(|e| log::line(now.wall, e)).collect();
    vec![FileOp::AppendLine { path: layout::log_path(&directory), bytes }]
}

/// The total that a call ended with, where whoever held it said so and it has not gone on since: segments up to there may
/// lie elsewhere.
#[must_use]
pub fn ended_with(lines: &[LogLine], of: CallId) -> Option<u16> {
    let newest = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Total { call, total, why } if *call == of => Some((*total, why.as_str())),
        _ => None,
    });
    newest.filter(|(_, why)| *why == ENDED).map(|(total, _)| total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use RecordingState as S;

    #[test]
    fn a_call_is_gathered_when_nothing_is_missing_or_live() {
        let check = |segments: &[(u16, u16, S, bool)], corrected, missing: &[u16], state: Option<S>| {
            let records: Vec<_> = segments
                .iter()
                .map(|(number, total, state, live)| {
                    let mut record = fixture::record(*number);
                    (record.total, record.state) = (*total, *state);
                    record.ended = (!live).then_some(record.started);
                    record
                })
                .collect();
            let gathering = outcome(&records, corrected);
            assert_eq!((gathering.missing.as_slice(), gathering.state()), (missing, state), "{segments:?}");
        };
        check(&[(1, 1, S::Partial, false)], None, &[], Some(S::Complete));
        check(&[(1, 2, S::Partial, false)], None, &[2], None);
        check(&[(1, 2, S::Partial, false)], Some(1), &[], Some(S::Complete));
        check(&[(1, 1, S::Incomplete, true)], None, &[], None);
        check(&[(1, 2, S::Partial, false), (2, 2, S::Incomplete, true)], None, &[], None);
        check(&[(1, 1, S::PartialInternalError, false)], None, &[], Some(S::CompleteInternalError));
        check(
            &[(1, 1, S::PartialInternalError, false), (2, 2, S::PartialInternalErrorRespondent, false)],
            None,
            &[],
            Some(S::CompleteInternalErrorRespondent),
        );
        check(&[], None, &[], None);
    }
    /// The entries that a conclusion adds.
    fn noted(state: Option<S>, from: Option<S>, total: u16) -> Vec<LogLine> {
        let record = fixture::record(1);
        let conclusion = model::Conclusion {
            call: record.call,
            call_started: record.started,
            tenant: record.tenant,
            total,
            from,
            state,
        };
        let ops = conclude(fixture::now(0), NodeNumber::SINGLE, &conclusion);
        let [FileOp::AppendLine { bytes, .. }] = &ops[..] else { panic!("{ops:?}") };
        log::read(bytes).0
    }

    #[test]
    fn a_call_on_several_record_servers_has_its_total_and_no_state() {
        let call = fixture::record(1).call;
        let scattered = noted(None, None, 3);
        assert_eq!(log::state_of(&scattered, CopyOf::Call(call)), None);
        assert_eq!((log::total_of(&scattered, call), ended_with(&scattered, call)), (Some(3), Some(3)));
        let whole = noted(Some(S::Complete), None, 2);
        assert_eq!(log::state_of(&whole, CopyOf::Call(call)), Some(S::Complete));
        assert_eq!(ended_with(&whole, call), Some(2));
        let goes_on = noted(Some(S::Partial), Some(S::Complete), 3);
        assert_eq!((log::total_of(&goes_on, call), ended_with(&goes_on, call)), (Some(3), None));
    }
}
