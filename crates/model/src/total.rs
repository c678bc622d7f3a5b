//! Segment numbers and totals.
//!
//! Numbers count from 1 without holes. Segment *n* begins with total *n*; a hold or a transfer leaves *n* + 1,
//! because another is expected; a normal end leaves *n*; a failure leaves the total as it is. The total of a
//! call is the highest of its segments'. When the call is known to have ended, the total is corrected to the
//! last segment there is, so that nothing waits for a segment that never comes.

use crate::segment::EndReason;

/// The total that segment `number` begins with.
#[must_use]
pub const fn at_begin(number: u16) -> u16 {
    number
}

/// The total that segment `number` is left with when it ends, having had `total` so far.
#[must_use]
pub fn at_end(number: u16, total: u16, reason: &EndReason) -> u16 {
    match reason {
        EndReason::Hold | EndReason::Transfer => number.saturating_add(1),
        EndReason::HangUp | EndReason::Stop => number,
        EndReason::Upstream(_) | EndReason::Internal(_) => total,
    }
}

/// The total of a call, from its segments'.
#[must_use]
pub fn of_call(totals: impl IntoIterator<Item = u16>) -> u16 {
    totals.into_iter().max().unwrap_or(0)
}

/// Whether segments 1 to `total` are all there.
#[must_use]
pub fn is_gathered(numbers: impl IntoIterator<Item = u16>, total: u16) -> bool {
    let mut present = vec![false; usize::from(total)];
    for n in numbers {
        if let Some(slot) = usize::from(n).checked_sub(1).and_then(|i| present.get_mut(i)) {
            *slot = true;
        }
    }
    total > 0 && present.into_iter().all(|p| p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Failure;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    fn reason() -> impl Strategy<Value = EndReason> {
        prop_oneof![
            Just(EndReason::Hold),
            Just(EndReason::Transfer),
            Just(EndReason::Upstream(Failure::MediaTimeout)),
            Just(EndReason::Internal(Failure::Process)),
        ]
    }

    #[test]
    fn each_way_to_end_leaves_its_total() {
        for (reason, left) in [
            (EndReason::Hold, 3),
            (EndReason::Transfer, 3),
            (EndReason::HangUp, 2),
            (EndReason::Stop, 2),
            (EndReason::Upstream(Failure::MediaTimeout), 2),
            (EndReason::Internal(Failure::Process), 2),
        ] {
            assert_eq!(at_end(2, at_begin(2), &reason), left, "{reason:?}");
        }
    }

    #[test]
    fn gathered_means_no_number_is_missing() {
        assert!(is_gathered([2, 1], 2));
        assert!(!is_gathered([1, 3], 3));
        assert!(!is_gathered([], 0));
    }

    proptest! {
        /// Whatever happens on the way, after a hang-up the call is gathered by exactly its segments.
        #[test]
        fn after_a_hang_up_nothing_is_waited_for(ends in proptest::collection::vec(reason(), 0..9)) {
            let mut totals = Vec::new();
            let mut number = 0;
            for end in &ends {
                number += 1;
                totals.push(at_end(number, at_begin(number), end));
            }
            number += 1;
            totals.push(at_end(number, at_begin(number), &EndReason::HangUp));
            prop_assert_eq!(of_call(totals), number);
        }
    }
}
