//! Where messages come from and go to: transports, flows, destinations.
//!
//! A flow is one path between a local and a remote address: a connection, or for UDP one pair of socket and
//! remote address. The driver owns the sockets and gives the numbers; this crate only ever names them, it
//! never opens, closes or resolves anything.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sipx_sip::Reliability;

/// The transport protocol of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Transport {
    /// Datagrams: the transactions retransmit.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream within TLS (RFC 3261 section 26.2.1).
    Tls,
    /// Messages of a WebSocket (RFC 7118).
    Ws,
    /// Messages of a WebSocket within TLS (RFC 7118).
    Wss,
}

impl Transport {
    pub(crate) const fn reliability(self) -> Reliability {
        match self {
            Self::Udp => Reliability::Unreliable,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => Reliability::Reliable,
        }
    }

    /// As it stands in `Via`.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// By its token in `Via`, in any case.
    pub(crate) fn of_token(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| token.eq_ignore_ascii_case(transport.token().as_bytes()))
    }

    /// As it stands in the `transport` parameter of a URI. `ws` stands for both kinds of WebSocket (RFC 7118
    /// section 5.2.1); `tls` is deprecated and what every SBC understands (RFC 5630 section 3.1.3).
    #[must_use]
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }

    /// Whether it is a WebSocket: such a client can be reached over its own connection only.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether it is encrypted on the way.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The port where none is named (RFC 3261 section 19.1.2, RFC 7118 section 5.2.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// The driver's number for a flow. Never reused while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(pub u64);

/// A path that a message came by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The driver's number.
    pub id: FlowId,
    /// Its transport.
    pub transport: Transport,
    /// Our address on it.
    pub local: SocketAddr,
    /// The peer's address on it.
    pub remote: SocketAddr,
}

/// The driver's number for a name that it dials: what a TLS server's certificate must name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub u64);

/// Where a message is to go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Destination {
    /// Over a flow that is there.
    Flow(FlowId),
    /// To an address: over a flow to it if there is one, else over a new one.
    Address {
        /// The transport to use.
        transport: Transport,
        /// The address.
        remote: SocketAddr,
    },
    /// As `Address`, of a server that proves to have this name.
    Named {
        /// The transport to use.
        transport: Transport,
        /// The address.
        remote: SocketAddr,
        /// The name.
        host: HostId,
    },
}

impl Destination {
    /// The transport and address that are named; none for a flow.
    #[must_use]
    pub const fn address(&self) -> Option<(Transport, SocketAddr)> {
        match *self {
            Self::Flow(_) => None,
            Self::Address { transport, remote } | Self::Named { transport, remote, .. } => {
                Some((transport, remote))
            }
        }
    }
}

/// Bytes to put on the wire: exactly one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where they go.
    pub to: Destination,
    /// The message.
    pub bytes: Bytes,
}
