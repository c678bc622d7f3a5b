//! The table of connections: accepted and dialed, found by flow and by remote address. One whose handshake is
//! under way is in it already, so that limits count it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip::{FlowId, HostId, Transport};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::config::NetLimits;
use super::connection::{self, CloseReason, Outbox, QueueFull, Task, write_queue};
use super::source::Source;
use super::tls::Certificates;

/// What the tasks tell the owner.
pub(super) enum TaskEvent {
    /// A listener accepted.
    Accepted { transport: Transport, stream: TcpStream, remote: SocketAddr },
    /// A listener could not.
    AcceptFailed { error: io::Error },
    /// The peer of a connection has proved who it is.
    Authenticated { flow: sip::Flow, peer_names: Arc<[String]> },
    /// The peer of a connection showed no certificate that is trusted.
    CertificateRefused { remote: SocketAddr, error: String },
    /// A connection read a whole message.
    Message { flow: sip::Flow, message: Box<sip::Message> },
    /// A connection's task has ended.
    Closed { flow: FlowId, why: CloseReason },
}

struct Connection {
    outbox: Outbox,
    task: AbortHandle,
    towards: Towards,
    dialed: bool,
}

/// What a connection leads to: a server that proved one name is not the server that has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Towards {
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    pub(super) host: Option<HostId>,
}

/// A connection that is no more.
pub(super) struct Gone {
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    /// Whether we had opened it.
    pub(super) dialed: bool,
}

/// A limit forbids another connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many as there may be.
    Total,
    /// As many as one address may have.
    Source,
}

/// The table. Dropping it ends the connections.
pub(super) struct Connections {
    limits: Arc<NetLimits>,
    events: mpsc::Sender<TaskEvent>,
    tasks: JoinSet<()>,
    by_flow: HashMap<FlowId, Connection>,
    by_remote: HashMap<Towards, FlowId>,
    per_source: HashMap<Source, usize>,
    certificates: Option<Arc<Certificates>>,
}

impl Connections {
    pub(super) fn new(
        limits: Arc<NetLimits>,
        certificates: Option<Arc<Certificates>>,
        events: mpsc::Sender<TaskEvent>,
    ) -> Self {
        Self {
            limits,
            events,
            tasks: JoinSet::new(),
            by_flow: HashMap::new(),
            by_remote: HashMap::new(),
            per_source: HashMap::new(),
            certificates,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_flow.len()
    }

    /// Takes an accepted connection; at a limit it is closed by being dropped.
    pub(super) fn accept(
        &mut self,
        id: FlowId,
        transport: Transport,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<(), Refused> {
        if self.by_flow.len() >= self.limits.connections_max {
            return Err(Refused::Total);
        }
        let from_source = self.per_source.entry(Source::of(remote.ip())).or_default();
        if *from_source >= self.limits.connections_per_source_max {
            return Err(Refused::Source);
        }
        *from_source += 1;
        let (outbox, task) = self.task(id, transport);
        let task = self.tasks.spawn(connection::accepted(task, stream));
        let towards = Towards { transport, remote, host: None };
        self.insert(id, Connection { outbox, task, towards, dialed: false });
        Ok(())
    }

    /// The connection that leads there: whichever there is, else a new one to a server that has this name.
    pub(super) fn towards(
        &mut self,
        towards: Towards,
        name: Option<Arc<str>>,
        new: FlowId,
    ) -> Result<FlowId, Refused> {
        if let Some(id) = self.by_remote.get(&towards) {
            return Ok(*id);
        }
        if self.by_flow.len() >= self.limits.connections_max {
            return Err(Refused::Total);
        }
        let (outbox, task) = self.task(new, towards.transport);
        let task = self.tasks.spawn(connection::dial(task, towards.remote, name));
        self.insert(new, Connection { outbox, task, towards, dialed: true });
        Ok(new)
    }

    fn task(&self, id: FlowId, transport: Transport) -> (Outbox, Task) {
        let (outbox, inbox) = write_queue(self.limits.write_queue_bytes_max);
        let (events, limits) = (self.events.clone(), Arc::clone(&self.limits));
        (outbox, Task { id, transport, inbox, events, limits, certificates: self.certificates.clone() })
    }

    /// Queues for a connection; none when there is no such connection.
    pub(super) fn push(&self, id: FlowId, bytes: Bytes) -> Option<Result<(), QueueFull>> {
        Some(self.by_flow.get(&id)?.outbox.push(bytes))
    }

    pub(super) fn contains(&self, id: FlowId) -> bool {
        self.by_flow.contains_key(&id)
    }

    /// Takes a connection out and ends its task; none when it is out already.
    pub(super) fn remove(&mut self, id: FlowId) -> Option<Gone> {
        while self.tasks.try_join_next().is_some() {}
        let connection = self.by_flow.remove(&id)?;
        connection.task.abort();
        let Towards { transport, remote, .. } = connection.towards;
        if self.by_remote.get(&connection.towards) == Some(&id) {
            self.by_remote.remove(&connection.towards);
        }
        if !connection.dialed {
            self.release_source(Source::of(remote.ip()));
        }
        Some(Gone { transport, remote, dialed: connection.dialed })
    }

    /// Lets what is queued be written, for at most `limit`, then ends all.
    pub(super) async fn close(mut self, limit: Duration) {
        self.by_flow.clear();
        let _ = tokio::time::timeout(limit, async { while self.tasks.join_next().await.is_some() {} }).await;
    }

    fn insert(&mut self, id: FlowId, connection: Connection) {
        self.by_remote.insert(connection.towards, id);
        self.by_flow.insert(id, connection);
    }

    fn release_source(&mut self, source: Source) {
        if let Some(count) = self.per_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
    }
}
