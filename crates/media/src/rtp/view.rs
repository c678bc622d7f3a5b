//! An RTP packet that was kept whole, as its parts.

use rtp_types::RtpPacket;

/// What a kept packet says (RFC 3550 section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpView<'a> {
    /// The payload type.
    pub payload_type: u8,
    /// The marker: of video, that a picture ends here.
    pub marker: bool,
    /// The number.
    pub sequence: u16,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
    /// The payload, without padding.
    pub payload: &'a [u8],
}

impl<'a> RtpView<'a> {
    /// Reads a packet; none where it is no RTP.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let packet = RtpPacket::parse(bytes).ok()?;
        let at = packet.payload_offset();
        let payload = bytes.get(at..at + packet.payload_len())?;
        Some(Self {
            payload_type: packet.payload_type(),
            marker: packet.marker_bit(),
            sequence: packet.sequence_number(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
            payload,
        })
    }
}
