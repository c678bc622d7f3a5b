//! Shares follow the room, over any stretch.

use proptest::collection;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{Balance, choose};

/// Who is chosen of those with this room, so many times.
fn chosen(rooms: &[u32], times: usize) -> Vec<usize> {
    let mut balances = vec![Balance::default(); rooms.len()];
    let mut next = || choose(rooms.iter().zip(&mut balances).enumerate().map(|(i, (r, b))| (i, *r, b)));
    (0..times).map(|_| next().unwrap()).collect()
}

#[test]
fn those_of_equal_room_are_asked_in_a_circle() {
    assert_eq!(chosen(&[7, 7, 7], 7), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(chosen(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(choose(std::iter::empty::<((), u32, &mut Balance)>()), None);
}

proptest! {
    #[test]
    fn over_any_stretch_shares_follow_the_room(
        rooms in collection::vec(1_u32..1_000, 1..6),
        from in 0_usize..500,
        length in 1_usize..2_000,
    ) {
        let all = chosen(&rooms, from + length);
        let total: u64 = rooms.iter().copied().map(u64::from).sum();
        for (i, room) in rooms.iter().enumerate() {
            let times = all[from..].iter().filter(|c| **c == i).count() as u64;
            let (share, got) = (length as u64 * u64::from(*room), times * total);
            prop_assert!(share.abs_diff(got) <= 3 * total, "{i} of {rooms:?} has {times} of {length}");
        }
    }

    /// Who may be chosen changes, and so does the room.
    #[test]
    fn only_one_of_those_who_may_be_is_chosen_and_points_stay_few(
        lives in collection::vec(collection::vec((any::<bool>(), 1_u32..1_000), 5), 1..300),
    ) {
        let mut balances = vec![Balance::default(); 5];
        for life in &lives {
            let among = life.iter().zip(&mut balances).enumerate();
            let may = among.filter(|(_, ((may, _), _))| *may).map(|(i, ((_, room), b))| (i, *room, b));
            let chosen = choose(may);
            prop_assert_eq!(chosen.is_some(), life.iter().any(|(may, _)| *may));
            prop_assert!(chosen.is_none_or(|i| life[i].0));
            prop_assert_eq!(balances.iter().map(|b| b.0).sum::<i64>(), 0);
            prop_assert!(balances.iter().all(|b| b.0.abs() <= 5 * 5_000), "{balances:?}");
        }
    }
}
