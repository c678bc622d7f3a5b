//! The two rules on which all nodes must agree: who gathers a call, and for whom a copy may be given up.
//!
//! Both are functions of what they are given and of nothing else. The first may be answered differently by nodes that know
//! different things, which does no harm; the second may not depend on what anybody knows of others.

use model::state::Respondent;
use model::{NodeNumber, RecordingState, SegmentId, Transition};

/// A node that might gather a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Which.
    pub node: NodeNumber,
    /// Whether the call was ever gathered there.
    pub gathered: bool,
    /// Octets of the call's segments that are there.
    pub octets: u64,
    /// Octets of those that are not.
    pub lacks: u64,
    /// Octets that may be written there.
    pub room: u64,
}

/// Who recorded a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Recorded {
    /// The segment's number.
    pub number: u16,
    /// The segment.
    pub segment: SegmentId,
    /// The node.
    pub node: NodeNumber,
    /// Whether it answered a failure.
    pub is_respondent: bool,
}

impl Recorded {
    /// Of a segment.
    #[must_use]
    pub fn new(number: u16, segment: SegmentId, node: NodeNumber, respondent: Respondent) -> Self {
        Self { number, segment, node, is_respondent: respondent == Respondent::Yes }
    }
}

/// Who gathers a call, of those that can be reached and hold something of it; none when nobody has room.
///
/// 1. Who has gathered it before, of several the one of the lowest number: others may have given up their copies for it.
/// 2. The last respondent that has room; where nobody took over, who recorded segment 1.
/// 3. Whoever holds most, of several the one of the lowest number.
#[must_use]
pub fn leader(candidates: &[Candidate], recorded: &[Recorded]) -> Option<NodeNumber> {
    let may = |node: NodeNumber| candidates.iter().find(|c| c.node == node && c.room >= c.lacks);
    let before = candidates.iter().filter(|c| c.gathered && c.room >= c.lacks).map(|c| c.node).min();
    let mut by_number = recorded.to_vec();
    by_number.sort();
    let respondents = || by_number.iter().rev().filter(|r| r.is_respondent).map(|r| r.node);
    let first = || by_number.first().map(|r| r.node);
    before
        .or_else(|| respondents().find(|node| may(*node).is_some()))
        .or_else(|| first().filter(|node| may(*node).is_some()))
        .or_else(|| {
            let open = candidates.iter().filter(|c| c.room >= c.lacks);
            open.max_by_key(|c| (c.octets, std::cmp::Reverse(c.node))).map(|c| c.node)
        })
}

/// Whether a copy here may be given up for the one that `asker` has pinned. `pinned`: whether the call was ever gathered
/// here, so that others may lean on this copy as it is.
///
/// Numbers of nodes never change, so whoever gives up a pinned copy leans on one of a lower number, which does the same;
/// the lowest leans on nobody.
#[must_use]
pub fn may_give_up(here: NodeNumber, pinned: bool, asker: NodeNumber) -> bool {
    asker != here && (!pinned || asker < here)
}

/// What a copy becomes when it is given up for a call that came to `outcome`: by the one table. One whose record server failed says
/// so to its end, though another recorded the same and the call has no failure.
///
/// # Errors
/// When a copy in this state is not given up: what was archived, say.
pub fn given_up(
    state: RecordingState,
    outcome: RecordingState,
) -> Result<RecordingState, model::state::Impossible> {
    use model::Outcome::{Internal, InternalRespondent};
    use model::state::ElsewhereOutcome::{WithInternalError, WithoutInternalError};
    let elsewhere = match outcome.outcome().max(state.outcome()) {
        Some(Internal | InternalRespondent) => WithInternalError,
        _ => WithoutInternalError,
    };
    let partial = if state.is_gathered() { state.apply(Transition::Continued)? } else { state };
    partial.apply(Transition::GatheredElsewhere(elsewhere))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::sample::subsequence;

    fn node(n: u16) -> NodeNumber {
        NodeNumber::new(n).unwrap()
    }

    fn candidate(n: u16, octets: u64) -> Candidate {
        Candidate { node: node(n), gathered: false, octets, lacks: 100 - octets, room: 1_000 }
    }

    fn recorded(number: u16, n: u16, respondent: Respondent) -> Recorded {
        Recorded::new(number, SegmentId::from_u64(u64::from(number)), node(n), respondent)
    }

    #[test]
    fn who_has_segment_1_or_answered_the_last_failure_or_holds_most() {
        use Respondent::{No, Yes};
        let all = [candidate(1, 10), candidate(2, 20), candidate(3, 70)];
        let plain = [recorded(2, 3, No), recorded(1, 2, No), recorded(3, 1, No)];
        assert_eq!(leader(&all, &plain), Some(node(2)));
        let answered = [recorded(1, 2, No), recorded(2, 3, Yes), recorded(3, 1, Yes), recorded(4, 3, No)];
        assert_eq!(leader(&all, &answered), Some(node(1)));
        let full = [Candidate { room: 0, ..all[0] }, all[1], all[2]];
        assert_eq!(leader(&full, &answered), Some(node(3)));
        // Whoever is away is no candidate.
        assert_eq!(leader(&[all[0], all[2]], &plain), Some(node(3)));
        assert_eq!(leader(&[candidate(3, 50), candidate(1, 50)], &[recorded(1, 2, No)]), Some(node(1)));
        let gathered = [all[0], all[1], Candidate { gathered: true, ..all[2] }];
        assert_eq!(leader(&gathered, &plain), Some(node(3)));
        assert_eq!(leader(&full[..1], &plain), None);
        assert_eq!(leader(&[], &plain), None);
    }

    #[test]
    fn a_pinned_copy_is_given_up_for_a_lower_number_only() {
        assert!(may_give_up(node(1), false, node(2)));
        assert!(!may_give_up(node(1), true, node(2)));
        assert!(may_give_up(node(2), true, node(1)));
        assert!(!may_give_up(node(2), false, node(2)));
    }

    #[test]
    fn what_is_given_up_is_by_the_table() {
        use RecordingState as S;
        assert_eq!(given_up(S::Partial, S::Complete), Ok(S::Delete));
        assert_eq!(given_up(S::PartialExternalError, S::CompleteInternalError), Ok(S::DeleteInternalError));
        // Where another record server recorded the same segment.
        assert_eq!(given_up(S::PartialInternalError, S::Complete), Ok(S::DeleteInternalError));
        assert_eq!(given_up(S::Complete, S::Complete), Ok(S::Delete));
        assert!(given_up(S::CompleteCopy, S::Complete).is_err());
        assert!(given_up(S::Delete, S::Complete).is_err());
    }

    proptest! {
        #[test]
        fn everybody_who_knows_the_same_chooses_the_same(
            some in subsequence(vec![1_u16, 2, 3, 4, 5], 1..=5),
            octets in proptest::collection::vec(0_u64..100, 5),
            gathered in any::<u8>(),
            full in any::<u8>(),
            respondents in any::<u8>(),
        ) {
            let of = |n: &u16| Candidate {
                gathered: gathered >> n & 1 == 1,
                room: if full >> n & 1 == 1 { 0 } else { 1_000 },
                lacks: 1 + octets[usize::from(n - 1)],
                ..candidate(*n, octets[usize::from(n - 1)])
            };
            let mut candidates: Vec<_> = some.iter().map(of).collect();
            let mut segments: Vec<_> = (1..=5_u16)
                .map(|n| recorded(n, n, if respondents >> n & 1 == 1 { Respondent::Yes } else { Respondent::No }))
                .collect();
            let chosen = leader(&candidates, &segments);
            candidates.reverse();
            segments.reverse();
            prop_assert_eq!(chosen, leader(&candidates, &segments));
            let room: Vec<_> = candidates.iter().filter(|c| c.room >= c.lacks).collect();
            prop_assert_eq!(chosen.is_none(), room.is_empty());
            if let Some(chosen) = chosen {
                prop_assert!(room.iter().any(|c| c.node == chosen));
                let before: Vec<_> = room.iter().filter(|c| c.gathered).map(|c| c.node).collect();
                prop_assert!(before.is_empty() || before.iter().min() == Some(&chosen));
            }
        }
    }
}
