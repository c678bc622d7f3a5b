//! Two agents wired together in memory, in virtual time: ladders in, ladders out.
//!
//! A ladder is lines such as
//!
//! ```text
//! client invite offer          orders: invite, accept, ring, refuse, reinvite, bye, info, update, ack, cancel
//! lose server 200/INVITE 2     the next two such messages are lost; dup, tamper |from|to|, replay |from|to|
//! server accept answer
//! wait 500ms
//! ```
//!
//! and so is what comes out: each message with its time, each event, indented. Only this file knows the API.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several tests, which stop where something is wrong"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use model::{Mono, Now, WallTime};
use sip::auth::{Authenticator, Login, Protection, Users, Verdict};
use sip::{
    Admission, Agent, AgentConfig, Body, Destination, Event, Flow, FlowId, Framer, Gate, GateRequest,
    Outgoing, Part, Pass, SessionId, Transport,
};

/// One way through the memory.
const LATENCY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    fn other(self) -> Self {
        if self == Self::Client { Self::Server } else { Self::Client }
    }
    fn name(self) -> &'static str {
        if self == Self::Client { "client" } else { "server" }
    }
    pub(crate) fn address(self) -> SocketAddr {
        let last = if self == Self::Client { 1 } else { 2 };
        SocketAddr::from(([192, 0, 2, last], 5060))
    }
}

enum Mischief {
    Lose,
    Duplicate,
    Tamper(Vec<(String, String)>),
}

/// Open, unless there are users.
pub(crate) struct PairGate {
    authenticator: Authenticator,
    pub(crate) users: Option<Users>,
    /// Whether credentials are asked for within dialogs too.
    pub(crate) within: bool,
}

impl PairGate {
    pub(crate) fn new() -> Self {
        Self { authenticator: Authenticator::new([5; 32]), users: None, within: false }
    }
}

impl Gate for PairGate {
    fn ask(&mut self, now: Now, request: &GateRequest<'_>) -> Admission {
        let Some(users) = &self.users else { return Admission::Admitted(None) };
        if request.pass.is_some() && !self.within {
            return Admission::Admitted(None);
        }
        let protection = Protection { scope: "pair", realm: "here", users };
        let source = request.flow.remote.ip();
        let values = &request.authorization;
        match self.authenticator.judge(now.mono, &protection, source, request.method, values) {
            Verdict::Passed { user } => {
                Admission::Admitted(Some(Pass { by: "pair".into(), user: Some(user) }.into()))
            }
            Verdict::Challenged(challenges) | Verdict::Wrong(challenges) => Admission::Refused {
                status: 401,
                reason: "Unauthorized",
                headers: challenges.into_iter().map(|c| ("WWW-Authenticate".to_owned(), c)).collect(),
            },
            Verdict::Locked => Admission::Refused { status: 403, reason: "Forbidden", headers: Vec::new() },
        }
    }
}

pub(crate) struct Pair {
    pub(crate) now: Now,
    pub(crate) client: Agent<PairGate>,
    pub(crate) server: Agent<PairGate>,
    /// What the client answers challenges with.
    pub(crate) login: Option<Login>,
    transport: Transport,
    wire: BTreeMap<(Mono, u64), (Side, Bytes)>,
    sent: u64,
    mischief: Vec<(Side, String, Mischief, u32)>,
    last: BTreeMap<(Side, String), Bytes>,
    sessions: BTreeMap<Side, SessionId>,
    /// Whether lines are written: not in tests of thousands.
    pub(crate) quiet: bool,
    /// Whether the client's messages come back to itself.
    pub(crate) loops: bool,
    pub(crate) trace: String,
    pub(crate) events: Vec<(Side, String)>,
    framers: BTreeMap<Side, Framer>,
}

pub(crate) fn now(mono: Mono) -> Now {
    let start = WallTime::from_millis(1_795_166_100_000);
    Now { mono, wall: start + mono.since(Mono::ZERO) }
}

pub(crate) fn sdp(name: &str) -> Bytes {
    Bytes::from(format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns={name}\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    ))
}

pub(crate) fn config(side: Side) -> AgentConfig {
    let advertised = vec![(Transport::Udp, side.address()), (Transport::Tcp, side.address())];
    AgentConfig { user_agent: side.name().into(), advertised, ..AgentConfig::default() }
}

impl Pair {
    pub(crate) fn new(transport: Transport) -> Self {
        Self::with(transport, config(Side::Client), config(Side::Server))
    }

    pub(crate) fn with(transport: Transport, client: AgentConfig, server: AgentConfig) -> Self {
        let mut client = Agent::with_gate(client, [1; 32], PairGate::new());
        client.flow_opened(Flow {
            id: FlowId(7),
            transport,
            local: Side::Client.address(),
            remote: Side::Server.address(),
        });
        Self {
            now: now(Mono::ZERO),
            client,
            server: Agent::with_gate(server, [2; 32], PairGate::new()),
            login: None,
            transport,
            wire: BTreeMap::new(),
            sent: 0,
            mischief: Vec::new(),
            last: BTreeMap::new(),
            sessions: BTreeMap::new(),
            quiet: false,
            loops: false,
            trace: String::new(),
            events: Vec::new(),
            framers: [(Side::Client, Framer::new()), (Side::Server, Framer::new())].into(),
        }
    }

    pub(crate) fn agent(&mut self, side: Side) -> &mut Agent<PairGate> {
        if side == Side::Client { &mut self.client } else { &mut self.server }
    }

    pub(crate) fn flow(&self, side: Side) -> Flow {
        Flow {
            id: FlowId(7),
            transport: self.transport,
            local: side.address(),
            remote: side.other().address(),
        }
    }

    /// Runs one ladder.
    pub(crate) fn run(&mut self, ladder: &str) {
        for line in ladder.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["wait", time] => self.wait(duration(time)),
                ["lose", from, what] => self.plan(from, what, Mischief::Lose, 1),
                ["lose", from, what, count] => self.plan(from, what, Mischief::Lose, count.parse().unwrap()),
                ["dup", from, what] => self.plan(from, what, Mischief::Duplicate, 1),
                ["tamper", from, what, ..] => {
                    self.plan(from, what, Mischief::Tamper(replacements(line)), 1);
                }
                ["replay", from, what, ..] => {
                    let message = self.last.get(&(side(from), (*what).to_owned())).unwrap().clone();
                    self.put(side(from), replaced(&message, &replacements(line)));
                }
                ["break"] => self.break_flow(),
                [who, order, rest @ ..] => self.order(side(who), order, rest),
                _ => panic!("no such line: {line}"),
            }
            self.pump();
        }
    }

    fn break_flow(&mut self) {
        self.line("── the connection breaks");
        self.wire.clear();
        let now = self.now;
        for side in [Side::Client, Side::Server] {
            self.framers.insert(side, Framer::new());
            self.agent(side).flow_closed(now, FlowId(7));
        }
    }

    fn plan(&mut self, from: &str, what: &str, mischief: Mischief, count: u32) {
        self.mischief.push((side(from), what.to_owned(), mischief, count));
    }

    fn order(&mut self, who: Side, order: &str, rest: &[&str]) {
        let now = self.now;
        let body = rest.first().map(|name| sdp(name));
        let id = self.sessions.get(&who).copied().unwrap_or(SessionId(0));
        if order == "invite" {
            let id = self.invite(who, rest);
            self.sessions.insert(who, id);
            return;
        }
        let agent = self.agent(who);
        let result = match order {
            "accept" => agent.accept(now, id, body.unwrap(), &[("X-Extra".into(), "1".into())]),
            "ring" => agent.ring(now, id),
            "refuse" => agent.refuse(now, id, rest[0].parse().unwrap(), "Refused", &[]),
            "reinvite" => agent.reinvite(now, id, body),
            "bye" => agent.bye(now, id, rest.first().copied()),
            "info" => agent.info(now, id, &[("X-AC-Action".into(), "pause-siprec".into())], None),
            "update" => agent.update(now, id, &[], None),
            "ack" => agent.ack_with(now, id, body.unwrap()),
            "cancel" => agent.cancel(now, id),
            _ => panic!("no such order: {order}"),
        };
        if let Err(error) = result {
            self.line(&format!("      {} {order}: {error}", who.name()));
        }
    }

    pub(crate) fn invite(&mut self, who: Side, rest: &[&str]) -> SessionId {
        let mut bodies = Vec::new();
        for word in rest {
            match *word {
                "metadata" => bodies.push(Body {
                    content_type: "application/rs-metadata+xml".into(),
                    bytes: Bytes::from_static(b"<recording><session session_id=\"s\"/></recording>"),
                }),
                name => bodies.push(Body { content_type: "application/sdp".into(), bytes: sdp(name) }),
            }
        }
        let destination = if self.transport == Transport::Tcp {
            Destination::Flow(FlowId(7))
        } else {
            Destination::Address { transport: self.transport, remote: who.other().address() }
        };
        let invite = Outgoing {
            to_uri: format!("sip:record@{}", who.other().address()),
            from_uri: "sip:1001@pbx.example".into(),
            display: Some("Alice \"A\"".into()),
            destination,
            contact_params: if bodies.len() > 1 { ";+sip.src".into() } else { String::new() },
            bodies,
            extra_headers: vec![("X-Test".into(), "yes".into())],
            login: self.login.clone(),
        };
        let now = self.now;
        self.agent(who).invite(now, invite)
    }

    /// Puts bytes on the wire, as if this side had sent them.
    pub(crate) fn put(&mut self, from: Side, bytes: Bytes) {
        let label = label(&bytes);
        self.last.insert((from, label.clone()), bytes.clone());
        let mut copies = vec![bytes];
        let mut note = "";
        let planned = self
            .mischief
            .iter()
            .position(|(side, what, _, left)| *side == from && *what == label && *left > 0);
        if let Some(at) = planned {
            self.mischief[at].3 -= 1;
            match &self.mischief[at].2 {
                Mischief::Lose => {
                    copies.clear();
                    note = "  (lost)";
                }
                Mischief::Duplicate => {
                    copies.push(copies[0].clone());
                    note = "  (twice)";
                }
                Mischief::Tamper(replacements) => {
                    copies[0] = replaced(&copies[0], replacements);
                    note = "  (tampered)";
                }
            }
        }
        let arrow = if from == Side::Client { "──►" } else { "◄──" };
        let shown = copies.first().map_or_else(|| label.clone(), |copy| describe(copy));
        self.line(&format!("{arrow} {shown}{note}"));
        for copy in copies {
            self.sent += 1;
            let at = self.now.mono + LATENCY;
            let to = if self.loops { from } else { from.other() };
            self.wire.insert((at, self.sent), (to, copy));
        }
    }

    fn line(&mut self, text: &str) {
        if !self.quiet {
            let ms = self.now.mono.since(Mono::ZERO).as_millis();
            let time = format!("{}.{:03}", ms / 1000, ms % 1000);
            writeln!(self.trace, "{time:<9}{text}").unwrap();
        }
    }

    /// Drains both agents.
    pub(crate) fn pump(&mut self) {
        for side in [Side::Client, Side::Server] {
            while let Some(transmit) = self.agent(side).poll_transmit() {
                self.put(side, transmit.bytes);
            }
            while let Some(event) = self.agent(side).poll_event() {
                self.event(side, &event);
            }
        }
    }

    fn event(&mut self, side: Side, event: &Event) {
        if let Event::Invited { session, .. } = event {
            self.sessions.insert(side, *session);
        }
        let text = tell(event);
        self.line(&format!("      {} {text}", side.name()));
        self.events.push((side, text));
    }

    /// Lets time pass, stopping wherever something happens.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        loop {
            self.pump();
            let next = [
                self.wire.keys().next().map(|(at, _)| *at),
                self.client.next_timeout(),
                self.server.next_timeout(),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= until) else { break };
            self.now = now(next.max(self.now.mono));
            self.step();
        }
        self.now = now(until);
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now.mono) {
            let (to, bytes) = entry.remove();
            let flow = self.flow(to);
            match self.transport {
                Transport::Udp => self.agent(to).receive_datagram(now, flow, bytes),
                _ => {
                    let messages = self.framers.get_mut(&to).unwrap().push(&bytes).unwrap_or_default();
                    for message in messages {
                        self.agent(to).receive_message(now, flow, message);
                    }
                }
            }
            self.pump();
        }
        self.client.handle_timeout(now);
        self.server.handle_timeout(now);
        self.pump();
    }
}

fn side(name: &str) -> Side {
    match name {
        "client" => Side::Client,
        "server" => Side::Server,
        _ => panic!("no such side: {name}"),
    }
}

fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().unwrap()),
        None => Duration::from_secs(text.trim_end_matches('s').parse().unwrap()),
    }
}

/// `… |old|new|old|new|`
fn replacements(line: &str) -> Vec<(String, String)> {
    let parts: Vec<String> = line.split('|').skip(1).map(|part| part.replace("\\r\\n", "\r\n")).collect();
    parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn replaced(message: &Bytes, replacements: &[(String, String)]) -> Bytes {
    let mut text = String::from_utf8_lossy(message).into_owned();
    for (old, new) in replacements {
        assert!(text.contains(old.as_str()), "{old} is not in {text}");
        text = text.replace(old.as_str(), new);
    }
    text.into()
}

/// `INVITE`, `200/INVITE`.
pub(crate) fn label(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let first = text.split_whitespace().next().unwrap_or_default();
    if first.starts_with("SIP/") {
        let status = text.split_whitespace().nth(1).unwrap_or_default();
        let method = header(&text, "CSeq").and_then(|cseq| cseq.split_whitespace().nth(1).map(str::to_owned));
        format!("{status}/{}", method.unwrap_or_default())
    } else {
        first.to_owned()
    }
}

pub(crate) fn header(text: &str, name: &str) -> Option<String> {
    let prefix = format!("{}:", name.to_ascii_lowercase());
    text.lines()
        .take_while(|line| !line.trim().is_empty())
        .find(|line| line.to_ascii_lowercase().starts_with(&prefix))
        .map(|line| line[prefix.len()..].trim().to_owned())
}

fn describe(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = label(bytes);
    for name in
        ["Session-Expires", "Min-SE", "Require", "Unsupported", "Retry-After", "Reason", "X-AC-Action"]
    {
        if let Some(value) = header(&text, name)
            && !(name == "Min-SE" && shown.starts_with("INVITE"))
        {
            write!(shown, " {name}={}", value.replace(' ', "")).unwrap();
        }
    }
    for line in text.lines() {
        if line.starts_with("WWW-Authenticate:") || line.starts_with("Authorization:") {
            let param = |name: &str| {
                let value = line.split(name).nth(1).unwrap_or_default();
                value.split([',', '"']).find(|v| !v.is_empty()).unwrap_or_default().to_owned()
            };
            let stale = if line.contains("stale=true") { " stale" } else { "" };
            let count = line.split("nc=").nth(1).map(|nc| format!(" {}", &nc[..8])).unwrap_or_default();
            write!(shown, " ({}{stale}{count})", param("algorithm=")).unwrap();
        }
        if let Some(name) = line.strip_prefix("s=") {
            write!(shown, " [{name}]").unwrap();
        }
        if line.contains("<recording>") {
            shown.push_str(" [metadata]");
        }
    }
    shown
}

fn part(part: Option<&Part>) -> String {
    let text = part.map(|part| String::from_utf8_lossy(&part.bytes).into_owned());
    text.and_then(|text| text.lines().find_map(|l| l.strip_prefix("s=").map(|s| format!(" [{s}]"))))
        .unwrap_or_default()
}

fn tell(event: &Event) -> String {
    match event {
        Event::Invited { request, .. } => {
            let siprec = if request.siprec { " siprec" } else { "" };
            let metadata = if request.metadata().count() > 0 { " +metadata" } else { "" };
            format!("Invited{}{metadata}{siprec}", part(request.sdp()))
        }
        Event::Reoffered { request, .. } => format!("Reoffered {}{}", request.method, part(request.sdp())),
        Event::Informed { request, .. } => format!("Informed {}", request.method),
        Event::Confirmed { answer, .. } => format!("Confirmed{}", part(answer.as_ref())),
        Event::Unacknowledged { .. } => "Unacknowledged".to_owned(),
        Event::Sought { .. } => "Sought".to_owned(),
        Event::Ended { cause, request, .. } => {
            let reason = request
                .as_ref()
                .and_then(|r| r.reasons.first())
                .map(|r| format!(" {} {:?}", r.protocol, r.cause));
            format!("Ended {cause:?}{}", reason.unwrap_or_default())
        }
        Event::Ringing { status, .. } => format!("Ringing {status}"),
        Event::Accepted { status, sdp, at_method, .. } => {
            format!("Accepted {status} {at_method}{}", part(sdp.as_ref()))
        }
        Event::Refused { status, reason, .. } => format!("Refused {status} {reason}"),
    }
}
