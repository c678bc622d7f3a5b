//! A record server of some openers in virtual time, under any load; disks that stand still, and clients that give up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use proptest::prelude::{any, prop_assert, proptest};
use proptest::sample;

use super::*;
use crate::load::{Fate, Phase, arrivals, judge, phases};

const MS: u64 = 1_000_000;

const fn segment(n: usize) -> SegmentId {
    SegmentId::from_u64(n as u64)
}

/// A record server with so many openers, each of which takes so long.
fn simulate(phases: &[Phase], openers: u64, takes: u64, seed: u64) -> Vec<(Mono, Fate)> {
    let came = arrivals(phases, takes / openers, seed);
    let (mut admission, mut fates) = (Admission::default(), vec![None; came.len()]);
    let (mut waiting, mut done, mut free) = (VecDeque::new(), BinaryHeap::new(), openers);
    let mut coming = came.iter().copied().enumerate().peekable();
    loop {
        let next_done = done.peek().map(|Reverse((at, _))| *at);
        let now = match (coming.peek(), next_done) {
            (Some((_, at)), done) if done.is_none_or(|done| at.0 <= done) => {
                let now = *at;
                let Some((n, _)) = coming.next() else { break };
                if admission.refuses(now).is_some() {
                    fates[n] = Some(Fate::Refused(0));
                } else {
                    admission.ordered(now, segment(n));
                    waiting.push_back(n);
                }
                now
            }
            (_, Some(at)) => {
                let Some(Reverse((_, n))) = done.pop() else { break };
                admission.opened(Mono(at), segment(n));
                fates[n] = Some(Fate::Served(at - came[n].0));
                free += 1;
                Mono(at)
            }
            (None, None) => break,
            (Some(_), None) => unreachable!("it comes first"),
        };
        while free > 0
            && let Some(n) = waiting.pop_front()
        {
            free -= 1;
            done.push(Reverse((now.0 + takes, n)));
        }
    }
    let fates = fates.into_iter().map(|fate| fate.expect("everybody hears something"));
    came.into_iter().zip(fates).collect()
}

proptest! {
    /// Whatever comes: who is taken has its ports soon, and as many are taken as can be opened.
    #[test]
    fn any_load_is_opened_as_far_as_it_can_be(
        phases in phases(),
        openers in sample::select(&[1_u64, 4, 8, 16][..]),
        takes in MS..25 * MS,
        seed in any::<u64>(),
    ) {
        let came = simulate(&phases, openers, takes, seed);
        let judged = judge(&phases, &came, takes / openers, [800 * MS, 0, 500 * MS]);
        prop_assert!(judged.is_ok(), "{}", judged.unwrap_err());
    }
}

#[test]
fn a_moment_of_standstill_refuses_nobody_and_a_long_one_everybody() {
    let mut admission = Admission::default();
    for n in 0..20 {
        admission.ordered(Mono(0), segment(n));
    }
    assert_eq!(admission.refuses(Mono(2_000 * MS)), None);
    assert_eq!(admission.refuses(Mono(2_001 * MS)), Some(Crowded::Standstill));
    admission.opened(Mono(2_002 * MS), segment(0));
    assert_ne!(admission.refuses(Mono(2_003 * MS)), Some(Crowded::Standstill), "it moves");
    for n in 1..20 {
        admission.opened(Mono(2_010 * MS), segment(n));
    }
    assert_eq!(admission.refuses(Mono(2_010 * MS)), None, "nothing waits");
    assert_eq!(admission.refuses(Mono(9_999_999 * MS)), None);
}

#[test]
fn while_media_wait_for_the_disk_nobody_is_taken() {
    let mut admission = Admission::default();
    admission.writing(true);
    assert_eq!(admission.refuses(Mono(0)), Some(Crowded::Writing));
    admission.writing(false);
    assert_eq!(admission.refuses(Mono(0)), None);
}

#[test]
fn a_disk_that_stood_still_is_tried_again_at_once() {
    // However many waited for it.
    for n in BUSY_FROM..40 {
        let mut admission = Admission::default();
        (0..n).for_each(|n| admission.ordered(Mono(0), segment(n)));
        (0..n).for_each(|n| admission.opened(Mono(3_000 * MS + n as u64), segment(n)));
        let mut refused = 0;
        for burst in 0..10_u64 {
            let at = (4_000 + burst * 1_000) * MS;
            for call in 0..50 {
                match admission.refuses(Mono(at)) {
                    Some(_) => refused += 1,
                    None => admission.ordered(Mono(at), segment(1_000 + call)),
                }
            }
            (0..50)
                .for_each(|call| admission.opened(Mono(at + (5 + call as u64) * MS), segment(1_000 + call)));
        }
        assert_eq!(refused, 0, "{n} waited");
    }
}

#[test]
fn who_gives_up_opens_nothing() {
    let mut admission = Admission::default();
    (0..20).for_each(|n| admission.ordered(Mono(0), segment(n)));
    // Each tenth of a second one hangs up, and another comes.
    for n in 0..30 {
        admission.gone(segment(n));
        admission.ordered(Mono(n as u64 * 100 * MS), segment(20 + n));
    }
    assert_eq!(admission.refuses(Mono(3_000 * MS)), Some(Crowded::Standstill));
    (0..50).for_each(|n| admission.gone(segment(n)));
    assert_eq!(admission.refuses(Mono(3_000 * MS)), None, "the next one is tried");
}
