//! Matroska and WebM to be played elsewhere: pictures beside sound, made while they are read.
//!
//! ```text
//! EBML head    DocType "matroska", or "webm" (the part of Matroska that browsers play)
//! Segment (length unknown)
//!   Info       TimestampScale 1 ms · Duration · DateUTC · Title
//!   Tracks     video: number, uid, name, codec, columns and lines · sound: Opus
//!   Tags       of the call
//!   Cluster    of at most a second, its length known: Timestamp, SimpleBlock, SimpleBlock …
//! ```
//!
//! It has no Cues: where a second lies shows only when the file is made.

use media::video::{Setup, VideoCodec};
use model::WallTime;

use super::ebml::{id, put_bytes, put_element, put_float, put_id, put_length, put_open, put_text, put_uint};
use super::write::{APP, DATE_EPOCH_NS};
use crate::assemble::Shows;
use crate::mka::side_name;

/// Nanoseconds in a tick of such files: what WebM asks for.
const TIMESTAMP_SCALE: u64 = 1_000_000;
/// 80 ms, before which a decoder of Opus has not converged (RFC 7845 section 4.6).
const SEEK_PRE_ROLL_NS: u64 = 80_000_000;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flavor {
    Matroska,
    Webm,
}

impl Flavor {
    const fn doc_type(self) -> &'static str {
        match self {
            Self::Matroska => "matroska",
            Self::Webm => "webm",
        }
    }
}

/// The sound of a file: one track of Opus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sound {
    /// An OpusHead.
    pub(crate) private: Vec<u8>,
    pub(crate) channels: u8,
    /// How much a decoder drops at the beginning.
    pub(crate) delay_ns: u64,
}

/// What the head of a file says beside its tracks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExportHead {
    pub(crate) flavor: Flavor,
    pub(crate) title: String,
    pub(crate) date: WallTime,
    pub(crate) duration_ms: u64,
    /// Names and values.
    pub(crate) tags: Vec<(String, String)>,
}

/// Everything before the first cluster. Tracks are numbered from 1 on: pictures, then sound.
pub(crate) fn export_head<'a>(
    head: &ExportHead,
    pictures: impl IntoIterator<Item = &'a Shows>,
    sound: &Sound,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    put_element(&mut out, id::EBML, |e| {
        put_uint(e, id::EBML_VERSION, 1);
        put_uint(e, id::EBML_READ_VERSION, 1);
        put_uint(e, id::EBML_MAX_ID_LENGTH, 4);
        put_uint(e, id::EBML_MAX_SIZE_LENGTH, 8);
        put_text(e, id::DOC_TYPE, head.flavor.doc_type());
        put_uint(e, id::DOC_TYPE_VERSION, 4);
        put_uint(e, id::DOC_TYPE_READ_VERSION, 2);
    });
    put_open(&mut out, id::SEGMENT);
    put_element(&mut out, id::INFO, |e| {
        put_uint(e, id::TIMESTAMP_SCALE, TIMESTAMP_SCALE);
        #[expect(clippy::cast_precision_loss, reason = "2^53 ms are longer than any call")]
        put_float(e, id::DURATION, head.duration_ms as f64);
        put_bytes(e, id::DATE_UTC, &head.date.0.saturating_sub(DATE_EPOCH_NS).to_be_bytes());
        put_text(e, id::TITLE, &head.title);
        put_text(e, id::MUXING_APP, APP);
        put_text(e, id::WRITING_APP, APP);
    });
    put_element(&mut out, id::TRACKS, |e| {
        let mut number = 0;
        for shows in pictures {
            number += 1;
            put_element(e, id::TRACK_ENTRY, |e| put_pictures(e, number, shows));
        }
        put_element(e, id::TRACK_ENTRY, |e| put_sound(e, number + 1, sound));
    });
    put_element(&mut out, id::TAGS, |e| {
        put_element(e, id::TAG, |e| {
            put_element(e, id::TARGETS, |_| ());
            for (name, value) in &head.tags {
                put_element(e, id::SIMPLE_TAG, |e| {
                    put_text(e, id::TAG_NAME, name);
                    put_text(e, id::TAG_STRING, value);
                });
            }
        });
    });
    out
}

fn put_pictures(e: &mut Vec<u8>, number: u64, shows: &Shows) {
    let Setup { codec, width, height, private } = &shows.setup;
    put_uint(e, id::TRACK_NUMBER, number);
    put_uint(e, id::TRACK_UID, number);
    put_uint(e, id::TRACK_TYPE, 1);
    put_uint(e, id::FLAG_DEFAULT, u64::from(number == 1));
    put_uint(e, id::FLAG_LACING, 0);
    let label = shows.label.as_ref().map(|label| format!(" (label {label})")).unwrap_or_default();
    put_text(e, id::NAME, &format!("{}{label}", side_name(shows.side)));
    put_text(e, id::LANGUAGE, "und");
    put_text(e, id::CODEC_ID, codec_id(*codec));
    if !private.is_empty() {
        put_bytes(e, id::CODEC_PRIVATE, private);
    }
    put_element(e, id::VIDEO, |e| {
        put_uint(e, id::PIXEL_WIDTH, u64::from(*width));
        put_uint(e, id::PIXEL_HEIGHT, u64::from(*height));
    });
}

fn put_sound(e: &mut Vec<u8>, number: u64, sound: &Sound) {
    put_uint(e, id::TRACK_NUMBER, number);
    put_uint(e, id::TRACK_UID, number);
    put_uint(e, id::TRACK_TYPE, 2);
    put_uint(e, id::FLAG_LACING, 0);
    put_text(e, id::NAME, if sound.channels == 2 { "agent left, external right" } else { "all" });
    put_text(e, id::LANGUAGE, "und");
    put_text(e, id::CODEC_ID, "A_OPUS");
    put_bytes(e, id::CODEC_PRIVATE, &sound.private);
    put_uint(e, id::CODEC_DELAY, sound.delay_ns);
    put_uint(e, id::SEEK_PRE_ROLL, SEEK_PRE_ROLL_NS);
    put_element(e, id::AUDIO, |e| {
        put_float(e, id::SAMPLING_FREQUENCY, 48_000.0);
        put_uint(e, id::CHANNELS, sound.channels.into());
    });
}

const fn codec_id(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::Vp8 => "V_VP8",
        VideoCodec::Vp9 => "V_VP9",
        VideoCodec::H264 => "V_MPEG4/ISO/AVC",
        VideoCodec::H265 => "V_MPEGH/ISO/HEVC",
    }
}

/// A cluster in the making.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    begin_ms: i64,
    blocks: Vec<u8>,
}

impl Cluster {
    pub(crate) const fn new(begin_ms: i64) -> Self {
        Self { begin_ms, blocks: Vec::new() }
    }

    /// Octets of its blocks.
    pub(crate) const fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Adds a block. A picture may lie before the cluster's beginning: what is decoded first may be seen later.
    pub(crate) fn put(&mut self, track: u8, at_ms: i64, key: bool, payload: &[u8]) {
        let relative = at_ms.saturating_sub(self.begin_ms).clamp(i16::MIN.into(), i16::MAX.into());
        let relative = i16::try_from(relative).unwrap_or(0);
        put_id(&mut self.blocks, id::SIMPLE_BLOCK);
        put_length(&mut self.blocks, payload.len() + 4);
        // A track number below 128 is its own length-marked form (RFC 9559 section 10.2).
        self.blocks.push(0x80 | (track & 0x7f));
        self.blocks.extend_from_slice(&relative.to_be_bytes());
        self.blocks.push(if key { 0x80 } else { 0 });
        self.blocks.extend_from_slice(payload);
    }

    /// Its octets; none where it has no block.
    pub(crate) fn finish(self) -> Vec<u8> {
        if self.blocks.is_empty() {
            return Vec::new();
        }
        let mut head = Vec::with_capacity(16);
        put_uint(&mut head, id::TIMESTAMP, self.begin_ms.max(0).unsigned_abs());
        let mut out = Vec::with_capacity(self.blocks.len() + head.len() + 12);
        put_id(&mut out, id::CLUSTER);
        put_length(&mut out, head.len() + self.blocks.len());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.blocks);
        out
    }
}

/// Of a whole file: the track and time, in milliseconds, of each block.
#[cfg(test)]
#[allow(clippy::cast_possible_wrap, reason = "times of a test are small")]
pub(crate) fn blocks_of(file: &[u8]) -> Vec<(u8, i64)> {
    use super::ebml::{children, uint};

    // The EBML head, then a Segment of unknown length.
    let head = 5 + usize::from(file[4] & 0x7f);
    assert_eq!(file[head..head + 4], id::SEGMENT.to_be_bytes());
    let mut blocks = Vec::new();
    for (of, cluster) in children(&file[head + 12..]).filter(|(of, _)| *of == id::CLUSTER) {
        assert_eq!(of, id::CLUSTER);
        let mut begin = 0;
        for (of, inside) in children(cluster) {
            if of == id::TIMESTAMP {
                begin = uint(inside) as i64;
            } else if of == id::SIMPLE_BLOCK {
                let relative = i16::from_be_bytes([inside[1], inside[2]]);
                blocks.push((inside[0] & 0x7f, begin + i64::from(relative)));
            }
        }
    }
    blocks
}
