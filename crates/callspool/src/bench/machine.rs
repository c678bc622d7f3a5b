//! The machine that figures are taken on: what it is, and which of its processors does what.

use std::io;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::statfs::statfs;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Which processors the measured callspool has, and which the traffic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cores {
    /// Its own; none: it shares all of them with the traffic.
    pub(crate) own: Vec<usize>,
    rest: Vec<usize>,
}

impl Cores {
    /// So many for the measured callspool and the others for the traffic; half of them when nothing is wanted. With one
    /// processor, or with none wanted, both share.
    pub(crate) fn divided(wanted: Option<usize>) -> Self {
        let all = available();
        let own = wanted.unwrap_or(all.len() / 2).min(all.len().saturating_sub(1));
        if own == 0 {
            return Self::default();
        }
        let (own, rest) = all.split_at(own);
        Self { own: own.to_vec(), rest: rest.to_vec() }
    }

    /// Processors for the traffic.
    pub(crate) fn for_traffic(&self) -> usize {
        if self.rest.is_empty() { available().len() } else { self.rest.len() }
    }

    /// This thread has all of them again, and what it begins from now on.
    pub(crate) fn give_back(&self) {
        pin(&[self.own.as_slice(), self.rest.as_slice()].concat());
    }

    /// Starts a child on its processors; this thread, and what it begins from now on, has the others.
    pub(crate) fn start(&self, mut command: Command) -> io::Result<Child> {
        pin(&self.own);
        let child = command.spawn();
        pin(&self.rest);
        child
    }
}

/// A kernel that refuses lets both share: the report tells of the load all the same.
fn pin(cores: &[usize]) {
    if cores.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    let _ = sched_setaffinity(None, &set);
}

/// The processors that this process may use.
fn available() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    let mut all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    // Two that share a core stand together: divided between callspool and the traffic, each would slow the other.
    all.sort_by_key(|core| (core_of(*core), *core));
    all
}

/// The first of the processors that share a core with this one.
fn core_of(processor: usize) -> usize {
    let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
    let siblings = std::fs::read_to_string(path).unwrap_or_default();
    siblings.split([',', '-']).next().and_then(|first| first.trim().parse().ok()).unwrap_or(processor)
}

/// Octets that are free in a directory, and those of its whole disk; none where that is not told.
pub(crate) fn room(directory: &Path) -> Option<(u64, u64)> {
    let found = nix::sys::statvfs::statvfs(directory).ok()?;
    Some((found.blocks_available() * found.fragment_size(), found.blocks() * found.fragment_size()))
}

/// The id of a callspool that records on this machine, if there is one.
pub(crate) fn recorder() -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|octet| *octet == 0);
        let is_ours = words.next().is_some_and(|program| program.ends_with(b"callspool"));
        is_ours && words.any(|word| word == b"serve")
    })
}

/// Processors, their model, the kernel.
pub(crate) fn describe() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = info.lines().filter(|l| l.starts_with("processor")).count();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
    let model = model.unwrap_or("unknown").trim();
    format!("{count} processors ({model}), Linux {}", kernel.trim())
}

/// The average number of runnable threads over the last minute: more than a little before a measurement means that
/// others work too.
pub(crate) fn load() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|l| l.parse().ok()).unwrap_or(f64::NAN)
}

/// What kind of file system a directory is on, by the usual names.
pub(crate) fn file_system(directory: &Path) -> String {
    let Ok(found) = statfs(directory) else { return "unknown".to_owned() };
    // The numbers of statfs(2).
    let name = match found.filesystem_type().0 {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlayfs",
        0x6969 => "nfs",
        0x2FC1_2FC1 => "zfs",
        0x6573_5546 => "fuse",
        other => return format!("file system {other:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_divided_and_somebody_always_has_one() {
        let all = available().len();
        for wanted in [None, Some(0), Some(1), Some(all), Some(1_000)] {
            let cores = Cores::divided(wanted);
            assert!(cores.for_traffic() >= 1, "{wanted:?}");
            assert!(cores.own.is_empty() || cores.own.len() + cores.for_traffic() == all, "{wanted:?}");
        }
        assert!(Cores::divided(Some(0)).own.is_empty());
        assert!(describe().contains("Linux"));
        assert_eq!(file_system(Path::new("/nowhere")), "unknown");
    }
}
