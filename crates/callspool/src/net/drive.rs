//! A `sip::Agent` and its sockets in one owner task.
//!
//! ```text
//! loop {
//!     let input = tokio::select! { input = driver.select() => Some(input), order = orders.recv() => … };
//!     driver.apply(input);                            // or driver.with(|agent, now| agent.accept(now, …))
//!     while let Some(event) = driver.poll_event() { … }
//! }
//! ```
//!
//! `select` only chooses and may be dropped at any time; `apply` and `with` only change, and after each of
//! them everything that the agent wants sent has been sent.

use std::time::{Duration, Instant};

use model::Now;
use sip::{Agent, Destination, Event, Flow, Gate, Head, Message, OpenGate, Transport};

use super::rates::{Rate, Rates};
use super::resolver::{Answer, Resolver};
use super::sockets::{NetEvent, NetStats, SipSockets};
use super::tally::SipTally;
use crate::clock;

/// What moves the agent.
#[derive(Debug)]
pub(crate) enum DriverInput {
    /// Something came.
    Net(NetEvent),
    /// A name was looked up.
    Resolved(Answer),
    /// One of its timers is due.
    Timeout,
}

/// When to come again after a refusal at a limit: long enough for calls to end, short enough for a client that has
/// no other recorder.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Requests refused by their heads alone, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unread {
    /// Calls refused because nobody has room.
    pub(crate) shed: u64,
    /// Requests refused because their source sent too many.
    pub(crate) too_many: u64,
}

/// What may be refused before it is read.
struct Shedding {
    rates: Rates,
    /// Whether nobody has room for another call.
    is_full: bool,
    /// The To-tag of those refusals, the same for all: their ACKs are known by it.
    tag: String,
    unread: Unread,
    /// Of those that were shed, how many somebody has been told of.
    told: u64,
}

/// The agent and its sockets.
pub(crate) struct SipDriver<G = OpenGate> {
    agent: Agent<G>,
    sockets: SipSockets,
    resolver: Option<Resolver>,
    shedding: Option<Shedding>,
    tally: SipTally,
}

impl<G: Gate> SipDriver<G> {
    /// Joins the two.
    pub(crate) fn new(agent: Agent<G>, sockets: SipSockets) -> Self {
        Self { agent, sockets, resolver: None, shedding: None, tally: SipTally::default() }
    }

    /// Has names looked up.
    pub(crate) fn resolving(self, resolver: Resolver) -> Self {
        Self { resolver: Some(resolver), ..self }
    }

    /// Refuses what is over the rate, and calls that nobody has room for, by its lines alone. The tag must be one
    /// that nobody can guess.
    pub(crate) fn limited(self, rates: Rates, tag: String) -> Self {
        Self {
            shedding: Some(Shedding { rates, is_full: false, tag, unread: Unread::default(), told: 0 }),
            ..self
        }
    }

    /// Whether there is room for another call, beside that of the agent.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        if let Some(shedding) = &mut self.shedding {
            shedding.is_full = is_full;
        }
    }

    /// How many calls were refused unread for want of room since the last time.
    pub(crate) fn take_shed(&mut self) -> u64 {
        self.shedding.as_mut().map_or(0, |shedding| {
            let new = shedding.unread.shed - shedding.told;
            shedding.told = shedding.unread.shed;
            new
        })
    }

    /// Waits for the next input. Timers that are due go before what has come, so that a flood delays none.
    pub(crate) async fn select(&mut self) -> DriverInput {
        let timer = self.agent.next_timeout();
        let timeout = async {
            match timer {
                Some(at) => tokio::time::sleep_until(clock::instant(at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = timeout => DriverInput::Timeout,
            answer = next_answer(&mut self.resolver) => DriverInput::Resolved(answer),
            event = self.sockets.select() => DriverInput::Net(event),
        }
    }

    /// Gives the agent an input and sends what follows.
    pub(crate) fn apply(&mut self, input: DriverInput) {
        match &input {
            DriverInput::Net(NetEvent::Datagram { bytes, .. }) => self.tally.came_datagram(bytes),
            DriverInput::Net(NetEvent::Message { message, .. }) => {
                if let Message::Request(request) = &**message {
                    self.tally.came(request.method.as_bytes());
                }
            }
            _ => {}
        }
        if self.is_refused(&input) {
            return;
        }
        let targets = match &input {
            DriverInput::Resolved(answer) => self.named(answer),
            _ => Vec::new(),
        };
        self.with(|agent, now| match input {
            DriverInput::Resolved(answer) => agent.resolved(now, &answer.query, targets),
            DriverInput::Timeout => agent.handle_timeout(now),
            DriverInput::Net(NetEvent::Datagram { flow, bytes }) => agent.receive_datagram(now, flow, bytes),
            DriverInput::Net(NetEvent::Message { flow, message }) => {
                agent.receive_message(now, flow, *message);
            }
            DriverInput::Net(NetEvent::FlowClosed { flow, dialed }) => {
                agent.flow_closed(now, flow);
                if let Some((transport, remote)) = dialed {
                    agent.unreachable(now, Destination::Address { transport, remote });
                }
            }
            DriverInput::Net(NetEvent::Authenticated { flow, peer_names }) => {
                agent.flow_authenticated(flow, peer_names);
            }
            DriverInput::Net(NetEvent::Unreachable { to }) => agent.unreachable(now, to),
        });
    }

    /// Does something to the agent and sends what follows.
    pub(crate) fn with<R>(&mut self, change: impl FnOnce(&mut Agent<G>, Now) -> R) -> R {
        let result = change(&mut self.agent, clock::now());
        while let Some(transmit) = self.agent.poll_transmit() {
            self.tally.went(&transmit.bytes);
            self.sockets.send(transmit);
        }
        while let Some(query) = self.agent.poll_query() {
            let is_asked = self.resolver.as_ref().is_some_and(|resolver| resolver.ask(query.clone()));
            if !is_asked {
                self.agent.resolved(clock::now(), &query, Vec::new());
            }
        }
        result
    }

    /// Addresses of a name, each of a server that must prove to have it.
    fn named(&mut self, answer: &Answer) -> Vec<Destination> {
        let host = self.sockets.host(&answer.query.host);
        let named = |(transport, remote)| Destination::Named { transport, remote, host };
        answer.found.iter().copied().map(named).collect()
    }

    /// Refuses a request by its lines alone, when it is one too many.
    fn is_refused(&mut self, input: &DriverInput) -> bool {
        match input {
            DriverInput::Net(NetEvent::Datagram { flow, bytes }) if !bytes.starts_with(b"SIP/2.0 ") => {
                self.is_shed(flow, || Head::scan(bytes))
            }
            DriverInput::Net(NetEvent::Message { flow, message }) => match &**message {
                Message::Request(request) => self.is_shed(flow, || Head::of(request)),
                Message::Response(_) => false,
            },
            _ => false,
        }
    }

    /// What belongs to a call that goes on passes.
    fn is_shed<'a>(&mut self, flow: &Flow, head: impl FnOnce() -> Option<Head<'a>>) -> bool {
        let Some(shedding) = &mut self.shedding else { return false };
        let head = head();
        let head = head.as_ref();
        if head.is_some_and(|head| head.acknowledges(&shedding.tag)) {
            return true;
        }
        if head.is_some_and(|head| self.agent.knows(head)) {
            return false;
        }
        let rate = shedding.rates.take(flow.remote.ip(), Instant::now());
        let has_room = !(shedding.is_full || self.agent.is_full());
        if rate == Rate::Within && (has_room || !head.is_some_and(Head::is_new_call)) {
            return false;
        }
        if rate == Rate::Within {
            shedding.unread.shed += 1;
        } else {
            shedding.unread.too_many += 1;
            // At 1, 2, 4, 8 …: a flood must not flood the log too.
            if shedding.unread.too_many.is_power_of_two() {
                let (count, source) = (shedding.unread.too_many, flow.remote.ip());
                tracing::warn!(%source, "{count} requests were refused because their source sends too many");
            }
        }
        if rate == Rate::Flood && flow.transport != Transport::Udp {
            // Reading it goes on to cost something: let the kernel refuse the rest. Calls survive their connection.
            self.sockets.hang_up(flow.id);
            return true;
        }
        if let Some(answer) = head.and_then(|head| head.refuse(flow, &shedding.tag, RETRY_AFTER)) {
            self.tally.went(&answer.bytes);
            self.sockets.send(answer);
        }
        true
    }

    /// What the agent tells, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.agent.poll_event()
    }

    /// What was refused by its head alone.
    pub(crate) fn unread(&self) -> Unread {
        self.shedding.as_ref().map(|shedding| shedding.unread).unwrap_or_default()
    }

    /// What has been counted.
    pub(crate) fn counts(&self) -> (NetStats, SipTally) {
        (self.sockets.stats(), self.tally)
    }

    /// Connections and UDP flows there are.
    pub(crate) fn open_flows(&self) -> (usize, usize) {
        self.sockets.open_flows()
    }

    /// The agent, to look at.
    pub(crate) fn agent(&self) -> &Agent<G> {
        &self.agent
    }

    /// Who judges what comes.
    pub(crate) fn gate_mut(&mut self) -> &mut G {
        self.agent.gate_mut()
    }

    /// Lets what is queued go out, for at most `limit`, then closes the sockets.
    pub(crate) async fn close(self, limit: Duration) {
        self.sockets.close(limit).await;
    }
}

async fn next_answer(resolver: &mut Option<Resolver>) -> Answer {
    match resolver {
        Some(resolver) => resolver.next().await,
        None => std::future::pending().await,
    }
}
