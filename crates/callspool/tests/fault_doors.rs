//! Every door that there is (SIP over TCP, TLS, WebSocket and both, and the page), held open by clients that dribble,
//! stop in the middle or never read, and pelted with what is no protocol at all: whoever behaves is served meanwhile,
//! calls are complete to the last packet, memory stays what it was, and each descriptor comes back by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fault_support::Random;
use fault_support::caller::{Caller, Report, place};
use fault_support::process::{descriptors, id_of, resident_kib};
use fault_support::sip;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::authority::Authority;
use support::secured::Secured;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

/// What buffers of connections, allocators and the calls themselves may come to.
const GROWN_KIB_MAX: u64 = 64 << 10;
/// Clients of each kind; all of them together stay below the limit of connections from one address.
const OF_EACH: usize = 12;
/// Longer than the longest patience that callspool has with such a client, which is 60 s for one that never reads.
const GIVEN_UP: Duration = Duration::from_secs(90);

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// How somebody connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Tcp,
    Tls,
    Ws,
    Wss,
    Page,
}

const DOORS: [Door; 5] = [Door::Tcp, Door::Tls, Door::Ws, Door::Wss, Door::Page];

/// A client's end.
trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

struct House {
    secured: Secured,
    trust: Arc<ClientConfig>,
    token: String,
}

impl House {
    fn open() -> Self {
        // Whoever behaves comes from the same address as those who do not, and is to be served.
        let secured = Secured::start(&[("SIP__MAX_REQUESTS_PER_SOURCE", "0")]);
        let trust = Arc::new(trust(&secured.authority));
        let token = std::fs::read_to_string(secured.server.state().join("token")).unwrap().trim().to_owned();
        Self { secured, trust, token }
    }

    fn server(&self) -> &Server {
        &self.secured.server
    }

    fn address(&self, door: Door) -> String {
        match door {
            Door::Tcp => self.server().sip_address(),
            Door::Tls => format!("127.0.0.1:{}", self.secured.tls),
            Door::Ws => format!("127.0.0.1:{}", self.secured.ws),
            Door::Wss => format!("127.0.0.1:{}", self.secured.wss),
            Door::Page => self.server().http_address(),
        }
    }

    fn plain(&self, door: Door) -> TcpStream {
        let stream = TcpStream::connect(self.address(door)).expect("a connection");
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    /// Behind the handshake of TLS.
    fn tls(&self, door: Door) -> Tls {
        let name = ServerName::try_from("recorder.example").unwrap();
        let client = ClientConnection::new(Arc::clone(&self.trust), name).unwrap();
        let mut stream = StreamOwned::new(client, self.plain(door));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        stream
    }

    /// Behind whatever comes before messages.
    fn within(&self, door: Door) -> Box<dyn Line> {
        match door {
            Door::Tcp | Door::Page => Box::new(self.plain(door)),
            Door::Tls => Box::new(self.tls(door)),
            Door::Ws => Box::new(self.upgraded(self.plain(door))),
            Door::Wss => Box::new(self.upgraded(self.tls(door))),
        }
    }

    fn upgraded<S: Read + Write>(&self, mut stream: S) -> S {
        stream.write_all(UPGRADE).unwrap();
        let mut answer = Vec::new();
        let mut octet = [0];
        while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|n| n == 1) {
            answer.push(octet[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stream
    }

    /// A request to the page, as far as `body`.
    fn request(&self, line: &str, more: &str) -> Vec<u8> {
        let (address, token) = (self.address(Door::Page), &self.token);
        format!("{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
            .into_bytes()
    }

    fn calls(&self, seconds: &str) -> Caller {
        let arguments = ["--calls", "4", "--rate", "20/s", "--siprec", "--duration", seconds];
        Caller::start(self.server(), "beside", &arguments)
    }

    /// Whoever behaves is served through each door.
    fn expect_served(&self, when: &str) {
        sip::expect_options(self.server(), when);
        let page = http::get(&self.address(Door::Page), "/healthz", &[]).unwrap();
        assert_eq!(page.status, 200, "{when}: {}", page.text());
        for (transport, door) in
            [("tcp", Door::Tcp), ("tls", Door::Tls), ("ws", Door::Ws), ("wss", Door::Wss)]
        {
            let to = format!("sip:rec@{}", self.address(door));
            let (ca, encrypted) = (self.secured.authority.file(), matches!(door, Door::Tls | Door::Wss));
            let trust = ["--ca", ca.to_str().unwrap()];
            let arguments =
                ["call", "--to", &to, "--transport", transport, "--duration", "300ms", "--timeout", "10s"];
            let arguments = [&arguments[..], if encrypted { &trust } else { &[] }].concat();
            let done = self.server().callspool(&arguments);
            assert_eq!(done.code, Some(0), "{when}, {transport}: {}{}", done.text(), done.err);
        }
    }

    fn expect_complete(&self, report: &Report) {
        report.expect_all_ok("beside");
        for call in &report.calls {
            let recorded = self.server().wait_for_state(&call.sip_call_id, "complete");
            for (stream, sent) in recorded.segment().streams.iter().zip(&call.streams) {
                assert_eq!(stream.accounting.received, sent.packets, "{call:?}");
            }
        }
    }

    fn process(&self) -> u32 {
        id_of(self.server())
    }
}

/// An upgrade as a browser asks for it.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: recorder.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

const MESSAGE: &[u8] =
    b"OPTIONS sip:rec@here SIP/2.0\r\nVia: SIP/2.0/TCP here;branch=z9hG4bK1\r\nContent-Length: 99\r\n\r\nv=0";

fn trust(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

/// The first message of a handshake, which is a record of some hundred octets.
fn client_hello(trust: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("recorder.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(trust), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// The header of a WebSocket frame that a client sends (RFC 6455 section 5.2): text, masked by zeros.
fn frame(length: u64, last: bool) -> Vec<u8> {
    let mut frame = vec![if last { 0x81 } else { 0x01 }, 0x80 | 127];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame
}

/// Clients that say something an octet at a time, and what is left of it.
struct Dribbling {
    lines: Vec<Box<dyn Line>>,
    text: Vec<u8>,
}

impl Dribbling {
    fn new(line: impl Fn() -> Box<dyn Line>, text: &[u8]) -> Self {
        Self { lines: (0..OF_EACH).map(|_| line()).collect(), text: text.to_vec() }
    }

    fn step(&mut self, n: usize) {
        let octet = self.text.get(n).copied();
        for line in self.lines.iter_mut().filter(|_| octet.is_some()) {
            // Whoever is given up already is no matter.
            let _ = line.write(&octet.map_or([0], |o| [o]));
            let _ = line.flush();
        }
    }
}

#[test]
fn clients_that_dribble_at_any_door_hold_up_nobody_and_are_given_up() {
    let house = House::open();
    house.expect_served("at the beginning");
    let (before, memory) = (descriptors(house.process()), resident_kib(house.process()));
    let house = &house;
    let behind = |door| move || house.within(door);
    let plain = |door| move || -> Box<dyn Line> { Box::new(house.plain(door)) };
    let body = house.request(
        "POST /api/v1/calls/06jv3kq4g2n00/pause",
        "Content-Type: application/json\r\nContent-Length: 99\r\n",
    );
    let mut kinds = vec![
        // Before any handshake is done: nothing at all, and an octet at a time.
        Dribbling::new(plain(Door::Tls), b""),
        Dribbling::new(plain(Door::Tls), &client_hello(&house.trust)),
        Dribbling::new(plain(Door::Wss), b"\x16"),
        Dribbling::new(plain(Door::Ws), UPGRADE),
        Dribbling::new(|| Box::new(house.tls(Door::Wss)), UPGRADE),
        // After it: nothing, a message an octet at a time, and a frame whose end never comes.
        Dribbling::new(behind(Door::Tls), b""),
        Dribbling::new(behind(Door::Tcp), MESSAGE),
        Dribbling::new(behind(Door::Tls), MESSAGE),
        Dribbling::new(behind(Door::Ws), &[frame(500, true), MESSAGE.to_vec()].concat()),
        Dribbling::new(behind(Door::Wss), &[frame(500, false), MESSAGE.to_vec()].concat()),
        // The page: a head an octet at a time, and a body that was promised.
        Dribbling::new(behind(Door::Page), &house.request("GET /api/v1/calls", "X: y\r\n")),
        Dribbling::new(behind(Door::Page), &body),
    ];
    for line in &mut kinds.last_mut().unwrap().lines {
        line.write_all(&body).unwrap();
    }
    let beside = house.calls("6s");
    for n in 0..150 {
        kinds.iter_mut().for_each(|kind| kind.step(n));
        if n == 75 {
            house.expect_served("while clients dribble");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    house.expect_complete(&beside.finish());
    assert!(resident_kib(house.process()) < memory + GROWN_KIB_MAX);
    // Nobody hangs up but callspool.
    wait_until("all of them to be given up", GIVEN_UP, || match descriptors(house.process()) {
        n if n <= before + 8 => Ok(()),
        n => Err(format!("{n} descriptors, {before} before")),
    });
    house.expect_served("at the end");
    drop(kinds);
}

#[test]
fn clients_that_never_read_hold_up_nobody() {
    let house = House::open();
    let recorded = place(house.server(), "listened", &["--siprec", "--duration", "4s"]);
    let call = house.server().wait_for_state(&recorded.calls[0].sip_call_id, "complete").id();
    let before = descriptors(house.process());
    // More than sockets of loopback buffer, which is some megabytes; one answer comes after the other.
    let audio = house.request(&format!("GET /api/v1/calls/{call}/audio.wav?rate=48000"), "");
    let document = house.request("GET /api/v1/openapi.json", "");
    let asks = [audio.repeat(40), document.repeat(300), house.request("GET /api/v1/events", "")];
    let unread: Vec<TcpStream> = asks
        .iter()
        .flat_map(|ask| (0..OF_EACH).map(move |_| ask))
        .map(|ask| {
            let mut stream = small_buffer(&house.address(Door::Page));
            let _ = stream.write_all(ask);
            stream
        })
        .collect();
    // SIP: answers to requests that keep coming are never read.
    let options = sip::options_over_stream();
    let mut deaf: Vec<TcpStream> = (0..OF_EACH).map(|_| small_buffer(&house.address(Door::Tcp))).collect();
    let beside = house.calls("4s");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        for stream in &mut deaf {
            let _ = stream.write(&options.repeat(50));
        }
    }
    house.expect_served("while nobody reads");
    house.expect_complete(&beside.finish());
    // The page gives up whoever takes nothing for 60 s, SIP whoever takes nothing for 32 s; events are small, so
    // those who asked for them are the only ones that are left.
    drop(deaf);
    wait_until("those that take nothing to be given up", GIVEN_UP, || match descriptors(house.process()) {
        n if n <= before + OF_EACH + 16 => Ok(()),
        n => Err(format!("{n} descriptors, {before} before")),
    });
    drop(unread);
    house.expect_served("at the end");
}

/// A connection whose client has hardly any room for answers.
fn small_buffer(address: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2 << 10).unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.into()
}

/// Octets that were taken until the server hung up, or the piece was over.
fn throw(line: &mut dyn Line, piece: &[u8], most: u64) -> u64 {
    let mut thrown = 0;
    while thrown < most {
        match line.write(piece) {
            Ok(taken) if taken > 0 => thrown += taken as u64,
            _ => break,
        }
    }
    let _ = line.flush();
    thrown
}

/// What is thrown at each door: as it is, and behind whatever comes before messages.
struct Garbage {
    plain: [Vec<u8>; 4],
    framed: [Vec<u8>; 4],
    unmasked: Vec<u8>,
}

impl Garbage {
    fn collect() -> Self {
        let noise = Random(21).bytes(256 << 10);
        let mut endless = b"OPTIONS sip:a@b SIP/2.0\r\nX: ".to_vec();
        endless.resize(256 << 10, b'x');
        let mut head = b"GET / HTTP/1.1\r\nHost: recorder.example\r\nX: ".to_vec();
        head.resize(256 << 10, b'x');
        // A record of TLS that says how long it is, and goes on as one of another kind.
        let records = [&[0x16, 3, 3, 0x40, 0][..], &[0x5a; 0x4000], &[0x17, 3, 3, 0x41, 1]].concat();
        // Frames: longer than anything, pieces of one message without end, pings without end, one that is not masked.
        let huge = [frame(u64::MAX >> 1, true), noise.clone()].concat();
        let pieces =
            [[0x01, 0x80 | 4, 0, 0, 0, 0], [0x00, 0x80 | 4, 0, 0, 0, 0]].map(|h| [&h[..], b"INVI"].concat());
        let pieces = [pieces[0].clone(), pieces[1].repeat(20_000)].concat();
        let pings = [0x89, 0x80 | 4, 0, 0, 0, 0, b'p', b'i', b'n', b'g'].repeat(20_000);
        let unmasked = b"\x81\x04INVI".repeat(1_000);
        Self {
            plain: [noise.clone(), endless, head, records],
            framed: [noise, huge, pieces, pings],
            unmasked,
        }
    }

    /// Throws all of it at all doors; octets that each took, and how many connections that were.
    fn throw_at(&self, house: &House, thrown: &mut [u64; DOORS.len()]) -> u32 {
        let mut connections = 0;
        for (door, taken) in DOORS.into_iter().zip(thrown) {
            for piece in &self.plain {
                *taken += throw(&mut house.plain(door), piece, 2 << 20);
                connections += 1;
            }
            let within: Vec<&Vec<u8>> = match door {
                Door::Tcp | Door::Page => Vec::new(),
                Door::Tls => self.plain.iter().collect(),
                Door::Ws => self.framed.iter().collect(),
                Door::Wss => self.framed.iter().skip(1).chain([&self.unmasked]).collect(),
            };
            for piece in within {
                *taken += throw(&mut house.within(door), piece, 2 << 20);
                connections += 1;
            }
        }
        connections
    }
}

/// For eight seconds, or until as many MiB are thrown as `FLOOD_MIB` says.
#[test]
fn garbage_at_any_door_costs_no_call_and_no_memory() {
    let house = House::open();
    let garbage = Garbage::collect();
    house.expect_served("at the beginning");
    let wanted: Option<u64> =
        std::env::var("FLOOD_MIB").ok().map(|mib| mib.parse().expect("a number of MiB"));
    let before = resident_kib(house.process());
    let (mut thrown, mut connections, mut most) = ([0; DOORS.len()], 0, 0);
    let begun = Instant::now();
    let over = AtomicBool::new(false);
    let calls = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut calls = 0;
            while !over.load(Ordering::Relaxed) {
                let report = house.calls("6s").finish_within(PATIENCE);
                house.expect_complete(&report);
                calls += report.calls.len();
            }
            calls
        });
        let is_enough = |thrown: &[u64]| match wanted {
            Some(mib) => thrown.iter().sum::<u64>() >= mib << 20,
            None => begun.elapsed() >= Duration::from_secs(8),
        };
        while !is_enough(&thrown) && !beside.is_finished() {
            connections += garbage.throw_at(&house, &mut thrown);
            most = most.max(resident_kib(house.process()));
        }
        over.store(true, Ordering::Relaxed);
        beside.join().expect("calls beside it")
    });
    let mib: Vec<_> = DOORS.iter().zip(thrown).map(|(door, octets)| (door, octets >> 20)).collect();
    println!(
        "{mib:?} MiB in {connections} connections and {} s beside {calls} calls; {before} KiB before, {most} KiB at most",
        begun.elapsed().as_secs()
    );
    assert!(thrown.iter().all(|octets| *octets > 1 << 20), "a door took next to nothing: {mib:?}");
    assert!(most < before + GROWN_KIB_MAX, "memory grew from {before} to {most} KiB");
    house.expect_served("after garbage");
}
