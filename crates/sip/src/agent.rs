//! The facade: inputs in, transmits and events out.
//!
//! Everything that arrives goes through one of two doors: requests (`agent/arrive.rs`) are validated, refused
//! without a transaction or given to a session; responses and timers find their session by their owner.

mod adopt;
mod arrive;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{Mono, Now};
use sipx_sip::{HeaderName, Limits, Message, Method, Response, Uri, parse_datagram};

use crate::core::{Core, Way};
use crate::dialog::Dialog;
use crate::endpoint::{Failed, Incoming};
use crate::event::{AgentConfig, AgentStats, Body, EndCause, Event, NoSuchSession, Outgoing, SessionId};
use crate::flow::{Destination, Flow, FlowId, Transmit, Transport};
use crate::gate::{Gate, OpenGate};
use crate::head::Head;
use crate::message;
use crate::multipart;
use crate::names::Query;
use crate::session::{Call, Fate, Input, Order, Session};
use crate::timers::Deadline;

/// Transactions, dialogs and INVITE sessions, without I/O; behind a gate.
pub struct Agent<G = OpenGate> {
    core: Core,
    gate: G,
    sessions: BTreeMap<SessionId, Session>,
    /// Our tags are unique, so they find the session; the dialog checks the rest.
    by_tag: BTreeMap<String, SessionId>,
    last_session: u64,
    /// Requests within dialogs that another agent may have, by the tag of our side.
    sought: BTreeMap<String, Vec<adopt::Waiting>>,
}

impl Agent {
    /// A new agent that everybody may send to. The seed must be unpredictable: tags, branches and Call-IDs come
    /// from it.
    #[must_use]
    pub fn new(config: AgentConfig, seed: [u8; 32]) -> Self {
        Self::with_gate(config, seed, OpenGate)
    }
}

impl<G: Gate> Agent<G> {
    /// A new agent behind a gate. The seed must be unpredictable: tags, branches and Call-IDs come from it.
    #[must_use]
    pub fn with_gate(config: AgentConfig, seed: [u8; 32], gate: G) -> Self {
        Self {
            core: Core::new(config, seed),
            gate,
            sessions: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            last_session: 0,
            sought: BTreeMap::new(),
        }
    }

    /// The gate, to be told otherwise or to be asked what it saw.
    pub const fn gate_mut(&mut self) -> &mut G {
        &mut self.gate
    }

    /// A datagram came.
    pub fn receive_datagram(&mut self, now: Now, flow: Flow, bytes: Bytes) {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            // RFC 5626 pings, and the single NUL or CRLF by which phones keep a NAT open.
            self.core.counts.received += 1;
            self.core.counts.keep_alives += 1;
            return;
        }
        // CRLFs before the start line are to be ignored (RFC 3261 section 7.5).
        let lead = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = bytes.slice(lead..);
        match parse_datagram(bytes.clone(), &Limits::datagram()) {
            Ok(message) => self.receive_message(now, flow, message),
            Err(_) => {
                self.core.counts.received += 1;
                self.core.counts.malformed += 1;
                if let Some(request) = message::salvage(&bytes) {
                    self.core.refuse(&flow, &request, 400, "Bad Request", &[]);
                }
            }
        }
    }

    /// A message came, by whatever way.
    pub fn receive_message(&mut self, now: Now, flow: Flow, message: Message) {
        self.core.counts.received += 1;
        if let Message::Request(request) = &message
            && !self.is_valid(&flow, request)
        {
            return;
        }
        match self.core.endpoint.receive(now.mono, &flow, message) {
            Incoming::Absorbed => {}
            Incoming::Request(request) => self.on_request(now, &flow, request),
            Incoming::Ack(request) => self.on_ack(now, &request),
            Incoming::Response(tx, Some(owner), response) => {
                self.input(now, owner, Input::Response(&flow, tx, response));
            }
            Incoming::Response(..) => {}
            Incoming::Stray(response) => self.on_stray(now, &flow, &response),
        }
    }

    /// A connection was opened by us: it can be named as a [`Destination`] before a message has come on it.
    pub fn flow_opened(&mut self, flow: Flow) {
        self.core.endpoint.open_flow(&flow);
    }

    /// A connection was opened whose peer has proved who it is: every request on it tells so.
    pub fn flow_authenticated(&mut self, flow: Flow, peer_names: Arc<[String]>) {
        self.core.endpoint.open_named_flow(&flow, peer_names);
    }

    /// Whether a request belongs to a call that goes on or is being answered, as far as its lines tell: limits are
    /// for the others.
    #[must_use]
    pub fn knows(&self, head: &Head<'_>) -> bool {
        let tag = head.tag_of_to().and_then(|tag| std::str::from_utf8(tag).ok());
        tag.map_or_else(|| self.core.endpoint.has_invite(head), |tag| self.by_tag.contains_key(tag))
    }

    /// Whether a new call that comes by this flow may be let in, as far as that can be told before it is read. The
    /// [gate](Gate::expects) counts one that may not.
    pub fn expects(&mut self, flow: &Flow) -> bool {
        let names = self.core.endpoint.peer_names(flow.id);
        self.gate.expects(flow, &names)
    }

    /// Whether a new call would be refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sessions.len() >= self.core.config.sessions_max
            || self.core.endpoint.len() >= self.core.config.transactions_max
    }

    /// The next name that a dialog needs to have looked up.
    pub fn poll_query(&mut self) -> Option<Query> {
        self.core.names.poll_query()
    }

    /// What a name leads to, the best first (RFC 3263); none when it leads nowhere. Requests of its dialogs go
    /// there from now on.
    pub fn resolved(&mut self, now: Now, query: &Query, targets: Vec<Destination>) {
        self.core.names.resolved(now.mono, query, targets);
    }

    /// A flow has closed: transactions that wait for a response on it fail. Dialogs survive, the peer may come
    /// back on another.
    pub fn flow_closed(&mut self, now: Now, flow: FlowId) {
        let failed = self.core.endpoint.close_flow(flow);
        self.fail(now, failed);
    }

    /// A transmit could not be delivered: transactions towards that destination fail.
    pub fn unreachable(&mut self, now: Now, to: Destination) {
        let failed = self.core.endpoint.close_address(to);
        self.fail(now, failed);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(deadline) = self.core.endpoint.timers.pop(now.mono) {
            match deadline {
                Deadline::Transaction(tx, timer) => {
                    let failed = self.core.endpoint.fire(now.mono, tx, timer);
                    self.fail(now, failed);
                }
                Deadline::Session(session, timer) => {
                    self.input(now, session, Input::Timer(timer));
                }
            }
        }
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        self.core.endpoint.timers.next()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.endpoint.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// What has been counted, and what there is now.
    #[must_use]
    pub fn stats(&self) -> AgentStats {
        let counts = &self.core.counts;
        let endpoint = &self.core.endpoint;
        AgentStats {
            received: counts.received,
            keep_alives: counts.keep_alives,
            malformed: counts.malformed,
            sent: endpoint.counters.sent,
            retransmitted: endpoint.counters.retransmitted,
            absorbed: endpoint.counters.absorbed,
            refused: counts.refused,
            refused_at_limit: counts.refused_at_limit,
            stray: counts.stray,
            timeouts: endpoint.counters.timeouts,
            sessions: self.sessions.len(),
            transactions: endpoint.len(),
            timers: endpoint.timers.len(),
        }
    }

    /// Answers 180 to the INVITE, and again each minute. By itself that begins after a second.
    ///
    /// # Errors
    /// When no INVITE awaits an answer.
    pub fn ring(&mut self, now: Now, session: SessionId) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Ring)
    }

    /// Answers 200 to the pending INVITE, re-INVITE or UPDATE: with the answer, or with the offer when the
    /// request had none.
    ///
    /// # Errors
    /// When no request awaits an answer.
    pub fn accept(
        &mut self,
        now: Now,
        session: SessionId,
        sdp: Bytes,
        extra: &[(String, String)],
    ) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Accept { sdp, extra })
    }

    /// Answers the pending request with a final refusal (300 to 699). Of the first INVITE it ends the session,
    /// without an event.
    ///
    /// # Errors
    /// When no request awaits an answer.
    pub fn refuse(
        &mut self,
        now: Now,
        session: SessionId,
        status: u16,
        reason: &str,
        extra: &[(String, String)],
    ) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Refuse { status, reason, extra })
    }

    /// Sends a re-INVITE with this offer, or without one to ask for theirs. It waits for what is under way; a
    /// later order replaces one that waits. Glare (491) is tried again by itself.
    ///
    /// # Errors
    /// When the session is gone or about to be.
    pub fn reinvite(
        &mut self,
        now: Now,
        session: SessionId,
        sdp: Option<Bytes>,
    ) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Reinvite(sdp))
    }

    /// Ends the session: BYE with this value of `Reason`; before an answer 480, or CANCEL. `Ended` follows,
    /// except after a 480.
    ///
    /// # Errors
    /// When the session is gone or about to be.
    pub fn bye(&mut self, now: Now, session: SessionId, reason: Option<&str>) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Bye(reason.map(str::to_owned)))
    }

    /// Sends INFO.
    ///
    /// # Errors
    /// When there is no established session.
    pub fn info(
        &mut self,
        now: Now,
        session: SessionId,
        extra: &[(String, String)],
        body: Option<Body>,
    ) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Tell { method: Method::Info, extra, body })
    }

    /// Sends UPDATE without SDP: the form in which a recording server asks for metadata (RFC 7866 section 9.2).
    ///
    /// # Errors
    /// When there is no established session.
    pub fn update(
        &mut self,
        now: Now,
        session: SessionId,
        extra: &[(String, String)],
        body: Option<Body>,
    ) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Tell { method: Method::Update, extra, body })
    }

    /// Sends an INVITE. Events tell the rest; an order that cannot be sent at all (a URI that is none, or the
    /// limit of sessions) ends with `Ended` at once.
    pub fn invite(&mut self, now: Now, invite: Outgoing) -> SessionId {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        match self.prepare(invite) {
            Some((call, extra)) => {
                self.by_tag.insert(call.dialog.local_tag.clone(), id);
                let session = Session::calling(&mut self.core, now, id, call, &extra);
                self.sessions.insert(id, session);
            }
            None => {
                let cause = EndCause::TransportFailed;
                self.core.events.push_back(Event::Ended { session: id, cause, request: None });
            }
        }
        id
    }

    /// The answer to an offer that came in a 2xx, carried by our ACK.
    ///
    /// # Errors
    /// When no such offer waits.
    pub fn ack_with(&mut self, now: Now, session: SessionId, sdp: Bytes) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::AckWith(sdp))
    }

    /// Cancels an INVITE that is not answered yet. `Ended` follows.
    ///
    /// # Errors
    /// When the session is gone, or answered: then `bye` is meant.
    pub fn cancel(&mut self, now: Now, session: SessionId) -> Result<(), NoSuchSession> {
        self.order(now, session, Order::Cancel)
    }

    fn prepare(&mut self, invite: Outgoing) -> Option<(Call, Vec<(String, String)>)> {
        let to = Uri::parse(Bytes::from(invite.to_uri)).ok()?;
        let from = Uri::parse(Bytes::from(invite.from_uri)).ok()?;
        if self.is_full() {
            self.core.counts.refused_at_limit += 1;
            return None;
        }
        let (transport, sent_by) = match invite.destination {
            Destination::Address { transport, remote } | Destination::Named { transport, remote, .. } => {
                (transport, self.core.advertised(transport, Some(remote)))
            }
            Destination::Flow(id) => match self.core.endpoint.flow(id).copied() {
                Some(flow) => (flow.transport, Some(self.core.sent_by(flow.transport, Some(&flow)))),
                None => (Transport::Udp, None),
            },
        };
        let sent_by = sent_by.unwrap_or_else(|| self.core.sent_by(transport, None));
        let way = Way { to: invite.destination, transport, sent_by };
        let tag = self.core.tokens.next();
        let call_id = self.core.tokens.next();
        let display = invite.display.map(|name| format!("\"{}\" ", quoted(&name))).unwrap_or_default();
        let local = format!("{display}<{}>;tag={tag}", String::from_utf8_lossy(&from.to_bytes()));
        let sdp = invite.bodies.iter().find(|body| body.content_type.starts_with("application/sdp"));
        let sdp = sdp.map(|body| Bytes::copy_from_slice(&body.bytes));
        let boundary = self.core.tokens.next();
        let mut bodies = invite.bodies;
        let body = match bodies.len() {
            0 | 1 => bodies.pop(),
            _ => Some(multipart::join(&bodies, &boundary)),
        };
        let call = Call {
            dialog: Dialog::outgoing(call_id, local, tag, &to, &way),
            way,
            body,
            offered: sdp.is_some(),
            sdp: sdp.unwrap_or_default(),
            contact_params: invite.contact_params.into(),
            login: invite.login,
        };
        Some((call, invite.extra_headers))
    }

    fn order(&mut self, now: Now, id: SessionId, order: Order<'_>) -> Result<(), NoSuchSession> {
        let session = self.sessions.get_mut(&id).ok_or(NoSuchSession(id))?;
        let fate = session.order(&mut self.core, now, order).map_err(|_| NoSuchSession(id))?;
        self.settle(id, fate);
        Ok(())
    }

    fn input(&mut self, now: Now, id: SessionId, input: Input<'_>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let fate = session.handle(&mut self.core, now, input);
        self.settle(id, fate);
    }

    fn settle(&mut self, id: SessionId, fate: Fate) {
        if fate == Fate::Over
            && let Some(session) = self.sessions.remove(&id)
        {
            self.by_tag.remove(&session.dialog.local_tag);
            self.core.endpoint.timers.clear_session(id);
        }
    }

    fn fail(&mut self, now: Now, failed: impl IntoIterator<Item = Failed>) {
        for mut failed in failed {
            if self.core.try_next(now, &mut failed) {
                continue;
            }
            let Failed { tx, owner, transport, .. } = failed;
            if let Some(owner) = owner {
                self.input(now, owner, Input::Failed { tx, transport });
            }
        }
    }

    /// A response without a transaction: a 2xx that comes again after its time still gets its ACK.
    fn on_stray(&mut self, now: Now, flow: &Flow, response: &Response) {
        self.core.counts.stray += 1;
        let is_invite = response
            .headers
            .typed::<sipx_sip::CSeq>()
            .and_then(Result::ok)
            .is_some_and(|cseq| cseq.method == Method::Invite);
        let tag = message::header_tag(&response.headers, &HeaderName::From)
            .and_then(|tag| String::from_utf8(tag).ok());
        let session = tag.and_then(|tag| self.by_tag.get(&tag)).and_then(|id| self.sessions.get_mut(id));
        if let (true, Some(session)) = (is_invite, session)
            && message::own(&response.headers, &HeaderName::CallId) == session.dialog.call_id
        {
            session.on_late_2xx(&mut self.core, now, flow, response);
        }
    }
}

/// What we can do, as an answer to OPTIONS says it (RFC 3261 section 11.2).
pub(crate) fn abilities(response: &mut Response) {
    for (name, value) in [
        (HeaderName::Allow, message::ALLOW),
        (HeaderName::Accept, message::ACCEPT),
        (HeaderName::Supported, message::CAPABLE),
    ] {
        message::push(&mut response.headers, name, value);
    }
}

/// For a quoted string: what would end it is escaped, what cannot stand in it left out.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}
