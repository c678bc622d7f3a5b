//! What payload types stand for in a stream, and how long a payload plays.

use std::sync::Arc;

use model::{Codec, MediaKind};

use super::FrameKind;

/// Not in the table.
const NONE: u8 = u8::MAX;
/// Comfort noise without SDP: 13 by RFC 3551, 19 as Cisco gateways send it.
const COMFORT_NOISE: [u8; 2] = [13, 19];
/// Where SDP says nothing at all.
const DEFAULT_CLOCK: u32 = 8_000;

/// The payload types of a stream, found by number at no cost.
#[derive(Debug)]
pub(super) struct PayloadTypes {
    /// That of the last packet, and most likely of the next: found without a look at the table.
    usual: Option<Entry>,
    table: Box<Table>,
}

#[derive(Debug)]
struct Table {
    entries: Vec<Entry>,
    index: [u8; 128],
}

#[derive(Clone, Debug)]
struct Entry {
    codec: Arc<Codec>,
    format: Format,
    clock: u32,
    kind: FrameKind,
    payload_type: u8,
}

/// What a payload type means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) kind: FrameKind,
    pub(super) format: Format,
    pub(super) clock: u32,
}

/// How a payload's length tells how long it plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// Fixed octets per sample, all channels together.
    Samples { octets: u32 },
    /// G.722: 8 octets a millisecond, whatever its clock rate says.
    G722,
    /// G.729: frames of 10 octets for 10 ms, perhaps a SID frame of 2.
    G729,
    /// G.723.1: frames of 30 ms, whose first two bits tell their length.
    G723,
    /// Frames of one length.
    Frames { octets: u32, duration_us: u32 },
    /// Opus: its first octet tells (RFC 6716 section 3.1).
    Opus,
    /// Not known.
    Opaque,
}

impl PayloadTypes {
    pub(super) fn new(codecs: &[(u8, Codec)], media: MediaKind) -> Self {
        let mut table = Box::new(Table { entries: Vec::with_capacity(codecs.len()), index: [NONE; 128] });
        for (payload_type, codec) in codecs {
            let Some(slot) = table.index.get_mut(usize::from(*payload_type)) else { continue };
            // At most 128 entries: one per number, the first that names it wins.
            if let (NONE, Ok(position)) = (*slot, u8::try_from(table.entries.len())) {
                *slot = position;
                let format = if media == MediaKind::Audio { format(codec) } else { Format::Opaque };
                let mut codec = codec.clone();
                codec.clock_rate = codec.clock_rate.max(1);
                let (kind, clock, payload_type) = (kind(&codec), codec.clock_rate, *payload_type);
                table.entries.push(Entry { codec: Arc::new(codec), format, clock, kind, payload_type });
            }
        }
        Self { usual: None, table }
    }

    /// Packets are of this type from now on.
    pub(super) fn expect(&mut self, payload_type: u8) {
        self.usual = self.table.entry(payload_type).cloned();
    }

    /// Whether SDP named it, or named nothing at all yet: then all are welcome.
    #[inline]
    pub(super) fn knows(&self, payload_type: u8) -> bool {
        self.table.entries.is_empty()
            || self.entry(payload_type).is_some()
            || COMFORT_NOISE.contains(&payload_type)
    }

    /// Whether SDP names it.
    pub(super) fn names(&self, payload_type: u8) -> bool {
        self.entry(payload_type).is_some()
    }

    #[inline]
    pub(super) fn meaning(&self, payload_type: u8) -> Meaning {
        match self.entry(payload_type) {
            Some(Entry { kind, format, clock, .. }) => {
                Meaning { kind: *kind, format: *format, clock: *clock }
            }
            None => {
                let noise = COMFORT_NOISE.contains(&payload_type);
                let kind = if noise { FrameKind::ComfortNoise } else { FrameKind::Unknown };
                Meaning { kind, format: Format::Opaque, clock: self.default_clock() }
            }
        }
    }

    /// The clock of the first codec: what unnamed payload types most likely run on.
    pub(super) fn default_clock(&self) -> u32 {
        self.table.entries.first().map_or(DEFAULT_CLOCK, |e| e.clock)
    }

    /// What SDP says that it stands for, to keep.
    #[inline]
    pub(super) fn codec(&self, payload_type: u8) -> Option<&Arc<Codec>> {
        self.entry(payload_type).map(|e| &e.codec)
    }

    #[inline]
    fn entry(&self, payload_type: u8) -> Option<&Entry> {
        let usual = self.usual.as_ref().filter(|e| e.payload_type == payload_type);
        usual.or_else(|| self.table.entry(payload_type))
    }
}

impl Table {
    fn entry(&self, payload_type: u8) -> Option<&Entry> {
        let position = *self.index.get(usize::from(payload_type))?;
        self.entries.get(usize::from(position))
    }
}

fn kind(codec: &Codec) -> FrameKind {
    match codec.name.to_ascii_uppercase().as_str() {
        "TELEPHONE-EVENT" | "TONE" => FrameKind::TelephoneEvent,
        "CN" => FrameKind::ComfortNoise,
        _ => FrameKind::Media,
    }
}

fn format(codec: &Codec) -> Format {
    let channels = u32::from(codec.channels.max(1));
    let fixed = |octets, duration_us| Format::Frames { octets, duration_us };
    match codec.name.to_ascii_uppercase().as_str() {
        "PCMU" | "PCMA" | "L8" => Format::Samples { octets: channels },
        "L16" => Format::Samples { octets: 2 * channels },
        "G722" => Format::G722,
        "G729" | "G729A" => Format::G729,
        "G723" => Format::G723,
        "GSM" => fixed(33, 20_000),
        "GSM-EFR" => fixed(31, 20_000),
        "G728" => fixed(5, 2_500),
        "ILBC" if codec.fmtp.as_deref().is_some_and(|f| f.contains("mode=20")) => fixed(38, 20_000),
        "ILBC" => fixed(50, 30_000),
        "OPUS" => Format::Opus,
        _ => Format::Opaque,
    }
}

impl Format {
    /// How long a payload plays, in microseconds.
    #[inline]
    pub(super) fn duration_us(self, payload: &[u8], clock: u32) -> Option<u32> {
        let length = u32::try_from(payload.len()).ok().filter(|n| *n > 0)?;
        match self {
            Self::Samples { octets } => {
                let samples = u64::from(length / octets);
                u32::try_from(samples * 1_000_000 / u64::from(clock)).ok()
            }
            Self::G722 => length.checked_mul(125),
            Self::G729 => Some((length / 10 + u32::from(length % 10 == 2)) * 10_000).filter(|d| *d > 0),
            Self::G723 => g723_frames(payload).checked_mul(30_000).filter(|d| *d > 0),
            Self::Frames { octets, duration_us } => {
                (length / octets).checked_mul(duration_us).filter(|d| *d > 0)
            }
            Self::Opus => opus_duration(payload),
            Self::Opaque => None,
        }
    }
}

fn g723_frames(mut payload: &[u8]) -> u32 {
    let mut frames = 0;
    while let Some(first) = payload.first() {
        let length = match first & 3 {
            0 => 24,
            1 => 20,
            2 => 4,
            _ => 1,
        };
        let Some(rest) = payload.get(length..) else { break };
        frames += 1;
        payload = rest;
    }
    frames
}

/// RFC 6716 section 3.1: configuration gives the frame size, code the number of frames; at most 120 ms.
fn opus_duration(payload: &[u8]) -> Option<u32> {
    let toc = *payload.first()?;
    let configuration = usize::from(toc >> 3);
    let frame_us = match configuration {
        0..=11 => [10_000, 20_000, 40_000, 60_000][configuration % 4],
        12..=15 => [10_000, 20_000][configuration % 2],
        _ => [2_500, 5_000, 10_000, 20_000][configuration % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*payload.get(1)? & 0x3f),
    };
    Some(frame_us * frames).filter(|d| (1..=120_000).contains(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_tells_duration() {
        let check = |name: &str, clock, payload: &[u8], expected| {
            let duration = format(&Codec::new(name, clock, 1)).duration_us(payload, clock);
            assert_eq!(duration, expected, "{name} {} octets", payload.len());
        };
        check("PCMU", 8_000, &[0; 160], Some(20_000));
        check("PCMA", 8_000, &[0; 80], Some(10_000));
        check("PCMU", 8_000, &[], None);
        check("G722", 8_000, &[0; 160], Some(20_000));
        check("L16", 16_000, &[0; 640], Some(20_000));
        check("G729", 8_000, &[0; 20], Some(20_000));
        check("G729", 8_000, &[0; 12], Some(20_000));
        check("G729", 8_000, &[0; 2], Some(10_000));
        check("G723", 8_000, &[0; 48], Some(60_000));
        check("GSM", 8_000, &[0; 33], Some(20_000));
        check("iLBC", 8_000, &[0; 50], Some(30_000));
        // Opus: SILK wideband 20 ms; CELT 20 ms twice; three frames of 20 ms; a count of zero frames.
        check("opus", 48_000, &[9 << 3, 0], Some(20_000));
        check("opus", 48_000, &[31 << 3 | 1, 0], Some(40_000));
        check("opus", 48_000, &[31 << 3 | 3, 3], Some(60_000));
        check("opus", 48_000, &[31 << 3 | 3, 0], None);
        check("AMR", 8_000, &[0; 32], None);
    }

    #[test]
    fn numbers_that_sdp_never_named_are_unknown_but_for_comfort_noise() {
        let types = PayloadTypes::new(&[(0, Codec::new("PCMU", 8_000, 1))], MediaKind::Audio);
        assert_eq!(types.meaning(0).kind, FrameKind::Media);
        assert_eq!(types.meaning(13).kind, FrameKind::ComfortNoise);
        assert_eq!(types.meaning(96).kind, FrameKind::Unknown);
        assert!(types.knows(19) && !types.knows(96) && !types.knows(255));
    }
}
