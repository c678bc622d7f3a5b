//! A proxy: the real agent, front and table of record servers, and a shell around them as thin as the real one.

mod custody;
mod orders;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::{
    Action, Custody, Front, FrontConfig, PeerEvent, RecordServers, ServersConfig, Step, TrunkGate, Trunks,
};
use media::sdp::Direction;
use model::peer::Flowing;
use model::{ChangeKind, IdGenerator, NodeNumber, Now, Order, PeerName, Report, TenantId};
use sip::{Agent, AgentConfig, Event, Flow, FlowId, SessionId, Transport};

use self::custody::News;
use self::orders::Awaited;
use crate::callers;
use crate::core::{Core, Event as Happens, FromProxy, Input};
use crate::network::Toward;
use crate::scenario::{MS, Scenario, Who};
use crate::truth::{Answer, Dialog};
use crate::world::{BEAT, server_name};
use crate::wrong::Wrong;

/// How long calls on hold, and those that are over, are remembered.
const REMEMBERED: Duration = Duration::from_secs(45);
/// Dialogs that are sought at a time: more than there are callers.
const SOUGHT_MAX: usize = 16;

/// See the module.
pub(crate) struct Proxy {
    index: usize,
    agent: Agent<TrunkGate>,
    pub(crate) front: Front,
    pub(crate) servers: RecordServers,
    custody: Custody,
    /// What is to be looked at of whose calls are.
    news: VecDeque<News>,
    /// Orders of people that are not carried out yet.
    awaited: Vec<Awaited>,
    names: Vec<PeerName>,
    /// The number of the link with each record server, once it has said who it is.
    links: Vec<Option<u64>>,
    /// The highest id that it has given.
    pub(crate) given: u64,
}

/// Where a proxy is spoken to.
pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(index).unwrap_or(u8::MAX)], 5_060))
}

impl Proxy {
    /// One that begins, after one that gave ids up to `given`.
    pub(crate) fn new(index: usize, run: u64, scenario: &Scenario, seeds: [[u8; 32]; 2], given: u64) -> Self {
        let names: Vec<PeerName> = (0..scenario.servers).map(server_name).collect();
        let tenant = TenantId::default();
        let trunks = Trunks::new(Vec::new(), tenant.clone());
        let number = NodeNumber::new(u16::try_from(100 + index).unwrap_or(0)).unwrap_or(NodeNumber::SINGLE);
        let agent = AgentConfig {
            advertised: vec![(Transport::Udp, address(index))],
            session_expires: Duration::from_secs(scenario.session_expires),
            force_udp: true,
            sought_max: SOUGHT_MAX,
            ..AgentConfig::default()
        };
        let config = ServersConfig {
            tenant: tenant.clone(),
            beat: Duration::from_nanos(BEAT),
            remembered: REMEMBERED,
        };
        Self {
            index,
            agent: Agent::with_gate(agent, seeds[0], TrunkGate::new(trunks.clone(), seeds[1])),
            front: Front::new(front(number, tenant, trunks), IdGenerator::new(number, given))
                .over_several()
                .carried_on(),
            custody: Custody::new(run).awaiting(names.iter().cloned()),
            news: VecDeque::new(),
            awaited: Vec::new(),
            servers: RecordServers::new(config, names.iter().cloned()),
            links: vec![None; names.len()],
            names,
            given,
        }
    }

    pub(crate) fn take(&mut self, core: &mut Core, now: Now, input: Input) {
        match input {
            Input::Timer => {
                self.servers.handle_timeout(now);
                self.front.handle_timeout(now);
                self.agent.handle_timeout(now);
            }
            Input::Sip(bytes) => {
                let flow = Flow {
                    id: FlowId(1),
                    transport: Transport::Udp,
                    local: address(self.index),
                    remote: callers::address(),
                };
                self.agent.receive_datagram(now, flow, bytes);
            }
            Input::Ordered(caller, call, ask) => self.obey(core, now, caller, call, ask),
            Input::Heard(server, link, event) => self.heard(now, server, link, event),
            Input::Kept(server, link, said) => self.was_told(now, server, link, said),
            _ => {}
        }
        self.drain(core, now);
    }

    fn heard(&mut self, now: Now, server: usize, link: u64, event: PeerEvent) {
        match &event {
            PeerEvent::Up(_) => self.links[server] = Some(link),
            // What an older link says is of before.
            _ if self.links[server] != Some(link) => return,
            PeerEvent::Closed(_) => self.links[server] = None,
            _ => {}
        }
        let name = self.names[server].clone();
        if self.note_news(&name, &event) {
            self.servers.handle_event(now, &name, event);
        }
    }

    /// Does all that follows, until nothing more does.
    fn drain(&mut self, core: &mut Core, now: Now) {
        self.front.set_room(self.servers.room());
        loop {
            if let Some(event) = self.agent.poll_event() {
                self.event(core, &event);
                self.hear(now, event);
            } else if let Some(action) = self.front.poll_action() {
                self.act(core, now, action);
            } else if let Some(step) = self.servers.poll_step() {
                self.carry_out(core, now, step);
            } else if !self.hand_on(core, now) {
                break;
            }
        }
        while let Some(query) = self.agent.poll_query() {
            self.agent.resolved(now, &query, Vec::new());
        }
        while let Some(transmit) = self.agent.poll_transmit() {
            self.send_sip(core, &transmit.bytes);
        }
    }

    fn send_sip(&self, core: &mut Core, bytes: &Bytes) {
        if core.log.keeps {
            let line = callers::first_line(bytes);
            core.say(format_args!("p{} ► {line}", self.index));
        }
        let (lost, doubled) = (core.network.sip_lost, core.network.sip_doubled);
        if core.rng.chance(lost) {
            return;
        }
        for _ in 0..1 + usize::from(core.rng.chance(doubled)) {
            let at = core.at + core.rng.between(MS, 30 * MS);
            core.schedule(at, Happens::Callers(self.index, bytes.clone()));
        }
    }

    fn event(&self, core: &mut Core, event: &Event) {
        match event {
            Event::Invited { session, request } => {
                let caller =
                    request.from.user.as_deref().and_then(|user| user.strip_prefix('c')?.parse().ok());
                let dialog = Dialog {
                    caller: caller.unwrap_or(usize::MAX),
                    call_id: request.call_id.clone(),
                    tag: None,
                    is_accepted: false,
                    is_held: false,
                    is_over: false,
                    uncared: None,
                };
                core.say(format_args!("p{} session {} is caller {}", self.index, session.0, dialog.caller));
                core.truth.dialogs.insert((self.index, *session), dialog);
            }
            Event::Ended { session, cause, .. } => {
                core.say(format_args!("p{} session {} is over: {cause:?}", self.index, session.0));
                self.over(core, *session);
            }
            _ => {}
        }
    }

    fn over(&self, core: &mut Core, session: SessionId) {
        if let Some(dialog) = core.truth.dialogs.get_mut(&(self.index, session)) {
            dialog.is_over = true;
        }
    }

    fn act(&mut self, core: &mut Core, now: Now, action: Action) {
        // One that is gone meanwhile has said so, and the front hears of it next.
        let _ = match action {
            Action::Accept { session, sdp } => {
                if let Some(dialog) = core.truth.dialogs.get_mut(&(self.index, session)) {
                    (dialog.is_accepted, dialog.is_held) = (true, holds(&sdp));
                }
                self.agent.accept(now, session, sdp, &[])
            }
            Action::Refuse { session, code, reason, headers } => {
                core.say(format_args!("p{} session {} is refused: {code}", self.index, session.0));
                let of = core.truth.dialogs.get_mut(&(self.index, session));
                if let Some(dialog) = of.filter(|dialog| !dialog.is_accepted) {
                    dialog.is_over = true;
                }
                self.agent.refuse(now, session, code, reason, &headers)
            }
            Action::Reoffer { session, sdp } => self.agent.reinvite(now, session, Some(sdp)),
            Action::AskMetadata { session, .. } => self.agent.update(now, session, &[], None),
            Action::HangUp { session, reason } => {
                core.say(format_args!("p{} hangs up session {}: {reason}", self.index, session.0));
                self.over(core, session);
                self.agent.bye(now, session, Some(&reason))
            }
            Action::Order(order) => {
                if let Order::Open(open) = &order {
                    self.given = self.given.max(open.segment.as_u64()).max(open.call.as_u64());
                    self.given = open.streams.iter().map(|s| s.stream.as_u64()).fold(self.given, u64::max);
                }
                core.truth.ordered(self.index, &order);
                self.servers.order(now, order);
                Ok(())
            }
            Action::Tell(_, kind) => {
                tell(core, &kind);
                Ok(())
            }
            Action::Alarm(alarm) => {
                core.say(format_args!("p{} ALARM {}", self.index, alarm.text));
                Ok(())
            }
        };
    }

    fn carry_out(&mut self, core: &mut Core, now: Now, step: Step) {
        match step {
            Step::Send { to, order } => {
                if core.log.keeps {
                    let what = in_short(&order);
                    core.say(format_args!("p{} ► {to}: {what}", self.index));
                }
                self.send(core, &to, FromProxy::Order(Box::new(order)));
            }
            Step::Probe(to) => self.send(core, &to, FromProxy::Probe),
            Step::Drop(to) => {
                let Some(server) = self.names.iter().position(|name| *name == to) else { return };
                core.say(format_args!("p{} drops {to}", self.index));
                self.close(core, server);
                let closed = PeerEvent::Closed("dropped".to_owned());
                self.note_news(&to, &closed);
                self.servers.handle_event(now, &to, closed);
            }
            Step::Report(report) => {
                core.say(format_args!("p{} hears {}", self.index, told(&report)));
                if core.is_wrong(Wrong::ForgetsTakeOver) && matches!(report, Report::Failing { .. }) {
                    return;
                }
                core.truth.reported(self.index, &report);
                self.carried_out(core, &report);
                self.front.handle_report(now, report);
            }
            Step::Unanswered(open) => {
                core.say(format_args!("p{} has no answer for {}", self.index, open.segment));
                core.truth.answered(self.index, open.segment, Answer::Never);
                self.front.unanswered(now, open);
            }
            // No media go through a proxy here, so nothing is copied.
            Step::Copy(_) => {}
            Step::Tell(_, kind) => tell(core, &kind),
            Step::Alarm(alarm) => core.say(format_args!("p{} ALARM {}", self.index, alarm.text)),
        }
    }

    fn send(&self, core: &mut Core, to: &PeerName, what: FromProxy) {
        let Some(server) = self.names.iter().position(|name| name == to) else { return };
        let link = core.network.link(self.index, server);
        // The link is over, which is told by it.
        if !link.is_up || self.links[server] != Some(link.number) {
            return;
        }
        let (number, at) = (link.number, link.arrives(core.at, Toward::Server, &mut core.rng));
        core.tell_at(at, Who::Server(server), Input::Came(self.index, number, what));
    }

    /// Closes the link with a record server; it is dialed again.
    fn close(&mut self, core: &mut Core, server: usize) {
        self.links[server] = None;
        let link = core.network.link(self.index, server);
        if link.is_up {
            link.is_up = false;
            let (number, at) = (link.number, link.arrives(core.at, Toward::Server, &mut core.rng));
            core.tell_at(at, Who::Server(server), Input::Came(self.index, number, FromProxy::Closed));
            let at = core.at + core.rng.between(50 * MS, 1_000 * MS);
            core.schedule(at, Happens::Dial(self.index, server));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let all = [
            self.agent.next_timeout(),
            self.front.next_timeout(),
            self.servers.next_timeout(),
            self.custody.next_timeout(),
        ];
        all.into_iter().flatten().map(|at| at.0).min()
    }

    /// What it still holds, if anything.
    pub(crate) fn holds(&self) -> Option<String> {
        let (front, agent) = (self.front.stats(), self.agent.stats());
        let remembered = self.servers.remembered();
        let held = (front.dialogs, front.calls, agent.sessions, agent.transactions, remembered);
        let (owned, asks) = (self.custody.owned().count(), self.custody.asks());
        let is_empty =
            held == (0, 0, 0, 0, 0) && (owned, asks) == (0, 0) && self.front.next_timeout().is_none();
        (!is_empty).then(|| {
            format!(
                "dialogs {}, calls {}, sessions {}, transactions {}, remembered {}, {owned} of its own, {asks} sought, a timer of the front at {:?}",
                held.0,
                held.1,
                held.2,
                held.3,
                held.4,
                self.front.next_timeout()
            )
        })
    }
}

fn front(node: NodeNumber, tenant: TenantId, trunks: Trunks) -> FrontConfig {
    FrontConfig {
        node,
        tenant,
        trunks,
        tenant_calls_max: Default::default(),
        calls_max: 1_000,
        linger: Duration::from_secs(3),
        hold_timeout: REMEMBERED,
        inactive: Flowing::Held,
        pause_timeout: Duration::ZERO,
        orders_by_header: true,
        dtmf: model::Dtmf::Keep,
        video: true,
        address_v4: None,
        address_v6: None,
    }
}

/// Whether a description that we answer with takes no media.
fn holds(sdp: &Bytes) -> bool {
    let is_inactive = |m: &media::sdp::MediaLine| m.port == 0 || m.direction == Direction::Inactive;
    media::sdp::read(sdp).is_ok_and(|sdp| sdp.media.iter().all(is_inactive))
}

fn tell(core: &mut Core, kind: &ChangeKind) {
    if let ChangeKind::Copy { copy, .. } = kind {
        core.tell_copy(copy);
    }
}

fn in_short(order: &Order) -> String {
    match order {
        Order::Open(open) => {
            let over = open.takes_over.as_ref().map(|f| format!(" for {}", f.segment)).unwrap_or_default();
            format!("open {} as {}/{} of {}{over}", open.segment, open.number, open.total, open.call)
        }
        Order::End { segment, reason, .. } => format!("end {segment}: {}", reason.describe()),
        Order::Withdraw { segment } => format!("withdraw {segment}"),
        Order::Change { segment, .. } => format!("change {segment}"),
        Order::Conclude(c) => format!("conclude {} of {}: {:?}", c.call, c.total, c.state),
        other => format!("{other:?}").chars().take(60).collect(),
    }
}

/// A report, for the log.
pub(crate) fn told(report: &Report) -> String {
    let segment = report.segment();
    match report {
        Report::Opened { ports, .. } => {
            let ports: Vec<u16> = ports.iter().map(|p| p.rtp.port()).collect();
            format!("{segment} opened at {ports:?}")
        }
        Report::Refused { why, .. } => format!("{segment} refused: {}", why.describe()),
        Report::Withdrawn { .. } => format!("{segment} withdrawn"),
        Report::CarriedOut { .. } => format!("{segment} carried out"),
        Report::MediaTimedOut { .. } => format!("{segment} without media"),
        Report::Failing { why, .. } => format!("{segment} failing: {}", why.describe()),
        Report::Ended { record } => format!("{segment} ended at {}: {}", record.node.get(), record.state),
    }
}
