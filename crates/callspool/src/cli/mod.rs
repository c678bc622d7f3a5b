//! The command line: reads it, loads the configuration, does what was asked, ends with an exit code.
//!
//! Each command is a file. Results go to standard output, everything else to standard error; an error is one
//! line that says what, why, and what to do. Commands that read recordings read the files, which are the
//! truth; only `ls` asks the catalog.

mod across;
mod alarms;
pub(crate) mod args;
mod backup;
mod cert;
mod doctor;
mod error;
mod export;
mod gather;
mod generate;
mod keys;
mod listen;
mod ls;
mod operate;
mod progress;
mod reindex;
mod show;
mod sides;
mod states;
mod table;
mod text;
mod trunks;
pub(crate) mod values;
mod verify;
mod volumes;

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser;
use clap::error::ErrorKind;
use faults::{Operation, before};

pub(crate) use error::{CliError, Outcome, file_error};

use crate::catalog;
use crate::config::{self, Config, Loaded, Surroundings};
use crate::control::Ask;
use crate::patience::{ANSWER, within};
use crate::repository::{Place, Repository};
use crate::volumes::identity::{self, Memory};
use args::{CheckConfigArgs, Cli, Command};

/// Everything from the command line to the exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    match run(cli) {
        Ok(Outcome::Ok) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            if !error.is_silent() {
                eprintln!("{error}");
            }
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<Outcome, CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match cli.command {
        Command::States(args) => states::run(&args, &mut out),
        Command::Cert(args) => cert::run(&args, &mut out),
        // The test caller has no configuration: everything is said on its command line.
        Command::Call(args) => {
            drop(out);
            return crate::caller::run(*args);
        }
        Command::Bench(args) => {
            drop(out);
            return crate::bench::run(&args, || Ok(load(&cli.config)?.config));
        }
        Command::Serve => {
            drop(out);
            crate::arenas::limit();
            let loaded = load(&cli.config)?;
            let log = crate::logging::start(&loaded.config.log)?;
            return crate::serve::run(loaded, cli.config, log).map(|()| Outcome::Ok);
        }
        Command::Status(args) => operate::ask(&load(&cli.config)?.config, Ask::Status, &args, &mut out),
        Command::Reload(args) => operate::ask(&load(&cli.config)?.config, Ask::Reload, &args, &mut out),
        Command::Drain(args) => operate::drain(&load(&cli.config)?.config, &args, &mut out),
        Command::Stop(args) => operate::stop(&load(&cli.config)?.config, &args, &mut out),
        Command::Start(args) => operate::start(&load(&cli.config)?.config, &args, &mut out),
        Command::Pause(args) => operate::pause(&load(&cli.config)?.config, &args, &mut out),
        Command::Resume(args) => operate::resume(&load(&cli.config)?.config, &args, &mut out),
        Command::Keys(args) => keys::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Sides(args) => sides::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Join(args) => operate::join(&load(&cli.config)?.config, &args, &mut out),
        Command::Gather(args) => gather::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Generate(args) => generate::run(&args),
        Command::Backup(args) => backup::back_up(&load(&cli.config)?, &args, &mut out),
        Command::Restore(args) => backup::put_back(&load(&cli.config)?.config, &args, &mut out),
        Command::CheckConfig(args) => check_config(&load(&cli.config)?, &args, &mut out),
        Command::Doctor(args) => doctor::run(&load(&cli.config)?, &args, &mut out),
        Command::Trunks(args) => trunks::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Volumes(args) => volumes::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Ls(args) => ls::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Alarms(args) => alarms::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Show(args) => show::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Export(args) => export::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Listen(args) => {
            drop(out);
            return listen::run(&load(&cli.config)?.config, &args);
        }
        Command::Verify(args) => verify::run(&load(&cli.config)?.config, &args, &mut out),
        Command::Reindex(args) => reindex::run(&load(&cli.config)?.config, &args, &mut out),
    };
    let flushed = out.flush().map_err(CliError::output);
    outcome.and_then(|outcome| flushed.map(|()| outcome))
}

/// Loads the configuration.
fn load(named: &Option<std::path::PathBuf>) -> Result<Loaded, CliError> {
    config::load(named.as_deref(), &Surroundings::of_process()).map_err(CliError::of_problems)
}

fn check_config(loaded: &Loaded, args: &CheckConfigArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    crate::users::load(&loaded.config).map_err(CliError::of_problems)?;
    crate::webhook::load(&loaded.config).map_err(CliError::of_problems)?;
    let text = match (args.json, args.reference) {
        (true, _) => format!("{}\n", config::print::effective_json(loaded)),
        (_, true) => config::print::reference_markdown(),
        _ => config::print::effective_toml(loaded),
    };
    out.write_all(text.as_bytes()).map_err(CliError::output)?;
    Ok(Outcome::Ok)
}

/// Help and version are printed as they are; what was wrong is told in one line.
fn not_understood(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let printed = error.print();
        return if asked && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let text = error.render().to_string();
    let told = |line: &&str| !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more");
    let (tips, why): (Vec<&str>, Vec<&str>) =
        text.lines().map(str::trim).filter(told).partition(|line| line.starts_with("tip: "));
    let why = why.join(" ");
    let tip = tips.first().and_then(|t| t.strip_prefix("tip: ")).unwrap_or("see `callspool --help`");
    let error = CliError::usage("the command line", why.strip_prefix("error: ").unwrap_or(&why), tip);
    eprintln!("{error}");
    error.exit_code()
}

/// The recordings on all volumes, if there are some yet. A volume that is not there is told of and left out.
fn repository(config: &Config) -> Result<Repository, CliError> {
    let known = Memory::new(&config.node.data_dir).read().unwrap_or_default();
    let (mut places, mut problem) = (Vec::new(), None);
    for spec in crate::volumes::declared(config) {
        let root = spec.path.display();
        let place = Place::new(spec.name.clone(), &spec.path);
        let (path, known) = (spec.path.clone(), known.get(&spec.name).map(|known| known.id.clone()));
        let is_it = within(ANSWER, move || is_volume(&path, known.as_ref()));
        if let Err(e) = is_it.unwrap_or_else(|| Err(io::Error::other("it does not answer"))) {
            place.away.store(true, Ordering::Relaxed);
            if !spec.name.is_default() {
                eprintln!("callspool: volume {} is left out: {root}: {e}", spec.name);
            }
            problem.get_or_insert(match e.kind() {
                io::ErrorKind::NotFound => CliError::failed(
                    format!("there are no recordings in {root}"),
                    "there is no such directory",
                    "start `callspool serve`, or name the configuration that it uses with --config",
                ),
                _ => file_error(format!("cannot read the repository {root}"), &e),
            });
        }
        places.push(place);
    }
    let repository = Repository::of(places);
    match problem {
        Some(problem) if repository.is_away() => Err(problem),
        _ => Ok(repository),
    }
}

/// Whether the volume that is known is in its place.
fn is_volume(path: &Path, known: Option<&identity::VolumeId>) -> io::Result<()> {
    before(Operation::List, path).and_then(|_| std::fs::read_dir(path))?;
    let Some(known) = known else { return Ok(()) };
    match identity::read(path)? {
        Some(found) if found == *known => Ok(()),
        Some(_) => Err(io::Error::other("another volume is there")),
        None => Err(io::Error::other("nothing says that it is there: is its disk mounted?")),
    }
}

/// Where the catalog is. Fails when there is none to ask, or its disk does not say.
fn expect_catalog(config: &Config) -> Result<store::Place, CliError> {
    let place = catalog::place(config)?;
    let store::Place::File(path) = &place else { return Ok(place) };
    let what = format!("cannot read the catalog {}", path.display());
    let looked = path.clone();
    match within(ANSWER, move || looked.exists()) {
        Some(true) => Ok(place),
        Some(false) => {
            let todo = "start `callspool serve`, or make it from the recordings with `callspool reindex`";
            Err(CliError::failed(what, "there is none yet", todo))
        }
        None => Err(CliError::failed(what, "its disk does not answer", "look after its disk, or its server")),
    }
}

/// Runs a future to its end, for commands that ask the catalog.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|e| CliError::failed("cannot start", e, "check the limits of this user (ulimit -a)"))?;
    let done = runtime.block_on(future);
    // What hangs with its disk is left behind.
    runtime.shutdown_background();
    Ok(done)
}
