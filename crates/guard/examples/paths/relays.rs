//! The way of a relayed packet, without sockets: who it is of, to whom it goes, by what keys, and what is remembered of it.

use std::hint::black_box;
use std::net::SocketAddr;

use media::relay::{Beginning, OpenEnd, Recorder, Relay, Remembers, Security, Sends, Which};
use model::{Codec, Keys, Suite, WallTime};

use crate::packets::{START, prepare};

/// Packets of a batch: what comes in a millisecond of 300 calls.
const BATCH: usize = 30;

pub(crate) fn clear(packets: usize) {
    walk(packets, Copies::None, None);
}

pub(crate) fn teed(packets: usize) {
    walk(packets, Copies::One, None);
}

/// Opened by one side's keys and protected by the other's.
pub(crate) fn encrypted(packets: usize) {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let key = |first: u8| Keys::single(suite, (first..).take(suite.secret_len()).collect()).unwrap();
    walk(packets, Copies::None, Some([key(0), key(60), key(120)]));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Copies {
    None,
    One,
}

/// `keys` are those of the senders, and ours towards each of them.
fn walk(packets: usize, copies: Copies, keys: Option<[Keys; 3]>) {
    let prepared = prepare(keys.as_ref().map(|[inbound, ..]| inbound));
    let mut relay = Relay::default();
    let peers = [7, 8].map(|host| SocketAddr::from(([192, 0, 2, host], 16_384)));
    let ends = [0, 1].map(|leg: u8| {
        let security = keys.as_ref().map_or(Security::Clear, |keys| Security::Keys {
            inbound: keys[0].clone(),
            outbound: keys[1 + usize::from(leg)].clone(),
        });
        let codecs = vec![(0, Codec::new("PCMU", 8_000, 1))];
        let remembers = if copies == Copies::One { Remembers::TwoSeconds } else { Remembers::Nothing };
        let open = OpenEnd::audio(leg, Some(peers[usize::from(leg)]));
        relay.open(&OpenEnd { codecs, security, remembers, ..open }).unwrap()
    });
    if copies == Copies::One {
        let recorder =
            Recorder { rtp: SocketAddr::from(([192, 0, 2, 9], 20_000)), rtcp: None, keys: None, mark: None };
        for end in ends {
            relay.tee(START, end, 0, Some((&recorder, Beginning::Now))).unwrap();
        }
    }
    let (mut sends, mut sent) = (Sends::default(), 0);
    for (number, packet) in prepared.iter().take(packets).enumerate() {
        let now = WallTime(START.0 + i64::try_from(number / 2).unwrap() * 20_000_000);
        let side = number % 2;
        let taken = relay.receive(now, (ends[side], Which::Rtp), peers[side], black_box(packet), &mut sends);
        assert!(taken.is_ok());
        if number % BATCH == BATCH - 1 || number + 1 == packets {
            sent += black_box(sends.forwards()).len();
            sends.clear();
        }
    }
    assert_eq!(sent, packets, "packets that were not forwarded");
}
