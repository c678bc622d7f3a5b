//! What every source holds, tried over each of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use model::TenantId;
use model::peer::Family;

use super::super::handshakes::Knocks;
use super::super::ports::places::{self, Places, Wanted};
use super::super::ports::{PortConfig, Ports, Sockets};
use super::super::seats::Seats;
use super::*;
use crate::clock::wall as clock_wall;

const KINDS: [Kind; 3] = [Kind::Sockets, Kind::IoUring, Kind::PacketRing];

/// A source with its ports, alone with an address of loopback. None where the machine does not allow it, which is said.
struct Rig {
    kind: Kind,
    source: Source,
    ports: Ports,
}

fn rig(kind: Kind, (last, min): (u8, u16)) -> Option<Rig> {
    let mut config = PortConfig {
        listen_v4: Some(IpAddr::V4(Ipv4Addr::new(127, 44, 2, last))),
        listen_v6: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        advertised_v4: None,
        advertised_v6: None,
        min,
        max: min + 99,
        receive_buffer: 208 << 10,
        is_held: false,
    };
    if let Err(e) = possible(kind, &config) {
        println!("NOT TRIED over {kind:?}: {e}");
        return None;
    }
    let mut chosen = Chosen::of(kind, &config, 1, 4 << 20).unwrap();
    assert_eq!((chosen.kind, chosen.instead.as_deref()), (kind, None));
    config.is_held = kind == Kind::PacketRing;
    let source = chosen.sources.remove(0).begin();
    Some(Rig { kind, source, ports: Ports::new(config, Knocks::new().0) })
}

fn each(at: (u8, u16), mut check: impl FnMut(Rig)) {
    for kind in KINDS {
        if let Some(rig) = rig(kind, at) {
            check(rig);
        }
    }
}

impl Rig {
    fn open(&mut self, slot: usize, family: Family) -> Sockets {
        let sockets = self.ports.open(family, false).unwrap();
        self.watch(slot, &sockets);
        sockets
    }

    fn watch(&mut self, slot: usize, sockets: &Sockets) {
        for (which, socket) in sockets.each() {
            self.source.watch(Key::new(slot, 0, which), socket, 1).unwrap();
        }
    }

    fn close(&mut self, sockets: Sockets) {
        sockets.each().for_each(|(_, socket)| self.source.forget(socket));
    }

    /// What has come, by slot and which.
    fn take(&mut self) -> BTreeMap<(usize, Which), Vec<Vec<u8>>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for _ in 0..1_000 {
            let mut each = |key: Key, d: Datagram<'_>| {
                all.entry((key.slot(), key.which())).or_default().push(d.bytes.to_vec());
            };
            if self.source.take(clock_wall(), &mut each).1 == Left::Nothing {
                return all;
            }
        }
        panic!("{:?}: there is no end of it", self.kind);
    }
}

fn sender(family: Family) -> UdpSocket {
    UdpSocket::bind(if family == Family::V6 { "[::1]:0" } else { "127.0.0.1:0" }).unwrap()
}

#[test]
fn datagrams_come_in_order_with_sender_port_and_time() {
    each((1, 9_000), |mut rig| {
        for (slot, family) in [(1, Family::V4), (2, Family::V6)] {
            let (sockets, sender) = (rig.open(slot, family), sender(family));
            let mut since = clock_wall();
            for round in 0..3_u8 {
                for n in 0..50_u8 {
                    let to = if n % 5 == 0 { sockets.told_rtcp } else { sockets.told_rtp };
                    sender.send_to(&[round, n], to).unwrap();
                }
                let mut got = [Vec::new(), Vec::new()];
                let mut each = |key: Key, d: Datagram<'_>| {
                    assert_eq!((key.slot(), d.from), (slot, sender.local_addr().unwrap()));
                    assert!(d.at >= since && d.at <= clock_wall());
                    let of = &mut got[usize::from(key.which() == Which::Rtcp)];
                    assert!(of.last().is_none_or(|(at, _)| *at <= d.at));
                    of.push((d.at, d.bytes.to_vec()));
                };
                let (count, left) = rig.source.take(clock_wall(), &mut each);
                assert_eq!((count, left), (50, Left::Nothing), "{:?}", rig.kind);
                let bytes = got.map(|of| of.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
                let (rtcp, rtp): (Vec<u8>, Vec<u8>) = (0..50).partition(|n| n % 5 == 0);
                assert_eq!(
                    bytes,
                    [rtp, rtcp].map(|all| all.iter().map(|n| vec![round, *n]).collect::<Vec<_>>())
                );
                since = clock_wall();
            }
            rig.close(sockets);
        }
    });
}

#[test]
fn empty_ones_come_and_what_is_too_long_comes_as_nothing() {
    each((2, 9_100), |mut rig| {
        let (sockets, sender) = (rig.open(1, Family::V4), sender(Family::V4));
        for bytes in [&b"a"[..], b"", &[7; 1_400], &[7; 9_000], b"", b"b"] {
            sender.send_to(bytes, sockets.told_rtp).unwrap();
        }
        let long = vec![7; 1_400];
        assert_eq!(rig.take()[&(1, Which::Rtp)], [b"a", &b""[..], &long, b"", b"", b"b"], "{:?}", rig.kind);
    });
}

#[test]
fn who_floods_keeps_nobody_else_waiting() {
    each((3, 9_200), |mut rig| {
        let sender = sender(Family::V4);
        let (flooded, other) = (rig.open(0, Family::V4), rig.open(1, Family::V4));
        for taking in 0..20 {
            for _ in 0..300 {
                sender.send_to(b"flood", flooded.told_rtp).unwrap();
            }
            sender.send_to(b"media", other.told_rtp).unwrap();
            let mut of = [0, 0];
            rig.source.take(clock_wall(), &mut |key, _| of[key.slot()] += 1);
            // The share of a ring goes by the time since the last taking; a busy machine may have taken some.
            assert!(of[1] == 1 && of[0] > 0, "{:?} {taking}: {of:?}", rig.kind);
        }
    });
}

#[test]
fn what_comes_is_told_of_before() {
    each((8, 9_700), |mut rig| {
        let sender = sender(Family::V4);
        let all: Vec<Sockets> = (0..20).map(|slot| rig.open(slot, Family::V4)).collect();
        all.iter().for_each(|sockets| _ = sender.send_to(b"media", sockets.told_rtp).unwrap());
        let (mut told, mut come) = (Vec::new(), Vec::new());
        while come.len() < all.len() {
            rig.source.take_foretold(clock_wall(), &mut |coming| match coming {
                Coming::Soon(key) => told.push(key.slot()),
                Coming::Now(key, _) => {
                    come.push(key.slot());
                    // Completions of io_uring are not looked through before.
                    assert!(
                        told.contains(&key.slot()) || rig.kind == Kind::IoUring,
                        "{:?}: {key:?}",
                        rig.kind
                    );
                }
            });
        }
        all.into_iter().for_each(|sockets| rig.close(sockets));
    });
}

#[test]
fn a_key_changes_where_another_segment_has_the_port() {
    each((4, 9_300), |mut rig| {
        let (sockets, sender) = (rig.open(1, Family::V4), sender(Family::V4));
        sender.send_to(b"a", sockets.told_rtp).unwrap();
        rig.watch(2, &sockets);
        sender.send_to(b"b", sockets.told_rtp).unwrap();
        assert_eq!(
            rig.take(),
            [((2, Which::Rtp), vec![b"a".to_vec(), b"b".to_vec()])].into(),
            "{:?}",
            rig.kind
        );
    });
}

#[test]
fn what_was_sent_to_a_port_reaches_nobody_who_has_it_later() {
    each((5, 9_400), |mut rig| {
        let sender = sender(Family::V4);
        let mut ports = std::collections::BTreeSet::new();
        for round in 0..300_u16 {
            let sockets = rig.open(usize::from(round), Family::V4);
            ports.insert(sockets.told_rtp);
            sender.send_to(&round.to_be_bytes(), sockets.told_rtp).unwrap();
            let mine = [((usize::from(round), Which::Rtp), vec![round.to_be_bytes().to_vec()])].into();
            assert_eq!(rig.take(), mine, "{:?}", rig.kind);
            // This came and was not taken when the port is closed.
            sender.send_to(b"late", sockets.told_rtp).unwrap();
            rig.close(sockets);
            // Every other time the port is had again before anything is taken.
            if round % 2 == 0 {
                assert_eq!(rig.take(), BTreeMap::new(), "{:?}", rig.kind);
            }
        }
        assert!(ports.len() <= 50, "ports come back: {:?} {}", rig.kind, ports.len());
    });
}

#[test]
fn no_port_tells_that_it_is_closed_and_nobody_else_gets_it() {
    each((6, 9_500), |mut rig| {
        let sockets = rig.open(1, Family::V4);
        assert!(UdpSocket::bind(sockets.told_rtp).is_err());
        let sender = sender(Family::V4);
        sender.connect(sockets.told_rtp).unwrap();
        for _ in 0..3 {
            // ICMP's answer would be the error of the next one.
            sender.send(b"a").unwrap();
        }
        assert_eq!(rig.take()[&(1, Which::Rtp)].len(), 3, "{:?}", rig.kind);
        // What goes out by the socket does not come in.
        let own = sockets.told_rtp;
        sockets.rtp.send_to(b"report", sender.local_addr().unwrap()).unwrap();
        assert_eq!(rig.take(), BTreeMap::new());
        let mut buffer = [0; 16];
        assert_eq!(sender.recv_from(&mut buffer).unwrap(), (6, own));
    });
}

#[test]
fn nothing_is_allocated_for_a_datagram() {
    each((7, 9_700), |mut rig| {
        let streams = [rig.open(1, Family::V4), rig.open(2, Family::V4)];
        let sender = sender(Family::V4);
        let (mut came, mut allocated) = (0, 0);
        for round in 0..40 {
            for n in 0..50 {
                sender.send_to(&[0x80; 172], streams[n % 2].told_rtp).unwrap();
            }
            // What is had once and used again is had in the first rounds.
            let taken = allocation_counter::measure(|| {
                let mut each = |_: Key, d: Datagram<'_>| came += u64::from(d.bytes.len() == 172);
                while rig.source.take(clock_wall(), &mut each).1 == Left::Something {}
            });
            allocated += if round < 10 { 0 } else { taken.count_total };
        }
        assert_eq!((came, allocated), (2_000, 0), "{:?}", rig.kind);
    });
}

#[test]
fn where_a_source_is_not_to_be_had_another_is_named_with_the_reason() {
    // No address of this machine, and more than a ring can have.
    let config = PortConfig {
        listen_v4: Some(IpAddr::V4(Ipv4Addr::new(127, 44, 2, 8))),
        listen_v6: None,
        advertised_v4: None,
        advertised_v6: None,
        min: 9_600,
        max: 9_699,
        receive_buffer: 64 << 10,
        is_held: false,
    };
    let chosen = Chosen::of(Kind::PacketRing, &config, 2, usize::MAX >> 1).unwrap();
    assert_eq!((chosen.kind, chosen.sources.len()), (Kind::Sockets, 2));
    assert!(chosen.instead.is_some_and(|why| why.contains("packet_ring")));
}

#[test]
fn senders_at_one_port_are_told_apart_by_where_they_send_from_and_strangers_are_nobody() {
    each((9, 9_800), |mut rig| {
        for family in [Family::V4, Family::V6] {
            let sockets = rig.ports.open(family, false).unwrap();
            let senders: Vec<UdpSocket> = (0..5).map(|_| sender(family)).collect();
            let (mut places, mut seats) = (Places::new(3), Seats::default());
            // The last two have no seats.
            for (slot, sender) in senders.iter().enumerate().take(3) {
                let kind = places::Kind { tenant: TenantId::default(), family, rtcp_mux: false };
                let addresses = vec![sender.local_addr().unwrap()];
                let wanted = Wanted { kind, beside: Vec::new(), addresses: addresses.clone() };
                let found = places.sit(&wanted).map(|(pair, seat, ())| (pair, seat));
                let at = found.unwrap_or_else(|| places.open(&wanted, ()));
                let key = seats.sit(at, &addresses, Key::new(slot, 7, Which::Rtp));
                for (which, socket) in sockets.each() {
                    rig.source.watch(key.at(which), socket, 3).unwrap();
                }
            }
            for round in 0..20_u8 {
                for (n, sender) in (0..).zip(&senders) {
                    sender.send_to(&[round, n], sockets.told_rtp).unwrap();
                    sender.send_to(&[round, n], sockets.told_rtcp).unwrap();
                }
            }
            let mut got = BTreeMap::<_, Vec<_>>::new();
            let mut each = |key: Key, d: Datagram<'_>| {
                assert!(key.is_shared(), "{key:?}");
                let owner = seats.owner(key, d.from).map(|key| (key.slot(), key.stream(), key.which()));
                got.entry(owner).or_default().push(d.bytes.to_vec());
            };
            while rig.source.take(clock_wall(), &mut each).1 == Left::Something {}
            let of = |n: u8| (0..20).map(|round| vec![round, n]).collect::<Vec<_>>();
            for (slot, n) in (0..3).zip(0..) {
                for which in [Which::Rtp, Which::Rtcp] {
                    assert_eq!(got.remove(&Some((slot, 7, which))), Some(of(n)), "{:?}", rig.kind);
                }
            }
            let mut nobodys = got.remove(&None).unwrap();
            nobodys.sort_unstable();
            let mut expected = [of(3), of(3), of(4), of(4)].concat();
            expected.sort_unstable();
            assert_eq!((nobodys, got), (expected, BTreeMap::new()), "{:?}", rig.kind);
            rig.close(sockets);
        }
    });
}

#[test]
fn a_port_of_several_streams_may_bring_as_many_times_what_one_may() {
    each((10, 9_900), |mut rig| {
        let sender = sender(Family::V4);
        let sockets = rig.ports.open(Family::V4, false).unwrap();
        for (which, socket) in sockets.each() {
            rig.source.watch(Key::new(1, 0, which), socket, 4).unwrap();
        }
        // The share of a ring goes by the time since the last taking.
        assert_eq!(rig.take(), BTreeMap::new());
        (0..200).for_each(|_| _ = sender.send_to(b"media", sockets.told_rtp).unwrap());
        let (count, left) = rig.source.take(clock_wall(), &mut |_, _| {});
        assert_eq!((count, left), (200, Left::Nothing), "{:?}", rig.kind);
    });
}
