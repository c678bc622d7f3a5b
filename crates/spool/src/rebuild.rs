//! A manifest from what else there is: the marker's name and path, and the heads of the parts.
//!
//! It says which segment of which call it was, its streams, sides, codecs and files, and when it began. What
//! only the manifest knew is lost: call data, metadata, accounting, gaps, anchors.

use std::io;

use model::segment::{Encryption, PartRecord, PartTrack};
use model::state::Respondent;
use model::{
    Codec, MediaKind, NodeNumber, RecordingState, SegmentId, SegmentRecord, StartTrigger, StreamRecord,
    WallTime,
};

use crate::codec::TICK_US;
use crate::layout::{self, ManifestPath};
use crate::manifest::{Manifest, VERSION};
use crate::mka::{self, Reader, Track};
use crate::op::Files;

/// The manifest of a segment whose own is lost.
pub(crate) fn manifest(
    at: &ManifestPath,
    segment: SegmentId,
    node: NodeNumber,
    names: &[String],
    files: &dyn Files,
) -> io::Result<Manifest> {
    let mut record = SegmentRecord {
        id: segment,
        call: at.call,
        tenant: at.tenant.clone(),
        number: at.number,
        total: at.number,
        node,
        volume: model::VolumeName::default(),
        state: RecordingState::Incomplete,
        respondent: Respondent::No,
        started: segment.made_at(),
        ended: None,
        trigger: StartTrigger::Manager,
        end: None,
        stopped_by: None,
        pauses: Vec::new(),
        pauses_unlisted: 0,
        dtmf: model::Dtmf::Keep,
        encryption: Encryption::None,
        data: model::CallData::default(),
        metadata: Vec::new(),
        streams: Vec::new(),
        parts: Vec::new(),
        sidecar: None,
    };
    for name in names.iter().filter(|n| layout::part_number(&at.stem, n).is_some()) {
        let file = files.open(&format!("{}/{name}", at.directory))?;
        let reader = Reader::new(io::BufReader::new(file))?;
        let head = reader.head();
        if let Some(date) = head.date {
            let offset = Some(offset_us(head)).filter(|o| *o >= 0).unwrap_or(0);
            record.started = WallTime(date.0.saturating_sub(offset.saturating_mul(1_000)));
        }
        for track in &head.tracks {
            if !record.streams.iter().any(|s| s.id == track.stream) {
                record.streams.push(stream(track, record.streams.len()));
            }
        }
    }
    let written = record.started;
    Ok(Manifest { version: VERSION, sealed: false, written, record })
}

/// The record of a part that the manifest does not list yet.
pub(crate) fn part(record: &SegmentRecord, file: &str, number: u16, scan: &mka::Scan) -> PartRecord {
    let codec = |t: &Track| t.codec.map_or_else(|| Codec::new(&t.codec_id, 8_000, 1), |c| c.as_sdp());
    let mut offset = offset_us(&scan.head);
    if offset < 0 {
        let date = scan.head.date.unwrap_or(record.started);
        offset = date.nanos_since(record.started).max(0) / 1_000;
    }
    PartRecord {
        number,
        file: file.to_owned(),
        tracks: scan
            .head
            .tracks
            .iter()
            .map(|t| PartTrack { track: t.number, stream: t.stream, codec: codec(t) })
            .collect(),
        offset_us: offset - offset.rem_euclid(TICK_US),
        duration_us: 0,
        bytes: 0,
        sha256: None,
        marks: Vec::new(),
    }
}

/// Where a part's time line begins by its tags; -1 when they do not tell.
fn offset_us(head: &mka::PartHead) -> i64 {
    head.tag("CALLSPOOL_OFFSET_US").and_then(|v| v.parse().ok()).filter(|o| *o >= 0).unwrap_or(-1)
}

fn stream(track: &Track, slot: usize) -> StreamRecord {
    StreamRecord {
        id: track.stream,
        slot: u16::try_from(slot).unwrap_or(u16::MAX),
        label: None,
        kind: MediaKind::Audio,
        side: track.side,
        port: 0,
        source: None,
        ssrcs: Vec::new(),
        codecs: Vec::new(),
        accounting: model::Accounting::default(),
        anchors: Vec::new(),
        gaps: Vec::new(),
        gaps_unlisted: 0,
    }
}
