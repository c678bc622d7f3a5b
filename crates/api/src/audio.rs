//! The recording of a call as a file, whole or in part.
//!
//! It is made while it is sent: a blocking reader fills pieces, a channel of few pieces holds it back when the
//! listener is slow, and a listener who takes nothing for a while is dropped. No thread waits for a network.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use model::{CallId, StreamId, TenantId};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;

use crate::document::AudioRefusals;
use crate::path::CallPath;
use crate::port::{AudioError, AudioFormat, AudioLayout, AudioRequest, AudioStream};
use crate::problem::Problem;
use crate::query::parsed;
use crate::range::{Wanted, wanted};
use crate::schema;
use crate::state::ApiState;

/// 64 KiB: two seconds of 16-bit stereo at 8 kHz, large enough that a piece costs nothing to hand over.
const PIECE: usize = 64 * 1024;
/// Pieces on their way to one listener.
const PIECES: usize = 4;
/// A listener who takes no piece for this long is gone: browsers keep a paused player's connection open and ask
/// again where it stopped.
const STALLED: Duration = Duration::from_secs(60);
/// What MP3 and Opus know, in kbit/s; each of them takes a part of it.
const BITRATES: RangeInclusive<u16> = 8..=320;

/// What may stand behind the `?`. Another name is an error: a misspelled wish must not play something else.
#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AudioParameters {
    /// `stereo` (when not said): agent left, external right; `mix`: both in one channel; `stream`: the one that
    /// `stream` names, alone.
    #[param(schema_with = schema::layout)]
    layout: Option<String>,
    /// The stream that is heard alone; not with `stereo` or `mix`.
    #[param(schema_with = schema::id)]
    stream: Option<String>,
    /// Samples a second; the highest of what was received when not said.
    #[param(schema_with = schema::sample_rate)]
    rate: Option<String>,
    /// kbit/s of MP3 and Opus, beside video too; as much as good speech takes when not said.
    #[param(value_type = Option<u16>, minimum = 8, maximum = 320, example = 32)]
    bitrate: Option<String>,
}

/// Where and what a request for a file is.
type Asked =
    (State<ApiState>, Path<CallPath>, Result<Query<AudioParameters>, QueryRejection>, Method, HeaderMap);

/// A route for each format: what it is, and of those whose length is known, that parts can be asked for.
macro_rules! routes {
    ($($(#[$what:meta])* $name:ident: $format:ident at $path:literal as $id:literal, $media_type:literal, ($($ranges:tt)*);)*) => {$(
        $(#[$what])*
        #[utoipa::path(get, path = $path, operation_id = $id, tag = "audio",
            params(CallPath, AudioParameters),
            responses((status = 200, description = "The file, made while it is sent", body = Vec<u8>, content_type = $media_type),
                $($ranges)*
                AudioRefusals),
            security(("token" = []), ("cookie" = [])))]
        pub(crate) async fn $name(asked: Asked) -> Result<Response, Problem> {
            file(AudioFormat::$format, asked).await
        }
    )*};
}

routes! {
    /// What was said in a call as WAV: PCM of 16 bits.
    wav: Wav at "/calls/{id}/audio.wav" as "get_audio_wav", "audio/wav", (
        (status = 206, description = "The part that Range names", body = Vec<u8>, content_type = "audio/wav"),
        (status = 416, description = "The file is shorter than Range says"),);
    /// What was said in a call as MP3 of a constant bit rate.
    mp3: Mp3 at "/calls/{id}/audio.mp3" as "get_audio_mp3", "audio/mpeg", (
        (status = 206, description = "The part that Range names", body = Vec<u8>, content_type = "audio/mpeg"),
        (status = 416, description = "The file is shorter than Range says"),);
    /// What was said in a call as Opus in Ogg.
    opus: Opus at "/calls/{id}/audio.opus" as "get_audio_opus", "audio/ogg; codecs=opus", (
        (status = 206, description = "The part that Range names", body = Vec<u8>, content_type = "audio/ogg; codecs=opus"),
        (status = 416, description = "The file is shorter than Range says"),);
    /// What was said in a call as FLAC; it has neither a length nor ranges.
    flac: Flac at "/calls/{id}/audio.flac" as "get_audio_flac", "audio/flac", ();
    /// A call's video as it was sent, and what was said as Opus, in Matroska; it has neither a length nor ranges.
    mkv: Mkv at "/calls/{id}/video.mkv" as "get_video_mkv", "video/x-matroska", ();
    /// The same in WebM, which browsers play, where the video is VP8 or VP9; it has neither a length nor ranges.
    webm: Webm at "/calls/{id}/video.webm" as "get_video_webm", "video/webm", ();
}

async fn file(format: AudioFormat, asked: Asked) -> Result<Response, Problem> {
    let (State(state), path, parameters, method, headers) = asked;
    let Query(parameters) = parameters.map_err(|e| Problem::bad_query(e.body_text()))?;
    let request = parameters.read(state.0.config.tenant.clone(), CallPath::read(&path)?, format)?;
    let Ok(permit) = state.0.listeners.clone().try_acquire_owned() else {
        return Err(Problem::busy("32 recordings are being listened to"));
    };
    let shared = state.0.clone();
    // Whoever asks may go while a disk hangs; the place is taken as long as the thread is.
    let opened = tokio::task::spawn_blocking(move || (shared.audio.open(&request), permit));
    let (stream, permit) = opened.await.map_err(|e| Problem::internal(e.to_string()))?;
    let stream = stream?;
    let mut about = about(stream.as_ref(), format);
    let Some(len) = stream.len_bytes() else {
        about.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
        let body = match method {
            Method::HEAD => Body::empty(),
            _ => Body::new(send(stream, 0, None, permit)),
        };
        return Ok((about, body).into_response());
    };
    let asked = headers.get(header::RANGE).and_then(|r| r.to_str().ok());
    let wanted = wanted(asked.filter(|_| is_same(&headers, &about)), len);
    let (status, range) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..len),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let content_range = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {}-{}/{len}", range.start, range.end - 1)),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{len}")),
        _ => None,
    };
    about.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    about.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if let Some(Ok(value)) = content_range.map(HeaderValue::try_from) {
        about.insert(header::CONTENT_RANGE, value);
    }
    let length = range.end - range.start;
    let body = if method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        Body::new(send(stream, range.start, Some(length), permit))
    };
    Ok((status, about, body).into_response())
}

impl AudioParameters {
    fn read(self, tenant: TenantId, call: CallId, format: AudioFormat) -> Result<AudioRequest, Problem> {
        let layout = layout(self.layout.as_deref(), parsed("stream", self.stream)?)?;
        let rate = parsed("rate", self.rate)?;
        let bitrate: Option<u16> = parsed("bitrate", self.bitrate)?;
        let has_one = !matches!(format, AudioFormat::Wav | AudioFormat::Flac);
        if bitrate.is_some_and(|bitrate| !has_one || !BITRATES.contains(&bitrate)) {
            let (least, most) = (BITRATES.start(), BITRATES.end());
            let detail = format!("{least} to {most} kbit/s, for MP3 and Opus");
            return Err(Problem::bad_parameter("bitrate", detail));
        }
        Ok(AudioRequest { tenant, call, format, layout, rate, bitrate })
    }
}

/// Who is heard where, as the query says it.
pub(crate) fn layout(named: Option<&str>, stream: Option<StreamId>) -> Result<AudioLayout, Problem> {
    match (named.filter(|l| !l.is_empty()), stream) {
        (None | Some("stream"), Some(stream)) => Ok(AudioLayout::Stream(stream)),
        (None | Some("stereo"), None) => Ok(AudioLayout::Stereo),
        (Some("mix"), None) => Ok(AudioLayout::Mix),
        (Some("stream"), None) => Err(Problem::bad_parameter("stream", "name one with layout=stream")),
        (Some("stereo" | "mix"), Some(_)) => {
            Err(Problem::bad_parameter("layout", "a stream is heard alone: leave one of the two out"))
        }
        (Some(_), _) => Err(Problem::bad_parameter("layout", "one of stereo, mix, stream")),
    }
}

/// The headers that tell of a file.
fn about(stream: &dyn AudioStream, format: AudioFormat) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    let name = format!("inline; filename=\"{}.{}\"", stream.name(), format.extension());
    let tag = stream.version().map(|v| format!("\"{v}\""));
    for (header, value) in [(header::CONTENT_DISPOSITION, Some(name)), (header::ETAG, tag)] {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(header, value);
        }
    }
    tell_not_heard(&mut headers, &stream.not_heard());
    headers
}

/// What is silent in a file, and why: a header for whoever plays it.
pub(crate) fn tell_not_heard(headers: &mut HeaderMap, not_heard: &[String]) {
    // Codecs' names and what to install: ours, but for what a program said, which is made plain.
    let text = not_heard.join("; ").replace(|c: char| !(' '..='~').contains(&c), " ");
    if let Some(Ok(value)) = (!text.is_empty()).then_some(text).map(HeaderValue::try_from) {
        headers.insert(HeaderName::from_static("callspool-not-heard"), value);
    }
}

/// Whether a range may be taken of this file: nobody asks for a version, or for the one that this is (RFC 9110
/// section 13.1.5). A call that goes on has none that could be asked for.
fn is_same(asked: &HeaderMap, about: &HeaderMap) -> bool {
    match asked.get(header::IF_RANGE) {
        None => true,
        Some(version) => about.get(header::ETAG) == Some(version),
    }
}

/// Starts to read; what is read comes out of the body.
fn send(
    stream: Box<dyn AudioStream>,
    offset: u64,
    length: Option<u64>,
    permit: OwnedSemaphorePermit,
) -> Pieces {
    let (to, from) = mpsc::channel(PIECES);
    tokio::spawn(read(stream, offset, length, to, permit));
    Pieces { from, left: length }
}

async fn read(
    mut stream: Box<dyn AudioStream>,
    mut offset: u64,
    mut left: Option<u64>,
    to: mpsc::Sender<Result<Bytes, AudioError>>,
    _permit: OwnedSemaphorePermit,
) {
    while left.is_none_or(|l| l > 0) {
        // Room first: nothing is decoded for a listener who has gone.
        let Ok(Ok(room)) = tokio::time::timeout(STALLED, to.reserve()).await else { return };
        let want = left.map_or(PIECE, |l| usize::try_from(l).unwrap_or(usize::MAX)).min(PIECE);
        let reading = tokio::task::spawn_blocking(move || {
            let piece = stream.read_range(offset, want);
            (stream, piece)
        });
        let piece = match reading.await {
            Ok((again, piece)) => {
                stream = again;
                piece
            }
            Err(e) => {
                room.send(Err(AudioError::Failed(e.to_string())));
                return;
            }
        };
        match piece {
            Ok(piece) if !piece.is_empty() && piece.len() <= want => {
                offset += piece.len() as u64;
                left = left.map(|l| l - piece.len() as u64);
                room.send(Ok(piece.into()));
            }
            // The end of a file whose length nobody knew: said, so that it is not taken for a break.
            Ok(piece) if piece.is_empty() && left.is_none() => {
                room.send(Ok(Bytes::new()));
                return;
            }
            Ok(_) => {
                room.send(Err(AudioError::Failed("it ended before its length".to_owned())));
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "a recording broke off while it was played");
                room.send(Err(error));
                return;
            }
        }
    }
}

/// The body: pieces, of a length that is known or up to an empty one.
struct Pieces {
    from: mpsc::Receiver<Result<Bytes, AudioError>>,
    left: Option<u64>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = AudioError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AudioError>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        self.from.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) if piece.is_empty() => {
                self.left = Some(0);
                None
            }
            Some(Ok(piece)) => {
                self.left = self.left.map(|l| l.saturating_sub(piece.len() as u64));
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(e)) => Some(Err(e)),
            // The reader gave up: the connection is closed, so that nobody takes the part for the whole.
            None => Some(Err(AudioError::Failed("it was not taken for too long".to_owned()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
