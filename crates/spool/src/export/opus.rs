//! Ogg Opus: packets of one length, 50 on a [page](crate::ogg), so that where each second lies can be computed before
//! anything is encoded.
//!
//! A *piece* is ten pages. Each is made by an encoder of its own that has heard the quarter second before, and its
//! first packet leans on nothing, so a file is its pieces, whoever asks for which of them in which order.
//!
//! ```text
//!  page 0 OpusHead │ page 1 OpusTags │ page 2: 1 s │ page 3: 1 s │ …
//! ```

use media::listen::{Lean, OpusEncoder};

use super::pcm::Pcm;
use super::tags::Tags;
use super::{ExportError, Tools};
use crate::assemble::{Options, Rate};
use crate::ogg::{self, GRANULE_RATE, Which};

/// 50 packets of 20 ms.
const PACKETS_A_PAGE: u64 = 50;
/// 10 s: a tenth of a second of work.
const PAGES_A_PIECE: u64 = 10;
/// 240 ms: three times what RFC 7845 section 4.6 asks a decoder to hear before.
const LEAD_IN: u64 = 12;
/// Granules of a packet.
const PACKET_GRANULES: u64 = GRANULE_RATE / 50;
/// kbit/s that are offered: even, so that packets have whole octets.
pub(super) const BITRATES: std::ops::RangeInclusive<u16> = 8..=256;

/// An Ogg Opus file.
pub(super) struct Opus {
    options: Options,
    bitrate: u16,
    packet_octets: usize,
    packets: u64,
    serial: u32,
    /// Granules that a decoder drops at the beginning.
    skip: u64,
    /// Granules at the end.
    last_granule: u64,
    pub(super) head: Vec<u8>,
}

/// Good speech at each rate. What pauses leave of it is padding, as all packets are of the same length.
pub(super) const fn default_bitrate(options: Options) -> u16 {
    match (options.rate, options.layout.channels()) {
        (Rate::Narrow, 2) => 26,
        (Rate::Narrow, _) => 18,
        (Rate::Wide, 2) => 44,
        (Rate::Wide, _) => 26,
        (Rate::Full, 2) => 64,
        (Rate::Full, _) => 32,
    }
}

impl Opus {
    pub(super) fn new(
        options: Options,
        bitrate: u16,
        tags: &Tags,
        samples: u64,
    ) -> Result<Self, ExportError> {
        let packet_octets = usize::from(bitrate) * 1_000 / 8 / 50;
        let mut opus = Self {
            options,
            bitrate,
            packet_octets,
            packets: 0,
            serial: 0,
            skip: 0,
            last_granule: 0,
            head: Vec::new(),
        };
        let scale = GRANULE_RATE / u64::from(options.rate.hz());
        let skip = u64::from(opus.encoder()?.lookahead()?) * scale;
        opus.last_granule = skip + samples * scale;
        opus.packets = opus.last_granule.div_ceil(PACKET_GRANULES);
        // A serial is only to differ from that of another file that may be joined to this one.
        opus.serial = u32::try_from(tags.call.as_u64() & 0xFFFF_FFFF).unwrap_or(0);
        opus.skip = skip;
        opus.head = ogg::head(opus.serial, &opus.opus_head(), &tags.vorbis());
        Ok(opus)
    }

    /// What a decoder must know.
    pub(super) fn opus_head(&self) -> Vec<u8> {
        let skip = u16::try_from(self.skip).unwrap_or(u16::MAX);
        ogg::opus_head(self.options.layout.channels(), skip, self.options.rate.hz())
    }

    /// How much of the beginning a decoder drops, in nanoseconds.
    pub(super) const fn delay_ns(&self) -> u64 {
        self.skip * 1_000_000_000 / GRANULE_RATE
    }

    /// Packets of 20 ms in all.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    fn encoder(&self) -> Result<OpusEncoder, ExportError> {
        let (rate, channels) = (self.options.rate.hz(), self.options.layout.channels());
        // Who asks for a bit rate gets all that it holds.
        let is_speech = self.options.rate != Rate::Full && self.bitrate == default_bitrate(self.options);
        let begin = if is_speech { OpusEncoder::padded } else { OpusEncoder::new };
        Ok(begin(rate, channels, self.packet_octets)?)
    }

    pub(super) const fn pieces(&self) -> u64 {
        self.packets.div_ceil(PACKETS_A_PAGE * PAGES_A_PIECE)
    }

    /// The octets of every piece but the last.
    pub(super) fn piece_octets(&self) -> u64 {
        PAGES_A_PIECE * self.page_octets(PACKETS_A_PAGE)
    }

    pub(super) fn octets(&self) -> u64 {
        let (whole, rest) = (self.packets / PACKETS_A_PAGE, self.packets % PACKETS_A_PAGE);
        let last = if rest > 0 { self.page_octets(rest) } else { 0 };
        self.head.len() as u64 + whole * self.page_octets(PACKETS_A_PAGE) + last
    }

    fn page_octets(&self, packets: u64) -> u64 {
        27 + packets * (self.packet_octets / 255 + 1 + self.packet_octets) as u64
    }

    /// The packets of a piece.
    pub(super) fn packets_of(
        &self,
        piece: u64,
        pcm: &mut Pcm,
        tools: &Tools<'_>,
    ) -> Result<Vec<Vec<u8>>, ExportError> {
        let first = piece * PACKETS_A_PAGE * PAGES_A_PIECE;
        let count = (PACKETS_A_PAGE * PAGES_A_PIECE).min(self.packets.saturating_sub(first));
        let samples = u64::from(self.options.rate.hz()) / 50;
        let from = i64::try_from(first * samples).unwrap_or(i64::MAX);
        let from = from.saturating_sub(i64::try_from(LEAD_IN * samples).unwrap_or(0));
        let wanted = usize::try_from((LEAD_IN + count) * samples).unwrap_or(0);
        let pcm = pcm.read(from, wanted, tools)?;
        let frame = usize::try_from(samples).unwrap_or(1) * usize::from(self.options.layout.channels());
        let mut encoder = self.encoder()?;
        let mut packets = Vec::new();
        for (n, samples) in (0_u64..).zip(pcm.chunks(frame.max(1))) {
            encoder.lean_on_past(if n == LEAD_IN { Lean::Never } else { Lean::Freely })?;
            let packet = encoder.encode(samples)?;
            if n >= LEAD_IN {
                packets.push(packet);
            }
        }
        Ok(packets)
    }

    pub(super) fn make(&self, piece: u64, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        let packets = self.packets_of(piece, pcm, tools)?;
        let mut out = Vec::new();
        for (page, packets) in (piece * PAGES_A_PIECE..).zip(packets.chunks(50)) {
            let behind = page * PACKETS_A_PAGE + packets.len() as u64;
            let is_last = behind >= self.packets;
            let granule = if is_last { self.last_granule } else { behind * PACKET_GRANULES };
            let which = if is_last { Which::Last } else { Which::Middle };
            out.extend(ogg::page(self.serial, which, granule, page + 2, packets));
        }
        Ok(out)
    }
}
