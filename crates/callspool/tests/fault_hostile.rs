//! A minute of hostility while calls run: tortured and mutated SIP over UDP and TCP, strangers' RTP and RTCP to the
//! ports in use. The calls lose nothing, memory stays flat, nothing panics, and an ordinary call works afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fault_support::caller::{Caller, place};
use fault_support::listing::{Segment, directories, segments};
use fault_support::{Random, noise, process, sip};
use support::ports::Ports;
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, wait_until};

/// How long it lasts.
const LENGTH: Duration = Duration::from_secs(60);
/// From then on memory is measured: transactions and refused connections live for 32 s (64*T1, RFC 3261), so by
/// then as many end as begin.
const WARM_UP: Duration = Duration::from_secs(36);
/// What resident memory may grow by after that. Some 10 MB of SIP and media come in in this time, so that a leak of
/// a fifth of it is seen; what is less is the allocator's, and the calls' own gaps and anchors.
const GROWTH_MAX_KIB: u64 = 2 << 10;
const CALLS: usize = 10;
/// Datagrams per second, over all sockets of a kind.
const SIP_PER_SECOND: u32 = 400;
const MEDIA_PER_SECOND: u32 = 600;
const SEED: u64 = 0xbad_5eed;

#[test]
fn a_minute_of_hostility_costs_the_calls_nothing() {
    // INVITEs among the noise take ports too, until they time out for want of an ACK.
    let media = Ports::claim();
    let (first, last) = (media.sip().to_string(), (media.sip() + 239).to_string());
    let settings = [("MEDIA__PORT_MIN", first.as_str()), ("MEDIA__PORT_MAX", last.as_str())];
    let mut server = Server::prepare(&[&settings[..], &[("LOG__LEVEL", "info,sqlx=warn")]].concat());
    server.restart();
    let before = place(&server, "before", &["--calls", "2", "--duration", "500ms"]);
    before.calls.iter().for_each(|call| drop(sealed(&server, &call.sip_call_id)));
    let id = process::id_of(&server);
    let duration = format!("{}s", LENGTH.as_secs() + 15);
    let calls = CALLS.to_string();
    let caller = Caller::start(
        &server,
        "calls",
        &["--siprec", "--calls", &calls, "--rate", "50/s", "--duration", &duration],
    );
    let ports = ports_in_use(&server);

    let attack =
        Attack { server: server.sip_address(), until: Instant::now() + LENGTH, counts: Counts::default() };
    let strays: Vec<AtomicU64> = ports.iter().map(|_| AtomicU64::new(0)).collect();
    let (mut warm, mut end) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| attack.sip_over_udp());
        scope.spawn(|| attack.sip_over_tcp());
        scope.spawn(|| attack.slow_and_half());
        scope.spawn(|| attack.media(&ports, &strays));
        let begun = Instant::now();
        while begun.elapsed() < LENGTH {
            std::thread::sleep(Duration::from_secs(5).min(LENGTH.saturating_sub(begun.elapsed())));
            let resident = process::resident_kib(id);
            eprintln!(
                "{:>3.0} s: {} SIP datagrams, {} connections, {} datagrams to media ports, {resident} KiB resident, {} descriptors",
                begun.elapsed().as_secs_f64(),
                attack.counts.udp.load(Ordering::Relaxed),
                attack.counts.tcp.load(Ordering::Relaxed),
                attack.counts.media.load(Ordering::Relaxed),
                process::descriptors(id)
            );
            if begun.elapsed() >= WARM_UP && warm == 0 {
                warm = resident;
            }
            end = resident;
        }
    });
    assert!(server.is_running(), "it died");
    assert!(warm > 0 && end <= warm + GROWTH_MAX_KIB, "{warm} KiB when warm, {end} KiB at the end");

    let report = caller.finish();
    report.expect_all_ok("calls under attack");
    let mut counted = BTreeMap::new();
    for call in &report.calls {
        let segment = sealed(&server, &call.sip_call_id);
        for (stream, sent) in segment.record.streams.iter().zip(&call.streams) {
            let a = stream.accounting;
            assert_eq!(
                (
                    a.received,
                    a.payload_bytes,
                    a.lost,
                    a.duplicate,
                    a.late,
                    a.dropped,
                    a.ssrc_changes,
                    a.source_changes
                ),
                (sent.packets, sent.octets, 0, 0, 0, 0, 0, 0),
                "{stream:?}"
            );
            counted.insert(stream.port, a.other_source + a.invalid);
        }
    }
    eprintln!("strangers' datagrams counted per port: {counted:?}");
    for (port, strays) in ports.iter().zip(&strays) {
        let counted = counted.get(port).unwrap_or_else(|| panic!("port {port} is in none of {counted:?}"));
        assert_eq!(*counted, strays.load(Ordering::Relaxed), "strangers' datagrams to port {port}");
    }
    sip::expect_options(&server, "after the attack");
    place(&server, "afterwards", &["--calls", "2", "--duration", "500ms", "--siprec"]);
    place(&server, "afterwards-tcp", &["--calls", "2", "--duration", "500ms", "--transport", "tcp"]);
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("RUST_BACKTRACE"), "{log}");
    assert!(server.is_running());
}

/// Neither a packet that did not fit, of which a part arrived, nor an empty datagram is media; both are counted.
#[test]
fn datagrams_that_are_cut_or_empty_are_counted_and_not_recorded() {
    let server = Server::start();
    let mouth = Mouth::open();
    let scenario = Scenario::new("call");
    let waits = scenario.waits();
    let mut sipp = scenario.key("audio", mouth.port()).start(&server);
    let to = sipp.answer("1 INVITE").media()[0].rtp();
    let packets = Talk::new(700.0, Duration::from_millis(500)).packets();
    mouth.say(to, &packets);
    let last = packets.last().unwrap();
    let mut long = vec![0x80, 0];
    long.extend_from_slice(&(last.sequence + 1).to_be_bytes());
    long.extend_from_slice(&(last.timestamp + 160).to_be_bytes());
    long.extend_from_slice(&last.ssrc.to_be_bytes());
    long.resize(4_000, 0x55);
    mouth.send(to, &long);
    mouth.send(to, &[]);
    if waits {
        sipp.go_on();
    }
    let call_id = sipp.call_id().to_owned();
    sipp.finish();
    let counts = server.wait_for_state(&call_id, "complete").stream().accounting;
    assert_eq!((counts.received, counts.invalid, counts.lost), (25, 2, 0), "{counts:?}");
}

/// The RTP ports of the running calls. Manifests name them with the first counts, after some seconds; by then each
/// stream has latched to its sender.
fn ports_in_use(server: &Server) -> Vec<u16> {
    wait_until("ports in the manifests", PATIENCE, || {
        let all: Vec<Segment> = found(server).into_iter().filter(|s| s.record.is_live()).collect();
        let ports: Vec<u16> = all.iter().flat_map(|s| &s.record.streams).map(|s| s.port).collect();
        if ports.len() == CALLS * 2 && !ports.contains(&0) { Ok(ports) } else { Err(format!("{ports:?}")) }
    })
}

fn found(server: &Server) -> Vec<Segment> {
    directories(&server.state().join("repository")).iter().flat_map(|d| segments(d)).collect()
}

fn sealed(server: &Server, sip_call_id: &str) -> Segment {
    wait_until("its sealed manifest", PATIENCE, || {
        let mut of_call: Vec<_> = found(server).into_iter().filter(|s| s.is_of(sip_call_id)).collect();
        match (of_call.len(), of_call.pop()) {
            (1, Some(segment)) if segment.sealed => Ok(segment),
            (n, last) => Err(format!("{n} segments, {last:?}")),
        }
    })
}

#[derive(Default)]
struct Counts {
    udp: AtomicU64,
    tcp: AtomicU64,
    media: AtomicU64,
}

struct Attack {
    server: String,
    until: Instant,
    counts: Counts,
}

impl Attack {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// From eight addresses, each now and then from another port.
    fn sip_over_udp(&self) {
        let mut random = Random(SEED);
        let mut sockets: Vec<UdpSocket> = (2..10).map(stranger).collect();
        let mut pace = Pace::new(SIP_PER_SECOND);
        while self.goes_on() {
            let which = random.below(sockets.len());
            if random.below(500) == 0 {
                sockets[which] = stranger(u8::try_from(which).unwrap() + 2);
            }
            let socket = &sockets[which];
            let here = socket.local_addr().unwrap().to_string();
            let bytes = match random.below(10) {
                0 => noise::garbage(&mut random),
                _ => noise::message(&mut random, &here, &self.server),
            };
            let sent = socket.send_to(&bytes, &self.server);
            self.counts.udp.fetch_add(u64::from(sent.is_ok()), Ordering::Relaxed);
            pace.wait();
        }
    }

    /// Connections with some messages each, whole or spoiled, closed in the middle of things.
    fn sip_over_tcp(&self) {
        let mut random = Random(SEED + 1);
        while self.goes_on() {
            let Some(mut stream) = self.connect() else { continue };
            let here = stream.local_addr().unwrap().to_string();
            for _ in 0..random.below(8) {
                let mut bytes = match random.below(6) {
                    0 => noise::garbage(&mut random),
                    _ => noise::message(&mut random, &here, &self.server),
                };
                if random.below(4) == 0 {
                    bytes.truncate(random.below(bytes.len().max(1)));
                }
                for piece in bytes.chunks(1 + random.below(700)) {
                    if stream.write_all(piece).is_err() {
                        break;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Forty connections on which an octet comes now and then, of a message that never ends.
    fn slow_and_half(&self) {
        let mut random = Random(SEED + 2);
        let mut open: Vec<(TcpStream, Vec<u8>, usize)> = Vec::new();
        while self.goes_on() {
            if open.len() < 40
                && let Some(stream) = self.connect()
            {
                let here = stream.local_addr().unwrap().to_string();
                let bytes = noise::message(&mut random, &here, &self.server);
                open.push((stream, bytes, 0));
            }
            open.retain_mut(|(stream, bytes, at)| {
                let octet = bytes.get(*at).copied().unwrap_or(b'x');
                *at += 1;
                stream.write_all(&[octet]).is_ok()
            });
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// To the ports of the calls, RTP and RTCP; `strays` counts what the RTP ports get.
    fn media(&self, ports: &[u16], strays: &[AtomicU64]) {
        let mut random = Random(SEED + 3);
        let sockets: Vec<UdpSocket> = (2..6).map(stranger).collect();
        let mut pace = Pace::new(MEDIA_PER_SECOND);
        while self.goes_on() {
            let which = random.below(ports.len());
            let (bytes, port) = match random.below(4) {
                0 => (noise::rtcp(&mut random), ports[which] + 1),
                _ => (noise::rtp(&mut random), ports[which]),
            };
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            let sent = random.one_of(&sockets).send_to(&bytes, to).is_ok();
            self.counts.media.fetch_add(u64::from(sent), Ordering::Relaxed);
            if port == ports[which] {
                strays[which].fetch_add(u64::from(sent), Ordering::Relaxed);
            }
            pace.wait();
        }
    }

    fn connect(&self) -> Option<TcpStream> {
        let address = self.server.parse().unwrap();
        let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
            std::thread::sleep(Duration::from_millis(100));
            return None;
        };
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        self.counts.tcp.fetch_add(1, Ordering::Relaxed);
        Some(stream)
    }
}

/// A socket of another host: Linux takes all of 127.0.0.0/8 as this machine.
fn stranger(host: u8) -> UdpSocket {
    UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 0, host), 0)).expect("a socket on 127.0.0.x")
}

/// So many per second.
struct Pace {
    each: Duration,
    next: Instant,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        Self { each: Duration::from_secs(1) / per_second, next: Instant::now() }
    }

    fn wait(&mut self) {
        self.next += self.each;
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        // What was missed is made up for in small bursts: sockets of calls must not overflow by it.
        let earliest = Instant::now().checked_sub(self.each * 10).unwrap_or_else(Instant::now);
        self.next = self.next.max(earliest);
    }
}
