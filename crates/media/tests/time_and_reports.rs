//! Clocks that drift for a day's work, jitter, and RTCP both ways.
#![allow(clippy::unwrap_used, clippy::panic)]

mod receiving;

use media::send::{RtpSender, Sending};
use model::OpenStream;
use receiving::{Bench, address, at, rtp, sender, stream};
use rtcp_types::{Compound, Packet, ReportBlock, SdesItem};

/// RTP every 20 ms by a clock that is off by `ppm`, for `seconds`; each `visit` sees the position of a frame.
fn drift(ppm: i64, seconds: i64, mut visit: impl FnMut(i64, i64)) -> model::StreamRecord {
    let mut bench = Bench::new(&stream());
    for n in 0..seconds * 50 {
        let sent_us = 1_000_000 + n * 20_000;
        // Up to 15 ms of jitter, the same each time.
        let jitter_us = (n * 7_919 % 16) * 1_000;
        let arrival_us = sent_us + sent_us * ppm / 1_000_000 + jitter_us;
        let sequence = u16::try_from(n & 0xffff).unwrap();
        let timestamp = u32::try_from((n * 160) & 0xffff_ffff).unwrap();
        bench.packet(arrival_us, sender(), &rtp(0, sequence, timestamp, 5, &[0x55; 8]));
        let frame = bench.kept.frames.pop().unwrap();
        visit(n, frame.position_us);
    }
    bench.receiver.record(1)
}

#[test]
fn eight_hours_of_drift_are_followed_without_a_break() {
    for ppm in [-200, 200] {
        let mut first = None;
        let record = drift(ppm, 8 * 3_600, |n, position_us| {
            let first = *first.get_or_insert(position_us);
            assert_eq!(position_us, first + n * 20_000, "{ppm} ppm: packet {n}");
        });
        assert_eq!((record.accounting.received, record.accounting.lost), (1_440_000, 0));
        // Each frame holds 8 octets, so that there is silence after each; what counts is that none is more.
        assert!(record.gaps.iter().skip(1).all(|g| g.until_us - g.from_us == 19_000));
        // One anchor a minute: what drift is corrected by when the call is played.
        assert!((480..=481).contains(&record.anchors.len()));
        // Of the packets that the network did not hold up, although it did most by up to 15 ms: what is left is the
        // drift of the source's clock within that minute.
        for anchor in &record.anchors[1..] {
            let sent_us = i64::from(anchor.rtp) * 125 + 1_000_000;
            let arrived_us = anchor.at.nanos_since(record.anchors[0].at) / 1_000;
            let held_up_us = arrived_us - (sent_us - 1_000_000) - sent_us * ppm / 1_000_000 + ppm;
            assert!((0..1_000).contains(&held_up_us), "{ppm} ppm: by {held_up_us} µs");
        }
        let (one, last) = (record.anchors[0], record.anchors[479]);
        let by_arrival = last.at.nanos_since(one.at) / 1_000;
        let by_position = last.position_us - one.position_us;
        let seen = (by_arrival - by_position) * 1_000_000 / by_position;
        assert!((seen - ppm).abs() <= 2, "{ppm} ppm came out as {seen}");
    }
}

#[test]
fn jitter_is_that_of_rfc_3550() {
    let mut bench = Bench::new(&stream());
    let (mut expected, mut last) = (0.0_f64, None);
    for n in 0..500_i64 {
        let late_us = [0, 10_000, 3_000, 7_000][usize::try_from(n % 4).unwrap()];
        let sequence = u16::try_from(n).unwrap();
        let timestamp = u32::try_from(n * 160).unwrap();
        bench.packet(1_000_000 + n * 20_000 + late_us, sender(), &rtp(0, sequence, timestamp, 5, &[0; 160]));
        if let Some(last_us) = last {
            let difference = f64::from(i32::try_from(late_us - last_us).unwrap()).abs();
            expected += (difference - expected) / 16.0;
        }
        last = Some(late_us);
    }
    let counts = bench.receiver.accounting();
    let jitter = f64::from(u32::try_from(counts.jitter_us).unwrap());
    assert!((jitter - expected).abs() < 250.0, "{jitter} us, not {expected}");
    assert!(counts.jitter_max_us >= counts.jitter_us);
}

/// Reports that come out in `seconds` of ticks, with their times in ms.
fn reports(bench: &mut Bench, from_us: i64, seconds: i64) -> Vec<(i64, Vec<u8>, std::net::SocketAddr)> {
    let mut reports = Vec::new();
    for step in 0..seconds * 10 {
        let us = from_us + step * 100_000;
        let mut out = Vec::new();
        if let Some(to) = bench.receiver.report(at(us), "callspool@192.0.2.1", &mut out) {
            reports.push((us / 1_000, out, to));
        } else {
            assert!(out.is_empty());
        }
    }
    reports
}

#[test]
fn a_report_says_what_was_lost_and_when_the_sender_reported() {
    let mut bench = Bench::new(&stream());
    let sending =
        Sending { ssrc: 9, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 65_530, timestamp: 0 };
    let mut source = RtpSender::new(sending);
    for n in 0..100_i64 {
        if n % 10 == 5 {
            source.lose();
        } else {
            bench.packet(1_000_000 + n * 20_000, sender(), &source.next(&[0; 160]));
        }
    }
    let rtcp_from = address("192.0.2.10:4001");
    let sender_report = source.report(at(2_999_500), "caller");
    bench.receiver.rtcp(at(3_000_000), rtcp_from, &sender_report);
    let all = reports(&mut bench, 3_000_000, 20);
    let (ms, bytes, to) = &all[0];
    assert_eq!(*to, rtcp_from);
    assert!(*ms <= 5_000, "the first at {ms} ms");
    assert!(all.windows(2).all(|w| w[1].0 - w[0].0 == 5_000), "then every five seconds");

    let packets: Vec<_> = Compound::parse(bytes).unwrap().map(Result::unwrap).collect();
    let [Packet::Rr(report), Packet::Sdes(description)] = &packets[..] else { panic!("{packets:?}") };
    let block: ReportBlock<'_> = report.report_blocks().next().unwrap();
    assert_eq!(block.ssrc(), 9);
    assert_eq!((block.cumulative_lost(), block.fraction_lost()), (10, u8::try_from(10 * 256 / 100).unwrap()));
    assert_eq!(block.extended_sequence_number(), (1 << 16) | (65_530 + 99 - 65_536));
    assert_ne!(block.last_sender_report_timestamp(), 0);
    let waited = u64::from(block.delay_since_last_sender_report_timestamp()) * 1_000 / 65_536;
    assert_eq!(waited, u64::try_from(ms - 3_000).unwrap().saturating_sub(u64::from(waited % 100 == 99)));
    let chunk = description.chunks().next().unwrap();
    let name = chunk.items().find(|i| i.type_() == SdesItem::CNAME).unwrap();
    assert_eq!(name.value(), b"callspool@192.0.2.1");
    assert_eq!(chunk.ssrc(), report.ssrc());

    // Nothing was lost since: the fraction is of the interval.
    let packets: Vec<_> = Compound::parse(&all[1].1).unwrap().map(Result::unwrap).collect();
    let Packet::Rr(report) = &packets[0] else { panic!("{packets:?}") };
    let block = report.report_blocks().next().unwrap();
    assert_eq!((block.cumulative_lost(), block.fraction_lost()), (10, 0));
}

#[test]
fn reports_go_where_the_sender_is() {
    let check = |open: &OpenStream, from: Option<&str>, expected: Option<&str>| {
        let mut bench = Bench::new(open);
        if let Some(from) = from {
            bench.packet(1_000_000, address(from), &rtp(0, 1, 160, 5, &[0; 160]));
        }
        let to = reports(&mut bench, 6_000_000, 1).first().map(|(_, _, to)| to.to_string());
        assert_eq!(to.as_deref(), expected, "{from:?}");
    };
    let plain = stream();
    check(&plain, None, Some("192.0.2.10:4001"));
    check(&plain, Some("192.0.2.10:4000"), Some("192.0.2.10:4001"));
    check(&plain, Some("203.0.113.5:7000"), Some("203.0.113.5:7001"));
    let told = OpenStream { remote_rtcp: Some(address("192.0.2.10:9999")), ..stream() };
    check(&told, Some("192.0.2.10:4000"), Some("192.0.2.10:9999"));
    check(&told, Some("203.0.113.5:7000"), Some("203.0.113.5:7001"));
    let mux = OpenStream { rtcp_mux: true, ..stream() };
    check(&mux, None, Some("192.0.2.10:4000"));
    check(&mux, Some("203.0.113.5:7000"), Some("203.0.113.5:7000"));
    check(&OpenStream { remote: None, ..stream() }, None, None);
}

#[test]
fn a_goodbye_lets_the_next_source_in_at_once() {
    for (goodbye, accepted) in [(false, 6), (true, 8)] {
        let mut bench = Bench::new(&stream());
        let sending =
            Sending { ssrc: 9, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 1, timestamp: 0 };
        let mut source = RtpSender::new(sending);
        for n in 0..6_i64 {
            bench.packet(1_000_000 + n * 20_000, sender(), &source.next(&[0; 160]));
        }
        if goodbye {
            // RTCP on the RTP port is understood too.
            bench.packet(1_110_000, sender(), &source.goodbye(at(1_110_000)));
        }
        let other = address("203.0.113.5:7000");
        for n in 0..2_u16 {
            let packet = rtp(0, n, u32::from(n) * 160, 77, &[0; 160]);
            bench.packet(1_120_000 + i64::from(n) * 20_000, other, &packet);
        }
        let counts = bench.receiver.accounting();
        assert_eq!((counts.received, counts.invalid), (accepted, 0));
    }
}

#[test]
fn rtcp_of_strangers_is_not_believed() {
    let mut bench = Bench::new(&stream());
    bench.packet(1_000_000, sender(), &rtp(0, 1, 160, 5, &[0; 160]));
    let sending =
        Sending { ssrc: 5, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 1, timestamp: 0 };
    let stranger = address("203.0.113.66:1234");
    bench.receiver.rtcp(at(1_010_000), stranger, &RtpSender::new(sending).goodbye(at(1_010_000)));
    let to = reports(&mut bench, 6_000_000, 1)[0].2;
    assert_ne!(to, stranger);
}
