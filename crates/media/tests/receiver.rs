//! Receiving, as pictures: what comes when, and what is handed on and noted.
//!
//! ```text
//!  1000 1..50            from 1,000 ms on numbers 1 to 50, every 20 ms, timestamp = number × 160
//!  2000 51 ts+80000      timestamp shifted by so many ticks, from here on
//!  2000 51 ssrc=b pt=8 from=x every=2   another source, payload type, address (x, y, z), spacing
//!  2000 51 frame=480     480 octets and ticks a packet, timestamp = number × 480
//!  3000 hold | pause | resume | remote=x | finish
//! ```
//! Out come runs of frames (`position ms #numbers`), then the counts that are not zero, anchors and gaps.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write;
use std::net::SocketAddr;

use common::{Bench, START, Seen, rtp, sender, stream};
use expect_test::{Expect, expect};
use media::FrameKind;
use model::peer::Flowing;
use model::{OpenStream, StreamRecord};

fn check(script: &str, expect: Expect) {
    let mut bench = Bench::new(&stream());
    let (mut shift, mut open) = (0_i64, stream());
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let mut words = line.split_whitespace();
        let us = words.next().unwrap().parse::<i64>().unwrap() * 1_000;
        let what = words.next().unwrap();
        match what {
            "hold" => open = OpenStream { flowing: Flowing::Held, ..open },
            "pause" => open = OpenStream { flowing: Flowing::Paused, ..open },
            "resume" => open = OpenStream { flowing: Flowing::Active, ..open },
            "finish" => bench.finish(us),
            _ => {}
        }
        if let Some(name) = what.strip_prefix("remote=") {
            open = OpenStream { remote: Some(source(name)), ..open };
        }
        if what.starts_with(|c: char| c.is_ascii_digit()) {
            packets(&mut bench, us, what, words, &mut shift);
        } else if what != "finish" {
            bench.update(us, &open);
        }
    }
    expect.assert_eq(&picture(&bench));
}

fn packets<'a>(
    bench: &mut Bench,
    us: i64,
    numbers: &str,
    words: impl Iterator<Item = &'a str>,
    shift: &mut i64,
) {
    let (first, last) = numbers.split_once("..").unwrap_or((numbers, numbers));
    let (first, last): (i64, i64) = (first.parse().unwrap(), last.parse().unwrap());
    let (mut ssrc, mut payload_type, mut from, mut every, mut length) =
        (0xa_u32, 0_u8, sender(), 20, 160_usize);
    let (mut fixed, mut frame) = (None, 160_i64);
    for word in words {
        if let Some(ticks) =
            word.strip_prefix("ts+").or_else(|| word.strip_prefix("ts").filter(|w| w.starts_with('-')))
        {
            *shift += ticks.parse::<i64>().unwrap();
            continue;
        }
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "ssrc" => ssrc = u32::from_str_radix(value, 16).unwrap(),
            "pt" => payload_type = value.parse().unwrap(),
            "from" => from = source(value),
            "every" => every = value.parse().unwrap(),
            "len" => length = value.parse().unwrap(),
            "frame" => (frame, length) = (value.parse().unwrap(), value.parse().unwrap()),
            "ts" => fixed = Some(value.parse::<i64>().unwrap()),
            _ => panic!("{word}"),
        }
    }
    for (step, number) in (0_i64..).zip(first..=last) {
        let ticks = fixed.unwrap_or(number * frame + *shift);
        let timestamp = u32::try_from(ticks.rem_euclid(1 << 32)).unwrap();
        let sequence = u16::try_from(number.rem_euclid(1 << 16)).unwrap();
        let packet = rtp(payload_type, sequence, timestamp, ssrc, &vec![0x55; length]);
        bench.packet(us + step * every * 1_000, from, &packet);
    }
}

fn source(name: &str) -> SocketAddr {
    let last = name.bytes().next().unwrap();
    SocketAddr::from(([198, 51, 100, last], 5_000))
}

fn picture(bench: &Bench) -> String {
    let mut out = String::new();
    runs(&bench.kept.frames, &mut out);
    let record = bench.receiver.record(10_000);
    counts(&record, &mut out);
    for anchor in &record.anchors {
        let at = ms(anchor.at.nanos_since(START) / 1_000);
        writeln!(out, "anchor {} {} at {at} -> {}", anchor.ssrc, anchor.rtp, ms(anchor.position_us)).unwrap();
    }
    for gap in &record.gaps {
        let packets = if gap.packets > 0 { format!(" {} packets", gap.packets) } else { String::new() };
        writeln!(out, "gap {} .. {} {:?}{packets}", ms(gap.from_us), ms(gap.until_us), gap.reason).unwrap();
    }
    out
}

/// Frames that follow each other without a break are one line.
fn runs(frames: &[Seen], out: &mut String) {
    let mut rest = frames;
    while let Some(first) = rest.first() {
        let follows = |a: &Seen, b: &Seen| {
            let end = a.position_us + i64::from(a.duration_us.unwrap_or(0));
            let like = (a.ssrc, a.payload_type, a.late, a.kind) == (b.ssrc, b.payload_type, b.late, b.kind);
            like && b.sequence == a.sequence.wrapping_add(1) && b.position_us == end
        };
        let length = 1 + rest.windows(2).take_while(|w| follows(&w[0], &w[1])).count();
        let last = &rest[length - 1];
        write!(out, "{} #{}", ms(first.position_us), first.sequence).unwrap();
        if length > 1 {
            write!(out, "..{}", last.sequence).unwrap();
        }
        if first.kind != FrameKind::Media {
            write!(out, " {:?}", first.kind).unwrap();
        }
        if first.payload_type == 8 {
            out.push_str(" PCMA");
        }
        writeln!(out, "{}", if first.late { " late" } else { "" }).unwrap();
        rest = &rest[length..];
    }
}

fn counts(record: &StreamRecord, out: &mut String) {
    let a = &record.accounting;
    let all = [
        ("received", a.received),
        ("lost", a.lost),
        ("reordered", a.reordered),
        ("duplicate", a.duplicate),
        ("late", a.late),
        ("invalid", a.invalid),
        ("other source", a.other_source),
        ("discarded", a.discarded),
        ("ssrc changes", a.ssrc_changes.into()),
        ("source changes", a.source_changes.into()),
        ("codec changes", a.codec_changes.into()),
    ];
    let said: Vec<String> =
        all.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
    writeln!(out, "{}", said.join(", ")).unwrap();
}

fn ms(us: i64) -> String {
    if us % 1_000 == 0 { (us / 1_000).to_string() } else { format!("{}.{:03}", us / 1_000, us % 1_000) }
}

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
fn nothing_ever_came() {
    check(
        "5000 finish",
        expect![[r#"

        gap 0 .. 5000 Silence
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
