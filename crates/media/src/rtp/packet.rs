//! One RTP packet, read.

use std::net::SocketAddr;

use model::WallTime;
use rtp_types::RtpPacket;

use crate::srtp::Head;

/// A valid RTP packet (RFC 3550 section 5.1) and how it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(super) bytes: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) arrival: WallTime,
    pub(super) from: SocketAddr,
}

impl<'a> Packet<'a> {
    #[inline]
    pub(super) fn read(arrival: WallTime, from: SocketAddr, bytes: &'a [u8]) -> Option<Self> {
        let packet = RtpPacket::parse(bytes).ok()?;
        let at = packet.payload_offset();
        let payload = bytes.get(at..at + packet.payload_len())?;
        Some(Self {
            bytes,
            payload,
            payload_type: packet.payload_type(),
            sequence: packet.sequence_number(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
            arrival,
            from,
        })
    }

    /// The same by its header alone, with all that is behind it as payload: for whoever hands packets on. Whether what
    /// may be encrypted is padded, nobody can tell.
    #[inline]
    pub(crate) fn by_header(arrival: WallTime, from: SocketAddr, bytes: &'a [u8]) -> Option<Self> {
        let head = Head::read(bytes)?;
        let fixed = bytes.first_chunk::<8>()?;
        Some(Self {
            bytes,
            payload: bytes.get(head.length..)?,
            payload_type: fixed[1] & 0x7f,
            sequence: head.sequence,
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: head.ssrc,
            arrival,
            from,
        })
    }
}

/// Whether a datagram on an RTP port is RTCP: packet types 192 to 223 are kept free for it (RFC 5761 section 4).
#[inline]
pub(crate) fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[0] >> 6 == 2 && (192..=223).contains(&bytes[1])
}

/// The signed way from one RTP timestamp to another, across the wrap.
#[inline]
pub(super) fn ticks_between(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from).cast_signed())
}

/// Ticks of an RTP clock in microseconds, rounded down.
#[inline]
pub(super) fn ticks_to_us(ticks: i64, clock: u32) -> i64 {
    ticks.saturating_mul(1_000_000).div_euclid(i64::from(clock.max(1)))
}

/// Nanoseconds in ticks of an RTP clock. Beyond 100 s it is the sign that matters, not the value.
#[inline]
pub(super) fn ns_to_ticks(ns: i64, clock: u32) -> i64 {
    let ns = ns.clamp(-100_000_000_000, 100_000_000_000);
    // At most 10^11 × 4·10^9: within 128 bits always, within 64 for clocks up to 90 kHz.
    match ns.checked_mul(i64::from(clock)) {
        Some(product) => product / 1_000_000_000,
        None => ns / 1_000 * i64::from(clock) / 1_000_000,
    }
}
