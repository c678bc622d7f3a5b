//! Datagrams by many sockets at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is test code")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rings::{Passed, Sending};

/// None where the machine does not allow io_uring, which is said.
fn sending() -> Option<Box<Sending>> {
    match Sending::new() {
        Ok(ring) => Some(ring.begin().unwrap()),
        Err(e) => {
            println!("NOT TRIED: io_uring is not to be had here: {e}");
            None
        }
    }
}

fn bound(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn to(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

fn hears(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 4_096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

#[test]
fn each_goes_out_by_its_own_socket_and_those_of_one_in_their_order() {
    let Some(mut ring) = sending() else { return };
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..40).map(|_| (bound(any), bound(any))).unzip();
        for round in 0..5_u8 {
            // More than the kernel is handed at a time.
            let packets: Vec<_> = (0..600_usize).map(|n| (n % 40, vec![round; 20 + n])).collect();
            let mut passed = Passed::default();
            let each = packets.iter().map(|(at, octets)| (&ours[*at], to(&theirs[*at]), &octets[..]));
            ring.send(each, &mut passed).unwrap();
            assert_eq!((passed.sent, passed.unsent), (600, 0));
            assert!(passed.calls <= 4, "{passed:?}");
            for (at, octets) in &packets {
                assert_eq!(hears(&theirs[*at]), (octets.clone(), to(&ours[*at])));
            }
        }
    }
}

#[test]
fn what_cannot_be_sent_is_counted_and_the_others_go() {
    let Some(mut ring) = sending() else { return };
    let (ours, theirs) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let mut passed = Passed::default();
    let (long, longest) = (vec![1; 2_081], vec![2; 2_080]);
    let v6: SocketAddr = "[2001:db8::1]:4000".parse().unwrap();
    let each: [(SocketAddr, &[u8]); 5] =
        [(to(&theirs), b"a"), (to(&theirs), &long), (v6, b"b"), (to(&theirs), &longest), (to(&theirs), b"")];
    ring.send(each.map(|(to, octets)| (&ours, to, octets)), &mut passed).unwrap();
    assert_eq!((passed.sent, passed.unsent), (3, 2));
    assert_eq!([0; 3].map(|_| hears(&theirs).0), [b"a".to_vec(), longest, Vec::new()]);
    ring.send([], &mut passed).unwrap();
    assert_eq!((passed.sent, passed.unsent, passed.calls), (3, 2, 1), "nothing costs nothing");
}

#[test]
fn a_full_buffer_loses_and_nobody_waits() {
    let Some(mut ring) = sending() else { return };
    let (ours, theirs) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let mut passed = Passed::default();
    // On loopback who sends is charged until it was received: some hundred of these fill what a socket may hold.
    let octets = [7; 2_000];
    let each = (0..2_000).map(|_| (&ours, to(&theirs), &octets[..]));
    ring.send(each, &mut passed).unwrap();
    assert_eq!(passed.sent + passed.unsent, 2_000, "{passed:?}");
}
