//! What the machine has: descriptors, cores, clock, programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit};

use super::Check;
use crate::config::Config;
use crate::descriptors::{BESIDE_SEGMENTS, OF_CALL, divide};

/// 2025-01-01: a clock that is before it was never set.
const EARLIEST_SECONDS: i64 = 1_735_689_600;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![descriptors(config), cores(config), clock()];
    checks.push(time_service(Path::new("/proc")));
    checks.push(decoders());
    checks.push(lame());
    checks
}

fn descriptors(config: &Config) -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) => descriptors_of(hard, config),
        Err(_) => Check::warning("file descriptors", "the limit cannot be read", "check ulimit -Hn"),
    }
}

fn descriptors_of(hard: u64, config: &Config) -> Check {
    let what = "file descriptors";
    let beside = BESIDE_SEGMENTS + config.sip.tcp_max_connections as u64;
    let needed = config.recording.max_calls as u64 * OF_CALL + beside;
    let calls = divide(hard, config.sip.tcp_max_connections).segments / OF_CALL;
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

/// What ffmpeg calls the decoders of codecs that are stored as they come and need it for listening.
const DECODERS: [(&str, &str); 3] = [("g729", "G.729"), ("amrnb", "AMR"), ("amrwb", "AMR-WB")];

/// It is no fault of this machine.
const NO_EVS: &str =
    "there is no free decoder of EVS: it is recorded as it comes, and silent when it is played";

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// Asked what it can decode, not only whether it is there.
fn decoders() -> Check {
    let what = "ffmpeg (optional)";
    let Some(program) = on_path("ffmpeg") else {
        return Check::good(
            what,
            "not installed; G.729, G.723.1, G.726, GSM, iLBC, AMR, AMR-WB and EVS are recorded, and cannot be listened to here",
        );
    };
    let listed = Command::new(&program).args(["-hide_banner", "-decoders"]).stdin(Stdio::null()).output();
    let text = match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => return Check::warning(what, format!("{} does not run", program.display()), "install it again"),
    };
    let can =
        |name: &str| text.lines().any(|l| l.split_whitespace().nth(1).is_some_and(|d| d.contains(name)));
    let missing: Vec<&str> =
        DECODERS.iter().filter(|(name, _)| !can(name)).map(|(_, codec)| *codec).collect();
    match missing.is_empty() {
        true => Check::good(what, format!("{}: decodes G.729, AMR, AMR-WB; {NO_EVS}", program.display())),
        false => Check::warning(
            what,
            format!("{} does not decode {}", program.display(), missing.join(", ")),
            format!("install one that does, if calls come with it; {NO_EVS}"),
        ),
    }
}

fn lame() -> Check {
    match on_path("lame") {
        Some(found) => Check::good("lame (optional)", found.display().to_string()),
        None => Check::good("lame (optional)", "not installed; it is needed to export MP3"),
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
        assert_eq!(descriptors_of(1_024, &config).verdict, Verdict::Good);
        config.recording.max_calls = usize::MAX / 16;
        let check = descriptors(&config);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.todo.contains("LimitNOFILE="), "{check:?}");
        config.sip.tcp_max_connections = 4_096;
        let some = descriptors_of(1_024, &config);
        assert!(some.verdict == Verdict::Warning && some.found.contains(" 39 calls at once"), "{some:?}");
        assert_eq!(descriptors_of(712, &config).verdict, Verdict::Failure);
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
