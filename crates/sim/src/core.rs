//! What all of a world share: the clock, what is to happen, the network, what is true, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::{Ask, PeerEvent};
use model::custody::{FromKeeper, ToKeeper};
use model::{Answer, CallId, CallKey, Copy, Location, Mono, Now, Order, Request, WallTime};
use spool::gathering::Local;

use crate::network::Network;
use crate::rng::Rng;
use crate::scenario::{Does, Fault, MS, Scenario, Who};
use crate::truth::Truth;
use crate::world::BEAT;
use crate::wrong::Wrong;

/// 2026-11-20T09:15:00Z: where every life begins.
const START: WallTime = WallTime::from_millis(1_795_166_100_000);

/// Something that is to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// To a process of this run; what is for an earlier one is lost.
    To(Who, u64, Input),
    /// A datagram of SIP comes to the callers from a proxy.
    Callers(usize, Bytes),
    /// The callers' own timers.
    CallersTimer,
    /// A caller begins.
    Calls(usize),
    /// A caller does what it has in mind next.
    Does(usize, Does),
    /// A caller sends its next packets.
    Talks(usize),
    /// Somebody orders something of the call of a caller.
    Orders(usize, Ask),
    /// A proxy tries to reach a record server.
    Dial(usize, usize),
    Fault(Fault),
    /// What that did is over.
    Over(Fault),
    Start(Who),
    Healed,
    HungUp,
    /// What holds at every moment is looked at.
    Look,
}

/// What comes to a process.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Timer,
    /// To a proxy, from the callers.
    Sip(Bytes),
    /// To a proxy, from a record server over the link of this number.
    Heard(usize, u64, PeerEvent),
    /// The same, of whose calls are.
    Kept(usize, u64, FromKeeper),
    /// To a record server, from a proxy over the link of this number.
    Came(usize, u64, FromProxy),
    /// A packet came to a port of a record server.
    Media {
        port: u16,
        from: SocketAddr,
        packet: Bytes,
    },
    /// To a proxy, from a person: of the call of this caller.
    Ordered(usize, CallId, Ask),
    /// A record server looks after itself: it beats, writes, syncs.
    Tick,
    /// A record server carries out the next order.
    Work,
    /// A step of gathering is done on its disk.
    Local(u64, Local),
    Recall(CallKey),
    Asked(usize, u64, Request),
    Answered(usize, u64, Answer),
    /// Another record server can be spoken to, or cannot any more.
    Met(usize),
    Missed(usize),
    /// A record server is to stop: others take over.
    HandOver,
}

/// Whether a record server can be spoken to by another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    There,
    Away,
}

/// What comes over a link to a record server.
#[derive(Clone, Debug)]
pub(crate) enum FromProxy {
    Up,
    Order(Box<Order>),
    Custody(ToKeeper),
    Probe,
    Closed,
}

/// See the module.
pub(crate) struct Core {
    /// Nanoseconds since the beginning.
    pub(crate) at: u64,
    pub(crate) rng: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    last: u64,
    pub(crate) network: Network,
    pub(crate) truth: Truth,
    pub(crate) log: Log,
    /// A known wrong that is planted, to see whether it is found.
    pub(crate) wrong: Option<Wrong>,
    /// The run of each process: of proxies, then of record servers.
    runs: [Vec<u64>; 2],
    /// How often record servers look after themselves.
    pub(crate) ticks: u64,
    /// When one record server heard last whether another is there: it hears of that in order.
    heard: BTreeMap<(usize, usize), u64>,
    /// Directories of which something was given up or removed: it is looked whether what they held is elsewhere.
    pub(crate) copies_at_risk: BTreeSet<String>,
}

impl Core {
    pub(crate) fn new(rng: Rng, scenario: &Scenario, log: Log, wrong: Option<Wrong>) -> Self {
        let mut network = Network::new(scenario.proxies, scenario.servers);
        (network.sip_lost, network.sip_doubled) = (scenario.sip_lost, scenario.sip_doubled);
        network.media_lost = scenario.media_lost;
        Self {
            at: 0,
            rng,
            queue: BTreeMap::new(),
            last: 0,
            network,
            truth: Truth::default(),
            log,
            wrong,
            runs: [vec![0; scenario.proxies], vec![0; scenario.servers]],
            ticks: BEAT,
            heard: BTreeMap::new(),
            copies_at_risk: BTreeSet::new(),
        }
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        self.last += 1;
        self.queue.insert((at.max(self.at), self.last), event);
    }

    /// Something comes to a process then, if it is still the same.
    pub(crate) fn tell_at(&mut self, at: u64, who: Who, input: Input) {
        if let Some(run) = self.run(who) {
            self.schedule(at, Event::To(who, run, input));
        }
    }

    /// A record server hears whether another is there, within so long, behind what it heard of that before.
    pub(crate) fn hears_of(&mut self, server: usize, other: usize, presence: Presence, within: u64) {
        let at = self.at + self.rng.between(MS, within.max(MS));
        let last = self.heard.entry((server, other)).or_default();
        let at = at.max(*last + 1);
        *last = at;
        let input = match presence {
            Presence::There => Input::Met(other),
            Presence::Away => Input::Missed(other),
        };
        self.tell_at(at, Who::Server(server), input);
    }

    /// The run of a process; none where there is no such process.
    pub(crate) fn run(&self, who: Who) -> Option<u64> {
        match who {
            Who::Proxy(index) => self.runs[0].get(index).copied(),
            Who::Server(index) => self.runs[1].get(index).copied(),
        }
    }

    /// A process ends, or another begins in its place: what is under way to it is lost.
    pub(crate) fn next_run(&mut self, who: Who) -> u64 {
        let run = match who {
            Who::Proxy(index) => self.runs[0].get_mut(index),
            Who::Server(index) => self.runs[1].get_mut(index),
        };
        run.map_or(0, |run| {
            *run += 1;
            *run
        })
    }

    pub(crate) fn proxies(&self) -> usize {
        self.runs[0].len()
    }

    /// The catalog is told the state of a copy.
    pub(crate) fn tell_copy(&mut self, copy: &Copy) {
        if let Location::Node(at) = copy.at {
            self.truth.told.insert((copy.of, at), copy.state);
        }
    }

    /// What happens next, if that is until then.
    pub(crate) fn next(&mut self, until: u64) -> Option<Event> {
        let first = self.queue.first_entry()?;
        if first.key().0 > until {
            return None;
        }
        self.at = first.key().0;
        Some(first.remove())
    }

    /// What a clock says that is off by so many nanoseconds.
    pub(crate) fn now(&self, skew: i64) -> Now {
        // Microseconds, as whatever crosses a link or is in a file has it.
        let since = Duration::from_micros(self.at / 1_000);
        let wall = START + since;
        Now { mono: Mono(self.at), wall: WallTime(wall.0.saturating_add(skew)) }
    }

    pub(crate) fn is_wrong(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        self.log.say(self.at, line);
    }

    /// Something that must hold does not.
    pub(crate) fn violated(&mut self, what: String) {
        self.log.say(self.at, format_args!("VIOLATED: {what}"));
        self.truth.violated(what);
    }
}

/// What happened, in lines.
#[derive(Debug)]
pub(crate) struct Log {
    /// Whether lines are kept.
    pub(crate) keeps: bool,
    pub(crate) lines: Vec<String>,
}

impl Log {
    fn say(&mut self, at: u64, line: fmt::Arguments<'_>) {
        if self.keeps {
            let us = at / 1_000;
            self.lines.push(format!("{:>4}.{:06} {line}", us / 1_000_000, us % 1_000_000));
        }
    }
}
