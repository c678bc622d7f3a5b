//! What a hold keeps out, and what it leaves where it is.

use expect_test::expect;

use crate::check;

#[test]
fn hold_keeps_nothing_and_misses_nothing() {
    check(
        "1000 1..5
         1100 hold
         1100 6..54
         2100 resume
         2100 55..57
         2160 finish",
        expect![[r#"
            1000 #1..5
            2080 #55..57
            57 received, 49 discarded
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 2080 Hold
        "#]],
    );
}

#[test]
fn a_hold_without_packets() {
    check(
        "1000 1..5
         1100 hold
         3100 resume
         3100 6..8
         3160 finish",
        expect![[r#"
            1000 #1..5
            3100 #6..8
            8 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 960 at 3100 -> 3100
            gap 0 .. 1000 Silence
            gap 1100 .. 3100 Hold
        "#]],
    );
}

#[test]
fn what_waited_when_the_hold_came_is_kept() {
    check(
        "1000 1..2
         1050 4
         1060 hold
         1300 finish",
        expect![[r#"
            1000 #1..2
            1060 #4
            3 received, 1 lost
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1040 .. 1060 Loss 1 packets
            gap 1080 .. 1300 Hold
        "#]],
    );
}

#[test]
fn held_from_the_first_and_to_the_last() {
    check(
        "0 hold
         1000 1..5
         1100 finish",
        expect![[r#"
            5 received, 5 discarded
            gap 0 .. 1100 Hold
        "#]],
    );
}

#[test]
fn a_short_hold_without_packets_moves_what_follows() {
    check(
        "1000 1..5
         1100 hold
         1400 resume
         1400 6..8
         1460 finish",
        expect![[r#"
            1000 #1..5
            1400 #6..8
            8 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 960 at 1400 -> 1400
            gap 0 .. 1000 Silence
            gap 1100 .. 1400 Hold
        "#]],
    );
}
