//! Listening to a call in progress: a file without an end, WAV or Opus, sent as it is said.
//!
//! It comes from whoever holds the call, by a port, and never from a file or the catalog. Nothing is made for a
//! client that takes nothing: what it misses is gone, and the sound goes on in the present.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use std::convert::Infallible;
use utoipa::IntoParams;

use crate::audio::{layout, tell_not_heard};
use crate::document::ListenRefusals;
use crate::path::CallPath;
use crate::port::{AudioLayout, ListenError, ListenRequest, LiveFormat};
use crate::problem::Problem;
use crate::query::parsed;
use crate::schema;
use crate::state::{ApiState, BY};

/// 16,000 samples a second: as wide as speech is coded on phones. What is wider is heard with `rate=48000`.
const RATE: u32 = 16_000;
const RATES: [u32; 3] = [8_000, 16_000, 48_000];
/// The length of what ends when it ends; players know it as such.
const UNKNOWN: u32 = u32::MAX;

/// What may stand behind the `?`.
#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListenParameters {
    /// `stereo` (when not said): agent left, external right; `mix`: both in one channel; `stream`: the one that
    /// `stream` names, alone.
    #[param(schema_with = schema::layout)]
    layout: Option<String>,
    /// The stream that is heard alone; not with `stereo` or `mix`.
    #[param(schema_with = schema::id)]
    stream: Option<String>,
    /// Samples a second; 16000 when not said.
    #[param(schema_with = schema::sample_rate)]
    rate: Option<String>,
}

/// Which call is to be heard, and how.
type Asked = (State<ApiState>, Path<CallPath>, Result<Query<ListenParameters>, QueryRejection>, Method);

/// What is said in a call that goes on, as WAV that ends when the call does.
///
/// It is sent as it is said, at the pace of the clock, and has neither a length nor ranges. Pauses, holds and what is
/// lost are silence. Who takes nothing for a while misses what was said, and hears the present then.
#[utoipa::path(get, path = "/calls/{id}/live.wav", operation_id = "listen_wav", tag = "audio",
    params(CallPath, ListenParameters),
    responses((status = 200, description = "Sound that goes on as long as the call", body = Vec<u8>, content_type = "audio/wav",
            headers(("Callspool-Not-Heard" = Option<String>, description = "Which codecs are silent, and what to install so that they are heard"))),
        ListenRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn wav(asked: Asked) -> Result<Response, Problem> {
    listen(LiveFormat::Pcm, asked).await
}

/// The same as Opus in Ogg, for thin lines: a tenth of what WAV takes, and half of that for silence.
///
/// Each page holds 20 ms. It is later than WAV by what the encoder looks ahead, 7 ms, and by a page.
#[utoipa::path(get, path = "/calls/{id}/live.opus", operation_id = "listen_opus", tag = "audio",
    params(CallPath, ListenParameters),
    responses((status = 200, description = "Sound that goes on as long as the call", body = Vec<u8>, content_type = "audio/ogg; codecs=opus",
            headers(("Callspool-Not-Heard" = Option<String>, description = "Which codecs are silent, and what to install so that they are heard"))),
        ListenRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn opus(asked: Asked) -> Result<Response, Problem> {
    listen(LiveFormat::Opus, asked).await
}

async fn listen(
    format: LiveFormat,
    (State(state), path, parameters, method): Asked,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_query(e.body_text()))?;
    let (call, tenant) = (CallPath::read(&path)?, state.0.config.tenant.clone());
    let layout = layout(parameters.layout.as_deref(), parsed("stream", parameters.stream)?)?;
    let rate = parsed("rate", parameters.rate)?.unwrap_or(RATE);
    if !RATES.contains(&rate) {
        return Err(Problem::bad_parameter("rate", "one of 8000, 16000, 48000"));
    }
    let Some(live) = &state.0.live else {
        return Err(ListenError::Unreachable("no record server runs here".to_owned()).into());
    };
    let wanted =
        |call| ListenRequest { tenant: tenant.clone(), call, layout, rate, format, by: BY.to_owned() };
    let answer = match live.listen(wanted(call)).await {
        // Whoever holds live calls does not know those that are over, or turned out to be others; the catalog does,
        // when it is there.
        Err(ListenError::NoSuchCall) => match state.0.catalog.call(&tenant, call).await {
            Ok(Some(detail)) if detail.summary.id != call => live.listen(wanted(detail.summary.id)).await,
            Ok(Some(_)) => Err(ListenError::NotLive),
            _ => return Err(ListenError::NoSuchCall.into()),
        },
        answer => answer,
    };
    let hearing = match answer {
        Ok(hearing) => hearing,
        Err(ListenError::NoSuchCall) => return Err(ListenError::NotLive.into()),
        Err(e) => return Err(e.into()),
    };
    let channels = match layout {
        AudioLayout::Stereo => 2,
        AudioLayout::Mix | AudioLayout::Stream(_) => 1,
    };
    let (extension, media_type, head) = match format {
        LiveFormat::Pcm => ("wav", "audio/wav", Some(head(channels, rate))),
        LiveFormat::Opus => ("opus", "audio/ogg; codecs=opus", None),
    };
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => {
            let pieces = stream::iter(head).chain(hearing.sound);
            Body::from_stream(pieces.map(Ok::<Bytes, Infallible>))
        }
    };
    let name = format!("inline; filename=\"{call}-live.{extension}\"");
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    tell_not_heard(headers, &hearing.not_heard);
    Ok(response)
}

/// The head of a WAV file of unknown length: `RIFF` and `data` as long as can be.
fn head(channels: u16, rate: u32) -> Bytes {
    let mut head = BytesMut::with_capacity(44);
    head.put_slice(b"RIFF");
    head.put_u32_le(UNKNOWN);
    head.put_slice(b"WAVEfmt ");
    head.put_u32_le(16);
    head.put_u16_le(1);
    head.put_u16_le(channels);
    head.put_u32_le(rate);
    head.put_u32_le(rate * u32::from(channels) * 2);
    head.put_u16_le(channels * 2);
    head.put_u16_le(16);
    head.put_slice(b"data");
    head.put_u32_le(UNKNOWN);
    head.freeze()
}
