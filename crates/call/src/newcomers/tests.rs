//! Who waits to be looked at, in virtual time: under any load, in stalls, and when clients do not behave.

use std::collections::BTreeSet;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::load::{Fate, Phase, arrivals, judge, phases};

const MS: u64 = 1_000_000;

/// One who serves, and reads all that has come before each turn, as the signalling task does as long as it keeps up.
fn simulate(phases: &[Phase], each: u64, seed: u64) -> Vec<(Mono, Fate)> {
    let came = arrivals(phases, each, seed);
    // A refusal costs a fiftieth of what a call does.
    let reading = each / 50;
    let (mut queue, mut fates) = (Newcomers::<usize, usize>::default(), vec![None; came.len()]);
    let (mut now, mut read) = (0, 0);
    loop {
        while let Some(at) = came.get(read).filter(|at| at.0 <= now) {
            now += reading;
            if let Arrival::Refused(n) = queue.arrive(Mono(now), read, 8_000, read) {
                fates[n] = Some(Fate::Refused(now - at.0));
            }
            read += 1;
        }
        match (queue.next(Mono(now)), came.get(read)) {
            (Some(Turn::Served(n)), _) => {
                fates[n] = Some(Fate::Served(now - came[n].0));
                now += each;
            }
            (Some(Turn::Late(n)), _) => fates[n] = Some(Fate::Refused(now - came[n].0)),
            (None, Some(next)) => now = now.max(next.0),
            (None, None) => break,
        }
    }
    let fates = fates.into_iter().map(|fate| fate.expect("everybody hears something"));
    came.into_iter().zip(fates).collect()
}

proptest! {
    /// Whatever comes: who is taken is looked at before it sends again (T1), and who is not hears that at once.
    #[test]
    fn any_load_is_served_as_far_as_it_can_be(phases in phases(), each in 50_000_u64..4 * MS, seed in any::<u64>()) {
        let came = simulate(&phases, each, seed);
        let judged = judge(&phases, &came, each, [250 * MS, 20 * MS, 250 * MS]);
        prop_assert!(judged.is_ok(), "{}", judged.unwrap_err());
    }
}

/// What comes to a socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Came {
    /// It begins a call.
    New(usize),
    /// It belongs to one that was taken.
    Known,
}

/// The longest time that anything lay in the socket, of calls with so many further messages each, where reading one that
/// belongs to a call takes a tenth of what a turn does.
fn lies_in_the_socket(phases: &[Phase], each: u64, further: u64, seed: u64) -> u64 {
    let invites = arrivals(phases, each, seed).into_iter().enumerate();
    let mut socket: BTreeSet<(Mono, Came)> = invites.map(|(n, at)| (at, Came::New(n))).collect();
    let (mut queue, mut now, mut longest) = (Newcomers::<usize, ()>::default(), 0, 0);
    loop {
        let first = socket.first().copied();
        match first.filter(|(at, _)| at.0 <= now) {
            Some(read) if !queue.is_due(Mono(now)) => {
                socket.remove(&read);
                queue.go_before();
                longest = longest.max(now - read.0.0);
                match read.1 {
                    Came::New(n) => {
                        now += each / 50;
                        queue.arrive(Mono(now), n, 8_000, ());
                    }
                    Came::Known => now += each / 10,
                }
            }
            _ => match (queue.next(Mono(now)), first) {
                (Some(Turn::Served(())), _) => {
                    now += each;
                    // An ACK, later a BYE; no two at once, as a set holds them.
                    socket.extend((0..further).map(|n| (Mono(now + (1 + 900 * n) * MS + n), Came::Known)));
                }
                (Some(Turn::Late(())), _) => now += each / 50,
                (None, Some((next, _))) => now = now.max(next.0),
                (None, None) => return longest,
            },
        }
    }
}

proptest! {
    /// However many come, what has come is read soon, and so who is not taken hears of it: what waits in a socket nobody
    /// sees, and what does not fit into it is lost.
    #[test]
    fn nothing_lies_in_the_socket_for_long(
        percent in 100_u64..2_000,
        each in 200_000_u64..2 * MS,
        further in 0_u64..4,
        seed in any::<u64>(),
    ) {
        let phases = [Phase { percent: 40, ms: 300 }, Phase { percent, ms: 1_200 }];
        let longest = lies_in_the_socket(&phases, each, further, seed);
        prop_assert!(longest < 100 * MS, "{longest} ns");
    }
}

/// Who comes one after the other.
fn queue(keys: &[u8]) -> Newcomers<u8, u8> {
    let mut queue = Newcomers::default();
    for key in keys {
        assert_eq!(queue.arrive(Mono(0), *key, 1, *key), Arrival::Waits);
    }
    queue
}

#[test]
fn the_same_request_again_is_nothing_new() {
    let mut queue = queue(&[1, 2]);
    assert_eq!(queue.arrive(Mono(MS), 1, 1, 9), Arrival::Again);
    assert_eq!(queue.next(Mono(MS)), Some(Turn::Served(1)));
    assert_eq!(queue.next(Mono(MS)), Some(Turn::Served(2)));
    assert_eq!((queue.next(Mono(MS)), queue.is_empty()), (None, true));
}

#[test]
fn who_is_cancelled_costs_no_turn() {
    let mut queue = queue(&[1, 2, 3]);
    assert_eq!((queue.cancel(&2), queue.cancel(&2), queue.len()), (Some(2), None, 2));
    assert_eq!(queue.next(Mono(MS)), Some(Turn::Served(1)));
    assert_eq!(queue.next(Mono(MS)), Some(Turn::Served(3)));
}

#[test]
fn who_waited_too_long_after_all_is_refused_at_its_turn() {
    let mut queue = queue(&[1, 2]);
    assert_eq!(queue.next(Mono(1_000 * MS)), Some(Turn::Served(1)));
    assert_eq!(queue.next(Mono(2_001 * MS)), Some(Turn::Late(2)));
}

#[test]
fn who_invites_and_cancels_fills_nothing_and_slows_nothing_down() {
    let mut queue = Newcomers::<u32, u32>::default();
    let pair = |queue: &mut Newcomers<u32, u32>, n: u32, ms: u64| {
        assert_eq!(queue.arrive(Mono(ms * MS), n, 1, n), Arrival::Waits);
        assert_eq!(queue.cancel(&n), Some(n));
    };
    (0..10_000).for_each(|n| pair(&mut queue, n, 1));
    // One had its turn while another waited, which was cancelled; then nobody comes for ten minutes.
    for n in 0..20 {
        let at = u64::from(n) * 600_000;
        assert_eq!(queue.arrive(Mono(at * MS), n, 1, n), Arrival::Waits);
        assert_eq!(queue.arrive(Mono(at * MS), 1_000 + n, 1, n), Arrival::Waits);
        assert_eq!(queue.next(Mono(at * MS)), Some(Turn::Served(n)));
        assert_eq!(queue.cancel(&(1_000 + n)), Some(n));
    }
    let last = 600_000 * 20;
    for n in 0..200 {
        assert_eq!(queue.arrive(Mono(last * MS), n, 1, n), Arrival::Waits, "{n}");
    }
    assert_eq!((queue.len(), queue.waiting.len(), queue.numbers.len()), (200, 200, 200));
}

#[test]
fn when_turns_do_not_come_who_comes_hears_so() {
    let mut queue = queue(&[1]);
    assert!(!queue.is_due(Mono(51 * MS)), "nothing else went before");
    (0..GO_BEFORE).for_each(|_| queue.go_before());
    assert!(!queue.is_due(Mono(50 * MS)) && queue.is_due(Mono(51 * MS)));
    assert_eq!(queue.arrive(Mono(400 * MS), 2, 1, 2), Arrival::Waits);
    assert_eq!(queue.arrive(Mono(401 * MS), 3, 1, 3), Arrival::Refused(3));
    assert_eq!(queue.next(Mono(402 * MS)), Some(Turn::Served(1)));
    assert!(!queue.is_due(Mono(402 * MS)), "others go before again");
    assert_eq!(queue.arrive(Mono(403 * MS), 3, 1, 3), Arrival::Waits);
}

#[test]
fn what_waits_is_limited_in_octets_too_and_goes_with_its_connection() {
    let mut queue = Newcomers::<u32, u32>::default();
    let most = u32::try_from(OCTETS_MAX / (256 << 10)).unwrap();
    let fits = (0..100).filter(|n| queue.arrive(Mono(0), *n, 256 << 10, *n) == Arrival::Waits).count();
    assert_eq!(fits, most as usize);
    queue.drop_those(|n| n % 2 == 0);
    assert_eq!(queue.len(), fits / 2);
    assert_eq!(queue.arrive(Mono(0), 1_000, 256 << 10, 0), Arrival::Waits);
    assert_eq!(queue.next(Mono(0)), Some(Turn::Served(1)));
}

#[test]
fn a_queue_that_was_slow_once_is_tried_again() {
    let mut queue = queue(&[1, 2, 3, 4, 5, 6]);
    for n in 0..6 {
        assert!(queue.next(Mono(n * 5_000 * MS)).is_some());
    }
    // As many as are never too many.
    let at = Mono(25_001 * MS);
    let taken = (10..200).filter(|n| queue.arrive(at, *n, 1, *n) == Arrival::Waits).count();
    assert!((FEW..100).contains(&taken), "{taken} are taken");
    while queue.next(at).is_some() {}
    let at = Mono(60_000 * MS);
    let taken = (0..200).filter(|n| queue.arrive(at, *n, 1, *n) == Arrival::Waits).count();
    assert_eq!(taken, 200, "half a minute later nothing is known of it any more");
}
