//! Nodes, the network between them, and the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::state::Respondent;
use model::{
    CallHoldings, CallId, CallKey, Care, CopyOf, EndReason, Location, Mono, NodeNumber, Now, OpenSegment,
    Place, Rank, RecordingState, SegmentId, TenantId, VolumeName,
};

use super::super::known::Recording;
use super::super::{Input, Local, Mode, Step, Synchronizer, Terms, logs, own};
use super::disk::{CAPACITY, Disk, Mood, Sealed};
use crate::fixture::{START, heard, push, segment, two_streams};
use crate::log::{self, Entry};
use crate::op::{FileOp, Files};
use crate::writer::SegmentWriter;
use crate::{digest_of, layout};

/// Numbers that follow from a seed: splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// So many of a thousand.
    pub(super) fn chance(&mut self, of_thousand: u64) -> bool {
        self.below(1_000) < of_thousand
    }
}

/// What goes wrong, each in so many of a thousand cases.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) failing: u64,
    /// A process ends before a local step is done; every other time the power goes too.
    pub(super) killed: u64,
}

#[derive(Clone, Debug)]
enum Event {
    Local {
        node: usize,
        epoch: u64,
        ticket: u64,
        local: Local,
    },
    Message {
        to: usize,
        input: Input,
    },
    Recalled {
        node: usize,
        epoch: u64,
        key: CallKey,
    },
    Timer {
        node: usize,
        epoch: u64,
    },
    Start {
        node: usize,
    },
    Cut {
        pair: (usize, usize),
    },
    Mend {
        pair: (usize, usize),
    },
    /// The call goes on: a segment more, at this node if it runs.
    Continue {
        node: usize,
        call: u64,
    },
}

pub(super) struct Node {
    pub(super) number: NodeNumber,
    pub(super) disk: Disk,
    pub(super) machine: Option<Synchronizer>,
    pub(super) mode: Mode,
    epoch: u64,
    busy_until: u64,
}

/// All of it.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) faults: Faults,
    /// What each node recorded and sealed of a segment: its call and its files.
    pub(super) sealed: BTreeMap<Recording, (CallKey, Sealed)>,
    /// What the catalog was told last of each copy.
    pub(super) told: BTreeMap<String, RecordingState>,
    pub(super) alarms: Vec<String>,
    pub(super) trace: Vec<String>,
    /// Calls that turned out to be others, and the numbers that their segments have in those.
    pub(super) joined: BTreeMap<u64, u64>,
    pub(super) numbers: BTreeMap<SegmentId, u16>,
    /// Segments that are still being recorded, as far as anybody is told.
    pub(super) live: BTreeSet<SegmentId>,
    /// Whether nodes say who has calls, and the nodes at which somebody has some.
    pub(super) says_care: bool,
    pub(super) cared: BTreeSet<(usize, u64)>,
    /// Nodes at which people noted something of a call.
    pub(super) noted: BTreeMap<u64, usize>,
    /// Steps so far.
    pub(super) steps: u64,
    /// Whether what always holds is looked after.
    pub(super) is_checked: bool,
    events: BTreeMap<(u64, u64), Event>,
    last: u64,
    cut: BTreeSet<(usize, usize)>,
}

const MS: u64 = 1_000_000;
/// A life of hours with a look each five minutes takes some thousands.
const STEPS_MAX: u64 = 50_000;

pub(super) fn key(call: u64) -> CallKey {
    CallKey { call: CallId::from_u64(call), call_started: START, tenant: TenantId::default() }
}

pub(super) fn id(call: u64, number: u16) -> SegmentId {
    SegmentId::from_u64(call * 1_000 + u64::from(number))
}

/// The directories of a call.
fn places(call: u64) -> [Place; 2] {
    [place(call), Place { rank: Rank::Twin, ..place(call) }]
}

pub(super) fn place(call: u64) -> Place {
    Place { of: key(call), volume: VolumeName::default(), rank: Rank::First }
}

impl World {
    /// Nodes with the numbers 1 to `nodes`, not started yet.
    pub(super) fn new(seed: u64, nodes: u16) -> Self {
        let node = |n| Node {
            number: NodeNumber::new(n).unwrap(),
            disk: Disk::new(CAPACITY),
            machine: None,
            mode: Mode::Gather,
            epoch: 0,
            busy_until: 0,
        };
        Self {
            rng: Rng(seed),
            now: 1_000 * MS,
            nodes: (1..=nodes).map(node).collect(),
            faults: Faults::default(),
            sealed: BTreeMap::new(),
            told: BTreeMap::new(),
            alarms: Vec::new(),
            trace: Vec::new(),
            joined: BTreeMap::new(),
            numbers: BTreeMap::new(),
            noted: BTreeMap::new(),
            says_care: false,
            cared: BTreeSet::new(),
            live: BTreeSet::new(),
            steps: 0,
            is_checked: true,
            events: BTreeMap::new(),
            last: 0,
            cut: BTreeSet::new(),
        }
    }

    pub(super) fn at(&self) -> Now {
        let since = Duration::from_nanos(self.now);
        Now { mono: Mono::ZERO, wall: START } + since
    }

    /// A segment that was recorded at a node and sealed there, and its copies at others.
    pub(super) fn record(
        &mut self,
        call: u64,
        number: u16,
        at: &[u16],
        end: EndReason,
        respondent: Respondent,
    ) {
        let open = OpenSegment {
            segment: id(call, number),
            call: CallId::from_u64(call),
            respondent,
            ..segment(number, u64::from(number) * 10_000, two_streams())
        };
        self.record_as(&open, at, end);
    }

    /// The same, of a segment that was ordered so.
    pub(super) fn record_as(&mut self, open: &OpenSegment, at: &[u16], end: EndReason) {
        let node = NodeNumber::new(at[0]).unwrap();
        let frames = 10 + self.rng.below(20);
        let disk = &mut self.nodes[usize::from(at[0]) - 1].disk.now;
        let sealed = write(disk, node, open, frames, end);
        for other in &at[1..] {
            let disk = &mut self.nodes[usize::from(*other) - 1].disk.now;
            sealed.iter().for_each(|(path, bytes)| disk.put(path, bytes.clone()));
        }
        for n in at {
            let disk = &mut self.nodes[usize::from(*n) - 1].disk;
            disk.durable = disk.now.clone();
        }
        self.sealed.insert((open.segment, node), (key(open.call.as_u64()), sealed));
    }

    /// A line in the log of a call at a node.
    pub(super) fn note(&mut self, call: u64, at: u16, entry: &Entry) {
        let (bytes, path) =
            (log::line(self.at().wall, entry), layout::log_path(&logs::directory_of(&key(call))));
        let disk = &mut self.nodes[usize::from(at) - 1].disk;
        disk.now.apply(&FileOp::AppendLine { path, bytes }).unwrap();
        disk.durable = disk.now.clone();
    }

    /// These nodes have been told that the call ended with so many segments.
    pub(super) fn conclude(&mut self, call: u64, total: u16, at: &[u16]) {
        for n in at {
            let call = CallId::from_u64(call);
            self.note(call.as_u64(), *n, &Entry::Total { call, total, why: "the call ended".to_owned() });
        }
    }

    pub(super) fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.start(node));
    }

    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].machine.is_some() {
            return;
        }
        let others = self.nodes.len() - 1;
        let here = &mut self.nodes[node];
        here.epoch += 1;
        here.busy_until = self.now;
        let terms = Terms {
            node: here.number,
            volume: VolumeName::default(),
            mode: here.mode,
            range: 400,
            octets_in_flight: 1_000,
            octets_per_second: 1 << 20,
            reserve: 100,
            others,
            conclude_after: Duration::from_secs(120),
        };
        here.machine = Some(Synchronizer::new(terms, here.epoch << 32));
        self.say(format!("node {} starts", node + 1));
        let room = self.nodes[node].disk.room();
        self.tell(node, Input::Room(room));
        for other in 0..self.nodes.len() {
            if self.is_connected(node, other) {
                let numbers = (self.nodes[node].number, self.nodes[other].number);
                self.tell(node, Input::Up(numbers.1));
                self.tell(other, Input::Up(numbers.0));
            }
        }
        let calls: BTreeSet<CallKey> = self.sealed.values().map(|(key, _)| self.survivor(key)).collect();
        for key in calls {
            let held = self.holdings(node, &key);
            if !held.directories.is_empty() {
                self.tell(node, Input::Own(held));
            }
        }
    }

    /// A process ends; what it had asked of its disk does not happen.
    pub(super) fn kill(&mut self, node: usize, power: bool) {
        self.say(format!("node {} is killed, power {power}", node + 1));
        for other in 0..self.nodes.len() {
            if self.is_connected(node, other) {
                let number = self.nodes[node].number;
                self.tell(other, Input::Down(number));
            }
        }
        self.nodes[node].machine = None;
        self.nodes[node].epoch += 1;
        if power {
            let mut rng = self.rng.clone();
            self.nodes[node].disk.lose_power(&mut |n| rng.below(n));
            self.rng = rng;
        }
        self.check();
    }

    fn is_connected(&self, a: usize, b: usize) -> bool {
        let runs = |n: usize| self.nodes[n].machine.is_some();
        a != b && runs(a) && runs(b) && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    pub(super) fn later(&mut self, ms: u64, what: Happens) {
        let event = match what {
            Happens::Start(node) => Event::Start { node },
            Happens::Cut(a, b) => Event::Cut { pair: (a.min(b), a.max(b)) },
            Happens::Mend(a, b) => Event::Mend { pair: (a.min(b), a.max(b)) },
            Happens::Continue(node, call) => Event::Continue { node, call },
        };
        self.schedule(self.now + ms * MS, event);
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.last += 1;
        self.events.insert((at, self.last), event);
    }

    /// Lets so many seconds pass.
    pub(super) fn run(&mut self, seconds: u64) {
        let until = self.now + seconds * 1_000 * MS;
        while let Some(((at, _), event)) = self.events.first_key_value().map(|(k, e)| (*k, e.clone())) {
            if at > until {
                break;
            }
            self.events.pop_first();
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Everything works from now on, and everybody is there.
    pub(super) fn heal(&mut self) {
        self.faults = Faults::default();
        let cut = std::mem::take(&mut self.cut);
        for (a, b) in cut {
            self.meet(a, b);
        }
        self.start_all();
        for node in 0..self.nodes.len() {
            let room = self.nodes[node].disk.room();
            self.tell(node, Input::Room(room));
        }
    }

    fn meet(&mut self, a: usize, b: usize) {
        if self.is_connected(a, b) {
            let numbers = (self.nodes[a].number, self.nodes[b].number);
            self.tell(a, Input::Up(numbers.1));
            self.tell(b, Input::Up(numbers.0));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start { node } => self.start(node),
            Event::Cut { pair: (a, b) } => {
                if self.is_connected(a, b) {
                    let numbers = (self.nodes[a].number, self.nodes[b].number);
                    self.cut.insert((a, b));
                    self.tell(a, Input::Down(numbers.1));
                    self.tell(b, Input::Down(numbers.0));
                }
            }
            Event::Mend { pair: (a, b) } => {
                if self.cut.remove(&(a, b)) {
                    self.meet(a, b);
                }
            }
            Event::Timer { node, epoch } => {
                let now = self.at();
                if let Some(machine) = self.running(node, epoch) {
                    machine.handle_timeout(now);
                    self.drain(node);
                }
            }
            Event::Message { to, input } => self.tell(to, input),
            Event::Recalled { node, epoch, key } => {
                if self.running(node, epoch).is_some() {
                    let held = self.holdings(node, &key);
                    self.tell(node, Input::Own(held));
                }
            }
            Event::Local { node, epoch, ticket, local } => self.carry_out(node, epoch, ticket, &local),
            Event::Continue { node, call } => self.go_on(node, call),
        }
    }

    fn running(&mut self, node: usize, epoch: u64) -> Option<&mut Synchronizer> {
        let node = &mut self.nodes[node];
        node.machine.as_mut().filter(|_| node.epoch == epoch)
    }

    fn carry_out(&mut self, node: usize, epoch: u64, ticket: u64, local: &Local) {
        if self.running(node, epoch).is_none() {
            return;
        }
        if self.rng.chance(self.faults.killed) {
            let power = self.rng.chance(500);
            self.kill(node, power);
            let away = 1 + self.rng.below(20_000);
            return self.schedule(self.now + away * MS, Event::Start { node });
        }
        let mood = if self.rng.chance(self.faults.failing) { Mood::Failing } else { Mood::Well };
        let mut rng = self.rng.clone();
        let result = self.nodes[node].disk.carry_out(local, mood, &mut |n| rng.below(n));
        self.rng = rng;
        self.say(format!("node {}: {} -> {}", node + 1, short(local), result.is_ok()));
        if matches!(local, Local::File(FileOp::AppendLine { .. } | FileOp::Remove { .. }) | Local::Sync) {
            self.check();
        }
        let room = self.nodes[node].disk.room();
        self.tell(node, Input::Room(room));
        self.tell(node, Input::Done { ticket, result });
    }

    /// The call had ended, and goes on: one more segment.
    fn go_on(&mut self, node: usize, call: u64) {
        let numbers = self.sealed.keys().filter(|(s, _)| s.as_u64() / 1_000 == call);
        let next = numbers.map(|(s, _)| s.as_u64() % 1_000).max().unwrap() + 1;
        let (number, at) = (u16::try_from(next).unwrap(), u16::try_from(node + 1).unwrap());
        if self.nodes[node].machine.is_none() {
            return;
        }
        self.say(format!("call {call} goes on at node {at} as segment {number}"));
        self.record(call, number, &[at], EndReason::HangUp, Respondent::No);
        self.conclude(call, number, &[at]);
        let held = self.holdings(node, &key(call));
        self.tell(node, Input::Own(held));
    }

    fn survivor(&self, of: &CallKey) -> CallKey {
        self.joined.get(&of.call.as_u64()).map_or_else(|| of.clone(), |into| key(*into))
    }

    /// What the shell would say that a node has of a call.
    pub(super) fn holdings(&self, at: usize, of: &CallKey) -> CallHoldings {
        let (node, survivor) = (&self.nodes[at], self.survivor(of));
        let taken_in = self.joined.iter().filter(|(_, into)| **into == survivor.call.as_u64());
        let calls = std::iter::once(survivor.call.as_u64()).chain(taken_in.map(|(from, _)| *from));
        let places: Vec<(Place, &dyn Files)> =
            calls.flat_map(places).map(|place| (place, &node.disk.now as &dyn Files)).collect();
        let mut held = own::holdings(node.number, &survivor, &self.numbers, &places).unwrap();
        let copies = held.directories.iter_mut().flat_map(|d| &mut d.copies);
        for copy in copies.filter(|copy| self.live.contains(&copy.segment)) {
            (copy.ended_as, copy.state) = (None, RecordingState::Incomplete);
            copy.files.clear();
        }
        if self.says_care {
            let is_had = self.cared.contains(&(at, of.call.as_u64()));
            held.care = if is_had { Care::Somebody } else { Care::Nobody };
        }
        held
    }

    pub(super) fn tell(&mut self, node: usize, input: Input) {
        let now = self.at();
        if let Some(machine) = &mut self.nodes[node].machine {
            machine.handle(now, input);
            self.drain(node);
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(step) = self.nodes[node].machine.as_mut().and_then(Synchronizer::poll) {
            self.step(node, step);
        }
        let epoch = self.nodes[node].epoch;
        if let Some(at) = self.nodes[node].machine.as_ref().and_then(Synchronizer::next_timeout) {
            let at = at.0.max(self.now + 1);
            let is_there =
                |e: &Event| matches!(e, Event::Timer { node: n, epoch: e } if (*n, *e) == (node, epoch));
            if !self.events.range((at, 0)..=(at, u64::MAX)).any(|(_, event)| is_there(event)) {
                self.schedule(at, Event::Timer { node, epoch });
            }
        }
    }

    fn step(&mut self, node: usize, step: Step) {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "it goes round in circles\n{}\n{step:?}", self.last_lines());
        let (epoch, from) = (self.nodes[node].epoch, self.nodes[node].number);
        match step {
            Step::Local { ticket, local, .. } => {
                let at = self.nodes[node].busy_until.max(self.now) + (1 + self.rng.below(50)) * MS / 10;
                self.nodes[node].busy_until = at;
                self.schedule(at, Event::Local { node, epoch, ticket, local });
            }
            Step::Ask { to, ticket, request } => self.send(node, to, Input::Asked { from, ticket, request }),
            Step::Answer { to, ticket, answer } => {
                self.send(node, to, Input::Answered { from, ticket, answer });
            }
            Step::Recall(key) => self.schedule(self.now + MS, Event::Recalled { node, epoch, key }),
            Step::Tell { copies, .. } => {
                for copy in copies {
                    self.say(format!("node {}: {:?} is {}", node + 1, copy.of, copy.state));
                    self.told.insert(format!("{:?} {}", copy.of, copy.at), copy.state);
                }
            }
            Step::Purged { segments, .. } => self.say(format!("node {}: purged {segments:?}", node + 1)),
            Step::Alarm(alarm) => {
                self.say(format!("node {}: alarm: {}", node + 1, alarm.text));
                self.alarms.push(alarm.text);
            }
        }
    }

    fn send(&mut self, from: usize, to: NodeNumber, input: Input) {
        let to = usize::from(to.get()) - 1;
        if !self.is_connected(from, to) || self.rng.chance(self.faults.lost) {
            return;
        }
        let times = 1 + u64::from(self.rng.chance(self.faults.doubled));
        for _ in 0..times {
            let at = self.now + (1 + self.rng.below(80)) * MS;
            self.schedule(at, Event::Message { to, input: input.clone() });
        }
    }

    /// Each segment is somewhere as it was sealed, durably, and not given up there.
    pub(super) fn check(&self) {
        if !self.is_checked {
            return;
        }
        for ((segment, by), (key, sealed)) in &self.sealed {
            let is_safe = self.nodes.iter().any(|node| node.disk.has(node.number, key, *segment, sealed));
            assert!(is_safe, "{segment} of node {} is nowhere for certain\n{}", by.get(), self.last_lines());
        }
    }

    pub(super) fn last_lines(&self) -> String {
        let from = self.trace.len().saturating_sub(250);
        self.trace[from..].join("\n")
    }

    fn say(&mut self, line: String) {
        self.trace.push(format!("{:>9} {line}", self.now / 100_000));
    }

    /// What the log of a node says that the call is there.
    pub(super) fn state_at(&self, call: u64, node: usize) -> Option<RecordingState> {
        self.holdings(node, &key(call)).state
    }

    /// What the catalog knows of the call's copy at a node.
    pub(super) fn told_of_call(&self, call: u64, node: usize) -> Option<RecordingState> {
        let of = CopyOf::Call(CallId::from_u64(call));
        self.told.get(&format!("{of:?} {}", Location::Node(self.nodes[node].number))).copied()
    }
}

/// What may be planned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happens {
    Start(usize),
    Cut(usize, usize),
    Mend(usize, usize),
    Continue(usize, u64),
}

fn short(local: &Local) -> String {
    match local {
        Local::Look(path) => format!("look {path}"),
        Local::Read { path, .. } => format!("read {path}"),
        Local::Digest(path) => format!("digest {path}"),
        Local::Sync => "sync".to_owned(),
        Local::File(op) => {
            let kind = format!("{op:?}");
            format!("{} {}", kind.split(' ').next().unwrap_or_default(), op.path())
        }
    }
}

/// Records a segment of some packets and seals it; its files.
fn write(
    disk: &mut crate::memory::MemoryDisk,
    node: NodeNumber,
    open: &OpenSegment,
    frames: u64,
    end: EndReason,
) -> Sealed {
    let at = |ms: u64| Now { mono: Mono(1_000_000_000), wall: open.started } + Duration::from_millis(ms);
    let directory = layout::call_directory(&open.tenant, open.call_started, open.call);
    let names = disk.list(&directory).unwrap_or_default();
    let mut writer = SegmentWriter::open_beside(open, node, at(0), &names);
    let mut ops = Vec::new();
    for n in 0..frames {
        let octet = u8::try_from((open.segment.as_u64() + n) % 251).unwrap();
        push(&mut writer, &heard(1, i64::try_from(n).unwrap() * 20, octet));
    }
    let end_at = at(frames * 20 + 100);
    writer.flush(end_at, Vec::new(), &mut ops);
    writer.end(end_at, end_at.wall, end, Vec::new(), &mut ops);
    disk.apply_all(&ops).unwrap();
    let digest = |path: String| {
        let digest = digest_of(disk, &path).unwrap();
        (path, digest.bytes, digest.sha256)
    };
    let digests: Vec<_> = writer.files().into_iter().map(digest).collect();
    let mut ops = Vec::new();
    writer.seal(end_at, &digests, &mut ops);
    disk.apply_all(&ops).unwrap();
    let paths = writer.files().into_iter().chain([writer.manifest_path()]);
    paths.map(|path| (path.clone(), disk.bytes(&path).unwrap().to_vec())).collect()
}
