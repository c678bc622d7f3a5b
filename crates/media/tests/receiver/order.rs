//! Order and loss: what is early, late, twice or missing.

use expect_test::expect;

use crate::check;

#[test]
fn in_order() {
    check(
        "1000 1..3
         1060 finish",
        expect![[r#"
            1000 #1..3
            3 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn numbers_and_timestamps_wrap() {
    check(
        "1000 65534..65538
         1100 finish",
        expect![[r#"
            1000 #65534..2
            5 received
            anchor 10 10485440 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_swapped_pair_is_put_in_order() {
    check(
        "1000 1
         1020 3
         1025 2
         1060 4
         1080 finish",
        expect![[r#"
            1000 #1..4
            4 received, 1 reordered
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn what_waited_100_ms_is_given_up_as_loss() {
    check(
        "1000 1
         1020 3..4
         1150 5 every=20
         1170 finish",
        expect![[r#"
            1000 #1
            1040 #3..5
            4 received, 1 lost
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1020 .. 1040 Loss 1 packets
        "#]],
    );
}

#[test]
fn a_burst_of_loss_moves_the_window_on() {
    check(
        "1000 1..2
         2000 52..60
         2180 finish",
        expect![[r#"
            1000 #1..2
            2020 #52..60
            11 received, 49 lost
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1040 .. 2020 Loss 49 packets
        "#]],
    );
}

#[test]
fn a_late_packet_takes_its_place_out_of_the_gap() {
    check(
        "1000 1
         1020 5..20
         1330 3
         1340 finish",
        expect![[r#"
            1000 #1
            1080 #5..20
            1040 #3 late
            18 received, 2 lost, 1 late
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1020 .. 1040 Loss 1 packets
            gap 1060 .. 1080 Loss 1 packets
        "#]],
    );
}

#[test]
fn duplicates_are_dropped_late_ones_too() {
    check(
        "1000 1
         1001 1
         1020 2..30
         1620 7
         1630 finish",
        expect![[r#"
            1000 #1..30
            30 received, 2 duplicate
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn the_first_two_swapped() {
    check(
        "1000 2
         1005 1
         1020 3
         1040 finish",
        expect![[r#"
            1000 #2
            980 #1 late
            1020 #3
            3 received, 1 late
            anchor 10 320 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn nothing_ever_came() {
    check(
        "5000 finish",
        expect![[r#"

        gap 0 .. 5000 Silence
    "#]],
    );
}

#[test]
fn a_great_hole_is_loss_when_time_has_passed_as_well() {
    check(
        "1000 1..5
         11100 156..158 ts+56000
         11160 finish",
        expect![[r#"
            1000 #1..5
            11100 #156..158
            8 received, 150 lost
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 8100 Silence
            gap 8100 .. 11100 Loss 150 packets
        "#]],
    );
}

#[test]
fn a_great_hole_is_loss_when_timestamps_go_with_it() {
    check(
        "1000 1..5
         6100 200..201
         6140 finish",
        expect![[r#"
            1000 #1..5
            6100 #200..201
            7 received, 194 lost
            anchor 10 160 at 1000 -> 1000
            anchor 10 32000 at 6100 -> 6100
            gap 0 .. 1000 Silence
            gap 1100 .. 2220 Silence
            gap 2220 .. 6100 Loss 194 packets
        "#]],
    );
}

#[test]
fn a_great_hole_without_time_is_a_sender_that_began_anew() {
    check(
        "1000 1..5
         1100 4000..4001
         1140 finish",
        expect![[r#"
            1000 #1..5
            1100 #4000..4001
            7 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 640000 at 1100 -> 1100
            gap 0 .. 1000 Silence
        "#]],
    );
}
