//! A recorder that takes over is sent what came last, and nothing is lost.

use media::StreamReceiver;
use media::relay::{Beginning, Event, OpenEnd, Recorder, Remembers, Sends, Which};
use model::{Codec, Keys, OpenStream, Side, Suite};

use crate::world::{Phone, START, World, at, end, peer, rtcp, rtp};

fn remembering() -> World {
    let remembers = Remembers::TwoSeconds;
    World::new(&[OpenEnd { remembers, ..end(0, "A") }, OpenEnd { remembers, ..end(1, "B") }])
}

fn recorder(name: &str) -> Recorder {
    Recorder { rtp: peer(name), rtcp: None, keys: None, mark: None }
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
    assert!(most <= 32, "{most} packets at once would flood a socket");
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
    let mut opens = Phone::new(&keys, &keys).unwrap();
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
    // The second has moved, with the same key: its indices go on, so what it was sent already it is not sent again.
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

/// However fast the stream and however slow the rounds, a replay ends, and nothing of it is missed.
#[test]
fn a_replay_ends_however_fast_its_stream_is() {
    for (per_second, round) in [(50, 5), (50, 100), (400, 1), (400, 50)] {
        let mut world = remembering();
        let end = world.ends[0];
        let (mut n, mut ms, mut sent) = (0_u32, 0, Vec::new());
        let mut say = |world: &mut World, ms: i64| {
            while i64::from(n) * 1_000 < ms * per_second {
                let packet = rtp(0, u16::try_from(n).unwrap(), 1, &[0; 40]);
                let _ = world.relay.receive(at(ms), (end, Which::Rtp), peer("A"), &packet, &mut world.sends);
                n += 1;
            }
        };
        while ms < 3_000 {
            ms += round;
            say(&mut world, ms);
            world.sends.clear();
        }
        world.relay.tee(at(ms), end, 0, Some((&recorder("R1"), Beginning::Remembered))).unwrap();
        let began = ms;
        while world.relay.next_timeout().is_some() {
            ms += round;
            assert!(ms < began + 5_000, "{per_second} packets a second, looked at each {round} ms");
            say(&mut world, ms);
            world.relay.replay(at(ms), &mut world.sends);
            sent.extend(numbers(&world.sends, "R1"));
            world.sends.clear();
        }
        assert_eq!(world.relay.missed(end, 0), 0);
        let first = sent[0];
        assert_eq!(sent, (first..u16::try_from(n).unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn held_it_is_remembered_until_another_is_found_and_the_senders_clock_with_it() {
    let mut world = remembering();
    let (end, mut report) = (world.ends[0], vec![0x80, 200, 0, 6]);
    report.extend([0, 0, 0, 1]);
    report.extend([9; 20]);
    world.relay.receive(at(0), (end, Which::Rtcp), peer("A+1"), &report, &mut world.sends).unwrap();
    world.sends.clear();
    talk(&mut world, 0..500, |_| {});
    world.relay.hold(at(10_000));
    talk(&mut world, 500..800, |_| {});
    let wants = Recorder { rtcp: Some(peer("R2")), ..recorder("R1") };
    let told = world.relay.tee(at(16_000), end, 0, Some((&wants, Beginning::Remembered))).unwrap().unwrap();
    assert_eq!((told.packets, told.first), (400, (at(8_000), 1, 400)));
    world.relay.release();
    world.relay.replay(at(16_000), &mut world.sends);
    let first = &world.sends.tees()[0];
    assert_eq!((first.to, world.sends.octets(first)), (peer("R2"), &report[..]));
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
