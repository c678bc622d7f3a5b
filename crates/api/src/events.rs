//! What happens, as it happens: server-sent events from the catalog's outbox.
//!
//! A client is given what it has room for and no more: the next page of events is read when the one before has
//! gone out, so nothing is buffered for one that does not read, and its connection is closed by whoever serves it. A
//! stream ends after a while, so that no place is taken for ever. Each event has an id; a client that comes again
//! with it goes on where it was. When what it has missed is not kept any more, it is told of the gap first.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use model::{CallId, EventId};
use serde::Deserialize;
use store::{Event, EventSpan};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use crate::document::EventRefusals;
use crate::json::EventJson;
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// Events that are read at once, and so the most that are held for a client.
const PAGE: usize = 100;
/// How often the outbox is looked into: what a person sees as at once.
const LOOK: Duration = Duration::from_millis(250);
/// How long a stream lasts by default. Where little happens, what is sent fits into the buffers on the way for hours, so
/// that a client that never reads cannot be told from one that does: its place comes back in any case. Others come
/// again by themselves and go on where they were.
pub const EVENT_STREAM_LASTS: Duration = Duration::from_secs(60 * 60);
/// How often something is sent when nothing happens, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What kinds of events there are.
pub const KINDS: [&str; 8] = ["call", "segment", "copy", "tag", "metadata", "joined", "sides", "alarm"];

/// An event as JSON: as streams have it, and whoever tells of it in another way.
///
/// # Errors
/// None that is known of: all of it is text and numbers.
pub fn event_json(event: &Event) -> Result<String, serde_json::Error> {
    serde_json::to_string(&EventJson::from(event.clone()))
}

/// Which events.
#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventParameters {
    /// Only these kinds.
    #[param(schema_with = schema::event_kinds)]
    kind: Option<String>,
    /// Only those of this call.
    #[param(schema_with = schema::id)]
    call: Option<String>,
    /// Those after this event, as `Last-Event-ID`, which wins. `0000000000000`: from the oldest that is kept on.
    #[param(schema_with = schema::id)]
    after: Option<String>,
}

/// Events as they happen, as server-sent events (text/event-stream).
///
/// Each has `id`, `event` (its kind) and `data` (an `Event` as JSON). Without `Last-Event-ID` or `after` it begins
/// now. The event `gap` says that events after the named one are not kept any more: ask for lists anew, then go on.
/// Lines that begin with a colon are heartbeats, each 15 s. After an hour the stream ends: come again.
#[utoipa::path(get, path = "/events", operation_id = "stream_events", tag = "events",
    params(EventParameters,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received", pattern = "^[0-7][0-9a-hjkmnp-tv-z]{12}$")),
    responses((status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
        EventRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn events(
    State(state): State<ApiState>,
    headers: HeaderMap,
    parameters: Result<Query<EventParameters>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_query(e.body_text()))?;
    let wanted = Wanted::read(&parameters)?;
    let last = match headers.get("last-event-id") {
        Some(id) => Some(parsed(id.to_str().unwrap_or_default()).map_err(Problem::bad_last_event_id)?),
        None => parameters
            .after
            .as_deref()
            .map(|t| parsed(t).map_err(|e| Problem::bad_parameter("after", e)))
            .transpose()?,
    };
    let Ok(permit) = state.0.event_streams.clone().try_acquire_owned() else {
        return Err(Problem::too_many_streams());
    };
    let span = state.0.catalog.event_span().await?;
    let (after, gap) = begin(last, span);
    let ends = Instant::now() + state.0.config.event_stream_lasts;
    let feed = Feed { state, wanted, after, ready: gap.into_iter().collect(), ends, _permit: permit };
    Ok(Sse::new(stream::unfold(feed, Feed::next)).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("")))
}

fn parsed(text: &str) -> Result<EventId, String> {
    text.parse().map_err(|e: model::IdParseError| e.to_string())
}

/// Where a stream begins, and the gap that is told of first.
fn begin(last: Option<EventId>, kept: EventSpan) -> (EventId, Option<Sent>) {
    let none = EventId::from_u64(0);
    match last {
        None => (kept.newest.unwrap_or(none), None),
        Some(last) if last == none => (last, None),
        // Known events are kept for a month: what is not among them any more had others after it.
        Some(last) if kept.oldest.is_none_or(|oldest| last < oldest) => {
            let data = serde_json::json!({ "after": last, "oldest": kept.oldest });
            (last, Some(Sent::default().event("gap").data(data.to_string())))
        }
        Some(last) => (last, None),
    }
}

/// Which events a client wants.
struct Wanted {
    kinds: Option<BTreeSet<String>>,
    call: Option<CallId>,
}

impl Wanted {
    fn read(parameters: &EventParameters) -> Result<Self, Problem> {
        let kinds = parameters.kind.as_deref();
        let kinds: Option<BTreeSet<String>> = kinds.map(|k| k.split(',').map(str::to_owned).collect());
        if let Some(other) = kinds.iter().flatten().find(|k| !KINDS.contains(&k.as_str())) {
            let other: String = other.chars().take(40).collect();
            return Err(Problem::bad_parameter("kind", format!("'{other}' is none of {}", KINDS.join(", "))));
        }
        let call = parameters.call.as_deref().map(str::parse).transpose();
        let call = call.map_err(|e: model::IdParseError| Problem::bad_parameter("call", e))?;
        Ok(Self { kinds, call })
    }

    fn is(&self, event: &Event) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
            && self.call.is_none_or(|call| event.call == Some(call))
    }
}

/// What one client is sent.
struct Feed {
    state: ApiState,
    wanted: Wanted,
    /// The newest event that was looked at.
    after: EventId,
    ready: VecDeque<Sent>,
    /// When its client has to come again.
    ends: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Sent, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if Instant::now() >= self.ends {
                return None;
            }
            if self.look().await < PAGE {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Reads the next page. How many events there were, also those that nobody wants here.
    async fn look(&mut self) -> usize {
        // A catalog that is away comes back, and the heartbeats go on meanwhile.
        let Ok(page) = self.state.0.catalog.events(self.after, PAGE).await else { return 0 };
        let count = page.len();
        for event in page {
            self.after = event.id;
            if event.tenant == self.state.0.config.tenant && self.wanted.is(&event) {
                let sent = Sent::default().id(event.id.to_string()).event(event.kind.clone());
                match sent.json_data(EventJson::from(event)) {
                    Ok(sent) => self.ready.push_back(sent),
                    Err(error) => tracing::error!(%error, "an event cannot be told"),
                }
            }
        }
        count
    }
}
