//! How far a part is whole, how long it is, and what is in it: one pass, no payload kept.

use std::io::{self, Read};

use model::StreamId;

use super::read::{Damage, PartHead, Reader};

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

/// Scans a part from its beginning. Only a failure of the input is an error.
pub fn scan(input: impl Read) -> io::Result<Scan> {
    let mut reader = Reader::new(input)?;
    let mut tracks: Vec<TrackScan> = reader
        .head()
        .tracks
        .iter()
        .map(|t| TrackScan { number: t.number, stream: t.stream, media_blocks: 0, fill_blocks: 0, end: 0 })
        .collect();
    let mut stray_blocks = 0;
    while let Some(block) = reader.next_block()? {
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
        stray_blocks,
        damage: reader.damage(),
    })
}
