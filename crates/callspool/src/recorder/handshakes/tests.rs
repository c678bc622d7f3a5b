//! Who comes to a port and how: forged hellos, strangers, a segment that takes over.

use crossbeam_channel::bounded;
use model::protection::Fingerprint;

use super::super::threads::Bell;
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
            knocks: Knocks::new().1,
            media: Threads::new([(way, Bell::default())]),
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
                        Shaken::Answered => {}
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
            let Shaken::Send(record) = said else { continue };
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

/// The way to the media thread is full at the moment when they are made.
#[test]
fn keys_wait_for_a_media_thread_that_has_no_room() {
    let mut world = World::new();
    let (way, orders) = bounded(4);
    let wide = std::mem::replace(&mut world.orders, orders);
    let (mut client, hello) = world.client();
    let (mut to_us, mut waits) = (vec![hello], 0);
    for _ in 0..6 {
        let mut to_client = Vec::new();
        for datagram in std::mem::take(&mut to_us) {
            let from = SocketAddr::from(([192, 0, 2, 1], 5_000));
            let terms = World::terms(HandshakeRole::Server, world.client.fingerprint());
            let news = News::Came { from, whence: Whence::Named, terms, datagram };
            world.handshakes.answer(&mut world.places, world.now, Knock { door: DOOR, segment: FIRST, news });
            // From the second round on the way is narrow, and full.
            for order in wide.try_iter() {
                if let MediaOrder::Shaken { said: Shaken::Send(record), .. } = order {
                    to_client.push(record);
                }
            }
        }
        for record in to_client {
            let _ = client.receive(world.now, &record, &mut |r| to_us.push(r.to_vec()));
        }
        waits += 1;
        if waits == 2 {
            while way.try_send(MediaOrder::NeverCame(FIRST)).is_ok() {}
            world.handshakes.media = Threads::new([(way.clone(), Bell::default())]);
        }
    }
    let key = (DOOR, SocketAddr::from(([192, 0, 2, 1], 5_000)));
    assert!(world.places.get(key).is_some_and(|s| s.untold.is_some() && s.done.is_none()));
    assert!(world.orders.try_iter().all(|order| matches!(order, MediaOrder::NeverCame(_))));
    world.handshakes.wake(&mut world.places, world.now);
    assert!(world.said().iter().any(|(_, said)| matches!(said, Shaken::Keys(..))), "now they come");
    assert!(world.places.get(key).is_some_and(|s| s.untold.is_none() && s.done.is_some()));
}

/// A copy of the first hello, and a forged one, come after all was said.
#[test]
fn a_hello_that_is_late_or_forged_takes_nothing_away() {
    let mut world = World::new();
    let (client, hello) = world.client();
    let late = hello.clone();
    assert!(world.shake((client, hello), 5_000, Whence::Named, [FIRST, FIRST]).is_some());
    let key = (DOOR, SocketAddr::from(([192, 0, 2, 1], 5_000)));
    let (_, forged) = world.client();
    for hello in [late, forged] {
        let _ = world.come(FIRST, 5_000, Whence::Named, hello);
        assert!(world.places.get(key).is_some_and(|s| s.done.is_some()));
    }
    // The client itself gets through with another.
    let client = world.client();
    assert!(world.shake(client, 5_000, Whence::Named, [FIRST, FIRST]).is_some());
}

/// Before the client has said anything, and while it goes on.
#[test]
fn a_forged_hello_in_the_name_of_a_client_does_not_stop_it() {
    let mut world = World::new();
    let (_, forged) = world.client();
    let _ = world.come(FIRST, 5_000, Whence::Named, forged);
    let client = world.client();
    assert!(world.shake(client, 5_000, Whence::Named, [FIRST, FIRST]).is_some());
}
