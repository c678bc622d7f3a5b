//! What surrounds the process: ranges and limits of the kernel, the clock's discipline, the CPU, the service's unit.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::Check;
use crate::config::{Config, Role};

/// Threads beside those of media: runtime, writers, catalog, and what ffmpeg takes for listeners.
const THREADS: u64 = 128;
/// Two per cent of a core taken away is an interruption of a millisecond each 50 ms: arrival times suffer.
const STEAL_PERCENT_MAX: f64 = 2.0;
/// Ticks since the boot below which a share means nothing.
const TICKS_MIN: u64 = 10_000;
/// The unit of this version.
const UNIT: &str = include_str!("../../../../../deploy/systemd/callspool.service");
/// Where a unit lies, those that win first.
const UNITS: [&str; 3] = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let root = Path::new("/");
    let mut checks = vec![processes()];
    if config.node.roles.contains(&Role::Recorder) {
        checks.push(ephemeral(root, config.media.port_min, config.media.port_max));
    }
    checks.extend(synchronized(root));
    checks.extend(governor(root));
    checks.extend(steal(root));
    checks.extend(unit(root));
    checks
}

fn read(root: &Path, path: &str) -> Option<String> {
    std::fs::read_to_string(root.join(path)).ok()
}

fn processes() -> Check {
    let what = "threads of this user";
    match getrlimit(Resource::RLIMIT_NPROC) {
        Ok((soft, _)) if soft < THREADS => Check::warning(
            what,
            format!("{soft} allowed, some {THREADS} needed"),
            "raise ulimit -u (TasksMax= and LimitNPROC= in a systemd unit)",
        ),
        Ok((soft, _)) if soft == u64::MAX => Check::good(what, "not limited"),
        Ok((soft, _)) => Check::good(what, format!("{soft} allowed")),
        Err(e) => Check::warning(what, e.to_string(), "check ulimit -u"),
    }
}

/// The kernel gives ports of its own range to whoever asks for any; one of ours may be taken then.
fn ephemeral(root: &Path, min: u16, max: u16) -> Check {
    let what = "media ports and those that the kernel gives away";
    let text = read(root, "proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let range: Vec<u16> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [first, last] = range[..] else { return Check::good(what, "not known here") };
    if first > max || last < min {
        return Check::good(what, format!("{min} to {max} and {first} to {last}: apart"));
    }
    let reserved = read(root, "proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    if reserved.trim().contains(&format!("{min}-{max}")) {
        return Check::good(what, format!("{min} to {max} are reserved"));
    }
    Check::warning(
        what,
        format!("{min} to {max} and {first} to {last} overlap: other programs may take a port of ours"),
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={min}-{max}, or move media.port_min to port_max"),
    )
}

/// systemd-timesyncd leaves a file when it has set the clock; others leave none, and nothing is said then.
fn synchronized(root: &Path) -> Option<Check> {
    let what = "clock synchronized";
    let directory = root.join("run/systemd/timesync");
    if !directory.exists() {
        return None;
    }
    Some(match directory.join("synchronized").exists() {
        true => Check::good(what, "by systemd-timesyncd"),
        false => Check::warning(
            what,
            "systemd-timesyncd has not set it yet",
            "check that it reaches its time server: timedatectl",
        ),
    })
}

fn governor(root: &Path) -> Option<Check> {
    let what = "CPU governor";
    let governor = read(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
    Some(match governor.trim() {
        "powersave" => Check::warning(
            what,
            "powersave: on some machines the clock stays low under many short wakes",
            "cpupower frequency-set -g performance, if benchmarks say so",
        ),
        other => Check::good(what, other),
    })
}

/// Time that a hypervisor took: column 9 of the first line of /proc/stat, in ticks since the boot.
fn steal(root: &Path) -> Option<Check> {
    let what = "CPU taken by other guests of the host";
    let text = read(root, "proc/stat")?;
    let ticks: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let all: u64 = ticks.iter().take(8).sum();
    let stolen = *ticks.get(7)?;
    if all < TICKS_MIN {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "a share in per cent")]
    let percent = 100.0 * stolen as f64 / all as f64;
    Some(if percent > STEAL_PERCENT_MAX {
        Check::warning(what, format!("{percent:.1}% since the boot"), "give this machine cores of its own")
    } else {
        Check::good(what, format!("{percent:.1}% since the boot"))
    })
}

/// Whether the unit that is in effect is that of this version.
fn unit(root: &Path) -> Option<Check> {
    let what = "systemd unit";
    let path = UNITS.iter().map(|d| root.join(d).join("callspool.service")).find(|p| p.exists())?;
    let text = std::fs::read_to_string(&path).ok()?;
    let plain = |text: &str| -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    Some(match plain(&text) == plain(UNIT) {
        true => Check::good(what, path.display().to_string()),
        false => Check::warning(
            what,
            format!("{} is not the one of this version", path.display()),
            "take the new one, and put what you changed into a drop-in: systemctl edit callspool",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn root_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_range_that_others_are_given_ports_from_is_told_of() {
        let range = ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        let root = root_with(&[range]);
        assert_eq!(ephemeral(root.path(), 20_000, 31_999).verdict, Verdict::Good);
        let check = ephemeral(root.path(), 20_000, 39_999);
        assert!(check.verdict == Verdict::Warning && check.todo.contains("=20000-39999"), "{check:?}");
        let reserved = root_with(&[range, ("proc/sys/net/ipv4/ip_local_reserved_ports", "20000-39999\n")]);
        assert_eq!(ephemeral(reserved.path(), 20_000, 39_999).verdict, Verdict::Good);
    }

    #[test]
    fn a_clock_a_governor_and_a_busy_host_are_told_of_where_they_can_be_seen() {
        let bare = root_with(&[]);
        assert_eq!(
            (synchronized(bare.path()), governor(bare.path()), steal(bare.path())),
            (None, None, None)
        );
        let poor = root_with(&[
            ("run/systemd/timesync/other", ""),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("proc/stat", "cpu  5000 0 4000 90000 0 0 0 1000 0 0\n"),
        ]);
        let checks = [synchronized(poor.path()), governor(poor.path()), steal(poor.path())];
        assert!(checks[..2].iter().flatten().all(|c| c.verdict == Verdict::Warning), "{checks:?}");
        assert_eq!(
            checks[2],
            Some(Check::good("CPU taken by other guests of the host", "1.0% since the boot"))
        );
        let robbed = root_with(&[("proc/stat", "cpu  5000 0 4000 90000 0 0 0 9000 0 0\n")]);
        assert_eq!(steal(robbed.path()).map(|c| c.verdict), Some(Verdict::Warning));
    }

    #[test]
    fn a_unit_that_was_changed_is_told_of_and_comments_do_not_matter() {
        assert_eq!(unit(root_with(&[]).path()), None);
        let same = format!("# mine\n\n{UNIT}");
        let root = root_with(&[("usr/lib/systemd/system/callspool.service", same.as_str())]);
        assert_eq!(unit(root.path()).map(|c| c.verdict), Some(Verdict::Good));
        let other = root_with(&[
            ("usr/lib/systemd/system/callspool.service", UNIT),
            ("etc/systemd/system/callspool.service", "[Service]\nExecStart=/x\n"),
        ]);
        assert_eq!(unit(other.path()).map(|c| c.verdict), Some(Verdict::Warning));
    }
}
