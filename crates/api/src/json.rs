//! What the interface says, as JSON: versioned by the path, independent of how the nouns are stored.
//!
//! Ids are text. Times are RFC 3339 in UTC. What came from the network is text and stays text.

use std::collections::BTreeMap;

use model::{
    CallId, Copy, Direction, EndReason, EventId, Join, Location, MediaKind, Metadata, Party, PartyRole,
    Pause, RecordingState, SegmentId, Side, StreamId, StreamRecord, TenantId, WallTime,
};
use serde::Serialize;
use store::{CallDetail, CallSummary, Event, SegmentDetail};
use utoipa::ToSchema;

use crate::gathering::GatheringJson;
use crate::port::CallGathering;
use crate::schema;
use crate::sides::SidesBody;

/// One who takes part in a call.
#[derive(Serialize, ToSchema)]
#[schema(as = Party)]
struct PartyJson {
    /// What it is in the call.
    #[schema(schema_with = schema::role)]
    role: PartyRole,
    /// Agent or external, as far as known.
    #[schema(schema_with = schema::side)]
    side: Side,
    /// As it came: `sip:1001@pbx.example`.
    uri: Option<String>,
    /// The user part of the URI, where that is a number.
    number: Option<String>,
    /// The display name.
    name: Option<String>,
    /// The participant id of SIPREC metadata.
    participant: Option<String>,
    /// Since when it takes part, where SIPREC metadata say so.
    #[schema(schema_with = schema::time_or_null)]
    joined: Option<WallTime>,
    /// When it left a call that went on without it, by SIPREC metadata.
    #[schema(schema_with = schema::time_or_null)]
    left: Option<WallTime>,
}

impl From<Party> for PartyJson {
    fn from(p: Party) -> Self {
        let Party { role, side, uri, number, name, participant, joined, left } = p;
        Self { role, side, uri, number, name, participant, joined, left }
    }
}

/// A SIPREC metadata body as it was received.
#[derive(Serialize, ToSchema)]
#[schema(as = Siprec)]
pub(crate) struct SiprecJson {
    /// When it came.
    #[schema(schema_with = schema::time)]
    at: WallTime,
    /// The request that carried it: `INVITE`, `UPDATE`, `BYE`.
    method: String,
    /// Its content type.
    content_type: String,
    /// Its text; octets that are not UTF-8 are replaced, `base64` then holds the original.
    text: String,
    /// The original octets, when the text is not the same.
    base64: Option<String>,
    /// Why it could not be understood, when it could not.
    problem: Option<String>,
}

impl From<Metadata> for SiprecJson {
    fn from(m: Metadata) -> Self {
        let Metadata { at, method, content_type, text, base64, problem } = m;
        Self { at, method, content_type, text, base64, problem }
    }
}

/// A call in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
pub(crate) struct CallJson {
    #[schema(schema_with = schema::id)]
    id: CallId,
    #[schema(value_type = String)]
    tenant: TenantId,
    #[schema(schema_with = schema::time)]
    started: WallTime,
    #[schema(schema_with = schema::time_or_null)]
    ended: Option<WallTime>,
    /// From the first segment's begin to the end; none while it goes on.
    duration_ms: Option<i64>,
    #[schema(schema_with = schema::state)]
    state: RecordingState,
    live: bool,
    /// Segments that it has, as far as was said.
    total: u16,
    /// Segments that are known.
    segments: u64,
    #[schema(schema_with = schema::direction)]
    direction: Direction,
    parties: Vec<PartyJson>,
    /// In order of the alphabet.
    tags: Vec<String>,
    #[schema(schema_with = schema::id)]
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
            parties: c.parties.into_iter().map(PartyJson::from).collect(),
            tags: c.tags,
            changed: c.changed,
        }
    }
}

/// One call.
#[derive(Serialize, ToSchema)]
#[schema(as = CallDetail)]
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
    /// Calls that turned out to be this one, in the order in which that was found. Their ids lead here.
    joined: Vec<JoinedJson>,
    /// How people corrected who is agent and who is external.
    sides: SidesBody,
    /// How bringing its segments together stands, as long as something is left to be done about it on this node; else null.
    gathering: Option<GatheringJson>,
}

impl DetailJson {
    /// With how the gathering of its segments stands.
    pub(crate) fn with(self, gathering: Option<CallGathering>) -> Self {
        Self { gathering: gathering.map(GatheringJson::from), ..self }
    }
}

/// A call that turned out to be another one.
#[derive(Serialize, ToSchema)]
#[schema(as = JoinedCall)]
struct JoinedJson {
    /// The call.
    #[schema(schema_with = schema::id)]
    call: CallId,
    /// When it was found.
    #[schema(schema_with = schema::time)]
    at: WallTime,
    /// By what it was found: `Session-ID`, `x-refci`.
    why: String,
}

impl From<Join> for JoinedJson {
    fn from(join: Join) -> Self {
        Self { call: join.from.call, at: join.at, why: join.why.describe() }
    }
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
            joined: detail.joins.into_iter().map(JoinedJson::from).collect(),
            sides: detail.sides.into(),
            gathering: None,
            call: detail.summary.into(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Segment)]
pub(crate) struct SegmentJson {
    #[schema(schema_with = schema::id)]
    id: SegmentId,
    number: u16,
    total: u16,
    #[schema(schema_with = schema::state)]
    state: RecordingState,
    live: bool,
    respondent: bool,
    node: u16,
    directory: String,
    /// The call that it was recorded as a segment of, where that turned out to be this one; else null.
    #[schema(schema_with = schema::id_or_null)]
    recorded_as: Option<CallId>,
    #[schema(schema_with = schema::time)]
    started: WallTime,
    #[schema(schema_with = schema::time_or_null)]
    ended: Option<WallTime>,
    duration_ms: Option<i64>,
    end: Option<EndJson>,
    bytes: u64,
    /// Its pauses, in order.
    pauses: Vec<PauseJson>,
    copies: Vec<CopyJson>,
    streams: Vec<StreamJson>,
}

/// A stretch of which nothing was kept because somebody asked for it.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentPause)]
struct PauseJson {
    #[schema(schema_with = schema::time)]
    from: WallTime,
    /// When it ended; null while it goes on, and when the segment ended before it.
    #[schema(schema_with = schema::time_or_null)]
    until: Option<WallTime>,
    /// Who asked for it, in words: `API (api)`.
    by: String,
    /// Who ended it.
    resumed_by: Option<String>,
}

impl From<Pause> for PauseJson {
    fn from(pause: Pause) -> Self {
        let resumed_by = pause.resumed_by.map(|by| by.describe());
        Self { from: pause.from, until: pause.until, by: pause.by.describe(), resumed_by }
    }
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
            recorded_as: segment.recorded_as.map(|(call, _)| call),
            started: record.started,
            ended: record.ended,
            duration_ms: duration_ms(record.started, record.ended),
            end: record.end.map(EndJson::from),
            bytes: record.parts.iter().map(|p| p.bytes).fold(sidecar, u64::saturating_add),
            pauses: record.pauses.into_iter().map(PauseJson::from).collect(),
            copies: segment.copies.into_iter().map(CopyJson::from).collect(),
            streams: record.streams.into_iter().map(StreamJson::from).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = SegmentEnd)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = Stream)]
pub(crate) struct StreamJson {
    #[schema(schema_with = schema::id)]
    id: StreamId,
    slot: u16,
    label: Option<String>,
    #[schema(schema_with = schema::media_kind)]
    kind: MediaKind,
    #[schema(schema_with = schema::side)]
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
    /// Not kept because digits are masked.
    masked: u64,
    /// Kept although digits are masked: its codec cannot be looked into.
    unsearched: u64,
    /// Not kept because they could not be opened, on a stream that is encrypted.
    unauthenticated: u64,
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
            masked: counts.masked,
            unsearched: counts.unsearched,
            unauthenticated: counts.unauthenticated,
            jitter_us: counts.jitter_us,
            jitter_max_us: counts.jitter_max_us,
            gaps: stream.gaps_unlisted.saturating_add(stream.gaps.len() as u64),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Copy)]
pub(crate) struct CopyJson {
    /// `node 0`, `archive nas`
    place: String,
    archive: bool,
    #[schema(schema_with = schema::state)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventJson {
    #[schema(schema_with = schema::id)]
    id: EventId,
    #[schema(schema_with = schema::time)]
    at: WallTime,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    kind: String,
    #[schema(schema_with = schema::id_or_null)]
    segment: Option<SegmentId>,
    /// The call that it is about.
    #[schema(schema_with = schema::id_or_null)]
    call: Option<CallId>,
    #[schema(schema_with = schema::event_body)]
    body: serde_json::Value,
}

impl From<Event> for EventJson {
    fn from(event: Event) -> Self {
        let body = serde_json::from_str(&event.body);
        let body = body.unwrap_or_else(|_| serde_json::Value::String(event.body.clone()));
        let Event { id, at, tenant, kind, call, segment, body: _ } = event;
        Self { id, at, tenant, kind, segment, call, body }
    }
}

fn duration_ms(started: WallTime, ended: Option<WallTime>) -> Option<i64> {
    ended.map(|ended| (ended.nanos_since(started) / 1_000_000).max(0))
}
