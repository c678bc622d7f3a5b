//! A call that goes from one proxy to another by its snapshot: agent, front and record servers of both, and one record
//! server between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::{
    Action, Anchoring, Ask, Changed, Command, Front, FrontConfig, JoinCommand, OwnKeys, PeerEvent,
    RecordServers, ServersConfig, Snapshot, Step, Trunk, Trunks,
};
use media::srtp::Entropy;
use model::peer::{FileNames, Flowing};
use model::state::Respondent;
use model::{
    Beat, EndReason, Hello, IdGenerator, Mono, NodeNumber, Now, Order, PeerName, Report, Route, SegmentId,
    Standing, StreamPorts, TenantId, WallTime,
};
use sip::{Agent, AgentConfig, Event, Flow, FlowId, SessionId, Transport};

const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 5060);
const KEY: &str = "inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";

/// A proxy.
struct Proxy {
    now: Now,
    address: SocketAddr,
    agent: Agent,
    front: Front,
    servers: RecordServers,
    /// What it ordered, and of whom.
    orders: Vec<(PeerName, Order)>,
    /// What it sent.
    sent: Vec<String>,
    sought: Vec<String>,
}

fn name(n: &str) -> PeerName {
    n.parse().unwrap()
}

impl Proxy {
    /// The one of this number, linked with record servers r and s.
    fn new(number: u16) -> Self {
        Self::of(number, Anchoring::Never)
    }

    /// The same, through which media go.
    fn relaying(number: u16) -> Self {
        Self::of(number, Anchoring::Always)
    }

    fn of(number: u16, relay: Anchoring) -> Self {
        let address = SocketAddr::from(([192, 0, 2, number.to_be_bytes()[1]], 5060));
        let node = NodeNumber::new(number).unwrap();
        let sip = AgentConfig { sought_max: 8, ..AgentConfig::default() };
        let own = OwnKeys { entropy: Entropy::new([number.to_be_bytes()[1]; 32]), certificate: None };
        let front = Front::new(config(node, relay), IdGenerator::new(node, 0)).with_keys(own);
        let servers = ServersConfig {
            tenant: TenantId::default(),
            beat: Duration::from_millis(100),
            remembered: Duration::from_secs(60),
        };
        let mut proxy = Self {
            now: Now { mono: Mono(1), wall: WallTime::from_millis(1_795_000_000_000) },
            address,
            agent: Agent::new(sip, [number.to_be_bytes()[1]; 32]),
            front: front.over_several().carried_on(),
            servers: RecordServers::new(servers, [name("r"), name("s")]),
            orders: Vec::new(),
            sent: Vec::new(),
            sought: Vec::new(),
        };
        for (node, peer) in (1..).zip([name("r"), name("s")]) {
            let node = NodeNumber::new(node).unwrap();
            let hello = Hello { name: peer.clone(), node, run: 7, segments: Vec::new() };
            proxy.servers.handle_event(proxy.now, &peer, PeerEvent::Up(hello));
            let (at, loads, standing) = (proxy.now.wall, Vec::new(), Standing::Taking);
            let beat = Beat { number: 1, at, recordings: 0, loads, standing, heard: None };
            proxy.servers.handle_event(proxy.now, &peer, PeerEvent::Beat(beat));
        }
        proxy
    }

    fn flow(&self) -> Flow {
        Flow { id: FlowId(1), transport: Transport::Udp, local: self.address, remote: CLIENT.into() }
    }

    /// The client sends a request.
    fn hears(&mut self, request: String) {
        let flow = self.flow();
        self.agent.receive_datagram(self.now, flow, Bytes::from(request));
        self.follow();
    }

    fn report(&mut self, from: &str, report: Report) {
        self.servers.handle_event(self.now, &name(from), PeerEvent::Report(report));
        self.follow();
    }

    fn follow(&mut self) {
        loop {
            while let Some(transmit) = self.agent.poll_transmit() {
                self.sent.push(String::from_utf8_lossy(&transmit.bytes).into_owned());
            }
            if let Some(event) = self.agent.poll_event() {
                match event {
                    Event::Sought { tag } => self.sought.push(tag),
                    event => self.front.handle_event(self.now, event),
                }
            } else if let Some(action) = self.front.poll_action() {
                self.act(action);
            } else if let Some(step) = self.servers.poll_step() {
                match step {
                    Step::Send { to, order } => self.orders.push((to, order)),
                    Step::Report(report) => self.front.handle_report(self.now, report),
                    Step::Unanswered(open) => self.front.unanswered(self.now, open),
                    _ => {}
                }
            } else {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Accept { session, sdp } => self.agent.accept(now, session, sdp, &[]).unwrap(),
            Action::Reoffer { session, sdp } => self.agent.reinvite(now, session, Some(sdp)).unwrap(),
            Action::HangUp { session, reason } => self.agent.bye(now, session, Some(&reason)).unwrap(),
            Action::Order(order) => self.servers.order(now, order),
            _ => {}
        }
    }

    /// The record server answers what opens a segment or changes its streams; its ports are these.
    fn answer(&mut self, port: u16) -> SegmentId {
        let (to, order) = self.orders.pop().expect("an order");
        let (segment, streams) = match order {
            Order::Open(open) => (open.segment, open.streams),
            Order::Change { segment, streams } => (segment, streams),
            other => panic!("{other:?}"),
        };
        let at = SocketAddr::from(([192, 0, 2, 99], port));
        let ports =
            streams.iter().map(|s| StreamPorts { stream: s.stream, rtp: at, rtcp: at, is_stuck: false });
        let ports = ports.collect();
        self.report(&to.to_string(), Report::Opened { segment, ports });
        segment
    }

    /// Its only call, as octets.
    fn written(&mut self) -> Vec<u8> {
        let touched = self.front.take_touched();
        let call = *touched.iter().next().expect("a call that has changed");
        let snapshot = self.front.snapshot(self.now, call, &self.agent, &self.servers);
        snapshot.expect("a call that is settled").write().unwrap().expose().to_vec()
    }

    /// Carries on a call of which this is live.
    fn adopt(&mut self, octets: &[u8], live: &[(&str, SegmentId)]) {
        let snapshot = Snapshot::read(octets).unwrap();
        assert!(self.front.may_adopt(&snapshot));
        let local = self.address;
        let sessions: Vec<SessionId> =
            snapshot.dialogs().map(|dialog| self.agent.adopt(self.now, dialog, local).unwrap()).collect();
        let mut there: BTreeMap<PeerName, BTreeSet<SegmentId>> =
            [name("r"), name("s")].map(|peer| (peer, BTreeSet::new())).into();
        for (peer, segment) in live {
            there.entry(name(peer)).or_default().insert(*segment);
        }
        self.servers.adopt(self.now, &snapshot, &there);
        self.front.adopt(self.now, snapshot, &sessions);
        for tag in std::mem::take(&mut self.sought) {
            self.agent.found(self.now, &tag);
        }
        self.follow();
    }

    fn last_sent(&self, what: &str) -> &str {
        self.sent.iter().rev().find(|text| text.starts_with(what)).unwrap_or_else(|| panic!("no {what}"))
    }
}

fn config(node: NodeNumber, relay: Anchoring) -> FrontConfig {
    let trunk = Trunk { relay, ..Trunk::open(TenantId::default()) };
    FrontConfig {
        node,
        tenant: TenantId::default(),
        trunks: Trunks::new(vec![trunk], TenantId::default()),
        tenant_calls_max: BTreeMap::new(),
        calls_max: 100,
        linger: Duration::from_secs(3),
        hold_timeout: Duration::from_secs(60),
        inactive: Flowing::Held,
        pause_timeout: Duration::ZERO,
        orders_by_header: true,
        dtmf: model::Dtmf::Keep,
        video: true,
        address_v4: None,
        address_v6: None,
    }
}

/// A request of the client within its dialog, whose tag of ours is this.
fn request(method: &str, cseq: u32, tag: &str, body: &str) -> String {
    let to = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:rec@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{method}{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1001@pbx.example>;tag=client\r\nTo: <sip:rec@192.0.2.9>{to}\r\n\
         Call-ID: one@pbx\r\nCSeq: {cseq} {method}\r\nContact: <sip:1001@192.0.2.7:5060>\r\n{content}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn offer(direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\na={direction}\r\n"
    )
}

/// A call at one proxy, its segment, and the tag of its dialog.
fn begun() -> (Proxy, SegmentId, String) {
    let mut one = Proxy::new(100);
    let (segment, tag) = begin(&mut one);
    (one, segment, tag)
}

fn begin(one: &mut Proxy) -> (SegmentId, String) {
    one.hears(request("INVITE", 1, "", &offer("sendonly")));
    let segment = one.answer(20_000);
    let ok = one.last_sent("SIP/2.0 200").to_owned();
    let tag = ok.lines().find(|l| l.starts_with("To:")).unwrap().split("tag=").nth(1).unwrap().to_owned();
    one.hears(request("ACK", 1, &tag, ""));
    (segment, tag)
}

fn crypto(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("a=crypto")).expect("a key of ours")
}

#[test]
fn another_proxy_answers_the_client_ends_the_segment_and_concludes_the_call() {
    let (mut one, segment, tag) = begun();
    let octets = one.written();
    let mut two = Proxy::new(101);
    two.hears(request("BYE", 2, &tag, ""));
    assert_eq!(two.sought, [tag]);
    assert!(two.sent.is_empty(), "it waits");
    two.adopt(&octets, &[("r", segment)]);
    assert!(two.last_sent("SIP/2.0 200").contains("CSeq: 2 BYE"));
    let ends = two.orders.iter().filter_map(|(to, order)| match order {
        Order::End { segment, reason, .. } => Some((to.clone(), *segment, reason.clone())),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [(name("r"), segment, EndReason::HangUp)]);
    assert_eq!(two.front.stats().dialogs, 0);
}

#[test]
fn what_nobody_has_is_refused() {
    let mut two = Proxy::new(101);
    let tag = "0123456789abcdef01234567";
    two.hears(request("BYE", 2, tag, ""));
    two.hears(request("BYE", 2, tag, ""));
    assert_eq!(two.sought, [tag], "it is asked for once");
    two.agent.not_found(tag);
    two.follow();
    assert!(two.last_sent("SIP/2.0 481").contains("CSeq: 2 BYE"));
    two.hears(request("BYE", 3, "none-of-ours", ""));
    assert_eq!(two.sought.len(), 1, "what cannot be ours is not asked for");
}

#[test]
fn keys_ports_and_pauses_go_along() {
    let (mut one, segment, tag) = begun();
    let ours = crypto(one.last_sent("SIP/2.0 200")).to_owned();
    let call = *one.front.take_touched().iter().next().unwrap();
    let command = Command {
        call,
        tenant: TenantId::default(),
        ask: Ask::Pause { timeout: Some(Duration::from_secs(30)) },
        by: "alice".to_owned(),
    };
    one.front.handle_command(one.now, command).unwrap();
    one.follow();
    let octets = one.written();
    assert!(String::from_utf8_lossy(&octets).contains("alice"));
    let mut two = Proxy::new(101);
    two.adopt(&octets, &[("r", segment)]);
    assert!(two.orders.iter().any(|(_, o)| matches!(o, Order::Pause { segment: s, .. } if *s == segment)));
    two.answer(20_000);
    two.hears(request("INVITE", 1, &tag, &offer("sendonly")));
    assert!(two.sent.iter().any(|text| text.starts_with("SIP/2.0 100")), "the last request may come again");
    two.answer(20_000);
    let ok = two.last_sent("SIP/2.0 200");
    assert!(ok.contains("m=audio 20000 RTP/SAVP 0"), "{ok}");
    assert_eq!(crypto(ok), ours, "the client knows that key");
    two.now = two.now + Duration::from_secs(31);
    two.front.handle_timeout(two.now);
    two.follow();
    assert!(two.orders.iter().any(|(_, o)| matches!(o, Order::Resume { segment: s, .. } if *s == segment)));
}

#[test]
fn what_is_not_live_any_more_is_taken_over_from_and_the_client_told() {
    let (mut one, segment, tag) = begun();
    let octets = one.written();
    let mut two = Proxy::new(101);
    two.adopt(&octets, &[]);
    two.orders.retain(|(_, order)| matches!(order, Order::Open(_)));
    let [(_, Order::Open(open))] = &two.orders[..] else { panic!("{:?}", two.orders) };
    assert_eq!((open.number, open.segment.node()), (2, NodeNumber::new(101).unwrap()));
    assert_ne!(open.segment, segment);
    assert_eq!(
        open.files,
        FileNames::ById,
        "who had the call may have given that number since it told its state"
    );
    two.answer(30_000);
    let invite = two.last_sent("INVITE ");
    assert!(invite.contains("m=audio 30000") && invite.contains("CSeq: 1001 INVITE"), "{invite}");
    assert!(invite.contains(&format!("From: <sip:rec@192.0.2.9>;tag={tag}")), "{invite}");
}

#[test]
fn what_ended_while_it_was_nobody_s_is_not_waited_for() {
    let (mut one, _, tag) = begun();
    let octets = one.written();
    let mut two = Proxy::new(101);
    two.hears(request("BYE", 2, &tag, ""));
    two.adopt(&octets, &[]);
    two.now = two.now + Duration::from_secs(4);
    two.front.handle_timeout(two.now);
    two.follow();
    let is_concluded = two.orders.iter().any(|(_, order)| matches!(order, Order::Conclude(_)));
    assert!(is_concluded, "{:?}", two.orders);
}

/// A proxy that carries on a call whose media go through another, at two record servers; its segment there.
fn carrying_on() -> (Proxy, SegmentId, String) {
    let mut one = Proxy::relaying(100);
    let (segment, tag) = begin(&mut one);
    let octets = one.written();
    let mut two = Proxy::relaying(101);
    two.adopt(&octets, &[("r", segment), ("s", segment)]);
    let opens: Vec<_> = two.orders.iter().filter(|(_, order)| matches!(order, Order::Open(_))).collect();
    let [(_, Order::Open(open))] = &opens[..] else { panic!("{:?}", two.orders) };
    assert_eq!((open.number, open.respondent, open.streams[0].route), (2, Respondent::Yes, Route::Anchored));
    let changes = |(_, order): &(PeerName, Order)| matches!(order, Order::Change { .. });
    assert!(!two.orders.iter().any(changes), "its streams come as the other proxy told: {:?}", two.orders);
    two.orders.retain(|(_, order)| matches!(order, Order::Open(_)));
    two.answer(30_000);
    (two, segment, tag)
}

impl Proxy {
    /// The client accepts the last offer.
    fn accepted(&mut self) {
        let invite = self.last_sent("INVITE ").to_owned();
        let line = |name: &str| invite.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        let body = offer("sendonly");
        let (via, from, to) = (line("Via:"), line("From:"), line("To:"));
        let (id, cseq) = (line("Call-ID:"), line("CSeq:"));
        self.hears(format!(
            "SIP/2.0 200 OK\r\n{via}\r\n{from}\r\n{to}\r\n{id}\r\n{cseq}\r\nContact: <sip:1001@192.0.2.7:5060>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    fn wait(&mut self, length: Duration) {
        self.now = self.now + length;
        self.agent.handle_timeout(self.now);
        self.front.handle_timeout(self.now);
        self.follow();
    }

    /// Where a segment was told to end.
    fn ends(&self, of: SegmentId) -> Vec<PeerName> {
        let is_end = |order: &Order| matches!(order, Order::End { segment, .. } if *segment == of);
        self.orders.iter().filter(|(_, order)| is_end(order)).map(|(to, _)| to.clone()).collect()
    }
}

#[test]
fn what_comes_by_the_other_proxy_is_recorded_until_the_client_sends_here() {
    let (mut two, segment, tag) = carrying_on();
    let invite = two.last_sent("INVITE ");
    assert!(invite.contains("m=audio 30000") && invite.contains(&format!("tag={tag}")), "{invite}");
    two.wait(Duration::from_secs(2));
    assert_eq!(two.ends(segment), [], "its client has not answered");
    two.accepted();
    assert_eq!(two.ends(segment), [], "packets may be on their way");
    two.wait(Duration::from_secs(1));
    assert_eq!(two.ends(segment), [name("s"), name("r")], "both copies");
}

#[test]
fn what_comes_by_the_other_proxy_is_paused_too() {
    let (mut two, segment, _) = carrying_on();
    let call = *two.front.take_touched().iter().next().unwrap();
    let ask = Ask::Pause { timeout: None };
    let command = Command { call, tenant: TenantId::default(), ask, by: "alice".to_owned() };
    two.front.handle_command(two.now, command).unwrap();
    two.follow();
    let pauses =
        |(_, order): &&(PeerName, Order)| matches!(order, Order::Pause { segment: of, .. } if *of == segment);
    assert_eq!(two.orders.iter().filter(pauses).count(), 2, "at both: {:?}", two.orders);
}

#[test]
fn what_comes_by_the_other_proxy_ends_with_the_call_and_after_a_minute_where_the_client_says_nothing() {
    let (mut two, segment, tag) = carrying_on();
    two.hears(request("BYE", 2, &tag, ""));
    assert_eq!(two.ends(segment).len(), 2);
    assert_eq!(two.front.stats().dialogs, 0);
    let (mut silent, segment, _) = carrying_on();
    silent.wait(Duration::from_secs(61));
    assert_eq!(silent.ends(segment).len(), 2);
}

#[test]
fn what_still_comes_by_another_proxy_is_ended_by_a_third_that_carries_the_call_on() {
    let (mut two, segment, _) = carrying_on();
    let octets = two.written();
    let mut three = Proxy::relaying(102);
    let snapshot = Snapshot::read(&octets).unwrap();
    let newest = snapshot.segments().into_iter().max().unwrap();
    let home = snapshot.home().unwrap().to_string();
    three.adopt(&octets, &[("r", segment), (&home, newest)]);
    three.orders.retain(|(_, order)| matches!(order, Order::Open(_)));
    three.answer(40_000);
    assert_eq!((three.ends(segment).len(), three.ends(newest).len()), (0, 0));
    // The offer of the one before may not have come: it is made again, and then that of ports here.
    three.accepted();
    three.wait(Duration::from_secs(1));
    assert_eq!((three.ends(segment).len(), three.ends(newest).len()), (0, 0));
    three.answer(40_000);
    assert!(three.last_sent("INVITE ").contains("m=audio 40000"));
    three.accepted();
    three.wait(Duration::from_secs(1));
    assert_eq!((three.ends(segment).len(), three.ends(newest).len()), (1, 1));
}

#[test]
fn a_proxy_that_stops_puts_off_what_comes_for_calls_of_others_but_a_bye() {
    let mut two = Proxy::new(101);
    let tag = "0123456789abcdef01234567";
    for (method, body, answer) in [
        ("INVITE", &*offer("sendonly"), "SIP/2.0 491 "),
        ("UPDATE", &*offer("sendonly"), "SIP/2.0 491 "),
        ("INFO", "", "SIP/2.0 503 "),
    ] {
        two.hears(request(method, 2, tag, body));
        assert!(!two.agent.put_off(tag), "{method}");
        two.follow();
        let sent = two.last_sent(answer);
        assert!(sent.contains(&format!("CSeq: 2 {method}")), "{sent}");
        assert_eq!(sent.contains("Retry-After:"), method == "INFO", "{sent}");
    }
    let sent = two.sent.len();
    two.hears(request("BYE", 3, tag, ""));
    assert!(two.agent.put_off(tag), "it waits");
    two.follow();
    assert_eq!(two.sent.len(), sent);
    two.agent.not_found(tag);
    two.follow();
    assert!(two.last_sent("SIP/2.0 481").contains("CSeq: 3 BYE"));
}

#[test]
fn who_lost_a_call_forgets_it_without_a_word() {
    let (mut one, ..) = begun();
    let call = *one.front.take_touched().iter().next().unwrap();
    let (sent, orders) = (one.sent.len(), one.orders.len());
    for session in one.front.forget_quietly(call) {
        one.agent.forget(session).unwrap();
    }
    one.servers.forget_call(one.now, call, &name("r"));
    one.now = one.now + Duration::from_secs(4_000);
    one.agent.handle_timeout(one.now);
    one.front.handle_timeout(one.now);
    one.follow();
    assert_eq!((one.sent.len(), one.orders.len()), (sent, orders));
    assert_eq!((one.front.stats().calls, one.agent.stats().sessions, one.servers.remembered()), (0, 0, 0));
}

#[test]
fn any_damage_to_a_state_is_survived() {
    let (mut one, ..) = begun();
    let octets = one.written();
    for at in 0..octets.len() {
        let _ = Snapshot::read(&octets[..at]);
        let mut damaged = octets.clone();
        damaged[at] ^= 1 << (at % 8);
        let Ok(snapshot) = Snapshot::read(&damaged) else { continue };
        let mut two = Proxy::new(101);
        let dialogs: Vec<_> = snapshot.dialogs().cloned().collect();
        let sessions: Option<Vec<SessionId>> =
            dialogs.iter().map(|d| two.agent.adopt(two.now, d, two.address)).collect();
        if let Some(sessions) = sessions.filter(|_| two.front.may_adopt(&snapshot)) {
            two.servers.adopt(two.now, &snapshot, &BTreeMap::new());
            two.front.adopt(two.now, snapshot, &sessions);
            two.follow();
        }
    }
    assert!(Snapshot::read(br#"{"form": 2, "more": 1}"#).is_err());
}

#[test]
fn a_call_that_was_found_to_be_one_with_a_call_here_stays_apart_when_it_is_carried_on_here() {
    let (mut one, segment, _) = begun();
    let mut two = Proxy::new(101);
    begin(&mut two);
    let call_of = |octets: &[u8]| Snapshot::read(octets).unwrap().call();
    let (theirs, own) = (call_of(&one.written()), call_of(&two.written()));
    // Both dialogs have the same Call-ID; one lies at r, the other at s.
    let told = one.front.sighting(theirs, [name("r")].into()).unwrap();
    two.front.heard_of(two.now, own, &told, &[name("s")].into());
    let told = two.front.sighting(own, [name("s")].into()).unwrap();
    one.front.heard_of(one.now, theirs, &told, &[name("r")].into());
    one.follow();
    two.follow();
    let octets = one.written();
    two.adopt(&octets, &[("r", segment)]);
    let joins = |two: &Proxy| two.orders.iter().filter(|(_, order)| matches!(order, Order::Join(_))).count();
    let before = joins(&two);
    assert!(before > 0, "{:?}", two.orders);
    let command = JoinCommand { calls: [own, theirs], tenant: TenantId::default(), by: "ann".to_owned() };
    let joined = two.front.join(two.now, command).unwrap();
    two.follow();
    assert_eq!((joined.call, joined.changed), (own.min(theirs), Changed::No));
    assert_eq!(joins(&two), before, "it stands in their logs");
    assert!(two.front.has(own) && two.front.has(theirs), "each goes on as it is called");
}

#[test]
fn what_is_not_known_any_more_is_recognized_by_nobody() {
    let (mut one, ..) = begun();
    let call = *one.front.take_touched().iter().next().unwrap();
    assert!(one.front.sighting(call, BTreeSet::new()).is_some());
    one.front.forget_quietly(call);
    assert!(one.front.take_touched().contains(&call), "that is told");
    assert_eq!(one.front.sighting(call, BTreeSet::new()), None);
}
