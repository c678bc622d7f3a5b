//! Who calls: one real SIP agent for all, as a session border controller has it, and what each caller does and sends.
//!
//! Callers send packets with numbers to where they were told last, from when they are answered until they hang up; before a
//! hold and a hang-up they are quiet for a moment, so that nothing is under way then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::Ask;
use media::sdp::Direction;
use sip::{Agent, AgentConfig, Body, Destination, Event, Flow, FlowId, Outgoing, Part, SessionId, Transport};

use crate::core::{Core, Event as Happens, Input};
use crate::proxy;
use crate::scenario::{Answers, Caller, Does, FORGOTTEN, MS, Scenario, Turns, Who};
use crate::truth::Sent;
use crate::world::server_of;

/// Between two packets of a line: what a hundredth of real ones would be, which is enough to see whether any is lost.
const TALKS_EVERY: u64 = 500 * MS;
/// How long a caller is quiet before it holds or hangs up.
const QUIET: u64 = 150 * MS;

/// Where callers are.
pub(crate) fn address() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 5_060))
}

/// See the module.
pub(crate) struct Callers {
    agent: Agent,
    calls: Vec<Call>,
    by_session: BTreeMap<SessionId, usize>,
    timer: Option<u64>,
}

struct Call {
    plan: Caller,
    proxy: usize,
    tries: usize,
    session: Option<SessionId>,
    phase: Phase,
    /// How many of the things that it has in mind are done.
    done: usize,
    lines: Vec<Line>,
    version: u64,
    talks: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Calling,
    Up,
    Over,
}

struct Line {
    ssrc: u32,
    sent: u32,
    from: SocketAddr,
    to: Option<SocketAddr>,
}

impl Callers {
    pub(crate) fn new(scenario: &Scenario, seed: [u8; 32]) -> Self {
        let config = AgentConfig {
            user_agent: "callers".to_owned(),
            advertised: vec![(Transport::Udp, address())],
            session_expires: Duration::from_secs(scenario.session_expires),
            force_udp: true,
            ..AgentConfig::default()
        };
        let mut agent = Agent::new(config, seed);
        (0..scenario.proxies).for_each(|proxy| agent.flow_opened(flow(proxy)));
        let calls = scenario.callers.iter().enumerate().map(|(index, plan)| Call::new(index, plan));
        Self { agent, calls: calls.collect(), by_session: BTreeMap::new(), timer: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn begins(&self, caller: usize) -> u64 {
        self.calls[caller].plan.begins
    }

    /// Whether all are over.
    pub(crate) fn are_over(&self) -> bool {
        self.calls.iter().all(|call| call.phase == Phase::Over) && self.agent.stats().transactions == 0
    }

    pub(crate) fn receive(&mut self, core: &mut Core, proxy: usize, bytes: Bytes) {
        self.agent.receive_datagram(core.now(0), flow(proxy), bytes);
        self.drain(core);
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) {
        self.timer = None;
        self.agent.handle_timeout(core.now(0));
        self.drain(core);
    }

    /// A caller calls, by its proxy or the next one.
    pub(crate) fn calls(&mut self, core: &mut Core, caller: usize) {
        let call = &mut self.calls[caller];
        call.phase = Phase::Calling;
        core.say(format_args!("caller {caller} calls p{}", call.proxy));
        let invite = Outgoing {
            to_uri: "sip:rec@callspool.example".to_owned(),
            from_uri: format!("sip:c{caller}@callers.example"),
            display: None,
            destination: Destination::Flow(flow(call.proxy).id),
            bodies: vec![Body { content_type: "application/sdp".to_owned(), bytes: call.sdp(Says::Sends) }],
            extra_headers: Vec::new(),
            contact_params: String::new(),
            login: None,
        };
        let session = self.agent.invite(core.now(0), invite);
        call.session = Some(session);
        self.by_session.insert(session, caller);
        self.drain(core);
    }

    /// A caller does something: it is quiet first.
    pub(crate) fn does(&mut self, core: &mut Core, caller: usize, does: Does) {
        let now = core.now(0);
        let call = &mut self.calls[caller];
        let (Some(session), Phase::Up) = (call.session, call.phase) else { return };
        if let Some(ask) = asks(does) {
            core.say(format_args!("caller {caller}: {does:?}"));
            core.truth.orders(caller, ask);
            // What is under way is there before the order is.
            core.schedule(core.at + QUIET, Happens::Orders(caller, ask));
            call.done += 1;
            return call.goes_on(core, caller);
        }
        if std::mem::replace(&mut call.talks, false) {
            return core.schedule(core.at + QUIET, Happens::Does(caller, does));
        }
        core.say(format_args!("caller {caller}: {does:?}"));
        // One that is gone has said so.
        let _ = match does {
            Does::Hold => self.agent.reinvite(now, session, Some(call.sdp(Says::Holds))),
            Does::Resume => self.agent.reinvite(now, session, Some(call.sdp(Says::Sends))),
            Does::HangUp => self.agent.bye(now, session, None),
            Does::Vanish | Does::Pause | Does::Keep => Ok(()),
        };
        call.done += 1;
        self.drain(core);
    }

    /// Whoever still calls hangs up; who was to vanish, or is on hold for good, stays.
    pub(crate) fn hang_up(&mut self, core: &mut Core) {
        let now = core.now(0);
        for caller in 0..self.calls.len() {
            let call = &mut self.calls[caller];
            let Some(session) = call.session else { continue };
            let is_done = call.done >= call.plan.does.len() && core.at < FORGOTTEN;
            match call.phase {
                Phase::Calling => _ = self.agent.cancel(now, session),
                Phase::Up if !is_done => self.does(core, caller, Does::HangUp),
                Phase::Up => call.talks = false,
                Phase::Idle | Phase::Over => {}
            }
        }
        self.drain(core);
    }

    fn drain(&mut self, core: &mut Core) {
        while let Some(event) = self.agent.poll_event() {
            self.event(core, event);
        }
        while let Some(transmit) = self.agent.poll_transmit() {
            self.send(core, transmit.to, &transmit.bytes);
        }
        if let Some(at) = self.agent.next_timeout().map(|at| at.0)
            && self.timer.is_none_or(|timer| at < timer)
        {
            self.timer = Some(at);
            core.schedule(at, Happens::CallersTimer);
        }
    }

    fn send(&self, core: &mut Core, to: Destination, bytes: &Bytes) {
        let proxy = match to {
            Destination::Flow(id) => usize::try_from(id.0).unwrap_or(usize::MAX).wrapping_sub(1),
            Destination::Address { remote, .. } | Destination::Named { remote, .. } => {
                (0..).take(8).find(|n| proxy::address(*n) == remote).unwrap_or(usize::MAX)
            }
        };
        let proxy = self.turns_to(core, proxy, bytes);
        if core.log.keeps {
            let line = first_line(bytes);
            core.say(format_args!("callers ► p{proxy} {line}"));
        }
        let (lost, doubled) = (core.network.sip_lost, core.network.sip_doubled);
        if core.rng.chance(lost) {
            return;
        }
        for _ in 0..1 + usize::from(core.rng.chance(doubled)) {
            let at = core.at + core.rng.between(MS, 30 * MS);
            core.tell_at(at, Who::Proxy(proxy), Input::Sip(bytes.clone()));
        }
    }

    /// Where a message goes that is meant for this proxy: a request within a dialog may go to another one.
    fn turns_to(&self, core: &Core, proxy: usize, bytes: &Bytes) -> usize {
        let Some((caller, cseq)) = request_within(bytes) else { return proxy };
        let Some(turns) = self.calls.get(caller).map(|call| call.plan.turns) else { return proxy };
        let is_there = |proxy: &usize| !core.network.closed.contains(proxy);
        match turns {
            Turns::Never => proxy,
            Turns::WhenRefused => {
                let mut others = (0..core.proxies()).map(|n| (proxy + n) % core.proxies());
                others.find(is_there).unwrap_or(proxy)
            }
            Turns::Always => (caller + cseq) % core.proxies(),
        }
    }

    fn event(&mut self, core: &mut Core, event: Event) {
        let now = core.now(0);
        match event {
            Event::Accepted { session, sdp, .. } => self.accepted(core, session, sdp.as_ref()),
            Event::Refused { session, status, .. } => self.refused(core, session, status),
            Event::Reoffered { session, request } => {
                let Some(caller) = self.by_session.get(&session).copied() else { return };
                let call = &mut self.calls[caller];
                let _ = match call.plan.answers {
                    Answers::Accepts => {
                        call.goes_to(request.sdp());
                        self.agent.accept(now, session, call.sdp(Says::Sends), &[])
                    }
                    Answers::Refuses => self.agent.refuse(now, session, 488, "Not Acceptable Here", &[]),
                    Answers::Never => Ok(()),
                };
            }
            Event::Ended { session, cause, .. } => {
                let Some(caller) = self.by_session.get(&session).copied() else { return };
                core.say(format_args!("caller {caller} is over: {cause:?}"));
                self.over(core, caller, session);
            }
            _ => {}
        }
    }

    fn accepted(&mut self, core: &mut Core, session: SessionId, sdp: Option<&Part>) {
        let Some(caller) = self.by_session.get(&session).copied() else { return };
        let call = &mut self.calls[caller];
        call.goes_to(sdp);
        let is_new = call.phase == Phase::Calling;
        call.phase = Phase::Up;
        let sends = call.lines.iter().any(|line| line.to.is_some());
        if sends && !call.talks && !call.has_vanished() {
            call.talks = true;
            core.schedule(core.at + 5 * MS, Happens::Talks(caller));
        }
        // Refreshes of the session are accepted too.
        if is_new || call.done > 0 {
            call.goes_on(core, caller);
        }
    }

    fn refused(&mut self, core: &mut Core, session: SessionId, status: u16) {
        let Some(caller) = self.by_session.get(&session).copied() else { return };
        core.say(format_args!("caller {caller} is refused: {status}"));
        match self.calls[caller].phase {
            Phase::Calling => self.over(core, caller, session),
            // It stays as it was, and goes on to what it does next.
            _ => self.calls[caller].goes_on(core, caller),
        }
    }

    /// A call is over. One that was never answered is tried once more, elsewhere where that is possible.
    fn over(&mut self, core: &mut Core, caller: usize, session: SessionId) {
        let call = &mut self.calls[caller];
        if call.session != Some(session) {
            return;
        }
        let was = std::mem::replace(&mut call.phase, Phase::Over);
        call.talks = false;
        if was == Phase::Calling && call.tries == 0 && core.at < crate::scenario::HEALED {
            (call.phase, call.tries) = (Phase::Idle, 1);
            call.proxy = (call.proxy + 1) % core.proxies();
            let at = core.at + core.rng.between(100 * MS, 2_000 * MS);
            core.schedule(at, Happens::Calls(caller));
        }
    }

    /// A caller sends its next packets.
    pub(crate) fn talks(&mut self, core: &mut Core, caller: usize) {
        let call = &mut self.calls[caller];
        if !call.talks {
            return;
        }
        for line in &mut call.lines {
            let Some(to) = line.to else { continue };
            line.sent += 1;
            let is_lost = core.rng.chance(core.network.media_lost);
            let server = server_of(to.ip());
            let is_eaten = is_lost || server.is_some_and(|server| core.network.deaf.contains(&server));
            let secrecy = core.truth.secrecy(caller);
            core.truth.sent.insert((line.ssrc, line.sent), Sent { caller, is_eaten, secrecy });
            if let (Some(server), false) = (server, is_eaten) {
                let at = core.at + core.rng.between(MS, 8 * MS);
                let (port, from, packet) = (to.port(), line.from, line.packet());
                core.tell_at(at, Who::Server(server), Input::Media { port, from, packet });
            }
        }
        core.schedule(core.at + TALKS_EVERY, Happens::Talks(caller));
    }
}

/// What of it a person orders, and not the caller.
const fn asks(does: Does) -> Option<Ask> {
    match does {
        Does::Pause => Some(Ask::Pause { timeout: None }),
        Does::Keep => Some(Ask::Resume),
        Does::Hold | Does::Resume | Does::HangUp | Does::Vanish => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Sends,
    Holds,
}

impl Call {
    fn new(index: usize, plan: &Caller) -> Self {
        let line = |n: usize| {
            let id = u32::try_from(index * 10 + n).unwrap_or(0);
            let port = u16::try_from(20_000 + index * 10 + n * 2).unwrap_or(0);
            Line { ssrc: 0x1000 + id, sent: 0, from: SocketAddr::new(address().ip(), port), to: None }
        };
        Self {
            proxy: plan.proxy,
            lines: (0..plan.lines).map(line).collect(),
            plan: plan.clone(),
            tries: 0,
            session: None,
            phase: Phase::Idle,
            done: 0,
            version: 0,
            talks: false,
        }
    }

    fn sdp(&mut self, says: Says) -> Bytes {
        self.version += 1;
        let ip = address().ip();
        let mut sdp = format!(
            "v=0\r\no=- {} {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n",
            self.lines.first().map_or(0, |line| line.ssrc),
            self.version
        );
        let direction = if says == Says::Sends { "sendonly" } else { "inactive" };
        for (n, line) in self.lines.iter().enumerate() {
            let port = line.from.port();
            sdp.push_str(&format!("m=audio {port} RTP/AVP 9\r\na={direction}\r\na=label:{}\r\n", n + 1));
        }
        sdp.into()
    }

    /// Media go where this description says.
    fn goes_to(&mut self, sdp: Option<&Part>) {
        let Some(sdp) = sdp.and_then(|part| media::sdp::read(&part.bytes).ok()) else { return };
        for (line, m) in self.lines.iter_mut().zip(&sdp.media) {
            line.to = m.remote_rtp().filter(|_| m.direction != Direction::Inactive);
        }
    }

    fn has_vanished(&self) -> bool {
        self.done > 0 && self.plan.does.get(self.done - 1).is_some_and(|(_, does)| *does == Does::Vanish)
    }

    /// What it does next is planned, if it is not yet.
    fn goes_on(&mut self, core: &mut Core, caller: usize) {
        if let Some((after, does)) = self.plan.does.get(self.done).copied()
            && self.planned() == self.done
        {
            self.plan.does[self.done].0 = u64::MAX;
            core.schedule(core.at + after, Happens::Does(caller, does));
        }
    }

    /// How many of the things that it has in mind are planned.
    fn planned(&self) -> usize {
        self.plan.does.iter().take_while(|(after, _)| *after == u64::MAX).count()
    }
}

impl Line {
    /// G.722, whose payload says which packet it is.
    fn packet(&self) -> Bytes {
        let mut packet = vec![0x80, 9];
        packet.extend_from_slice(&u16::try_from(self.sent & 0xffff).unwrap_or(0).to_be_bytes());
        packet.extend_from_slice(&self.sent.wrapping_mul(4_000).to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(&self.sent.to_be_bytes());
        packet.extend_from_slice(&[0xaa; 8]);
        packet.into()
    }
}

/// Which packet a payload says that it is.
pub(crate) fn packet_of(payload: &[u8]) -> Option<(u32, u32)> {
    let ssrc = payload.get(..4)?.try_into().ok()?;
    let number = payload.get(4..8)?.try_into().ok()?;
    Some((u32::from_be_bytes(ssrc), u32::from_be_bytes(number)))
}

fn flow(proxy: usize) -> Flow {
    let id = FlowId(proxy as u64 + 1);
    Flow { id, transport: Transport::Udp, local: address(), remote: proxy::address(proxy) }
}

/// Of a request within a dialog: whose it is, and its number.
fn request_within(bytes: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.starts_with("SIP/2.0"))?;
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    header("To: ").filter(|to| to.contains(";tag="))?;
    let user = header("From: ")?.split("sip:c").nth(1)?.split('@').next()?;
    Some((user.parse().ok()?, header("CSeq: ")?.split(' ').next()?.parse().ok()?))
}

/// The first line of a message, for the log.
pub(crate) fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let header = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let from = header("From:");
    let user = from.split("sip:").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or_default();
    format!("{} {} ({user})", String::from_utf8_lossy(line), header("CSeq"))
}
