//! What is looked at each few seconds.

use std::time::Duration;

use crate::Failure;
use crate::calls::Calls;
use crate::node::Node;
use crate::page::Page;

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    /// Resident memory in KiB.
    pub(crate) memory_kib: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
    /// Calls made so far.
    pub(crate) calls: u64,
    /// INVITE to 200 in ms, of calls that ended since the look before: median and 99th percentile.
    pub(crate) invite_ms: Option<[f64; 2]>,
    /// A list of the page in ms, the same.
    pub(crate) list_ms: Option<[f64; 2]>,
}

impl Sample {
    /// Columns of the table.
    pub(crate) const HEAD: &str =
        "seconds,memory_kib,descriptors,threads,calls,invite_p50_ms,invite_p99_ms,list_p50_ms,list_p99_ms";

    pub(crate) fn take(at: Duration, node: &Node, calls: &Calls, page: &Page) -> Result<Self, Failure> {
        let pid = node.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|_| "callspool is gone: it crashed, or somebody ended it")?;
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self {
            at,
            memory_kib: field("VmRSS:"),
            descriptors: f64::from(u32::try_from(descriptors)?),
            threads: field("Threads:"),
            calls: calls.made(),
            invite_ms: percentiles(calls.take_setups()),
            list_ms: percentiles(page.take_lists()),
        })
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, memory_kib, descriptors, threads, calls, invite_ms, list_ms } = self;
        write!(f, "{},{memory_kib},{descriptors},{threads},{calls}", at.as_secs())?;
        for times in [invite_ms, list_ms] {
            match times {
                Some([p50, p99]) => write!(f, ",{p50:.2},{p99:.2}")?,
                None => write!(f, ",,")?,
            }
        }
        Ok(())
    }
}

fn percentiles(mut of: Vec<f64>) -> Option<[f64; 2]> {
    of.sort_by(f64::total_cmp);
    let at = |hundredth: usize| of.get(of.len().saturating_sub(1) * hundredth / 100).copied();
    Some([at(50)?, at(99)?])
}
