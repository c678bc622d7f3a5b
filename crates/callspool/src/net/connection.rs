//! One connection: a task that makes its handshakes, then reads messages and writes what is queued, until either
//! ends.
//!
//! ```text
//!  TCP ──────────────────────────────► stream
//!  TCP ─► TLS handshake ─────────────► stream
//!  TCP ─► (TLS) ─► WebSocket upgrade ► websocket
//! ```
//!
//! Reading and writing go on side by side, so that a peer that never reads is still read, and the other way
//! round.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sip::{Flow, FlowId, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::config::NetLimits;
use super::connections::TaskEvent;
use super::tls::{Certificates, HandshakeError};
use super::{stream, websocket};

/// What one queued write costs beside its bytes, so that a flood of tiny ones is bounded too.
const WRITE_OVERHEAD: usize = 64;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum CloseReason {
    /// The peer closed or reset it.
    Peer,
    /// We did.
    Local,
    /// What came is no SIP, or longer than a message may be.
    Framing,
    /// No complete message in the time allowed.
    Slow,
    /// Silent for too long.
    Idle,
    /// The peer did not read, and the queue was full or a write took too long.
    NotReading,
    /// Requests came on it at more than twice the rate of their source.
    Flood,
    /// It could not be made.
    Connect,
    /// The handshake of TLS or WebSocket failed, or took too long.
    Handshake,
    /// The peer showed no certificate that is trusted.
    Certificate,
}

/// The way into a connection's write queue.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

/// The queue has no room for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

/// The other end of the queue.
pub(super) struct Inbox {
    queue: mpsc::UnboundedReceiver<Bytes>,
    pongs: mpsc::WeakUnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

/// A write queue of at most `max` bytes. The channel itself has no bound because the bytes have one.
pub(super) fn write_queue(max: usize) -> (Outbox, Inbox) {
    let (sender, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let pongs = sender.downgrade();
    (Outbox { queue: sender, waiting: Arc::clone(&waiting), max }, Inbox { queue, pongs, waiting, max })
}

impl Outbox {
    /// Queues, or says that the peer does not read fast enough.
    pub(super) fn push(&self, bytes: Bytes) -> Result<(), QueueFull> {
        let cost = bytes.len() + WRITE_OVERHEAD;
        if self.waiting.fetch_add(cost, Ordering::AcqRel) + cost > self.max {
            self.waiting.fetch_sub(cost, Ordering::AcqRel);
            return Err(QueueFull);
        }
        // The task is gone: its end is on its way to the owner as an event.
        let _ = self.queue.send(bytes);
        Ok(())
    }
}

impl Inbox {
    /// The next to be written; none when the owner has let go of the queue. Say `written` afterwards.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.queue.recv().await
    }

    /// So many bytes that `next` gave are written.
    pub(super) fn written(&self, length: usize) {
        self.waiting.fetch_sub(length + WRITE_OVERHEAD, Ordering::AcqRel);
    }

    /// The reader's way to answer keep-alives.
    pub(super) fn pongs(&self) -> Pongs {
        Pongs { queue: self.pongs.clone(), waiting: Arc::clone(&self.waiting), max: self.max }
    }
}

/// The reader's way to answer keep-alives (RFC 5626 section 3.5.1): it must not keep the queue open when the
/// owner has let go of it.
pub(super) struct Pongs {
    queue: mpsc::WeakUnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

impl Pongs {
    pub(super) fn answer(&self, count: usize) -> Result<(), QueueFull> {
        let Some(queue) = self.queue.upgrade() else { return Ok(()) };
        let outbox = Outbox { queue, waiting: Arc::clone(&self.waiting), max: self.max };
        (0..count).try_for_each(|_| outbox.push(Bytes::from_static(b"\r\n")))
    }
}

/// Who opened a connection: who did must speak soon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Accepted,
    Dialed,
}

/// How far reading has come, and when its patience ends.
pub(super) struct Patience {
    opened: Opened,
    since: Instant,
    heard: Instant,
    /// How long it may be silent.
    silence: std::time::Duration,
    /// Since when a message is incomplete.
    partial: Option<Instant>,
    complete: bool,
}

impl Patience {
    pub(super) fn new(opened: Opened, silence: std::time::Duration) -> Self {
        let now = Instant::now();
        Self { opened, since: now, heard: now, silence, partial: None, complete: false }
    }

    /// Something came: `messages` whole ones, and `pending` bytes of another.
    pub(super) fn heard(&mut self, messages: usize, pending: usize) {
        let now = Instant::now();
        self.heard = now;
        self.complete |= messages > 0;
        self.partial = match (pending, self.partial) {
            (0, _) => None,
            (_, Some(since)) if messages == 0 => Some(since),
            _ => Some(now),
        };
    }

    /// Until when to wait for more, and what to say then.
    pub(super) fn deadline(&self, limits: &NetLimits) -> (Instant, CloseReason) {
        let idle = (self.heard + self.silence, CloseReason::Idle);
        let partial = self.partial.map(|since| (since + limits.message, CloseReason::Slow));
        let first = (self.opened == Opened::Accepted && !self.complete)
            .then(|| (self.since + limits.first_message, CloseReason::Slow));
        [partial, first].into_iter().flatten().fold(idle, |a, b| if b.0 < a.0 { b } else { a })
    }
}

/// What the task of a connection is given.
pub(super) struct Task {
    pub(super) id: FlowId,
    pub(super) transport: Transport,
    pub(super) inbox: Inbox,
    pub(super) events: mpsc::Sender<TaskEvent>,
    pub(super) limits: Arc<NetLimits>,
    pub(super) certificates: Option<Arc<Certificates>>,
}

/// What reading and writing need, once the handshakes are made.
pub(super) struct Serving {
    pub(super) flow: Flow,
    pub(super) opened: Opened,
    pub(super) inbox: Inbox,
    pub(super) events: mpsc::Sender<TaskEvent>,
    pub(super) limits: Arc<NetLimits>,
}

/// Connects, then serves. `host` is the name that the server must prove to have; without one its address.
pub(super) async fn dial(task: Task, remote: SocketAddr, host: Option<Arc<str>>) {
    let (id, events) = (task.id, task.events.clone());
    let why = match timeout(task.limits.connect, TcpStream::connect(remote)).await {
        Ok(Ok(stream)) => dialed(task, stream, host).await,
        Ok(Err(_)) | Err(_) => CloseReason::Connect,
    };
    let _ = events.send(TaskEvent::Closed { flow: id, why }).await;
}

/// Serves a connection that was accepted.
pub(super) async fn accepted(task: Task, stream: TcpStream) {
    let (id, events) = (task.id, task.events.clone());
    let why = accept(task, stream).await;
    let _ = events.send(TaskEvent::Closed { flow: id, why }).await;
}

async fn accept(task: Task, stream: TcpStream) -> CloseReason {
    let Some((serving, certificates)) = prepare(task, &stream, Opened::Accepted) else {
        return CloseReason::Peer;
    };
    let deadline = Instant::now() + serving.limits.handshake;
    match serving.flow.transport {
        Transport::Tls | Transport::Wss => {
            let Some(certificates) = certificates else { return CloseReason::Handshake };
            let accepted = tokio::time::timeout_at(deadline, certificates.accept(stream)).await;
            let (stream, peer_names) = match accepted {
                Ok(Ok(accepted)) => accepted,
                Ok(Err(error)) => return handshake_failed(&serving, error).await,
                Err(_) => return CloseReason::Handshake,
            };
            if !peer_names.is_empty() {
                let opened = TaskEvent::Authenticated { flow: serving.flow, peer_names };
                if serving.events.send(opened).await.is_err() {
                    return CloseReason::Local;
                }
            }
            upgrade(serving, stream, deadline).await
        }
        Transport::Ws => upgrade(serving, stream, deadline).await,
        _ => {
            let (reading, writing) = stream.into_split();
            stream::serve(reading, writing, serving).await
        }
    }
}

/// Serves what is past TLS: a stream, or a WebSocket after its upgrade.
async fn upgrade<S>(serving: Serving, stream: S, deadline: Instant) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !serving.flow.transport.is_websocket() {
        let (reading, writing) = tokio::io::split(stream);
        return stream::serve(reading, writing, serving).await;
    }
    match tokio::time::timeout_at(deadline, websocket::accept(stream)).await {
        Ok(Ok(socket)) => websocket::serve(socket, serving).await,
        Ok(Err(error)) => {
            tracing::debug!(remote = %serving.flow.remote, error, "no SIP over this WebSocket");
            CloseReason::Handshake
        }
        Err(_) => CloseReason::Handshake,
    }
}

async fn dialed(task: Task, stream: TcpStream, host: Option<Arc<str>>) -> CloseReason {
    let Some((serving, certificates)) = prepare(task, &stream, Opened::Dialed) else {
        return CloseReason::Connect;
    };
    let deadline = Instant::now() + serving.limits.handshake;
    let remote = serving.flow.remote;
    let host = host.unwrap_or_else(|| remote.ip().to_string().into());
    match serving.flow.transport {
        Transport::Tls | Transport::Wss => {
            let Some(certificates) = certificates else { return CloseReason::Connect };
            match tokio::time::timeout_at(deadline, certificates.connect(&host, stream)).await {
                Ok(Ok(stream)) => dialed_upgrade(serving, stream, &host, deadline).await,
                Ok(Err(error)) => handshake_failed(&serving, error).await,
                Err(_) => CloseReason::Connect,
            }
        }
        Transport::Ws => dialed_upgrade(serving, stream, &host, deadline).await,
        _ => {
            let (reading, writing) = stream.into_split();
            stream::serve(reading, writing, serving).await
        }
    }
}

async fn dialed_upgrade<S>(serving: Serving, stream: S, host: &str, deadline: Instant) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !serving.flow.transport.is_websocket() {
        let (reading, writing) = tokio::io::split(stream);
        return stream::serve(reading, writing, serving).await;
    }
    let connected = websocket::connect(stream, host, serving.flow.remote.port());
    match tokio::time::timeout_at(deadline, connected).await {
        Ok(Ok(socket)) => websocket::serve(socket, serving).await,
        Ok(Err(error)) => {
            tracing::warn!(remote = %serving.flow.remote, error, "no SIP over this WebSocket");
            CloseReason::Connect
        }
        Err(_) => CloseReason::Connect,
    }
}

fn prepare(task: Task, stream: &TcpStream, opened: Opened) -> Option<(Serving, Option<Arc<Certificates>>)> {
    let (local, remote) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    // A SIP message is written whole and waited for: holding it back for more would only delay it.
    let _ = stream.set_nodelay(true);
    let flow = Flow { id: task.id, transport: task.transport, local, remote };
    let serving = Serving { flow, opened, inbox: task.inbox, events: task.events, limits: task.limits };
    Some((serving, task.certificates))
}

/// A certificate that is not trusted is told: somebody has to know. Whatever else fails in a handshake is the
/// noise of the Internet.
async fn handshake_failed(serving: &Serving, error: HandshakeError) -> CloseReason {
    let Flow { remote, transport, .. } = serving.flow;
    match (error, serving.opened) {
        (HandshakeError::Certificate(error), opened) => {
            let refused = TaskEvent::CertificateRefused { remote, error };
            let _ = serving.events.send(refused).await;
            if opened == Opened::Dialed { CloseReason::Connect } else { CloseReason::Certificate }
        }
        (HandshakeError::Other(error), Opened::Accepted) => {
            tracing::debug!(%remote, ?transport, error, "TLS handshake failed");
            CloseReason::Handshake
        }
        (HandshakeError::Other(error), Opened::Dialed) => {
            tracing::warn!(%remote, ?transport, error, "cannot connect by TLS");
            CloseReason::Connect
        }
    }
}
