//! Calls that turned out to be one.
//!
//! Segments are recorded before it is known which call they belong to: two dialogs of one conversation may come
//! minutes apart, or begin on different nodes. When correlation finds that two calls are one, it says so by a
//! [`Join`]. The call of the lower id survives, so that any order of discovery ends the same; the other's segments
//! are segments of the surviving one from then on, under numbers of that one.
//!
//! What is sealed never changes: manifests keep the call and the number that they had, and files stay where they are.
//! Joins are edges between calls; calls that are connected by them are one ([`connected`]), and each segment of theirs
//! has a number in it ([`numbering`]). Both follow from the joins alone, whatever the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{CallId, SegmentId, TenantId};
use crate::time::WallTime;

/// Calls that may be one: a conversation that is forked by both phones of each of a dozen people, transferred and held.
/// What is joined beyond is not followed.
pub const CALLS_MAX: usize = 64;

/// What names a call and the directory that its files lie in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CallKey {
    /// The call.
    pub call: CallId,
    /// When its first segment began: names its directory.
    pub call_started: WallTime,
    /// The owner.
    pub tenant: TenantId,
}

/// By what it was found that two calls are one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "what")]
pub enum JoinReason {
    /// A dialog of one names a dialog of the other: Replaces (RFC 3891), Join (RFC 3911), or the same Call-ID.
    Dialog,
    /// The same Session-ID (RFC 7989).
    SessionId,
    /// The same value of an identifier of a vendor, which is named: `x-refci`, `cisco-guid`, `ucid`.
    Vendor(String),
    /// The same directory number and line, resumed after a hold.
    Line,
    /// A person said so: who.
    Person(String),
}

impl JoinReason {
    /// A phrase for lists: `Session-ID`, `x-refci`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Dialog => "dialog".to_owned(),
            Self::SessionId => "Session-ID".to_owned(),
            Self::Vendor(name) => name.clone(),
            Self::Line => "line after a hold".to_owned(),
            Self::Person(who) => format!("said by {who}"),
        }
    }
}

/// Two calls, of which segments exist, turned out to be one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Join {
    /// The call that survives: the one of the lower id.
    pub into: CallKey,
    /// The call that it takes in.
    pub from: CallKey,
    /// The numbers that the segments of `from` have in `into` from now on, those included that `from` had taken in
    /// before.
    pub numbers: Vec<(SegmentId, u16)>,
    /// The total of the call's segments now.
    pub total: u16,
    /// When it was found.
    pub at: WallTime,
    /// By what.
    pub why: JoinReason,
}

impl Join {
    /// Whether it is of these two calls, whatever else it says.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.into.call == other.into.call && self.from.call == other.from.call
    }

    /// Whether it can be one: two different calls of one owner, into the one of the lower id.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.into.call < self.from.call && self.into.tenant == self.from.tenant
    }
}

/// All calls that joins connect with one, itself included; the lowest survives. At most [`CALLS_MAX`].
#[must_use]
pub fn connected<'a>(call: CallId, joins: impl IntoIterator<Item = &'a Join>) -> BTreeSet<CallId> {
    let edges: Vec<_> = joins.into_iter().map(|j| (j.into.call, j.from.call)).collect();
    let mut found = BTreeSet::from([call]);
    let mut to_visit = vec![call];
    while let Some(at) = to_visit.pop() {
        for (a, b) in &edges {
            let other = match at {
                _ if at == *a => *b,
                _ if at == *b => *a,
                _ => continue,
            };
            if found.len() < CALLS_MAX && found.insert(other) {
                to_visit.push(other);
            }
        }
    }
    found
}

/// A segment as it was recorded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Recorded {
    /// The number that it was given then.
    pub number: u16,
    /// The segment.
    pub segment: SegmentId,
    /// The call that it was recorded as a segment of.
    pub call: CallId,
}

/// The numbers that segments have in the surviving call, without repetition.
///
/// Those that were recorded as its own keep theirs. The others have what the join into the lowest call gave them. Where
/// none did, because a segment began while its call was joined, they follow in the order of their ids.
#[must_use]
pub fn numbering(
    survivor: CallId,
    segments: impl IntoIterator<Item = Recorded>,
    joins: &[Join],
) -> BTreeMap<SegmentId, u16> {
    let given = given(survivor, joins);
    let (own, mut others): (Vec<_>, Vec<_>) = segments.into_iter().partition(|s| s.call == survivor);
    let mut numbers: BTreeMap<SegmentId, u16> = own.iter().map(|s| (s.segment, s.number)).collect();
    let mut taken: BTreeSet<u16> = numbers.values().copied().collect();
    others.sort_by_key(|s| (given.get(&s.segment).copied().unwrap_or(u16::MAX), s.segment));
    let mut left = Vec::new();
    for segment in others {
        match given.get(&segment.segment).filter(|n| **n > 0 && !taken.contains(n)) {
            Some(number) => {
                taken.insert(*number);
                numbers.insert(segment.segment, *number);
            }
            None => left.push(segment.segment),
        }
    }
    left.sort_unstable();
    let mut next = taken.last().copied().unwrap_or(0);
    for segment in left {
        next = next.saturating_add(1);
        numbers.insert(segment, next);
    }
    numbers
}

/// What joins into the surviving call say of each segment, of several the one that was found last. Numbers that others
/// gave are numbers of another call.
fn given(survivor: CallId, joins: &[Join]) -> BTreeMap<SegmentId, u16> {
    let mut sorted: Vec<&Join> = joins.iter().filter(|j| j.into.call == survivor).collect();
    sorted.sort_by_key(|j| (j.at, j.from.call));
    sorted.into_iter().flat_map(|j| j.numbers.iter().copied()).collect()
}

/// A total that a segment was told, as it is under another number: it expects as many after itself as before.
#[must_use]
pub fn moved_total(total: u16, number: u16, to: u16) -> u16 {
    to.saturating_add(total.saturating_sub(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, proptest};

    fn key(n: u64) -> CallKey {
        CallKey { call: CallId::from_u64(n), call_started: WallTime(0), tenant: TenantId::default() }
    }

    fn join(into: u64, from: u64, numbers: &[(u64, u16)]) -> Join {
        Join {
            into: key(into),
            from: key(from),
            numbers: numbers.iter().map(|(s, n)| (SegmentId::from_u64(*s), *n)).collect(),
            total: 0,
            at: WallTime(0),
            why: JoinReason::SessionId,
        }
    }

    fn recorded(call: u64, segment: u64, number: u16) -> Recorded {
        Recorded { number, segment: SegmentId::from_u64(segment), call: CallId::from_u64(call) }
    }

    fn numbers(survivor: u64, segments: &[Recorded], joins: &[Join]) -> Vec<(u64, u16)> {
        let numbers = numbering(CallId::from_u64(survivor), segments.iter().copied(), joins);
        numbers.into_iter().map(|(s, n)| (s.as_u64(), n)).collect()
    }

    #[test]
    fn segments_of_a_call_that_was_taken_in_have_the_numbers_that_the_join_gave() {
        let segments = [recorded(1, 11, 1), recorded(1, 12, 3), recorded(2, 21, 1)];
        assert_eq!(numbers(1, &segments, &[join(1, 2, &[(21, 2)])]), [(11, 1), (12, 3), (21, 2)]);
    }

    #[test]
    fn of_a_chain_the_join_into_the_lowest_counts() {
        let segments = [recorded(1, 11, 1), recorded(2, 21, 1), recorded(3, 31, 1)];
        let chain = [join(2, 3, &[(31, 2)]), join(1, 2, &[(21, 2), (31, 3)])];
        let turned = [chain[1].clone(), chain[0].clone()];
        for joins in [chain, turned] {
            assert_eq!(numbers(1, &segments, &joins), [(11, 1), (21, 2), (31, 3)]);
        }
    }

    #[test]
    fn what_no_join_numbered_follows_and_nothing_has_a_number_twice() {
        let segments = [recorded(1, 11, 1), recorded(2, 21, 1), recorded(2, 22, 2), recorded(2, 23, 3)];
        let joins = [join(1, 2, &[(21, 1), (22, 2)])];
        assert_eq!(numbers(1, &segments, &joins), [(11, 1), (21, 3), (22, 2), (23, 4)]);
    }

    #[test]
    fn a_total_moves_with_its_number() {
        for (total, number, to, moved) in
            [(1, 1, 3, 3), (2, 1, 3, 4), (1, 2, 3, 3), (2, 1, u16::MAX, u16::MAX)]
        {
            assert_eq!(moved_total(total, number, to), moved);
        }
    }

    #[test]
    fn it_reads_as_it_is_written() {
        for why in [
            JoinReason::Dialog,
            JoinReason::Vendor("x-refci".to_owned()),
            JoinReason::Person("ann".to_owned()),
        ] {
            let join = Join { why, ..join(1, 2, &[(21, 2)]) };
            let json = serde_json::to_string(&join).unwrap();
            assert_eq!(serde_json::from_str::<Join>(&json).unwrap(), join, "{json}");
        }
        assert!(join(1, 2, &[]).is_sound() && !join(2, 1, &[]).is_sound());
    }

    proptest! {
        /// Which calls are one, and the numbers in it, do not depend on the order of the joins.
        #[test]
        fn any_order_of_joins_ends_the_same(
            joins in proptest::collection::vec((1_u64..6, 1_u64..6), 0..6).prop_flat_map(|pairs| {
                let all: Vec<Join> = pairs
                    .into_iter()
                    .filter(|(a, b)| a < b)
                    .map(|(a, b)| join(a, b, &[(b * 10, u16::try_from(a + b).unwrap()), (b * 10 + 1, 2)]))
                    .collect();
                (Just(all.clone()), Just(all).prop_shuffle())
            }),
        ) {
            let (joins, shuffled) = joins;
            let segments: Vec<_> =
                (1..6).flat_map(|c| [recorded(c, c * 10, 1), recorded(c, c * 10 + 1, 2)]).collect();
            for call in 1..6 {
                let of = |joins: &[Join]| connected(CallId::from_u64(call), joins);
                prop_assert_eq!(of(&joins), of(&shuffled));
                let group = of(&joins);
                let survivor = *group.first().unwrap();
                let mine: Vec<_> = segments.iter().copied().filter(|s| group.contains(&s.call)).collect();
                let numbered = numbering(survivor, mine.iter().copied(), &joins);
                prop_assert_eq!(&numbered, &numbering(survivor, mine.iter().copied(), &shuffled));
                let distinct: BTreeSet<_> = numbered.values().collect();
                prop_assert_eq!(distinct.len(), mine.len());
                prop_assert!(!distinct.contains(&0));
            }
        }
    }
}
