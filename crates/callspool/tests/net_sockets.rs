//! The SIP sockets over loopback: what comes in whole, what goes out, and what each kind of bad peer costs.
//!
//! The modules are compiled in from the binary's sources, because a binary has no library to link.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "only a part of the binary is here")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/net/mod.rs"]
mod net;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use net::{NetConfig, NetEvent, NetLimits, SipSockets};
use sip::{Destination, Flow, FlowId, Transmit, Transport};

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

/// Nothing on loopback takes this long; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(5);

fn open(address: &str, limits: NetLimits) -> SipSockets {
    let address: SocketAddr = address.parse().unwrap();
    SipSockets::bind(&NetConfig { udp: vec![address], tcp: vec![address], limits, ..NetConfig::default() })
        .unwrap()
}

fn options(n: usize) -> String {
    format!(
        "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\nTo: <sip:a@b>\r\n\
         From: <sip:c@d>;tag=1\r\nCall-ID: {n}\r\nCSeq: {n} OPTIONS\r\nContent-Length: 4\r\n\r\nbody"
    )
}

async fn next(sockets: &mut SipSockets) -> NetEvent {
    tokio::time::timeout(PATIENCE, sockets.select()).await.expect("an event")
}

async fn message(sockets: &mut SipSockets) -> (Flow, String) {
    match next(sockets).await {
        NetEvent::Message { flow, message } => {
            let mut bytes = Vec::new();
            message.as_request().unwrap().write_to(&mut bytes);
            (flow, String::from_utf8(bytes).unwrap())
        }
        other => panic!("no message but {other:?}"),
    }
}

async fn closed(sockets: &mut SipSockets) -> (FlowId, Option<SocketAddr>) {
    match next(sockets).await {
        NetEvent::FlowClosed { flow, dialed } => (flow, dialed.map(|(_, remote)| remote)),
        other => panic!("not closed but {other:?}"),
    }
}

/// Drives the sockets while nothing is expected.
async fn quiet(sockets: &mut SipSockets, time: Duration) {
    if let Ok(event) = tokio::time::timeout(time, sockets.select()).await {
        panic!("unexpected {event:?}");
    }
}

fn flow_to(flow: FlowId, bytes: impl Into<Bytes>) -> Transmit {
    Transmit { to: Destination::Flow(flow), bytes: bytes.into() }
}

fn address_to(transport: Transport, remote: SocketAddr, bytes: impl Into<Bytes>) -> Transmit {
    Transmit { to: Destination::Address { transport, remote }, bytes: bytes.into() }
}

fn client(sockets: &SipSockets) -> TcpStream {
    let stream = TcpStream::connect(sockets.addresses(Transport::Tcp)[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer).unwrap();
    buffer[..n].to_vec()
}

#[tokio::test]
async fn a_datagram_comes_with_its_flow_and_is_answered_over_it() {
    for address in [V4, V6] {
        let mut sockets = open(address, NetLimits::default());
        let ours = sockets.udp_addresses()[0];
        let peer = UdpSocket::bind(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut flows = Vec::new();
        for n in 0..2 {
            peer.send_to(options(n).as_bytes(), ours).unwrap();
            let NetEvent::Datagram { flow, bytes } = next(&mut sockets).await else { panic!("no datagram") };
            assert_eq!(bytes, options(n));
            assert_eq!((flow.transport, flow.local), (Transport::Udp, ours));
            assert_eq!(flow.remote, peer.local_addr().unwrap());
            flows.push(flow.id);
        }
        assert_eq!(flows[0], flows[1], "one flow for one peer");
        sockets.send(flow_to(flows[0], "answer"));
        sockets.send(address_to(Transport::Udp, peer.local_addr().unwrap(), "request"));
        for expected in ["answer", "request"] {
            let mut buffer = [0; 64];
            let (n, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..n], from), (expected.as_bytes(), ours));
        }
        assert_eq!(sockets.stats().datagrams_sent, 2);
    }
}

#[tokio::test]
async fn a_port_on_all_addresses_tells_the_one_that_the_peer_sees() {
    for (any, loopback) in [("0.0.0.0:0", V4), ("[::]:0", V6)] {
        let mut sockets = open(any, NetLimits::default());
        let peer = UdpSocket::bind(loopback).unwrap();
        let port = sockets.udp_addresses()[0].port();
        let target = SocketAddr::new(peer.local_addr().unwrap().ip(), port);
        peer.send_to(b"x", target).unwrap();
        let NetEvent::Datagram { flow, .. } = next(&mut sockets).await else { panic!("no datagram") };
        assert_eq!(flow.local, target);
    }
}

#[tokio::test]
async fn ipv6_and_ipv4_take_the_same_port_side_by_side() {
    let mut config = NetConfig { udp: vec!["0.0.0.0:0".parse().unwrap()], ..NetConfig::default() };
    let port = SipSockets::bind(&config).unwrap().udp_addresses()[0].port();
    config.udp = vec![SocketAddr::new([0, 0, 0, 0].into(), port), SocketAddr::new([0u16; 8].into(), port)];
    config.tcp = config.udp.clone();
    let sockets = SipSockets::bind(&config).unwrap();
    assert_eq!(sockets.udp_addresses(), config.udp);
    let error = SipSockets::bind(&config).err().expect("taken").to_string();
    assert!(error.contains("udp") && error.contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn keep_alive_datagrams_are_dropped_and_counted() {
    let mut sockets = open(V4, NetLimits::default());
    let peer = UdpSocket::bind(V4).unwrap();
    for bytes in ["\r\n\r\n", "\0", "", "INVITE"] {
        peer.send_to(bytes.as_bytes(), sockets.udp_addresses()[0]).unwrap();
    }
    let NetEvent::Datagram { bytes, .. } = next(&mut sockets).await else { panic!("no datagram") };
    assert_eq!((bytes.as_ref(), sockets.stats().keep_alives), (b"INVITE".as_ref(), 3));
}

#[tokio::test]
async fn the_oldest_udp_flow_is_forgotten_told_and_cannot_be_sent_to() {
    let mut sockets = open(V4, NetLimits { udp_flows_max: 1, ..NetLimits::default() });
    let peers = [UdpSocket::bind(V4).unwrap(), UdpSocket::bind(V4).unwrap()];
    let mut flows = Vec::new();
    for peer in &peers {
        peer.send_to(b"x", sockets.udp_addresses()[0]).unwrap();
        let NetEvent::Datagram { flow, .. } = next(&mut sockets).await else { panic!("no datagram") };
        flows.push(flow.id);
    }
    assert_eq!(closed(&mut sockets).await, (flows[0], None));
    sockets.send(flow_to(flows[0], "late"));
    assert_eq!((sockets.stats().unreachable, sockets.stats().datagrams_sent), (1, 0));
}

#[tokio::test]
async fn a_request_to_ourselves_arrives() {
    let mut sockets = open(V4, NetLimits::default());
    let (udp, tcp) = (sockets.udp_addresses()[0], sockets.addresses(Transport::Tcp)[0]);
    sockets.send(address_to(Transport::Udp, udp, options(1)));
    let NetEvent::Datagram { flow, .. } = next(&mut sockets).await else { panic!("no datagram") };
    assert_eq!((flow.remote, flow.local), (udp, udp));
    sockets.send(address_to(Transport::Tcp, tcp, options(2)));
    let (flow, text) = message(&mut sockets).await;
    assert_eq!((text, flow.local), (options(2), tcp));
}

#[tokio::test]
async fn messages_come_whole_however_the_stream_is_cut() {
    for address in [V4, V6] {
        let mut sockets = open(address, NetLimits::default());
        let mut peer = client(&sockets);
        peer.set_nodelay(true).unwrap();
        let (first, second) = (options(1), options(2));
        let (head, tail) = first.split_at_checked(40).unwrap();
        peer.write_all(head.as_bytes()).unwrap();
        quiet(&mut sockets, Duration::from_millis(50)).await;
        peer.write_all(format!("{tail}\r\n\r\n{second}{first}{second}").as_bytes()).unwrap();
        let mut flows = Vec::new();
        for expected in [&first, &second, &first, &second] {
            let (flow, text) = message(&mut sockets).await;
            assert_eq!(&text, expected);
            assert_eq!((flow.transport, flow.remote), (Transport::Tcp, peer.local_addr().unwrap()));
            flows.push(flow.id);
        }
        assert!(flows.iter().all(|f| *f == flows[0]));
        assert_eq!(read_some(&mut peer), b"\r\n", "one pong for the ping between them");
        sockets.send(flow_to(flows[0], "answer"));
        quiet(&mut sockets, Duration::from_millis(20)).await;
        assert_eq!(read_some(&mut peer), b"answer");
        // An address that an inbound connection comes from is reached over it.
        sockets.send(address_to(Transport::Tcp, peer.local_addr().unwrap(), "request"));
        quiet(&mut sockets, Duration::from_millis(20)).await;
        assert_eq!(read_some(&mut peer), b"request");
        assert_eq!(sockets.stats().dialed, 0);
        drop(peer);
        assert_eq!(closed(&mut sockets).await, (flows[0], None));
        assert_eq!(sockets.open_flows().0, 0);
    }
}

#[tokio::test]
async fn what_is_no_sip_closes_its_connection_without_an_answer_and_no_other() {
    let mut sockets = open(V4, NetLimits::default());
    let mut good = client(&sockets);
    good.write_all(options(1).as_bytes()).unwrap();
    let (flow, _) = message(&mut sockets).await;
    for garbage in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "\u{16}\u{3}\u{1}".repeat(90_000)] {
        let mut bad = client(&sockets);
        let _ = bad.write_all(garbage.as_bytes());
        let (closed, _) = closed(&mut sockets).await;
        assert_ne!(closed, flow.id);
        // Reset counts as no answer too.
        let mut buffer = [0; 16];
        assert_eq!(bad.read(&mut buffer).unwrap_or(0), 0);
    }
    assert_eq!(sockets.stats().closed_bad, 2);
    good.write_all(options(2).as_bytes()).unwrap();
    assert_eq!(message(&mut sockets).await.0.id, flow.id);
}

#[tokio::test]
async fn who_speaks_too_slowly_or_never_is_closed() {
    let fast = Duration::from_millis(150);
    let cases: [(&str, NetLimits, &str); 4] = [
        ("silent from the start", NetLimits { first_message: fast, ..NetLimits::default() }, ""),
        ("trickles its first", NetLimits { first_message: fast, ..NetLimits::default() }, "OPTIONS sip:a"),
        ("leaves one unfinished", NetLimits { message: fast, ..NetLimits::default() }, "OPTIONS sip:a"),
        ("says no more", NetLimits { idle: fast, ..NetLimits::default() }, ""),
    ];
    for (what, limits, tail) in cases {
        let begins_well = limits.first_message > fast;
        let mut sockets = open(V4, limits);
        let mut peer = client(&sockets);
        if begins_well {
            peer.write_all(options(1).as_bytes()).unwrap();
            message(&mut sockets).await;
        }
        peer.write_all(tail.as_bytes()).unwrap();
        let started = std::time::Instant::now();
        closed(&mut sockets).await;
        let took = started.elapsed();
        assert!(took > fast / 2 && took < fast * 10, "{what}: {took:?}");
        assert_eq!(sockets.stats().closed_bad + sockets.stats().closed_idle, 1, "{what}");
    }
}

#[tokio::test]
async fn a_peer_that_trickles_pings_keeps_its_connection() {
    let idle = Duration::from_millis(200);
    let mut sockets = open(V4, NetLimits { idle, ..NetLimits::default() });
    let mut peer = client(&sockets);
    peer.write_all(options(1).as_bytes()).unwrap();
    message(&mut sockets).await;
    for _ in 0..5 {
        quiet(&mut sockets, idle / 2).await;
        peer.write_all(b"\r\n\r\n").unwrap();
        quiet(&mut sockets, idle / 4).await;
        assert_eq!(read_some(&mut peer), b"\r\n");
    }
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_flow_and_nobody_waits() {
    let mut sockets = open(V4, NetLimits { write_queue_bytes_max: 100_000, ..NetLimits::default() });
    let mut deaf = client(&sockets);
    deaf.write_all(options(1).as_bytes()).unwrap();
    let (flow, _) = message(&mut sockets).await;
    let answer = Bytes::from(vec![b'x'; 10_000]);
    let mut sends = 0;
    let started = std::time::Instant::now();
    while sockets.stats().closed_not_reading == 0 {
        sockets.send(flow_to(flow.id, answer.clone()));
        sends += 1;
        assert!(sends < 10_000, "a queue without bound");
        // The writer's task gets its turn, so the kernel's buffers are what fills.
        tokio::task::yield_now().await;
    }
    assert!(started.elapsed() < PATIENCE, "sending waited");
    assert_eq!(closed(&mut sockets).await, (flow.id, None));
    let mut other = client(&sockets);
    other.write_all(options(2).as_bytes()).unwrap();
    let (flow, _) = message(&mut sockets).await;
    sockets.send(flow_to(flow.id, "answer"));
    quiet(&mut sockets, Duration::from_millis(20)).await;
    assert_eq!(read_some(&mut other), b"answer");
}

#[tokio::test]
async fn a_client_that_pings_and_never_reads_loses_its_flow() {
    let mut sockets = open(V4, NetLimits { write_queue_bytes_max: 10_000, ..NetLimits::default() });
    let mut deaf = client(&sockets);
    deaf.set_nonblocking(true).unwrap();
    let pings = b"\r\n\r\n".repeat(4096);
    let flood = std::thread::spawn(move || {
        for _ in 0..100_000 {
            match deaf.write(&pings) {
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => std::thread::yield_now(),
            }
        }
    });
    closed(&mut sockets).await;
    assert_eq!(sockets.stats().closed_not_reading, 1);
    flood.join().unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limits_are_closed_at_once_and_freed_places_are_used_again() {
    for (limits, total, source) in [
        (NetLimits { connections_max: 2, ..NetLimits::default() }, 1, 0),
        (NetLimits { connections_per_source_max: 2, ..NetLimits::default() }, 0, 1),
    ] {
        let mut sockets = open(V4, limits);
        let mut kept: Vec<TcpStream> = (0..2).map(|_| client(&sockets)).collect();
        quiet(&mut sockets, Duration::from_millis(50)).await;
        let mut refused = client(&sockets);
        quiet(&mut sockets, Duration::from_millis(50)).await;
        assert_eq!(refused.read(&mut [0; 8]).unwrap_or(0), 0);
        let stats = sockets.stats();
        assert_eq!((stats.accepted, stats.refused_total, stats.refused_source), (2, total, source));
        drop(kept.pop());
        closed(&mut sockets).await;
        let mut again = client(&sockets);
        again.write_all(options(1).as_bytes()).unwrap();
        message(&mut sockets).await;
    }
}

#[tokio::test]
async fn a_connection_is_dialed_on_demand_used_again_and_its_end_is_told() {
    let mut sockets = open(V4, NetLimits::default());
    let listener = std::net::TcpListener::bind(V4).unwrap();
    let remote = listener.local_addr().unwrap();
    for text in ["one", "two"] {
        sockets.send(address_to(Transport::Tcp, remote, text));
    }
    quiet(&mut sockets, Duration::from_millis(50)).await;
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(read_some(&mut peer), b"onetwo");
    assert_eq!(sockets.stats().dialed, 1);
    peer.write_all(options(1).as_bytes()).unwrap();
    let (flow, _) = message(&mut sockets).await;
    assert_eq!(flow.remote, remote);
    drop(peer);
    assert_eq!(closed(&mut sockets).await, (flow.id, Some(remote)));
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_told() {
    let mut sockets = open(V4, NetLimits { connect: Duration::from_millis(200), ..NetLimits::default() });
    let nobody = std::net::TcpListener::bind(V4).unwrap().local_addr().unwrap();
    sockets.send(address_to(Transport::Tcp, nobody, "x"));
    assert_eq!(closed(&mut sockets).await.1, Some(nobody));
    assert_eq!(sockets.stats().connect_failures, 1);
    // A v6 address has no port here that reaches it.
    sockets.send(address_to(Transport::Udp, "[::1]:9".parse().unwrap(), "x"));
    assert_eq!(sockets.stats().unreachable, 1);
}

#[tokio::test]
async fn what_is_queued_goes_out_before_the_sockets_close() {
    let mut sockets = open(V4, NetLimits::default());
    let listener = std::net::TcpListener::bind(V4).unwrap();
    let peer = UdpSocket::bind(V4).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    sockets.send(address_to(Transport::Tcp, listener.local_addr().unwrap(), "BYE"));
    sockets.send(address_to(Transport::Udp, peer.local_addr().unwrap(), "BYE"));
    sockets.close(PATIENCE).await;
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "BYE");
    let mut buffer = [0; 8];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 3);
}

#[tokio::test]
async fn a_flood_on_tcp_does_not_starve_udp_nor_the_other_way() {
    let mut sockets = open(V4, NetLimits::default());
    let (udp, mut tcp) = (sockets.udp_addresses()[0], client(&sockets));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = stop.clone();
    let flood = std::thread::spawn(move || {
        let peer = UdpSocket::bind(V4).unwrap();
        tcp.set_nonblocking(true).unwrap();
        while !flag.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = peer.send_to(b"INVITE", udp);
            let _ = tcp.write(b"\r\n");
            let _ = tcp.write(options(1).as_bytes());
        }
    });
    let (mut datagrams, mut messages) = (0, 0);
    for _ in 0..2_000 {
        match next(&mut sockets).await {
            NetEvent::Datagram { .. } => datagrams += 1,
            NetEvent::Message { .. } => messages += 1,
            // A write that was cut short tears the stream; that is the test's doing.
            NetEvent::FlowClosed { .. } => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
    assert!(datagrams > 100 && messages > 10, "{datagrams} datagrams, {messages} messages");
}
