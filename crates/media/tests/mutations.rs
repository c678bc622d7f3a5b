//! Bytes from the network, valid ones that have been mutated and any others, never panic and are all counted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod receiving;

use media::sdp::{self, Origin, Slot};
use media::send::{RtpSender, Sending};
use model::peer::Flowing;
use proptest::prelude::*;
use receiving::{Bench, address, at, rtp, sender, stream};

/// Flips, cuts, repeats.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Cut(usize),
    Insert(usize, u8),
    Double(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, octet)| Mutation::Set(at, octet)),
        any::<usize>().prop_map(Mutation::Cut),
        (any::<usize>(), any::<u8>()).prop_map(|(at, octet)| Mutation::Insert(at, octet)),
        any::<usize>().prop_map(Mutation::Double),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let length = bytes.len().max(1);
        match *mutation {
            Mutation::Set(at, octet) => {
                if let Some(b) = bytes.get_mut(at % length) {
                    *b = octet;
                }
            }
            Mutation::Cut(at) => bytes.truncate(at % length),
            Mutation::Insert(at, octet) => bytes.insert(at % (bytes.len() + 1), octet),
            Mutation::Double(at) => {
                let tail = bytes[at % length % bytes.len().max(1).min(length)..].to_vec();
                bytes.extend(tail.into_iter().take(64));
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever comes, at whatever times, each datagram is counted once, and each frame is one that came.
    #[test]
    fn any_packets(
        datagrams in proptest::collection::vec(
            (
                prop_oneof![Just(0_u8), Just(8), Just(13), Just(101), Just(111), 0_u8..128],
                any::<u16>(), any::<u32>(), 0_u32..3,
                proptest::collection::vec(any::<u8>(), 0..40),
                proptest::collection::vec(mutation(), 0..3),
                -200_000_i64..2_000_000, 0_usize..3, 0_u8..40,
            ),
            0..120,
        ),
    ) {
        let sources = [sender(), address("203.0.113.5:7000"), address("[2001:db8::1]:4000")];
        let mut bench = Bench::new(&stream());
        let (mut now_us, mut rtcp) = (0, 0);
        for (payload_type, sequence, timestamp, ssrc, payload, mutations, step_us, source, order) in &datagrams {
            now_us += step_us;
            match order {
                0 => bench.update(now_us, &receiving::flowing(Flowing::Held)),
                1 => bench.update(now_us, &receiving::flowing(Flowing::Paused)),
                2 | 3 => bench.update(now_us, &stream()),
                _ => {}
            }
            let bytes = mutate(rtp(*payload_type, *sequence, *timestamp, *ssrc, payload), mutations);
            rtcp += u64::from(bytes.len() >= 8 && bytes[0] >> 6 == 2 && (192..=223).contains(&bytes[1]));
            bench.packet(now_us, sources[*source], &bytes);
            bench.receiver.report(at(now_us), "x", &mut Vec::new());
        }
        bench.finish(now_us + 1_000_000);
        let record = bench.receiver.record(1);
        let c = record.accounting;
        // What looks like RTCP may be RTP with a marker.
        let counted = c.received + c.duplicate + c.invalid + c.other_source;
        prop_assert!((counted..=counted + rtcp).contains(&(datagrams.len() as u64)));
        prop_assert_eq!(bench.kept.frames.len() as u64, c.received - c.discarded);
        prop_assert!(bench.kept.frames.iter().all(|f| f.position_us >= 0));
    }

    #[test]
    fn any_rtcp(mutations in proptest::collection::vec(mutation(), 0..6), noise in any::<Vec<u8>>()) {
        let mut bench = Bench::new(&stream());
        bench.packet(1_000, sender(), &rtp(0, 1, 160, 5, &[0; 160]));
        let sending =
            Sending { ssrc: 5, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 1, timestamp: 0 };
        let source = RtpSender::new(sending);
        for bytes in [source.report(at(0), "caller"), source.goodbye(at(0)), noise] {
            bench.receiver.rtcp(at(2_000), sender(), &mutate(bytes, &mutations));
        }
        let mut out = Vec::new();
        bench.receiver.report(at(60_000_000), "x", &mut out);
        prop_assert!(!out.is_empty());
    }

    /// Mutated offers are read or refused; what is read can be answered, line for line, and read again.
    #[test]
    fn any_sdp(mutations in proptest::collection::vec(mutation(), 0..12), noise in any::<Vec<u8>>()) {
        let offer = concat!(
            "v=0\r\no=- 1 -1 IN IP4 192.0.2.1\r\ns=x\r\nc=IN IP4 192.0.2.1/127\r\nt=0 0\r\na=sendonly\r\n",
            "m=audio 4000/2 RTP/AVP 0 8 96 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n",
            "a=rtpmap:101 telephone-event/8000\r\na=label:1\r\na=rtcp:4005 IN IP6 ::1\r\na=ptime:20\r\n",
            "m=video 0 RTP/AVP 97\r\na=mid:2\r\nc=IN IP6 2001:db8::2\r\na=rtcp-mux\r\n",
        );
        for bytes in [mutate(offer.as_bytes().to_vec(), &mutations), noise] {
            let Ok(read) = sdp::read(&bytes) else { continue };
            let slot = Slot::Take {
                rtp: address("192.0.2.9:10000"),
                rtcp_port: 10_001,
                direction: sdp::Direction::RecvOnly,
                mux: true,
                security: sdp::Security::None,
                ice: None,
            };
            let origin = Origin {
                username: "-".to_owned(), session_id: 1, version: 1, address: "192.0.2.9".parse().unwrap(),
            };
            let text = sdp::answer(&read, &vec![slot; read.media.len()], &origin);
            let again = sdp::read(text.as_bytes()).unwrap();
            prop_assert_eq!(again.media.len(), read.media.len());
            for (ours, theirs) in again.media.iter().zip(&read.media) {
                prop_assert_eq!(&ours.mid, &theirs.mid);
                prop_assert_eq!(&ours.label, &theirs.label);
                if !theirs.formats.is_empty() {
                    prop_assert_eq!(&ours.codecs, &theirs.codecs);
                }
                prop_assert_eq!(ours.port, 10_000);
            }
            for line in &read.media {
                let _ = (line.remote_rtp(), line.remote_rtcp(), line.is_held(), line.is_rtp());
            }
        }
    }
}
