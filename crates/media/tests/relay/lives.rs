//! Random lives: whatever comes, in whatever order, what holds holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use media::relay::{
    Beginning, By, Counts, Follow, OpenEnd, Recorder, Relay, Remembers, Security, Sends, Which,
};
use model::{Keys, Suite};
use proptest::prelude::*;

use crate::world::{Phone, at, end, peer, rtcp, rtp};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Who sends, to which end, how far its number goes on, which source, and how long it waits.
    Packet {
        from: usize,
        to: usize,
        ahead: u16,
        ssrc: u32,
        wait: i64,
    },
    Report {
        from: usize,
        to: usize,
    },
    Octets {
        from: usize,
        to: usize,
        octets: Vec<u8>,
    },
    /// Signalling says that the peer of an end is elsewhere, with these keys.
    Change {
        end: usize,
        remote: usize,
        suite: Option<usize>,
        octet: u8,
    },
    Tee {
        end: usize,
        place: usize,
        recorder: usize,
        remembered: bool,
    },
    Replay {
        wait: i64,
    },
}

const PEERS: [&str; 6] = ["A", "A2", "B", "B2", "X", "Y"];
const RECORDERS: [&str; 3] = ["R1", "R2", "R3"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..PEERS.len(), 0..2_usize, 0..4_u16, 1..3_u32, 0..60_i64)
            .prop_map(|(from, to, ahead, ssrc, wait)| Step::Packet { from, to, ahead, ssrc, wait }),
        2 => (0..PEERS.len(), 0..2_usize).prop_map(|(from, to)| Step::Report { from, to }),
        2 => (0..PEERS.len(), 0..2_usize, proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(from, to, octets)| Step::Octets { from, to, octets }),
        1 => (0..2_usize, 0..PEERS.len(), proptest::option::of(0..8_usize), 1..9_u8)
            .prop_map(|(end, remote, suite, octet)| Step::Change { end, remote, suite, octet }),
        1 => (0..2_usize, 0..2_usize, 0..RECORDERS.len(), any::<bool>())
            .prop_map(|(end, place, recorder, remembered)| Step::Tee { end, place, recorder, remembered }),
        4 => (0..30_i64).prop_map(|wait| Step::Replay { wait }),
    ]
}

/// A side of the call as it is now.
struct Side {
    open: OpenEnd,
    /// What peers protect by and open with; none: nothing.
    peer: Option<Phone>,
    sequences: BTreeMap<u32, u16>,
}

struct Life {
    relay: Relay,
    ends: Vec<media::relay::EndId>,
    sides: Vec<Side>,
    sends: Sends,
    ms: i64,
    came: u64,
    /// Addresses that signalling ever named, or that an accepted packet came from: for each end.
    named: Vec<BTreeSet<SocketAddr>>,
}

impl Life {
    fn new(follow: Follow) -> Self {
        let side = |leg, remote| {
            let open = OpenEnd { follow, remembers: Remembers::TwoSeconds, ..end(leg, remote) };
            Side { open, peer: None, sequences: BTreeMap::new() }
        };
        let sides = vec![side(0, "A"), side(1, "B")];
        let mut relay = Relay::default();
        let ends = sides.iter().map(|s| relay.open(&s.open).unwrap()).collect();
        let named = vec![[peer("A")].into(), [peer("B")].into()];
        Self { relay, ends, sides, sends: Sends::default(), ms: 0, came: 0, named }
    }

    fn play(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Packet { from, to, ahead, ssrc, wait } => {
                self.ms += wait;
                let side = &mut self.sides[*to];
                let next = side.sequences.entry(*ssrc).or_insert(65_500);
                *next = next.wrapping_add(*ahead);
                let plain = rtp(0, *next, *ssrc, &self.ms.to_be_bytes());
                let mut packet = plain.clone();
                if let Some(keys) = &mut side.peer
                    && keys.seal_once(&mut packet).is_err()
                {
                    return Ok(());
                }
                self.receive(*from, *to, Which::Rtp, &packet, &plain)
            }
            Step::Report { from, to } => {
                let plain = rtcp(1, false);
                let mut packet = plain.clone();
                if let Some(keys) = &mut self.sides[*to].peer {
                    keys.seal_rtcp(at(self.ms), &mut packet);
                }
                self.receive(*from, *to, Which::Rtcp, &packet, &plain)
            }
            Step::Octets { from, to, octets } => self.receive(*from, *to, Which::Rtp, octets, octets),
            Step::Change { end, remote, suite, octet } => {
                let side = &mut self.sides[*end];
                side.open.remote = Some(peer(PEERS[*remote]));
                self.named[*end].insert(peer(PEERS[*remote]));
                let keys = |suite: Suite, n: u8| {
                    Keys::single(
                        suite,
                        vec![*octet + n + 20 * u8::try_from(*end).unwrap(); suite.secret_len()],
                    )
                    .unwrap()
                };
                let both = suite.map(|s| (keys(Suite::ALL[s], 0), keys(Suite::ALL[s], 100)));
                let security = both.as_ref().map_or(Security::Clear, |(inbound, outbound)| Security::Keys {
                    inbound: inbound.clone(),
                    outbound: outbound.clone(),
                });
                if security != side.open.security {
                    side.peer = both.map(|(theirs, ours)| Phone::new(&ours, &theirs).unwrap());
                    side.sequences.clear();
                }
                side.open.security = security;
                self.relay.change(self.ends[*end], &side.open).unwrap();
                Ok(())
            }
            Step::Tee { end, place, recorder, remembered } => {
                let to = peer(RECORDERS[*recorder]);
                let beginning = if *remembered { Beginning::Remembered } else { Beginning::Now };
                let recorder = Recorder { rtp: to, rtcp: None, keys: None, mark: None };
                let end = self.ends[*end];
                self.relay.tee(at(self.ms), end, *place, Some((&recorder, beginning))).unwrap();
                Ok(())
            }
            Step::Replay { wait } => {
                self.ms += wait;
                self.relay.replay(at(self.ms), &mut self.sends);
                prop_assert!(self.sends.forwards().is_empty());
                self.drain()
            }
        }
    }

    fn receive(
        &mut self,
        from: usize,
        to: usize,
        which: Which,
        packet: &[u8],
        plain: &[u8],
    ) -> Result<(), TestCaseError> {
        self.came += 1;
        let address = peer(PEERS[from]);
        let taken = self.relay.receive(at(self.ms), (self.ends[to], which), address, packet, &mut self.sends);
        // Its keys say whose a packet is, or it may come from anywhere.
        let side = &self.sides[to];
        if taken.is_ok() && (side.peer.is_some() || side.open.follow == Follow::Anywhere) {
            self.named[to].insert(address);
        }
        let forwards: Vec<_> = self.sends.forwards().to_vec();
        prop_assert!(forwards.len() <= usize::from(taken.is_ok()), "once, and only what was taken");
        for sent in forwards {
            let By::End(by, _) = sent.by else { panic!("{sent:?}") };
            prop_assert_eq!(by, self.ends[1 - to]);
            let host = |a: &SocketAddr| a.ip() == sent.to.ip();
            prop_assert!(self.named[1 - to].iter().any(host), "nobody named {}", sent.to);
            let octets = self.sends.octets(&sent);
            // Where numbers begin anew under a key, the source has another name.
            let but_name = |octets: &[u8]| [&octets[..8], &octets[12..]].concat();
            match (&mut self.sides[1 - to].peer, taken) {
                (None, _) => prop_assert_eq!(octets, plain),
                (Some(keys), Ok(Which::Rtp)) => {
                    let opened = keys.open_rtp(at(self.ms), octets).map(but_name);
                    prop_assert_eq!(opened, Ok(but_name(plain)));
                }
                (Some(keys), _) => prop_assert_eq!(keys.open_rtcp(at(self.ms), octets), Ok(plain)),
            }
        }
        for _ in 0..100 {
            self.relay.poll_event();
        }
        self.drain()
    }

    /// Copies go to recorders, whatever anybody sends.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        for sent in self.sends.tees() {
            prop_assert!(RECORDERS.iter().any(|r| peer(r) == sent.to));
            prop_assert_eq!(sent.by, By::Tee);
        }
        self.sends.clear();
        Ok(())
    }

    fn end(self) -> Result<(), TestCaseError> {
        let mut counted = 0;
        for end in self.ends {
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
            } = self.relay.counts(end).unwrap();
            counted += rtp + rtcp + stun + dtls + malformed + strangers + too_many;
            counted += unauthentic + replayed + unopened;
        }
        prop_assert_eq!(counted, self.came, "each datagram is in one count");
        Ok(())
    }
}

/// The numbers of the packets that recorders are sent.
fn numbers(sends: &Sends) -> Vec<u16> {
    let octets = sends.tees().iter().map(|s| sends.octets(s));
    octets.map(|o| u16::from_be_bytes([o[2], o[3]])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_what_goes_out_is_what_came_to_whom_it_belongs_once(
        follow in prop_oneof![Just(Follow::Exactly), Just(Follow::Host), Just(Follow::Anywhere)],
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut life = Life::new(follow);
        for step in &steps {
            life.play(step)?;
        }
        life.end()?;
    }

    /// Two recorders in turns: each is sent, in order and once, all that came from two seconds before it was there on.
    #[test]
    fn whoever_takes_over_is_sent_everything_since_two_seconds_before(
        waits in proptest::collection::vec(1_i64..60, 50..400),
        changes in proptest::collection::vec(0_usize..400, 1..5),
    ) {
        let mut life = Life::new(Follow::Host);
        let (mut came, mut got, mut since) = (Vec::new(), Vec::<u16>::new(), None);
        let take_over = |life: &mut Life| {
            let recorder = Recorder { rtp: peer("R1"), rtcp: None, keys: None, mark: None };
            let told = life.relay.tee(at(life.ms), life.ends[0], 0, Some((&recorder, Beginning::Remembered)));
            told.unwrap().map_or(0, |r| r.packets)
        };
        for (n, wait) in waits.iter().enumerate() {
            life.ms += wait;
            if changes.contains(&n) {
                let remembered: Vec<u16> =
                    came.iter().filter(|(ms, _)| life.ms - ms <= 2_000).map(|(_, n)| *n).collect();
                prop_assert_eq!(take_over(&mut life), remembered.len() as u64);
                since = remembered.first().copied().or(Some(u16::try_from(n).unwrap()));
                got.clear();
            }
            let number = u16::try_from(n).unwrap();
            let packet = rtp(0, number, 1, &number.to_be_bytes());
            let now = at(life.ms);
            life.relay.receive(now, (life.ends[0], Which::Rtp), peer("A"), &packet, &mut life.sends).unwrap();
            came.push((life.ms, number));
            life.relay.replay(now, &mut life.sends);
            got.extend(numbers(&life.sends));
            life.sends.clear();
        }
        while let Some(due) = life.relay.next_timeout() {
            life.relay.replay(due, &mut life.sends);
        }
        got.extend(numbers(&life.sends));
        if let Some(first) = since {
            let all: Vec<u16> = (first..u16::try_from(waits.len()).unwrap()).collect();
            prop_assert_eq!(got, all);
        }
    }
}
