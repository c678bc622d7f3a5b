//! All SIP sockets under one owner: `select` waits for what comes, `send` sends and never waits.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::{Destination, Flow, FlowId, HostId, Transmit, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::config::{NetConfig, NetLimits};
use super::connection::CloseReason;
use super::connections::{Connections, Refused, TaskEvent, Towards};
use super::flows::{PortIndex, UdpFlow, UdpFlows};
use super::hosts::Hosts;
use super::listener;
use super::told::Told;
use super::udp::{Sent, UdpPort, local_towards};

/// The longest datagram that IP can carry.
const DATAGRAM_MAX: usize = 65_535;

/// What came.
#[derive(Debug)]
pub(crate) enum NetEvent {
    /// A UDP datagram, not looked into.
    Datagram {
        /// Where it came on.
        flow: Flow,
        /// What it holds.
        bytes: Bytes,
    },
    /// A whole message on a stream.
    Message {
        /// Where it came on.
        flow: Flow,
        /// The message.
        message: Box<sip::Message>,
    },
    /// The peer of a connection has proved who it is, before anything came on it.
    Authenticated {
        /// The connection.
        flow: Flow,
        /// The names of its certificate.
        peer_names: Arc<[String]>,
    },
    /// What was sent on a flow that is gone, or by a transport that nothing is there for, is lost.
    Unreachable {
        /// Where it was to go.
        to: Destination,
    },
    /// A flow is no more, and its number will never be used again. A UDP flow that was forgotten too.
    FlowClosed {
        /// The flow.
        flow: FlowId,
        /// Transport and address that it was dialed for, when we had opened it: requests that were sent there
        /// and not yet answered are lost.
        dialed: Option<(Transport, SocketAddr)>,
    },
}

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {transport} {address} for SIP: {source}")]
pub(crate) struct BindError {
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub(crate) transport: &'static str,
    /// The address.
    pub(crate) address: SocketAddr,
    /// Why.
    #[source]
    pub(crate) source: io::Error,
}

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct NetStats {
    /// Datagrams given to the owner.
    pub(crate) datagrams_received: u64,
    /// Datagrams that only keep a NAT open (CRLF, NUL) and were dropped.
    pub(crate) keep_alives: u64,
    /// Datagrams that the kernel took.
    pub(crate) datagrams_sent: u64,
    /// Datagrams that waited for the kernel.
    pub(crate) datagrams_queued: u64,
    /// Datagrams dropped because the queue was full.
    pub(crate) datagrams_dropped: u64,
    /// Datagrams that the kernel refused.
    pub(crate) datagrams_refused: u64,
    /// Messages received on streams.
    pub(crate) messages_received: u64,
    /// Messages queued to streams.
    pub(crate) messages_queued: u64,
    /// What could not be sent because its flow is gone, or nothing reaches its address.
    pub(crate) unreachable: u64,
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections dialed.
    pub(crate) dialed: u64,
    /// Connections refused at the limit of all.
    pub(crate) refused_total: u64,
    /// Connections refused at the limit per source.
    pub(crate) refused_source: u64,
    /// Failures of accept; each backs off.
    pub(crate) accept_failures: u64,
    /// Connections closed because of what the peer sent, or did not: framing, length, slowness.
    pub(crate) closed_bad: u64,
    /// Connections closed because they were idle.
    pub(crate) closed_idle: u64,
    /// Connections closed because the peer did not read.
    pub(crate) closed_not_reading: u64,
    /// Connections closed because of how many requests came on them.
    pub(crate) closed_flood: u64,
    /// Connections whose handshake failed or took too long.
    pub(crate) handshake_failures: u64,
    /// Connections closed because their peer showed no certificate that is trusted.
    pub(crate) certificates_refused: u64,
    /// Connections that could not be made.
    pub(crate) connect_failures: u64,
    /// UDP flows forgotten for new ones.
    pub(crate) flows_forgotten: u64,
}

/// The sockets.
pub(crate) struct SipSockets {
    limits: Arc<NetLimits>,
    udp: Vec<UdpPort>,
    listening: Vec<(Transport, SocketAddr)>,
    listeners: JoinSet<()>,
    hosts: Hosts,
    told: Told,
    flows: UdpFlows,
    connections: Connections,
    events: mpsc::Receiver<TaskEvent>,
    /// What follows from what we did; at most one entry for each transmit.
    closed: VecDeque<NetEvent>,
    next_flow: u64,
    /// Which source is asked first: none starves the others.
    turn: usize,
    buffer: Box<[u8]>,
    stats: NetStats,
}

impl SipSockets {
    /// Binds all addresses, or none.
    pub(crate) fn bind(config: &NetConfig) -> Result<Self, BindError> {
        let limits = Arc::new(config.limits.clone());
        let failed = |transport, address| move |source| BindError { transport, address, source };
        let mut udp = Vec::new();
        for address in &config.udp {
            udp.push(
                UdpPort::bind(*address, config.stay(*address), &limits).map_err(failed("udp", *address))?,
            );
        }
        let (sender, events) = mpsc::channel(limits.events_max);
        let mut listening = Vec::new();
        let mut listeners = JoinSet::new();
        for (transport, name, addresses) in [
            (Transport::Tcp, "tcp", &config.tcp),
            (Transport::Tls, "tls", &config.tls),
            (Transport::Ws, "ws", &config.ws),
            (Transport::Wss, "wss", &config.wss),
        ] {
            for address in addresses {
                let listener =
                    listener::bind(*address, config.stay(*address)).map_err(failed(name, *address))?;
                listening.push((transport, listener.local_addr().map_err(failed(name, *address))?));
                listeners.spawn(listener::accept(listener, transport, sender.clone()));
            }
        }
        Ok(Self {
            udp,
            listening,
            listeners,
            hosts: Hosts::default(),
            told: Told::default(),
            flows: UdpFlows::new(limits.udp_flows_max),
            connections: Connections::new(Arc::clone(&limits), config.certificates.clone(), sender),
            events,
            closed: VecDeque::new(),
            next_flow: 1,
            turn: 0,
            buffer: vec![0; DATAGRAM_MAX].into_boxed_slice(),
            stats: NetStats::default(),
            limits,
        })
    }

    /// The addresses that UDP is bound to, in the order of the config.
    pub(crate) fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.udp.iter().map(|port| port.local).collect()
    }

    /// The addresses that a transport other than UDP listens on, in the order of the config.
    pub(crate) fn addresses(&self, transport: Transport) -> Vec<SocketAddr> {
        self.listening.iter().filter(|(t, _)| *t == transport).map(|(_, address)| *address).collect()
    }

    /// The number under which a server of this name is dialed.
    pub(crate) fn host(&mut self, name: &str) -> HostId {
        self.hosts.number(name)
    }

    /// The smallest receive buffer that the kernel granted, when it is less than what was asked for.
    pub(crate) fn receive_buffer_shortfall(&self) -> Option<usize> {
        self.udp.iter().map(|p| p.receive_buffer).min().filter(|got| *got < self.limits.udp_receive_buffer)
    }

    /// Counts since the start.
    pub(crate) fn stats(&self) -> NetStats {
        self.stats
    }

    /// TCP connections and UDP flows there are.
    pub(crate) fn open_flows(&self) -> (usize, usize) {
        (self.connections.len(), self.flows.len())
    }

    /// Waits for what comes next. Nothing is lost when the future is dropped.
    pub(crate) async fn select(&mut self) -> NetEvent {
        std::future::poll_fn(|cx| self.poll_select(cx)).await
    }

    /// Sends, and never waits. What cannot be sent is counted; SIP's timers notice.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        let bytes = transmit.bytes;
        match transmit.to {
            Destination::Flow(id) => match self.flows.get(id) {
                Some(flow) => self.send_datagram(flow.port, flow.remote, bytes),
                None => self.send_on_connection(id, bytes),
            },
            Destination::Address { transport: Transport::Udp, remote }
            | Destination::Named { transport: Transport::Udp, remote, .. } => {
                match self.udp.iter().position(|port| port.reaches(remote)) {
                    Some(port) => self.send_datagram(port, remote, bytes),
                    None => self.unreachable(transmit.to),
                }
            }
            Destination::Address { transport, remote } => {
                self.dial(Towards { transport, remote, host: None }, None, bytes);
            }
            Destination::Named { transport, remote, host } => match self.hosts.name(host) {
                Some(name) => self.dial(Towards { transport, remote, host: Some(host) }, Some(name), bytes),
                None => self.unreachable(transmit.to),
            },
        }
    }

    /// Closes a connection on which too much comes. What waits to be written on it is lost.
    pub(crate) fn hang_up(&mut self, flow: FlowId) {
        let event = self.closed(flow, CloseReason::Flood);
        self.closed.extend(event);
    }

    /// Lets what is queued go out, for at most `limit`, then closes everything.
    pub(crate) async fn close(mut self, limit: Duration) {
        let ((connections, flows), stats) = (self.open_flows(), self.stats());
        tracing::debug!(connections, flows, ?stats, "closing the SIP sockets");
        self.listeners.abort_all();
        let flush = std::future::poll_fn(|cx| {
            self.flush_udp(cx);
            if self.udp.iter().all(UdpPort::is_flushed) { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout(limit, flush).await;
        self.events.close();
        self.connections.close(limit).await;
    }

    fn poll_select(&mut self, cx: &mut Context<'_>) -> Poll<NetEvent> {
        self.flush_udp(cx);
        if let Some(event) = self.closed.pop_front() {
            return Poll::Ready(event);
        }
        let sources = self.udp.len() + 1;
        self.turn = (self.turn + 1) % sources;
        for step in 0..sources {
            let source = (self.turn + step) % sources;
            let polled =
                if source == self.udp.len() { self.poll_tasks(cx) } else { self.poll_udp(source, cx) };
            if polled.is_ready() {
                return polled;
            }
        }
        // What a poll above closed is told now, not at the next wake.
        self.closed.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_udp(&mut self, index: PortIndex, cx: &mut Context<'_>) -> Poll<NetEvent> {
        loop {
            let Some(port) = self.udp.get(index) else { return Poll::Pending };
            let (length, remote) = match port.poll_receive(cx, &mut self.buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(received)) => received,
                // An ICMP error of an earlier datagram; reading it clears it. Should one ever stay, the task
                // still gives way to the others.
                Poll::Ready(Err(_)) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
            let bytes = self.buffer.get(..length).unwrap_or_default();
            if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | 0)) {
                self.stats.keep_alives += 1;
                continue;
            }
            let bytes = Bytes::copy_from_slice(bytes);
            self.stats.datagrams_received += 1;
            let flow = self.udp_flow(index, remote);
            return Poll::Ready(NetEvent::Datagram { flow, bytes });
        }
    }

    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> Poll<NetEvent> {
        while let Poll::Ready(Some(event)) = self.events.poll_recv(cx) {
            if let Some(event) = self.task_event(event) {
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }

    fn task_event(&mut self, event: TaskEvent) -> Option<NetEvent> {
        match event {
            TaskEvent::Accepted { transport, stream, remote } => {
                let id = self.new_flow();
                match self.connections.accept(id, transport, stream, remote) {
                    Ok(()) => self.stats.accepted += 1,
                    Err(Refused::Total) => at_limit(&mut self.stats.refused_total, "connections in all"),
                    Err(Refused::Source) => {
                        at_limit(&mut self.stats.refused_source, "connections of one source")
                    }
                }
                None
            }
            TaskEvent::Authenticated { flow, .. } if !self.connections.contains(flow.id) => None,
            TaskEvent::Authenticated { flow, peer_names } => {
                tracing::debug!(flow = flow.id.0, remote = %flow.remote, ?peer_names, "SIP client certificate");
                Some(NetEvent::Authenticated { flow, peer_names })
            }
            TaskEvent::CertificateRefused { remote, error } => {
                self.stats.certificates_refused += 1;
                if self.told.is_new(remote.ip(), Instant::now()) {
                    tracing::warn!(peer = %remote, "the TLS certificate of a SIP peer is not trusted: {error}");
                }
                None
            }
            TaskEvent::AcceptFailed { error } => {
                self.stats.accept_failures += 1;
                tracing::warn!(%error, "cannot accept a SIP connection; trying again");
                None
            }
            // What was on its way when we closed the flow comes too late.
            TaskEvent::Message { flow, .. } if !self.connections.contains(flow.id) => None,
            TaskEvent::Message { flow, message } => {
                self.stats.messages_received += 1;
                Some(NetEvent::Message { flow, message })
            }
            TaskEvent::Closed { flow, why } => self.closed(flow, why),
        }
    }

    fn send_datagram(&mut self, index: PortIndex, remote: SocketAddr, bytes: Bytes) {
        let Some(port) = self.udp.get_mut(index) else { return };
        match port.send(remote, bytes) {
            Sent::Now => self.stats.datagrams_sent += 1,
            Sent::Queued => self.stats.datagrams_queued += 1,
            Sent::Full => at_limit(&mut self.stats.datagrams_dropped, "datagrams that wait to be sent"),
            Sent::Refused => self.stats.datagrams_refused += 1,
        }
    }

    fn send_on_connection(&mut self, id: FlowId, bytes: Bytes) {
        match self.connections.push(id, bytes) {
            Some(Ok(())) => self.stats.messages_queued += 1,
            Some(Err(_full)) => {
                let event = self.closed(id, CloseReason::NotReading);
                self.closed.extend(event);
            }
            None => self.unreachable(Destination::Flow(id)),
        }
    }

    fn unreachable(&mut self, to: Destination) {
        self.stats.unreachable += 1;
        self.closed.push_back(NetEvent::Unreachable { to });
    }

    fn dial(&mut self, towards: Towards, name: Option<Arc<str>>, bytes: Bytes) {
        let new = self.new_flow();
        match self.connections.towards(towards, name, new) {
            Ok(id) => {
                self.stats.dialed += u64::from(id == new);
                self.send_on_connection(id, bytes);
            }
            Err(_limit) => {
                at_limit(&mut self.stats.refused_total, "connections in all");
                self.closed.push_back(NetEvent::FlowClosed {
                    flow: new,
                    dialed: Some((towards.transport, towards.remote)),
                });
            }
        }
    }

    fn closed(&mut self, flow: FlowId, why: CloseReason) -> Option<NetEvent> {
        let gone = self.connections.remove(flow)?;
        let stats = &mut self.stats;
        match why {
            CloseReason::Peer | CloseReason::Local => {}
            CloseReason::Framing | CloseReason::Slow => stats.closed_bad += 1,
            CloseReason::Idle => stats.closed_idle += 1,
            CloseReason::NotReading => stats.closed_not_reading += 1,
            CloseReason::Flood => stats.closed_flood += 1,
            CloseReason::Connect => stats.connect_failures += 1,
            CloseReason::Handshake => stats.handshake_failures += 1,
            // Counted when it was told.
            CloseReason::Certificate => {}
        }
        tracing::debug!(flow = flow.0, remote = %gone.remote, ?why, "SIP connection closed");
        Some(NetEvent::FlowClosed { flow, dialed: gone.dialed.then_some((gone.transport, gone.remote)) })
    }

    fn udp_flow(&mut self, port: PortIndex, remote: SocketAddr) -> Flow {
        let known = self.flows.find(port, remote);
        let (id, flow) = known.unwrap_or_else(|| self.new_udp_flow(port, remote));
        Flow { id, transport: Transport::Udp, local: flow.local, remote }
    }

    fn new_udp_flow(&mut self, port: PortIndex, remote: SocketAddr) -> (FlowId, UdpFlow) {
        let bound = self.udp.get(port).map_or(remote, |p| p.local);
        let flow = UdpFlow { port, local: local_towards(bound, remote), remote };
        let id = self.new_flow();
        if let Some(forgotten) = self.flows.insert(id, flow) {
            at_limit(&mut self.stats.flows_forgotten, "UDP flows");
            self.closed.push_back(NetEvent::FlowClosed { flow: forgotten, dialed: None });
        }
        (id, flow)
    }

    fn new_flow(&mut self) -> FlowId {
        let id = FlowId(self.next_flow);
        self.next_flow += 1;
        id
    }

    fn flush_udp(&mut self, cx: &mut Context<'_>) {
        for port in &mut self.udp {
            self.stats.datagrams_refused += port.poll_flush(cx);
        }
    }
}

/// Counts what a limit forbade, and tells it at 1, 2, 4, 8 …: a flood must not flood the log too.
fn at_limit(count: &mut u64, what: &str) {
    *count += 1;
    if count.is_power_of_two() {
        tracing::warn!("SIP sockets: the limit of {what} was reached {count} times");
    }
}
