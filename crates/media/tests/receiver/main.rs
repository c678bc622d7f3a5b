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

mod holds;
mod order;
mod pauses;
#[path = "../receiving/mod.rs"]
mod receiving;
mod sources;
mod time;

use std::fmt::Write;
use std::net::SocketAddr;

use expect_test::Expect;
use media::FrameKind;
use model::peer::Flowing;
use model::{OpenStream, StreamRecord};
use receiving::{Bench, START, Seen, rtp, sender, stream};

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
