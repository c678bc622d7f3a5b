//! A recorder that takes over is sent what came last, and nothing is lost.

use media::StreamReceiver;
use media::relay::{Beginning, Event, OpenEnd, Recorder, Remembers, Sends, Which};
use media::srtp::Srtp;
use model::{Codec, Keys, OpenStream, Side, Suite};

use crate::world::{START, World, at, end, peer, rtcp, rtp};

fn remembering() -> World {
    let remembers = Remembers::TwoSeconds;
    World::new(&[OpenEnd { remembers, ..end(0, "A") }, OpenEnd { remembers, ..end(1, "B") }])
}

fn recorder(name: &str) -> Recorder {
    Recorder { rtp: peer(name), rtcp: None, keys: None }
}

/// Numbers that a recorder was sent, in order.
fn numbers(sends: &Sends, to: &str) -> Vec<u16> {
    let to = sends.tees().iter().filter(|s| s.to == peer(to));
    to.map(|s| sends.octets(s)).map(|o| u16::from_be_bytes([o[2], o[3]])).collect()
}

/// Packets of A come each 20 ms; `each` sees what is sent with each of them, replays between.
fn talk(world: &mut World, numbers: std::ops::Range<u16>, mut each: impl FnMut(&Sends)) {
    for n in numbers {
        world.ms = i64::from(n) * 20;
        let (now, packet) = (at(world.ms), rtp(0, n, 1, &[n.to_be_bytes()[1]; 160]));
        world.relay.receive(now, (world.ends[0], Which::Rtp), peer("A"), &packet, &mut world.sends).unwrap();
        assert_eq!(world.sends.forwards().len(), 1);
        for ms in [0, 5, 10, 15] {
            world.relay.replay(at(world.ms + ms), &mut world.sends);
        }
        each(&world.sends);
        world.sends.clear();
    }
}

#[test]
fn what_one_recorder_lost_another_has() {
    let mut world = remembering();
    let end = world.ends[0];
    let (mut first, mut second) = (Vec::new(), Vec::new());
    world.relay.tee(at(0), end, 0, Some((&recorder("R1"), Beginning::Now))).unwrap();
    talk(&mut world, 0..500, |s| first.extend(numbers(s, "R1")));
    assert_eq!(first, (0..500).collect::<Vec<_>>());
    // It died half a second ago; what it had of the last 200 ms is not on its disk.
    first.retain(|n| *n < 500 - 25 - 10);
    let replayed =
        world.relay.tee(at(10_000), end, 0, Some((&recorder("R2"), Beginning::Remembered))).unwrap();
    let replayed = replayed.unwrap();
    assert_eq!((replayed.packets, replayed.first), (100, (at(8_000), 1, 400)));
    let mut most = 0;
    talk(&mut world, 500..700, |s| {
        most = most.max(s.tees().len());
        second.extend(numbers(s, "R2"));
    });
    assert_eq!(second, (400..700).collect::<Vec<_>>(), "in order, each once");
    assert!(most <= 16, "{most} packets at once would flood a socket");
    assert_eq!(world.relay.next_timeout(), None);
    assert_eq!(world.relay.missed(end, 0), 0);
    let missing = (0..700).filter(|n| !first.contains(n) && !second.contains(n)).count();
    assert_eq!(missing, 0);
}

#[test]
fn a_receiver_counts_a_replay_after_the_same_once() {
    let codecs = [(0, Codec::new("PCMU", 8_000, 1))];
    let stream = OpenStream { remote: Some(peer("X")), ..OpenStream::audio(1, Side::Agent, &codecs) };
    let mut receiver = StreamReceiver::new(&stream, START);
    let mut frames = Vec::new();
    let mut world = remembering();
    let end = world.ends[0];
    world.relay.tee(at(0), end, 0, Some((&recorder("R1"), Beginning::Now))).unwrap();
    let mut now = 0;
    let mut hear = |sends: &Sends| {
        now += 20;
        for sent in sends.tees() {
            let mut sink = |f: &media::Frame<'_>| frames.push(f.packet.to_vec());
            receiver.packet(at(now), peer("X"), sends.octets(sent), &mut sink);
        }
    };
    talk(&mut world, 0..200, &mut hear);
    // The way to it was lost for a moment, and it is still there.
    talk(&mut world, 200..250, |_| {});
    world.relay.tee(at(5_000), end, 0, Some((&recorder("R1"), Beginning::Remembered))).unwrap();
    talk(&mut world, 250..400, &mut hear);
    receiver.finish(at(10_000), &mut |_: &media::Frame<'_>| {});
    let counts = receiver.accounting();
    assert_eq!((counts.received, counts.duplicate, counts.lost), (400, 50, 0), "{counts:?}");
    assert_eq!(frames.len(), 400);
}

#[test]
fn two_recorders_have_the_same_each_by_its_key() {
    let mut world = remembering();
    let keys = Keys::single(Suite::AeadAes256Gcm, vec![5; 44]).unwrap();
    let mut opens = Srtp::new(&keys, &keys).unwrap();
    let second = Recorder { rtcp: Some(peer("R2")), keys: Some(keys), ..recorder("R2") };
    world.relay.tee(at(0), world.ends[0], 0, Some((&recorder("R1"), Beginning::Now))).unwrap();
    world.relay.tee(at(0), world.ends[0], 1, Some((&second, Beginning::Now))).unwrap();
    let mut count = 0;
    talk(&mut world, 0..300, |sends| {
        let [one, two] = sends.tees() else { panic!("{:?}", sends.tees()) };
        assert_eq!(opens.open_rtp(START, sends.octets(two)), Ok(sends.octets(one)));
        count += 1;
    });
    assert_eq!(count, 300);
    // Who takes over from the second is sent what is remembered by the same key, which protects nothing twice.
    let replayed =
        world.relay.tee(at(6_000), world.ends[0], 1, Some((&second, Beginning::Remembered))).unwrap();
    assert_eq!(replayed.unwrap().packets, 100);
    let report = rtcp(1, false);
    world
        .relay
        .receive(at(6_000), (world.ends[0], Which::Rtcp), peer("A+1"), &report, &mut world.sends)
        .unwrap();
    let [sealed] = world.sends.tees() else { panic!("one of them wants no reports") };
    assert_eq!(opens.open_rtcp(START, world.sends.octets(sealed)), Ok(&report[..]));
    assert_ne!(world.relay.poll_event().map(|t| t.event), Some(Event::Goodbye { ssrc: 1 }));
}

#[test]
fn who_takes_over_from_nobody_and_who_remembers_nothing_begin_now() {
    let mut world = World::new(&[end(0, "A"), end(1, "B")]);
    let replayed = world.relay.tee(at(0), world.ends[0], 0, Some((&recorder("R1"), Beginning::Remembered)));
    assert_eq!(replayed, Ok(None));
    let mut sent = Vec::new();
    talk(&mut world, 0..3, |s| sent.extend(numbers(s, "R1")));
    assert_eq!(sent, [0, 1, 2]);
    // It is to remember nothing any more in the middle of a replay: what comes goes on.
    let mut world = remembering();
    talk(&mut world, 0..50, |_| {});
    world.relay.tee(at(1_000), world.ends[0], 0, Some((&recorder("R1"), Beginning::Remembered))).unwrap();
    world.relay.change(world.ends[0], &end(0, "A")).unwrap();
    let mut sent = Vec::new();
    talk(&mut world, 50..60, |s| sent.extend(numbers(s, "R1")));
    assert_eq!(sent, (50..60).collect::<Vec<_>>());
}
