//! SIP over a WebSocket (RFC 7118): one message of SIP in each message, text or binary.
//!
//! A WebSocket is pinged, because a browser that went away says nothing; whatever it then sends shows that it is
//! there.

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use sip::framing::{MESSAGE_BYTES_MAX, read_frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::config::NetLimits;
use super::connection::{CloseReason, Inbox, Patience, Pongs, Serving};
use super::connections::TaskEvent;

/// The subprotocol that both sides must name (RFC 7118 section 4.1).
const SUBPROTOCOL: &str = "sip";

/// Read at a time. Each WebSocket holds a buffer of this size.
const CHUNK: usize = 4 << 10;

/// Answers the upgrade of a client; the error says what was wrong with it.
pub(super) async fn accept<S>(stream: S) -> Result<WebSocketStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio_tungstenite::accept_hdr_async_with_config(stream, agree, Some(config()))
        .await
        .map_err(|error| error.to_string())
}

/// Asks a server for the upgrade.
pub(super) async fn connect<S>(stream: S, host: &str, port: u16) -> Result<WebSocketStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = format!("ws://{host}:{port}/").into_client_request();
    let mut request = request.map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let connected = tokio_tungstenite::client_async_with_config(request, stream, Some(config())).await;
    connected.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

#[allow(clippy::result_large_err, reason = "the type is the library's")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let speaks_sip = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim().eq_ignore_ascii_case(SUBPROTOCOL));
    if !speaks_sip {
        let mut refusal = ErrorResponse::new(Some("WebSocket subprotocol \"sip\" is required\n".to_owned()));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(CHUNK)
        .write_buffer_size(0)
        // One message, and a pong or two.
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Reads and writes until either ends.
pub(super) async fn serve<S>(socket: WebSocketStream<S>, serving: Serving) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Serving { flow, opened, inbox, events, limits } = serving;
    let patience = Patience::new(opened, limits.ping + limits.pong);
    let pongs = inbox.pongs();
    let (sink, stream) = socket.split();
    let read = async {
        let (mut stream, mut patience) = (stream, patience);
        loop {
            let message = match next(&mut stream, &mut patience, &pongs, &limits).await {
                Ok(Some(message)) => Box::new(message),
                Ok(None) => continue,
                Err(why) => return why,
            };
            if events.send(TaskEvent::Message { flow, message }).await.is_err() {
                return CloseReason::Local;
            }
        }
    };
    tokio::select! {
        why = read => why,
        why = write(sink, inbox, &limits) => why,
    }
}

/// The next message of SIP; none for what only shows that the peer is there.
async fn next<S>(
    stream: &mut SplitStream<WebSocketStream<S>>,
    patience: &mut Patience,
    pongs: &Pongs,
    limits: &NetLimits,
) -> Result<Option<sip::Message>, CloseReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (deadline, too_late) = patience.deadline(limits);
    let bytes = match timeout_at(deadline, stream.next()).await.map_err(|_| too_late)? {
        Some(Ok(Message::Text(text))) => Bytes::from(text),
        Some(Ok(Message::Binary(bytes))) => bytes,
        // The library has answered a ping, and ends the stream after a close.
        Some(Ok(_)) => {
            patience.heard(0, 0);
            return Ok(None);
        }
        Some(Err(Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_))) => {
            return Err(CloseReason::Framing);
        }
        Some(Err(_)) | None => return Err(CloseReason::Peer),
    };
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        patience.heard(0, 0);
        pongs.answer(usize::from(bytes.len() >= 4)).map_err(|_| CloseReason::NotReading)?;
        return Ok(None);
    }
    let message = read_frame(bytes).map_err(|_| CloseReason::Framing)?;
    patience.heard(1, 0);
    Ok(Some(message))
}

async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut inbox: Inbox,
    limits: &NetLimits,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = interval(limits.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let (message, length) = tokio::select! {
            bytes = inbox.next() => match bytes {
                Some(bytes) => (framed(&bytes), Some(bytes.len())),
                None => break,
            },
            _ = pings.tick() => (Message::Ping(Bytes::new()), None),
        };
        match timeout(limits.write, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Peer,
            Err(_) => return CloseReason::NotReading,
        }
        if let Some(length) = length {
            inbox.written(length);
        }
    }
    let _ = timeout(limits.write, sink.close()).await;
    CloseReason::Local
}

/// As text where it is text: some clients read nothing else.
fn framed(bytes: &Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes.clone()),
    }
}
