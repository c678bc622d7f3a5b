//! Who is listened to: sources, addresses, payload types.

use expect_test::expect;

use crate::check;

#[test]
fn a_new_ssrc_is_an_anchor_and_its_predecessors_last_packet_is_late() {
    check(
        "1000 1..5
         1100 1000 ssrc=b
         1101 6
         1120 1001..1003 ssrc=b
         1180 finish",
        expect![[r#"
            1000 #1..5
            1100 #1000
            1100 #6 late
            1120 #1001..1003
            10 received, 1 late, 1 ssrc changes
            anchor 10 160 at 1000 -> 1000
            anchor 11 160000 at 1100 -> 1100
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn an_ssrc_that_comes_back_keeps_its_numbers() {
    check(
        "1000 1..5
         1100 1000..1009 ssrc=b ts+5
         1300 6..8 ts-5
         1360 finish",
        expect![[r#"
            1000 #1..5
            1100 #1000..1009
            1300 #6..8
            18 received, 2 ssrc changes
            anchor 10 160 at 1000 -> 1000
            anchor 11 160005 at 1100 -> 1100
            anchor 10 960 at 1300 -> 1300
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn the_same_ssrc_begins_anew() {
    check(
        "1000 5000..5004
         1100 17..20 ts+1000000
         1180 finish",
        expect![[r#"
            1000 #5000..5004
            1100 #17..20
            9 received
            anchor 10 800000 at 1000 -> 1000
            anchor 10 1002720 at 1100 -> 1100
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_replayed_capture_begins_anew() {
    check(
        "1000 1..200
         5000 1..3
         5060 finish",
        expect![[r#"
            1000 #1..200
            5000 #1..3
            203 received
            anchor 10 160 at 1000 -> 1000
            anchor 10 160 at 5000 -> 5000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_codec_change_is_no_break() {
    check(
        "1000 1..3
         1060 4..6 pt=8
         1120 finish",
        expect![[r#"
            1000 #1..3
            1060 #4..6 PCMA
            6 received, 1 codec changes
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn another_clock_is_a_new_anchor() {
    check(
        "1000 1..3
         1060 4..5 pt=111 len=1
         1120 finish",
        expect![[r#"
            1000 #1..3
            1060 #4
            1063.333 #5
            5 received, 1 codec changes
            anchor 10 160 at 1000 -> 1000
            anchor 10 640 at 1060 -> 1060
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn an_unnamed_payload_type_is_kept_as_unknown() {
    check(
        "1000 1..3
         1060 4 pt=99
         1080 5
         1100 finish",
        expect![[r#"
            1000 #1..3
            1060 #4 Unknown
            1080 #5
            5 received, 2 codec changes
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1060 .. 1080 Silence
        "#]],
    );
}

#[test]
fn a_stray_source_never_mixes_in() {
    check(
        "1000 1..5
         1050 900..905 ssrc=c from=x every=10
         1100 6..8
         1160 finish",
        expect![[r#"
            1000 #1..8
            8 received, 6 other source
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn any_source_is_latched_by_its_first_packet() {
    check(
        "1000 1..5 from=x
         1100 finish",
        expect![[r#"
            1000 #1..5
            5 received
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_stray_first_packet_gives_way_to_two_in_a_row() {
    check(
        "1000 900 ssrc=c from=x
         1010 1..5 from=y
         1110 finish",
        expect![[r#"
            1000 #900
            1030 #2..5
            5 received, 1 other source, 1 ssrc changes, 1 source changes
            anchor 12 144000 at 1000 -> 1000
            anchor 10 320 at 1030 -> 1030
            gap 0 .. 1000 Silence
            gap 1020 .. 1030 Silence
        "#]],
    );
}

#[test]
fn the_address_of_sdp_takes_over_from_one_stray_packet() {
    check(
        "1000 900 ssrc=c from=x
         1010 1..5
         1110 finish",
        expect![[r#"
            1000 #900
            1020 #1..5
            6 received, 1 ssrc changes, 1 source changes
            anchor 12 144000 at 1000 -> 1000
            anchor 10 160 at 1010 -> 1020
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn a_source_that_fell_silent_gives_way() {
    check(
        "1000 1..5
         1700 1000..1002 ssrc=b from=x
         1760 finish",
        expect![[r#"
            1000 #1..5
            1700 #1000..1002
            8 received, 1 ssrc changes, 1 source changes
            anchor 10 160 at 1000 -> 1000
            anchor 11 160000 at 1700 -> 1700
            gap 0 .. 1000 Silence
            gap 1100 .. 1700 Silence
        "#]],
    );
}

#[test]
fn the_address_of_sdp_takes_back_what_another_took_while_it_was_silent() {
    check(
        "1000 1..5
         1700 1000..1010 ssrc=b from=x
         1805 6..12
         1960 finish",
        expect![[r#"
            1000 #1..5
            1700 #1000..1010
            1920 #7..12
            22 received, 1 lost, 1 other source, 2 ssrc changes, 2 source changes
            anchor 10 160 at 1000 -> 1000
            anchor 11 160000 at 1700 -> 1700
            anchor 10 1120 at 1825 -> 1920
            gap 0 .. 1000 Silence
            gap 1100 .. 1700 Silence
        "#]],
    );
}

#[test]
fn a_rebound_nat_goes_on_at_once() {
    check(
        "1000 1..5
         1100 6..9 from=x
         1180 finish",
        expect![[r#"
            1000 #1..9
            9 received, 1 source changes
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn where_sdp_moved_to_is_accepted_at_once() {
    check(
        "1000 1..5
         1090 remote=x
         1100 1000..1002 ssrc=b from=x
         1105 6
         1160 finish",
        expect![[r#"
            1000 #1..5
            1100 #1000..1002
            8 received, 1 other source, 1 ssrc changes, 1 source changes
            anchor 10 160 at 1000 -> 1000
            anchor 11 160000 at 1100 -> 1100
            gap 0 .. 1000 Silence
        "#]],
    );
}

#[test]
fn an_unannounced_type_needs_three_in_a_row_elsewhere() {
    check(
        "1000 1..5 pt=99 from=x
         1100 finish",
        expect![[r#"
            1040 #3 Unknown
            1060 #4 Unknown
            1080 #5 Unknown
            3 received, 2 other source
            gap 0 .. 1100 Silence
        "#]],
    );
}

#[test]
fn a_source_that_is_quiet_for_a_moment_keeps_its_place() {
    check(
        "1000 1..5
         1400 1000..1002 ssrc=b from=x
         1460 6 ts+2880
         1480 finish",
        expect![[r#"
            1000 #1..5
            1460 #6
            6 received, 3 other source
            anchor 10 160 at 1000 -> 1000
            gap 0 .. 1000 Silence
            gap 1100 .. 1460 Silence
        "#]],
    );
}
