//! What a pause keeps out, however late it comes.

use expect_test::expect;

use crate::check;

#[test]
fn paused_packets_are_not_recorded_when_they_come_late() {
    check(
        "1000 1..5
         1100 pause
         1100 6
         1140 8
         1200 resume
         1205 7
         1210 12..13
         1260 finish",
        expect![[r#"
            1000 #1..5
            1240 #13
            10 received, 3 lost, 4 discarded
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1240 Pause
        "#]],
    );
}

#[test]
fn packets_of_a_pause_are_dropped_although_they_come_after_it() {
    check(
        "1000 1..5
         1100 pause
         1100 6..9
         1190 resume
         1192 10
         1220 12
         1225 11 pt=101 len=4
         1240 13",
        expect![[r#"
            1000 #1..5
            1220 #12..13
            13 received, 1 reordered, 6 discarded
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1200 Pause
            gap 1200 .. 1220 Silence
        "#]],
    );
}

#[test]
fn a_packet_that_begins_in_a_pause_belongs_to_it_and_one_that_ends_before_does_not() {
    check(
        "1000 1..5
         1090 pause
         1100 6..14
         1285 resume
         1280 15
         1300 16..20
         1400 finish",
        expect![[r#"
            1000 #1..5
            1320 #17..20
            20 received, 11 discarded
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1320 Pause
        "#]],
    );
}

#[test]
fn a_stall_of_the_network_around_the_end_of_a_pause_releases_nothing_of_it() {
    // Numbers 51 to 100 were said in the pause, and come within 50 ms, a second late; the pause is long over.
    check(
        "1000 1..50
         2000 pause
         2000 51..60
         2500 resume
         4000 61..150 every=1
         4110 151..160",
        expect![[r#"
            1000 #1..50
            2520 #77..160
            160 received, 26 discarded
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 2000 .. 2520 Pause
        "#]],
    );
}

#[test]
fn a_source_that_is_new_in_a_pause_is_known_after_it() {
    check(
        "1000 1..50
         2000 pause
         2010 1..10 ssrc=b
         2210 resume
         2900 11..45 ssrc=b every=1
         2940 46..50 ssrc=b",
        expect![[r#"
            1000 #1..50
            2230 #12..50
            100 received, 11 discarded, 1 ssrc changes
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 2000 .. 2230 Pause
        "#]],
    );
}

#[test]
fn a_sender_that_stood_still_in_a_pause_is_heard_again_after_it() {
    check(
        "1000 1..5
         1100 pause
         61100 resume
         61120 6..30",
        expect![[r#"
            1000 #1..5
            61120 #6..30
            30 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 960 at 61120 -> 61120
            gap 0 .. 1000 Silence
            gap 1100 .. 61100 Pause
            gap 61100 .. 61120 Silence
        "#]],
    );
}

#[test]
fn late_packets_of_an_earlier_pause_are_dropped_too() {
    check(
        "1000 1..5
         1095 pause
         1125 7
         1155 resume
         1180 9..10
         1215 pause
         1245 resume
         1247 6
         1249 8
         1280 14..20",
        expect![[r#"
            1000 #1..5
            1180 #10
            1280 #15..20
            17 received, 3 lost, 1 reordered, 5 discarded
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1155 Pause
            gap 1155 .. 1280 Pause
        "#]],
    );
}
