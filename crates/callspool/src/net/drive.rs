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
//!
//! What belongs to a call in progress goes first: an INVITE that begins one waits among the [`Newcomers`] until nothing
//! else has come, and is refused at once where it would wait too long.

use std::time::{Duration, Instant};

use call::{Arrival, Newcomers, Turn};
use model::Now;
use sip::{Agent, Destination, Event, Flow, Gate, Head, Message, OpenGate, Transport};

use super::alarm::Alarm;
use super::rates::{Rate, Rates};
use super::refused::Refused;
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
    /// Nothing else has come: the call that waits longest is looked at.
    Turn,
}

/// When to come again after a refusal at a limit: long enough for calls to end, short enough for a client that has
/// no other recorder.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// When to come again after a refusal because too many came at once: soon, as it is over then; one of these in turn, so
/// that not all come back together.
const RETRY_SOON: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];

/// Requests refused by their heads alone, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unread {
    /// Calls refused because nobody has room.
    pub(crate) shed: u64,
    /// Requests refused because their source sent too many.
    pub(crate) too_many: u64,
    /// Calls refused because more came at once than can be looked at in time.
    pub(crate) crowded: u64,
}

/// What is done with a request before it is read.
enum Verdict {
    /// It is read.
    Pass,
    /// It is answered, or not to be answered.
    Done,
    /// It begins a call: it waits, by this key, and takes so many octets.
    Waits(Vec<u8>, usize),
    /// It cancels what may be waiting by this key.
    Cancels(Vec<u8>),
}

/// What may be refused before it is read.
struct Shedding {
    rates: Rates,
    /// Whether nobody has room for another call.
    is_full: bool,
    /// The To-tag of those refusals, the same for all: their ACKs are known by it.
    tag: String,
    unread: Unread,
    /// Of those that were shed or crowded out, how many somebody has been told of.
    told: (u64, u64),
    newcomers: Newcomers<Vec<u8>, DriverInput>,
    /// Calls that got a 503, whose INVITE may come again.
    refused: Refused,
}

/// The agent and its sockets.
pub(crate) struct SipDriver<G = OpenGate> {
    agent: Agent<G>,
    sockets: SipSockets,
    resolver: Option<Resolver>,
    /// For the agent's timers.
    alarm: Alarm,
    /// Apart, because what holds a driver is handed around.
    shedding: Option<Box<Shedding>>,
    tally: SipTally,
}

impl<G: Gate> SipDriver<G> {
    /// Joins the two.
    pub(crate) fn new(agent: Agent<G>, sockets: SipSockets) -> Self {
        let (alarm, tally) = (Alarm::default(), SipTally::default());
        Self { agent, sockets, resolver: None, alarm, shedding: None, tally }
    }

    /// Has names looked up.
    pub(crate) fn resolving(self, resolver: Resolver) -> Self {
        Self { resolver: Some(resolver), ..self }
    }

    /// Refuses what is over the rate, and calls that nobody has room for, by its lines alone. The tag must be one
    /// that nobody can guess.
    pub(crate) fn limited(self, rates: Rates, tag: String) -> Self {
        let shedding = Shedding {
            rates,
            is_full: false,
            tag,
            unread: Unread::default(),
            told: (0, 0),
            newcomers: Newcomers::default(),
            refused: Refused::default(),
        };
        Self { shedding: Some(Box::new(shedding)), ..self }
    }

    /// Whether there is room for another call, beside that of the agent.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        if let Some(shedding) = &mut self.shedding {
            shedding.is_full = is_full;
        }
    }

    /// How many calls were refused unread since the last time: for want of room, and because too many came at once.
    pub(crate) fn take_shed(&mut self) -> (u64, u64) {
        self.shedding.as_mut().map_or((0, 0), |shedding| {
            let now = (shedding.unread.shed, shedding.unread.crowded);
            let before = std::mem::replace(&mut shedding.told, now);
            (now.0 - before.0, now.1 - before.1)
        })
    }

    /// Calls that wait to be looked at.
    pub(crate) fn newcomers(&self) -> usize {
        self.shedding.as_ref().map_or(0, |shedding| shedding.newcomers.len())
    }

    /// Waits for the next input. Timers that are due go before what has come, so that a flood delays none; what has come
    /// goes before calls that wait to be looked at.
    pub(crate) async fn select(&mut self) -> DriverInput {
        let timer = self.agent.next_timeout().map(clock::instant);
        let has_newcomers = self.newcomers() > 0;
        let is_due = |s: &Shedding| s.newcomers.is_due(clock::mono());
        if has_newcomers && self.shedding.as_deref().is_some_and(is_due) {
            return DriverInput::Turn;
        }
        tokio::select! {
            biased;
            () = self.alarm.at(timer) => DriverInput::Timeout,
            answer = next_answer(&mut self.resolver) => DriverInput::Resolved(answer),
            event = self.sockets.select() => DriverInput::Net(event),
            // Gives way to the runtime now and then: without that, sockets would say at last that nothing has come.
            () = tokio::task::coop::consume_budget(), if has_newcomers => DriverInput::Turn,
        }
    }

    /// Takes an input: what it is for the agent is given to it, and what follows is sent.
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
        if let Some(shedding) = &mut self.shedding {
            if !matches!(input, DriverInput::Turn) {
                shedding.newcomers.go_before();
            }
            if let DriverInput::Net(NetEvent::FlowClosed { flow, .. }) = &input {
                // Nobody hears an answer any more.
                shedding.newcomers.drop_those(|waiting| flow_of(waiting) == Some(*flow));
            }
        }
        if matches!(input, DriverInput::Turn) {
            if let Some(newcomer) = self.next_newcomer() {
                self.serve(newcomer);
            }
        } else if let Some(input) = self.screen(input) {
            self.give(input, |_| {});
        }
    }

    /// A call that waited is given to the agent. Whether that refused it for want of room is remembered.
    fn serve(&mut self, newcomer: DriverInput) {
        // On a connection nothing is sent again.
        let datagram = match &newcomer {
            DriverInput::Net(NetEvent::Datagram { flow, bytes }) => Some((flow.remote.ip(), bytes.clone())),
            _ => None,
        };
        let Some((from, head)) = datagram.as_ref().and_then(|(from, d)| Some((*from, Head::scan(d)?))) else {
            return self.give(newcomer, |_| {});
        };
        let mut is_refused = false;
        self.give(newcomer, |sent| is_refused |= head.is_refused_by(sent));
        if is_refused && let Some(shedding) = &mut self.shedding {
            shedding.refused.note(&head.transaction(), from, Instant::now());
        }
    }

    /// Gives the agent an input and sends what follows, which `see` is shown.
    fn give(&mut self, input: DriverInput, see: impl FnMut(&[u8])) {
        let targets = match &input {
            DriverInput::Resolved(answer) => self.named(answer),
            _ => Vec::new(),
        };
        self.seeing(see, |agent, now| match input {
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
            // Whose turn it was is here in its place.
            DriverInput::Turn => {}
        });
    }

    /// Does something to the agent and sends what follows.
    pub(crate) fn with<R>(&mut self, change: impl FnOnce(&mut Agent<G>, Now) -> R) -> R {
        self.seeing(|_| {}, change)
    }

    fn seeing<R>(&mut self, mut see: impl FnMut(&[u8]), change: impl FnOnce(&mut Agent<G>, Now) -> R) -> R {
        let result = change(&mut self.agent, clock::now());
        while let Some(transmit) = self.agent.poll_transmit() {
            see(&transmit.bytes);
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

    /// What an input is that can be given to the agent now: a request that is one too many is refused by its lines alone,
    /// and one that begins a call waits.
    fn screen(&mut self, input: DriverInput) -> Option<DriverInput> {
        let verdict = match request(&input) {
            Some((flow, octets, head)) => self.judge(&flow, octets, head.as_ref()),
            None => Verdict::Pass,
        };
        match verdict {
            Verdict::Pass => Some(input),
            Verdict::Done => None,
            Verdict::Waits(key, octets) => {
                let newcomers = &mut self.shedding.as_mut()?.newcomers;
                if let Arrival::Refused(input) = newcomers.arrive(clock::mono(), key, octets, input) {
                    self.crowd_out(&input);
                }
                None
            }
            Verdict::Cancels(key) => {
                let invite = self.shedding.as_mut()?.newcomers.cancel(&key);
                let Some(invite) = invite else { return Some(input) };
                self.reply(&input, |head, flow, tag| head.confirm(flow, tag));
                self.reply(&invite, |head, flow, tag| head.terminate(flow, tag));
                None
            }
        }
    }

    /// The call that waits longest; one that has waited too long is refused.
    fn next_newcomer(&mut self) -> Option<DriverInput> {
        match self.shedding.as_mut()?.newcomers.next(clock::mono())? {
            Turn::Served(input) => Some(input),
            Turn::Late(input) => {
                self.crowd_out(&input);
                None
            }
        }
    }

    fn crowd_out(&mut self, input: &DriverInput) {
        let Some(shedding) = &mut self.shedding else { return };
        shedding.unread.crowded += 1;
        if let Some((flow, _, Some(head))) = request(input) {
            shedding.refused.note(&head.transaction(), flow.remote.ip(), Instant::now());
        }
        let turn = usize::try_from(shedding.unread.crowded).unwrap_or_default() % RETRY_SOON.len();
        let soon = RETRY_SOON.get(turn).copied().unwrap_or(RETRY_AFTER);
        self.reply(input, |head, flow, tag| head.refuse(flow, tag, soon));
    }

    /// Answers a request by its lines alone.
    fn reply(
        &mut self,
        input: &DriverInput,
        answer: impl FnOnce(&Head<'_>, &Flow, &str) -> Option<sip::Transmit>,
    ) {
        let (Some(shedding), Some((flow, _, Some(head)))) = (&self.shedding, request(input)) else { return };
        let answer = answer(&head, &flow, &shedding.tag);
        self.send(answer);
    }

    /// What belongs to a call that goes on passes.
    fn judge(&mut self, flow: &Flow, octets: usize, head: Option<&Head<'_>>) -> Verdict {
        let Some(shedding) = &mut self.shedding else { return Verdict::Pass };
        if head.is_some_and(|head| head.acknowledges(&shedding.tag)) {
            return Verdict::Done;
        }
        if head.is_some_and(|head| self.agent.knows(head)) {
            return Verdict::Pass;
        }
        let now = Instant::now();
        let rate = shedding.rates.take(flow.remote.ip(), now);
        let new_call = head.filter(|head| head.is_new_call()).map(Head::transaction);
        let is_again = new_call.as_ref().is_some_and(|key| shedding.refused.has(key, now));
        let has_room = !(shedding.is_full || self.agent.is_full());
        if rate == Rate::Within && !is_again && (has_room || new_call.is_none()) {
            return match (new_call, head) {
                (Some(_), Some(head)) if !self.agent.expects(flow) => {
                    let answer = head.forbid(flow, &shedding.tag);
                    self.send(answer);
                    Verdict::Done
                }
                (Some(key), _) => {
                    // The key is there twice.
                    let octets = octets + 2 * key.len();
                    Verdict::Waits(key, octets)
                }
                (None, Some(head)) if head.is_cancel() => Verdict::Cancels(head.transaction()),
                _ => Verdict::Pass,
            };
        }
        // A stranger's call does not begin later either.
        if let Some(key) = new_call.as_ref().filter(|_| self.agent.expects(flow)) {
            shedding.refused.note(key, flow.remote.ip(), now);
        }
        if rate == Rate::Within {
            shedding.unread.shed += u64::from(!is_again);
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
            return Verdict::Done;
        }
        let answer = head.and_then(|head| head.refuse(flow, &shedding.tag, RETRY_AFTER));
        self.send(answer);
        Verdict::Done
    }

    fn send(&mut self, answer: Option<sip::Transmit>) {
        if let Some(answer) = answer {
            self.tally.went(&answer.bytes);
            self.sockets.send(answer);
        }
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

    /// The address of ours by which a peer there is reached: of the same transport and family, if there is one.
    pub(crate) fn address(&self, transport: Transport, peer: std::net::SocketAddr) -> std::net::SocketAddr {
        let all = match transport {
            Transport::Udp => self.sockets.udp_addresses(),
            transport => self.sockets.addresses(transport),
        };
        let same = all.iter().find(|address| address.is_ipv4() == peer.is_ipv4());
        same.or(all.first()).copied().unwrap_or_else(|| ([0, 0, 0, 0], transport.default_port()).into())
    }

    /// The agent, to look at.
    pub(crate) fn agent(&self) -> &Agent<G> {
        &self.agent
    }

    /// Who judges what comes.
    pub(crate) fn gate_mut(&mut self) -> &mut G {
        self.agent.gate_mut()
    }

    /// Refuses what waits, lets what is queued go out, for at most `limit`, then closes the sockets.
    pub(crate) async fn close(mut self, limit: Duration) {
        while let Some(Turn::Served(waiting) | Turn::Late(waiting)) =
            self.shedding.as_mut().and_then(|s| s.newcomers.next(clock::mono()))
        {
            self.crowd_out(&waiting);
        }
        self.sockets.close(limit).await;
    }
}

async fn next_answer(resolver: &mut Option<Resolver>) -> Answer {
    match resolver {
        Some(resolver) => resolver.next().await,
        None => std::future::pending().await,
    }
}

/// The flow of a message.
fn flow_of(input: &DriverInput) -> Option<sip::FlowId> {
    match input {
        DriverInput::Net(NetEvent::Datagram { flow, .. } | NetEvent::Message { flow, .. }) => Some(flow.id),
        _ => None,
    }
}

/// The flow of a request, about how many octets it has, and its lines where they can be answered; none when it is none.
fn request(input: &DriverInput) -> Option<(Flow, usize, Option<Head<'_>>)> {
    match input {
        DriverInput::Net(NetEvent::Datagram { flow, bytes }) if !bytes.starts_with(b"SIP/2.0 ") => {
            Some((*flow, bytes.len(), Head::scan(bytes)))
        }
        DriverInput::Net(NetEvent::Message { flow, message }) => match &**message {
            Message::Request(request) => {
                // Headers are kept apart from each other.
                let headers = request.headers.iter().map(|header| header.raw_value().len() + 64);
                Some((*flow, headers.sum::<usize>() + request.body().len(), Head::of(request)))
            }
            Message::Response(_) => None,
        },
        _ => None,
    }
}
