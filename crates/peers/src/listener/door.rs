//! The door: who may have a link. TLS, then one request, which is answered by the link or by a sentence.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::PeerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::copies::{self, CopiesPlace, Inquiries};
use super::link::Linked;
use super::{Event, Limits, LinkId};
use crate::counts::{Counts, Refused};
use crate::credentials::{Credentials, name_in};
use crate::messages::{HEADERS_MAX, Messages, Skipped, WINDOW};
use crate::queue::{Outgoing, Queue, queue};
use crate::socket;
use crate::tasks::{Tasks, TasksOfLink};
use crate::trouble::{Watched, is_of_certificates, of_io};
use crate::version::{OFFERED, OURS, TAKEN, Versions};
use crate::{COPIES_PATH, PATH};

/// What the end of an older link is told as.
pub(super) const REPLACED: &str =
    "a newer link of the same node took its place; if that goes on, two nodes have one name";

/// Requests at a time by one connection: questions. A link is one request.
const AT_ONCE: u32 = 8;
/// How often a node is asked whether it is there (RFC 9113 section 6.7), so that TCP notices where it went without a word.
const PING_EVERY: Duration = Duration::from_secs(10);

/// What all connections share.
pub(super) struct Door {
    own: Credentials,
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
    tell: mpsc::Sender<Event>,
    /// Who answers what other record servers ask, if anybody does.
    pub(super) inquiries: Option<Inquiries>,
    /// The link of each node.
    links: Mutex<BTreeMap<PeerName, (LinkId, Queue)>>,
    /// The connection by which each node asks.
    askers: Mutex<BTreeMap<PeerName, (LinkId, oneshot::Sender<()>)>>,
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

/// What a connection is for: its first request says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One link.
    Link,
    /// Questions, one after the other and some at a time.
    Copies,
}

/// A first request that was granted.
pub(super) enum Asked {
    Link { place: Place, queue: Queue, body: Incoming },
    Copies(CopiesPlace),
}

/// Why a request is not.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) what: Refused,
    pub(super) why: String,
}

/// A connection that has its place.
enum Greeted {
    Link(Linked),
    Copies(CopiesPlace, oneshot::Receiver<()>, TasksOfLink),
}

impl Door {
    pub(super) fn new(
        own: Credentials,
        limits: Limits,
        counts: Arc<Counts>,
        tell: mpsc::Sender<Event>,
        inquiries: Option<Inquiries>,
    ) -> Self {
        Self {
            own,
            limits,
            counts,
            tell,
            inquiries,
            links: Mutex::default(),
            askers: Mutex::default(),
            last: AtomicU64::new(0),
        }
    }

    /// A connection from its beginning to its end.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, from: IpAddr, place: OwnedSemaphorePermit) {
        let greeted = timeout(self.limits.greeting, Box::pin(Arc::clone(&self).greet(stream, from))).await;
        drop(place);
        match greeted {
            Ok(Ok(Some(Greeted::Link(linked)))) => linked.hold(&self.tell).await,
            Ok(Ok(Some(Greeted::Copies(place, over, tasks)))) => copies::hold(place, over, tasks).await,
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
    ) -> Result<Option<Greeted>, (Refused, String)> {
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
        let visit = Arc::new(Visit { door: Arc::clone(&self), peer, from, ask, kind: OnceLock::new() });
        let service = service_fn(move |request| {
            let visit = Arc::clone(&visit);
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        });
        let connection = http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .max_concurrent_streams(AT_ONCE)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let (lasts, over) = oneshot::channel();
        tasks.execute(async move {
            let _ = connection.await;
            drop(lasts);
        });
        match asked.recv().await {
            Some(Ok(Asked::Link { place, queue, body })) => {
                let messages = Messages::new(body, trouble, Skipped::clone(&self.counts.skipped));
                Ok(Some(Greeted::Link(Linked { place, queue, messages, tasks: of_link })))
            }
            Some(Ok(Asked::Copies(place))) => Ok(Some(Greeted::Copies(place, over, of_link))),
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
        let link = self.next_id();
        if let Some((_, older)) = links.insert(peer.clone(), (link, queue.clone())) {
            older.close(REPLACED);
        }
        Some(Place { door: Arc::clone(self), peer: peer.clone(), link })
    }

    pub(super) fn next_id(&self) -> LinkId {
        LinkId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn askers(&self) -> MutexGuard<'_, BTreeMap<PeerName, (LinkId, oneshot::Sender<()>)>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<PeerName, (LinkId, Queue)>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of a node.
pub(super) struct Visit {
    pub(super) door: Arc<Door>,
    pub(super) peer: PeerName,
    from: IpAddr,
    /// Tells whoever holds the connection what was asked.
    pub(super) ask: mpsc::Sender<Result<Asked, ()>>,
    kind: OnceLock<Kind>,
}

impl Visit {
    async fn answer(&self, request: Request<Incoming>) -> Response<Said> {
        let answered = match request.uri().path() {
            COPIES_PATH => self.inquire(request).await,
            _ => self.link(request),
        };
        answered.unwrap_or_else(|Refusal { status, what, why }| {
            self.door.counts.refuse(what, self.from, &format!("{}: {why}", self.peer));
            // It is for the other side to go, unless the connection has its place already.
            let _ = self.ask.try_send(Err(()));
            let mut response = Response::new(Said::Sentence(Some(why.into())));
            *response.status_mut() = status;
            response
        })
    }

    fn link(&self, request: Request<Incoming>) -> Result<Response<Said>, Refusal> {
        let refuse = |status, what, why: String| Err(Refusal { status, what, why });
        if !self.begins(Kind::Link)? {
            let why = "a connection carries one link, and it has asked already".to_owned();
            return refuse(StatusCode::CONFLICT, Refused::Limits, why);
        }
        if request.method() != Method::POST || request.uri().path() != PATH {
            let why = format!("there is only POST {PATH} here");
            return refuse(StatusCode::NOT_FOUND, Refused::Handshake, why);
        }
        let version = self.version(&request)?;
        let (queue, outgoing) = queue();
        let Some(place) = self.door.place(&self.peer, &queue) else {
            let why = format!("{} nodes have a link here, and no more may", self.door.limits.links);
            return refuse(StatusCode::SERVICE_UNAVAILABLE, Refused::Limits, why);
        };
        let mut response = Response::new(Said::Link(outgoing));
        response.headers_mut().insert(TAKEN, version.into());
        // Whoever waits for it is there as long as the connection is.
        let _ = self.ask.try_send(Ok(Asked::Link { place, queue, body: request.into_body() }));
        Ok(response)
    }

    /// Whether this is the first request, which says what the connection is for. One for something else is refused.
    pub(super) fn begins(&self, kind: Kind) -> Result<bool, Refusal> {
        let is_first = self.kind.set(kind).is_ok();
        if self.kind.get() != Some(&kind) {
            let why = "a connection carries one link or questions, not both".to_owned();
            return Err(Refusal { status: StatusCode::CONFLICT, what: Refused::Limits, why });
        }
        Ok(is_first)
    }

    /// The newest version that both speak.
    pub(super) fn version(&self, request: &Request<Incoming>) -> Result<u16, Refusal> {
        let refuse = |status, why| Refusal { status, what: Refused::Version, why };
        let offered = request.headers().get(OFFERED).and_then(|value| value.to_str().ok());
        let Some(offered) = offered.and_then(|text| text.parse::<Versions>().ok()) else {
            let why = format!("the header {OFFERED} is missing, or is no range as {OURS}");
            return Err(refuse(StatusCode::BAD_REQUEST, why));
        };
        let none = || refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, OURS.refusal(offered));
        OURS.common(offered).ok_or_else(none)
    }
}

/// The body of an answer.
pub(super) enum Said {
    Link(Outgoing),
    Sentence(Option<Bytes>),
}

impl Body for Said {
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
