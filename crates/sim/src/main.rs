//! `./dev sim`: lives many lives, tells how far it is, and of the first that goes wrong how to live it again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sim::{Lines, Outcome, Wrong, live};

/// What is asked for.
struct Asked {
    from: u64,
    seeds: u64,
    lines: Lines,
    /// A known wrong that is planted, to see how often it is found.
    wrong: Option<Wrong>,
}

/// What came of all lives so far.
#[derive(Default)]
struct Sums {
    steps: u64,
    faults: BTreeMap<&'static str, u64>,
    calls: BTreeMap<String, u64>,
    /// The seeds that went wrong, each with what did not hold.
    wrong: BTreeMap<u64, String>,
}

/// Seeds that go wrong, at most: after that it is known that something is.
const WRONG_MAX: usize = 20;
/// How often it says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match asked(std::env::args().skip(1)) {
        Ok(asked) if asked.lines == Lines::Kept => show(&asked),
        Ok(asked) => run(&asked),
        Err(why) => {
            say(&format!("{why}: ./dev sim --seeds N [--from S] [--log] [--wrong NAME]"));
            ExitCode::from(2)
        }
    }
}

/// The known wrong of this name.
fn known_wrong(name: Option<String>) -> Result<Wrong, String> {
    let known = Wrong::ALL.into_iter().find(|wrong| Some(format!("{wrong:?}")) == name);
    known.ok_or_else(|| format!("'--wrong' wants one of {:?}", Wrong::ALL))
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { from: 0, seeds: 1_000, lines: Lines::Dropped, wrong: None };
    while let Some(word) = words.next() {
        let mut number = || {
            let next = words.next().and_then(|n| n.parse().ok());
            next.ok_or_else(|| format!("'{word}' wants a number"))
        };
        match word.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--log" => asked.lines = Lines::Kept,
            "--wrong" => asked.wrong = Some(known_wrong(words.next())?),
            _ => return Err(format!("unknown option '{word}'")),
        }
    }
    Ok(asked)
}

/// Lives each with its log.
fn show(asked: &Asked) -> ExitCode {
    let mut is_well = true;
    for seed in asked.from..asked.from.saturating_add(asked.seeds) {
        let outcome = live(seed, Lines::Kept, asked.wrong);
        outcome.lines.iter().for_each(|line| say(line));
        say(&format!("seed {seed}: {} steps, {:?}", outcome.steps, outcome.calls));
        if let Some(what) = outcome.violation {
            say(&format!("seed {seed}: {what}"));
            is_well = false;
        }
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(asked: &Asked) -> ExitCode {
    if live(asked.from, Lines::Kept, None) != live(asked.from, Lines::Kept, None) {
        say(&format!("seed {} lived twice is not the same life: nothing can be said by seeds", asked.from));
        return ExitCode::FAILURE;
    }
    let until = asked.from.saturating_add(asked.seeds);
    let (next, sums) = (AtomicU64::new(asked.from), Mutex::new(Sums::default()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for first in [true].into_iter().chain(std::iter::repeat(false)).take(threads) {
            let (next, sums) = (&next, &sums);
            scope.spawn(move || work(asked, next, until, sums, first.then_some(begun)));
        }
    });
    tell(asked, begun, &sums.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Lives one seed after the other; one of those who do says how far all are.
fn work(asked: &Asked, next: &AtomicU64, until: u64, sums: &Mutex<Sums>, teller: Option<Instant>) {
    let mut told = Instant::now();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= until {
            return;
        }
        let outcome = live(seed, Lines::Dropped, asked.wrong);
        let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.add(seed, outcome);
        if sums.wrong.len() >= WRONG_MAX {
            return;
        }
        if let Some(begun) = teller.filter(|_| told.elapsed() >= TOLD_EVERY) {
            told = Instant::now();
            let (done, wrong) = (seed - asked.from + 1, sums.wrong.len());
            let rate = done.checked_div(begun.elapsed().as_secs()).unwrap_or(0);
            say(&format!(
                "{done} of {} seeds, {rate} a second, {} steps, {wrong} wrong",
                asked.seeds, sums.steps
            ));
        }
    }
}

impl Sums {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.steps += outcome.steps;
        outcome.faults.into_iter().for_each(|(kind, n)| *self.faults.entry(kind).or_default() += n);
        outcome.calls.into_iter().for_each(|(state, n)| *self.calls.entry(state).or_default() += n);
        if let Some(what) = outcome.violation {
            say(&format!("seed {seed}: {what}"));
            self.wrong.insert(seed, what);
        }
    }
}

fn tell(asked: &Asked, begun: Instant, sums: &Sums) -> ExitCode {
    say(&format!(
        "{} seeds from {}, {} steps in {} s",
        asked.seeds,
        asked.from,
        sums.steps,
        begun.elapsed().as_secs()
    ));
    say("faults:");
    sums.faults.iter().for_each(|(kind, n)| say(&format!("  {n:>9} {kind}")));
    say("calls:");
    sums.calls.iter().for_each(|(state, n)| say(&format!("  {n:>9} {state}")));
    let Some((seed, _)) = sums.wrong.first_key_value() else {
        say("everything held");
        return ExitCode::SUCCESS;
    };
    say(&format!(
        "{} seeds went wrong; the first again: ./dev sim --from {seed} --seeds 1 --log",
        sums.wrong.len()
    ));
    ExitCode::FAILURE
}

/// To standard output; a reader that is gone is no failure.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
