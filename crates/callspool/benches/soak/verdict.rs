//! Whether anything grew: the median of the last quarter of the time against that of the second quarter. In the
//! first one caches fill and threads begin.

use std::fmt;

use crate::sample::Sample;

/// What may be more in the last quarter than in the second, in parts and beside: what comes and goes with the calls
/// of a moment, and a neighbor on the machine.
struct Rule {
    name: &'static str,
    unit: &'static str,
    of: fn(&Sample) -> Option<f64>,
    factor: f64,
    beside: f64,
}

const RULES: [Rule; 7] = [
    Rule { name: "memory", unit: "KiB", of: |s| Some(s.memory_kib), factor: 1.1, beside: 8_192.0 },
    Rule { name: "descriptors", unit: "", of: |s| Some(s.descriptors), factor: 1.1, beside: 20.0 },
    Rule { name: "threads", unit: "", of: |s| Some(s.threads), factor: 1.0, beside: 8.0 },
    Rule { name: "INVITE to 200, p50", unit: "ms", of: |s| Some(s.invite_ms?[0]), factor: 1.5, beside: 5.0 },
    Rule { name: "INVITE to 200, p99", unit: "ms", of: |s| Some(s.invite_ms?[1]), factor: 1.5, beside: 20.0 },
    Rule {
        name: "kernel to buffer, p99",
        unit: "ms",
        of: |s| Some(s.delay_ms?[1]),
        factor: 1.5,
        beside: 2.0,
    },
    Rule { name: "list of calls, p50", unit: "ms", of: |s| Some(s.list_ms?[0]), factor: 1.5, beside: 5.0 },
];

/// What each rule says.
pub(crate) struct Verdict(Vec<Line>);

struct Line {
    rule: &'static Rule,
    second: f64,
    last: f64,
    worst: f64,
}

/// Of all samples, in their order.
pub(crate) fn of(samples: &[Sample]) -> Verdict {
    let quarter = samples.len() / 4;
    let (second, last) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let line = |rule: &'static Rule| Line {
        rule,
        second: median(second.iter().filter_map(rule.of)),
        last: median(last.iter().filter_map(rule.of)),
        worst: samples.iter().filter_map(rule.of).fold(0.0, f64::max),
    };
    Verdict(RULES.iter().map(line).collect())
}

impl Line {
    fn is_flat(&self) -> bool {
        self.last <= self.second * self.rule.factor + self.rule.beside
    }
}

impl Verdict {
    pub(crate) fn is_flat(&self) -> bool {
        self.0.iter().all(Line::is_flat)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            let Line { rule: Rule { name, unit, factor, beside, .. }, second, last, worst } = line;
            let is = if line.is_flat() { "flat" } else { "NOT FLAT" };
            writeln!(
                f,
                "{name:<21} {second:>10.1} → {last:>10.1} {unit:<4} {is} (at most {factor} times and {beside} more; highest {worst:.1})"
            )?;
        }
        Ok(())
    }
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
