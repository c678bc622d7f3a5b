//! A day at work in small, for as long as one likes: whether anything grows that should not.
//!
//! ```text
//!  cargo bench -p callspool --bench soak -- [--seconds 3600] [--calls 1 | --calls-at-once 700 | --load 70%]
//!                                           [--dir DIRECTORY] [--set KEY=VALUE] [--out DIRECTORY]
//!
//!  callspool serve ◄── few calls at a steady rate (plain, SIPREC, held, broken off), or many at a time which come and go
//!        ▲         ◄── the page: lists, metrics, orders, exports, pictures, eight listeners to events, clients that leave
//!        │
//!  each 5 s: memory, descriptors, threads, INVITE to 200, kernel to buffer, how long the page takes ──► CSV
//! ```
//!
//! At the end the last quarter is held against the second one ([`verdict`]); the first quarter is for warming up. Of many
//! calls, what was sent is held against what came and what the accounts of the recordings have ([`loss`]). Ctrl-C ends
//! it earlier: calls are hung up, and it is judged as far as it has come.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod capacity;
mod crowd;
mod interrupts;
mod loss;
mod node;
mod options;
mod page;
mod room;
mod sample;
mod verdict;
// What `callspool bench` measures by: the same calls, the same packets, the same division of the processors.
#[path = "../../src/bench/figures.rs"]
#[allow(dead_code, unused_imports)]
mod figures;
#[path = "../../src/bench/machine.rs"]
#[allow(dead_code, unused_imports)]
mod machine;
#[path = "../../src/bench/traffic/mod.rs"]
#[allow(dead_code, unused_imports)]
mod traffic;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use calls::Calls;
use crowd::Crowd;
use loss::Loss;
use node::Node;
use options::{Callers, Load, Options};
use page::Page;
use room::Room;
use sample::{Sample, Sampler};

/// What can go wrong is told to the person who measures, and ends the run.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the samples are written to, where it was said.
const TABLE: &str = "soak.csv";
/// Between two samples.
const EACH: Duration = Duration::from_secs(5);
/// How soon it is noticed that it is to end.
const NOTICE: Duration = Duration::from_millis(200);
/// Fewer samples than these in a quarter say nothing.
const SAMPLES_MIN: usize = 4 * 4;

fn main() -> ExitCode {
    match Options::read().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("soak: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs for as long as was asked; whether nothing grew and nothing was lost.
fn run(options: &Options) -> Result<bool, Failure> {
    std::fs::create_dir_all(&options.out)?;
    println!("load before: {}", load());
    let interrupted = interrupts::watch()?;
    let callers = callers(options)?;
    println!("{callers}");
    let node = Node::start(options, callers)?;
    let begun = Instant::now();
    let soaked = soak(options, callers, &node, &interrupted)?;
    let length = begun.elapsed();
    let told = node.stop()?;
    let mut summary = format!("{} s, {callers}\n{soaked}{told}\nload: {}\n", length.as_secs(), load());
    let is_flat = if soaked.samples.len() < SAMPLES_MIN {
        summary.push_str("too short to say whether anything grows: 80 s at least\n");
        true
    } else {
        let verdict = verdict::of(&soaked.samples);
        summary.push_str(&verdict.to_string());
        verdict.is_flat()
    };
    summary.push_str(match (is_flat, soaked.is_well()) {
        (true, true) => "FLAT\n",
        (false, _) => "NOT FLAT\n",
        (true, false) => "FLAT, BUT NOT ALL WENT WELL\n",
    });
    print!("{summary}");
    std::fs::write(options.out.join("soak.txt"), &summary)?;
    println!("each sample is in {}", options.out.join(TABLE).display());
    Ok(is_flat && soaked.is_well())
}

/// Who calls, after it was found out how many that are, if it was to be.
fn callers(options: &Options) -> Result<Callers, Failure> {
    let at_once = match options.load {
        Load::Few { per_second } => return Ok(Callers::Few { per_second }),
        Load::Many { at_once } => at_once,
        Load::Share { of_capacity } => capacity::share(options, of_capacity)?,
    };
    let needed = room::needed(at_once);
    match machine::room(&options.dir) {
        Some((free, _)) if free < needed => {
            let why = format!("{at_once} calls at a time need up to {} MiB of disk", needed >> 20);
            Err(format!("{why}; name a directory on a larger one by --dir").into())
        }
        _ => Ok(Callers::Many { at_once }),
    }
}

/// What there was.
struct Soaked {
    calls: Calls,
    page: Page,
    samples: Vec<Sample>,
    /// Of many calls: what was lost, and what was emptied to make room.
    many: Option<(Loss, Room)>,
}

fn soak(
    options: &Options,
    callers: Callers,
    node: &Node,
    interrupted: &AtomicBool,
) -> Result<Soaked, Failure> {
    let (calls, page, stop) = (Calls::default(), Page::of(node)?, AtomicBool::new(false));
    let (crowd, room) = (Crowd::default(), Room::default());
    let before = node.figures()?;
    let mut sampler = Sampler { node, calls: &calls, page: &page, crowd: &crowd, last: before.clone() };
    let is_many = matches!(callers, Callers::Many { .. });
    let (samples, silent) = std::thread::scope(|scope| {
        let calling = scope.spawn(|| match callers {
            Callers::Few { per_second } => {
                calls.go_on(node, per_second, &stop);
                node.figures()
            }
            Callers::Many { at_once } => crowd.go_on(at_once, node, &calls, &stop),
        });
        let emptying = is_many.then(|| scope.spawn(|| room.go_on(node.directory(), &stop)));
        page.go_on(scope, &stop);
        // Who ends before being told to has failed.
        let is_over = || {
            let has_failed = calling.is_finished() || emptying.as_ref().is_some_and(|e| e.is_finished());
            has_failed || interrupted.load(Ordering::Relaxed)
        };
        let sampled = sample(options, &mut sampler, is_over);
        stop.store(true, Ordering::Relaxed);
        let silent = calling.join().map_err(|_| "the caller panicked")?;
        emptying.map_or(Ok(Ok(())), |e| e.join()).map_err(|_| "what empties recordings panicked")??;
        // That callspool is gone is why calls fail, not the other way round.
        Ok::<_, Failure>((sampled?, silent?))
    })?;
    let many = if is_many {
        Some((Loss::of(crowd.sent(), &before, &silent, &node.figures_when_sealed()?), room))
    } else {
        None
    };
    Ok(Soaked { calls, page, samples, many })
}

/// Takes samples until the time is over, or it is over otherwise.
fn sample(
    options: &Options,
    sampler: &mut Sampler<'_>,
    is_over: impl Fn() -> bool,
) -> Result<Vec<Sample>, Failure> {
    let mut table = std::fs::File::create(options.out.join(TABLE))?;
    writeln!(table, "{}", Sample::HEAD)?;
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < options.length && !is_over() {
        let next = (begun.elapsed() + EACH).min(options.length);
        while begun.elapsed() < next && !is_over() {
            std::thread::sleep(NOTICE.min(next.saturating_sub(begun.elapsed())));
        }
        let sample = sampler.take(begun.elapsed())?;
        writeln!(table, "{sample}")?;
        samples.push(sample);
    }
    Ok(samples)
}

impl Soaked {
    fn is_well(&self) -> bool {
        self.calls.is_well()
            && self.page.is_well()
            && self.many.as_ref().is_none_or(|(loss, _)| loss.is_none())
    }
}

impl fmt::Display for Soaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.calls, self.page)?;
        if let Some((loss, room)) = &self.many {
            writeln!(f, "{loss}\n{room}")?;
        }
        Ok(())
    }
}

/// What the machine does beside.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
