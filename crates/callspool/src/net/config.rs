//! What the sockets are told: addresses to bind, and the limits with their reasons. How long a message on a
//! stream may be is the limit of [`sip::Framer`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;

use super::tls::Certificates;

/// Addresses and limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetConfig {
    /// UDP addresses to bind. Port 0 picks a free one.
    pub(crate) udp: Vec<SocketAddr>,
    /// TCP addresses to listen on.
    pub(crate) tcp: Vec<SocketAddr>,
    /// TLS addresses to listen on; they need `certificates`.
    pub(crate) tls: Vec<SocketAddr>,
    /// WebSocket addresses to listen on.
    pub(crate) ws: Vec<SocketAddr>,
    /// Addresses of WebSockets within TLS to listen on; they need `certificates`.
    pub(crate) wss: Vec<SocketAddr>,
    /// What we show to TLS peers and what we ask of them; without it nothing goes over TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Addresses that are here at times: they are bound all the same, and nothing comes to them while they are elsewhere.
    pub(crate) moving: Vec<IpAddr>,
    /// The limits.
    pub(crate) limits: NetLimits,
}

/// Whether an address is always here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stay {
    Always,
    AtTimes,
}

impl NetConfig {
    pub(super) fn stay(&self, address: SocketAddr) -> Stay {
        if self.moving.contains(&address.ip()) { Stay::AtTimes } else { Stay::Always }
    }
}

impl Stay {
    /// Lets a socket be bound to an address that is not here (`IP_FREEBIND`, ip(7)).
    pub(super) fn allow(self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        match self {
            Self::Always => Ok(()),
            Self::AtTimes if address.is_ipv4() => socket.set_freebind_v4(true),
            Self::AtTimes => socket.set_freebind_v6(true),
        }
    }
}

/// What each thing may cost at most, and what happens then.
#[derive(Clone, Debug)]
pub(crate) struct NetLimits {
    /// Bytes of kernel receive buffer asked for per UDP port. The default of 208 KiB drops thousands of
    /// datagrams at 2,000 calls a second, 4 MiB none. The kernel caps it at `net.core.rmem_max` when the
    /// process may not go beyond.
    pub(crate) udp_receive_buffer: usize,
    /// UDP flows remembered: some 10,000 phones behind several ports with room to spare, at about 200 bytes
    /// each. Beyond it the one longest unused is forgotten and reported as closed.
    pub(crate) udp_flows_max: usize,
    /// Datagrams that wait per port while the kernel's send buffer is full; beyond it they are dropped and
    /// counted, and SIP retransmits.
    pub(crate) udp_queue_max: usize,
    /// Events that wait for the owner. Beyond it readers wait, and the peers' TCP windows close.
    pub(crate) events_max: usize,
    /// Connections in all, accepted and dialed, those whose handshake is under way included: a fifth of the 20,000 descriptors that a process has.
    /// Beyond it new ones are closed at once.
    pub(crate) connections_max: usize,
    /// Connections accepted from one source (an IPv4 address, an IPv6 network of 64 bits). An SBC opens a handful, a NAT with phones behind it tens.
    /// Beyond it new ones are closed at once.
    pub(crate) connections_per_source_max: usize,
    /// Bytes that wait to be written to one connection: some hundred large SIPREC messages. Beyond it the
    /// peer does not read, and the connection is closed.
    pub(crate) write_queue_bytes_max: usize,
    /// How long the handshakes of TLS and WebSocket may take together: ten times what a phone on a bad network
    /// needs. Then the connection is closed.
    pub(crate) handshake: Duration,
    /// How often a WebSocket is pinged. Browsers answer by themselves; NATs forget a silent connection after a
    /// minute or more.
    pub(crate) ping: Duration,
    /// How long after a ping something must have come. Then the WebSocket is closed.
    pub(crate) pong: Duration,
    /// How long an accepted connection may take for its first complete message. Then it is closed.
    pub(crate) first_message: Duration,
    /// How long a message may take from its first byte to its last: as long as a transaction lives (64*T1,
    /// RFC 3261 section 17). Then the connection is closed.
    pub(crate) message: Duration,
    /// How long a connection may be silent. Beyond the longest usual session refresh interval half, so that
    /// a dialog's refreshes keep its connection. Then it is closed.
    pub(crate) idle: Duration,
    /// How long connecting may take. Then the flow is reported as closed.
    pub(crate) connect: Duration,
    /// How long one message may take to be written, when the peer reads nothing. Then it is closed.
    pub(crate) write: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            udp_receive_buffer: 4 << 20,
            udp_flows_max: 65_536,
            udp_queue_max: 1_024,
            events_max: 4_096,
            connections_max: 4_096,
            connections_per_source_max: 256,
            write_queue_bytes_max: 1 << 20,
            handshake: Duration::from_secs(10),
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(15),
            first_message: Duration::from_secs(30),
            message: Duration::from_secs(32),
            idle: Duration::from_secs(15 * 60),
            connect: Duration::from_secs(5),
            write: Duration::from_secs(32),
        }
    }
}
