//! Datagrams by a ring of packets, over loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is test code")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rings::{PacketRing, Ports, Sent, Taken};

/// None where this process may not, which is said.
fn ring(
    address: &str,
    (min, max): (u16, u16),
    (part, parts): (u16, u16),
    octets: usize,
) -> Option<PacketRing> {
    let address: IpAddr = address.parse().unwrap();
    match PacketRing::new(&Ports { address, min, max, part, parts }, octets) {
        Ok(ring) => Some(ring),
        Err(e) => {
            println!("NOT TRIED: a ring of packets is not to be had here: {e}");
            None
        }
    }
}

fn take(ring: &mut PacketRing) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    while !ring.take(|s| all.push((s.from, s.to, s.bytes.to_vec()))).is_all {}
    all
}

#[test]
fn datagrams_come_once_in_order_with_addresses_and_a_kernel_time() {
    for (address, other) in [("127.44.1.1", "127.44.1.2"), ("::1", "::1")] {
        let Some(mut ring) = ring(address, (9_000, 9_099), (0, 1), 1 << 20) else { return };
        let held = UdpSocket::bind((address, 9_000)).unwrap();
        let outside = UdpSocket::bind((address, 9_100)).unwrap();
        let sender = UdpSocket::bind((other, 9_200)).unwrap();
        for round in 0..30_u8 {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            for n in 0..30_u8 {
                sender.send_to(&[round, n], held.local_addr().unwrap()).unwrap();
                sender.send_to(b"outside", outside.local_addr().unwrap()).unwrap();
                // What goes out is not what comes.
                held.send_to(b"ours", sender.local_addr().unwrap()).unwrap();
            }
            sender.send_to(b"", held.local_addr().unwrap()).unwrap();
            let (mut got, mut last) = (Vec::new(), since);
            let taken = ring.take(|Sent { at, from, to, bytes }| {
                assert_eq!((from, to), (sender.local_addr().unwrap(), held.local_addr().unwrap()));
                assert!(at >= last && at - since < Duration::from_secs(5));
                last = at;
                got.push(bytes.to_vec());
            });
            assert_eq!(taken, Taken { count: 31, is_all: true });
            let wanted: Vec<_> = (0..30).map(|n| vec![round, n]).chain([vec![]]).collect();
            assert_eq!(got, wanted);
        }
        assert_eq!(ring.counts(), rings::Counts::default());
    }
}

#[test]
fn pairs_of_ports_are_dealt_out_among_rings() {
    let rings: Vec<_> =
        (0..3).filter_map(|part| ring("127.44.1.3", (9_000, 9_011), (part, 3), 1 << 20)).collect();
    let sender = UdpSocket::bind("127.44.1.3:0").unwrap();
    for port in 8_998..9_014 {
        sender.send_to(b"a", ("127.44.1.3", port)).unwrap();
    }
    for (part, mut ring) in (0..).zip(rings) {
        let got: Vec<u16> = take(&mut ring).iter().map(|(_, to, _)| to.port()).collect();
        assert_eq!(got, (9_000..9_012).filter(|port| port / 2 % 3 == part).collect::<Vec<_>>());
    }
}

#[test]
fn fragments_and_what_finds_no_room_are_counted() {
    let Some(mut ring) = ring("127.44.1.4", (9_000, 9_099), (0, 1), 1 << 20) else { return };
    let sender = UdpSocket::bind("127.44.1.4:0").unwrap();
    // Loopback has packets of 64 KiB, but none is longer than a frame.
    for bytes in [&[7; 1_900][..], &[7; 2_000], &[7; 60_000]] {
        sender.send_to(bytes, ("127.44.1.4", 9_000)).unwrap();
    }
    let got: Vec<usize> = take(&mut ring).iter().map(|(_, _, bytes)| bytes.len()).collect();
    assert_eq!(got, [1_900, 0, 0]);
    for _ in 0..600 {
        sender.send_to(b"a", ("127.44.1.4", 9_000)).unwrap();
    }
    assert_eq!(take(&mut ring).len(), 512);
    assert_eq!(ring.counts().lost, 88);
    sender.send_to(b"a", ("127.44.1.4", 9_000)).unwrap();
    assert_eq!(take(&mut ring).len(), 1);
}

#[test]
fn any_address_of_the_family_is_heard_where_none_is_named() {
    let Some(mut ring) = ring("0.0.0.0", (9_300, 9_303), (0, 1), 1 << 20) else { return };
    let sender = UdpSocket::bind("127.44.1.5:0").unwrap();
    for to in ["127.44.1.5:9300", "127.44.1.6:9303", "127.44.1.6:9304"] {
        sender.send_to(b"a", to).unwrap();
    }
    let from_us = |d: &&(SocketAddr, SocketAddr, Vec<u8>)| d.0 == sender.local_addr().unwrap();
    let got: Vec<_> = take(&mut ring).iter().filter(from_us).map(|(_, to, _)| to.to_string()).collect();
    assert_eq!(got, ["127.44.1.5:9300", "127.44.1.6:9303"]);
}
