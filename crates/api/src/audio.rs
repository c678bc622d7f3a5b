//! The recording of a call as one WAV file, whole or in part.
//!
//! It is made while it is sent: a blocking reader fills pieces, a channel of few pieces holds it back when the
//! listener is slow, and a listener who takes nothing for a while is dropped. No thread waits for a network.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::path::call_id;
use crate::port::{AudioError, AudioStream};
use crate::problem::Problem;
use crate::range::{Wanted, wanted};
use crate::state::ApiState;

/// 64 KiB: two seconds of 16-bit stereo at 8 kHz, large enough that a piece costs nothing to hand over.
const PIECE: usize = 64 * 1024;
/// Pieces on their way to one listener.
const PIECES: usize = 4;
/// A listener who takes no piece for this long is gone: browsers keep a paused player's connection open and ask
/// again where it stopped.
const STALLED: Duration = Duration::from_secs(60);

pub(crate) async fn wav(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let call = call_id(&id)?;
    let Ok(permit) = state.0.listeners.clone().try_acquire_owned() else {
        return Err(Problem::busy("32 recordings are being listened to"));
    };
    let shared = state.0.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let stream = shared.audio.open(&shared.config.tenant, call)?;
        Ok::<_, AudioError>((stream.len_bytes(), stream))
    });
    let (len, stream) = opened.await.map_err(|e| Problem::internal(e.to_string()))??;
    // Nothing here names a version of the file, so a conditional range cannot be met (RFC 9110 section 13.1.5).
    let asked = headers.get(header::RANGE).and_then(|r| r.to_str().ok());
    let wanted = wanted(asked.filter(|_| !headers.contains_key(header::IF_RANGE)), len);
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
    let length = range.end - range.start;
    let body = if method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        Body::new(send(stream, range.start, length, permit))
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(name) = HeaderValue::from_str(&format!("inline; filename=\"{call}.wav\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if let Some(Ok(value)) = content_range.map(HeaderValue::try_from) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// Starts to read; what is read comes out of the body.
fn send(stream: Box<dyn AudioStream>, offset: u64, length: u64, permit: OwnedSemaphorePermit) -> Pieces {
    let (to, from) = mpsc::channel(PIECES);
    tokio::spawn(read(stream, offset, length, to, permit));
    Pieces { from, left: length }
}

async fn read(
    mut stream: Box<dyn AudioStream>,
    mut offset: u64,
    mut left: u64,
    to: mpsc::Sender<Result<Bytes, AudioError>>,
    _permit: OwnedSemaphorePermit,
) {
    while left > 0 {
        // Room first: nothing is decoded for a listener who has gone.
        let Ok(Ok(room)) = tokio::time::timeout(STALLED, to.reserve()).await else { return };
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
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
                left -= piece.len() as u64;
                room.send(Ok(piece.into()));
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

/// The body: pieces, of a length that is known.
struct Pieces {
    from: mpsc::Receiver<Result<Bytes, AudioError>>,
    left: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = AudioError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AudioError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.from.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(e)) => Some(Err(e)),
            // The reader gave up: the connection is closed, so that nobody takes the part for the whole.
            None => Some(Err(AudioError::Failed("it was not taken for too long".to_owned()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
