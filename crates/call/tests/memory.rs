//! What a call costs in memory while it goes on: a SIPREC call of two streams, whose INVITE has 6 kB of metadata, in
//! agent and front, once all that its INVITE left behind is over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../benches/signalling/client.rs"]
#[allow(dead_code)]
mod client;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use call::{Action, Front, FrontConfig, TrunkGate, Trunks};
use client::Client;
use model::peer::Flowing;
use model::{
    Dtmf, IdGenerator, Mono, NodeNumber, Now, OpenSegment, Order, Report, StreamPorts, TenantId, WallTime,
};
use sip::{Agent, AgentConfig};

/// As many as make what is there once count for nothing.
const CALLS: usize = 400;

/// Agent and front as the signalling task drives them, and a record server that opens what it is told to.
struct World {
    now: Now,
    agent: Agent<TrunkGate>,
    front: Front,
    reports: VecDeque<Report>,
    /// What a record server keeps.
    opened: Vec<OpenSegment>,
    port: u16,
}

impl World {
    fn new() -> Self {
        let trunks = Trunks::new(Vec::new(), TenantId::default());
        let config = FrontConfig {
            node: NodeNumber::SINGLE,
            tenant: TenantId::default(),
            trunks: trunks.clone(),
            tenant_calls_max: BTreeMap::new(),
            calls_max: 2 * CALLS,
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
        Self {
            now: Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) },
            agent: Agent::with_gate(AgentConfig::default(), [7; 32], TrunkGate::new(trunks, [7; 32])),
            front: Front::new(config, IdGenerator::new(NodeNumber::SINGLE, 0)),
            reports: VecDeque::new(),
            opened: Vec::new(),
            port: 20_000,
        }
    }

    fn begin(&mut self, number: usize) {
        let mut client = Client::new(number);
        let answers = self.receive(&client, client.invite());
        let answer = answers.iter().find(|a| a.starts_with(b"SIP/2.0 200")).expect("an answer");
        client.hears(answer);
        self.receive(&client, client.ack());
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
        match action {
            Action::Accept { session, sdp } => self.agent.accept(self.now, session, sdp, &[]).unwrap(),
            Action::Order(Order::Open(open)) => {
                self.port += 4;
                let at = |port| ([192, 0, 2, 1], port).into();
                let ports = open.streams.iter().zip((self.port..).step_by(2));
                let ports = ports.map(|(s, rtp)| StreamPorts {
                    stream: s.stream,
                    rtp: at(rtp),
                    rtcp: at(rtp + 1),
                    is_stuck: false,
                });
                self.reports.push_back(Report::Opened { segment: open.segment, ports: ports.collect() });
                self.opened.push(*open);
            }
            Action::Order(_) | Action::Tell(..) => {}
            other => panic!("nothing else is expected: {other:?}"),
        }
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
}

/// Octets of each call that are there after that.
fn held(run: impl FnOnce()) -> i64 {
    allocation_counter::measure(run).bytes_current / i64::try_from(CALLS).unwrap()
}

#[test]
fn a_call_with_6_kb_of_metadata_holds_what_it_says() {
    let mut world = World::new();
    let answered = held(|| (0..CALLS).for_each(|number| world.begin(number)));
    let settled = answered + held(|| world.pass(Duration::from_secs(60)));
    let of_recorder = -held(|| drop(std::mem::take(&mut world.opened)));
    println!("answered {answered}, later {settled}, of which a record server has {of_recorder}");
    assert_eq!(world.front.stats().calls, CALLS);
    // 28 KiB: what metadata say of the call and its parties, once as they said it and once as key-values of the call, is
    // some 17 of them. Of 2,500 calls that is 70 MiB.
    assert!(settled - of_recorder <= 28 << 10, "{} octets", settled - of_recorder);
}
