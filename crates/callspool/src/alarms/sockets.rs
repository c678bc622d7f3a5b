//! What the kernel tells about our UDP sockets, in `/proc/self/net/udp` and `udp6` (proc_net_udp, one line a socket): which
//! ports are bound, and how many datagrams it dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;
use crate::recorder::Kind;

/// The table of each family. Below `self`, where units that see only processes (ProcSubset=pid) have it too.
const TABLES: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];
/// Octets read of a table at most: a line has about 130 (IPv4) or 180 (IPv6), and there are 65,536 ports.
const TABLE_MAX: u64 = 16 << 20;
/// Octets read at once.
const READ: usize = 64 << 10;

/// Which sockets are ours, by their addresses.
pub(crate) struct OurSockets {
    media: Vec<IpAddr>,
    /// First and last.
    range: (u16, u16),
    sip: Vec<SocketAddr>,
    /// Whether sockets only hold the media ports, and what comes to them is read elsewhere.
    holds_only: bool,
    /// Drops of each socket that has any, by its inode, as of the last look.
    dropped: BTreeMap<u64, u64>,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SocketFigures {
    /// Pairs of media ports in use, in the family that has more, and pairs in the range.
    pub(super) pairs: (u64, u64),
    /// Datagrams of ours dropped since the last look; those of a socket that was closed since are not known.
    pub(super) dropped: u64,
}

/// A line of a table.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    local: SocketAddr,
    inode: u64,
    drops: u64,
}

impl OurSockets {
    /// Of the configuration. Where sockets hold ports alone, they drop all that comes, which is no loss.
    pub(crate) fn of(config: &Config, source: Kind) -> Self {
        let m = &config.media;
        let listen = [m.listen_v4.map(IpAddr::V4), m.listen_v6.map(IpAddr::V6)];
        Self {
            media: listen.into_iter().flatten().collect(),
            range: (m.port_min, m.port_max),
            sip: config.sip.udp.clone(),
            holds_only: source == Kind::PacketRing,
            dropped: BTreeMap::new(),
        }
    }

    /// Reads the tables.
    pub(super) fn look(&mut self) -> io::Result<SocketFigures> {
        let mut tables = Vec::new();
        for path in TABLES {
            match File::open(path) {
                Ok(file) => tables.push(BufReader::with_capacity(READ, file.take(TABLE_MAX))),
                // A kernel without IPv6.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !tables.is_empty() => {}
                Err(e) => return Err(e),
            }
        }
        self.read(tables)
    }

    fn read(&mut self, tables: impl IntoIterator<Item = impl BufRead>) -> io::Result<SocketFigures> {
        let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
        let (mut dropped, mut lost) = (BTreeMap::new(), 0_u64);
        for table in tables {
            for line in table.lines() {
                let Some(Line { local, inode, drops }) = parse(&line?) else { continue };
                if self.takes_a_port(local) {
                    let pairs = if local.is_ipv4() { &mut v4 } else { &mut v6 };
                    pairs.insert(local.port() / 2);
                }
                if drops > 0 && self.is_ours(local) {
                    let before = self.dropped.get(&inode).copied().unwrap_or(0);
                    // The table changes while it is read: a socket may be in it twice.
                    if dropped.insert(inode, drops).is_none() {
                        lost = lost.saturating_add(drops.saturating_sub(before));
                    }
                }
            }
        }
        self.dropped = dropped;
        let all = u64::from(self.range.1.saturating_sub(self.range.0)) / 2 + 1;
        Ok(SocketFigures { pairs: (v4.len().max(v6.len()) as u64, all), dropped: lost })
    }

    /// Whether a media port cannot be bound while this is, ours or not.
    fn takes_a_port(&self, local: SocketAddr) -> bool {
        let ip = local.ip();
        let meets = |listen: &IpAddr| {
            listen.is_ipv4() == ip.is_ipv4()
                && (*listen == ip || listen.is_unspecified() || ip.is_unspecified())
        };
        (self.range.0..=self.range.1).contains(&local.port()) && self.media.iter().any(meets)
    }

    fn is_ours(&self, local: SocketAddr) -> bool {
        let in_range = (self.range.0..=self.range.1).contains(&local.port());
        let is_read = in_range && !self.holds_only && self.media.contains(&local.ip());
        is_read || self.sip.contains(&local)
    }
}

/// The heading, and whatever else is no line of a socket, is none.
fn parse(line: &str) -> Option<Line> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.nth(7)?.parse().ok()?;
    let drops = fields.nth(2)?.parse().ok()?;
    Some(Line { local: SocketAddr::new(address_of(address)?, port), inode, drops })
}

/// Words of 32 bits as the machine has them, of octets in the order of the network.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for (n, to) in octets.chunks_exact_mut(4).enumerate() {
                to.copy_from_slice(&word(8 * n)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn ours_of(media: &str, range: (u16, u16), sip: &[&str]) -> OurSockets {
        OurSockets {
            media: vec![media.parse().unwrap()],
            range,
            sip: sip.iter().map(|s| s.parse().unwrap()).collect(),
            holds_only: false,
            dropped: BTreeMap::new(),
        }
    }

    fn line(local: &str, inode: u64, drops: u64) -> String {
        format!(
            "  1: {local} 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 {inode} 2 \
             0000000000000000 {drops}\n"
        )
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn pairs_and_drops_are_counted_for_our_addresses_only() {
        let mut ours = ours_of("127.0.0.1", (20_000, 20_007), &["127.0.0.1:5060"]);
        let table = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n".to_owned(),
            line("0100007F:4E20", 1, 5), // 20000
            line("0100007F:4E21", 2, 0), // its RTCP
            line("00000000:4E24", 3, 9), // another program, on all addresses
            line("0200007F:4E26", 4, 9), // another address
            line("0100007F:13C4", 5, 2), // SIP
            line("0100007F:4E28", 6, 9), // beyond the range
            "garbage\n".to_owned(),
        ]
        .concat();
        let first = ours.read([table.as_bytes()]).unwrap();
        assert_eq!(first, SocketFigures { pairs: (2, 4), dropped: 7 });
        assert_eq!(
            ours.read([table.as_bytes()]).unwrap().dropped,
            0,
            "what was counted is not counted again"
        );
        let mut holding =
            OurSockets { holds_only: true, ..ours_of("127.0.0.1", (20_000, 20_007), &["127.0.0.1:5060"]) };
        let held = holding.read([table.as_bytes()]).unwrap();
        assert_eq!(
            held,
            SocketFigures { pairs: (2, 4), dropped: 2 },
            "who only holds a port drops all that comes"
        );
        let later = [line("0100007F:4E20", 1, 6), line("0100007F:4E22", 7, 3)].concat();
        assert_eq!(ours.read([later.as_bytes()]).unwrap(), SocketFigures { pairs: (2, 4), dropped: 4 });
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_of_both_families_are_read() {
        assert_eq!(address_of("0100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(address_of("00000000000000000000000001000000"), Some("::1".parse().unwrap()));
        assert_eq!(address_of("B80D0120000000000000000001000000"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!((address_of("0100"), address_of("0100007é")), (None, None));
    }

    /// As the kernel does it: a buffer that nobody reads overflows.
    #[test]
    fn the_kernel_tells_of_a_buffer_that_overflowed() {
        let socket = UdpSocket::bind("127.44.0.2:0").unwrap();
        let at = socket.local_addr().unwrap();
        let mut ours = ours_of("127.44.0.2", (at.port(), at.port()), &[]);
        assert_eq!(ours.look().unwrap(), SocketFigures { pairs: (1, 1), dropped: 0 });
        let from = UdpSocket::bind("127.44.0.2:0").unwrap();
        for _ in 0..2_000 {
            from.send_to(&[0; 1_000], at).unwrap();
        }
        let seen = ours.look().unwrap().dropped;
        assert!((1..2_000).contains(&seen), "{seen}");
        assert_eq!(ours.look().unwrap().dropped, 0);
    }
}
