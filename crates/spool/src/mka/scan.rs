//! How far a part is whole, how long it is, and what is in it: one pass, no payload kept.

use std::io::{self, Read};

use model::StreamId;
use model::segment::PartMark;

use super::read::{Damage, PartHead, Reader};
use crate::codec::{TICK_US, TICKS_PER_SECOND};

/// What one track came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrackScan {
    /// Its number.
    pub number: u8,
    /// Its stream.
    pub stream: StreamId,
    /// Blocks of media.
    pub media_blocks: u64,
    /// Blocks that fill gaps.
    pub fill_blocks: u64,
    /// Where its last block ends, in ticks.
    pub end: i64,
}

/// What a scan found.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// The head.
    pub head: PartHead,
    /// Octets from the beginning that are whole elements: where a torn part is to be cut.
    pub whole_bytes: u64,
    /// Where the last block ends, in ticks of 125 µs.
    pub duration_ticks: i64,
    /// The tracks.
    pub tracks: Vec<TrackScan>,
    /// The timestamp of the last cluster, in ticks.
    pub last_cluster: Option<i64>,
    /// Where one may begin to read.
    pub marks: Vec<PartMark>,
    /// Blocks of tracks that the head does not list.
    pub stray_blocks: u64,
    /// Why the scan ended early, if it did.
    pub damage: Option<Damage>,
}

impl Scan {
    /// Whether every octet is part of a whole element, and Duration tells the length.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_none()
            && self.stray_blocks == 0
            && !self.head.tracks.is_empty()
            && self.duration_is_right()
    }

    /// Whether Duration says what the blocks say.
    #[must_use]
    pub fn duration_is_right(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are 35,000 years")]
        let measured = self.duration_ticks as f64;
        self.head.duration.is_some_and(|(says, _)| (says - measured).abs() < 0.5)
    }
}

/// 2 minutes: at most as much is read in vain by who begins at one, some milliseconds of work.
const MARK_TICKS: i64 = 120 * TICKS_PER_SECOND;
/// 1,000, of 24 octets each in a manifest: a day and a third at their usual distance. Of a longer part each second stays.
const MARKS_MAX: usize = 1_000;

/// Marks in the making.
struct Marks {
    all: Vec<PartMark>,
    every: i64,
    /// The tick behind the begins of all blocks so far.
    reached: i64,
    /// The same, at the last mark.
    marked: i64,
    cluster_at: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { all: Vec::new(), every: MARK_TICKS, reached: 0, marked: 0, cluster_at: 0 }
    }
}

impl Marks {
    /// Takes the place of a block and the octet at which its cluster begins.
    fn put(&mut self, cluster_at: u64, position: i64) {
        if cluster_at != self.cluster_at {
            self.cluster_at = cluster_at;
            if self.reached - self.marked >= self.every {
                self.all.push(PartMark { reached_us: self.reached * TICK_US, at: cluster_at });
                self.marked = self.reached;
            }
            if self.all.len() > MARKS_MAX {
                self.all = self.all.iter().copied().step_by(2).collect();
                self.every *= 2;
            }
        }
        self.reached = self.reached.max(position.saturating_add(1));
    }
}

/// Scans a part from its beginning. Only a failure of the input is an error.
pub fn scan(input: impl Read) -> io::Result<Scan> {
    let mut reader = Reader::new(input)?;
    let mut tracks: Vec<TrackScan> = reader
        .head()
        .tracks
        .iter()
        .map(|t| TrackScan { number: t.number, stream: t.stream, media_blocks: 0, fill_blocks: 0, end: 0 })
        .collect();
    let (mut stray_blocks, mut marks) = (0, Marks::default());
    while let Some(block) = reader.next_block()? {
        marks.put(reader.cluster_at(), block.position);
        let codec = reader.head().track(block.track).and_then(|t| t.codec);
        let Some(track) = tracks.iter_mut().find(|t| t.number == block.track) else {
            stray_blocks += 1;
            continue;
        };
        *(if block.discardable { &mut track.fill_blocks } else { &mut track.media_blocks }) += 1;
        let ticks = codec.map_or(0, |c| c.ticks(&block.payload));
        track.end = track.end.max(block.position.saturating_add(ticks));
    }
    Ok(Scan {
        head: reader.head().clone(),
        whole_bytes: reader.whole_bytes(),
        duration_ticks: tracks.iter().map(|t| t.end).max().unwrap_or(0),
        tracks,
        last_cluster: reader.cluster(),
        marks: marks.all,
        stray_blocks,
        damage: reader.damage(),
    })
}
