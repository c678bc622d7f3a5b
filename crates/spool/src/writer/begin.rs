//! How a segment and its parts begin.

use std::time::Duration;

use model::segment::Encryption;
use model::{Now, OpenSegment, RecordingState, SegmentRecord, StreamRecord};

use super::part::{NewTrack, PartPlace, PartWriter};
use super::stream::{self, StreamState};
use super::{Place, SegmentWriter};
use crate::codec::TICK_US;
use crate::layout;
use crate::log::{self, Entry};
use crate::manifest;
use crate::op::FileOp;

/// 127: what a track number of one octet can say.
const TRACKS_MAX: usize = 127;
/// 100 ms before the first frame of a new part: the other streams are still being put in order.
const PART_SLACK_US: i64 = 100_000;
/// 1 s: how far a new part's time line reaches back at most for a stream that fell silent.
const PART_BACK_MAX_US: i64 = 1_000_000;

impl SegmentWriter {
    /// The first operations of a segment, and the head of its first part.
    pub(super) fn begin_files(&mut self, now: Now) {
        let manifest_path = self.manifest_path();
        // The marker first: whatever else is there after a crash, it leads to it.
        let path = layout::marker_path(self.record.id);
        self.ready.push(FileOp::Mark { path, bytes: layout::marker_bytes(&manifest_path) });
        self.ready.push(FileOp::MakeDir { path: self.directory.clone() });
        let at = self.ready.len();
        self.begin_part(0);
        let bytes = manifest::to_bytes(&self.record, false, now.wall);
        self.ready.insert(at, FileOp::Create { path: manifest_path, bytes });
        // The manifest says the same: the line waits for the first that says more, and a client waits for less.
        self.unlogged = log::line(now.wall, &opened(&self.record, &self.stem));
        (self.changed, self.manifest_now) = (false, false);
    }

    /// Begins a part for the current codecs of all streams. What the last one buffered goes before it.
    pub(super) fn begin_part(&mut self, position_us: i64) {
        let tracks: Vec<_> =
            self.streams.iter().filter(|s| s.present).filter_map(new_track).take(TRACKS_MAX).collect();
        if tracks.is_empty() {
            return;
        }
        let mut open_ends = position_us;
        if let Some(last) = self.part.take() {
            open_ends = last.ends_us().fold(position_us, i64::min);
            self.close_part(last);
        }
        let earliest = position_us.saturating_sub(PART_BACK_MAX_US).max(0);
        let offset_us = open_ends.saturating_sub(PART_SLACK_US).max(earliest);
        let offset_us = offset_us - offset_us.rem_euclid(TICK_US);
        self.parts += 1;
        let place = self.part_place(offset_us);
        let buffer = self.buffers.pop().unwrap_or_default();
        let (part, head, record) = PartWriter::begin(place, &tracks, buffer);
        let bytes = self.sealer.seal(&part.path, head);
        self.ready.push(FileOp::Create { path: part.path.to_string(), bytes });
        self.record.parts.push(record);
        self.part = Some(part);
        self.manifest_now = true;
    }

    fn part_place(&self, offset_us: i64) -> PartPlace {
        let record = &self.record;
        let file = layout::part_name(&self.stem, self.parts);
        let tag = |name: &str, value: String| (name.to_owned(), value);
        PartPlace {
            title: format!("Call {}, segment {}, part {}", record.call, record.number, self.parts),
            tags: vec![
                tag("CALLSPOOL_TENANT", record.tenant.to_string()),
                tag("CALLSPOOL_CALL", record.call.to_string()),
                tag("CALLSPOOL_SEGMENT", record.id.to_string()),
                tag("CALLSPOOL_NUMBER", record.number.to_string()),
                tag("CALLSPOOL_OFFSET_US", offset_us.to_string()),
            ],
            path: format!("{}/{file}", self.directory),
            file,
            number: self.parts,
            offset_us,
            date: record.started + Duration::from_micros(offset_us.unsigned_abs()),
        }
    }

    /// A line for the call's log, behind that of the segment's beginning.
    pub(super) fn log_line(&mut self, now: Now, entry: &Entry) -> FileOp {
        let mut bytes = std::mem::take(&mut self.unlogged);
        bytes.extend(log::line(now.wall, entry));
        FileOp::AppendLine { path: layout::log_path(&self.directory), bytes }
    }
}

/// What the log of its call says of the beginning of a segment.
pub(crate) fn opened(record: &SegmentRecord, stem: &str) -> Entry {
    Entry::Opened {
        segment: record.id,
        number: record.number,
        manifest: layout::manifest_name(stem),
        state: RecordingState::begin(record.respondent),
    }
}

fn new_track(state: &StreamState) -> Option<NewTrack> {
    let (codec, sdp) = state.codec.clone()?;
    Some(NewTrack { stream: state.id, side: state.side, codec, sdp })
}

/// What is known of a segment before its first packet, without its metadata.
pub(super) fn first_record(open: &OpenSegment, Place { node, volume }: Place) -> SegmentRecord {
    SegmentRecord {
        id: open.segment,
        call: open.call,
        tenant: open.tenant.clone(),
        number: open.number,
        total: open.total.max(model::total::at_begin(open.number)),
        node,
        volume,
        state: RecordingState::begin(open.respondent),
        respondent: open.respondent,
        started: open.started,
        ended: None,
        trigger: open.trigger.clone(),
        end: None,
        stopped_by: None,
        pauses: Vec::new(),
        pauses_unlisted: 0,
        dtmf: open.dtmf,
        encryption: Encryption::None,
        data: open.data.clone(),
        metadata: Vec::new(),
        streams: open.streams.iter().map(stream::record_of).collect::<Vec<StreamRecord>>(),
        parts: Vec::new(),
        sidecar: None,
    }
}
