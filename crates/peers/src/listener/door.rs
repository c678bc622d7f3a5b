//! The door: who may have a link. TLS, then one request, which is answered by the link or by a sentence.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use model::PeerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::link::Linked;
use super::{Event, Limits, LinkId};
use crate::PATH;
use crate::counts::{Counts, Refused};
use crate::credentials::{Credentials, name_in};
use crate::messages::{HEADERS_MAX, Messages, Skipped, WINDOW};
use crate::queue::{Outgoing, Queue, queue};
use crate::socket;
use crate::tasks::{Tasks, TasksOfLink};
use crate::trouble::{Watched, is_of_certificates, of_io};
use crate::version::{OFFERED, OURS, TAKEN, Versions};

/// What the end of an older link is told as.
pub(super) const REPLACED: &str =
    "a newer link of the same node took its place; if that goes on, two nodes have one name";

/// What all connections share.
pub(super) struct Door {
    own: Credentials,
    limits: Limits,
    pub(super) counts: Arc<Counts>,
    tell: mpsc::Sender<Event>,
    /// The link of each node.
    links: Mutex<BTreeMap<PeerName, (LinkId, Queue)>>,
    last: AtomicU64,
}

/// A place among the links. It is free again when this is dropped.
pub(super) struct Place {
    door: Arc<Door>,
    pub(super) peer: PeerName,
    pub(super) link: LinkId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut links = self.door.links();
        if links.get(&self.peer).is_some_and(|(link, _)| *link == self.link) {
            links.remove(&self.peer);
        }
    }
}

/// A request that is answered by a link.
struct Asked {
    place: Place,
    queue: Queue,
    body: Incoming,
}

/// Why a request is not.
struct Refusal {
    status: StatusCode,
    what: Refused,
    why: String,
}

impl Door {
    pub(super) fn new(
        own: Credentials,
        limits: Limits,
        counts: Arc<Counts>,
        tell: mpsc::Sender<Event>,
    ) -> Self {
        Self { own, limits, counts, tell, links: Mutex::default(), last: AtomicU64::new(0) }
    }

    /// A connection from its beginning to its end.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, from: IpAddr, place: OwnedSemaphorePermit) {
        let greeted = timeout(self.limits.greeting, Box::pin(Arc::clone(&self).greet(stream, from))).await;
        drop(place);
        match greeted {
            Ok(Ok(Some(linked))) => linked.hold(&self.tell).await,
            Ok(Ok(None)) => {}
            Ok(Err((what, why))) => self.counts.refuse(what, from, &why),
            Err(_) => {
                let why = format!("it asked for no link within {:?}", self.limits.greeting);
                self.counts.refuse(Refused::Handshake, from, &why);
            }
        }
    }

    /// None when it was told why there is no link for it, and has gone.
    async fn greet(
        self: Arc<Self>,
        stream: TcpStream,
        from: IpAddr,
    ) -> Result<Option<Linked>, (Refused, String)> {
        let failed = |error: std::io::Error| match is_of_certificates(&error) {
            true => (Refused::Certificate, of_io(&error)),
            false => (Refused::Handshake, of_io(&error)),
        };
        socket::prepare(&stream).map_err(failed)?;
        let stream = TlsAcceptor::from(self.own.server()).accept(stream).await.map_err(failed)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = shown.and_then(name_in);
        let unnamed =
            || (Refused::Certificate, "its certificate does not name a node by a DNS name".to_owned());
        let peer = peer.ok_or_else(unnamed)?;

        let (stream, trouble) = Watched::new(stream);
        let tasks = Tasks::default();
        let of_link = TasksOfLink(tasks.clone());
        let (ask, mut asked) = mpsc::channel(1);
        let visit =
            Arc::new(Visit { door: Arc::clone(&self), peer, from, ask, has_asked: AtomicBool::new(false) });
        let service = service_fn(move |request| {
            let answer = visit.answer(request);
            async move { Ok::<_, Infallible>(answer) }
        });
        // One request is one link. A second one on the same connection is refused by HTTP/2.
        let connection = http2::Builder::new(tasks.clone())
            .max_concurrent_streams(1)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tasks.execute(connection);
        match asked.recv().await {
            Some(Ok(Asked { place, queue, body })) => {
                let messages = Messages::new(body, trouble, Skipped::clone(&self.counts.skipped));
                Ok(Some(Linked { place, queue, messages, tasks: of_link }))
            }
            // The answer is on its way, and it is for the other side to go. Else the deadline ends this.
            Some(Err(())) => Ok(asked.recv().await.and(None)),
            None => {
                let why = trouble.get().unwrap_or_else(|| "it does not speak HTTP/2".to_owned());
                Err((Refused::Handshake, why))
            }
        }
    }

    /// Takes a place for a node, if there is one; an older link of the same node makes room.
    fn place(self: &Arc<Self>, peer: &PeerName, queue: &Queue) -> Option<Place> {
        let mut links = self.links();
        if links.len() >= self.limits.links && !links.contains_key(peer) {
            return None;
        }
        let link = LinkId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        if let Some((_, older)) = links.insert(peer.clone(), (link, queue.clone())) {
            older.close(REPLACED);
        }
        Some(Place { door: Arc::clone(self), peer: peer.clone(), link })
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<PeerName, (LinkId, Queue)>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of a node.
struct Visit {
    door: Arc<Door>,
    peer: PeerName,
    from: IpAddr,
    /// Tells whoever holds the connection what was asked.
    ask: mpsc::Sender<Result<Asked, ()>>,
    has_asked: AtomicBool,
}

impl Visit {
    fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        match self.judge(request) {
            Ok((version, asked, outgoing)) => {
                let mut response = Response::new(Answer::Link(outgoing));
                response.headers_mut().insert(TAKEN, version.into());
                // Whoever waits for it is there as long as the connection is.
                let _ = self.ask.try_send(Ok(asked));
                response
            }
            Err(Refusal { status, what, why }) => {
                self.door.counts.refuse(what, self.from, &format!("{}: {why}", self.peer));
                let _ = self.ask.try_send(Err(()));
                let mut response = Response::new(Answer::Sentence(Some(why.into())));
                *response.status_mut() = status;
                response
            }
        }
    }

    fn judge(&self, request: Request<Incoming>) -> Result<(u16, Asked, Outgoing), Refusal> {
        let refuse = |status, what, why: String| Err(Refusal { status, what, why });
        if self.has_asked.swap(true, Ordering::Relaxed) {
            let why = "a connection carries one link, and it has asked already".to_owned();
            return refuse(StatusCode::CONFLICT, Refused::Limits, why);
        }
        if request.method() != Method::POST || request.uri().path() != PATH {
            let why = format!("there is only POST {PATH} here");
            return refuse(StatusCode::NOT_FOUND, Refused::Handshake, why);
        }
        let offered = request.headers().get(OFFERED).and_then(|value| value.to_str().ok());
        let Some(offered) = offered.and_then(|text| text.parse::<Versions>().ok()) else {
            let why = format!("the header {OFFERED} is missing, or is no range as {OURS}");
            return refuse(StatusCode::BAD_REQUEST, Refused::Version, why);
        };
        let Some(version) = OURS.common(offered) else {
            return refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, Refused::Version, OURS.refusal(offered));
        };
        let (queue, outgoing) = queue();
        let Some(place) = self.door.place(&self.peer, &queue) else {
            let why = format!("{} nodes have a link here, and no more may", self.door.limits.links);
            return refuse(StatusCode::SERVICE_UNAVAILABLE, Refused::Limits, why);
        };
        Ok((version, Asked { place, queue, body: request.into_body() }, outgoing))
    }
}

/// The body of an answer.
enum Answer {
    Link(Outgoing),
    Sentence(Option<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Link(outgoing) => Pin::new(outgoing).poll_frame(cx),
            Self::Sentence(sentence) => Poll::Ready(sentence.take().map(|text| Ok(Frame::data(text)))),
        }
    }
}
