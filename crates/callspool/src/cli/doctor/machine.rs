//! What the machine has: descriptors, cores, clock, programs.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::Check;
use crate::config::Config;
use crate::descriptors::{BESIDE_SEGMENTS, USUAL_STREAMS, of_segment};

/// What the usual call takes.
const PER_CALL: u64 = of_segment(USUAL_STREAMS);
/// 2025-01-01: a clock that is before it was never set.
const EARLIEST_SECONDS: i64 = 1_735_689_600;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![descriptors(config), cores(config), clock()];
    checks.push(time_service(Path::new("/proc")));
    checks.push(ffmpeg());
    checks
}

fn descriptors(config: &Config) -> Check {
    let what = "file descriptors";
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Check::warning(what, "the limit cannot be read", "check ulimit -Hn");
    };
    let beside = BESIDE_SEGMENTS + config.sip.tcp_max_connections as u64;
    let needed = config.recording.max_calls as u64 * PER_CALL + beside;
    let calls = hard.saturating_sub(beside) / PER_CALL;
    if hard >= needed {
        return Check::good(
            what,
            format!("{hard} allowed, {needed} needed for {} calls", config.recording.max_calls),
        );
    }
    let found =
        format!("{hard} allowed, {needed} needed: {calls} calls at once, not {}", config.recording.max_calls);
    let todo = format!(
        "raise the hard limit (LimitNOFILE={needed} in a systemd unit), or lower recording.max_calls"
    );
    if calls == 0 { Check::failure(what, found, todo) } else { Check::warning(what, found, todo) }
}

fn cores(config: &Config) -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = config.media.threads;
    if threads > cores {
        let found = format!("{threads} media threads on {cores} cores");
        return Check::warning("cores", found, "lower media.threads, or set it to 0");
    }
    Check::good("cores", format!("{cores}, media.threads = {threads}"))
}

fn clock() -> Check {
    let now = crate::clock::wall();
    if now.0 / 1_000_000_000 < EARLIEST_SECONDS {
        return Check::failure(
            "clock",
            format!("it says {now}"),
            "set the clock: ids and file names hold the time",
        );
    }
    Check::good("clock", format!("{now}; files and ids are in UTC, whatever the time zone"))
}

/// A time service that is running: without one, segments of several machines do not lie where they were.
fn time_service(proc: &Path) -> Check {
    const SERVICES: [&str; 5] = ["systemd-timesyn", "chronyd", "ntpd", "openntpd", "ptp4l"];
    let name = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm")).ok();
    let mut running = std::fs::read_dir(proc).into_iter().flatten().flatten().filter_map(name);
    match running.find(|comm| SERVICES.contains(&comm.trim())) {
        Some(service) => Check::good("time service", service.trim()),
        None => Check::warning(
            "time service",
            "none is seen",
            "run chrony or systemd-timesyncd, unless the host of this container does",
        ),
    }
}

fn ffmpeg() -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find(|p| p.is_file()) {
        Some(found) => Check::good("ffmpeg (optional)", found.display().to_string()),
        None => Check::good(
            "ffmpeg (optional)",
            "not installed; it is not needed to record, play or export G.711",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::Surroundings;

    #[test]
    fn too_few_descriptors_are_told_of_with_what_they_are_enough_for() {
        let mut config = Config::embedded(&Surroundings::of_process()).unwrap();
        config.recording.max_calls = 1;
        config.sip.tcp_max_connections = 1;
        assert_eq!(descriptors(&config).verdict, Verdict::Good);
        config.recording.max_calls = usize::MAX / 16;
        let check = descriptors(&config);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.todo.contains("LimitNOFILE="), "{check:?}");
        config.sip.tcp_max_connections = usize::MAX / 16;
        assert_eq!(descriptors(&config).verdict, Verdict::Failure);
    }

    #[test]
    fn a_time_service_is_looked_for_by_name() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(time_service(proc.path()).verdict, Verdict::Warning);
        std::fs::create_dir(proc.path().join("42")).unwrap();
        std::fs::write(proc.path().join("42/comm"), "chronyd\n").unwrap();
        assert_eq!(time_service(proc.path()), Check::good("time service", "chronyd"));
    }
}
