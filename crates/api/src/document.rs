//! The OpenAPI document: what is said once for all routes. Each route says the rest beside its code.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response as Answer;

use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, OpenApiVersion, Ref, RefOr,
    Response, ResponseBuilder, tag::TagBuilder,
};

use crate::answer;
use crate::problem::kinds::{self, Kind};

const ABOUT: &str = "Calls that callspool records: lists, segments, audio, notes, orders to live calls, events.\n\n\
    Ids are text. Times are RFC 3339 in UTC. Errors are `application/problem+json` (RFC 9457); their `type` leads to \
    what to do. What is not described here is not promised; members may be added to answers within v1.";

/// What every route may answer.
const COMMON: [Kind; 8] = [
    kinds::BAD_REQUEST,
    kinds::UNAUTHORIZED,
    kinds::NOT_ACCEPTABLE,
    kinds::FOREIGN_HOST,
    kinds::TOO_MANY_REQUESTS,
    kinds::INTERNAL,
    kinds::BUSY,
    kinds::TOO_SLOW,
];

/// What is referred to by name alone.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    crate::problem::Body,
    crate::event_bodies::CallEvent,
    crate::event_bodies::SegmentEvent,
    crate::event_bodies::CopyEvent,
    crate::event_bodies::TagEvent,
    crate::event_bodies::MetadataEvent,
    crate::event_bodies::JoinedEvent,
    crate::event_bodies::SidesEvent,
    crate::event_bodies::AlarmEvent
)))]
struct Named;

/// The document without its paths.
pub(crate) fn base() -> OpenApi {
    let mut components = <Named as utoipa::OpenApi>::openapi().components.unwrap_or_default();
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(
        "cookie",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(crate::guard::COOKIE))),
    );
    let tags = [
        ("calls", "Calls, their segments, streams and copies"),
        ("audio", "What was said"),
        ("notes", "Tags and key-values that people give to calls; they are kept in the call's log"),
        ("orders", "Orders to live calls; they go to whoever holds the call, never through the catalog"),
        ("events", "What happens, as it happens"),
        ("alarms", "What is wrong, or was"),
        ("node", "How this node stands"),
    ];
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("callspool")
                .version("1")
                .description(Some(ABOUT))
                .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
                .build(),
        )
        .components(Some(components))
        .tags(Some(tags.map(|(name, what)| TagBuilder::new().name(name).description(Some(what)).build())))
        .build();
    document.openapi = OpenApiVersion::Version31;
    document
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "get_openapi", tag = "node",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = serde_json::Value, content_type = "application/json"),
        (status = 304, description = "As the ETag in If-None-Match"), OpenRefusals))]
pub(crate) async fn openapi(headers: HeaderMap) -> Answer {
    answer::tagged(&headers, HeaderValue::from_static("application/json"), text().into_bytes())
}

/// The document as text, as it stands in `docs/openapi.json`.
#[must_use]
pub fn text() -> String {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let document = crate::whole_document();
        // Plain data with text keys: it always serializes.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    })
    .clone()
}

/// Declares which refusals routes have beside those that all have.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($kind:ident)*;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}

        impl utoipa::IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$(kinds::$kind),*])
            }
        }
    )*};
}

refusals! {
    /// Of routes that ask the catalog.
    CatalogRefusals: CATALOG_AWAY;
    /// Of routes that ask the catalog for a call.
    CallRefusals: NO_SUCH_CALL CATALOG_AWAY;
    /// Of routes that ask the catalog for a segment.
    SegmentRefusals: NO_SUCH_CALL NO_SUCH_SEGMENT CATALOG_AWAY;
    /// Of routes that read a call's log.
    LogRefusals: NO_SUCH_CALL RECORDING_AWAY RECORDING_UNREADABLE;
    /// Of files of sound.
    AudioRefusals: NO_SUCH_CALL NOTHING_TO_PLAY RECORDING_AWAY RECORDING_UNREADABLE FORMAT_MISSING;
    /// Of sound that is said now.
    ListenRefusals: NO_SUCH_CALL NOT_LIVE TOO_MANY_LISTENERS NODE_UNREACHABLE;
    /// Of pictures.
    PeaksRefusals: NO_SUCH_CALL NOTHING_TO_PLAY RECORDING_AWAY RECORDING_UNREADABLE;
    /// Of routes that write to a call's log.
    NoteRefusals: FOREIGN_ORIGIN NO_SUCH_CALL LIMIT_REACHED TOO_LONG UNSUPPORTED_TYPE UNFIT RECORDING_AWAY RECORDING_UNREADABLE;
    /// Of corrected sides.
    SideRefusals: FOREIGN_ORIGIN NO_SUCH_CALL NO_SUCH_STREAM LIMIT_REACHED TOO_LONG UNSUPPORTED_TYPE UNFIT RECORDING_AWAY RECORDING_UNREADABLE;
    /// Of calls that are to be joined.
    JoinRefusals: FOREIGN_ORIGIN NO_SUCH_CALL NOT_ALLOWED RECORDING_AWAY RECORDING_UNREADABLE NODE_UNREACHABLE ORDER_TIMED_OUT;
    /// Of calls that are to be gathered.
    GatherRefusals: FOREIGN_ORIGIN NO_SUCH_CALL NOT_ALLOWED NODE_UNREACHABLE;
    /// Of orders.
    OrderRefusals: FOREIGN_ORIGIN NO_SUCH_CALL NOT_LIVE NOT_ALLOWED TOO_LONG UNSUPPORTED_TYPE UNFIT NODE_UNREACHABLE ORDER_TIMED_OUT;
    /// Of keys.
    KeysRefusals: FOREIGN_ORIGIN NO_SUCH_CALL NO_SUCH_STREAM NOT_LIVE NOT_ALLOWED TOO_LONG UNSUPPORTED_TYPE UNFIT NODE_UNREACHABLE ORDER_TIMED_OUT;
    /// Of the stream of events.
    EventRefusals: TOO_MANY_STREAMS CATALOG_AWAY;
    /// Of the metrics.
    MetricsRefusals: ;
    /// Of pages that may not be there.
    PathRefusals: NO_SUCH_PATH;
    /// Of routes that tell nothing of calls.
    OpenRefusals: ;
}

/// Refusals by status, each kind an example.
fn responses(own: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in COMMON.iter().chain(own) {
        by_status.entry(kind.status.as_u16()).or_default().push(*kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status.to_string(), response(&kinds).into())).collect()
}

fn response(of: &[Kind]) -> Response {
    let titles: Vec<&str> = of.iter().map(|k| k.title).collect();
    let example = |kind: &Kind| {
        let body = serde_json::json!({
            "type": kind.uri(), "title": kind.title, "status": kind.status.as_u16(), "detail": kind.advice,
        });
        (kind.slug.to_owned(), ExampleBuilder::new().value(Some(body)).build())
    };
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(of.iter().map(example))
        .build();
    ResponseBuilder::new().description(titles.join("; ")).content("application/problem+json", content).build()
}
