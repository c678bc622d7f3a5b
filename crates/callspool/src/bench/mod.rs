//! `callspool bench`: how much a machine takes. It places calls at a callspool, raises their number until a limit is
//! crossed, and says which and where.
//!
//! ```text
//!  Ramp: which load next ──► Run: makes it, measures ──► Step: crossed a line? ──► rows, JSON, picture
//!                              │ Client, Senders              ▲
//!                              ▼                              │ /metrics
//!                             Node: one of our own, or one that runs
//! ```
//!
//! A callspool of its own is started in a new directory, with nothing of the machine's configuration. One that runs
//! is measured only when it is named, and when it has recorded calls of others, only when that is said to be
//! wanted. Nobody else is sent anything. Whatever happens, its calls are hung up.

mod figures;
mod machine;
mod node;
mod picture;
mod ramp;
mod report;
mod run;
mod step;
mod traffic;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use faults::{Operation, before};
use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::args::{BenchArgs, BenchOnly};
use crate::cli::{CliError, Outcome, file_error};
use crate::config::Config;
use node::{Node, Whose};
use ramp::Ramp;
use report::{About, Series};
use run::{Plan, Run};
use step::{Limits, What};
use traffic::Kind;
pub(crate) use traffic::Protection;

/// What a shell gives a process that an interrupt ended.
const INTERRUPTED: i32 = 130;
/// Threads that send, at most: each fills a processor at some 200,000 packets a second.
const SENDERS_MAX: usize = 16;

/// Measures, and writes what was found. `config` is read when a callspool that runs is to be measured.
pub(crate) fn run(
    args: &BenchArgs,
    config: impl FnOnce() -> Result<Config, CliError>,
) -> Result<Outcome, CliError> {
    check_outputs(args)?;
    crate::descriptors::raise_limit();
    let interrupted = watch_for_interrupts()?;
    let mut out = io::stdout();
    let limits = Limits {
        loss: args.max_loss,
        setup_ms: args.max_setup.as_secs_f64() * 1e3,
        delay_ms: args.max_delay.as_secs_f64() * 1e3,
    };
    let config = match &args.to {
        Some(_) => Some(config()?),
        None => None,
    };
    let open = || match (&args.to, &config) {
        (Some(uri), Some(config)) => Node::other(uri, args, config),
        _ => Node::own(args),
    };
    let load_before = machine::load();
    let (mut about, mut found, mut failure) = (None, Vec::new(), None);
    for what in wanted(args.only) {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        // A fresh one for each, so that nothing of the one stands in the figures of the other.
        let node = open()?;
        if about.is_none() {
            let circumstances = circumstances(args, &node, limits, load_before);
            report::begin(&mut out, &circumstances).map_err(CliError::output)?;
            about = Some(circumstances);
        }
        let (series, ended) = raise(what, args, &node, &limits, &interrupted, &mut out)?;
        report::end(&mut out, &series, &limits).map_err(CliError::output)?;
        found.push(series);
        if ended.is_some() {
            failure = ended;
            break;
        }
    }
    let Some(about) = about else { return Ok(Outcome::Failed) };
    write_outputs(args, &about, &found)?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let is_whole = !interrupted.load(Ordering::Relaxed) && found.iter().all(|s| s.most.is_some());
    Ok(if is_whole { Outcome::Ok } else { Outcome::Failed })
}

fn wanted(only: Option<BenchOnly>) -> Vec<What> {
    match only {
        Some(BenchOnly::Calls) => vec![What::Calls],
        Some(BenchOnly::Rate) => vec![What::Rate],
        None => vec![What::Calls, What::Rate],
    }
}

/// Raises one thing until a line is crossed.
fn raise(
    what: What,
    args: &BenchArgs,
    node: &Node,
    limits: &Limits,
    interrupted: &Arc<AtomicBool>,
    out: &mut dyn Write,
) -> Result<(Series, Option<CliError>), CliError> {
    let plan = Plan {
        kind: kind(args),
        protection: args.srtp.clone(),
        length: args.step,
        set_up_rate: args.set_up_rate,
        senders: args.senders.map_or_else(|| usual_senders(node), usize::from),
    };
    let mut run = Run::begin(node, &plan, interrupted)?;
    if matches!(node.whose, Whose::Other) {
        run.prove()?;
    }
    let mut ramp = match what {
        What::Calls => Ramp::new(args.calls_from, args.calls_most),
        What::Rate => Ramp::new(args.rate_from, args.rate_most),
    };
    let (mut steps, mut failure) = (Vec::new(), None);
    report::head(out, what).map_err(CliError::output)?;
    while let Some(load) = ramp.next() {
        if let (Whose::Own(own), What::Calls) = (&node.whose, what)
            && !own.has_room(will_write(load, &plan))
        {
            let why = format!("the disk has no room for {load} calls");
            failure = Some(CliError::failed("ended", why, "name a directory on a larger one by --dir"));
            break;
        }
        let progress = spinner(what, load);
        let step = match what {
            What::Calls => run.calls(load),
            What::Rate => run.rate(load),
        };
        progress.finish_and_clear();
        let step = match step {
            Ok(step) => step,
            Err(e) => {
                failure = Some(e);
                break;
            }
        };
        // What was not measured to its end says nothing.
        if run.is_interrupted() {
            break;
        }
        report::row(out, what, &step, limits).map_err(CliError::output)?;
        ramp.took(load, step.held(what, limits));
        steps.push(step);
    }
    let was_interrupted = run.is_interrupted();
    let progress = message("hanging up, and waiting until all is sealed".to_owned());
    let accounts = run.end();
    progress.finish_and_clear();
    // What was measured is told, whatever became of the rest.
    let accounts = match accounts {
        Ok(accounts) => (what == What::Calls && !node.is_mixed()).then_some(accounts),
        Err(e) => {
            failure.get_or_insert(e);
            None
        }
    };
    let ended = failure.as_ref().map(ToString::to_string);
    let series = Series { what, steps, most: ramp.most(), accounts, was_interrupted, ended };
    Ok((series, failure))
}

/// Octets that a load writes, generously: 300 for each packet, blocks and manifests included.
fn will_write(load: usize, plan: &Plan) -> u64 {
    let seconds = plan.length.as_secs_f64() + load as f64 / plan.set_up_rate + 2.0;
    let octets = load as f64 * 100.0 * 300.0 * seconds;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "far below 2^53, and not negative"
    )]
    let octets = octets as u64;
    octets
}

fn kind(args: &BenchArgs) -> Kind {
    if args.plain { Kind::Plain } else { Kind::Siprec { metadata: usize::from(args.metadata) } }
}

/// One for each processor that the traffic has.
fn usual_senders(node: &Node) -> usize {
    let cores = match &node.whose {
        Whose::Own(own) => own.cores.for_traffic(),
        Whose::Other => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // Signalling has a thread of its own.
    (cores / 2).clamp(1, SENDERS_MAX)
}

fn circumstances(args: &BenchArgs, node: &Node, limits: Limits, load_before: f64) -> About {
    let (disk, cores) = match &node.whose {
        Whose::Own(own) => (Some(own.disk()), Some(own.cores.own.len()).filter(|n| *n > 0)),
        Whose::Other => (None, None),
    };
    let mut kind = match kind(args) {
        Kind::Plain => "plain calls, one stream of G.711 each".to_owned(),
        Kind::Siprec { metadata } => {
            format!("SIPREC calls, two streams of G.711 each, metadata of {metadata} octets")
        }
    };
    if let Some(by) = &args.srtp {
        kind = format!("{kind}, protected by {}", by.name());
    }
    About {
        at: crate::clock::wall(),
        version: node.version().to_owned(),
        target: node.sip().to_string(),
        machine: machine::describe(),
        load_before,
        disk,
        cores,
        kind,
        limits,
        settings: args.set.clone(),
    }
}

fn spinner(what: What, load: usize) -> ProgressBar {
    message(match what {
        What::Calls => format!("{load} calls at a time"),
        What::Rate => format!("{load} new calls per second"),
    })
}

/// Where nobody watches there is none: the rows tell how far it is.
fn message(text: String) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(text);
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

/// Told before minutes are spent.
fn check_outputs(args: &BenchArgs) -> Result<(), CliError> {
    if let Some(picture) = &args.picture
        && picture.extension().is_none_or(|e| e != "svg")
    {
        let what = format!("cannot draw {}", picture.display());
        return Err(CliError::usage(what, "pictures are SVG", "name a file that ends in .svg"));
    }
    if args.json.is_some() && args.json == args.picture {
        return Err(CliError::usage("cannot write", "--json and --picture are one file", "name two"));
    }
    for path in [&args.json, &args.picture].into_iter().flatten() {
        // What is in it stays until there is something new.
        let open = |_| std::fs::OpenOptions::new().append(true).create(true).open(path);
        let opened = before(Operation::Output, path).and_then(open);
        opened.map_err(|e| file_error(format!("cannot write {}", path.display()), &e))?;
    }
    Ok(())
}

fn write_outputs(args: &BenchArgs, about: &About, found: &[Series]) -> Result<(), CliError> {
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", report::to_json(about, found)))?;
    }
    if let Some(path) = &args.picture {
        let svg = picture::svg(about, found)
            .map_err(|e| CliError::failed(format!("cannot draw {}", path.display()), e, "report this"))?;
        write(path, &svg)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let written = before(Operation::Output, path).and_then(|_| std::fs::write(path, text));
    written.map_err(|e| file_error(format!("cannot write {}", path.display()), &e))
}

/// Ctrl-C, or a service manager: ends the measurement at the next occasion; what was found is written.
fn watch_for_interrupts() -> Result<Arc<AtomicBool>, CliError> {
    let failed = |e: io::Error| CliError::failed("cannot measure", e, "check ulimit -u");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    // Its terminal was closed.
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    drop(guard);
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let wait = move || {
        let mut wait = || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
            });
        };
        wait();
        set.store(true, Ordering::Relaxed);
        let mut err = io::stderr();
        let _ = writeln!(err, "callspool: ending the measurement; calls are hung up first");
        // Who does not want to wait for that leaves a directory behind; the kernel stops what was started.
        wait();
        std::process::exit(INTERRUPTED);
    };
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(wait).map_err(failed)?;
    Ok(flag)
}
