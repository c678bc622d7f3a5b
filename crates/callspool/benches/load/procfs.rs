//! What the kernel counts of a process and of its sockets.

use std::collections::{BTreeMap, BTreeSet};

use crate::Failure;

/// CPU of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// User and system time of all its threads, ended ones too, in microseconds (resolution 10 ms).
    pub(crate) total_us: f64,
    /// Time on a core by name of thread, in microseconds, exact.
    pub(crate) threads_us: BTreeMap<String, f64>,
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) rss: f64,
    pub(crate) pss: f64,
}

pub(crate) fn cpu(pid: u32) -> Result<Cpu, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    let total_us = (field(11) + field(12)) * 10_000.0;
    let mut threads_us = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let nanos = read("schedstat").split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
        *threads_us.entry(read("comm").trim().to_owned()).or_insert(0.0) += nanos.unwrap_or(0.0) / 1e3;
    }
    Ok(Cpu { total_us, threads_us })
}

impl Cpu {
    pub(crate) fn since(&self, before: &Self) -> Self {
        let thread = |(name, us): (&String, &f64)| {
            (name.clone(), us - before.threads_us.get(name).copied().unwrap_or(0.0))
        };
        Self {
            total_us: self.total_us - before.total_us,
            threads_us: self.threads_us.iter().map(thread).collect(),
        }
    }

    /// The sum over the threads that are there: finer than `total_us`.
    pub(crate) fn exact_us(&self) -> f64 {
        self.threads_us.values().sum()
    }
}

pub(crate) fn memory(pid: u32) -> Result<Memory, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name));
        line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    Ok(Memory { rss: field("Rss:"), pss: field("Pss:") })
}

/// Descriptors that a process has open.
pub(crate) fn descriptors(pid: u32) -> Result<usize, Failure> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Datagrams that the kernel dropped because the buffers of these ports were full.
pub(crate) fn kernel_drops(ports: &BTreeSet<u16>) -> Result<u64, Failure> {
    let table = std::fs::read_to_string("/proc/net/udp")?;
    let drops = |line: &str| {
        let port = line.split_whitespace().nth(1)?.split(':').nth(1)?;
        let port = u16::from_str_radix(port, 16).ok()?;
        ports.contains(&port).then(|| line.split_whitespace().last()?.parse::<u64>().ok()).flatten()
    };
    Ok(table.lines().skip(1).filter_map(drops).sum())
}
