//! What is looked at each few seconds.

use std::time::Duration;

use crate::Failure;
use crate::calls::Calls;
use crate::crowd::Crowd;
use crate::figures::Figures;
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
    /// Calls made so far, and those of them that the recorder says go on.
    pub(crate) calls: u64,
    pub(crate) live: u64,
    /// Processors that it used since the look before.
    pub(crate) cpu: f64,
    /// INVITE to 200 in ms, of calls that ended since the look before: median and 99th percentile.
    pub(crate) invite_ms: Option<[f64; 2]>,
    /// A list of the page in ms, the same.
    pub(crate) list_ms: Option<[f64; 2]>,
    /// From the kernel to the buffer in ms, the same.
    pub(crate) delay_ms: Option<[f64; 2]>,
    /// Packets that many calls at a time were sent so far, and datagrams that came to media ports.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Of those, packets that were not written.
    pub(crate) dropped: u64,
    /// Changes that wait for the catalog: they are memory.
    pub(crate) catalog: u64,
}

/// Whom it looks at.
pub(crate) struct Sampler<'a> {
    pub(crate) node: &'a Node,
    pub(crate) calls: &'a Calls,
    pub(crate) page: &'a Page,
    pub(crate) crowd: &'a Crowd,
    /// The look before.
    pub(crate) last: Figures,
}

impl Sampler<'_> {
    pub(crate) fn take(&mut self, at: Duration) -> Result<Sample, Failure> {
        let pid = self.node.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|_| "callspool is gone: it crashed, or somebody ended it")?;
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let sent = self.crowd.sent().packets;
        let now = self.node.figures()?;
        let last = std::mem::replace(&mut self.last, now.clone());
        let delay = now.delay.as_ref().zip(last.delay.as_ref()).map(|(now, last)| now.since(last));
        Ok(Sample {
            at,
            memory_kib: field("VmRSS:"),
            descriptors: f64::from(u32::try_from(descriptors)?),
            threads: field("Threads:"),
            calls: self.calls.made(),
            live: now.live,
            cpu: (now.cpu_s - last.cpu_s) / now.at.duration_since(last.at).as_secs_f64(),
            invite_ms: percentiles(self.calls.take_setups()),
            list_ms: percentiles(self.page.take_lists()),
            delay_ms: delay.and_then(|d| Some([d.quantile_ms(0.5)?, d.quantile_ms(0.99)?])),
            sent,
            received: now.received,
            dropped: now.dropped,
            catalog: now.catalog_queued,
        })
    }
}

impl Sample {
    /// Columns of the table.
    pub(crate) const HEAD: &str = "seconds,memory_kib,descriptors,threads,calls,live,cpu,invite_p50_ms,invite_p99_ms,\
        list_p50_ms,list_p99_ms,delay_p50_ms,delay_p99_ms,sent,received,dropped,\
        catalog_waiting";
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, memory_kib, descriptors, threads, calls, live, cpu, .. } = self;
        write!(f, "{},{memory_kib},{descriptors},{threads},{calls},{live},{cpu:.2}", at.as_secs())?;
        for times in [self.invite_ms, self.list_ms, self.delay_ms] {
            match times {
                Some([p50, p99]) => write!(f, ",{p50:.2},{p99:.2}")?,
                None => write!(f, ",,")?,
            }
        }
        write!(f, ",{},{},{},{}", self.sent, self.received, self.dropped, self.catalog)
    }
}

fn percentiles(mut of: Vec<f64>) -> Option<[f64; 2]> {
    of.sort_by(f64::total_cmp);
    let at = |hundredth: usize| of.get(of.len().saturating_sub(1) * hundredth / 100).copied();
    Some([at(50)?, at(99)?])
}
