//! A day at work in small, for as long as one likes: whether anything grows that should not.
//!
//! ```text
//!  cargo bench -p callspool --bench soak -- [--seconds 3600] [--calls 1] [--out DIRECTORY]
//!
//!  callspool serve ◄── calls at a steady rate (plain, SIPREC, held, broken off), pauses and tags for those that go on
//!        ▲         ◄── the page: lists, metrics, exports, pictures, eight listeners to events, clients that leave
//!        │
//!  each 5 s: memory, descriptors, threads, INVITE to 200, how long the page takes ──► CSV
//! ```
//!
//! At the end the last quarter is held against the second one ([`verdict`]); the first quarter is for warming up.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod node;
mod page;
mod sample;
mod verdict;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use calls::Calls;
use node::Node;
use page::Page;
use sample::Sample;

/// What can go wrong is told to the person who measures, and ends the run.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Between two samples.
const EACH: Duration = Duration::from_secs(5);
/// Fewer samples than these in a quarter say nothing.
const SAMPLES_MIN: usize = 4 * 4;

struct Options {
    length: Duration,
    calls_per_second: u32,
    out: PathBuf,
}

impl Options {
    fn read() -> Result<Self, Failure> {
        let mut options = Self {
            length: Duration::from_secs(3_600),
            calls_per_second: 1,
            out: PathBuf::from("target/dev"),
        };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--seconds" => options.length = Duration::from_secs(value()?.parse()?),
                "--calls" => options.calls_per_second = value()?.parse()?,
                "--out" => options.out = PathBuf::from(value()?),
                other => return Err(format!("unknown option '{other}'").into()),
            }
        }
        if options.calls_per_second == 0 {
            return Err("--calls wants a number of calls per second".into());
        }
        Ok(options)
    }
}

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

/// Runs for as long as was asked; whether nothing grew.
fn run(options: &Options) -> Result<bool, Failure> {
    std::fs::create_dir_all(&options.out)?;
    let node = Node::start()?;
    let (calls, page, stop) = (Calls::default(), Page::of(&node)?, AtomicBool::new(false));
    let csv = options.out.join("soak.csv");
    let mut table = std::fs::File::create(&csv)?;
    writeln!(table, "{}", Sample::HEAD)?;
    println!("load before: {}", load());
    let mut samples = Vec::new();
    let begun = Instant::now();
    let sampled: Result<(), Failure> = std::thread::scope(|scope| {
        scope.spawn(|| calls.go_on(&node, options.calls_per_second, &stop));
        page.go_on(scope, &stop);
        let mut sampling = || {
            while begun.elapsed() < options.length {
                std::thread::sleep(EACH.min(options.length.saturating_sub(begun.elapsed())));
                let sample = Sample::take(begun.elapsed(), &node, &calls, &page)?;
                writeln!(table, "{sample}")?;
                samples.push(sample);
            }
            Ok(())
        };
        let sampled = sampling();
        stop.store(true, Ordering::Relaxed);
        sampled
    });
    sampled?;
    let told = node.stop()?;
    let mut summary = format!(
        "{} s, {} new calls a second\n{calls}\n{page}\n{told}\nload: {}\n",
        options.length.as_secs(),
        options.calls_per_second,
        load()
    );
    let is_flat = if samples.len() < SAMPLES_MIN {
        summary.push_str("too short to say whether anything grows: 80 s at least\n");
        true
    } else {
        let verdict = verdict::of(&samples);
        summary.push_str(&verdict.to_string());
        verdict.is_flat()
    };
    let is_well = calls.is_well() && page.is_well();
    summary.push_str(match (is_flat, is_well) {
        (true, true) => "FLAT\n",
        (false, _) => "NOT FLAT\n",
        (true, false) => "FLAT, BUT NOT ALL WENT WELL\n",
    });
    print!("{summary}");
    std::fs::write(options.out.join("soak.txt"), &summary)?;
    println!("each sample is in {}", csv.display());
    Ok(is_flat && is_well)
}

/// What the machine does beside.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
