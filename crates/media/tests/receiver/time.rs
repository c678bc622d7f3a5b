//! Where on the segment's time line a packet lies: anchors, gaps, jumps.

use expect_test::expect;

use crate::check;
use crate::receiving::{Bench, rtp, sender, stream};

#[test]
fn silence_suppression_is_a_gap_of_silence() {
    check(
        "1000 1..10
         4200 11..12 ts+24000
         4240 finish",
        expect![[r#"
            1000 #1..10
            4200 #11..12
            12 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1200 .. 4200 Silence
        "#]],
    );
}

#[test]
fn comfort_noise_is_handed_on_and_fills_no_gap() {
    check(
        "1000 1..2
         1040 3 pt=13 len=1
         2040 4..5 ts+7840
         2080 finish",
        expect![[r#"
            1000 #1..2
            1040 #3 ComfortNoise
            2040 #4..5
            5 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1040 .. 2040 Silence
        "#]],
    );
}

#[test]
fn a_telephone_event_never_shifts_time() {
    check(
        "1000 1..5
         1100 6..11 pt=101 len=4 ts=960
         1220 12..15
         1300 finish",
        expect![[r#"
            1000 #1..5
            1100 #6..11 TelephoneEvent
            1220 #12..15
            15 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1220 Silence
        "#]],
    );
}

#[test]
fn an_event_that_comes_first_anchors_only_for_a_while() {
    check(
        "1000 1..3 pt=101 len=4 ts=960
         1063 4..6
         1123 finish",
        expect![[r#"
            1000 #1..3 TelephoneEvent
            1063 #4..6
            6 received
            anchor 10 960 at 1000 -> 1000
            anchor 10 640 at 1063 -> 1063
            gap 0 .. 1063 Silence
        "#]],
    );
}

#[test]
fn a_timestamp_jump_is_a_new_anchor() {
    check(
        "1000 1..5
         1100 6..8 ts+800000
         1160 finish",
        expect![[r#"
            1000 #1..8
            8 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 800960 at 1100 -> 1100
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_timestamp_jump_back_is_a_new_anchor() {
    check(
        "1000 1..5
         1100 6..8 ts-800000
         1160 finish",
        expect![[r#"
            1000 #1..8
            8 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 4294168256 at 1100 -> 1100
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_small_jump_of_timestamps_is_followed() {
    check(
        "1000 1..5
         1100 6..8 ts+800
         1160 finish",
        expect![[r#"
            1000 #1..5
            1200 #6..8
            8 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1200 Silence
        "#]],
    );
}

#[test]
fn a_stall_of_the_network_shifts_nothing() {
    check(
        "1000 1..5
         1900 6..45 every=1
         1940 46..50
         2040 finish",
        expect![[r#"
            1000 #1..50
            50 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_pause_of_the_sender_is_a_gap() {
    check(
        "1000 1..5
         6100 6..10
         6200 finish",
        expect![[r#"
            1000 #1..5
            6100 #6..10
            10 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 960 at 6100 -> 6100
            gap 0 .. 1000 Silence
            gap 1100 .. 6100 Silence
        "#]],
    );
}

#[test]
fn a_pause_before_a_single_packet_is_a_gap() {
    check(
        "1000 1..5
         6100 6
         6500 finish",
        expect![[r#"
            1000 #1..5
            6100 #6
            6 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 960 at 6100 -> 6100
            gap 0 .. 1000 Silence
            gap 1100 .. 6100 Silence
            gap 6120 .. 6500 Silence
        "#]],
    );
}

#[test]
fn the_first_packets_were_slow() {
    check(
        "1000 1..30 every=1
         1030 31..50
         1430 finish",
        expect![[r#"
            1000 #1..50
            50 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_packet_from_before_a_jump_that_comes_late_lies_where_it_was() {
    check(
        "1000 1..7
         1160 9..20
         1400 21..30 ts+800000
         1610 8 ts-800000
         1620 finish",
        expect![[r#"
            1000 #1..7
            1160 #9..30
            1140 #8 late
            30 received, 1 late
            anchor 10 160 at 1000 -> 1000
            anchor 10 803360 at 1400 -> 1400
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_leap_of_numbers_and_timestamps_together_is_no_leap_in_time() {
    check(
        "1000 1..5 frame=480 every=60
         1300 105..107 frame=480 every=60
         1480 finish",
        expect![[r#"
            1000 #1..5
            1300 #105..107
            8 received, 99 lost
            anchor 10 480 at 1000 -> 1000
            anchor 10 50400 at 1300 -> 1300
            gap 0 .. 1000 Silence
        "#]],
    );
}

/// Silence is suppressed, and the timestamps jump in it: the noise that says so anchors once, and not each time.
#[test]
fn noise_after_a_jump_anchors_once() {
    let mut bench = Bench::new(&stream());
    bench.packet(0, sender(), &rtp(0, 1, 0, 7, &[0x55; 160]));
    for n in 1..=100_u16 {
        let jumped = 5_000_000 + u32::from(n) * 24_000;
        bench.packet(i64::from(n) * 3_000_000, sender(), &rtp(13, n + 1, jumped, 7, &[60]));
    }
    bench.finish(303_000_000);
    let record = bench.receiver.record(40_000);
    // The first packet, the jump, and one a minute.
    assert_eq!(record.anchors.len(), 2 + 4, "{:?}", record.anchors);
    let positions: Vec<i64> = bench.kept.frames.iter().map(|f| f.position_us).collect();
    assert_eq!(positions, (0..=100).map(|n| n * 3_000_000).collect::<Vec<_>>());
}
