//! Lists are cut at their limits, counts are not, and a stream stays small.
#![allow(clippy::unwrap_used)]

mod receiving;

use model::GapReason;
use receiving::{Bench, at, rtp, sender, stream};

#[test]
fn a_new_ssrc_with_every_third_packet() {
    let mut bench = Bench::new(&stream());
    for n in 0..6_000_u32 {
        // Of each source numbers 0, 2 and 3: one lost.
        let number = [0, 2, 3][n as usize % 3];
        let packet = rtp(0, number, u32::from(number) * 160, 1_000 + n / 3, &[0x55; 160]);
        bench.packet(1_000_000 + i64::from(n) * 20_000, sender(), &packet);
    }
    bench.finish(200_000_000);
    let record = bench.receiver.record(1);
    assert_eq!((record.accounting.received, record.accounting.lost), (6_000, 2_000));
    assert_eq!((record.accounting.ssrc_changes, record.ssrcs.len()), (1_999, 32));
    assert_eq!((bench.kept.frames.len(), record.anchors.len()), (6_000, 1_024));
}

#[test]
fn more_gaps_than_are_listed() {
    let mut bench = Bench::new(&stream());
    for n in 0..5_000_u32 {
        let number = u16::try_from((n * 2) & 0xffff).unwrap();
        let packet = rtp(0, number, n * 320, 7, &[0x55; 160]);
        bench.packet(1_000_000 + i64::from(n) * 40_000, sender(), &packet);
    }
    bench.finish(202_000_000);
    let record = bench.receiver.record(1);
    let listed: u64 = record.gaps.iter().map(|g| u64::from(g.packets)).sum();
    assert_eq!(record.accounting.lost, 4_999);
    assert_eq!((record.gaps.len(), record.gaps_unlisted), (4_096, 905));
    // The first is the silence before, the last unlisted one that after; each other one is a packet.
    assert_eq!((record.gaps[0].reason, listed), (GapReason::Silence, 4_095));
}

#[test]
fn a_marker_and_a_high_payload_type_are_no_rtcp() {
    for named in [false, true] {
        let mut open = stream();
        if named {
            open.codecs.push((72, model::Codec::new("L16", 8_000, 1)));
        }
        let mut bench = Bench::new(&open);
        bench.packet(1_000_000, sender(), &rtp(0, 1, 160, 7, &[0x55; 160]));
        // 200 on the wire: also what a sender report has there.
        bench.packet(1_020_000, sender(), &rtp(200, 2, 320, 7, &[0x55; 160]));
        assert_eq!(bench.receiver.accounting().received, 2);
    }
}

#[test]
fn a_receiver_is_small() {
    // Two streams and their buffers must fit 64 KiB a call.
    assert!(size_of::<media::StreamReceiver>() <= 2_048, "{}", size_of::<media::StreamReceiver>());
    let _ = at(0);
}
