//! What comes to the ports of a relay, from either side and from strangers.

use std::net::SocketAddr;

use media::relay::{
    Beginning, By, Counts, EndId, Follow, Listening, OpenEnd, Recorder, Relay, Remembers, Security, Sends,
    Which,
};
use media::srtp::Outbound;
use model::{Codec, Keys, Mark, Suite, WallTime};

use crate::Input;

fn peers() -> [SocketAddr; 4] {
    [
        SocketAddr::from(([192, 0, 2, 10], 4000)),
        SocketAddr::from(([198, 51, 100, 20], 5000)),
        SocketAddr::from(([192, 0, 2, 10], 4400)),
        SocketAddr::from(([203, 0, 113, 5], 7000)),
    ]
}

fn recorders() -> [SocketAddr; 2] {
    [SocketAddr::from(([192, 0, 2, 200], 20_000)), SocketAddr::from(([192, 0, 2, 201], 20_000))]
}

fn keys(suite: Suite, octet: u8) -> Keys {
    Keys::single(suite, vec![octet; suite.secret_len()]).unwrap()
}

/// How a side is: in the clear, awaited, or by keys, which its peer has the other way round.
fn side(leg: u8, how: u8) -> (OpenEnd, Option<Outbound>) {
    let follow = [Follow::Exactly, Follow::Host, Follow::Anywhere][usize::from(how >> 5) % 3];
    let codecs = vec![(0, Codec::new("PCMU", 8_000, 1)), (101, Codec::new("telephone-event", 8_000, 1))];
    let suite = Suite::ALL[usize::from(how >> 2) % Suite::ALL.len()];
    let (theirs, ours) = (keys(suite, 2 * leg + 1), keys(suite, 2 * leg + 2));
    let (security, peer) = match how % 4 {
        0 | 1 => (Security::Clear, None),
        2 => (Security::Awaited, None),
        _ => {
            let peer = Outbound::new(&theirs);
            (Security::Keys { inbound: theirs, outbound: ours }, peer)
        }
    };
    let remote = Some(peers()[usize::from(leg)]);
    let (remembers, digits) = (Remembers::TwoSeconds, Listening::EventsAndTones);
    (OpenEnd { follow, codecs, security, remembers, digits, ..OpenEnd::audio(leg, remote) }, peer)
}

/// Two sides that send and are sent to, and strangers: whatever comes, one datagram makes one at most, to the other side
/// and nobody else, and what leaves in the clear is what came; recorders get copies; each datagram is in one count.
///
/// Octets 0 and 1 say how the sides are. Then each step is: octet 0, what happens (end, port, who, whether honest);
/// octet 1, ticks of 16 ms; octet 2, length; octets.
pub fn relay(data: &[u8]) {
    let mut input = Input(data);
    let mut relay = Relay::default();
    let mut sides = [side(0, input.octet()), side(1, input.octet())];
    let ends: Vec<EndId> = sides.iter().map(|(open, _)| relay.open(open).unwrap()).collect();
    let (mut sends, mut now) = (Sends::default(), WallTime(1_795_166_100_000_000_000));
    let mut came = 0_u64;
    while !input.is_empty() {
        let what = input.octet();
        now = WallTime(now.0 + i64::from(input.octet()) * 16_000_000);
        let length = usize::from(input.octet());
        let mut bytes = input.take(length).to_vec();
        let end = usize::from(what & 1);
        if what & 0xe0 == 0xe0 {
            let to = recorders()[usize::from(what >> 1 & 1)];
            let recorder = Recorder { rtp: to, rtcp: Some(to), keys: None, mark: Some(Mark::new([7; 8])) };
            relay.tee(now, ends[end], end, Some((&recorder, Beginning::Remembered))).unwrap();
            continue;
        }
        let which = if what & 2 == 0 { Which::Rtp } else { Which::Rtcp };
        if what & 16 != 0
            && let Some(peer) = &mut sides[end].1
        {
            let _ = match which {
                Which::Rtp => peer.seal_once(0, &mut bytes).is_ok(),
                Which::Rtcp => peer.seal_rtcp(now, &mut bytes),
            };
        }
        let from = peers()[usize::from(what >> 2 & 3)];
        came += 1;
        let taken = relay.receive(now, (ends[end], which), from, &bytes, &mut sends);
        assert!(sends.forwards().len() <= usize::from(taken.is_ok()), "{taken:?}: {:?}", sends.forwards());
        let is_clear = sides.iter().all(|(open, _)| open.security == Security::Clear);
        for sent in sends.forwards() {
            assert!(matches!(sent.by, By::End(by, _) if by == ends[1 - end]));
            let (open, keys) = &sides[1 - end];
            let named = peers()[1 - end];
            // Only who has keys, or comes first where its trunk says that anybody may, is sent to elsewhere.
            let is_named = match open.follow {
                Follow::Exactly if keys.is_none() => sent.to == named || sent.to.port() == named.port() + 1,
                Follow::Host if keys.is_none() => sent.to.ip() == named.ip(),
                _ => peers().iter().any(|p| p.ip() == sent.to.ip()),
            };
            assert!(is_named, "{:?} is not at {}", open.follow, sent.to);
            assert!(!is_clear || sends.octets(sent) == bytes);
            assert!(sends.octets(sent).len() <= bytes.len() + 32, "it grows");
        }
        relay.replay(now, &mut sends);
        for sent in sends.tees() {
            assert!(recorders().contains(&sent.to));
        }
        sends.clear();
        while relay.poll_event().is_some() {}
    }
    let mut counted = 0;
    for end in ends {
        let Counts {
            rtp,
            rtcp,
            stun,
            dtls,
            malformed,
            strangers,
            too_many,
            unauthentic,
            replayed,
            unopened,
            ..
        } = relay.counts(end).unwrap();
        counted +=
            rtp + rtcp + stun + dtls + malformed + strangers + too_many + unauthentic + replayed + unopened;
    }
    assert_eq!(counted, came);
}
