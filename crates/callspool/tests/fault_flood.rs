//! Garbage at full speed and clients that dribble, on the TCP port, beside calls: the calls are complete to the last
//! packet, memory stays what it was, and every descriptor comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fault_support::Random;
use fault_support::caller::{Caller, Report};
use fault_support::process::{descriptors, id_of, resident_kib};
use fault_support::sip;
use support::server::Server;
use support::{PATIENCE, wait_until};

/// Thrown at the port by default; `FLOOD_MIB=20480` makes it 20 GiB.
const FLOOD_MIB: u64 = 256;
/// What buffers of connections, allocators and the calls themselves may come to.
const GROWN_KIB_MAX: u64 = 64 << 10;
/// Below the limit of connections from one address.
const DRIBBLING: usize = 200;

fn calls(server: &Server, seconds: &str) -> Caller {
    Caller::start(server, "beside", &["--calls", "4", "--rate", "20/s", "--siprec", "--duration", seconds])
}

fn expect_complete(server: &Server, report: &Report) {
    report.expect_all_ok("beside");
    for call in &report.calls {
        let recorded = server.wait_for_state(&call.sip_call_id, "complete");
        for (stream, sent) in recorded.segment().streams.iter().zip(&call.streams) {
            assert_eq!(stream.accounting.received, sent.packets, "{call:?}");
        }
    }
}

/// Octets that were taken until the server hung up, or the piece was over.
fn throw(address: &str, piece: &[u8], most: u64) -> u64 {
    let Ok(mut stream) = TcpStream::connect(address) else { return 0 };
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut thrown = 0;
    while thrown < most {
        match stream.write(piece) {
            Ok(taken) => thrown += taken as u64,
            Err(_) => break,
        }
    }
    thrown
}

#[test]
fn garbage_on_the_tcp_port_costs_no_call_and_no_memory() {
    // Whoever behaves comes from the same address as the garbage, some of which are requests.
    let server = Server::with(&[("SIP__MAX_REQUESTS_PER_SOURCE", "0")]);
    let before = resident_kib(id_of(&server));
    let most = std::env::var("FLOOD_MIB").ok().and_then(|m| m.parse().ok()).unwrap_or(FLOOD_MIB) << 20;
    // As long as it takes where 64 MiB/s are taken.
    let seconds = (most >> 26).max(8);
    let beside = calls(&server, &format!("{seconds}s"));
    let mut random = Random(20);
    // Three kinds: noise, a header that never ends, and a body that was promised and is never whole.
    let mut endless = b"OPTIONS sip:a@b SIP/2.0\r\nX: ".to_vec();
    endless.resize(256 << 10, b'x');
    let body =
        [b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 60000\r\n\r\n".to_vec(), vec![b'y'; 50_000]].concat();
    let pieces = [random.bytes(256 << 10), endless, body];
    let (mut thrown, mut connections, begun) = (0, 0_u64, Instant::now());
    let mut most_resident = 0;
    // By time as well: a server that hangs up at the first octet takes little.
    while thrown < most && begun.elapsed() < Duration::from_secs(60.max(most >> 25)) {
        for piece in &pieces {
            thrown += throw(&server.sip_address(), piece, 8 << 20);
            connections += 1;
        }
        most_resident = most_resident.max(resident_kib(id_of(&server)));
    }
    let took = begun.elapsed();
    println!(
        "{} MiB in {connections} connections within {took:?}; {before} KiB before, {most_resident} KiB at most",
        thrown >> 20
    );
    assert!(connections >= 9, "only {connections} connections were taken");
    assert!(most_resident < before + GROWN_KIB_MAX, "memory grew from {before} to {most_resident} KiB");
    sip::expect_options(&server, "under garbage");
    expect_complete(&server, &beside.finish_within(Duration::from_secs(seconds) + PATIENCE));
}

#[test]
fn clients_that_dribble_hold_up_nobody_and_their_descriptors_come_back() {
    let server = Server::start();
    let (before, memory) = (descriptors(id_of(&server)), resident_kib(id_of(&server)));
    let mut slow: Vec<TcpStream> =
        (0..DRIBBLING).map(|_| TcpStream::connect(server.sip_address()).expect("a connection")).collect();
    let beside = calls(&server, "4s");
    let message = b"INVITE sip:rec@here SIP/2.0\r\nVia: SIP/2.0/TCP here;branch=z9hG4bK1\r\nContent-Length: 999\r\n\r\nv=0";
    for octet in message {
        for stream in &mut slow {
            let _ = stream.write(&[*octet]);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    sip::expect_options(&server, "while clients dribble");
    assert!(resident_kib(id_of(&server)) < memory + GROWN_KIB_MAX);
    expect_complete(&server, &beside.finish());
    drop(slow);
    wait_until("descriptors to come back", PATIENCE, || match descriptors(id_of(&server)) {
        n if n <= before + 8 => Ok(()),
        n => Err(format!("{n}, {before} before")),
    });
}
