//! What the interface says, as JSON: versioned by the path, independent of how the nouns are stored.
//!
//! Ids are text. Times are RFC 3339 in UTC. What came from the network is text and stays text.

use std::collections::BTreeMap;

use model::{
    Copy, Direction, EndReason, EventId, Location, MediaKind, Party, RecordingState, SegmentId, Side,
    StreamId, StreamRecord, TenantId, WallTime,
};
use serde::Serialize;
use store::{CallDetail, CallSummary, Event, SegmentDetail};

/// A call in a list.
#[derive(Serialize)]
pub(crate) struct CallJson {
    id: model::CallId,
    tenant: TenantId,
    started: WallTime,
    ended: Option<WallTime>,
    /// From the first segment's begin to the end; none while it goes on.
    duration_ms: Option<i64>,
    state: RecordingState,
    live: bool,
    /// Segments that it has, as far as was said.
    total: u16,
    /// Segments that are known.
    segments: u64,
    direction: Direction,
    parties: Vec<Party>,
    changed: EventId,
}

impl From<CallSummary> for CallJson {
    fn from(c: CallSummary) -> Self {
        Self {
            id: c.id,
            tenant: c.tenant,
            started: c.started,
            ended: c.ended,
            duration_ms: duration_ms(c.started, c.ended),
            state: c.state,
            live: c.live,
            total: c.total,
            segments: c.segments,
            direction: c.direction,
            parties: c.parties,
            changed: c.changed,
        }
    }
}

/// One call.
#[derive(Serialize)]
pub(crate) struct DetailJson {
    #[serde(flatten)]
    call: CallJson,
    /// Where it can be played; none when nothing was recorded.
    audio: Option<String>,
    dn: Option<String>,
    device: Option<String>,
    sip_call_ids: Vec<String>,
    correlation: BTreeMap<String, String>,
    /// Key-values from vendor headers, and those that were added later, which win.
    extra: BTreeMap<String, String>,
    segment_list: Vec<SegmentJson>,
    copies: Vec<CopyJson>,
    events: Vec<EventJson>,
}

impl From<CallDetail> for DetailJson {
    fn from(detail: CallDetail) -> Self {
        let playable = detail.segments.iter().any(|s| !s.record.parts.is_empty());
        let mut extra = detail.data.extra;
        extra.extend(detail.extra);
        Self {
            audio: playable.then(|| format!("/api/v1/calls/{}/audio.wav", detail.summary.id)),
            dn: detail.data.dn,
            device: detail.data.device,
            sip_call_ids: detail.data.sip_call_ids,
            correlation: detail.data.correlation,
            extra,
            segment_list: detail.segments.into_iter().map(SegmentJson::from).collect(),
            copies: detail.copies.into_iter().map(CopyJson::from).collect(),
            events: detail.events.into_iter().map(EventJson::from).collect(),
            call: detail.summary.into(),
        }
    }
}

#[derive(Serialize)]
struct SegmentJson {
    id: SegmentId,
    number: u16,
    total: u16,
    state: RecordingState,
    live: bool,
    respondent: bool,
    node: u16,
    directory: String,
    started: WallTime,
    ended: Option<WallTime>,
    duration_ms: Option<i64>,
    end: Option<EndJson>,
    bytes: u64,
    copies: Vec<CopyJson>,
    streams: Vec<StreamJson>,
}

impl From<SegmentDetail> for SegmentJson {
    fn from(segment: SegmentDetail) -> Self {
        let record = segment.record;
        let sidecar = record.sidecar.as_ref().map_or(0, |s| s.bytes);
        Self {
            id: record.id,
            number: record.number,
            total: record.total,
            state: segment.state,
            live: record.is_live(),
            respondent: record.respondent == model::state::Respondent::Yes,
            node: record.node.get(),
            directory: segment.directory,
            started: record.started,
            ended: record.ended,
            duration_ms: duration_ms(record.started, record.ended),
            end: record.end.map(EndJson::from),
            bytes: record.parts.iter().map(|p| p.bytes).fold(sidecar, u64::saturating_add),
            copies: segment.copies.into_iter().map(CopyJson::from).collect(),
            streams: record.streams.into_iter().map(StreamJson::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct EndJson {
    /// `hold`, `transfer`, `hang-up`, `stop`, `upstream`, `internal`
    kind: &'static str,
    /// In words.
    text: String,
}

impl From<EndReason> for EndJson {
    fn from(end: EndReason) -> Self {
        let kind = match &end {
            EndReason::Hold => "hold",
            EndReason::Transfer => "transfer",
            EndReason::HangUp => "hang-up",
            EndReason::Stop => "stop",
            EndReason::Upstream(_) => "upstream",
            EndReason::Internal(_) => "internal",
        };
        Self { kind, text: end.describe() }
    }
}

#[derive(Serialize)]
struct StreamJson {
    id: StreamId,
    slot: u16,
    label: Option<String>,
    kind: MediaKind,
    side: Side,
    /// The names of the codecs seen, in order.
    codecs: Vec<String>,
    packets: u64,
    lost: u64,
    late: u64,
    reordered: u64,
    duplicate: u64,
    discarded: u64,
    dropped: u64,
    jitter_us: u64,
    jitter_max_us: u64,
    gaps: u64,
}

impl From<StreamRecord> for StreamJson {
    fn from(stream: StreamRecord) -> Self {
        let counts = stream.accounting;
        let mut codecs: Vec<String> = Vec::new();
        for codec in stream.codecs.into_iter().filter_map(|c| c.codec) {
            if !codecs.contains(&codec.name) {
                codecs.push(codec.name);
            }
        }
        Self {
            id: stream.id,
            slot: stream.slot,
            label: stream.label,
            kind: stream.kind,
            side: stream.side,
            codecs,
            packets: counts.received,
            lost: counts.lost,
            late: counts.late,
            reordered: counts.reordered,
            duplicate: counts.duplicate,
            discarded: counts.discarded,
            dropped: counts.dropped,
            jitter_us: counts.jitter_us,
            jitter_max_us: counts.jitter_max_us,
            gaps: stream.gaps_unlisted.saturating_add(stream.gaps.len() as u64),
        }
    }
}

#[derive(Serialize)]
struct CopyJson {
    /// `node 0`, `archive nas`
    place: String,
    archive: bool,
    state: RecordingState,
}

impl From<Copy> for CopyJson {
    fn from(copy: Copy) -> Self {
        Self {
            place: copy.at.to_string(),
            archive: matches!(copy.at, Location::Archive(_)),
            state: copy.state,
        }
    }
}

#[derive(Serialize)]
struct EventJson {
    id: EventId,
    at: WallTime,
    kind: String,
    segment: Option<SegmentId>,
    body: serde_json::Value,
}

impl From<Event> for EventJson {
    fn from(event: Event) -> Self {
        let body = serde_json::from_str(&event.body).unwrap_or(serde_json::Value::String(event.body));
        Self { id: event.id, at: event.at, kind: event.kind, segment: event.segment, body }
    }
}

fn duration_ms(started: WallTime, ended: Option<WallTime>) -> Option<i64> {
    ended.map(|ended| (ended.nanos_since(started) / 1_000_000).max(0))
}
