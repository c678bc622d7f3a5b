//! Counts instructions by valgrind.

use std::process::{Command, Stdio};
use std::thread;

use crate::{PATHS, Path};

/// What a round of a path takes, for those that are wanted, in the order of the list.
pub(crate) fn count(wanted: impl Fn(&Path) -> bool + Sync) -> Vec<(&'static Path, u64)> {
    let wanted: Vec<&Path> = PATHS.iter().filter(|p| wanted(p)).collect();
    // Two walks at a time, of one path: what others do at the same time changes no count.
    wanted.into_iter().map(|path| (path, of_round(path))).collect()
}

fn of_round(path: &Path) -> u64 {
    let (few, many) = path.rounds;
    let (short, long) = thread::scope(|scope| {
        let short = scope.spawn(|| of_walk(path, few));
        (of_walk(path, many), short.join().expect("a walk"))
    });
    // The order of the pair does not matter, which of them is longer does.
    let (short, long) = (short.min(long), short.max(long));
    (long - short) / u64::try_from(many - few).expect("a small number")
}

/// Instructions of the whole program.
fn of_walk(path: &Path, rounds: usize) -> u64 {
    let itself = std::env::current_exe().expect("the path of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(itself)
        .args(["run", path.name, &rounds.to_string()])
        // The environment lies on the stack: a longer one would move everything.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .expect("valgrind, which Debian has as a package");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed under valgrind:\n{said}", path.name);
    // "==42== Collected : 123456"
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("valgrind says no count of {}:\n{said}", path.name))
}

/// Whether code that is chosen by the processor is chosen here as where the counts were taken.
pub(crate) fn has_avx2() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().any(|l| l.starts_with("flags") && l.split_whitespace().any(|flag| flag == "avx2"))
}

/// The compiler's version without its last number: another one makes other code.
pub(crate) fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let said = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let version = said.split_whitespace().nth(1).unwrap_or("unknown");
    version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned()
}
