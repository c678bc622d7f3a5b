//! What the front is told and what it tells: its configuration, its actions, its counters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use model::peer::Flowing;
use model::{ChangeKind, Dtmf, NodeNumber, Occurrence, Order, TenantId};
use sip::SessionId;

use crate::trunk::Trunks;

/// What the front needs to know.
#[derive(Debug, Clone)]
pub struct FrontConfig {
    /// This node.
    pub node: NodeNumber,
    /// Who is told what concerns no single call.
    pub tenant: TenantId,
    /// Who may send calls.
    pub trunks: Trunks,
    /// Calls at a time of a tenant, for those that have a limit; more are refused with 503.
    pub tenant_calls_max: BTreeMap<TenantId, usize>,
    /// Calls at a time, holds and lingering ones included; more are refused with 503.
    pub calls_max: usize,
    /// From the end of a call until it is `complete`.
    pub linger: Duration,
    /// How long a call may be on hold before it is taken to have ended.
    pub hold_timeout: Duration,
    /// What a line means on which nothing is sent: [`Flowing::Held`] or [`Flowing::Paused`].
    pub inactive: Flowing,
    /// After how long a pause ends by itself, with an alarm; zero: never. SDP's own pauses last as long as SDP says.
    pub pause_timeout: Duration,
    /// Whether headers of INFO, re-INVITE and UPDATE order a pause, a stop and their ends.
    pub orders_by_header: bool,
    /// What becomes of digits that are pressed, where a trunk does not say otherwise.
    pub dtmf: Dtmf,
    /// Whether video that is offered is recorded too.
    pub video: bool,
    /// The IPv4 address of descriptions; none: the one that the request came to.
    pub address_v4: Option<IpAddr>,
    /// The IPv6 address of descriptions; none: the one that the request came to.
    pub address_v6: Option<IpAddr>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer the pending request of a session with 200 and this description.
    Accept {
        /// The session.
        session: SessionId,
        /// The description.
        sdp: Bytes,
    },
    /// Refuse the pending request of a session.
    Refuse {
        /// The session.
        session: SessionId,
        /// The status code.
        code: u16,
        /// The reason phrase.
        reason: &'static str,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// Send a re-INVITE with this offer.
    Reoffer {
        /// The session.
        session: SessionId,
        /// The description.
        sdp: Bytes,
    },
    /// Ask a recording client for all of its metadata: UPDATE with this body (RFC 7866 section 9.2).
    AskMetadata {
        /// The session.
        session: SessionId,
        /// The content type that the client takes.
        content_type: &'static str,
        /// The body.
        body: String,
    },
    /// End a session.
    HangUp {
        /// The session.
        session: SessionId,
        /// The value of a Reason header (RFC 3326).
        reason: String,
    },
    /// An order for the record server.
    Order(Order),
    /// A change for the catalogue.
    Tell(TenantId, ChangeKind),
    /// Something that a person should know.
    Alarm(Occurrence),
}

/// What becomes of new calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Intake {
    /// They are taken.
    #[default]
    Open,
    /// They are refused with 503 and Retry-After.
    Refused,
    /// They are sent to another recorder, with 302 and this URI as Contact (RFC 3261, 8.1.3.4).
    HandedOver(String),
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrontStats {
    /// Dialogs in progress.
    pub dialogs: usize,
    /// Calls in progress, lingering ones included.
    pub calls: usize,
    /// Calls that may be in progress.
    pub calls_max: usize,
    /// Calls that began.
    pub begun: u64,
    /// Requests refused because a limit was reached or new calls are not taken.
    pub refused: u64,
    /// Of those, requests from addresses that no trunk has.
    pub strangers: u64,
    /// Of those, requests with wrong credentials.
    pub unauthenticated: u64,
    /// Of those, requests that would have waited too long.
    pub crowded: u64,
    /// Segments that are being opened.
    pub opening: usize,
    /// Requests sent to another recorder.
    pub handed_over: u64,
    /// Of those, the ones that were sent to the record server chosen for them.
    pub redirected: u64,
    /// Segments that no record server opened.
    pub not_recorded: u64,
}
