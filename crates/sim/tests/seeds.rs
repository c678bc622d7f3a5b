//! Lives of whole clusters: some seeds of which nothing may go wrong, and known wrongs that must be found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test tells what is wrong by panicking")]

use sim::{Lines, Wrong, live};

/// How many lives each test lives: a few seconds' worth where nothing is optimized.
const SEEDS: u64 = 40;
/// How many at most until a known wrong is found: most are in the first.
const WRONG_SEEDS: u64 = 80;

#[test]
fn whatever_happens_every_call_comes_out_and_nothing_is_lost_silently() {
    for seed in 0..SEEDS {
        if let Some(what) = live(seed, Lines::Dropped, None).violation {
            panic!("seed {seed}: {what}\nagain: ./dev sim --from {seed} --seeds 1 --log");
        }
    }
}

/// What went wrong once: conclusions that died with their proxy, power that went within a second after an end or before the
/// first sync, segments that opened too late, a session that expired in mid-question, a hand-over of what was never opened.
const MENDED: [u64; 12] =
    [12366, 12620, 13121, 15016, 10403, 11798, 24839, 10322, 17536, 22883, 27075, 26151];

#[test]
fn what_went_wrong_once_does_not_again() {
    for seed in MENDED {
        assert_eq!(live(seed, Lines::Dropped, None).violation, None, "seed {seed}");
    }
}

#[test]
fn one_seed_twice_is_the_same_life_and_another_is_another() {
    let first = live(3, Lines::Kept, None);
    assert_eq!(first, live(3, Lines::Kept, None));
    assert_ne!(first.lines, live(4, Lines::Kept, None).lines);
}

/// In some life of a few the wrong is found, and what is said of it has these words.
fn is_found(wrong: Wrong, words: &str) {
    let mut found = (0..WRONG_SEEDS).filter_map(|seed| live(seed, Lines::Dropped, Some(wrong)).violation);
    assert!(found.any(|what| what.contains(words)), "{wrong:?} is not found");
}

#[test]
fn a_copy_that_is_given_up_early_is_found() {
    is_found(Wrong::GivesUpEarly, "is nowhere");
}

#[test]
fn a_call_that_nobody_takes_over_is_found() {
    is_found(Wrong::ForgetsTakeOver, "nobody has recorded");
}

#[test]
fn a_packet_that_is_kept_twice_is_found() {
    is_found(Wrong::KeepsTwice, "is kept by segment");
}

#[test]
fn packets_that_are_lost_and_not_told_of_are_found() {
    is_found(Wrong::LosesPackets, "which is complete without a failure");
}

#[test]
fn a_state_that_the_table_does_not_have_is_found() {
    is_found(Wrong::NotesAnyState, "the table has no way");
}

#[test]
fn a_segment_that_never_ends_is_found() {
    is_found(Wrong::NeverEnds, "of which a segment has not ended");
}

#[test]
fn a_call_that_comes_to_no_state_is_found() {
    is_found(Wrong::ForgetsConclusions, "has no state");
}

#[test]
fn a_call_that_nobody_carries_on_is_found() {
    is_found(Wrong::TakesNoOffer, "keeps 1 calls");
}

#[test]
fn a_call_of_two_proxies_is_found() {
    is_found(Wrong::ForgetsNothing, "to be its own");
}

#[test]
fn what_is_kept_of_calls_that_are_over_is_found() {
    is_found(Wrong::ReleasesNothing, "keeps");
}

#[test]
fn what_is_kept_of_a_pause_is_found() {
    is_found(Wrong::KeepsPauses, "was sent in a pause");
}

#[test]
fn what_is_never_durable_is_found() {
    is_found(Wrong::NeverSyncs, "is nowhere");
}
