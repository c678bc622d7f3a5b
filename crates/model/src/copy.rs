//! Copies: where segments and gathered calls lie, and the state of a call that follows from them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{CallId, NodeNumber, SegmentId};
use crate::state::{Outcome, RecordingState, Transition};

/// A place that holds copies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Location {
    /// The repository of a node.
    Node(NodeNumber),
    /// An archive, by its configured name.
    Archive(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(n) => write!(f, "node {}", n.get()),
            Self::Archive(name) => write!(f, "archive {name}"),
        }
    }
}

/// What a copy is a copy of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyOf {
    /// One segment.
    Segment(SegmentId),
    /// The call, all its segments gathered.
    Call(CallId),
}

/// A segment, or a gathered call, at one place.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct Copy {
    /// What it is a copy of.
    pub of: CopyOf,
    /// Where it lies.
    pub at: Location,
    /// Its state.
    pub state: RecordingState,
}

/// What a list shows for a call, derived from its copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallState {
    /// The state.
    pub state: RecordingState,
    /// Whether a segment has no end yet.
    pub live: bool,
}

/// The one rule by which the state of a call follows from its copies:
///
/// 1. a gathered copy speaks for the call; of several, the one of the highest code;
/// 2. else, while a segment is live, the state of the newest live segment (`incomplete`, or the respondent's);
/// 3. else the gravest of the segments' states: internal with respondent, internal, external, `partial`;
/// 4. a call without any copy is `delete`.
///
/// `segments` are the states of the segments' copies in order of their numbers, with whether each is live;
/// `calls` the states of the call's own copies.
#[must_use]
pub fn call_state(segments: &[(RecordingState, bool)], calls: &[RecordingState]) -> CallState {
    let live = segments.iter().any(|(_, live)| *live);
    let gathered = calls.iter().copied().filter(|s| s.is_gathered()).max();
    let newest_live = segments.iter().rev().find(|(_, live)| *live).map(|(s, _)| *s);
    let gravest = || segments.iter().map(|(s, _)| *s).filter(|s| s.is_segment()).max_by_key(|s| s.outcome());
    let state = gathered
        .filter(|_| !live)
        .or(newest_live)
        .or_else(gravest)
        .or_else(|| segments.iter().map(|(s, _)| *s).chain(calls.iter().copied()).max())
        .unwrap_or(RecordingState::Delete);
    CallState { state, live }
}

/// How gathering a call comes out, from the states its segments ended in: internal outranks external, with a
/// respondent's own state when one took over. None while a segment is still `incomplete`.
#[must_use]
pub fn gathered_outcome(segments: &[RecordingState]) -> Option<Outcome> {
    let outcomes: Option<Vec<Outcome>> = segments.iter().map(|s| s.outcome()).collect();
    outcomes?.into_iter().max()
}

/// How a segment ended that two record servers recorded: as the copy that ended best. When one of them failed and the other did
/// not, nothing failed. None where there is no copy, or the best is of none that ended.
#[must_use]
pub fn ended_best(copies: impl IntoIterator<Item = RecordingState>) -> Option<RecordingState> {
    use RecordingState::{Incomplete, PartialInternalErrorRespondent};
    use Transition::{EndedByInternalError, EndedByUpstreamError, EndedNormally};
    let became = |state: RecordingState, how: &Transition| {
        [Incomplete, PartialInternalErrorRespondent].into_iter().any(|from| from.apply(*how) == Ok(state))
    };
    let how = |state: RecordingState| {
        [EndedNormally, EndedByUpstreamError, EndedByInternalError].iter().position(|how| became(state, how))
    };
    copies.into_iter().filter_map(|state| Some((how(state)?, state))).min().map(|(_, state)| state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecordingState as S;

    #[test]
    fn the_state_of_a_call_follows_from_its_copies() {
        for (segments, calls, expected) in [
            (vec![(S::Incomplete, true)], vec![], S::Incomplete),
            (vec![(S::Partial, false)], vec![], S::Partial),
            (vec![(S::Partial, false)], vec![S::Complete], S::Complete),
            (vec![(S::Partial, false), (S::Incomplete, true)], vec![], S::Incomplete),
            (vec![(S::Partial, false), (S::Incomplete, true)], vec![S::Partial], S::Incomplete),
            (vec![(S::Partial, false), (S::PartialExternalError, false)], vec![], S::PartialExternalError),
            (
                vec![(S::PartialInternalError, false), (S::PartialInternalErrorRespondent, false)],
                vec![S::CompleteInternalErrorRespondent],
                S::CompleteInternalErrorRespondent,
            ),
            (vec![], vec![S::CompleteDelete, S::CompleteMove], S::CompleteMove),
            (vec![], vec![], S::Delete),
        ] {
            assert_eq!(call_state(&segments, &calls).state, expected, "{segments:?} {calls:?}");
        }
    }

    #[test]
    fn of_two_copies_of_a_segment_the_one_that_ended_best_counts() {
        use S::{PartialExternalErrorRespondent, PartialInternalErrorRespondent};
        for (copies, expected) in [
            (vec![S::PartialInternalError, S::Partial], Some(S::Partial)),
            (vec![S::PartialExternalError, S::Partial], Some(S::Partial)),
            (vec![S::PartialInternalError, S::PartialExternalError], Some(S::PartialExternalError)),
            (vec![S::PartialInternalError; 2], Some(S::PartialInternalError)),
            // One that took over is a respondent's, however its other copy ended.
            (
                vec![S::PartialInternalError, PartialInternalErrorRespondent],
                Some(PartialInternalErrorRespondent),
            ),
            (
                vec![PartialExternalErrorRespondent, S::PartialInternalError],
                Some(PartialExternalErrorRespondent),
            ),
            (vec![S::Incomplete], None),
            (vec![], None),
        ] {
            assert_eq!(ended_best(copies.iter().copied()), expected, "{copies:?}");
            assert_eq!(ended_best(copies.iter().rev().copied()), expected, "{copies:?}");
        }
    }

    #[test]
    fn internal_outranks_external_and_a_respondent_outranks_both() {
        assert_eq!(gathered_outcome(&[S::Partial, S::Partial]), Some(Outcome::NoFailure));
        assert_eq!(gathered_outcome(&[S::PartialExternalError]), Some(Outcome::External));
        assert_eq!(
            gathered_outcome(&[S::PartialInternalError, S::PartialExternalError]),
            Some(Outcome::Internal)
        );
        assert_eq!(
            gathered_outcome(&[S::PartialInternalError, S::PartialInternalErrorRespondent, S::Partial]),
            Some(Outcome::InternalRespondent)
        );
        assert_eq!(gathered_outcome(&[S::Partial, S::Incomplete]), None);
    }
}
