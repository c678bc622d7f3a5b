//! An IP packet with a UDP datagram in it, as it came from the network (RFC 791, RFC 8200, RFC 768): nothing that it says
//! of itself is believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const UDP: u8 = 17;
const FRAGMENT_HEADER: u8 = 44;
const UDP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;

/// Why a packet is not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is a part of one; they are not put together here.
    Fragment,
    /// Lengths that cannot be, or no UDP.
    Malformed,
    /// A checksum that is wrong.
    Checksum,
}

/// Whether the checksum of UDP is to be looked at: not where the network card has, nor where a packet never left this
/// machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksums {
    Done,
    ToCheck,
}

/// A datagram: from, to, and what is in it, empty where the packet was longer than what is there of it.
pub(crate) type Datagram<'a> = (SocketAddr, SocketAddr, &'a [u8]);

/// The port that a packet is for, as it seems: nothing is checked.
pub(crate) fn port(packet: &[u8]) -> Option<u16> {
    let header = match packet.first()? >> 4 {
        4 => usize::from(packet.first()? & 0xf) * 4,
        _ => IPV6_HEADER,
    };
    packet.get(header + 2..header + 4).map(|port| half(port, 0))
}

/// Reads a packet of which `length` octets came.
pub(crate) fn datagram(packet: &[u8], length: usize, checksums: Checksums) -> Result<Datagram<'_>, Refused> {
    let (from, to, header, total) = match packet.first().ok_or(Refused::Malformed)? >> 4 {
        4 => ipv4(packet)?,
        6 => ipv6(packet)?,
        _ => return Err(Refused::Malformed),
    };
    let head = packet.get(header..header + UDP_HEADER).ok_or(Refused::Malformed)?;
    let [from_port, to_port, size, sum] = [0, 2, 4, 6].map(|at| half(head, at));
    let size = usize::from(size);
    if total > length || size < UDP_HEADER || header + size > total {
        return Err(Refused::Malformed);
    }
    let (from, to) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    // What is not all here was longer than a frame of the ring.
    let Some(datagram) = packet.get(header..header + size) else { return Ok((from, to, &[])) };
    let has_sum = sum != 0 || from.is_ipv6();
    if checksums == Checksums::ToCheck
        && has_sum
        && folded(pseudo(&from, &to, size) + sum_of(datagram)) != 0xffff
    {
        return Err(Refused::Checksum);
    }
    Ok((from, to, datagram.get(UDP_HEADER..).unwrap_or_default()))
}

/// Addresses, and where the header and the packet end.
type Head = (IpAddr, IpAddr, usize, usize);

fn ipv4(packet: &[u8]) -> Result<Head, Refused> {
    let header = usize::from(packet.first().ok_or(Refused::Malformed)? & 0xf) * 4;
    let head = packet.get(..header).filter(|h| h.len() >= 20).ok_or(Refused::Malformed)?;
    if half(head, 6) & 0x3fff != 0 {
        return Err(Refused::Fragment);
    }
    if head.get(9) != Some(&UDP) {
        return Err(Refused::Malformed);
    }
    if folded(sum_of(head)) != 0xffff {
        return Err(Refused::Checksum);
    }
    let address = |at: usize| {
        let octets = head.get(at..at + 4).and_then(|a| <[u8; 4]>::try_from(a).ok());
        octets.map(|a| IpAddr::V4(Ipv4Addr::from(a))).ok_or(Refused::Malformed)
    };
    Ok((address(12)?, address(16)?, header, usize::from(half(head, 2))))
}

/// Without headers between, which no sender of media makes.
fn ipv6(packet: &[u8]) -> Result<Head, Refused> {
    let head = packet.get(..IPV6_HEADER).ok_or(Refused::Malformed)?;
    match head.get(6) {
        Some(&UDP) => {}
        Some(&FRAGMENT_HEADER) => return Err(Refused::Fragment),
        _ => return Err(Refused::Malformed),
    }
    let address = |at: usize| {
        let octets = head.get(at..at + 16).and_then(|a| <[u8; 16]>::try_from(a).ok());
        octets.map(|a| IpAddr::V6(Ipv6Addr::from(a))).ok_or(Refused::Malformed)
    };
    Ok((address(8)?, address(24)?, IPV6_HEADER, IPV6_HEADER + usize::from(half(head, 4))))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|h| h.try_into().ok()).map(u16::from_be_bytes).unwrap_or_default()
}

/// The sum of RFC 1071, not folded: 64 KiB fit.
fn sum_of(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks_exact(2);
    let last = pairs.remainder().first().map_or(0, |octet| u64::from(*octet) << 8);
    pairs.fold(last, |sum, pair| sum + u64::from(half(pair, 0)))
}

/// Of what is summed beside the datagram.
fn pseudo(from: &SocketAddr, to: &SocketAddr, size: usize) -> u64 {
    let of = |address: IpAddr| match address {
        IpAddr::V4(a) => sum_of(&a.octets()),
        IpAddr::V6(a) => sum_of(&a.octets()),
    };
    of(from.ip()) + of(to.ip()) + u64::from(UDP) + size as u64
}

fn folded(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet that is right.
    fn packet(from: &str, to: &str, bytes: &[u8]) -> Vec<u8> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let size = u16::try_from(UDP_HEADER + bytes.len()).unwrap();
        let mut udp = Vec::new();
        for half in [from.port(), to.port(), size, 0] {
            udp.extend(half.to_be_bytes());
        }
        udp.extend(bytes);
        let sum = !u16::try_from(folded(pseudo(&from, &to, udp.len()) + sum_of(&udp))).unwrap();
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut packet = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut head = vec![0x46, 0, 0, 0, 0, 1, 0x40, 0, 64, UDP, 0, 0];
                head.extend([from.octets(), to.octets(), [1, 1, 1, 0]].concat());
                let total = u16::try_from(head.len()).unwrap() + size;
                head[2..4].copy_from_slice(&total.to_be_bytes());
                let sum = !u16::try_from(folded(sum_of(&head))).unwrap();
                head[10..12].copy_from_slice(&sum.to_be_bytes());
                head
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut head = vec![0x60, 0, 0, 0];
                head.extend(size.to_be_bytes());
                head.extend([UDP, 64]);
                head.extend([from.octets(), to.octets()].concat());
                head
            }
            _ => unreachable!(),
        };
        packet.extend(udp);
        packet
    }

    fn read(packet: &[u8]) -> Result<Datagram<'_>, Refused> {
        datagram(packet, packet.len(), Checksums::ToCheck)
    }

    const V4: [&str; 2] = ["192.0.2.1:4000", "192.0.2.2:16384"];
    const V6: [&str; 2] = ["[2001:db8::1]:4000", "[2001:db8::2]:16385"];

    #[test]
    fn what_is_right_is_read_with_options_too() {
        for [from, to] in [V4, V6] {
            for bytes in [&b""[..], b"a", b"ab", b"abc"] {
                let packet = packet(from, to, bytes);
                assert_eq!(read(&packet), Ok((from.parse().unwrap(), to.parse().unwrap(), bytes)));
                // A frame of Ethernet has 46 octets at least.
                let padded = [packet, vec![0; 30]].concat();
                assert_eq!(read(&padded).map(|d| d.2), Ok(bytes));
            }
        }
    }

    #[test]
    fn any_octet_that_is_changed_is_refused_or_somebody_elses() {
        for [from, to] in [V4, V6] {
            let whole = packet(from, to, b"media");
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 0x10;
                // Of IPv6 class, flow and hop limit are in no sum.
                let is_summed = from.starts_with('1') || !(1..4).contains(&at) && at != 7;
                assert_eq!(read(&changed).is_err(), is_summed, "{from} {at}");
            }
            for length in 0..whole.len() {
                assert_eq!(read(&whole[..length]), Err(Refused::Malformed), "{from} {length}");
            }
        }
    }

    #[test]
    fn fragments_are_refused_and_what_is_not_all_here_is_nothing() {
        let mut fragment = packet(V4[0], V4[1], b"media");
        for bits in [0x20, 0x01] {
            fragment[6] = bits;
            assert_eq!(read(&fragment), Err(Refused::Fragment));
        }
        let mut fragment = packet(V6[0], V6[1], b"media");
        fragment[6] = FRAGMENT_HEADER;
        assert_eq!(read(&fragment), Err(Refused::Fragment));
        let long = packet(V4[0], V4[1], &[7; 3_000]);
        let cut = datagram(&long[..1_900], long.len(), Checksums::ToCheck);
        assert_eq!(cut.map(|d| d.2), Ok(&[][..]));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let whole = packet(V4[0], V4[1], b"media");
        for (at, value) in [(0, 0x45), (0, 0x4f), (0, 0x50), (2, 0xff), (3, 20), (28, 0xff), (29, 7)] {
            let mut changed = whole.clone();
            changed[at] = value;
            assert!(datagram(&changed, changed.len(), Checksums::Done).is_err(), "{at}");
        }
    }
}
