//! SIPREC calls through agent and front, without sockets, clocks or disks: what a call costs the signalling task.
//!
//! ```text
//! cargo bench --package callspool-call --bench signalling -- 2000        calls a second on this core
//! valgrind --tool=callgrind target/release/deps/signalling-… 1000        instructions: those of 1,000 calls more
//! ```
//!
//! Each call is an INVITE with a body of some 6 kB (SDP of two lines and metadata of two participants), a record server
//! that gives ports, 200, ACK, BYE, and the report that the segment is sealed; then it lingers, is concluded and
//! forgotten. Calls overlap: a hundred are up at a time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a program for measuring tells what is wrong by panicking"
)]

mod client;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use call::{Action, Front, FrontConfig, TrunkGate, Trunks};
use client::Client;
use model::peer::Flowing;
use model::{
    Dtmf, EndReason, IdGenerator, Mono, NodeNumber, Now, OpenSegment, Order, RecordingState, Report,
    SegmentId, SegmentRecord, StreamPorts, TenantId, WallTime,
};
use sip::{Agent, AgentConfig};

/// Calls that are up at a time.
const UP: usize = 100;

fn main() {
    // `cargo bench` gives an argument of its own.
    let calls = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(2_000);
    let mut world = World::new();
    let began = Instant::now();
    for number in 0..calls {
        world.begin(number);
        if number >= UP {
            world.end();
        }
    }
    while !world.up.is_empty() {
        world.end();
    }
    world.pass(Duration::from_secs(60));
    let took = began.elapsed();
    let stats = world.front.stats();
    assert_eq!((stats.begun, stats.calls, stats.dialogs), (calls as u64, 0, 0), "every call comes and goes");
    assert_eq!(world.answered, calls, "every call is answered");
    println!(
        "{calls} calls in {took:?}: {:?} each, {:.0} a second; an INVITE has {} octets",
        took / u32::try_from(calls.max(1)).expect("a number of calls"),
        calls as f64 / took.as_secs_f64(),
        world.invite_octets,
    );
}

/// Agent and front as the signalling task drives them, a client, and a record server that does what it is told.
struct World {
    now: Now,
    agent: Agent<TrunkGate>,
    front: Front,
    open: BTreeMap<SegmentId, Box<OpenSegment>>,
    reports: VecDeque<Report>,
    up: VecDeque<Client>,
    next_port: u16,
    answered: usize,
    invite_octets: usize,
}

impl World {
    fn new() -> Self {
        let trunks = Trunks::new(Vec::new(), TenantId::default());
        let config = FrontConfig {
            node: NodeNumber::SINGLE,
            tenant: TenantId::default(),
            trunks: trunks.clone(),
            tenant_calls_max: BTreeMap::new(),
            calls_max: 1_000_000,
            linger: Duration::from_secs(3),
            hold_timeout: Duration::from_secs(7_200),
            inactive: Flowing::Held,
            pause_timeout: Duration::ZERO,
            orders_by_header: true,
            dtmf: Dtmf::Keep,
            video: true,
            address_v4: None,
            address_v6: None,
        };
        let agent_config =
            AgentConfig { sessions_max: 1_000_000, transactions_max: 4_000_000, ..AgentConfig::default() };
        Self {
            now: Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) },
            agent: Agent::with_gate(agent_config, [7; 32], TrunkGate::new(trunks, [7; 32])),
            front: Front::new(config, IdGenerator::new(NodeNumber::SINGLE, 0)),
            open: BTreeMap::new(),
            reports: VecDeque::new(),
            up: VecDeque::new(),
            next_port: 20_000,
            answered: 0,
            invite_octets: 0,
        }
    }

    fn begin(&mut self, number: usize) {
        self.pass(Duration::from_millis(1));
        let mut client = Client::new(number);
        let invite = client.invite();
        self.invite_octets = invite.len();
        let answers = self.receive(&client, invite);
        let answer = answers.iter().find(|a| a.starts_with(b"SIP/2.0 200")).expect("an answer");
        client.hears(answer);
        self.answered += 1;
        let ack = client.ack();
        self.receive(&client, ack);
        self.up.push_back(client);
    }

    fn end(&mut self) {
        let Some(mut client) = self.up.pop_front() else { return };
        self.pass(Duration::from_millis(1));
        let bye = client.bye();
        let answers = self.receive(&client, bye);
        assert!(answers.iter().any(|a| a.starts_with(b"SIP/2.0 200")), "the BYE is answered");
    }

    /// Time passes, with all that is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        loop {
            let due = [self.agent.next_timeout(), self.front.next_timeout()].into_iter().flatten().min();
            let at = due.filter(|at| *at <= until).unwrap_or(until);
            self.now = self.now + at.since(self.now.mono);
            if due.is_none_or(|due| due > until) {
                return;
            }
            self.agent.handle_timeout(self.now);
            self.front.handle_timeout(self.now);
            self.follow(&mut Vec::new());
        }
    }

    fn receive(&mut self, client: &Client, message: Bytes) -> Vec<Bytes> {
        let mut sent = Vec::new();
        self.agent.receive_datagram(self.now, client.flow(), message);
        self.follow(&mut sent);
        sent
    }

    /// All that follows, until nothing more does.
    fn follow(&mut self, sent: &mut Vec<Bytes>) {
        loop {
            while let Some(transmit) = self.agent.poll_transmit() {
                sent.push(transmit.bytes);
            }
            if let Some(event) = self.agent.poll_event() {
                self.front.handle_event(self.now, event);
            } else if let Some(action) = self.front.poll_action() {
                self.act(action);
            } else if let Some(report) = self.reports.pop_front() {
                self.front.handle_report(self.now, report);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        let done = match action {
            Action::Accept { session, sdp } => self.agent.accept(self.now, session, sdp, &[]),
            Action::Order(Order::Open(open)) => {
                let ports = open.streams.iter().map(|stream| self.ports(stream.stream)).collect();
                self.reports.push_back(Report::Opened { segment: open.segment, ports });
                self.open.insert(open.segment, open);
                Ok(())
            }
            Action::Order(Order::End { segment, reason, .. }) => {
                let open = self.open.remove(&segment).expect("a segment that was opened");
                let record = Box::new(sealed(*open, reason, self.now));
                self.reports.push_back(Report::Ended { record });
                Ok(())
            }
            Action::Order(_) | Action::Tell(..) => Ok(()),
            other => panic!("nothing else is expected: {other:?}"),
        };
        done.expect("a session that is there");
    }

    fn ports(&mut self, stream: model::StreamId) -> StreamPorts {
        self.next_port = if self.next_port > 60_000 { 20_000 } else { self.next_port + 2 };
        let at = |port| ([192, 0, 2, 1], port).into();
        StreamPorts { stream, rtp: at(self.next_port), rtcp: at(self.next_port + 1), is_stuck: false }
    }
}

fn sealed(open: OpenSegment, end: EndReason, now: Now) -> SegmentRecord {
    let state = RecordingState::begin(open.respondent).apply(end.transition()).expect("a state");
    SegmentRecord {
        id: open.segment,
        call: open.call,
        tenant: open.tenant,
        number: open.number,
        total: model::total::at_end(open.number, open.total, &end),
        node: NodeNumber::SINGLE,
        volume: Default::default(),
        state,
        respondent: open.respondent,
        started: open.started,
        ended: Some(now.wall),
        trigger: open.trigger,
        end: Some(end),
        stopped_by: None,
        pauses: Vec::new(),
        pauses_unlisted: 0,
        dtmf: open.dtmf,
        encryption: Default::default(),
        data: open.data,
        metadata: open.metadata,
        streams: Vec::new(),
        parts: Vec::new(),
        sidecar: None,
    }
}
