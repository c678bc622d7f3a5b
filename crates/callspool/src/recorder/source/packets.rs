//! Packets for the range of ports, in rings that the kernel fills, one for each address family. The sockets of the ports are
//! held: bound, so that nobody else gets them and nobody is told that they are closed, and closed to what comes.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use model::{Mono, WallTime};
use nix::ifaddrs::getifaddrs;
use rings::{Counts, Foretold, PacketRing, Sent};

use super::super::ports::PortConfig;
use super::{Coming, Datagram, Key, Left, wall};
use crate::clock;

/// How often it is looked at what found no room, and which addresses the machine has.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is told that something is not received which may be somebody else's.
const TELL_EVERY: Duration = Duration::from_secs(3_600);
/// Datagrams that a port may bring at a time, and in each millisecond since the time before: 13,000 packets a second. What
/// floods faster is lost, so that it does not keep others waiting.
const SHARE: u32 = 64;
const SHARE_PER_MS: u32 = 13;

struct Place {
    key: Key,
    /// What came before was sent to whoever had the port then. It is only looked at while the ring may hold such: the
    /// clock may be set.
    since: WallTime,
    /// After which taking it was watched.
    watched: u64,
    /// Streams whose port it is.
    streams: u32,
    brought: u32,
    taking: u64,
}

struct Family {
    ring: PacketRing,
    is_ipv6: bool,
    /// Sockets are bound to any address: only those of this machine count.
    is_any: bool,
    counts: Counts,
    /// The last taking after which the ring was empty.
    emptied: u64,
    /// By port, from the first of the range.
    places: Vec<Option<Place>>,
}

/// See the module.
pub(crate) struct Packets {
    families: Vec<Family>,
    min: u16,
    /// Addresses of this machine, where sockets are bound to any.
    addresses: Vec<IpAddr>,
    looked: Mono,
    taken: Mono,
    takings: u64,
    flooded: u64,
    missed: u64,
    /// When it was told of what is not received.
    told: Option<Mono>,
}

impl Packets {
    /// Rings for one of so many threads, among which the pairs of ports are dealt out.
    ///
    /// # Errors
    /// When the process may not (`CAP_NET_RAW`), or there is no memory.
    pub(super) fn new(config: &PortConfig, part: u16, parts: u16, octets: usize) -> io::Result<Self> {
        let family = |address: IpAddr| {
            let ports = rings::Ports { address, min: config.min, max: config.max, parts, part };
            let ring = PacketRing::new(&ports, octets)?;
            let places = (config.min..=config.max).map(|_| None).collect();
            let (is_ipv6, is_any) = (address.is_ipv6(), address.is_unspecified());
            Ok(Family { ring, is_ipv6, is_any, counts: Counts::default(), emptied: 0, places })
        };
        let families = [config.listen_v4, config.listen_v6].into_iter().flatten().map(family);
        Ok(Self {
            families: families.collect::<io::Result<_>>()?,
            min: config.min,
            addresses: addresses(),
            looked: clock::mono(),
            taken: clock::mono(),
            takings: 0,
            flooded: 0,
            missed: 0,
            told: None,
        })
    }

    pub(super) fn watch(&mut self, key: Key, socket: &UdpSocket, streams: u32) -> io::Result<()> {
        let (local, watched) = (socket.local_addr()?, self.takings);
        let place = self.place(local).ok_or(io::ErrorKind::AddrNotAvailable)?;
        match place {
            Some(place) => (place.key, place.streams) = (key, streams),
            None => {
                let since = clock::wall();
                *place = Some(Place { key, since, watched, streams, brought: 0, taking: 0 });
            }
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, socket: &UdpSocket) {
        if let Some(place) = socket.local_addr().ok().and_then(|local| self.place(local)) {
            *place = None;
        }
    }

    fn place(&mut self, local: SocketAddr) -> Option<&mut Option<Place>> {
        let family = self.families.iter_mut().find(|f| f.is_ipv6 == local.is_ipv6())?;
        family.places.get_mut(usize::from(local.port().checked_sub(self.min)?))
    }

    pub(super) fn take(&mut self, each: &mut impl FnMut(Coming<'_>)) -> (u64, Left) {
        let now = clock::mono();
        if now.since(self.looked) >= LOOK {
            self.look(now);
        }
        self.takings += 1;
        let ms = u32::try_from(now.since(self.taken).as_millis()).unwrap_or(u32::MAX);
        let share = SHARE.saturating_add(ms.saturating_mul(SHARE_PER_MS));
        self.taken = now;
        let Self { families, min, addresses, takings, flooded, .. } = self;
        let (mut count, mut left) = (0, Left::Nothing);
        for family in families {
            let Family { ring, places, is_any, emptied, .. } = family;
            let taken = ring.take_foretold(|coming| {
                let index = |port: u16| port.checked_sub(*min).map(usize::from);
                let Sent { at, from, to, bytes } = match coming {
                    Foretold::Now(sent) => sent,
                    Foretold::Soon(port) => {
                        let place = index(port).and_then(|i| places.get(i)?.as_ref());
                        place.into_iter().for_each(|place| each(Coming::Soon(place.key)));
                        return;
                    }
                };
                let index = index(to.port());
                let Some(place) = index.and_then(|i| places.get_mut(i)?.as_mut()) else { return };
                let at = wall(at);
                let is_late = *emptied <= place.watched && at < place.since;
                if is_late || (*is_any && !addresses.is_empty() && !addresses.contains(&to.ip())) {
                    return;
                }
                if place.taking != *takings {
                    (place.taking, place.brought) = (*takings, 0);
                }
                place.brought += 1;
                if place.brought > share.saturating_mul(place.streams) {
                    *flooded += 1;
                    return;
                }
                count += 1;
                each(Coming::Now(place.key, Datagram { at, from, bytes }));
            });
            if taken.is_all {
                *emptied = *takings;
            } else {
                left = Left::Something;
            }
        }
        (count, left)
    }

    /// Datagrams that were lost before they were read, since it was asked last.
    pub(super) fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    fn look(&mut self, now: Mono) {
        self.looked = now;
        self.addresses = addresses();
        let mut lost = std::mem::take(&mut self.flooded);
        for family in &mut self.families {
            let (before, counts) = (family.counts, family.ring.counts());
            lost += counts.lost - before.lost;
            let [fragments, damaged] = [counts.fragments - before.fragments, counts.damaged - before.damaged];
            let is_due = self.told.is_none_or(|told| now.since(told) >= TELL_EVERY);
            if fragments + damaged > 0 && is_due {
                self.told = Some(now);
                tracing::warn!(
                    "{fragments} fragments and {damaged} damaged packets were not received: the packet ring takes whole \
                     packets only; have clients send smaller ones, or set media.source = \"sockets\""
                );
            }
            family.counts = counts;
        }
        if lost > 0 {
            self.missed += lost;
            tracing::error!(
                "{lost} packets were lost, as the packet ring was full or a port flooded; raise media.ring or media.threads"
            );
        }
    }
}

/// The addresses of this machine.
fn addresses() -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    all.filter_map(|interface| ip(interface.address?)).collect()
}

/// Whether the machine lets this process have one; nothing is kept.
///
/// # Errors
/// Why not.
pub(super) fn possible(config: &PortConfig) -> io::Result<()> {
    // A block's worth of memory.
    Packets::new(config, 0, 1, 1).map(drop)
}
