//! Keys of encrypted streams, for clients that cannot give them in SDP: a key server or the client itself gives them here.
//!
//! They go to whoever holds the call by a port, and nowhere else. No answer repeats them, whatever is wrong with a
//! request.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use model::{CallId, Secret, StreamId, Suite};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::document::KeysRefusals;
use crate::path::StreamPath;
use crate::port::{Changed, KeysRequest, LiveCalls, LiveError};
use crate::problem::Problem;
use crate::schema;
use crate::state::{ApiState, BY};

/// Characters of a key: four of the longest in base64, each with lifetime and identifier, are half of it.
const KEY_MAX: usize = 1_024;

/// By what a sender protects its packets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Keys)]
pub(crate) struct KeysBody {
    /// The cipher, as SDP names it.
    #[schema(schema_with = schema::suite)]
    suite: String,
    /// Master key and salt as `a=crypto` has them (RFC 4568 section 9.1): `inline:`, then base64 of both, then
    /// optionally lifetime and identifier (`|2^31|1:4`); up to four, with `;` between.
    #[schema(value_type = String, write_only, max_length = 1024, example = "inline:<base64>|2^31|1:4")]
    key: KeyText,
    /// How often the sequence number has rolled over, where that is known; else it is found by trying.
    #[schema(minimum = 0)]
    rollovers: Option<u32>,
    /// RTP is authenticated and not encrypted (`UNENCRYPTED_SRTP`).
    #[serde(default)]
    unencrypted_srtp: bool,
    /// RTCP is authenticated and not encrypted (`UNENCRYPTED_SRTCP`).
    #[serde(default)]
    unencrypted_srtcp: bool,
}

/// A text that is wiped when it is dropped, and printed nowhere.
struct KeyText(Secret);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Secret::new(String::deserialize(from)?.into_bytes())))
    }
}

/// What became of keys.
#[derive(Serialize, ToSchema)]
#[schema(as = KeysTaken)]
pub(crate) struct KeysJson {
    /// The call, which another may have turned out to be.
    #[schema(schema_with = schema::id)]
    call: CallId,
    /// The stream.
    #[schema(schema_with = schema::id)]
    stream: StreamId,
    /// The cipher.
    #[schema(schema_with = schema::suite)]
    suite: &'static str,
    /// Whether these are other keys than the stream had.
    changed: bool,
}

/// Gives the keys of an encrypted stream of a live call.
///
/// Of a stream that awaits them, because its trunk says that keys come this way. What arrived before is kept encrypted, in
/// memory, for 20 s at most, and opened now. Given again they replace those before, which still open what is on its way.
/// They stay with the stream over holds and failures until the call is over. They are in no log, file, event or answer.
#[utoipa::path(put, path = "/calls/{id}/streams/{stream}/keys", operation_id = "put_keys", tag = "orders",
    params(StreamPath),
    request_body = KeysBody,
    responses((status = 200, description = "They are in use", body = KeysJson), KeysRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn put(
    State(state): State<ApiState>,
    path: Path<StreamPath>,
    body: Result<Json<KeysBody>, JsonRejection>,
) -> Result<Json<KeysJson>, Problem> {
    let (call, stream) = StreamPath::read(&path)?;
    let Json(body) = body.map_err(|rejection| Problem::unfit_secret(&rejection))?;
    let Some(suite) = Suite::named(&body.suite) else {
        let known: Vec<_> = Suite::ALL.iter().map(|s| s.name()).collect();
        return Err(Problem::unfit("/suite", format!("it is one of {}", known.join(", "))));
    };
    if body.key.0.expose().len() > KEY_MAX {
        return Err(Problem::unfit("/key", format!("it has at most {KEY_MAX} characters")));
    }
    let given = KeysRequest {
        tenant: state.0.config.tenant.clone(),
        call,
        stream,
        suite,
        key: body.key.0,
        rollovers: body.rollovers,
        plain_rtp: body.unencrypted_srtp,
        plain_rtcp: body.unencrypted_srtcp,
        by: BY.to_owned(),
    };
    let Some(live) = &state.0.live else {
        return Err(LiveError::Unreachable("no record server runs here".to_owned()).into());
    };
    let (call, changed) = give(&state, live.as_ref(), given).await?;
    Ok(Json(KeysJson { call, stream, suite: suite.name(), changed: changed == Changed::Yes }))
}

/// Who holds live calls does not know those that turned out to be others; the catalog does, when it is there.
async fn give(
    state: &ApiState,
    live: &dyn LiveCalls,
    given: KeysRequest,
) -> Result<(CallId, Changed), LiveError> {
    let (tenant, call) = (given.tenant.clone(), given.call);
    match live.give_keys(given.clone()).await {
        Ok(stands) => Ok((stands.call, stands.changed)),
        Err(LiveError::NoSuchCall) => match state.0.catalog.call(&tenant, call).await {
            Ok(Some(detail)) if detail.summary.id != call => {
                let survivor = detail.summary.id;
                match live.give_keys(KeysRequest { call: survivor, ..given }).await {
                    Ok(stands) => Ok((stands.call, stands.changed)),
                    Err(LiveError::NoSuchCall) => Err(LiveError::NotLive),
                    Err(e) => Err(e),
                }
            }
            Ok(Some(_)) => Err(LiveError::NotLive),
            _ => Err(LiveError::NoSuchCall),
        },
        Err(e) => Err(e),
    }
}
