//! The path of a packet in order allocates nothing.
#![allow(clippy::unwrap_used)]

mod receiving;

use media::relay::{
    Beginning, Keeping, Listening, OpenEnd, Recorder, Relay, Remembers, Security, Sends, Which,
};
use media::srtp::{Outbound, Srtp};
use media::{Frame, StreamReceiver};
use model::{Keys, Suite};
use receiving::{START, at, rtp, sender, stream};

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

#[test]
fn in_order_nothing_is_allocated() {
    let mut receiver = StreamReceiver::new(&stream(), START);
    let mut octets = 0_usize;
    let mut sink = |frame: &Frame<'_>| octets += frame.payload.len();
    let packet = |n: u32| rtp(0, u16::try_from(n & 0xffff).unwrap(), n * 160, 7, &[0x55; 160]);
    // The first packet of a source makes its state; ten minutes make room for anchors.
    receiver.packet(at(0), sender(), &packet(0), &mut sink);
    let packets: Vec<_> = (1..30_000).map(packet).collect();
    let per_packet = allocations(|| {
        for (n, packet) in (1_i64..).zip(&packets) {
            receiver.packet(at(n * 20_000), sender(), packet, &mut sink);
        }
    });
    assert_eq!(octets, 30_000 * 160);
    // Ten minutes: one anchor a minute, whose list grows from 4 to 8 to 16.
    assert!(per_packet <= 2, "{per_packet} allocations in 29,999 packets");
}

#[test]
fn with_ticks_nothing_is_allocated_by_packets_at_all() {
    let mut receiver = StreamReceiver::new(&stream(), START);
    let mut sink = |_: &Frame<'_>| {};
    let mut per_packet = 0;
    for n in 0..30_000_u32 {
        let packet = rtp(0, u16::try_from(n & 0xffff).unwrap(), n * 160, 7, &[0x55; 160]);
        let now = at(i64::from(n) * 20_000);
        if n % 5 == 0 {
            receiver.tick(now, &mut sink);
        }
        let by_packet = allocations(|| receiver.packet(now, sender(), &packet, &mut sink));
        per_packet += if n == 0 { 0 } else { by_packet };
    }
    assert_eq!(per_packet, 0);
}

#[test]
fn out_of_order_buffers_are_used_again() {
    let mut receiver = StreamReceiver::new(&stream(), START);
    let mut sink = |_: &Frame<'_>| {};
    let mut send = |receiver: &mut StreamReceiver, n: u16, us: i64| {
        let packet = rtp(0, n, u32::from(n) * 160, 7, &[0x55; 160]);
        allocations(|| receiver.packet(at(us), sender(), &packet, &mut sink))
    };
    send(&mut receiver, 0, 0);
    let mut counts = Vec::new();
    for pair in 0..1_000_u16 {
        let (first, us) = (pair * 2 + 1, i64::from(pair) * 40_000);
        counts.push(send(&mut receiver, first + 1, us) + send(&mut receiver, first, us + 1_000));
    }
    assert!(counts[10..].iter().all(|n| *n == 0), "{:?}", &counts[..20]);
}

#[test]
fn encrypted_nothing_is_allocated_by_packets_either() {
    for suite in [Suite::AesCm128HmacSha1Tag80, Suite::AeadAes256Gcm] {
        let keys = Keys::single(suite, vec![7; suite.secret_len()]).unwrap();
        let (mut ours, mut theirs) = (Srtp::new(&keys, &keys).unwrap(), Srtp::new(&keys, &keys).unwrap());
        let mut receiver = StreamReceiver::new(&stream(), START);
        let mut sink = |_: &Frame<'_>| {};
        let mut per_packet = 0;
        for n in 0..3_000_u32 {
            let mut packet = rtp(0, u16::try_from(n).unwrap(), n * 160, 7, &[0x55; 160]);
            assert!(theirs.seal_rtp(&mut packet));
            let now = at(i64::from(n) * 20_000);
            if n % 5 == 0 {
                receiver.tick(now, &mut sink);
            }
            let by_packet = allocations(|| receiver.protected(now, sender(), &packet, &mut ours, &mut sink));
            // Nor by one that is not authentic.
            let noise = allocations(|| receiver.protected(now, sender(), &[0x80; 180], &mut ours, &mut sink));
            per_packet += if n == 0 { 0 } else { by_packet + noise };
        }
        let counted = receiver.accounting();
        assert_eq!((counted.received, counted.unauthenticated), (3_000, 3_000));
        assert_eq!(per_packet, 0, "{suite:?}");
    }
}

#[test]
fn relayed_between_any_sides_teed_remembered_and_listened_to_nothing_is_allocated_by_packets() {
    let single = |suite: Suite, octet| Keys::single(suite, vec![octet; suite.secret_len()]).unwrap();
    let suite = Suite::AesCm128HmacSha1Tag80;
    let guarded = Security::Keys { inbound: single(suite, 1), outbound: single(suite, 2) };
    let other = Security::Keys { inbound: single(suite, 1), outbound: single(suite, 3) };
    for (here, there) in [
        (Security::Clear, Security::Clear),
        (Security::Clear, other.clone()),
        (guarded.clone(), Security::Clear),
        (guarded, other),
    ] {
        let mut phone = Outbound::new(&single(suite, 1)).unwrap();
        let mut relay = Relay::default();
        let (remembers, keeping) = (Remembers::TwoSeconds, Keeping::Everything);
        let first = OpenEnd {
            codecs: receiving::stream().codecs,
            security: here.clone(),
            remembers,
            keeping,
            digits: Listening::EventsAndTones,
            ..OpenEnd::audio(0, Some(sender()))
        };
        let first = relay.open(&first).unwrap();
        let other =
            OpenEnd { security: there, ..OpenEnd::audio(1, Some(receiving::address("192.0.2.20:5000"))) };
        relay.open(&other).unwrap();
        let recorders = [None, Some(single(Suite::AeadAes128Gcm, 9))].map(|keys| Recorder {
            rtp: receiving::address("192.0.2.30:6000"),
            rtcp: None,
            mark: keys.is_none().then(|| model::Mark::new([7; 8])),
            keys,
        });
        for (place, recorder) in recorders.iter().enumerate() {
            relay.tee(START, first, place, Some((recorder, Beginning::Now))).unwrap();
        }
        let mut sends = Sends::default();
        let (mut by_packets, mut sent) = (0, 0);
        for n in 0..2_000_u16 {
            let mut packet = rtp(0, n, u32::from(n) * 160, 7, &[0x55; 160]);
            if here != Security::Clear {
                phone.seal_once(0, &mut packet).unwrap();
            }
            let now = at(i64::from(n) * 20_000);
            let by_packet = allocations(|| {
                relay.receive(now, (first, Which::Rtp), sender(), &packet, &mut sends).unwrap();
            });
            // Within two seconds the ring has grown; it keeps what it has.
            by_packets += if n < 150 { 0 } else { by_packet };
            sent += sends.forwards().len() + sends.tees().len() + sends.kept().len();
            sends.clear();
            while relay.poll_event().is_some() {}
        }
        assert_eq!((by_packets, sent), (0, 4 * 2_000));
    }
}
