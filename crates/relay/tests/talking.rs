//! Two legs talk through a relay, over sockets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::sync::{Arc, Mutex};

use media::StreamReceiver;
use media::relay::{Event, Follow, Keeping, Kept, OpenEnd, Recording, Security, Which};
use media::srtp::{Outbound, Srtp};
use model::{Accounting, Codec, Keys, OpenStream, Side, Suite, WallTime};
use relay::{Keep, Said};
use support::{World, address, bind, each_way, hears, hears_nothing, rtcp, rtp};

fn clear(leg: u8) -> OpenEnd {
    OpenEnd::audio(leg, None)
}

#[test]
fn one_in_the_clear_and_one_by_keys_with_reports() {
    each_way(|ways| {
        let keys = |octet| Keys::single(Suite::AesCm128HmacSha1Tag80, vec![octet; 30]).unwrap();
        let (theirs, ours) = (keys(1), keys(2));
        let (mut phone, mut seals) = (Srtp::new(&ours, &ours).unwrap(), Outbound::new(&theirs).unwrap());
        let security = Security::Keys { inbound: theirs, outbound: ours };
        let world = World::new(ways, vec![clear(0), OpenEnd { security, ..clear(1) }], None);
        let [a, b] = &world.phones[..] else { unreachable!() };
        for n in 1..200 {
            let plain = rtp(n, 1, &[n.to_be_bytes()[1]; 160]);
            a.says(&plain);
            assert_eq!(phone.open_rtp(WallTime(0), &hears(&b.rtp)), Ok(&plain[..]));
            let plain = rtp(n, 2, &[0x55; 160]);
            let mut packet = plain.clone();
            seals.seal_once(0, &mut packet).unwrap();
            b.says(&packet);
            assert_eq!(hears(&a.rtp), plain);
        }
        a.reports(&rtcp(1));
        let sealed = hears(&b.rtcp);
        assert_ne!(sealed, rtcp(1));
        assert_eq!(phone.open_rtcp(WallTime(0), &sealed), Ok(&rtcp(1)[..]));
        let mut report = rtcp(2);
        assert!(seals.seal_rtcp(WallTime(0), &mut report));
        b.reports(&report);
        assert_eq!(hears(&a.rtcp), rtcp(2));
        // It is sent from where it is sent to.
        a.says(&rtp(200, 1, b"x"));
        let (_, from) = b.rtp.recv_from(&mut [0; 2_048]).unwrap();
        assert_eq!(from, b.to[0]);
        world.relays.remove(7).unwrap();
        let counts = world.told(|said| match said {
            Said::Removed(counts) => Some(counts),
            _ => None,
        });
        let [(_, first), (_, second)] = counts[..] else { panic!("{counts:?}") };
        assert_eq!((first.rtp, first.rtcp, first.sent), (200, 1, 200));
        assert_eq!((second.rtp, second.rtcp, second.sent), (199, 1, 201));
        let figures = world.relays.figures();
        assert_eq!((figures.received(), figures.forwarded(), figures.unsent()), (401, 401, 0));
        let (mean, most) = figures.delay();
        assert!(mean > std::time::Duration::ZERO && most >= mean, "{mean:?} {most:?}");
    });
}

#[test]
fn a_stranger_is_not_heard_and_who_moves_is_followed() {
    each_way(|ways| {
        let world = World::new(ways, vec![OpenEnd { follow: Follow::Host, ..clear(0) }, clear(1)], None);
        let [a, b] = &world.phones[..] else { unreachable!() };
        a.says(&rtp(1, 1, b"from the first port"));
        hears(&b.rtp);
        // Another source from another port of the host, while the first goes on.
        let stranger = bind();
        stranger.send_to(&rtp(900, 9, b"noise"), a.to[0]).unwrap();
        a.says(&rtp(2, 1, b"second"));
        assert_eq!(hears(&b.rtp), rtp(2, 1, b"second"));
        // The same source, going on at another port.
        let moved = bind();
        moved.send_to(&rtp(3, 1, b"moved"), a.to[0]).unwrap();
        assert_eq!(hears(&b.rtp), rtp(3, 1, b"moved"));
        let to = world.told(|said| match said {
            Said::Event(told) => match told.event {
                Event::Moved { from: Some(_), to } => Some(to),
                _ => None,
            },
            _ => None,
        });
        assert_eq!(to, address(&moved));
        b.says(&rtp(1, 2, b"to the new port"));
        assert_eq!(hears(&moved), rtp(1, 2, b"to the new port"));
        hears_nothing(&a.rtp);
        hears_nothing(&stranger);
        // Signalling says where it is now.
        let elsewhere = bind();
        let open = OpenEnd { remote: Some(address(&elsewhere)), ..world.opened[0].clone() };
        world.relays.change(7, world.ends[0], open).unwrap();
        elsewhere.send_to(&rtp(4, 1, b"here"), a.to[0]).unwrap();
        assert_eq!(hears(&b.rtp), rtp(4, 1, b"here"));
        b.says(&rtp(2, 2, b"there"));
        assert_eq!(hears(&elsewhere), rtp(2, 2, b"there"));
    });
}

#[test]
fn checks_and_handshakes_are_told_and_answered_by_whoever_has_the_port_too() {
    each_way(|ways| {
        let world = World::new(ways, vec![clear(0), clear(1)], None);
        let hello = [22, 254, 253, 0, 0];
        let stranger = bind();
        stranger.send_to(&hello, world.phones[0].to[0]).unwrap();
        let (end, which, from, datagram) = world.told(|said| match said {
            Said::Knocked { end, which, from, datagram } => Some((end, which, from, datagram)),
            _ => None,
        });
        assert_eq!((end, which, from), (world.ends[0], Which::Rtp, address(&stranger)));
        assert_eq!(datagram, hello);
        hears_nothing(&world.phones[1].rtp);
    });
}

/// A recorder in the relay's own thread, as a segment receives.
struct Receiving {
    receiver: StreamReceiver,
    frames: Vec<Vec<u8>>,
    shared: Arc<Mutex<(Accounting, Vec<Vec<u8>>)>>,
}

impl Keep for Receiving {
    fn keep(&mut self, kept: &Kept, packet: &[u8]) {
        let frames = &mut self.frames;
        let mut sink = |frame: &media::Frame<'_>| frames.push(frame.packet.to_vec());
        match kept.which {
            Which::Rtp => self.receiver.packet(kept.at, kept.from, packet, &mut sink),
            Which::Rtcp => self.receiver.rtcp(kept.at, kept.from, packet),
        }
    }

    fn pass(&mut self, now: WallTime) {
        let frames = &mut self.frames;
        self.receiver.tick(now, &mut |frame: &media::Frame<'_>| frames.push(frame.packet.to_vec()));
        *self.shared.lock().unwrap() = (self.receiver.accounting(), self.frames.clone());
    }
}

#[test]
fn what_is_forwarded_is_kept_in_the_same_process_but_in_a_pause() {
    each_way(|ways| {
        let codecs = [(0, Codec::new("PCMU", 8_000, 1))];
        let stream = OpenStream::audio(1, Side::Agent, &codecs);
        let shared = Arc::default();
        let receiver = StreamReceiver::new(&stream, WallTime(0));
        let keep = Receiving { receiver, frames: Vec::new(), shared: Arc::clone(&shared) };
        let kept = OpenEnd { keeping: Keeping::Everything, ..clear(0) };
        let world = World::new(ways, vec![kept, clear(1)], Some(Box::new(keep)));
        let [a, b] = &world.phones[..] else { unreachable!() };
        let talk = |numbers: std::ops::Range<u16>| {
            for n in numbers {
                a.says(&rtp(n, 1, &[0x55; 160]));
                hears(&b.rtp);
            }
        };
        talk(0..100);
        world.relays.record(7, Recording::Pauses).unwrap();
        // An order is carried out before what comes after it: this one is there when the next is.
        world.relays.tee(7, world.ends[0], 5, None).unwrap();
        world.told(|said| matches!(said, Said::Refused { .. }).then_some(()));
        talk(100..150);
        world.relays.record(7, Recording::Goes).unwrap();
        world.relays.tee(7, world.ends[0], 5, None).unwrap();
        world.told(|said| matches!(said, Said::Refused { .. }).then_some(()));
        talk(150..200);
        let until = std::time::Instant::now() + support::PATIENCE;
        while shared.lock().unwrap().1.len() < 150 && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let (accounting, frames) = shared.lock().unwrap().clone();
        assert_eq!((accounting.received, frames.len()), (150, 150));
        let numbers: Vec<u16> = frames.iter().map(|f| support::sequence(f)).collect();
        assert_eq!(numbers, (0..100).chain(150..200).collect::<Vec<_>>());
        assert_eq!(world.relays.figures().kept(), 150);
    });
}
