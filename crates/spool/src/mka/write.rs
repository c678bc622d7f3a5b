//! Writing a part: its head once, then clusters and blocks, append only.
//!
//! [`head`] makes everything up to the first block; [`BlockWriter`] adds blocks to a buffer and begins
//! clusters where they are due. The only bytes that are ever written again are the eight of Duration.

use model::{Side, StreamId, WallTime};

use super::ebml::{id, put_bytes, put_element, put_float, put_id, put_length, put_open, put_text, put_uint};
use crate::codec::{TICK_US, TICKS_PER_SECOND, TrackCodec};

/// Nanoseconds in a tick: the TimestampScale of every part.
const TIMESTAMP_SCALE: u64 = TICK_US as u64 * 1_000;
/// 2 s: a player seeks by clusters, and 16 bits of relative time reach 4.09 s.
const CLUSTER_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// 2001-01-01T00:00:00Z, where Matroska's dates count from, in Unix nanoseconds.
pub(super) const DATE_EPOCH_NS: i64 = 978_307_200_000_000_000;
/// What is written as MuxingApp and WritingApp.
pub(super) const APP: &str = concat!("callspool ", env!("CARGO_PKG_VERSION"));

/// A track to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackHead {
    /// The stream; its id is the TrackUID.
    pub stream: StreamId,
    /// Whose voice, for the name that players show.
    pub side: Side,
    /// What it holds.
    pub codec: TrackCodec,
}

/// What a part's head says beside its tracks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadInfo {
    /// Shown by players.
    pub title: String,
    /// The wall clock at the part's time zero.
    pub date: WallTime,
    /// Names and values, written as tags.
    pub tags: Vec<(String, String)>,
}

/// The head of a part, and where in it Duration's eight octets stand. It ends inside the first cluster, which
/// begins at 0: players refuse to open a file without one, and a call may be over before its first packet.
#[must_use]
pub fn head(info: &HeadInfo, tracks: &[TrackHead]) -> (Vec<u8>, u64) {
    let mut out = Vec::with_capacity(1_024);
    put_element(&mut out, id::EBML, |e| {
        put_uint(e, id::EBML_VERSION, 1);
        put_uint(e, id::EBML_READ_VERSION, 1);
        put_uint(e, id::EBML_MAX_ID_LENGTH, 4);
        put_uint(e, id::EBML_MAX_SIZE_LENGTH, 8);
        put_text(e, id::DOC_TYPE, "matroska");
        put_uint(e, id::DOC_TYPE_VERSION, 4);
        put_uint(e, id::DOC_TYPE_READ_VERSION, 2);
    });
    put_open(&mut out, id::SEGMENT);

    let mut inside = Vec::new();
    put_uint(&mut inside, id::TIMESTAMP_SCALE, TIMESTAMP_SCALE);
    put_float(&mut inside, id::DURATION, 0.0);
    let duration_end = inside.len();
    let date = info.date.0.saturating_sub(DATE_EPOCH_NS);
    put_bytes(&mut inside, id::DATE_UTC, &date.to_be_bytes());
    put_text(&mut inside, id::TITLE, &info.title);
    put_text(&mut inside, id::MUXING_APP, APP);
    put_text(&mut inside, id::WRITING_APP, APP);
    put_id(&mut out, id::INFO);
    put_length(&mut out, inside.len());
    let duration_at = (out.len() + duration_end - 8) as u64;
    out.extend_from_slice(&inside);

    put_element(&mut out, id::TRACKS, |e| {
        for (number, track) in (1..).zip(tracks) {
            put_element(e, id::TRACK_ENTRY, |e| put_track(e, number, track));
        }
    });
    put_element(&mut out, id::TAGS, |e| {
        put_element(e, id::TAG, |e| {
            put_element(e, id::TARGETS, |_| ());
            for (name, value) in &info.tags {
                put_element(e, id::SIMPLE_TAG, |e| {
                    put_text(e, id::TAG_NAME, name);
                    put_text(e, id::TAG_STRING, value);
                });
            }
        });
    });
    put_cluster(&mut out, 0);
    (out, duration_at)
}

fn put_cluster(out: &mut Vec<u8>, tick: i64) {
    put_open(out, id::CLUSTER);
    put_uint(out, id::TIMESTAMP, tick.unsigned_abs());
}

fn put_track(e: &mut Vec<u8>, number: u64, track: &TrackHead) {
    put_uint(e, id::TRACK_NUMBER, number);
    put_uint(e, id::TRACK_UID, track.stream.as_u64());
    put_uint(e, id::TRACK_TYPE, 2);
    put_uint(e, id::FLAG_LACING, 0);
    put_text(e, id::NAME, side_name(track.side));
    put_text(e, id::LANGUAGE, "und");
    put_text(e, id::CODEC_ID, track.codec.id());
    put_bytes(e, id::CODEC_PRIVATE, &track.codec.private());
    if matches!(track.codec, TrackCodec::Opus { .. }) {
        // A decoder needs 80 ms to converge after a seek (RFC 7845 section 4.6).
        put_uint(e, id::SEEK_PRE_ROLL, 80_000_000);
    }
    put_element(e, id::AUDIO, |e| {
        put_float(e, id::SAMPLING_FREQUENCY, f64::from(track.codec.sample_rate()));
        put_uint(e, id::CHANNELS, track.codec.channels().into());
        if track.codec.fill().is_some() {
            put_uint(e, id::BIT_DEPTH, 8);
        }
    });
}

/// The name that a track carries for a side.
#[must_use]
pub const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Agent => "agent",
        Side::External => "external",
        Side::Mixed => "mixed",
        Side::Unknown => "unknown",
    }
}

/// The side that a track's name says.
#[must_use]
pub fn side_of_name(name: &str) -> Side {
    match name {
        "agent" => Side::Agent,
        "external" => Side::External,
        "mixed" => Side::Mixed,
        _ => Side::Unknown,
    }
}

/// The bytes of Duration for a length in ticks.
#[must_use]
pub fn duration_bytes(ticks: i64) -> [u8; 8] {
    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are 35,000 years")]
    let ticks = ticks as f64;
    ticks.to_be_bytes()
}

/// Whether a block carries what was received, or fills a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockKind {
    /// It was received.
    Media,
    /// It is silence in place of what was not: flagged discardable.
    Fill,
}

/// 32 octets: what stands around a payload, and the head of a cluster before it.
const AROUND_MAX: usize = 32;
/// 512 octets: three packets of G.711.
const GROWS_BY: usize = 512;

/// Makes room for so many octets more, and for little beyond: buffers hold a flush, which is 2 KiB for two-way G.711, and
/// doubled they would be half empty in each of thousands of segments.
fn make_room(out: &mut Vec<u8>, octets: usize) {
    if out.capacity() - out.len() < octets {
        out.reserve_exact(octets.max(GROWS_BY).max(out.len() / 4));
    }
}

/// Adds blocks and the clusters that they need.
#[derive(Clone, Debug)]
pub struct BlockWriter {
    cluster: Option<i64>,
}

impl Default for BlockWriter {
    /// What follows a [`head`]: blocks of its cluster.
    fn default() -> Self {
        Self { cluster: Some(0) }
    }
}

impl BlockWriter {
    /// Adds a block to `out`. `tick` must not be negative: the part's time line begins at 0.
    pub fn put(&mut self, out: &mut Vec<u8>, track: u8, tick: i64, kind: BlockKind, payload: &[u8]) {
        make_room(out, payload.len() + AROUND_MAX);
        let relative = self.relative(out, tick.max(0));
        put_id(out, id::SIMPLE_BLOCK);
        put_length(out, payload.len() + 4);
        // A track number below 128 is its own length-marked form (RFC 9559 section 10.2).
        out.push(0x80 | (track & 0x7f));
        out.extend_from_slice(&relative.to_be_bytes());
        out.push(match kind {
            BlockKind::Media => 0x80,
            BlockKind::Fill => 0x81,
        });
        out.extend_from_slice(payload);
    }

    /// The next block begins a cluster, wherever it lies: what was buffered of this one has been dropped.
    pub fn interrupt(&mut self) {
        self.cluster = None;
    }

    /// The time of a block relative to its cluster; begins one when two seconds are over, or when the block
    /// is so late that 16 bits do not reach.
    fn relative(&mut self, out: &mut Vec<u8>, tick: i64) -> i16 {
        let fits = self
            .cluster
            .map(|begin| tick - begin)
            .filter(|d| *d < CLUSTER_TICKS)
            .and_then(|d| i16::try_from(d).ok());
        fits.unwrap_or_else(|| {
            put_cluster(out, tick);
            self.cluster = Some(tick);
            0
        })
    }
}
