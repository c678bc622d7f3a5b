//! Who gives up a copy for whom, in every order of everything: two, three and four servers, one segment.
//!
//! Messages are never taken out of the network: each may come late, twice, or after its sender was killed and started again.
//! What the rules are is not written here: they are [`may_give_up`] and [`leader`], which the synchronizer decides by.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use model::NodeNumber;
use spool::gathering::choice::{Candidate, leader, may_give_up};
use stateright::{Checker, Model, Property};

/// A copy of the segment at a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
enum Copy {
    Absent,
    /// Fetched and verified; a loss of power may take it.
    Fetched,
    /// Durable.
    Kept,
    /// Given up in memory: a loss of power makes it what it was.
    Marking,
    /// Given up, durably; its files are there yet.
    Marked,
}

/// Whether others may have been told to lean on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
enum Pin {
    No,
    /// In memory: nobody was told yet.
    Memory,
    /// In the log, durably.
    Log,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
struct State {
    servers: Vec<(Copy, Pin)>,
    /// Who was asked by whom to give up its copy, as `from * servers + to`. None is ever forgotten.
    asked: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Action {
    Fetch(usize, usize),
    Sync(usize),
    Pin(usize),
    Ask(usize, usize),
    Deliver(usize, usize),
    Purge(usize),
    Crash(usize),
}

/// Servers with the numbers from 0.
#[derive(Clone, Copy)]
struct Cluster {
    servers: usize,
    /// Each may think that it leads, whatever the others think, and lose its power at any time. Otherwise all know the
    /// same, and only the leader gathers.
    anarchy: bool,
    /// A rule that forgets who leans on whom, to see that it is found out.
    careless: bool,
}

fn number(n: usize) -> NodeNumber {
    NodeNumber::new(u16::try_from(n).unwrap()).unwrap()
}

impl Cluster {
    fn leads(&self, state: &State, n: usize) -> bool {
        let candidate = |(node, (copy, pin)): (usize, &(Copy, Pin))| Candidate {
            node: number(node),
            gathered: *pin != Pin::No,
            octets: u64::from(*copy == Copy::Kept),
            lacks: 0,
            room: 1,
        };
        let holds = |(_, (copy, _)): &(usize, &(Copy, Pin))| matches!(copy, Copy::Kept | Copy::Fetched);
        let candidates: Vec<_> = state.servers.iter().enumerate().filter(holds).map(candidate).collect();
        self.anarchy || leader(&candidates, &[]) == Some(number(n))
    }

    fn may_give_up(&self, here: usize, pin: Pin, asker: usize) -> bool {
        self.careless || may_give_up(number(here), pin != Pin::No, number(asker))
    }

    fn one(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let at = |n: usize| state.servers[n];
        match action {
            Action::Fetch(to, from) => {
                let can = at(to).0 == Copy::Absent && !matches!(at(from).0, Copy::Absent | Copy::Fetched);
                next.servers[to].0 = if can && self.anarchy { Copy::Fetched } else { return None };
            }
            Action::Sync(n) => {
                next.servers[n].0 = match at(n).0 {
                    Copy::Fetched => Copy::Kept,
                    Copy::Marking => Copy::Marked,
                    _ => at(n).0,
                };
                if at(n).1 == Pin::Memory {
                    next.servers[n].1 = Pin::Log;
                }
            }
            Action::Pin(n) => {
                let can = at(n) == (Copy::Kept, Pin::No) && self.leads(state, n);
                next.servers[n].1 = if can { Pin::Memory } else { return None };
            }
            Action::Ask(from, to) => {
                let asks = at(from).1 == Pin::Log && at(from).0 == Copy::Kept && at(to).0 != Copy::Absent;
                next.asked[from * self.servers + to] = if asks { true } else { return None };
            }
            Action::Deliver(from, to) => {
                let gives = at(to).0 == Copy::Kept && self.may_give_up(to, at(to).1, from);
                let is_asked = state.asked[from * self.servers + to];
                next.servers[to].0 = if is_asked && gives { Copy::Marking } else { return None };
            }
            Action::Purge(n) => {
                // Its log goes too: whatever it was pinned for.
                next.servers[n] =
                    if at(n).0 == Copy::Marked { (Copy::Absent, Pin::No) } else { return None };
            }
            Action::Crash(n) => {
                let (copy, pin) = at(n);
                let copy = match copy {
                    Copy::Fetched => Copy::Absent,
                    Copy::Marking => Copy::Kept,
                    copy => copy,
                };
                next.servers[n] = (copy, if pin == Pin::Memory { Pin::No } else { pin });
            }
        }
        (next != *state).then_some(next)
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let with = |mask: usize| State {
            servers: (0..self.servers)
                .map(|n| (if mask >> n & 1 == 1 { Copy::Kept } else { Copy::Absent }, Pin::No))
                .collect(),
            asked: vec![false; self.servers * self.servers],
        };
        (1..1 << self.servers).map(with).collect()
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        for n in 0..self.servers {
            actions.extend([Action::Sync(n), Action::Pin(n), Action::Purge(n)]);
            if self.anarchy {
                actions.push(Action::Crash(n));
            }
            for other in (0..self.servers).filter(|other| *other != n) {
                actions.extend([Action::Fetch(n, other), Action::Ask(n, other), Action::Deliver(n, other)]);
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.one(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("a copy is kept, durably", |_: &Self, state: &State| {
            state.servers.iter().any(|(copy, _)| *copy == Copy::Kept)
        })];
        if self.anarchy {
            properties.push(Property::sometimes("two have gathered it", |_: &Self, state: &State| {
                state.servers.iter().filter(|server| **server == (Copy::Kept, Pin::Log)).count() > 1
            }));
        } else {
            properties.push(Property::eventually("one copy is left", |_: &Self, state: &State| {
                let left = state.servers.iter().filter(|(copy, _)| *copy != Copy::Absent);
                left.eq([&(Copy::Kept, Pin::Log)])
            }));
        }
        properties
    }
}

/// Tries everything; how many states there are.
fn check(servers: usize, anarchy: bool) -> usize {
    let checker = Cluster { servers, anarchy, careless: false }.checker().spawn_bfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

#[test]
fn in_whatever_order_a_copy_is_kept() {
    let states = [2, 3].map(|servers| check(servers, true));
    println!("{states:?} states");
    assert!(states[0] > 40 && states[1] > 1_000, "{states:?}");
}

#[test]
fn when_all_know_the_same_one_copy_is_left() {
    let states = [2, 3, 4].map(|servers| check(servers, false));
    println!("{states:?} states");
    assert!(states.iter().all(|n| *n > 10), "{states:?}");
}

#[test]
fn a_rule_that_forgets_who_leans_on_whom_is_found_out() {
    let careless = Cluster { servers: 2, anarchy: true, careless: true };
    let checker = careless.checker().spawn_bfs().join();
    assert!(checker.discovery("a copy is kept, durably").is_some());
}
