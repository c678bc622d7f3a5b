//! The machine: which core does what, and what it is.

use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Where what is measured runs, alone.
pub(crate) const RECEIVER_CORE: usize = 0;
/// Where this process runs. With one core both are the same, and the report says so.
pub(crate) const SENDER_CORE: usize = 1;

/// Where what is measured runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cores {
    /// Alone on [`RECEIVER_CORE`]: what one core can do.
    One,
    /// Wherever the kernel puts it.
    All,
}

/// Pins the calling thread, and what it starts from then on. A machine without `taskset`, or without the core,
/// measures unpinned.
pub(crate) fn pin_to(core: usize) {
    pin(&core.to_string());
}

fn pin(cores: &str) {
    let _ = Command::new("taskset")
        .args(["-p", "-c", cores, &nix::unistd::gettid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Starts a child: children inherit where their parent runs.
pub(crate) fn on<R>(cores: Cores, start: impl FnOnce() -> R) -> R {
    match cores {
        Cores::One => pin_to(RECEIVER_CORE),
        Cores::All => pin(&format!("0-{}", cores_online().unwrap_or(1).saturating_sub(1))),
    }
    let started = start();
    pin_to(SENDER_CORE);
    started
}

/// What 5,000 calls of two streams with RTCP ports of their own take, twice.
const DESCRIPTORS: u64 = 65_536;

/// Thousands of sockets need more descriptors than a shell gives; children inherit the limit. Only root raises the hard
/// one.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.max(DESCRIPTORS);
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted);
        if raised.is_err() {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
    }
}

/// What the figures were taken on.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores, {}, Linux {}", cores_online().unwrap_or(cores), cpu_model(), kernel.trim())
}

/// `available_parallelism` counts only the core that we are pinned to.
pub(crate) fn cores_online() -> Option<usize> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(info.lines().filter(|l| l.starts_with("processor")).count())
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
    model.unwrap_or("unknown CPU").trim().to_owned()
}

/// The average number of runnable threads over the last minute: more than a little means that others work too.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).stderr(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    format!("{head}{}", if dirty { " with changes" } else { "" })
}
