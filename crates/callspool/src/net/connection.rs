//! One TCP connection: a task that reads messages and writes what is queued, until either ends.
//!
//! Reading and writing go on side by side, so that a peer that never reads is still read, and the other way
//! round. Nothing that arrives gets an answer here but the keep-alive of RFC 5626 section 3.5.1.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sip::{Flow, FlowId, Framer, Transport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::config::NetLimits;
use super::connections::TaskEvent;

/// What one queued write costs beside its bytes, so that a flood of tiny ones is bounded too.
const WRITE_OVERHEAD: usize = 64;

/// Read at a time. It lies on the stack while it is looked at: an idle connection holds no buffer.
const CHUNK: usize = 16 << 10;

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
    /// It could not be made.
    Connect,
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

/// Connects, then serves.
pub(super) async fn dial(
    id: FlowId,
    remote: SocketAddr,
    inbox: Inbox,
    events: mpsc::Sender<TaskEvent>,
    limits: Arc<NetLimits>,
) {
    let why = match timeout(limits.connect, TcpStream::connect(remote)).await {
        Ok(Ok(stream)) => serve(id, stream, Opened::Dialed, inbox, &events, &limits).await,
        Ok(Err(_)) | Err(_) => CloseReason::Connect,
    };
    let _ = events.send(TaskEvent::Closed { flow: id, why }).await;
}

/// Serves a connection that was accepted.
pub(super) async fn accepted(
    id: FlowId,
    stream: TcpStream,
    inbox: Inbox,
    events: mpsc::Sender<TaskEvent>,
    limits: Arc<NetLimits>,
) {
    let why = serve(id, stream, Opened::Accepted, inbox, &events, &limits).await;
    let _ = events.send(TaskEvent::Closed { flow: id, why }).await;
}

/// Who opened a connection: who did must speak soon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Accepted,
    Dialed,
}

async fn serve(
    id: FlowId,
    stream: TcpStream,
    opened: Opened,
    inbox: Inbox,
    events: &mpsc::Sender<TaskEvent>,
    limits: &NetLimits,
) -> CloseReason {
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else {
        return CloseReason::Peer;
    };
    // A SIP message is written whole and waited for: holding it back for more would only delay it.
    let _ = stream.set_nodelay(true);
    let flow = Flow { id, transport: Transport::Tcp, local, remote };
    let (reading, writing) = stream.into_split();
    let pongs = Pongs { queue: inbox.pongs.clone(), waiting: Arc::clone(&inbox.waiting), max: inbox.max };
    tokio::select! {
        why = read(reading, flow, opened, pongs, events, limits) => why,
        why = write(writing, inbox, limits) => why,
    }
}

async fn write(mut half: OwnedWriteHalf, mut inbox: Inbox, limits: &NetLimits) -> CloseReason {
    while let Some(bytes) = inbox.queue.recv().await {
        match timeout(limits.write, half.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Peer,
            Err(_) => return CloseReason::NotReading,
        }
        inbox.waiting.fetch_sub(bytes.len() + WRITE_OVERHEAD, Ordering::AcqRel);
    }
    let _ = half.shutdown().await;
    CloseReason::Local
}

/// The reader's way to answer keep-alives: it must not keep the queue open when the owner has let go of it.
struct Pongs {
    queue: mpsc::WeakUnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

impl Pongs {
    fn answer(&self, count: usize) -> Result<(), QueueFull> {
        let Some(queue) = self.queue.upgrade() else { return Ok(()) };
        let outbox = Outbox { queue, waiting: Arc::clone(&self.waiting), max: self.max };
        (0..count).try_for_each(|_| outbox.push(Bytes::from_static(b"\r\n")))
    }
}

/// How far reading has come, and when its patience ends.
struct Patience {
    opened: Instant,
    heard: Instant,
    /// Since when a message is incomplete.
    partial: Option<Instant>,
    complete: bool,
}

impl Patience {
    fn deadline(&self, opened: Opened, limits: &NetLimits) -> (Instant, CloseReason) {
        let idle = (self.heard + limits.idle, CloseReason::Idle);
        let partial = self.partial.map(|since| (since + limits.message, CloseReason::Slow));
        let first = (opened == Opened::Accepted && !self.complete)
            .then(|| (self.opened + limits.first_message, CloseReason::Slow));
        [partial, first].into_iter().flatten().fold(idle, |a, b| if b.0 < a.0 { b } else { a })
    }
}

async fn read(
    half: OwnedReadHalf,
    flow: Flow,
    opened: Opened,
    pongs: Pongs,
    events: &mpsc::Sender<TaskEvent>,
    limits: &NetLimits,
) -> CloseReason {
    let mut framer = Framer::new();
    let start = Instant::now();
    let mut patience = Patience { opened: start, heard: start, partial: None, complete: false };
    loop {
        let (deadline, too_late) = patience.deadline(opened, limits);
        match timeout_at(deadline, half.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Peer,
            Err(_) => return too_late,
        }
        let messages = match read_chunk(&half, &mut framer) {
            Chunk::Nothing => continue,
            Chunk::Messages(messages) => messages,
            Chunk::End(why) => return why,
        };
        if pongs.answer(framer.take_pongs()).is_err() {
            return CloseReason::NotReading;
        }
        let now = Instant::now();
        patience.heard = now;
        patience.complete |= !messages.is_empty();
        patience.partial = match (framer.pending(), patience.partial) {
            (0, _) => None,
            (_, Some(since)) if messages.is_empty() => Some(since),
            _ => Some(now),
        };
        for message in messages {
            if events.send(TaskEvent::Message { flow, message: Box::new(message) }).await.is_err() {
                return CloseReason::Local;
            }
        }
    }
}

enum Chunk {
    Nothing,
    Messages(Vec<sip::Message>),
    End(CloseReason),
}

fn read_chunk(half: &OwnedReadHalf, framer: &mut Framer) -> Chunk {
    let mut buffer = [0; CHUNK];
    match half.try_read(&mut buffer) {
        Ok(0) => Chunk::End(CloseReason::Peer),
        Ok(n) => match framer.push(buffer.get(..n).unwrap_or_default()) {
            Ok(messages) => Chunk::Messages(messages),
            Err(_) => Chunk::End(CloseReason::Framing),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Chunk::Nothing
        }
        Err(_) => Chunk::End(CloseReason::Peer),
    }
}
