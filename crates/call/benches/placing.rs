//! How many segments a proxy places in a second, and how evenly: [`RecordServers`] alone, without links.
//!
//! ```text
//! cargo bench --package callspool-call --bench placing -- 60000 20      so many segments, so many record servers
//! ```
//!
//! Each segment is ordered and opened by the record server that was chosen; all stay live. Record servers say how they are
//! after so many segments as come in a tenth of a second at a thousand a second. Two runs: all have the same room; every
//! other one has half the room of the rest.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a program for measuring, with small numbers"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use call::{PeerEvent, RecordServers, ServersConfig, Step};
use model::{
    Beat, CallId, Hello, Mono, NodeNumber, Now, OpenSegment, Order, PeerName, Report, Resource, SegmentId,
    Share, Standing, TenantId, WallTime,
};

/// Between two beats.
const BEAT: usize = 100;

struct World {
    servers: RecordServers,
    names: Vec<PeerName>,
    /// What each has, of a thousand recordings that it may have, beside those that are measured.
    others: Vec<u64>,
    now: Now,
    placed: BTreeMap<PeerName, u64>,
    beats: u64,
}

impl World {
    fn new(count: usize, others: impl Fn(usize) -> u64) -> Self {
        let name = |n: usize| format!("rec{n}").parse().expect("a name");
        let names: Vec<PeerName> = (0..count).map(name).collect();
        let config = ServersConfig {
            tenant: TenantId::default(),
            beat: Duration::from_millis(100),
            remembered: Duration::from_secs(60),
        };
        let now = Now { mono: Mono::ZERO, wall: WallTime(0) };
        let mut world = Self {
            servers: RecordServers::new(config, names.iter().cloned()),
            others: (0..count).map(others).collect(),
            names,
            now,
            placed: BTreeMap::new(),
            beats: 0,
        };
        for (n, name) in world.names.clone().into_iter().enumerate() {
            let node = NodeNumber::new(n as u16 + 1).expect("a number of a node");
            let hello = Hello { name: name.clone(), node, run: 1, segments: Vec::new() };
            world.servers.handle_event(world.now, &name, PeerEvent::Up(hello));
        }
        world.beat();
        world
    }

    fn beat(&mut self) {
        self.beats += 1;
        for (n, name) in self.names.iter().enumerate() {
            let used = Share::of(self.others[n], 1_000);
            let beat = Beat {
                number: self.beats,
                at: self.now.wall,
                recordings: self.others[n] as u32,
                loads: vec![(Resource::Recordings, used)],
                standing: Standing::Taking,
                heard: None,
            };
            self.servers.handle_event(self.now, name, PeerEvent::Beat(beat));
        }
    }

    fn place(&mut self, number: usize) {
        let segment = SegmentId::from_u64(number as u64 + 1);
        let call = CallId::from_u64(number as u64 + 1);
        let open = OpenSegment::first(segment, call, self.now.wall, Vec::new());
        self.servers.order(self.now, Order::Open(Box::new(open)));
        self.answer();
        if number % BEAT == BEAT - 1 {
            self.beat();
        }
    }

    /// Record servers do what they are told at once.
    fn answer(&mut self) {
        while let Some(step) = self.servers.poll_step() {
            let Step::Send { to, order } = step else { continue };
            let Order::Open(open) = order else { panic!("nobody ordered {order:?}") };
            *self.placed.entry(to.clone()).or_default() += 1;
            let report = Report::Opened { segment: open.segment, ports: Vec::new() };
            self.servers.handle_event(self.now, &to, PeerEvent::Report(report));
        }
    }
}

fn main() {
    // `cargo bench` gives an argument of its own.
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (segments, servers) = (numbers.next().unwrap_or(60_000), numbers.next().unwrap_or(20));
    run("all have the same room", segments, World::new(servers, |_| 200));
    run(
        "every other has half the room",
        segments,
        World::new(servers, |n| if n % 2 == 0 { 200 } else { 600 }),
    );
}

fn run(what: &str, segments: usize, mut world: World) {
    let began = Instant::now();
    (0..segments).for_each(|number| world.place(number));
    let took = began.elapsed();
    let rooms: Vec<u64> = world.others.iter().map(|used| 1_000 - used).collect();
    let all: u64 = rooms.iter().sum();
    let placed = world.names.iter().map(|name| world.placed.get(name).copied().unwrap_or_default());
    // Against its share of the room.
    let deviations = placed.zip(&rooms).map(|(placed, room)| {
        let due = segments as f64 * *room as f64 / all as f64;
        (placed as f64 - due) / due * 100.0
    });
    let worst = deviations.fold(0.0_f64, |worst, deviation| worst.max(deviation.abs()));
    println!(
        "{segments} segments on {} record servers, {what}: {:.0} a second, {:.2} µs each; the farthest from its share \
         by {worst:.1} %",
        world.names.len(),
        segments as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / segments as f64,
    );
}
