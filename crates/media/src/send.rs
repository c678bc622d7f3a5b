//! Sending, for test callers: packets with a fixed packet time, and sender reports. A recorder sends no media.

use model::WallTime;
use rtcp_types::{Bye, Compound, RtcpPacketWriterExt, Sdes, SdesChunk, SdesItem, SenderReport};

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX_S: u64 = 2_208_988_800;
/// Marker bit of the second octet.
const MARKER: u8 = 0x80;
/// A sender report with a description or a goodbye fits well.
const REPORT_MAX: usize = 512;

/// How a sender begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sending {
    /// Its source id.
    pub ssrc: u32,
    /// The payload type of its media.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Media per packet, in milliseconds.
    pub ptime_ms: u32,
    /// The number of its first packet.
    pub sequence: u16,
    /// The timestamp of its first packet.
    pub timestamp: u32,
}

/// Packetizes one stream.
#[derive(Clone, Debug)]
pub struct RtpSender {
    sending: Sending,
    marker: bool,
    packets: u32,
    octets: u32,
}

impl RtpSender {
    /// A sender; its first packet carries the marker (RFC 3551 section 4.1).
    #[must_use]
    pub const fn new(sending: Sending) -> Self {
        Self { sending, marker: true, packets: 0, octets: 0 }
    }

    /// The next packet of media; time moves on by the packet time.
    pub fn next(&mut self, payload: &[u8]) -> Vec<u8> {
        let packet = self.packet(self.sending.payload_type, payload);
        self.sending.timestamp = self.sending.timestamp.wrapping_add(self.ticks_per_packet());
        packet
    }

    /// A packet of another payload type at the present time, which does not move: telephone events, comfort
    /// noise.
    pub fn aside(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.packet(payload_type, payload)
    }

    /// Time moves on without a packet: silence suppression. The next packet carries the marker.
    pub fn skip_silence(&mut self, ticks: u32) {
        self.sending.timestamp = self.sending.timestamp.wrapping_add(ticks);
        self.marker = true;
    }

    /// A number is used up without a packet, as by a sender whose packet is lost at once.
    pub fn lose(&mut self) {
        self.sending.sequence = self.sending.sequence.wrapping_add(1);
        self.sending.timestamp = self.sending.timestamp.wrapping_add(self.ticks_per_packet());
    }

    /// Another packet time from the next packet on.
    pub const fn set_ptime(&mut self, ptime_ms: u32) {
        self.sending.ptime_ms = ptime_ms;
    }

    /// Another payload type from the next packet on.
    pub const fn set_payload_type(&mut self, payload_type: u8) {
        self.sending.payload_type = payload_type;
    }

    /// What the next packet will carry.
    #[must_use]
    pub const fn sending(&self) -> Sending {
        self.sending
    }

    /// Ticks of the RTP clock in a packet.
    #[must_use]
    pub fn ticks_per_packet(&self) -> u32 {
        let ticks = u64::from(self.sending.ptime_ms) * u64::from(self.sending.clock_rate) / 1_000;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// SR and SDES (RFC 3550 section 6.4.1).
    #[must_use]
    pub fn report(&self, now: WallTime, cname: &str) -> Vec<u8> {
        self.with_report(now, |compound| {
            let name = SdesItem::builder(SdesItem::CNAME, cname);
            let chunk = SdesChunk::builder(self.sending.ssrc).add_item(name);
            compound.add_packet(Sdes::builder().add_chunk(chunk))
        })
    }

    /// SR and BYE (RFC 3550 section 6.6).
    #[must_use]
    pub fn goodbye(&self, now: WallTime) -> Vec<u8> {
        self.with_report(now, |compound| compound.add_packet(Bye::builder().add_source(self.sending.ssrc)))
    }

    fn with_report<'a>(
        &self,
        now: WallTime,
        rest: impl FnOnce(rtcp_types::CompoundBuilder<'a>) -> rtcp_types::CompoundBuilder<'a>,
    ) -> Vec<u8> {
        let report = SenderReport::builder(self.sending.ssrc)
            .ntp_timestamp(ntp(now))
            .rtp_timestamp(self.sending.timestamp)
            .packet_count(self.packets)
            .octet_count(self.octets);
        let mut buffer = [0_u8; REPORT_MAX];
        let length = rest(Compound::builder().add_packet(report)).write_into(&mut buffer).unwrap_or(0);
        buffer[..length].to_vec()
    }

    fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let Sending { ssrc, sequence, timestamp, .. } = self.sending;
        let marker = if std::mem::take(&mut self.marker) { MARKER } else { 0 };
        let mut packet = Vec::with_capacity(12 + payload.len());
        packet.extend_from_slice(&[0x80, marker | (payload_type & 0x7f)]);
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(payload);
        self.sending.sequence = sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        packet
    }
}

/// The payload of a telephone event (RFC 4733 section 2.3): `duration` in ticks, `volume` in -dBm0.
#[must_use]
pub const fn telephone_event(event: u8, end: EventEnd, volume: u8, duration: u16) -> [u8; 4] {
    let [high, low] = duration.to_be_bytes();
    let end = match end {
        EventEnd::GoesOn => 0,
        EventEnd::Ends => 0x80,
    };
    [event, end | (volume & 0x3f), high, low]
}

/// Whether a telephone event goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventEnd {
    /// More packets of it follow.
    GoesOn,
    /// This is its end.
    Ends,
}

/// 32.32 fixed-point seconds since 1900.
fn ntp(now: WallTime) -> u64 {
    let ns = u64::try_from(now.0).unwrap_or(0);
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    (seconds.wrapping_add(NTP_TO_UNIX_S) << 32) | ((rest << 32) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDING: Sending = Sending {
        ssrc: 0x0102_0304,
        payload_type: 8,
        clock_rate: 8_000,
        ptime_ms: 20,
        sequence: u16::MAX,
        timestamp: u32::MAX - 159,
    };

    #[test]
    fn numbers_and_timestamps_wrap() {
        let mut sender = RtpSender::new(SENDING);
        assert_eq!(sender.next(&[1, 2])[..12], [0x80, 0x88, 255, 255, 255, 255, 255, 96, 1, 2, 3, 4]);
        assert_eq!(sender.next(&[])[..12], [0x80, 8, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        sender.skip_silence(1_600);
        assert_eq!(sender.next(&[])[..8], [0x80, 0x88, 0, 1, 0, 0, 6, 224]);
    }

    #[test]
    fn a_report_says_when_and_how_much() {
        let mut sender = RtpSender::new(SENDING);
        sender.next(&[0; 160]);
        let bytes = sender.report(WallTime(500_000_000), "test@callspool");
        let packets: Vec<_> = Compound::parse(&bytes).unwrap().map(Result::unwrap).collect();
        let [rtcp_types::Packet::Sr(report), rtcp_types::Packet::Sdes(_)] = &packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(report.ntp_timestamp(), (NTP_TO_UNIX_S << 32) | (1 << 31));
        assert_eq!((report.packet_count(), report.octet_count(), report.rtp_timestamp()), (1, 160, 0));
    }

    #[test]
    fn an_event_is_four_octets() {
        assert_eq!(telephone_event(5, EventEnd::Ends, 10, 1_600), [5, 0x8a, 6, 64]);
    }
}
