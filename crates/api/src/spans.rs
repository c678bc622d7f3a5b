//! Where the segments of a call lie in its time, and where nothing of it was kept and why: what is drawn over a picture
//! of its sound ([`peaks`](crate::peaks)), whose time is the same.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{EndReason, GapReason, MediaKind, SegmentId, SegmentRecord, Side, WallTime};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::calls::of;
use crate::document::CallRefusals;
use crate::path::CallPath;
use crate::places;
use crate::port::CallPlaces;
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// 2,000 spans: more than a screen has room for. The longest are told.
const SPANS_MAX: usize = 2_000;

/// How long other nodes may take to say what they have: longer than one that is up and mute is waited for.
const PLACES_WITHIN: Duration = Duration::from_secs(6);

/// Where segments lie, and where nothing was kept.
#[derive(Serialize, ToSchema)]
#[schema(as = Spans)]
struct SpansJson {
    /// Segments, in the order of their beginnings.
    segments: Vec<PlacedJson>,
    /// Holds, pauses, and gaps in what was received, in the order of their beginnings. Silence that was sent as such, or
    /// by sending nothing, is not among them.
    spans: Vec<SpanJson>,
    /// Shorter spans that are left out, beyond 2,000.
    unlisted: u64,
}

/// A segment in the call's time.
#[derive(Serialize, ToSchema)]
#[schema(as = PlacedSegment)]
struct PlacedJson {
    #[schema(schema_with = schema::id)]
    id: SegmentId,
    number: u16,
    /// Milliseconds from the call's beginning.
    from_ms: i64,
    /// The same, where it ends; null while it goes on.
    until_ms: Option<i64>,
}

/// A stretch of which nothing was kept.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Span)]
struct SpanJson {
    /// `hold`; `pause`; `loss`: on the way here; `dropped`: storage could not keep up; `masked`: digits that were pressed.
    #[schema(value_type = String, examples("pause"))]
    kind: GapReason,
    /// Whose voice is missing; null: all of them.
    #[schema(value_type = Option<String>, examples("agent"))]
    side: Option<Side>,
    /// Milliseconds from the call's beginning.
    from_ms: i64,
    /// The same, where it ends; null while it goes on.
    until_ms: Option<i64>,
}

/// Where segments lie in a call's time, and where nothing was kept and why.
#[utoipa::path(get, path = "/calls/{id}/spans", operation_id = "get_spans", tag = "calls",
    params(CallPath),
    responses((status = 200, description = "Segments and spans", body = SpansJson),
        (status = 304, description = "As the ETag in If-None-Match"), CallRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn spans(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let detail = of(&state, CallPath::read(&path)?).await?;
    let ended = detail.summary.ended;
    // What other nodes have is drawn too, and the catalog of this one may not know it.
    let places = if detail.summary.state.is_gathered() {
        CallPlaces::default()
    } else {
        // The rest waits for no node, and for no disk.
        let places = tokio::time::timeout(PLACES_WITHIN, places::of(&state, detail.summary.id)).await;
        places.ok().and_then(Result::ok).unwrap_or_default()
    };
    let is_across = places.segments.iter().any(|place| place.at.is_some());
    let records: Vec<SegmentRecord> = match is_across {
        true => places.segments.into_iter().map(|place| place.record).collect(),
        false => detail.segments.into_iter().map(|segment| segment.record).collect(),
    };
    answer::json(&headers, &SpansJson::of(&records, ended))
}

impl SpansJson {
    fn of(segments: &[SegmentRecord], ended: Option<WallTime>) -> Self {
        let mut records: Vec<&SegmentRecord> = segments.iter().collect();
        records.sort_by_key(|r| (r.started, r.number));
        let begin = records.first().map(|r| r.started).unwrap_or_default();
        let at = |time: WallTime| time.nanos_since(begin) / 1_000_000;
        let mut spans = Vec::new();
        for record in &records {
            let start = at(record.started);
            of_segment(record, start, record.ended.map(at), &mut spans);
            if let (Some(from), Some(EndReason::Hold)) = (record.ended, &record.end)
                && let Some(next) = next_after(from, &records)
            {
                spans.push(SpanJson {
                    kind: GapReason::Hold,
                    side: None,
                    from_ms: at(from),
                    until_ms: next.or(ended).map(at),
                });
            }
        }
        let long = |s: &SpanJson| s.until_ms.map_or(i64::MAX, |until| until.saturating_sub(s.from_ms));
        spans.sort_by_key(|s| std::cmp::Reverse(long(s)));
        let unlisted = spans.len().saturating_sub(SPANS_MAX) as u64;
        spans.truncate(SPANS_MAX);
        spans.sort_by_key(|s| s.from_ms);
        let placed = |r: &&SegmentRecord| PlacedJson {
            id: r.id,
            number: r.number,
            from_ms: at(r.started),
            until_ms: r.ended.map(at),
        };
        Self { segments: records.iter().map(placed).collect(), spans, unlisted }
    }
}

/// When the next segment begins after one that ended; none within when there is none. None at all where another goes on
/// meanwhile: calls that turned out to be one may have several at a time.
fn next_after(end: WallTime, records: &[&SegmentRecord]) -> Option<Option<WallTime>> {
    let goes_on = |r: &SegmentRecord| r.started < end && r.ended.is_none_or(|ended| ended > end);
    let next = || records.iter().map(|r| r.started).filter(|started| *started >= end).min();
    (!records.iter().any(|r| goes_on(r))).then(next)
}

/// The pauses of a segment, and the gaps of its streams.
fn of_segment(record: &SegmentRecord, start: i64, end: Option<i64>, spans: &mut Vec<SpanJson>) {
    let at = |us: i64| start.saturating_add(us / 1_000);
    for pause in &record.pauses {
        let until_ms = pause.until_us.map(at).or(end);
        let from_ms = at(pause.from_us.max(0));
        spans.push(SpanJson { kind: GapReason::Pause, side: None, from_ms, until_ms });
    }
    for stream in record.streams.iter().filter(|s| s.kind == MediaKind::Audio) {
        // A pause is the segment's, and was told once.
        let told = |reason| match reason {
            GapReason::Silence => false,
            GapReason::Pause => record.pauses.is_empty(),
            _ => true,
        };
        for gap in stream.gaps.iter().filter(|g| told(g.reason)) {
            spans.push(SpanJson {
                kind: gap.reason,
                side: Some(stream.side),
                from_ms: at(gap.from_us),
                until_ms: Some(at(gap.until_us)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn segment(started: u32, ended: Option<u32>) -> SegmentRecord {
        let at = |second: u32| format!("2026-11-20T09:15:{second:02}Z");
        let record = json!({
            "id": "00000000004w9", "call": "00000000003x0", "tenant": "default", "number": 1, "total": 1,
            "node": 0, "state": "partial", "started": at(started), "ended": ended.map(at),
            "trigger": { "by": "manager" }, "data": {}, "streams": [], "parts": [],
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_hold_is_where_nothing_else_is_recorded() {
        let (first, meanwhile) = (segment(0, Some(10)), segment(5, Some(20)));
        let (next, live) = (segment(30, None), segment(8, None));
        let end = first.ended.unwrap();
        for (records, expected) in [
            (vec![&first], Some(None)),
            (vec![&first, &next], Some(Some(next.started))),
            (vec![&first, &meanwhile, &next], None),
            (vec![&first, &live], None),
        ] {
            assert_eq!(next_after(end, &records), expected, "{}", records.len());
        }
    }
}
