//! Two and three nodes in virtual time: what each does when one dies, is cut off, stands still or is unwell, as
//! ladders; and whatever happens, one holder in the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

use std::net::IpAddr;
use std::time::Duration;

use address::advert::{Interval, RESIGNED};
use address::machine::{Action, LIFETIME, Machine, Returning, Rules, Standing};
use model::Mono;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

const MS: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_millis(10);

/// A node as the network has it.
struct Node {
    machine: Machine,
    own: IpAddr,
    standing: Standing,
    /// Until when its kernel has the address.
    kernel: Mono,
    /// It neither hears nor does anything.
    is_frozen: bool,
    inbox: Vec<(Mono, IpAddr, u8)>,
}

struct Network {
    now: Mono,
    nodes: Vec<Node>,
    interval: Interval,
    /// From whom to whom nothing passes.
    cut: Vec<(usize, usize)>,
    /// How long a message takes.
    delay: Duration,
    log: Vec<String>,
}

impl Network {
    /// Nodes of 10.0.0.1, 10.0.0.2 and so on.
    fn of(priorities: &[u8], returning: Returning) -> Self {
        let interval = Interval::new(25).unwrap();
        let nodes = priorities.iter().zip(1_u8..).map(|(priority, n)| {
            let own = IpAddr::from([10, 0, 0, n]);
            Node {
                machine: Machine::new(Rules { priority: *priority, interval, returning }, own),
                own,
                standing: Standing::Well,
                kernel: Mono::ZERO,
                is_frozen: false,
                inbox: Vec::new(),
            }
        });
        let nodes = nodes.collect();
        let now = Mono(1_000_000_000);
        Self { now, nodes, interval, cut: Vec::new(), delay: MS, log: Vec::new() }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        for n in 0..self.nodes.len() {
            let now = self.now;
            let node = &mut self.nodes[n];
            if node.is_frozen {
                continue;
            }
            node.machine.stand(now, node.standing, node.own);
            let due: Vec<_> = node.inbox.extract_if(.., |(at, _, _)| *at <= now).collect();
            for (_, from, priority) in due {
                node.machine.receive(now, from, priority, self.interval);
            }
            if node.machine.next_timeout().is_some_and(|at| at <= now) {
                node.machine.handle_timeout(now);
            }
            while let Some(action) = self.nodes[n].machine.poll_action() {
                self.carry_out(n, action);
            }
        }
    }

    fn carry_out(&mut self, n: usize, action: Action) {
        let ms = self.now.since(Mono(1_000_000_000)).as_millis();
        let own = self.nodes[n].own;
        match action {
            Action::Take { .. } | Action::LetGo { .. } => self.log.push(format!("{ms} {} {action:?}", n + 1)),
            Action::Advertise(RESIGNED) => self.log.push(format!("{ms} {} resigns", n + 1)),
            Action::Renew | Action::Announce | Action::Advertise(_) => {}
        }
        match action {
            Action::Take { .. } | Action::Renew => self.nodes[n].kernel = self.now + LIFETIME,
            Action::LetGo { .. } => self.nodes[n].kernel = Mono::ZERO,
            Action::Announce => {}
            Action::Advertise(priority) => {
                for to in (0..self.nodes.len()).filter(|to| *to != n && !self.cut.contains(&(n, *to))) {
                    // As many as a socket has room for.
                    if self.nodes[to].inbox.len() < 50 {
                        self.nodes[to].inbox.push((self.now + self.delay, own, priority));
                    }
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Whose kernel has the address.
    fn holders(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].kernel > self.now).map(|n| n + 1).collect()
    }

    /// Both directions.
    fn cut(&mut self, a: usize, b: usize) {
        self.cut.extend([(a - 1, b - 1), (b - 1, a - 1)]);
    }

    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.log), expected);
    }
}

#[test]
fn of_two_that_begin_the_better_one_holds_it() {
    let mut net = Network::of(&[200, 100], Returning::Never);
    net.run(Duration::from_secs(5));
    // Three intervals of 250 ms, and 56/256 of one.
    net.expect(&["820 1 Take { from: None }"]);
    assert_eq!(net.holders(), [1]);
}

#[test]
fn when_the_holder_dies_the_next_one_takes_it_within_four_intervals() {
    let mut net = Network::of(&[200, 100], Returning::AtOnce);
    net.run(Duration::from_secs(5));
    net.log.clear();
    net.nodes[0].is_frozen = true;
    net.run(Duration::from_secs(1));
    net.expect(&["5740 2 Take { from: Some(10.0.0.1) }"]);
    // Its kernel lets go by itself.
    assert_eq!(net.holders(), [1, 2]);
    net.run(LIFETIME);
    assert_eq!(net.holders(), [2]);
}

#[test]
fn one_that_lets_go_says_so_and_the_next_takes_it_at_once() {
    let mut net = Network::of(&[200, 100, 150], Returning::AtOnce);
    net.run(Duration::from_secs(5));
    net.log.clear();
    net.nodes[0].standing = Standing::Out;
    net.run(Duration::from_secs(1));
    // 106/256 of an interval; the third of them waits longer and hears of it.
    net.expect(&["5010 1 LetGo { to: None }", "5010 1 resigns", "5130 3 Take { from: Some(10.0.0.1) }"]);
    assert_eq!(net.holders(), [3]);
}

#[test]
fn one_that_is_unwell_holds_it_until_somebody_does_who_is_well() {
    let mut net = Network::of(&[200, 100], Returning::Never);
    net.nodes[1].standing = Standing::Out;
    net.run(Duration::from_secs(2));
    net.nodes[0].standing = Standing::Poor;
    net.run(Duration::from_secs(2));
    assert_eq!(net.holders(), [1], "it is better than nobody");
    net.log.clear();
    net.nodes[1].standing = Standing::Well;
    net.run(Duration::from_secs(2));
    let log = std::mem::take(&mut net.log);
    assert!(log[0].ends_with("2 Take { from: Some(10.0.0.1) }"), "{log:?}");
    assert!(log[1].ends_with("1 LetGo { to: Some(10.0.0.2) }"), "{log:?}");
    assert_eq!(net.holders(), [2]);
}

#[test]
fn it_returns_by_what_was_agreed() {
    for (returning, back_after) in [
        (Returning::AtOnce, Some(1)),
        (Returning::After(Duration::from_secs(60)), Some(61)),
        (Returning::Never, None),
    ] {
        let mut net = Network::of(&[200, 100], returning);
        net.run(Duration::from_secs(3));
        net.nodes[0].standing = Standing::Out;
        net.run(Duration::from_secs(10));
        assert_eq!(net.holders(), [2], "{returning:?}");
        net.nodes[0].standing = Standing::Well;
        let before = back_after.map_or(Duration::from_secs(600), |s| Duration::from_secs(s) - MS * 300);
        net.run(before);
        assert_eq!(net.holders(), [2], "{returning:?}");
        net.run(Duration::from_secs(1));
        assert_eq!(net.holders(), if back_after.is_some() { [1] } else { [2] }, "{returning:?}");
    }
}

#[test]
fn one_that_is_well_now_and_then_does_not_get_it_back() {
    let mut net = Network::of(&[200, 100], Returning::After(Duration::from_secs(10)));
    net.nodes[0].standing = Standing::Out;
    net.run(Duration::from_secs(3));
    for _ in 0..20 {
        net.nodes[0].standing = Standing::Well;
        net.run(Duration::from_secs(9));
        net.nodes[0].standing = Standing::Poor;
        net.run(Duration::from_secs(1));
        assert_eq!(net.holders(), [2]);
    }
}

#[test]
fn two_that_cannot_hear_each_other_hold_it_both_and_one_of_them_when_they_can() {
    let mut net = Network::of(&[100, 100], Returning::Never);
    net.cut(1, 2);
    net.run(Duration::from_secs(5));
    assert_eq!(net.holders(), [1, 2]);
    net.cut.clear();
    net.log.clear();
    net.run(Duration::from_secs(1));
    // The same priority: the higher address.
    assert_eq!(net.log.len(), 1);
    assert!(net.log[0].ends_with("1 LetGo { to: Some(10.0.0.2) }"), "{:?}", net.log);
    assert_eq!(net.holders(), [2]);
}

#[test]
fn one_that_stood_still_takes_nothing_back_before_it_has_listened() {
    let mut net = Network::of(&[200, 100], Returning::Never);
    net.run(Duration::from_secs(3));
    net.nodes[0].is_frozen = true;
    net.run(Duration::from_secs(10));
    assert_eq!(net.holders(), [2]);
    net.log.clear();
    // What came meanwhile is gone, as from a socket that was full.
    net.nodes[0].inbox.clear();
    net.nodes[0].is_frozen = false;
    net.run(Duration::from_secs(10));
    assert_eq!(net.log.len(), 1, "{:?}", net.log);
    assert!(net.log[0].ends_with("1 LetGo { to: None }"), "{:?}", net.log);
    assert_eq!(net.holders(), [2]);
}

#[test]
fn it_is_announced_until_the_kernel_of_a_dead_one_has_let_go_and_each_minute() {
    let rules = Rules { priority: 100, interval: Interval::new(100).unwrap(), returning: Returning::AtOnce };
    let own = IpAddr::from([10, 0, 0, 1]);
    let mut machine = Machine::new(rules, own);
    let mut now = Mono::ZERO;
    machine.stand(now, Standing::Well, own);
    now = machine.next_timeout().unwrap();
    let taken = now;
    let mut announced = Vec::new();
    while now.since(taken) < Duration::from_secs(130) {
        machine.handle_timeout(now);
        while let Some(action) = machine.poll_action() {
            if action == Action::Announce {
                announced.push(now.since(taken).as_millis());
            }
        }
        now = machine.next_timeout().unwrap();
    }
    assert_eq!(announced, [0, 100, 300, 600, 1_000, 2_000, 3_000, 4_000, 5_000, 65_000, 125_000]);
    assert!(announced.iter().any(|ms| (3_000..10_000).contains(ms)), "after {LIFETIME:?}");
}

#[test]
fn a_flood_is_not_answered_by_one_and_keeps_nobody_from_taking_it() {
    let rules = Rules { priority: 100, interval: Interval::new(25).unwrap(), returning: Returning::Never };
    let (own, other) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 1]));
    let mut machine = Machine::new(rules, own);
    machine.stand(Mono::ZERO, Standing::Well, own);
    let mut said = 0;
    for ms in 0..10_000_u64 {
        let now = Mono(ms * 1_000_000);
        machine.receive(now, other, RESIGNED, rules.interval);
        machine.receive(now, own, 255, rules.interval);
        machine.handle_timeout(now);
        while let Some(action) = machine.poll_action() {
            said += usize::from(action != Action::Renew);
        }
    }
    assert!(machine.is_holding());
    // An advertisement and an announcement each interval.
    assert!((40..100).contains(&said), "{said}");
}

#[test]
fn one_word_of_a_stranger_puts_it_off_for_some_seconds_and_not_for_minutes() {
    let rules = Rules { priority: 100, interval: Interval::new(25).unwrap(), returning: Returning::Never };
    let (own, other) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 1]));
    let mut machine = Machine::new(rules, own);
    machine.stand(Mono::ZERO, Standing::Well, own);
    machine.receive(Mono::ZERO, other, 255, Interval::new(4_095).unwrap());
    let until = machine.next_timeout().unwrap().since(Mono::ZERO);
    assert!(until < Duration::from_secs(12), "{until:?}");
}

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Pass(u16),
    Stand(usize, Standing),
    Freeze(usize, bool),
    Cut(usize, usize),
    Heal,
    Delay(u16),
    Lose(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = 0..3_usize;
    let standing = prop_oneof![Just(Standing::Well), Just(Standing::Poor), Just(Standing::Out)];
    prop::collection::vec(
        prop_oneof![
            4 => (1..300_u16).prop_map(Event::Pass),
            2 => (node.clone(), standing).prop_map(|(n, s)| Event::Stand(n, s)),
            1 => (node.clone(), any::<bool>()).prop_map(|(n, is)| Event::Freeze(n, is)),
            1 => (node.clone(), node.clone()).prop_map(|(a, b)| Event::Cut(a, b)),
            1 => Just(Event::Heal),
            1 => (0..600_u16).prop_map(Event::Delay),
            1 => node.prop_map(Event::Lose),
        ],
        0..40,
    )
}

fn returnings() -> impl Strategy<Value = Returning> {
    prop_oneof![
        Just(Returning::AtOnce),
        Just(Returning::After(Duration::from_secs(2))),
        Just(Returning::Never)
    ]
}

fn live(net: &mut Network, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Pass(steps) => net.run(STEP * u32::from(steps)),
            Event::Stand(n, standing) => net.nodes[n].standing = standing,
            Event::Freeze(n, is_frozen) => net.nodes[n].is_frozen = is_frozen,
            Event::Cut(a, b) => net.cut.push((a, b)),
            Event::Heal => net.cut.clear(),
            Event::Delay(ms) => net.delay = MS * u32::from(ms),
            Event::Lose(n) => net.nodes[n].inbox.clear(),
        }
    }
}

proptest! {
    /// Whatever happened: when messages pass, one node that can hold the address does, of those that are well if there
    /// are any, and it goes on alone.
    #[test]
    fn whatever_happens_there_is_one_holder_in_the_end(
        priorities in prop::collection::vec(2_u8..=254, 3),
        returning in returnings(),
        events in events(),
    ) {
        let mut net = Network::of(&priorities, returning);
        live(&mut net, events);
        net.cut.clear();
        net.delay = MS;
        // What is under way arrives, the dead are let go of by their kernels, and everybody has heard everybody.
        net.run(Duration::from_secs(10));
        let able = |n: &Node, standing| !n.is_frozen && n.standing == standing;
        let is_one_well = net.nodes.iter().any(|n| able(n, Standing::Well));
        let is_one_there = is_one_well || net.nodes.iter().any(|n| able(n, Standing::Poor));
        for _ in 0..300 {
            net.step();
            let holders = net.holders();
            prop_assert_eq!(holders.len(), usize::from(is_one_there), "{:?}", holders);
            for holder in holders {
                let node = &net.nodes[holder - 1];
                prop_assert!(able(node, Standing::Well) || !is_one_well && able(node, Standing::Poor));
            }
        }
    }

    /// At no moment does a node hold the address that cannot, beyond what its kernel gives it.
    #[test]
    fn nobody_holds_it_who_is_out(events in events()) {
        let mut net = Network::of(&[200, 100, 50], Returning::AtOnce);
        for event in events {
            live(&mut net, vec![event]);
            net.step();
            for node in &net.nodes {
                prop_assert!(node.is_frozen || node.standing != Standing::Out || node.kernel <= net.now);
            }
        }
    }
}
