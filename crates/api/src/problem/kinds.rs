//! The kinds of errors that clients can tell apart, each with its status. `docs/api.md` lists them, and a test
//! compares.

use axum::http::StatusCode;

/// A kind of error. Its slug never changes its meaning and is never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The end of its `type` URI: `/problems/<slug>`.
    pub(crate) slug: &'static str,
    /// The one status that it comes with.
    pub(crate) status: StatusCode,
    /// What it is, in a few words.
    pub(crate) title: &'static str,
    /// What to do about it.
    pub(crate) advice: &'static str,
}

impl Kind {
    /// Its `type`, which leads to what to do about it.
    pub(crate) fn uri(&self) -> String {
        format!("/problems/{}", self.slug)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:ident, $title:literal, $advice:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Kind =
            Kind { slug: $slug, status: StatusCode::$status, title: $title, advice: $advice };)*
        /// All of them, in the order of their statuses.
        pub(crate) const KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    /// A parameter, header or path that makes no sense.
    BAD_REQUEST = "bad-request", BAD_REQUEST, "The request cannot be understood",
        "`in` and `at` say which part of the request; `detail` says what it should be";
    /// No token, or a wrong one.
    UNAUTHORIZED = "unauthorized", UNAUTHORIZED, "A token is needed",
        "send `Authorization: Bearer <token>`; the token is in `api.token_file`";
    /// A page of another origin would change something by the cookie of ours.
    FOREIGN_ORIGIN = "foreign-origin", FORBIDDEN, "The request comes from a foreign page",
        "call from the page itself, or with `Authorization: Bearer` and without `Origin`";
    /// No route.
    NO_SUCH_PATH = "no-such-path", NOT_FOUND, "There is no such page",
        "all paths are in `/api/v1/openapi.json`";
    /// It does not exist, or is another tenant's.
    NO_SUCH_CALL = "no-such-call", NOT_FOUND, "There is no such call",
        "look for it with `/api/v1/calls`";
    /// The call has no such segment.
    NO_SUCH_SEGMENT = "no-such-segment", NOT_FOUND, "The call has no such segment",
        "look for it with `/api/v1/calls/{id}/segments`";
    /// The call has no such stream.
    NO_SUCH_STREAM = "no-such-stream", NOT_FOUND, "The call has no such stream",
        "its segments list them: `/api/v1/calls/{id}/segments`";
    /// Nothing was recorded that can be decoded.
    NOTHING_TO_PLAY = "nothing-to-play", NOT_FOUND, "There is nothing to play",
        "`detail` says why; a call that has just begun may have something in a moment";
    /// The route knows no such method.
    METHOD_NOT_ALLOWED = "method-not-allowed", METHOD_NOT_ALLOWED, "The path knows no such method",
        "the header `Allow` lists those that it knows";
    /// The client accepts no type that the route has.
    NOT_ACCEPTABLE = "not-acceptable", NOT_ACCEPTABLE, "The path has no type that is accepted",
        "`detail` names the type; accept it, or leave `Accept` out";
    /// An order to a call that is over, or somebody who wants to listen to it.
    NOT_LIVE = "not-live", CONFLICT, "The call is over",
        "only live calls take orders and can be listened to: list them with `?live=true`";
    /// The call is live and cannot do what was ordered.
    NOT_ALLOWED = "not-allowed", CONFLICT, "The call cannot do this now",
        "`detail` says why";
    /// As many notes as a call may have.
    LIMIT_REACHED = "limit-reached", CONFLICT, "No more can be noted of the call",
        "`detail` names the limit; take something away first";
    /// More body than any route takes.
    TOO_LONG = "too-long", PAYLOAD_TOO_LARGE, "The body is too long",
        "send at most 64 KiB";
    /// A body of another type than JSON.
    UNSUPPORTED_TYPE = "unsupported-type", UNSUPPORTED_MEDIA_TYPE, "The body is of another type",
        "send `Content-Type: application/json`";
    /// A name that this server is not meant to be called by.
    FOREIGN_HOST = "foreign-host", MISDIRECTED_REQUEST, "This server is not served under that name",
        "add the name to `api.allowed_hosts`";
    /// JSON that does not say what the route needs.
    UNFIT = "unfit", UNPROCESSABLE_ENTITY, "The body does not fit",
        "`at` points into the body, `detail` says what belongs there";
    /// More streams of events than a server has room for.
    TOO_MANY_STREAMS = "too-many-streams", TOO_MANY_REQUESTS, "Too many streams of events",
        "close streams that nobody reads; try again after `Retry-After`";
    /// A source asks too often.
    TOO_MANY_REQUESTS = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests",
        "ask less often; try again after `Retry-After`";
    /// As many listen to live calls as may.
    TOO_MANY_LISTENERS = "too-many-listeners", TOO_MANY_REQUESTS, "No more can listen",
        "wait until somebody stops to listen; `detail` says how many may";
    /// Something of ours broke.
    INTERNAL = "internal", INTERNAL_SERVER_ERROR, "Something went wrong here",
        "see the log of callspool";
    /// The files of a recording cannot be read.
    RECORDING_UNREADABLE = "recording-unreadable", INTERNAL_SERVER_ERROR, "The recording cannot be read",
        "`callspool verify <call>` says what is wrong with its files";
    /// A program is not installed.
    FORMAT_MISSING = "format-missing", NOT_IMPLEMENTED, "Such files cannot be made here",
        "install what `detail` names on the server, or take another format";
    /// More at once than there is room for.
    BUSY = "busy", SERVICE_UNAVAILABLE, "Too much at once",
        "try again after `Retry-After`";
    /// No answer within the time that a request may take.
    TOO_SLOW = "too-slow", SERVICE_UNAVAILABLE, "It took too long",
        "try again after `Retry-After`; the catalog or a disk does not answer in time";
    /// The catalog does not answer.
    CATALOG_AWAY = "catalog-away", SERVICE_UNAVAILABLE, "The catalog does not answer",
        "recording goes on; lists come back by themselves when the catalog does";
    /// The files are where they cannot be reached now.
    RECORDING_AWAY = "recording-away", SERVICE_UNAVAILABLE, "The recording cannot be reached",
        "`detail` says which place does not answer";
    /// Whoever holds the call does not take orders.
    NODE_UNREACHABLE = "node-unreachable", SERVICE_UNAVAILABLE, "Whoever holds the call cannot be reached",
        "nothing was done; try again after `Retry-After`";
    /// Whoever holds the call took the order and did not answer.
    ORDER_TIMED_OUT = "order-timed-out", GATEWAY_TIMEOUT, "Whoever holds the call did not answer in time",
        "whether the order is carried out is not known; giving it again does no harm";
}
