//! Copies for two recorders, one of which is lost in mid-call: the one that takes over is replayed what came last, and no
//! packet is missing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::relay::{Beginning, OpenEnd, Recorder, Recording, Remembers};
use relay::Said;
use support::{World, address, bind, each_way, hears, hears_nothing, rtcp, rtp, sequence};

/// Hears copies until it is stopped or killed.
struct Hearing {
    to: Recorder,
    ends: Arc<AtomicBool>,
    heard: JoinHandle<Vec<Vec<u8>>>,
}

impl Hearing {
    fn start() -> Self {
        let (socket, ends) = (bind(), Arc::new(AtomicBool::new(false)));
        let to = Recorder { rtp: address(&socket), rtcp: None, keys: None, mark: None };
        let ending = Arc::clone(&ends);
        Self { to, ends, heard: std::thread::spawn(move || hear(&socket, &ending)) }
    }

    fn end(self) -> Vec<Vec<u8>> {
        self.ends.store(true, Ordering::Relaxed);
        self.heard.join().unwrap()
    }
}

fn hear(socket: &UdpSocket, ends: &AtomicBool) -> Vec<Vec<u8>> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 2_048]);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, _)) => heard.push(buffer[..length].to_vec()),
            Err(_) if ends.load(Ordering::Relaxed) => return heard,
            Err(_) => {}
        }
    }
}

/// A says numbers, some ms apart, and B hears each. When each was said.
fn talk(world: &World, numbers: std::ops::Range<u16>, apart: Duration) -> Vec<Instant> {
    let said = numbers.map(|n| {
        let (packet, now) = (rtp(n, 1, &[n.to_be_bytes()[1]; 160]), Instant::now());
        world.phones[0].says(&packet);
        assert_eq!(hears(&world.phones[1].rtp), packet);
        std::thread::sleep(apart);
        now
    });
    said.collect()
}

#[test]
fn one_of_two_is_lost_and_its_successor_has_all_that_it_had_not_written() {
    each_way(|ways| {
        let ends =
            [0, 1].map(|leg| OpenEnd { remembers: Remembers::TwoSeconds, ..OpenEnd::audio(leg, None) });
        let world = World::new(ways, ends.to_vec(), None);
        let end = world.ends[0];
        let (first, second) = (Hearing::start(), Hearing::start());
        for (place, recorder) in [&first, &second].into_iter().enumerate() {
            world.relays.tee(7, end, place, Some((recorder.to.clone(), Beginning::Now))).unwrap();
        }
        let apart = Duration::from_millis(5);
        let mut said = talk(&world, 0..150, apart);
        // The second hangs: it has heard all of that, and wrote some. It is missed after a while.
        let lost = second.end();
        assert_eq!(lost.len(), 150);
        said.extend(talk(&world, 150..200, apart));
        let third = Hearing::start();
        world.relays.tee(7, end, 1, Some((third.to.clone(), Beginning::Remembered))).unwrap();
        let replayed = world.told(|said| match said {
            Said::Replaying { replayed, .. } => Some(replayed),
            _ => None,
        });
        // What was said since then is remembered; what was said before it has written long ago.
        let now = Instant::now();
        let remembered = said.iter().position(|at| now - *at <= Duration::from_secs(2)).unwrap();
        talk(&world, 200..300, apart);
        let (of_first, of_third) = (first.end(), third.end());
        // One copy never noticed.
        assert_eq!(of_first.iter().map(|p| sequence(p)).collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
        // The other goes on without a hole, in order, each packet once.
        let numbers: Vec<u16> = of_third.iter().map(|p| sequence(p)).collect();
        let began = replayed.first.2;
        assert!(
            usize::from(began) <= remembered,
            "{remembered} was said two seconds before, {began} is replayed"
        );
        assert_eq!(numbers, (began..300).collect::<Vec<_>>());
        // What both have is the same, octet for octet.
        for packet in &of_third {
            assert_eq!(&of_first[usize::from(sequence(packet))], packet);
        }
        assert_eq!(world.relays.figures().unsent(), 0);
    });
}

/// The network to one of them may take nothing: it fills a buffer that is not the others'.
#[test]
fn recorders_on_other_hosts_are_sent_to_by_sockets_of_their_own() {
    each_way(|ways| {
        let world = World::new(ways, [0, 1].map(|leg| OpenEnd::audio(leg, None)).to_vec(), None);
        let hosts = ["127.0.0.1:0", "127.0.0.2:0"].map(|host| UdpSocket::bind(host).unwrap());
        for (place, socket) in hosts.iter().enumerate() {
            socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
            for end in &world.ends {
                let to = Recorder { rtp: address(socket), rtcp: None, keys: None, mark: None };
                world.relays.tee(7, *end, place, Some((to, Beginning::Now))).unwrap();
            }
        }
        let mut from = [vec![], vec![]];
        for n in 0..20 {
            for (phone, other, ssrc) in [(0, 1, 1), (1, 0, 2)] {
                let packet = rtp(n, ssrc, &[7; 160]);
                world.phones[phone].says(&packet);
                assert_eq!(hears(&world.phones[other].rtp), packet);
                for (socket, from) in hosts.iter().zip(&mut from) {
                    let mut buffer = [0; 2_048];
                    let (length, sender) = socket.recv_from(&mut buffer).unwrap();
                    assert_eq!(buffer[..length], packet);
                    from.push(sender.port());
                }
            }
        }
        assert!(from.iter().all(|ports| ports.iter().all(|port| *port == ports[0])), "{from:?}");
        assert_ne!(from[0][0], from[1][0]);
    });
}

/// A recorder has a port for each stream, by which its reports find the sender; nobody else can report by it.
#[test]
fn what_a_recorder_reports_reaches_the_peer_whose_copies_it_gets() {
    each_way(|ways| {
        let world = World::new(ways, [0, 1].map(|leg| OpenEnd::audio(leg, None)).to_vec(), None);
        let recorders = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        for (end, socket) in world.ends.iter().zip(&recorders) {
            socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
            let to = address(socket);
            let to = Recorder { rtp: to, rtcp: Some(to), keys: None, mark: None };
            world.relays.tee(7, *end, 0, Some((to, Beginning::Now))).unwrap();
        }
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (n, recorder) in recorders.iter().enumerate() {
            world.phones[n].says(&rtp(1, 5, &[7; 160]));
            let mut buffer = [0; 2_048];
            let (_, relay) = recorder.recv_from(&mut buffer).unwrap();
            stranger.send_to(&rtcp(66), relay).unwrap();
            recorder.send_to(b"no report", relay).unwrap();
            let report = rtcp(u32::try_from(n).unwrap());
            recorder.send_to(&report, relay).unwrap();
            assert_eq!(hears(&world.phones[n].rtcp), report);
        }
        world.phones.iter().for_each(|phone| hears_nothing(&phone.rtcp));
    });
}

/// What is replayed says how long ago it came, and nothing that came since an order to forget is replayed.
#[test]
fn copies_say_how_long_ago_they_came_and_what_is_not_to_be_kept_is_not_replayed() {
    each_way(|ways| {
        let ends =
            [0, 1].map(|leg| OpenEnd { remembers: Remembers::TwoSeconds, ..OpenEnd::audio(leg, None) });
        let world = World::new(ways, ends.to_vec(), None);
        let mark = model::Mark::new([9; 8]);
        let say = |n| {
            world.phones[0].says(&rtp(n, 5, &[7; 160]));
            assert_eq!(sequence(&hears(&world.phones[1].rtp)), n);
        };
        (0..10).for_each(say);
        let paused = Instant::now();
        world.relays.record(7, Recording::Passes).unwrap();
        (10..20).for_each(say);
        world.relays.record(7, Recording::Goes).unwrap();
        (20..30).for_each(say);
        let recorder = Hearing::start();
        let to = Recorder { mark: Some(mark), ..recorder.to.clone() };
        let waited = paused.elapsed();
        world.relays.tee(7, world.ends[0], 0, Some((to, Beginning::Remembered))).unwrap();
        let until = Instant::now() + support::PATIENCE;
        while world.relays.figures().teed() < 20 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        (30..32).for_each(say);
        while world.relays.figures().teed() < 22 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let heard = recorder.end();
        let came: Vec<_> = heard.iter().map(|datagram| mark.take_off(datagram).expect("a mark")).collect();
        let numbers: Vec<u16> = came.iter().map(|(packet, _)| sequence(packet)).collect();
        assert_eq!(numbers, (0..10).chain(20..32).collect::<Vec<_>>());
        assert!(came[..10].iter().all(|(_, age)| *age >= waited), "{waited:?}: {came:?}");
        assert!(came[20..].iter().all(|(_, age)| age.is_zero()), "{came:?}");
    });
}

/// Many at once: pieces of one size go to the kernel together.
#[test]
fn a_replay_takes_few_system_calls() {
    each_way(|ways| {
        let ends =
            [0, 1].map(|leg| OpenEnd { remembers: Remembers::TwoSeconds, ..OpenEnd::audio(leg, None) });
        let world = World::new(ways, ends.to_vec(), None);
        talk(&world, 0..200, Duration::ZERO);
        let before = world.relays.figures().system_calls();
        let recorder = Hearing::start();
        world.relays.tee(7, world.ends[0], 0, Some((recorder.to.clone(), Beginning::Remembered))).unwrap();
        let replayed = world.told(|said| match said {
            Said::Replaying { replayed, .. } => Some(replayed),
            _ => None,
        });
        let until = Instant::now() + support::PATIENCE;
        while world.relays.figures().teed() < replayed.packets && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let heard = recorder.end();
        let calls = world.relays.figures().system_calls() - before;
        assert_eq!(
            heard.iter().map(|p| sequence(p)).collect::<Vec<_>>(),
            (replayed.first.2..200).collect::<Vec<_>>()
        );
        // By eights; and what was not counted yet of the last packet that was forwarded.
        assert!(calls <= replayed.packets.div_ceil(8) + 4, "{calls} calls for {}", replayed.packets);
    });
}
