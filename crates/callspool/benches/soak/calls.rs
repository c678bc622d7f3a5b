//! What became of calls; and calls at a steady rate, by the built-in caller: a batch each ten seconds, of a kind that
//! changes from one to the next.

use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::node::{Node, SIP};

/// Between two batches.
const BATCH: Duration = Duration::from_secs(10);
/// How long a batch may take: its own ten seconds, its last call, and some patience.
const BATCH_MAX: Duration = Duration::from_secs(90);

/// Kinds of batches, in turn.
const KINDS: [&[&str]; 4] = [
    &["--duration", "15s"],
    &["--siprec", "--duration", "15s", "--hold", "2s@4s"],
    &["--siprec", "--duration", "20s", "--loss", "1%"],
    &["--siprec", "--duration", "5s", "--vanish"],
];

/// What became of them.
#[derive(Default)]
pub(crate) struct Calls {
    made: AtomicU64,
    answered: AtomicU64,
    wrong: AtomicU64,
    /// Milliseconds from INVITE to 200, since somebody looked.
    setups: Mutex<Vec<f64>>,
}

impl Calls {
    /// Makes calls until told to stop, then waits for those that go on.
    pub(crate) fn go_on(&self, node: &Node, per_second: u32, stop: &AtomicBool) {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for (number, kind) in (0_u32..).zip(KINDS.iter().cycle()) {
                while begun.elapsed() < BATCH * number && !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                scope.spawn(move || self.batch(node, per_second, kind, stop));
            }
        });
    }

    fn batch(&self, node: &Node, per_second: u32, kind: &[&str], stop: &AtomicBool) {
        let count = u64::from(per_second) * BATCH.as_secs();
        let mut command = node.command();
        command.args(["call", "--json", "--to", &format!("sip:soak@{SIP}")]);
        command.args(["--calls", &count.to_string(), "--rate", &format!("{per_second}/s")]).args(kind);
        self.made.fetch_add(count, Ordering::Relaxed);
        let Ok(child) = command.stdout(Stdio::piped()).spawn() else {
            self.wrong.fetch_add(count, Ordering::Relaxed);
            return;
        };
        let told = finish(child, stop);
        let reports: Vec<serde_json::Value> =
            told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let reports = reports.iter().filter(|report| report["sip_call_id"].is_string());
        for report in reports {
            if let Some(setup) = report["setup_ms"].as_f64() {
                self.answered(Some(setup));
            } else if !stop.load(Ordering::Relaxed) {
                self.failed();
            }
        }
    }

    /// A call begins.
    pub(crate) fn begun(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// One was answered, after so many milliseconds.
    pub(crate) fn answered(&self, setup_ms: Option<f64>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.setups.lock().unwrap().extend(setup_ms);
    }

    /// One was refused, or not answered at all.
    pub(crate) fn failed(&self) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that were made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Milliseconds from INVITE to 200 of calls that ended since the last time.
    pub(crate) fn take_setups(&self) -> Vec<f64> {
        std::mem::take(&mut *self.setups.lock().unwrap())
    }

    pub(crate) fn is_well(&self) -> bool {
        self.wrong.load(Ordering::Relaxed) == 0 && self.answered.load(Ordering::Relaxed) > 0
    }
}

impl std::fmt::Display for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let (made, answered, wrong) = (of(&self.made), of(&self.answered), of(&self.wrong));
        write!(f, "{made} calls, {answered} answered, {wrong} not")
    }
}

/// What a caller says; it is interrupted when all is over.
fn finish(mut child: Child, stop: &AtomicBool) -> String {
    let out = child.stdout.take();
    let reader = std::thread::spawn(move || out.and_then(|out| std::io::read_to_string(out).ok()));
    let until = Instant::now() + BATCH_MAX;
    let mut told_to_stop = false;
    while child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if stop.load(Ordering::Relaxed) && !told_to_stop {
            told_to_stop = true;
            if let Ok(id) = i32::try_from(child.id()) {
                let _ =
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGINT);
            }
        }
        if Instant::now() > until {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    reader.join().ok().flatten().unwrap_or_default()
}
