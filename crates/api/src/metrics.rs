//! `/metrics`: numbers for Prometheus, in its text format.
//!
//! What the node counts comes by a port; what this interface counts is kept here. Labels are names of ours (routes,
//! classes of statuses), so the number of series is bounded whatever is asked.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family as Labeled;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::{AlarmQuery, LIST_MAX};

use crate::alarms;
use crate::document::MetricsRefusals;
use crate::port::{Distribution, Family, FamilyKind, count};
use crate::problem::Problem;
use crate::state::{ApiState, EVENT_STREAMS_MAX, LISTENERS_MAX, REQUESTS_MAX};

/// From an answer out of memory to the longest that one may take to begin.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];

type Labels = Vec<(&'static str, String)>;

/// How long answers take to begin, by route and class of status.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Labeled<Labels, Histogram, fn() -> Histogram>);

impl Default for Latency {
    fn default() -> Self {
        Self(Labeled::new_with_constructor(|| Histogram::new(SECONDS)))
    }
}

/// Measures how long an answer takes to begin.
pub(crate) async fn measure(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let class = format!("{}xx", response.status().as_u16() / 100);
    let labels = vec![("route", route), ("class", class)];
    state.0.latency.0.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    response
}

/// Numbers of this node in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "node",
    responses((status = 200, description = "Numbers", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        MetricsRefusals),
    security((), ("token" = []), ("cookie" = [])))]
pub(crate) async fn metrics(State(state): State<ApiState>) -> Result<Response, Problem> {
    let mut families = state.0.metrics.families();
    families.extend(lasting(&state).await);
    families.push(places(&state));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gathered(families)));
    registry.register(
        "callspool_http_request_duration_seconds",
        "How long answers of the interface took to begin",
        state.0.latency.0.clone(),
    );
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).map_err(|e| Problem::internal(e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response())
}

/// Conditions that last, by kind and severity.
async fn lasting(state: &ApiState) -> Option<Family> {
    let query = AlarmQuery {
        tenant: state.0.config.tenant.clone(),
        active: true,
        limit: Some(LIST_MAX),
        ..AlarmQuery::default()
    };
    let (rows, _) = alarms::found(state, &query).await.ok()?;
    let mut by_kind = std::collections::BTreeMap::<(String, String), u64>::new();
    for row in rows {
        *by_kind.entry((row.alarm.kind.to_string(), row.alarm.severity.to_string())).or_default() += 1;
    }
    let family = Family::gauge("callspool_alarms_active", "Alarms that last, at most 1000 of them");
    Some(by_kind.into_iter().fold(family, |family, ((kind, severity), n)| {
        family.with(&[("kind", &kind), ("severity", &severity)], count(n))
    }))
}

/// Who is being served.
fn places(state: &ApiState) -> Family {
    let taken = |free: usize, max: usize| count(max.saturating_sub(free));
    let of = |semaphore: &Arc<tokio::sync::Semaphore>, max| taken(semaphore.available_permits(), max);
    Family::gauge(
        "callspool_http_places_taken",
        "Clients that are served at the moment, by what takes a place",
    )
    .with(&[("place", "request")], of(&state.0.requests, REQUESTS_MAX))
    .with(&[("place", "listener")], of(&state.0.listeners, LISTENERS_MAX))
    .with(&[("place", "events")], of(&state.0.event_streams, EVENT_STREAMS_MAX))
}

/// Families that were gathered for one answer.
#[derive(Debug)]
struct Gathered(Vec<Family>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let is_told = |f: &&Family| !f.samples.is_empty() || matches!(f.kind, FamilyKind::Histogram(_));
        for family in self.0.iter().filter(is_told) {
            let kind = match family.kind {
                FamilyKind::Counter => MetricType::Counter,
                FamilyKind::Gauge => MetricType::Gauge,
                FamilyKind::Histogram(_) => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            if let FamilyKind::Histogram(Distribution { buckets, sum }) = &family.kind {
                let all = buckets.iter().map(|(_, times)| times).sum();
                metric.encode_histogram::<Labels>(*sum, all, buckets, None)?;
            }
            for sample in &family.samples {
                let encoder = metric.encode_family(&sample.labels)?;
                match family.kind {
                    FamilyKind::Counter => ConstCounter::new(sample.value).encode(encoder)?,
                    FamilyKind::Gauge => ConstGauge::new(sample.value).encode(encoder)?,
                    FamilyKind::Histogram(_) => {}
                }
            }
        }
        Ok(())
    }
}
