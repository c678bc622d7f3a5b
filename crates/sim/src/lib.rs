//! A whole cluster in one thread and in virtual time, by one number.
//!
//! A seed draws how many proxies, record servers and callers there are, what callers do, and what goes wrong. All that
//! decides is the real thing: SIP agents on both sides, fronts, tables of record servers, the desk's book, receivers and
//! writers of media, repair, gathering. Network, disks, clocks and processes are played. The same seed is the same life, step
//! by step; `docs/simulation.md` says what is played how, what is looked after, and what was found.
//!
//! It opens no file and no socket, reads no clock, and nothing of callspool knows it.

mod callers;
mod core;
mod network;
mod proxy;
mod rng;
mod scenario;
mod server;
mod truth;
mod world;
mod wrong;

use std::collections::BTreeMap;

pub use wrong::Wrong;

use crate::core::{Core, Log};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::world::World;

/// Whether the lines of a life are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    /// They are.
    Kept,
    /// They are not: most lives are about their ends only.
    Dropped,
}

/// What came of a life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How many things happened.
    pub steps: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Calls, by what they came to.
    pub calls: BTreeMap<String, u64>,
    /// The first thing that did not hold, if anything did not.
    pub violation: Option<String>,
    /// What happened, if that was to be kept.
    pub lines: Vec<String>,
}

/// Lives the life of a seed, with a known wrong planted if one is given.
#[must_use]
pub fn live(seed: u64, lines: Lines, wrong: Option<Wrong>) -> Outcome {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw(&mut rng);
    let mut log = Log { keeps: lines == Lines::Kept, lines: Vec::new() };
    if log.keeps {
        log.lines.push(format!("{scenario:#?}"));
    }
    let core = Core::new(rng, &scenario, log, wrong);
    let mut world = World::new(core, scenario);
    world.live();
    Outcome {
        steps: world.steps,
        calls: world.outcomes(),
        violation: world.core.truth.violation.take(),
        faults: std::mem::take(&mut world.core.truth.faults),
        lines: std::mem::take(&mut world.core.log.lines),
    }
}
