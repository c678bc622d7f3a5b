//! Running out of descriptors: accepting pauses, nothing else does, and it goes on when there are some again.
//!
//! In a process of its own, because it lowers the process's own limit, and the tests of `net` are here too.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "only a part of the binary is here")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/net/mod.rs"]
mod net;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use net::{NetConfig, NetEvent, SipSockets};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const ALONE: &str = "CALLSPOOL_TEST_ALONE";

#[test]
fn accept_backs_off_without_descriptors_and_goes_on() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(without_descriptors());
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let done = alone.args(["--exact", &name]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

async fn without_descriptors() {
    let address = "127.0.0.1:0".parse().unwrap();
    let config = NetConfig { udp: vec![address], tcp: vec![address], ..NetConfig::default() };
    let mut sockets = SipSockets::bind(&config).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let mut client = TcpStream::connect(sockets.addresses(sip::Transport::Tcp)[0]).unwrap();
    // This first one is accepted; then everything is taken, and the next one can only wait in the backlog.
    let _ = tokio::time::timeout(Duration::from_millis(50), sockets.select()).await;
    let waiting = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    waiting.connect(&sockets.addresses(sip::Transport::Tcp)[0].into()).unwrap();

    let pause = tokio::time::timeout(Duration::from_millis(450), sockets.select()).await;
    assert!(pause.is_err(), "{pause:?}");
    let failures = sockets.stats().accept_failures;
    assert!((1..=6).contains(&failures), "backs off, but tried {failures} times in 450 ms");
    client.write_all(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(matches!(sockets.select().await, NetEvent::Message { .. }), "who is in is served");
    udp.send_to(b"INVITE", sockets.udp_addresses()[0]).unwrap();
    assert!(matches!(sockets.select().await, NetEvent::Datagram { .. }), "UDP goes on");

    drop(hoard);
    let mut waiting = TcpStream::from(waiting);
    waiting.write_all(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    let event = tokio::time::timeout(Duration::from_secs(5), sockets.select()).await.unwrap();
    assert!(matches!(event, NetEvent::Message { .. }), "{event:?}");
    assert_eq!(sockets.stats().accepted, 2);
}
