//! Calls that come at rates which change, in virtual time: what the queues are tried with.

use std::ops::Range;

use model::Mono;
use proptest::collection;
use proptest::prelude::Strategy;

/// A stretch of time with one rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    /// The rate, in hundredths of what can be served.
    pub(crate) percent: u64,
    pub(crate) ms: u64,
}

/// Calm and overload in turn, up to four times what can be served.
pub(crate) fn phases() -> impl Strategy<Value = Vec<Phase>> {
    let calm = (10_u64..=50, 1_000_u64..2_000);
    let overload = (200_u64..=400, 1_500_u64..3_000);
    let pairs = collection::vec((calm, overload), 1..4);
    pairs.prop_map(|pairs| {
        let phase = |(percent, ms): (u64, u64)| Phase { percent, ms };
        let mut all: Vec<_> = pairs.into_iter().flat_map(|(a, b)| [phase(a), phase(b)]).collect();
        all.push(Phase { percent: 40, ms: 2_000 });
        all
    })
}

/// When each comes, where one is served in so many nanoseconds; apart by half to one and a half of what the rate says.
pub(crate) fn arrivals(phases: &[Phase], each: u64, seed: u64) -> Vec<Mono> {
    let (mut random, mut all, mut at, mut end) = (seed | 1, Vec::new(), 0, 0);
    for phase in phases {
        end += phase.ms * 1_000_000;
        let apart = each * 100 / phase.percent;
        while at < end {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            at += apart / 2 + random % apart.max(1);
            all.push(Mono(at));
        }
    }
    all
}

/// The phases with when each begins and ends, in nanoseconds.
pub(crate) fn spans(phases: &[Phase]) -> Vec<(Phase, Range<u64>)> {
    let mut from = 0;
    let span = |phase: &Phase| {
        let begin = from;
        from += phase.ms * 1_000_000;
        (*phase, begin..from)
    };
    phases.iter().map(span).collect()
}

/// What became of one that came.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// It was served so many nanoseconds after it came.
    Served(u64),
    /// It was refused so many nanoseconds after it came.
    Refused(u64),
}

/// What must hold of any load: who is served is served within `bound` (half as much more in the first overload), who is refused hears of it within `soon`; under
/// overload nine tenths of what can be served is; and from `recovered` after the load fell on nobody is refused. Times in
/// nanoseconds.
pub(crate) fn judge(
    phases: &[Phase],
    came: &[(Mono, Fate)],
    each: u64,
    [bound, soon, recovered]: [u64; 3],
) -> Result<(), String> {
    // The first time it is too much, how long one takes is not known yet.
    let known = phases.iter().take(2).map(|phase| phase.ms * 1_000_000).sum();
    for (at, fate) in came {
        let bound = if at.0 < known { bound * 3 / 2 } else { bound };
        match fate {
            Fate::Served(after) if *after > bound => {
                return Err(format!("{at:?} was served after {after} ns"));
            }
            Fate::Refused(after) if *after > soon => {
                return Err(format!("{at:?} was refused after {after} ns"));
            }
            _ => {}
        }
    }
    for (phase, span) in spans(phases) {
        let of = |from: u64| came.iter().filter(move |(at, _)| (from..span.end).contains(&at.0));
        if phase.percent >= 200 {
            // Until it is full nothing can be said.
            let within = span.start + 500_000_000..span.end;
            let is_served = |(at, fate): &&(Mono, Fate)| matches!(fate, Fate::Served(after) if within.contains(&(at.0 + after)));
            let served = came.iter().filter(is_served).count() as u64;
            let time = span.end - span.start - 500_000_000;
            if served * each < time / 10 * 9 {
                return Err(format!("{served} were served in {time} ns of {phase:?}"));
            }
        } else if let Some((at, _)) =
            of(span.start + recovered).find(|(_, fate)| matches!(fate, Fate::Refused(_)))
        {
            return Err(format!("{at:?} was refused in {phase:?}, {} ns after it began", at.0 - span.start));
        }
    }
    Ok(())
}
