//! The table of TCP connections: accepted and dialed, found by flow and by remote address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip::FlowId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::config::NetLimits;
use super::connection::{self, CloseReason, Outbox, QueueFull, write_queue};

/// What the tasks tell the owner.
pub(super) enum TaskEvent {
    /// A listener accepted.
    Accepted { stream: TcpStream, remote: SocketAddr },
    /// A listener could not.
    AcceptFailed { error: io::Error },
    /// A connection read a whole message.
    Message { flow: sip::Flow, message: Box<sip::Message> },
    /// A connection's task has ended.
    Closed { flow: FlowId, why: CloseReason },
}

struct Connection {
    outbox: Outbox,
    task: AbortHandle,
    remote: SocketAddr,
    dialed: bool,
}

/// A connection that is no more.
pub(super) struct Gone {
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
    by_remote: HashMap<SocketAddr, FlowId>,
    per_source: HashMap<IpAddr, usize>,
}

impl Connections {
    pub(super) fn new(limits: Arc<NetLimits>, events: mpsc::Sender<TaskEvent>) -> Self {
        Self {
            limits,
            events,
            tasks: JoinSet::new(),
            by_flow: HashMap::new(),
            by_remote: HashMap::new(),
            per_source: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_flow.len()
    }

    /// Takes an accepted connection; at a limit it is closed by being dropped.
    pub(super) fn accept(
        &mut self,
        id: FlowId,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<(), Refused> {
        if self.by_flow.len() >= self.limits.connections_max {
            return Err(Refused::Total);
        }
        let from_source = self.per_source.entry(remote.ip()).or_default();
        if *from_source >= self.limits.connections_per_source_max {
            return Err(Refused::Source);
        }
        *from_source += 1;
        let (outbox, inbox) = write_queue(self.limits.write_queue_bytes_max);
        let task = connection::accepted(id, stream, inbox, self.events.clone(), Arc::clone(&self.limits));
        let task = self.tasks.spawn(task);
        self.insert(id, Connection { outbox, task, remote, dialed: false });
        Ok(())
    }

    /// The connection to `remote`: whichever there is, else a new one.
    pub(super) fn towards(&mut self, remote: SocketAddr, new: FlowId) -> Result<FlowId, Refused> {
        if let Some(id) = self.by_remote.get(&remote) {
            return Ok(*id);
        }
        if self.by_flow.len() >= self.limits.connections_max {
            return Err(Refused::Total);
        }
        let (outbox, inbox) = write_queue(self.limits.write_queue_bytes_max);
        let task = connection::dial(new, remote, inbox, self.events.clone(), Arc::clone(&self.limits));
        let task = self.tasks.spawn(task);
        self.insert(new, Connection { outbox, task, remote, dialed: true });
        Ok(new)
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
        if self.by_remote.get(&connection.remote) == Some(&id) {
            self.by_remote.remove(&connection.remote);
        }
        if !connection.dialed {
            self.release_source(connection.remote.ip());
        }
        Some(Gone { remote: connection.remote, dialed: connection.dialed })
    }

    /// Lets what is queued be written, for at most `limit`, then ends all.
    pub(super) async fn close(mut self, limit: Duration) {
        self.by_flow.clear();
        let _ = tokio::time::timeout(limit, async { while self.tasks.join_next().await.is_some() {} }).await;
    }

    fn insert(&mut self, id: FlowId, connection: Connection) {
        self.by_remote.insert(connection.remote, id);
        self.by_flow.insert(id, connection);
    }

    fn release_source(&mut self, source: IpAddr) {
        if let Some(count) = self.per_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
    }
}
