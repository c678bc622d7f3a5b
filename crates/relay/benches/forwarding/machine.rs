//! Cores, descriptors, and what threads took.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) const MEASURED_CORE: usize = 0;
pub(crate) const SENDER_CORE: usize = 1;

/// Pins the calling thread, and what it starts from then on. Without `taskset`, or the core, nothing is pinned.
pub(crate) fn pin_to(core: usize) {
    let _ = Command::new("taskset")
        .args(["-p", "-c", &core.to_string(), &nix::unistd::gettid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Two sockets for each call.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

/// The time that threads of these names were on a core.
pub(crate) fn cpu_of(names: &[&str]) -> Duration {
    cpu("self", |name| names.contains(&name))
}

/// The time that all threads of another process were.
pub(crate) fn cpu_of_process(pid: u32) -> Duration {
    cpu(&pid.to_string(), |_| true)
}

fn cpu(process: &str, wanted: impl Fn(&str) -> bool) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let on_core = tasks.filter_map(|task| {
        let path = task.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let ns = stat.split_whitespace().next()?.parse::<u64>().ok()?;
        wanted(name.trim()).then_some(ns)
    });
    Duration::from_nanos(on_core.sum())
}
