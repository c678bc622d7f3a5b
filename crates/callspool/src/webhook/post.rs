//! One request to a receiver: HTTP/1.1, with TLS where the url says so.
//!
//! A connection is kept while there is more to send. The answer's body is read to a limit and not looked at;
//! redirects are not followed: they would lead secrets elsewhere. No more than `timeout` is spent on a request, the
//! name and the connection included.

use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use model::WallTime;
use store::Event;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::course::Outcome;
use super::target::Target;
use crate::config::values::duration_text;

/// 64 KiB: an answer has a line or nothing. Behind a longer one the connection is not used again.
const ANSWER_MAX: usize = 64 << 10;
/// The most that is read of an answer's head: hyper takes 8 KiB at least.
const HEAD_MAX: usize = 16 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Poster {
    kept: Option<SendRequest<Body>>,
}

impl Poster {
    /// Sends an event, once.
    pub(super) async fn post(&mut self, target: &Target, event: &Event, now: WallTime) -> Outcome {
        let body = match api::event_json(event) {
            Ok(body) => body,
            Err(e) => return Outcome::Refused(format!("it cannot be written as JSON: {e}")),
        };
        let timeout = target.config.timeout;
        match tokio::time::timeout(timeout, self.exchange(target, event, &body, now)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::failed(why),
            Err(_) => Outcome::failed(format!("no answer within {}", duration_text(timeout))),
        }
    }

    /// There is nothing to send for now.
    pub(super) fn rest(&mut self) {
        self.kept = None;
    }

    async fn exchange(
        &mut self,
        target: &Target,
        event: &Event,
        body: &str,
        now: WallTime,
    ) -> Result<Outcome, String> {
        let request = || request(target, event, body, now);
        // It goes out of here until the answer is read: who gives up half way leaves no half connection.
        let answered = match self.kept.take() {
            // The receiver may have closed it just now; then it is not its failure.
            Some(mut kept) => match kept.send_request(request()?).await {
                Ok(response) => Some((kept, response)),
                Err(_) => None,
            },
            None => None,
        };
        let (sender, response) = match answered {
            Some(answered) => answered,
            None => {
                let mut sender = connect(target).await?;
                let sent = sender.send_request(request()?).await;
                (sender, sent.map_err(|e| format!("the connection broke: {e}"))?)
            }
        };
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let outcome = Outcome::of(response.status().as_u16(), after);
        if drained(response).await {
            self.kept = Some(sender);
        }
        Ok(outcome)
    }
}

/// Reads the body of an answer; whether it came to its end.
async fn drained(response: Response<Incoming>) -> bool {
    axum::body::to_bytes(Body::new(response.into_body()), ANSWER_MAX).await.is_ok()
}

fn request(target: &Target, event: &Event, body: &str, now: WallTime) -> Result<Request<Body>, String> {
    let uri = target.url.uri();
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let host = uri.authority().map_or("", |a| a.as_str());
    let mut request = Request::post(if path.is_empty() { "/" } else { path })
        .header(HOST, host)
        .header(USER_AGENT, concat!("callspool/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("callspool-event", event.kind.as_str())
        .header("callspool-event-id", event.id.to_string());
    if let Some(value) = &target.authorization {
        request = request.header(AUTHORIZATION, value);
    }
    if let Some(signature) = target.secrets.sign(now.millis().div_euclid(1_000), body.as_bytes()) {
        request = request.header("callspool-signature", signature);
    }
    request.body(Body::from(body.to_owned())).map_err(|e| format!("no request can be made of it: {e}"))
}

/// Opens a connection. A receiver that can be reached by this is asked nothing yet.
pub(super) async fn connect(target: &Target) -> Result<SendRequest<Body>, String> {
    let (host, port) = (target.url.host(), target.url.port());
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|e| format!("cannot connect to {host}:{port}: {e}"))?;
    // Requests are short and wait for their answer.
    let _ = stream.set_nodelay(true);
    match &target.tls {
        None => speak(stream).await,
        Some(certificates) => {
            let stream = certificates.connect(host, stream).await;
            speak(stream.map_err(|e| format!("no TLS with {host}:{port}: {e}"))?).await
        }
    }
}

async fn speak<T>(stream: T) -> Result<SendRequest<Body>, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_MAX).title_case_headers(true);
    let (sender, connection) =
        http.handshake(TokioIo::new(stream)).await.map_err(|e| format!("no HTTP: {e}"))?;
    // It ends when the sender goes.
    tokio::spawn(connection);
    Ok(sender)
}

/// Whether a connection can be made, with TLS where it is wanted, within the time of a request.
pub(crate) async fn reach(target: &Target) -> Result<(), String> {
    let patience: Duration = target.config.timeout;
    match tokio::time::timeout(patience, connect(target)).await {
        Ok(connected) => connected.map(|_| ()),
        Err(_) => Err(format!("no connection within {}", duration_text(patience))),
    }
}
