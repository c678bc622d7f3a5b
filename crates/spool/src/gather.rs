//! Whether a call is whole, and what it comes to when it is.
//!
//! The rules are the model's ([`model::total`], [`model::copy::gathered_outcome`]); this applies them to the
//! segments of one call that a repository holds.

use std::collections::BTreeMap;

use model::{
    CallId, CallKey, Copy, CopyOf, Location, NodeNumber, Now, Outcome, RecordingState, SegmentRecord,
    Transition, copy, total,
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
/// Why a total and a state are noted when all segments are in one place.
const GATHERED: &str = "gathered";

/// What is to be noted in a call's log, and what the call's copy here has come to by then, if it has one.
#[derive(Clone, PartialEq, Debug)]
pub struct Noted {
    /// What is to be done; nothing when the log says so already.
    pub ops: Vec<FileOp>,
    /// The state of the call's copy here.
    pub state: Option<RecordingState>,
}

/// Notes in a call's log how the call came out; or, where it had come out already, that it goes on. Where its segments lie
/// on several record servers only their total is noted: what it comes to is known when they are gathered.
///
/// `lines` are those of the log. Whoever says how it came out may not know all of it: a loss of power may have cut a segment
/// after it was told of, and record servers may have concluded the call while nobody said so. A call is as grave as the
/// gravest of these, by the table; and what was given up here for a copy elsewhere is concluded there.
#[must_use]
pub fn conclude(now: Now, node: NodeNumber, conclusion: &model::Conclusion, lines: &[LogLine]) -> Noted {
    let call = conclusion.call;
    let here = state_here(lines, call, node);
    if is_given_up(lines) {
        return Noted { ops: Vec::new(), state: here };
    }
    let of_total = match conclusion.state.is_none_or(RecordingState::is_gathered) {
        true => ENDED,
        false => "the call goes on",
    };
    let newest = newest_total(lines, call);
    let is_new_total = newest.is_none_or(|(total, _)| total != conclusion.total);
    let steps = match conclusion.state {
        None => Vec::new(),
        Some(state) if state.is_gathered() => {
            let outcome = state.outcome().max(outcome_here(lines, node));
            came_to(here, conclusion.from, outcome, is_new_total)
        }
        Some(state) => match here.filter(|here| here.is_gathered()) {
            Some(here) => taken_back(here).into_iter().collect(),
            None => vec![(conclusion.from, state, "continued")],
        },
    };
    let total = (is_new_total || newest.is_some_and(|(_, why)| why != of_total && why != GATHERED))
        .then(|| Entry::Total { call, total: conclusion.total, why: of_total.to_owned() });
    let state = steps.last().map(|(_, state, _)| *state).or(here);
    let key = CallKey { call, call_started: conclusion.call_started, tenant: conclusion.tenant.clone() };
    Noted { ops: append(now, node, &key, total, &steps), state }
}

/// Takes back what a call came to here that was told before a segment of it was found to be graver: closed anew after a crash,
/// say. None where it is as grave as that.
#[must_use]
pub fn correct(
    now: Now,
    node: NodeNumber,
    key: &CallKey,
    lines: &[LogLine],
    outcome: Outcome,
) -> Option<Noted> {
    let here = state_here(lines, key.call, node).filter(|state| state.is_gathered())?;
    if here.outcome() >= Some(outcome) {
        return None;
    }
    let steps = came_to(Some(here), None, Some(outcome), true);
    let state = steps.last().map(|(_, state, _)| *state);
    Some(Noted { ops: append(now, node, key, None, &steps), state })
}

/// The gravest outcome of the segments that a log has at a node; none where it has none.
#[must_use]
pub fn outcome_here(lines: &[LogLine], node: NodeNumber) -> Option<Outcome> {
    let mut newest = BTreeMap::new();
    for line in lines {
        if let Entry::State { copy, .. } = &line.entry
            && let CopyOf::Segment(segment) = copy.of
            && copy.at == Location::Node(node)
        {
            newest.insert(segment, copy.state);
        }
    }
    newest.into_values().filter(|state| state.is_segment()).filter_map(RecordingState::outcome).max()
}

/// A state of the call's copy: the one before, the one after, and why.
type Passed = (Option<RecordingState>, RecordingState, &'static str);

/// The states that a call's copy passes through to come to this.
fn came_to(
    here: Option<RecordingState>,
    from: Option<RecordingState>,
    outcome: Option<Outcome>,
    is_news: bool,
) -> Vec<Passed> {
    // One that is known to come to something has an outcome.
    let outcome = outcome.unwrap_or(Outcome::Internal);
    let gathered = |before: Option<RecordingState>| {
        let outcome = before.and_then(RecordingState::outcome).map_or(outcome, |o| o.max(outcome));
        let by_table = before.and_then(|before| before.apply(Transition::Gathered(outcome)).ok());
        by_table.map_or((None, RecordingState::gathered(outcome)), |state| (before, state))
    };
    let mut steps = Vec::new();
    let before = match here {
        Some(here) if here.is_gathered() => {
            if !is_news && here.outcome() >= Some(outcome) {
                return Vec::new();
            }
            let Some(back) = taken_back(here) else { return Vec::new() };
            steps.push(back);
            Some(back.1)
        }
        Some(here) if here.is_segment() => Some(here),
        _ => from,
    };
    let (before, state) = gathered(before);
    steps.push((before, state, GATHERED));
    steps
}

fn taken_back(here: RecordingState) -> Option<Passed> {
    here.apply(Transition::Continued).ok().map(|state| (Some(here), state, "continued"))
}

fn append(now: Now, node: NodeNumber, key: &CallKey, total: Option<Entry>, steps: &[Passed]) -> Vec<FileOp> {
    let states = steps.iter().map(|(from, state, why)| Entry::State {
        copy: Copy { of: CopyOf::Call(key.call), at: Location::Node(node), state: *state },
        from: *from,
        why: (*why).to_owned(),
    });
    let bytes: Vec<u8> = total.into_iter().chain(states).flat_map(|e| log::line(now.wall, &e)).collect();
    if bytes.is_empty() {
        return Vec::new();
    }
    let directory = layout::call_directory(&key.tenant, key.call_started, key.call);
    vec![FileOp::AppendLine { path: layout::log_path(&directory), bytes }]
}

/// The newest state of a call's copy at a node.
fn state_here(lines: &[LogLine], call: CallId, node: NodeNumber) -> Option<RecordingState> {
    lines.iter().rev().find_map(|line| match &line.entry {
        Entry::State { copy, .. } if copy.of == CopyOf::Call(call) && copy.at == Location::Node(node) => {
            Some(copy.state)
        }
        _ => None,
    })
}

/// Whether what is here was given up for a copy elsewhere, and nothing has begun here since.
fn is_given_up(lines: &[LogLine]) -> bool {
    let newest = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::GivenUp { .. } => Some(true),
        Entry::Opened { .. } => Some(false),
        _ => None,
    });
    newest == Some(true)
}

fn newest_total(lines: &[LogLine], of: CallId) -> Option<(u16, &str)> {
    lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Total { call, total, why } if *call == of => Some((*total, why.as_str())),
        _ => None,
    })
}

/// The total that a call ended with, where whoever held it said so and it has not gone on since: segments up to there may
/// lie elsewhere.
#[must_use]
pub fn ended_with(lines: &[LogLine], of: CallId) -> Option<u16> {
    newest_total(lines, of).filter(|(_, why)| *why == ENDED).map(|(total, _)| total)
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

    fn concluded(state: Option<S>, from: Option<S>, total: u16) -> model::Conclusion {
        let record = fixture::record(1);
        let (call, call_started, tenant) = (record.call, record.started, record.tenant);
        model::Conclusion { call, call_started, tenant, total, from, state }
    }

    fn read(ops: &[FileOp]) -> Vec<LogLine> {
        match ops {
            [] => Vec::new(),
            [FileOp::AppendLine { bytes, .. }] => log::read(bytes).0,
            _ => panic!("{ops:?}"),
        }
    }

    /// A log after these conclusions, one after the other, behind what it said before.
    fn noted(before: &[LogLine], conclusions: &[(Option<S>, Option<S>, u16)]) -> Vec<LogLine> {
        let mut lines = before.to_vec();
        for (state, from, total) in conclusions {
            let conclusion = concluded(*state, *from, *total);
            lines.extend(read(&conclude(fixture::now(0), NodeNumber::SINGLE, &conclusion, &lines).ops));
        }
        let states = lines.iter().filter_map(|line| match &line.entry {
            Entry::State { copy, from: Some(from), .. } => Some((*from, copy.state)),
            _ => None,
        });
        for (from, to) in states {
            assert!(model::state::TRANSITIONS.iter().any(|(f, _, t)| (*f, *t) == (from, to)), "{from} {to}");
        }
        lines
    }

    fn segment_in(state: S) -> LogLine {
        let of = CopyOf::Segment(fixture::record(1).id);
        let copy = Copy { of, at: Location::Node(NodeNumber::SINGLE), state };
        LogLine { at: fixture::START, entry: Entry::State { copy, from: None, why: String::new() } }
    }

    #[test]
    fn a_call_on_several_record_servers_has_its_total_and_no_state() {
        let call = fixture::record(1).call;
        let scattered = noted(&[], &[(None, None, 3)]);
        assert_eq!(log::state_of(&scattered, CopyOf::Call(call)), None);
        assert_eq!((log::total_of(&scattered, call), ended_with(&scattered, call)), (Some(3), Some(3)));
        let whole = noted(&[], &[(Some(S::Complete), None, 2)]);
        assert_eq!(log::state_of(&whole, CopyOf::Call(call)), Some(S::Complete));
        assert_eq!(ended_with(&whole, call), Some(2));
        let goes_on = noted(&[], &[(Some(S::Partial), Some(S::Complete), 3)]);
        assert_eq!((log::total_of(&goes_on, call), ended_with(&goes_on, call)), (Some(3), None));
    }

    #[test]
    fn a_call_is_as_grave_as_the_gravest_that_is_known_of_it() {
        let of = CopyOf::Call(fixture::record(1).call);
        let check =
            |before: &[LogLine], conclusions: &[(Option<S>, Option<S>, u16)], state: S, lines: usize| {
                let after = noted(before, conclusions);
                assert_eq!((log::state_of(&after, of), after.len() - before.len()), (Some(state), lines));
            };
        let once = (Some(S::Complete), None, 1);
        check(&[], &[once], S::Complete, 2);
        // Sent again, as it may have been lost.
        check(&[], &[once, once], S::Complete, 2);
        // A loss of power cut the segment after its end was told.
        check(&[segment_in(S::PartialInternalError)], &[once], S::CompleteInternalError, 2);
        check(
            &[segment_in(S::PartialInternalErrorRespondent)],
            &[(Some(S::CompleteInternalError), None, 1)],
            S::CompleteInternalErrorRespondent,
            2,
        );
        // Record servers concluded it, and its proxy is back: what it says is less grave, as grave, or graver.
        let alone = noted(&[], &[(Some(S::CompleteInternalError), None, 1)]);
        check(&alone, &[once], S::CompleteInternalError, 0);
        check(
            &noted(&[], &[once]),
            &[(Some(S::CompleteExternalError), None, 1)],
            S::CompleteExternalError,
            2,
        );
        // It went on meanwhile.
        check(&alone, &[(Some(S::Complete), None, 2)], S::CompleteInternalError, 3);
        check(&alone, &[(Some(S::Partial), Some(S::Complete), 2)], S::PartialInternalError, 2);
        let continued =
            [once, (Some(S::Partial), Some(S::Complete), 2), (Some(S::Complete), Some(S::Partial), 2)];
        check(&[], &continued, S::Complete, 6);
    }

    #[test]
    fn what_was_given_up_here_is_concluded_where_it_is() {
        let given_up =
            LogLine { at: fixture::START, entry: Entry::GivenUp { to: NodeNumber::SINGLE, octets: 0 } };
        let late = concluded(None, None, 1);
        let ops = |lines: &[LogLine]| conclude(fixture::now(0), NodeNumber::SINGLE, &late, lines).ops.len();
        assert_eq!(ops(std::slice::from_ref(&given_up)), 0);
        let (segment, manifest) = (fixture::record(1).id, "001.json".to_owned());
        let opened = Entry::Opened { segment, number: 1, manifest, state: S::Incomplete };
        assert_eq!(ops(&[given_up, LogLine { at: fixture::START, entry: opened }]), 1, "it went on here");
    }

    #[test]
    fn a_segment_that_is_closed_anew_after_a_loss_of_power_makes_its_call_graver() {
        let record = fixture::record(1);
        let key = CallKey { call: record.call, call_started: record.started, tenant: record.tenant };
        let whole = noted(&[], &[(Some(S::Complete), None, 1)]);
        let corrected =
            |lines: &[LogLine], outcome| correct(fixture::now(1), NodeNumber::SINGLE, &key, lines, outcome);
        assert_eq!(corrected(&whole, Outcome::NoFailure), None);
        let graver = corrected(&whole, Outcome::Internal).unwrap();
        assert_eq!(graver.state, Some(S::CompleteInternalError));
        let lines = [whole, read(&graver.ops)].concat();
        assert_eq!(log::state_of(&lines, CopyOf::Call(key.call)), Some(S::CompleteInternalError));
        assert_eq!(corrected(&lines, Outcome::Internal), None, "once");
        assert_eq!(corrected(&[], Outcome::Internal), None, "nothing was told");
    }
}
