//! Where messages come from and go to: transports, flows, destinations.
//!
//! A flow is one path between a local and a remote address: a connection, or for UDP one pair of socket and
//! remote address. The driver owns the sockets and gives the numbers; this crate only ever names them, it
//! never opens, closes or resolves anything.

use std::net::SocketAddr;

use bytes::Bytes;
use sipx_sip::Reliability;

/// The transport protocol of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// Datagrams: the transactions retransmit.
    Udp,
    /// A byte stream.
    Tcp,
}

impl Transport {
    pub(crate) const fn reliability(self) -> Reliability {
        match self {
            Self::Udp => Reliability::Unreliable,
            Self::Tcp => Reliability::Reliable,
        }
    }

    /// As it stands in `Via`.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// As it stands in the `transport` parameter of a URI.
    pub(crate) const fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
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
}

/// Bytes to put on the wire: exactly one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where they go.
    pub to: Destination,
    /// The message.
    pub bytes: Bytes,
}
