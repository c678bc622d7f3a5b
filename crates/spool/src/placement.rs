//! On which of a record server's volumes a segment is recorded.
//!
//! A call stays where it is as long as that volume is well. Otherwise the segment goes to the volume that has the
//! fewest live segments for the room it has, by weight: a volume with twice the room gets twice the segments, so
//! volumes of any sizes fill up at the same time. It looks at no disk; it is told how each of them is.

use std::cmp::Ordering;

/// How a volume is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fitness {
    /// It takes what it is given.
    Good,
    /// Something failed on it and nothing has worked since: better than nothing.
    Suspect,
    /// Full, read-only, not there, standing still: nothing may be begun on it.
    Unfit,
}

/// A volume that a segment might go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// How it is.
    pub fitness: Fitness,
    /// Octets that may still be written to it.
    pub room: u64,
    /// How much it is wanted, against the others; 0: only read.
    pub weight: u32,
    /// Segments that are being written to it.
    pub live: u32,
}

/// The index of the volume to begin a segment on; none when there is none to be had. `home` is where the call's
/// segment before was begun; volumes that `tried` says were tried in vain are left out.
#[must_use]
pub fn choose(volumes: &[Candidate], home: Option<usize>, tried: impl Fn(usize) -> bool) -> Option<usize> {
    let of = |wanted: Fitness| {
        let open = volumes.iter().enumerate().filter(move |(_, v)| v.fitness == wanted && v.weight > 0);
        open.filter(|(index, _)| !tried(*index))
    };
    [Fitness::Good, Fitness::Suspect].into_iter().find_map(|fitness| {
        let stays = of(fitness).map(|(index, _)| index).find(|index| Some(*index) == home);
        stays.or_else(|| of(fitness).min_by(|(_, a), (_, b)| by_load(a, b)).map(|(index, _)| index))
    })
}

/// Compares (live + 1) / (room · weight) without dividing. Room is counted in MiB, so that nothing overflows.
fn by_load(a: &Candidate, b: &Candidate) -> Ordering {
    let load = |v: &Candidate| u128::from(v.live) + 1;
    let pull = |v: &Candidate| (u128::from(v.room >> 20) + 1) * u128::from(v.weight);
    (load(a) * pull(b)).cmp(&(load(b) * pull(a)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::{collection, sample};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn volume(fitness: Fitness, gib: u64, weight: u32, live: u32) -> Candidate {
        Candidate { fitness, room: gib * GIB, weight, live }
    }

    #[test]
    fn a_call_stays_where_it_is_while_that_is_well() {
        use Fitness::{Good, Suspect, Unfit};
        let check = |volumes: &[(Fitness, u64)], home, tried: &[usize], expected| {
            let volumes: Vec<_> = volumes.iter().map(|(f, gib)| volume(*f, *gib, 1, 0)).collect();
            assert_eq!(choose(&volumes, home, |i| tried.contains(&i)), expected, "{volumes:?} {home:?}");
        };
        check(&[(Good, 1), (Good, 9)], None, &[], Some(1));
        check(&[(Good, 1), (Good, 9)], Some(0), &[], Some(0));
        check(&[(Unfit, 1), (Good, 9)], Some(0), &[], Some(1));
        check(&[(Suspect, 1), (Good, 9)], Some(0), &[], Some(1));
        check(&[(Suspect, 1), (Unfit, 9)], Some(0), &[], Some(0));
        check(&[(Suspect, 1), (Unfit, 9)], None, &[0], None);
        check(&[(Good, 1), (Good, 9)], Some(1), &[1], Some(0));
        check(&[], None, &[], None);
    }

    #[test]
    fn what_weighs_nothing_is_only_read() {
        let volumes = [volume(Fitness::Good, 9, 0, 0), volume(Fitness::Suspect, 1, 1, 7)];
        assert_eq!(choose(&volumes, Some(0), |_| false), Some(1));
    }

    #[test]
    fn segments_spread_as_room_and_weight_say() {
        let mut volumes =
            [(10, 1), (20, 1), (10, 3)].map(|(gib, weight)| volume(Fitness::Good, gib, weight, 0));
        for _ in 0..600 {
            let chosen = choose(&volumes, None, |_| false).unwrap();
            volumes[chosen].live += 1;
        }
        let spread = volumes.map(|v| v.live);
        assert!((99..=101).contains(&spread[0]) && (199..=201).contains(&spread[1]), "{spread:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_begun_where_it_cannot_go(
            some in collection::vec(
                (sample::select(&[Fitness::Good, Fitness::Suspect, Fitness::Unfit][..]), any::<u64>(),
                 any::<u32>(), any::<u32>(), any::<bool>()),
                0..6,
            ),
            home in 0_usize..8,
        ) {
            let volumes: Vec<_> = some.iter()
                .map(|(fitness, room, weight, live, _)| Candidate { fitness: *fitness, room: *room, weight: *weight, live: *live })
                .collect();
            let tried = |i: usize| some[i].4;
            let may = |i: &usize| volumes[*i].fitness != Fitness::Unfit && volumes[*i].weight > 0 && !tried(*i);
            match choose(&volumes, Some(home), tried) {
                Some(chosen) => prop_assert!(may(&chosen)),
                None => prop_assert_eq!((0..volumes.len()).find(may), None),
            }
        }
    }
}
