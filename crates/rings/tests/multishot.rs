//! Datagrams by io_uring: what a source must hold, and what goes wrong with rings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is test code")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rings::{Multishot, Taken};

/// None where the machine does not allow io_uring, which is said.
fn ring(buffers: u16) -> Option<Box<Multishot>> {
    match Multishot::new(buffers) {
        Ok(ring) => Some(ring.begin().unwrap()),
        Err(e) => {
            println!("NOT TRIED: io_uring is not to be had here: {e}");
            None
        }
    }
}

fn socket(address: &str) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind(address).unwrap();
    let on: libc::c_int = 1;
    // SAFETY: an option with a value of its size.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap(),
        )
    };
    assert_eq!(set, 0);
    Arc::new(socket)
}

fn to(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

/// All that there is, by key.
fn take(ring: &mut Multishot) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for _ in 0..1_000 {
        let taken = ring.take(|key, d| all.entry(key).or_default().push(d.bytes.to_vec())).unwrap();
        if taken.is_all {
            return all;
        }
    }
    panic!("there is no end of it");
}

#[test]
fn datagrams_come_in_order_with_their_sender_and_a_kernel_time() {
    let Some(mut ring) = ring(256) else { return };
    for (key, address) in [(4, "127.0.0.1:0"), (6, "[::1]:0")] {
        let (socket, sender) = (socket(address), UdpSocket::bind(address).unwrap());
        ring.watch(key, &socket).unwrap();
        for round in 0..3_u8 {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            for n in 0..20_u8 {
                sender.send_to(&[round, n], to(&socket)).unwrap();
            }
            let (mut got, mut last) = (Vec::new(), since);
            let mut each = |k, d: rings::Received<'_>| {
                let at = d.at.unwrap();
                assert!(
                    (k, d.from) == (key, to(&sender)) && at >= last && at - since < Duration::from_secs(5)
                );
                last = at;
                got.push(d.bytes.to_vec());
            };
            assert_eq!(ring.take(&mut each).unwrap(), Taken { count: 20, is_all: true });
            assert_eq!(got, (0..20).map(|n| vec![round, n]).collect::<Vec<_>>());
            assert_eq!(ring.take(|_, _| panic!()).unwrap(), Taken { count: 0, is_all: true });
        }
    }
}

#[test]
fn what_waits_in_a_socket_comes_when_it_is_watched_and_under_the_key_of_then() {
    let Some(mut ring) = ring(64) else { return };
    let (socket, sender) = (socket("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
    sender.send_to(b"a", to(&socket)).unwrap();
    ring.watch(1, &socket).unwrap();
    assert_eq!(take(&mut ring)[&1], [b"a"]);
    sender.send_to(b"b", to(&socket)).unwrap();
    ring.watch(2, &socket).unwrap();
    assert_eq!(take(&mut ring), [(2, vec![b"b".to_vec()])].into());
}

#[test]
fn empty_ones_come_too_and_what_is_too_long_comes_as_nothing() {
    let Some(mut ring) = ring(64) else { return };
    let (socket, sender) = (socket("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
    ring.watch(1, &socket).unwrap();
    for bytes in [&b"a"[..], b"", &[7; 2_048], &[7; 2_049], &[7; 9_000], b"", b"b"] {
        sender.send_to(bytes, to(&socket)).unwrap();
    }
    let seven = vec![7; 2_048];
    assert_eq!(take(&mut ring)[&1], [b"a", &b""[..], &seven, b"", b"", b"", b"b"]);
}

#[test]
fn with_few_buffers_all_comes_and_nobody_is_deaf_afterwards() {
    let Some(mut ring) = ring(8) else { return };
    let sockets: Vec<_> = (0..20).map(|_| socket("127.0.0.1:0")).collect();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (key, socket) in (0..).zip(&sockets) {
        ring.watch(key, socket).unwrap();
    }
    for round in 0..50_u8 {
        for n in 0..5 {
            for socket in &sockets {
                sender.send_to(&[round, n], to(socket)).unwrap();
            }
        }
        let all = take(&mut ring);
        assert_eq!(all.len(), 20, "{round}");
        let wanted: Vec<_> = (0..5).map(|n| vec![round, n]).collect();
        assert!(all.values().all(|of| *of == wanted), "{round}: {all:?}");
    }
}

#[test]
fn who_floods_keeps_nobody_waiting_and_loses_nothing_that_its_socket_holds() {
    let Some(mut ring) = ring(1_024) else { return };
    let (flooded, other) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    ring.watch(0, &flooded).unwrap();
    ring.watch(1, &other).unwrap();
    for n in 0..200_u8 {
        sender.send_to(&[n], to(&flooded)).unwrap();
    }
    let mut got: Vec<u8> = Vec::new();
    for taking in 0..10 {
        sender.send_to(b"media", to(&other)).unwrap();
        let mut of = [0, 0];
        let mut each = |key: u64, d: rings::Received<'_>| {
            of[usize::try_from(key).unwrap()] += 1;
            got.extend(d.bytes.first().filter(|_| key == 0));
        };
        let taken = ring.take(&mut each).unwrap();
        assert!(of[1] == 1 && of[0] <= 130, "{taking}: {of:?}, {taken:?}");
    }
    assert_eq!(got, (0..200).collect::<Vec<u8>>());
}

#[test]
fn a_forgotten_socket_is_not_heard_and_its_port_is_free_and_nobody_gets_what_was_sent_to_it() {
    let Some(mut ring) = ring(64) else { return };
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut address = "127.0.0.1:0".to_owned();
    for round in 0..200_u64 {
        let socket = socket(&address);
        address = to(&socket).to_string();
        ring.watch(round, &socket).unwrap();
        sender.send_to(&round.to_be_bytes(), to(&socket)).unwrap();
        let all = take(&mut ring);
        assert_eq!(all[&round], [round.to_be_bytes()], "{all:?}");
        // Armed, and something has come that was not taken.
        sender.send_to(b"late", to(&socket)).unwrap();
        ring.forget(&socket);
        drop(socket);
        assert_eq!(take(&mut ring), BTreeMap::new());
        let free = UdpSocket::bind(&address);
        assert!(free.is_ok(), "{round}: {free:?}");
    }
}

#[test]
fn it_goes_while_sockets_are_armed() {
    for _ in 0..20 {
        let Some(mut ring) = ring(1_024) else { return };
        let (socket, sender) = (socket("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
        ring.watch(1, &socket).unwrap();
        take(&mut ring);
        sender.send_to(b"a", to(&socket)).unwrap();
    }
}

#[test]
fn thousands_of_sockets_come_and_go() {
    let Some(mut ring) = ring(4_096) else { return };
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets: Vec<_> =
        (0..3_000).map_while(|_| UdpSocket::bind("127.0.0.1:0").ok().map(Arc::new)).collect();
    for (key, socket) in (0..).zip(&sockets) {
        ring.watch(key, socket).unwrap();
    }
    for n in 0..3 {
        for socket in &sockets {
            sender.send_to(&[n], to(socket)).unwrap();
        }
        let all = take(&mut ring);
        assert!(all.len() == sockets.len() && all.values().all(|of| *of == [[n]]), "{n}: {}", all.len());
    }
    for socket in &sockets {
        sender.send_to(b"late", to(socket)).unwrap();
        ring.forget(socket);
    }
    assert!(take(&mut ring).is_empty());
}

#[test]
fn who_waits_is_woken_by_what_comes_and_by_whoever_wants() {
    let Some(mut ring) = ring(64) else { return };
    let (socket, sender) = (socket("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
    // SAFETY: a new descriptor, which nobody else has.
    let wake = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
    let other = std::fs::File::from(wake.try_clone().unwrap());
    ring.watch(1, &socket).unwrap();
    ring.wake_by(wake.as_fd()).unwrap();
    let long = Duration::from_secs(60);
    for round in 0..100_u8 {
        let (out, to) = (sender.try_clone().unwrap(), to(&socket));
        let thread = std::thread::spawn(move || out.send_to(&[round], to).unwrap());
        let mut came = 0;
        while came == 0 {
            ring.wait(long).unwrap();
            came = take(&mut ring).values().map(Vec::len).sum();
        }
        thread.join().unwrap();
        // It is never read: each write wakes.
        let mut file = other.try_clone().unwrap();
        let thread = std::thread::spawn(move || file.write_all(&1_u64.to_ne_bytes()).unwrap());
        ring.wait(long).unwrap();
        assert!(take(&mut ring).is_empty());
        thread.join().unwrap();
    }
    ring.wait(Duration::from_millis(1)).unwrap();
    assert!(take(&mut ring).is_empty(), "and nothing comes of time that passes");
}
