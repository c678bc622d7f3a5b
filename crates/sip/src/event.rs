//! What the agent is told to be and what it tells: configuration, orders that need a name, events, counters.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::auth::Login;
use crate::flow::{Destination, Transport};
use crate::request::{Part, RequestInfo};

/// How an [`Agent`](crate::Agent) presents itself, and its limits.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What `Server` and `User-Agent` say.
    pub user_agent: String,
    /// What `Contact` and `Via` say for each transport. Where nothing fits, the local address of the flow is used;
    /// requests to a [`Destination::Address`] need an entry.
    pub advertised: Vec<(Transport, SocketAddr)>,
    /// The session interval we ask for (RFC 4028).
    pub session_expires: Duration,
    /// The shortest session interval we accept; never under 90 s (RFC 4028 section 4).
    pub min_se: Duration,
    /// Sessions at one time. At the limit a new INVITE gets 503 with `Retry-After`.
    pub sessions_max: usize,
    /// Transactions at one time. At the limit new calls get 503; requests within a dialog go on to 5/4 of it.
    pub transactions_max: usize,
    /// Keep requests over 1,300 bytes on UDP (RFC 3261 section 18.1.1 moves them to TCP).
    pub force_udp: bool,
    /// Dialogs that are not known here, of which requests wait until our user says whose they are; 0: they are refused
    /// with 481 at once.
    pub sought_max: usize,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            user_agent: "callspool".into(),
            advertised: Vec::new(),
            session_expires: Duration::from_secs(1800),
            min_se: Duration::from_secs(90),
            sessions_max: 20_000,
            transactions_max: 100_000,
            force_udp: false,
            sought_max: 0,
        }
    }
}

/// One INVITE session: our name for a dialog. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// The session is not there, or is in no state for the order: it has ended, or nothing awaits an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("session {} is gone, or has nothing to answer", .0.0)]
pub struct NoSuchSession(pub SessionId);

/// A body to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

/// An INVITE to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Request-URI and To.
    pub to_uri: String,
    /// From.
    pub from_uri: String,
    /// The display name of From.
    pub display: Option<String>,
    /// Where to send it.
    pub destination: Destination,
    /// None, one (a plain body) or more (multipart/mixed).
    pub bodies: Vec<Body>,
    /// More headers.
    pub extra_headers: Vec<(String, String)>,
    /// What follows our Contact URI, such as `;+sip.src`.
    pub contact_params: String,
    /// What challenges (401, 407) to this and later requests of the dialog are answered with; none: they refuse it.
    pub login: Option<Login>,
}

/// What the agent tells its user.
#[derive(Debug)]
pub enum Event {
    /// A new dialog asks for a session; answer with `accept` or `refuse`. Without an SDP part it is a delayed
    /// offer: `accept` then carries ours.
    Invited {
        /// The new session.
        session: SessionId,
        /// The INVITE.
        request: Box<RequestInfo>,
    },
    /// A re-INVITE, or an UPDATE that carries SDP; answer with `accept` or `refuse`. A re-INVITE without SDP
    /// asks for our offer.
    Reoffered {
        /// The session.
        session: SessionId,
        /// The request.
        request: Box<RequestInfo>,
    },
    /// INFO, MESSAGE, or UPDATE without SDP; the agent has answered it with 200.
    Informed {
        /// The session.
        session: SessionId,
        /// The request.
        request: Box<RequestInfo>,
    },
    /// The ACK of our 2xx came, or the peer went on to a newer INVITE without it.
    Confirmed {
        /// The session.
        session: SessionId,
        /// The answer, when our 2xx carried the offer.
        answer: Option<Part>,
    },
    /// The ACK of our 2xx did not come within 64 × T1, and the 2xx is not sent any more. RFC 3261 section 13.3.1.4
    /// would have the session end; it goes on until our user says `bye`, who may know that media come.
    Unacknowledged {
        /// The session.
        session: SessionId,
    },
    /// The session is over; its id is dead.
    Ended {
        /// The session.
        session: SessionId,
        /// Why.
        cause: EndCause,
        /// The BYE or CANCEL, where there was one.
        request: Option<Box<RequestInfo>>,
    },
    /// A request came within a dialog that is not known here and may be of another agent: it waits until our user says
    /// `found` or `not_found`, which must be soon.
    Sought {
        /// The tag of our side.
        tag: String,
    },
    /// A provisional response to our INVITE.
    Ringing {
        /// The session.
        session: SessionId,
        /// Its status: 101 to 199.
        status: u16,
    },
    /// A 2xx to our INVITE, re-INVITE or UPDATE.
    Accepted {
        /// The session.
        session: SessionId,
        /// Its status.
        status: u16,
        /// Its headers, names canonical.
        headers: Vec<(String, String)>,
        /// Its SDP: the answer, or the peer's offer when we sent none (then `ack_with` must follow).
        sdp: Option<Part>,
        /// `INVITE` or `UPDATE`.
        at_method: String,
    },
    /// A final answer that is no 2xx. After the first INVITE the session is dead; after a re-INVITE it goes on.
    Refused {
        /// The session.
        session: SessionId,
        /// Its status.
        status: u16,
        /// Its reason phrase.
        reason: String,
        /// Its headers, names canonical.
        headers: Vec<(String, String)>,
    },
}

impl Event {
    /// The session that it is of, if it is of one.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Invited { session, .. }
            | Self::Reoffered { session, .. }
            | Self::Informed { session, .. }
            | Self::Confirmed { session, .. }
            | Self::Unacknowledged { session }
            | Self::Ended { session, .. }
            | Self::Ringing { session, .. }
            | Self::Accepted { session, .. }
            | Self::Refused { session, .. } => Some(*session),
            Self::Sought { .. } => None,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EndCause {
    /// The peer sent BYE.
    Bye,
    /// The peer sent CANCEL before we answered, or `cancel` took effect.
    Cancelled,
    /// Nobody refreshed it in time (RFC 4028).
    SessionExpired,
    /// The user never gave the answer for the ACK.
    AckTimeout,
    /// The peer did not answer a request or no longer knows the dialog; or the user never answered an INVITE.
    RequestTimeout,
    /// The transport failed before there was a dialog.
    TransportFailed,
    /// Our BYE was answered, or timed out.
    Local,
}

/// What has been counted since the start, and what there is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AgentStats {
    /// Datagrams and messages that came in.
    pub received: u64,
    /// Of those, keep-alives.
    pub keep_alives: u64,
    /// Could not be read as SIP at all: dropped, or answered 400 where it was a request that can be answered.
    pub malformed: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that we sent again.
    pub retransmitted: u64,
    /// Retransmissions of the peer that were absorbed.
    pub absorbed: u64,
    /// Requests refused because they could not be understood or did not fit (4xx, 5xx of our own making).
    pub refused: u64,
    /// Requests refused with 503 at a limit.
    pub refused_at_limit: u64,
    /// Responses and ACKs that belonged to nothing.
    pub stray: u64,
    /// Transactions that ran into their time-out.
    pub timeouts: u64,
    /// Sessions there are now.
    pub sessions: usize,
    /// Transactions there are now.
    pub transactions: usize,
    /// Timers that are running now.
    pub timers: usize,
}
