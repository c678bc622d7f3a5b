//! The sidecar: packets that no track can hold, as a capture that Wireshark opens.
//!
//! Telephone-event, comfort noise, payload types that SDP never named and codecs that no player knows are kept
//! as whole RTP packets. The format is nanosecond pcap, LINKTYPE_RAW; the IP and UDP heads are made up from
//! true addresses and ports, because only the payload of the datagram reached us.
//!
//! ```text
//! file head, 24 octets, little-endian      record
//!  0  a1b23c4d  nanosecond magic  u32      0   seconds         u32
//!  4  2, 4      version           u16 ×2   4   nanoseconds     u32
//!  8  0, 0      zone, sigfigs     u32 ×2   8   captured length u32
//! 16  65,535    snap length       u32      12  original length u32
//! 20  101       LINKTYPE_RAW      u32      16  IPv4 (20) or IPv6 (40), UDP (8), RTP
//! ```

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::WallTime;

const MAGIC_NS: u32 = 0xA1B2_3C4D;
const LINKTYPE_RAW: u32 = 101;
/// 65,535: the longest IP packet.
const SNAP_LENGTH: u32 = 65_535;
const RECORD_HEAD: usize = 16;
const IPV4_HEAD: usize = 20;
const IPV6_HEAD: usize = 40;
const UDP_HEAD: usize = 8;
/// 65,475: what an IPv6 packet with a UDP head holds without jumbograms. UDP over IPv4 could hold 32 more,
/// which no RTP sender uses; a longer payload is refused and counted.
pub const PAYLOAD_MAX: usize = 65_535 - IPV6_HEAD - UDP_HEAD - 12;
/// The length of the file head.
pub const HEAD_BYTES: u64 = 24;

/// The file head.
#[must_use]
pub fn head() -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    out.extend_from_slice(&MAGIC_NS.to_le_bytes());
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&4_u16.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&SNAP_LENGTH.to_le_bytes());
    out.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
    out
}

/// Adds a UDP packet to `out`. False, and nothing added, when it is too long to be one.
///
/// When source and destination are of different families, the destination's address is unspecified in the
/// source's family: the port is what matters.
pub fn put(out: &mut Vec<u8>, at: WallTime, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
    if payload.len() > PAYLOAD_MAX {
        return false;
    }
    let udp_length = u16::try_from(UDP_HEAD + payload.len()).unwrap_or(u16::MAX);
    let (source, destination) = (from.ip().to_canonical(), to.ip().to_canonical());
    let ip_head = if source.is_ipv4() { IPV4_HEAD } else { IPV6_HEAD };
    put_record_head(out, at, ip_head + usize::from(udp_length));
    let sum = match source {
        IpAddr::V4(source) => {
            let destination = match destination {
                IpAddr::V4(d) => d,
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            };
            put_ipv4(out, source, destination, udp_length);
            sum(0, &[source.octets(), destination.octets()].concat())
        }
        IpAddr::V6(source) => {
            let destination = match destination {
                IpAddr::V6(d) => d,
                IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
            };
            put_ipv6(out, source, destination, udp_length);
            sum(0, &[source.octets(), destination.octets()].concat())
        }
    };
    put_udp(out, sum, from.port(), to.port(), udp_length, payload);
    true
}

fn put_record_head(out: &mut Vec<u8>, at: WallTime, length: usize) {
    let seconds = u32::try_from(at.0.div_euclid(1_000_000_000)).unwrap_or(0);
    let nanos = u32::try_from(at.0.rem_euclid(1_000_000_000)).unwrap_or(0);
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    for field in [seconds, nanos, length, length] {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

/// RFC 791: no options, not fragmented.
fn put_ipv4(out: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, udp_length: u16) {
    let begin = out.len();
    let total = udp_length.saturating_add(20);
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&destination.octets());
    let checksum = !sum(0, &out[begin..]);
    out[begin + 10..begin + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 8200: no extension headers.
fn put_ipv6(out: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr, udp_length: u16) {
    out.extend_from_slice(&[0x60, 0, 0, 0]);
    out.extend_from_slice(&udp_length.to_be_bytes());
    out.extend_from_slice(&[17, 64]);
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&destination.octets());
}

/// RFC 768. `addresses` is the sum over the pseudo head's addresses.
fn put_udp(out: &mut Vec<u8>, addresses: u16, from: u16, to: u16, length: u16, payload: &[u8]) {
    let begin = out.len();
    for field in [from, to, length, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(payload);
    let pseudo = sum(addresses, &[0, 17, length.to_be_bytes()[0], length.to_be_bytes()[1]]);
    // A checksum of zero would mean "none" (RFC 768).
    let checksum = match !sum(pseudo, &out[begin..]) {
        0 => 0xFFFF,
        c => c,
    };
    out[begin + 6..begin + 8].copy_from_slice(&checksum.to_be_bytes());
}

/// The ones' complement sum of RFC 1071, going on from `from`.
fn sum(from: u16, bytes: &[u8]) -> u16 {
    let mut total = u64::from(from);
    for pair in bytes.chunks(2) {
        total += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while total > 0xFFFF {
        total = (total & 0xFFFF) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(0)
}

/// A packet of a sidecar, as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SidecarPacket {
    /// When it arrived.
    pub at: WallTime,
    /// Its source.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// The payload of the datagram: an RTP packet.
    pub payload: Vec<u8>,
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The input failed.
    #[error("cannot read the sidecar")]
    Io(#[from] io::Error),
    /// Not the head that we write.
    #[error("no nanosecond pcap of raw IP in little-endian order")]
    Head,
}

/// What a pass over a sidecar found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PcapScan {
    /// Whole packets.
    pub packets: u64,
    /// Octets that are whole: where a torn file is to be cut.
    pub whole_bytes: u64,
    /// Whether octets follow that are no whole packet.
    pub torn: bool,
}

/// Reads a sidecar packet by packet.
pub struct SidecarReader<R> {
    input: R,
    scan: PcapScan,
}

impl<R: Read> SidecarReader<R> {
    /// Reads the file head.
    pub fn new(mut input: R) -> Result<Self, PcapError> {
        let mut head_bytes = Vec::new();
        input.by_ref().take(HEAD_BYTES).read_to_end(&mut head_bytes)?;
        if head_bytes != head() {
            return Err(PcapError::Head);
        }
        Ok(Self { input, scan: PcapScan { packets: 0, whole_bytes: HEAD_BYTES, torn: false } })
    }

    /// The next packet; none at the end, and where the file is torn or damaged.
    pub fn next_packet(&mut self) -> io::Result<Option<SidecarPacket>> {
        if self.scan.torn {
            return Ok(None);
        }
        let mut record = Vec::new();
        self.input.by_ref().take(RECORD_HEAD as u64).read_to_end(&mut record)?;
        if record.is_empty() {
            return Ok(None);
        }
        self.scan.torn = true;
        let [seconds, nanos, length, original] = fields(&record);
        if record.len() < RECORD_HEAD || length > SNAP_LENGTH || length != original || nanos >= 1_000_000_000
        {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.input.by_ref().take(length.into()).read_to_end(&mut bytes)?;
        let at = WallTime(i64::from(seconds) * 1_000_000_000 + i64::from(nanos));
        let packet = (bytes.len() == length as usize).then(|| unwrap(at, &bytes)).flatten();
        if packet.is_some() {
            self.scan.packets += 1;
            self.scan.whole_bytes += (RECORD_HEAD + bytes.len()) as u64;
            self.scan.torn = false;
        }
        Ok(packet)
    }

    /// What was found so far.
    pub const fn scan(&self) -> PcapScan {
        self.scan
    }
}

/// Scans a sidecar from its beginning.
pub fn scan(input: impl Read) -> Result<PcapScan, PcapError> {
    let mut reader = SidecarReader::new(input)?;
    while reader.next_packet()?.is_some() {}
    Ok(reader.scan())
}

fn fields(record: &[u8]) -> [u32; 4] {
    let mut out = [0; 4];
    for (field, octets) in out.iter_mut().zip(record.chunks_exact(4)) {
        *field = u32::from_le_bytes([octets[0], octets[1], octets[2], octets[3]]);
    }
    out
}

fn unwrap(at: WallTime, bytes: &[u8]) -> Option<SidecarPacket> {
    let (from, to, udp): (IpAddr, IpAddr, &[u8]) = match bytes.first()? >> 4 {
        4 => {
            let (head, udp) = bytes.split_at_checked(IPV4_HEAD)?;
            (ipv4(head, 12)?.into(), ipv4(head, 16)?.into(), udp)
        }
        6 => {
            let (head, udp) = bytes.split_at_checked(IPV6_HEAD)?;
            (ipv6(head, 8)?.into(), ipv6(head, 24)?.into(), udp)
        }
        _ => return None,
    };
    let (head, payload) = udp.split_at_checked(UDP_HEAD)?;
    let port = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
    let packet = SidecarPacket {
        at,
        from: SocketAddr::new(from, port(0)),
        to: SocketAddr::new(to, port(2)),
        payload: payload.to_vec(),
    };
    (usize::from(port(4)) == udp.len()).then_some(packet)
}

fn ipv4(head: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*head.get(at..)?.first_chunk::<4>()?))
}

fn ipv6(head: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*head.get(at..)?.first_chunk::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    const V4: &str = "192.0.2.7:16384";
    const V6: &str = "[2001:db8::7]:16384";

    fn capture(packets: &[(&str, &str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = head();
        for (n, (from, to, payload)) in packets.iter().enumerate() {
            let at = WallTime(1_795_166_100_000_000_123 + n as i64);
            assert!(put(&mut bytes, at, from.parse().unwrap(), to.parse().unwrap(), payload));
        }
        bytes
    }

    #[test]
    fn a_sum_over_head_and_checksum_is_all_ones() {
        for (from, to, payload) in [
            (V4, "198.51.100.1:40000", vec![1, 2, 3]),
            (V4, "0.0.0.0:40000", vec![0xFF; 172]),
            (V6, "[2001:db8::1]:40000", vec![7; 12]),
            (V4, "[2001:db8::1]:40000", vec![7; 12]),
        ] {
            let bytes = capture(&[(from, to, payload)]);
            let ip = &bytes[24 + 16..];
            let (addresses, udp) = if ip[0] >> 4 == 4 {
                assert_eq!(sum(0, &ip[..20]), 0xFFFF, "IPv4 head");
                (&ip[12..20], &ip[20..])
            } else {
                (&ip[8..40], &ip[40..])
            };
            let pseudo = sum(sum(0, addresses), &[0, 17, udp[4], udp[5]]);
            assert_eq!(sum(pseudo, udp), 0xFFFF, "{from} -> {to}");
        }
    }

    #[test]
    fn mapped_addresses_are_what_they_map() {
        let bytes = capture(&[("[::ffff:192.0.2.7]:9", "[::]:8", vec![5])]);
        let packet = SidecarReader::new(&bytes[..]).unwrap().next_packet().unwrap().unwrap();
        assert_eq!(packet.from, "192.0.2.7:9".parse().unwrap());
        assert_eq!(packet.to, "0.0.0.0:8".parse().unwrap());
    }

    #[test]
    fn what_is_too_long_for_a_packet_is_refused() {
        let mut out = Vec::new();
        let (from, to) = (V6.parse().unwrap(), V6.parse().unwrap());
        assert!(!put(&mut out, WallTime(0), from, to, &vec![0; PAYLOAD_MAX + 1]));
        assert!(out.is_empty());
        assert!(put(&mut out, WallTime(0), from, to, &vec![0; PAYLOAD_MAX]));
    }

    #[test]
    fn other_captures_are_refused() {
        let mut micros = head();
        micros[0..4].copy_from_slice(&0xA1B2_C3D4_u32.to_le_bytes());
        for bytes in [&b""[..], b"RIFF", &micros] {
            assert!(matches!(scan(bytes), Err(PcapError::Head)));
        }
    }

    proptest! {
        #[test]
        fn a_cut_leaves_whole_packets(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..12),
            at in any::<prop::sample::Index>(),
        ) {
            let packets: Vec<_> = payloads.iter().map(|p| (V4, "198.51.100.1:40000", p.clone())).collect();
            let bytes = capture(&packets);
            let cut = 24 + at.index(bytes.len() - 24 + 1);
            let mut reader = SidecarReader::new(&bytes[..cut]).unwrap();
            let mut read = Vec::new();
            while let Some(p) = reader.next_packet().unwrap() {
                read.push(p.payload);
            }
            prop_assert!(payloads.starts_with(&read));
            let whole = usize::try_from(reader.scan().whole_bytes).unwrap();
            prop_assert_eq!(reader.scan().torn, whole < cut);
            prop_assert!(!scan(&bytes[..whole]).unwrap().torn);
            if cut == bytes.len() {
                prop_assert_eq!(read, payloads);
            }
        }

        #[test]
        fn mutated_captures_never_panic(
            hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = capture(&[(V4, V4, vec![1; 50]), (V6, V6, vec![2; 60])]);
            for (at, octet) in hits {
                let at = at.index(bytes.len());
                bytes[at] = octet;
            }
            let _ = scan(&bytes[..]);
        }
    }
}
