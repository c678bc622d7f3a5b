//! A proxy with record servers: a script in, lines out.
//!
//! ```text
//! a up           there is a link to record server a      a cut       its link is lost, it goes on
//! a die          its process ends                        a start     it begins anew, and there is a link
//! a refuse, a slow, a mute, a quiet, a hang, a well      what it does with orders, and says
//! a over 1000, a drain, a take                           what it says of itself from its next beat on
//! a fail         its newest segment cannot be written    a seal      its oldest segment ends by itself
//! invite, reinvite, bye, cancel, accepted, not-accepted  what a client does; `session 2` says which
//! relay full, relay deaf, relay busy, relay well         it has no ports, takes no orders, not even to close
//! wait 300ms     beats come each 100 ms
//! ```
//!
//! Segments are S1, S2, … in the order in which they are ordered.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use call::{
    Action, AnchorStep, Anchoring, Anchors, Copies, Front, FrontConfig, JoinCommand, PeerEvent,
    RecordServers, ServersConfig, Step, Trunk, Trunks,
};
use media::srtp::Entropy;
use model::peer::Flowing;
use model::{
    ChangeKind, Copy, CopyOf, Failure, IdGenerator, Mono, NodeNumber, Now, Order, PeerName, Report,
    SegmentId, Standing, TenantId, WallTime,
};
use sip::{EndCause, Event, SessionId};

use crate::client::{request, sdp_part};
use crate::ledger::Ledger;
use crate::node::{Mood, Node};
use crate::relay::Relay;

/// How often record servers say how they are.
const BEAT: Duration = Duration::from_millis(100);
/// How long calls on hold, and those that are over, are remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) now: Now,
    pub(crate) front: Front,
    pub(crate) anchors: Anchors<Relay>,
    pub(crate) servers: RecordServers,
    pub(crate) nodes: BTreeMap<PeerName, Node>,
    /// What record servers have said and the proxy has not heard.
    heard: VecDeque<(PeerName, PeerEvent)>,
    pub(crate) session: SessionId,
    pub(crate) ledger: Ledger,
    pub(crate) out: String,
}

impl Cluster {
    /// So many record servers, none of which is up.
    pub(crate) fn new(servers: usize) -> Self {
        Self::anchored(servers, Anchoring::Never)
    }

    /// The same, where the trunk that everybody calls by has media go through the proxy, or not.
    pub(crate) fn anchored(servers: usize, relay: Anchoring) -> Self {
        let nodes = (0..u16::try_from(servers).unwrap()).map(Node::new);
        let nodes: BTreeMap<PeerName, Node> = nodes.map(|node| (node.name.clone(), node)).collect();
        let config = ServersConfig { tenant: TenantId::default(), beat: BEAT, remembered: REMEMBERED };
        let front = config_of_front(relay);
        let ids = IdGenerator::new(front.node, 0);
        Self {
            now: Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) },
            front: Front::new(front, ids).over_several(),
            anchors: Anchors::new(Relay::default(), Entropy::new([7; 32])),
            servers: RecordServers::new(config, nodes.keys().cloned()),
            nodes,
            heard: VecDeque::new(),
            session: SessionId(1),
            ledger: Ledger::default(),
            out: String::new(),
        }
    }

    /// The same with two copies of each segment.
    pub(crate) fn doubled(servers: usize) -> Self {
        let mut cluster = Self::anchored(servers, Anchoring::Always);
        let anchors = Anchors::new(Relay::default(), Entropy::new([7; 32]));
        cluster.anchors = anchors.with_copies(Copies::Two);
        let front = config_of_front(Anchoring::Always);
        let ids = IdGenerator::new(front.node, 0);
        cluster.front = Front::new(front, ids).over_several().with_copies(Copies::Two);
        cluster.ledger.copies = 2;
        cluster
    }

    /// One step, and all that follows from it.
    pub(crate) fn play(&mut self, line: &str) {
        writeln!(self.out, "> {line}").unwrap();
        self.front.set_room(self.servers.room());
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word.parse::<PeerName>() {
            Ok(name) if self.nodes.contains_key(&name) => self.node(&name, rest),
            _ if word == "wait" => self.wait(duration(rest)),
            _ if word == "relay" => match rest {
                "full" => self.anchors.relay().is_full = true,
                "deaf" => self.anchors.relay().is_deaf = true,
                "busy" => self.anchors.relay().is_busy = true,
                "well" => {
                    let relay = self.anchors.relay();
                    (relay.is_full, relay.is_deaf, relay.is_busy) = (false, false, false);
                }
                other => panic!("no such step of a relay: {other}"),
            },
            _ if word == "stall" => {
                // Nobody looks for so long, while record servers go on.
                let until = self.now + duration(rest);
                while self.now.mono + BEAT <= until.mono {
                    self.now = self.now + BEAT;
                    self.beat();
                }
                self.now = until;
                self.servers.handle_timeout(self.now);
            }
            _ => self.client(word, rest),
        }
        self.drain();
    }

    fn client(&mut self, word: &str, rest: &str) {
        let (now, session) = (self.now, self.session);
        let of_session = |method: &str, lines: &str| {
            let mut request = Box::new(request(method, lines));
            request.call_id = format!("s{}@b", session.0);
            request
        };
        match word {
            "session" => self.session = SessionId(rest.parse().unwrap()),
            "invite" => {
                let request = of_session("INVITE", rest);
                self.front.handle_event(now, Event::Invited { session, request });
            }
            "reinvite" => {
                let request = of_session("INVITE", rest);
                self.front.handle_event(now, Event::Reoffered { session, request });
            }
            "bye" => {
                let request = Some(of_session("BYE", ""));
                self.front.handle_event(now, Event::Ended { session, cause: EndCause::Bye, request });
            }
            "cancel" => {
                let cause = EndCause::Cancelled;
                self.front.handle_event(now, Event::Ended { session, cause, request: None });
            }
            "accepted" => {
                let (status, at_method) = (200, "INVITE".to_owned());
                let sdp = Some(sdp_part(rest));
                let event = Event::Accepted { session, status, headers: vec![], sdp, at_method };
                self.front.handle_event(now, event);
            }
            "not-accepted" => {
                let (status, reason) = (488, "Not Acceptable Here".to_owned());
                self.front.handle_event(now, Event::Refused { session, status, reason, headers: vec![] });
            }
            "join" => {
                let other = SessionId(rest.parse().unwrap());
                let calls = [session, other].map(|session| self.ledger.call_of(session));
                let command = JoinCommand { calls, tenant: TenantId::default(), by: "alice".to_owned() };
                self.front.join(now, command).expect("they can be joined");
            }
            other => panic!("no such step: {other}"),
        }
    }

    fn node(&mut self, name: &PeerName, does: &str) {
        let (word, rest) = does.split_once(' ').unwrap_or((does, ""));
        let now = self.now;
        let node = self.nodes.get_mut(name).unwrap();
        match word {
            "up" | "start" if node.is_linked => {}
            "up" if !node.is_alive => {}
            "up" | "start" if node.mood == Mood::Hung => {}
            "up" | "start" => {
                if word == "start" && !node.is_alive {
                    (node.is_alive, node.run) = (true, node.run + 1);
                }
                node.is_linked = true;
                let (hello, beat) = (node.hello(), node.beat(now));
                self.heard.push_back((name.clone(), PeerEvent::Up(hello)));
                self.heard.push_back((name.clone(), PeerEvent::Beat(beat)));
            }
            "cut" | "die" => {
                let was_linked = node.is_linked;
                node.lose_link();
                if word == "die" {
                    node.die();
                }
                if was_linked {
                    self.heard.push_back((name.clone(), PeerEvent::Closed("connection reset".to_owned())));
                }
            }
            "refuse" => node.mood = Mood::Refusing,
            "slow" => node.mood = Mood::Slow,
            "mute" => node.mood = Mood::Mute,
            "quiet" => node.mood = Mood::Quiet,
            "hang" => node.mood = Mood::Hung,
            "well" => {
                node.mood = Mood::Well;
                let reports = node.work(now);
                self.hear(name, reports);
            }
            "drain" => node.standing = Standing::Draining,
            "take" => (node.standing, node.load) = (Standing::Taking, 0),
            "over" => {
                node.load = rest.parse().unwrap();
                if node.load >= 1_000 {
                    node.standing = Standing::Over(vec![model::Resource::Cpu]);
                }
            }
            "fail" => {
                let newest = node.live.keys().next_back().copied();
                let failing = newest
                    .map(|segment| Report::Failing { segment, why: Failure::Storage("EIO".to_owned()) });
                self.hear(name, failing.into_iter().collect());
            }
            "seal" => {
                let oldest = node.live.keys().next().copied();
                let reason = model::EndReason::Internal(Failure::DiskFull);
                let ended = oldest.and_then(|segment| node.end(now, segment, reason));
                self.hear(name, ended.into_iter().collect());
            }
            other => panic!("no such step of a record server: {other}"),
        }
    }

    /// Reports of a record server are on their way, where there is one.
    fn hear(&mut self, name: &PeerName, reports: Vec<Report>) {
        if self.nodes[name].is_linked {
            let events = reports.into_iter().map(|report| (name.clone(), PeerEvent::Report(report)));
            self.heard.extend(events);
        }
    }

    fn beat(&mut self) {
        for (name, node) in &mut self.nodes {
            if node.is_linked && !matches!(node.mood, Mood::Hung | Mood::Quiet) {
                self.heard.push_back((name.clone(), PeerEvent::Beat(node.beat(self.now))));
            }
        }
    }

    pub(crate) fn wait(&mut self, length: Duration) {
        let until = self.now.mono + length;
        loop {
            let beat = u64::try_from(BEAT.as_nanos()).unwrap();
            let tick = Mono((self.now.mono.0 / beat + 1) * beat);
            let timers = [self.servers.next_timeout(), self.front.next_timeout()];
            let next = timers.into_iter().flatten().min().unwrap_or(tick).min(tick);
            if next > until {
                break;
            }
            self.now = self.now + next.since(self.now.mono);
            if next == tick {
                self.beat();
            }
            self.drain();
            self.servers.handle_timeout(self.now);
            self.drain();
            self.front.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now + until.since(self.now.mono);
    }

    /// All that is to be done, until nothing is.
    pub(crate) fn drain(&mut self) {
        loop {
            if let Some(action) = self.front.poll_action() {
                self.act(action);
            } else if let Some(step) = self.anchors.poll_step() {
                self.anchor(step);
            } else if let Some(step) = self.servers.poll_step() {
                self.carry_out(step);
            } else if let Some((name, event)) = self.heard.pop_front() {
                self.servers.handle_event(self.now, &name, event);
            } else {
                break;
            }
        }
        self.front.set_room(self.servers.room());
        self.ledger.check(&self.nodes, &self.out);
    }

    fn act(&mut self, action: Action) {
        let text = match action {
            Action::Accept { session, sdp } => {
                self.ledger.answered(session);
                format!("200 s{} {}", session.0, picture(&sdp))
            }
            Action::Refuse { session, code, headers, .. } => {
                self.ledger.refused(session);
                let retry = headers.iter().find(|(name, _)| name == "Retry-After");
                let retry = retry.map(|(_, after)| format!(", retry after {after}")).unwrap_or_default();
                format!("{code} s{}{retry}", session.0)
            }
            Action::Reoffer { session, sdp } => {
                self.ledger.offered(session);
                format!("INVITE s{} {}", session.0, picture(&sdp))
            }
            Action::HangUp { session, reason } => {
                self.ledger.hung_up(session);
                format!("BYE s{} {reason}", session.0)
            }
            Action::AskMetadata { session, .. } => format!("UPDATE s{}", session.0),
            Action::Tell(_, ChangeKind::Call(call)) => {
                let ended = if call.ended.is_some() { ", ended" } else { "" };
                format!("tell call of {}{ended}", call.total)
            }
            Action::Tell(_, ChangeKind::Copy { copy, .. }) => self.describe_copy(&copy),
            Action::Tell(_, other) => format!("tell {}", other.name()),
            Action::Alarm(alarm) => format!("ALARM {}: {}", alarm.incident.name(), alarm.text),
            Action::Order(order) => {
                self.ledger.ordered(&order);
                self.anchors.order(self.now, order);
                return self.show_relay();
            }
        };
        self.line(&text);
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Send { to, order } => {
                let text = self.describe(&order);
                self.line(&format!("{to}: {text}"));
                let node = self.nodes.get_mut(&to).unwrap();
                assert!(node.is_linked, "an order for one that is not up:\n{}", self.out);
                if let Order::Open(open) = &order
                    && let Some(failed) = &open.takes_over
                {
                    let has_it = node.live.contains_key(&failed.segment);
                    assert!(has_it, "it is to take over from what it never had:\n{}", self.out);
                }
                let reports = node.take(self.now, order);
                self.hear(&to, reports);
            }
            Step::Probe(to) => {
                self.line(&format!("probe {to}"));
                if self.nodes[&to].mood != Mood::Hung {
                    self.heard.push_back((to, PeerEvent::Alive));
                }
            }
            Step::Drop(to) => {
                self.line(&format!("drop {to}"));
                self.nodes.get_mut(&to).unwrap().lose_link();
                self.heard.push_back((to, PeerEvent::Closed("dropped".to_owned())));
            }
            Step::Report(report) => {
                self.anchors.reported(self.now, report);
                self.show_relay();
            }
            Step::Unanswered(open) => {
                self.anchors.unanswered(open);
                self.show_relay();
            }
            Step::Copy(event) => {
                self.anchors.copy_changed(&event);
                self.show_relay();
            }
            Step::Tell(_, ChangeKind::Copy { copy, .. }) => {
                let text = self.describe_copy(&copy);
                self.line(&text);
            }
            Step::Tell(_, other) => self.line(&format!("tell {}", other.name())),
            Step::Alarm(alarm) => self.line(&format!("ALARM {}: {}", alarm.incident.name(), alarm.text)),
        }
    }

    fn anchor(&mut self, step: AnchorStep) {
        match step {
            AnchorStep::Order(order) => self.servers.order(self.now, order),
            AnchorStep::Copy(open) => self.servers.copy(self.now, *open),
            AnchorStep::EndCopy(segment, why) => self.servers.end_copy(self.now, segment, why),
            AnchorStep::Report(report) => {
                let text = self.describe_report(&report);
                self.line(&text);
                self.ledger.reported(&report, &self.out);
                self.front.handle_report(self.now, report);
            }
            AnchorStep::Unanswered(open) => {
                let text = format!("unanswered {}", self.ledger.label(open.segment));
                self.line(&text);
                self.ledger.unanswered(open.segment, &self.out);
                self.front.unanswered(self.now, open);
            }
        }
    }

    fn show_relay(&mut self) {
        for done in std::mem::take(&mut self.anchors.relay().done) {
            self.line(&done);
        }
    }

    fn line(&mut self, text: &str) {
        writeln!(self.out, "    {text}").unwrap();
    }

    fn describe(&self, order: &Order) -> String {
        let label = |segment: &SegmentId| self.ledger.label(*segment);
        match order {
            Order::Open(open) => {
                let over = open.takes_over.as_ref().map(|failed| format!(" for {}", label(&failed.segment)));
                let over = over.unwrap_or_default();
                let respondent =
                    if open.respondent == model::state::Respondent::Yes { ", respondent" } else { "" };
                let bodies = if open.metadata.is_empty() { "" } else { ", with metadata" };
                let named = if open.files == model::peer::FileNames::ById { ", by its id" } else { "" };
                format!(
                    "open {} as {}/{}{over}{respondent}{bodies}{named}",
                    label(&open.segment),
                    open.number,
                    open.total
                )
            }
            Order::Change { segment, .. } => format!("change {}", label(segment)),
            Order::Annotate { segment, .. } => format!("annotate {}", label(segment)),
            Order::End { segment, reason, .. } => format!("end {} by {}", label(segment), reason.describe()),
            Order::Withdraw { segment } => format!("withdraw {}", label(segment)),
            Order::Pause { segment, .. } => format!("pause {}", label(segment)),
            Order::Resume { segment, .. } => format!("resume {}", label(segment)),
            Order::Keys { segment, .. } => format!("keys {}", label(segment)),
            Order::Conclude(c) => {
                let state = c.state.map_or("without a state".to_owned(), |state| state.to_string());
                let from = c.from.map(|from| format!(" after {from}")).unwrap_or_default();
                format!("conclude {state} of {}{from}", c.total)
            }
            Order::Join(join) => format!("join of {}", join.total),
        }
    }

    fn describe_report(&self, report: &Report) -> String {
        let label = |segment: &SegmentId| self.ledger.label(*segment);
        match report {
            Report::Opened { segment, .. } => format!("{} opened", label(segment)),
            Report::Refused { segment, why } => format!("{} refused: {}", label(segment), why.describe()),
            Report::Withdrawn { segment } => format!("{} withdrawn", label(segment)),
            Report::CarriedOut { segment, .. } => format!("{} carried out", label(segment)),
            Report::MediaTimedOut { segment } => format!("{} without media", label(segment)),
            Report::Failing { segment, why } => format!("{} failing: {}", label(segment), why.describe()),
            Report::Ended { record } => {
                let why = record.end.as_ref().map(model::EndReason::describe).unwrap_or_default();
                format!(
                    "{} ended at node {}: {} by {why}",
                    label(&record.id),
                    record.node.get(),
                    record.state
                )
            }
        }
    }

    fn describe_copy(&self, copy: &Copy) -> String {
        let of = match copy.of {
            CopyOf::Segment(segment) => self.ledger.label(segment),
            CopyOf::Call(_) => "the call".to_owned(),
        };
        format!("tell copy of {of} at {}: {}", copy.at, copy.state)
    }
}

fn config_of_front(relay: Anchoring) -> FrontConfig {
    let everybody = Trunk { relay, ..Trunk::open(TenantId::default()) };
    FrontConfig {
        node: NodeNumber::SINGLE,
        tenant: TenantId::default(),
        trunks: Trunks::new(vec![everybody], TenantId::default()),
        tenant_calls_max: BTreeMap::new(),
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

/// `300ms`, `3s`.
fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().unwrap()),
        None => Duration::from_secs(text.trim_end_matches('s').parse().unwrap()),
    }
}

/// `m=` port and direction of each line of a description.
fn picture(sdp: &Bytes) -> String {
    let sdp = media::sdp::read(sdp).expect("our own description");
    let lines = sdp.media.iter().map(|m| format!("{}/{:?}", m.port, m.direction).to_lowercase());
    lines.collect::<Vec<_>>().join(" ")
}
