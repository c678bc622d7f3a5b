//! Who comes to a port and how: forged hellos, strangers, a segment that takes over.

use crossbeam_channel::{bounded, never};
use model::protection::Fingerprint;

use super::places::Places;
use super::*;
use crate::dtls::Clients;
use crate::pulse::Pulses;

const FIRST: SegmentId = SegmentId::from_u64(1);
const SECOND: SegmentId = SegmentId::from_u64(2);
const DOOR: Door = Door { stream: StreamId::from_u64(7), which: Which::Rtp, port: 4_000 };

/// The thread without its loop, and what it says.
struct World {
    handshakes: Handshakes,
    orders: Receiver<MediaOrder>,
    places: Places,
    now: Instant,
    client: Identity,
}

impl World {
    fn new() -> Self {
        let (way, orders) = bounded(1_000);
        let handshakes = Handshakes {
            identity: Arc::new(Identity::make(Clients::Verified).unwrap()),
            knocks: never(),
            media: Threads::new(vec![way]),
            pulse: Pulses::default().take("handshakes"),
        };
        let client = Identity::make(Clients::Verified).unwrap();
        Self { handshakes, orders, places: Places::default(), now: Instant::now(), client }
    }

    fn terms(role: HandshakeRole, peer: Fingerprint) -> Handshake {
        Handshake { role, peer: vec![peer], id: None }
    }

    /// A client that begins, and its first datagram.
    fn client(&self) -> (Association, Vec<u8>) {
        let terms = Self::terms(HandshakeRole::Client, self.handshakes.identity.fingerprint());
        let mut association = Association::new(&self.client, terms, self.now);
        let mut hello = Vec::new();
        let _ = association.wake(self.now, &mut |record| hello = record.to_vec());
        assert!(is_hello(&hello));
        (association, hello)
    }

    /// A datagram comes to the door of this segment; what is said, and to which segment.
    fn come(
        &mut self,
        segment: SegmentId,
        port: u16,
        whence: Whence,
        datagram: Vec<u8>,
    ) -> Vec<(SegmentId, Shaken)> {
        let terms = Self::terms(HandshakeRole::Server, self.client.fingerprint());
        let from = SocketAddr::from(([192, 0, 2, 1], port));
        let news = News::Came { from, whence, terms, datagram };
        self.handshakes.answer(&mut self.places, self.now, Knock { door: DOOR, segment, news });
        self.said()
    }

    fn said(&self) -> Vec<(SegmentId, Shaken)> {
        let said = self.orders.try_iter().map(|order| match order {
            MediaOrder::Shaken { segment, door, said, .. } => {
                assert_eq!(door, DOOR);
                (segment, said)
            }
            _ => panic!("another order"),
        });
        said.collect()
    }

    /// Goes on with a client until it has its keys; those that the port got, and for which segment.
    fn shake(
        &mut self,
        (mut client, hello): (Association, Vec<u8>),
        port: u16,
        whence: Whence,
        segments: [SegmentId; 2],
    ) -> Option<(SegmentId, Proof)> {
        let (mut to_us, mut got, mut has_moved) = (vec![hello], None, false);
        for _ in 0..20 {
            let mut to_client = Vec::new();
            for datagram in std::mem::take(&mut to_us) {
                let segment = segments[usize::from(has_moved)];
                for (segment, said) in self.come(segment, port, whence, datagram) {
                    match said {
                        Shaken::Send(record) => to_client.push(record),
                        Shaken::Keys(_, proof) => got = Some((segment, proof)),
                    }
                }
            }
            for record in to_client {
                let _ = client.receive(self.now, &record, &mut |r| to_us.push(r.to_vec()));
            }
            if !has_moved && segments[0] != segments[1] {
                has_moved = true;
                let knock = Knock { door: DOOR, segment: segments[1], news: News::Moved };
                self.handshakes.answer(&mut self.places, self.now, knock);
            }
        }
        got
    }
}

#[test]
fn a_handshake_goes_on_where_another_segment_has_taken_over() {
    let mut world = World::new();
    let client = world.client();
    let got = world.shake(client, 5_000, Whence::Named, [FIRST, SECOND]);
    assert_eq!(got, Some((SECOND, Proof::Certificate)));
    // What it repeats by itself goes there too.
    let mut world = World::new();
    let (_, hello) = world.client();
    assert!(world.come(FIRST, 5_000, Whence::Named, hello).iter().all(|(s, _)| *s == FIRST));
    let moved = Knock { door: DOOR, segment: SECOND, news: News::Moved };
    world.handshakes.answer(&mut world.places, world.now, moved);
    for _ in 0..5 {
        world.now += Duration::from_secs(1);
        world.handshakes.wake(&mut world.places, world.now);
    }
    assert!(world.said().iter().all(|(segment, _)| *segment == SECOND));
}

#[test]
fn hellos_in_the_name_of_others_keep_nobody_out() {
    let mut world = World::new();
    for round in 0..30 {
        for port in 0..10 {
            let (_, hello) = world.client();
            let _ = world.come(FIRST, 10_000 + round * 10 + port, Whence::Elsewhere, hello);
        }
        assert!(world.places.count(Whence::Elsewhere) <= 8);
        // Whom signalling names gets through at any time.
        if round == 15 {
            let client = world.client();
            let got = world.shake(client, 5_000, Whence::Named, [FIRST, FIRST]);
            assert_eq!(got, Some((FIRST, Proof::Certificate)));
        }
        world.now += Duration::from_millis(100);
    }
    // Whom it does not name gets a place as soon as others have shown that they are not there.
    world.now += Duration::from_secs(1);
    let client = world.client();
    assert!(world.shake(client, 6_000, Whence::Elsewhere, [FIRST, FIRST]).is_some());
}

#[test]
fn who_has_returned_the_cookie_does_not_give_way_to_strangers() {
    let mut world = World::new();
    let (mut client, hello) = world.client();
    // As far as the cookie, and not a step further.
    let mut to_us = vec![hello];
    for _ in 0..2 {
        let datagrams = std::mem::take(&mut to_us).into_iter();
        let said: Vec<_> = datagrams.flat_map(|d| world.come(FIRST, 6_000, Whence::Elsewhere, d)).collect();
        for (_, said) in said {
            let Shaken::Send(record) = said else { panic!("keys") };
            let _ = client.receive(world.now, &record, &mut |r| to_us.push(r.to_vec()));
        }
    }
    for port in 0..50 {
        world.now += Duration::from_millis(200);
        let (_, hello) = world.client();
        let _ = world.come(FIRST, 10_000 + port, Whence::Elsewhere, hello);
    }
    let key = (DOOR, SocketAddr::from(([192, 0, 2, 1], 6_000)));
    assert!(world.places.get(key).is_some_and(|s| s.association.is_answered()));
}
