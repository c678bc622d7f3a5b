//! `callspool reindex`: the catalog made anew from the recordings. The recordings are only read.
//! What only one of two logs tells of a join is left to the next start, as a file of the data directory.
//!
//! Not while a server runs on the repository: it holds the repository's lock and writes the catalog itself.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use faults::{Operation, before};
use model::{CallId, Change, ChangeKind, EventId, IdGenerator, Join, TenantId};
use serde_json::json;
use store::{Catalog, CatalogError, OpenError, Place};

use super::args::ReindexArgs;
use super::ls::cure;
use super::{CliError, Outcome, block_on, file_error, progress, text};
use crate::catalog;
use crate::config::Config;
use crate::pending::Pending;
use crate::reindex::{changes_of, leave_to_others};
use crate::repository::Repository;

/// Changes in one transaction: large enough to be fast, small enough for memory.
const BATCH: usize = 512;

/// What becomes of calls in the catalog that have no recordings here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unfounded {
    /// They are forgotten: the files are the truth.
    Forget,
    /// They stay: they were put back just now, and their recordings may follow.
    Keep,
}

/// What was found.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) calls: u64,
    pub(super) segments: u64,
    forgotten: u64,
    pub(super) problems: u64,
    /// Joins that only one of two logs tells of: into which call, from which.
    half_noted: BTreeSet<(CallId, CallId)>,
}

/// Reindexes.
pub(super) fn run(config: &Config, args: &ReindexArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let repository = super::repository(config)?;
    let _lock = repository.lock()?;
    // What is on a volume that is away is not forgotten.
    let unfounded = match repository.away().next() {
        None => Unfounded::Forget,
        Some(_) => Unfounded::Keep,
    };
    let sum = rebuild(config, &repository, unfounded)?;
    conclude(out, &sum, args.json).map_err(CliError::output)?;
    Ok(if sum.problems == 0 { Outcome::Ok } else { Outcome::Failed })
}

/// Tells the catalog what the repository holds. The caller holds the repository's lock.
pub(super) fn rebuild(
    config: &Config,
    repository: &Repository,
    unfounded: Unfounded,
) -> Result<Sum, CliError> {
    let what = format!("cannot read the repository {}", repository.describe());
    let directories: io::Result<Vec<String>> = repository.call_directories().collect();
    let directories = directories.map_err(|e| file_error(what, &e))?;
    block_on(reindex(config, repository, &directories, unfounded))?
}

async fn reindex(
    config: &Config,
    repository: &Repository,
    directories: &[String],
    unfounded: Unfounded,
) -> Result<Sum, CliError> {
    let place = catalog::place(config)?;
    let failed = |e: CatalogError| {
        CliError::failed(
            format!("cannot write the catalog {place}"),
            e,
            "free space, or let this user write it",
        )
    };
    let catalog = open(&place).await?;
    let highest = catalog.highest_id().await.map_err(failed)?;
    let mut told = Told::new(IdGenerator::new(config.node.number, highest));
    let begin = told.next_id();
    let bar = progress::bar(directories.len() as u64, "reindexing");
    let mut sum = Sum::default();
    for directory in directories {
        let found = changes_of(repository, directory);
        let mut found = found.map_err(|e| file_error(format!("cannot read {directory}"), &e))?;
        leave_to_others(&mut found.changes, config.node.number);
        for problem in &found.problems {
            sum.problems += 1;
            bar.suspend(|| eprintln!("callspool: {}; see `callspool verify`", text::clean(problem)));
        }
        leave_to_start(config, &found.half_noted, &mut sum);
        let taken_in: Vec<CallId> = found.changes.iter().filter_map(|(_, kind)| taken_in(kind)).collect();
        for (tenant, kind) in found.changes {
            sum.calls += u64::from(matches!(&kind, ChangeKind::Call(call) if !taken_in.contains(&call.id)));
            sum.segments += u64::from(matches!(kind, ChangeKind::Segment { .. }));
            told.add(tenant, kind);
        }
        if told.batch.len() >= BATCH {
            catalog.apply(&std::mem::take(&mut told.batch)).await.map_err(failed)?;
        }
        bar.inc(1);
    }
    catalog.apply(&told.batch).await.map_err(failed)?;
    // What cannot be read now is not forgotten: it may be readable again.
    if sum.problems == 0 && unfounded == Unfounded::Forget {
        sum.forgotten = catalog.forget_untold_since(begin).await.map_err(failed)?;
    }
    catalog.close().await;
    bar.finish_and_clear();
    Ok(sum)
}

/// Joins that stand in one log only are left to the next start, which writes them into the other: recordings are only
/// read here.
fn leave_to_start(config: &Config, half_noted: &[Join], sum: &mut Sum) {
    let pending = Pending::new(&config.node.data_dir);
    for join in half_noted {
        if sum.half_noted.insert((join.into.call, join.from.call))
            && let Err(e) = pending.note(join)
        {
            let (into, from) = (join.into.call, join.from.call);
            eprintln!("callspool: only one log says that {from} is {into}, and no start will be told: {e}");
        }
    }
}

/// The call that turned out to be another, when a change says that.
fn taken_in(kind: &ChangeKind) -> Option<CallId> {
    match kind {
        ChangeKind::Joined(join) => Some(join.from.call),
        _ => None,
    }
}

/// Changes that wait to be told, with ids that say that they are newer than all that the catalog knows.
struct Told {
    ids: IdGenerator,
    batch: Vec<Change>,
}

impl Told {
    fn new(ids: IdGenerator) -> Self {
        Self { ids, batch: Vec::new() }
    }

    fn next_id(&mut self) -> EventId {
        self.ids.event(crate::clock::now().wall)
    }

    fn add(&mut self, tenant: TenantId, kind: ChangeKind) {
        let at = crate::clock::now().wall;
        let id = self.ids.event(at);
        self.batch.push(Change { id, at, tenant, kind });
    }
}

/// Opens the catalog; a damaged one is set aside first, it holds nothing that files do not say better.
async fn open(place: &Place) -> Result<Catalog, CliError> {
    let what = || format!("cannot open the catalog {place}");
    match (Catalog::open(place).await, place) {
        (Err(OpenError::Damaged { .. }), Place::File(path)) => {
            set_aside(path).map_err(|e| file_error(what(), &e))?;
            eprintln!("callspool: the damaged catalog was moved to {}.damaged", path.display());
            Catalog::open(path).await
        }
        (other, _) => other,
    }
    .map_err(|e| match e {
        OpenError::Version { .. } => {
            CliError::failed(what(), e, "use the callspool that made it, or move the file away")
        }
        OpenError::Server { .. } | OpenError::Tables { .. } => {
            let why = e.to_string();
            CliError::failed(what(), why, cure(&CatalogError::Open(e)))
        }
        _ => CliError::failed(what(), e, "check that this user may write the file and its directory"),
    })
}

fn set_aside(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let name = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            name.push(end);
            name
        };
        before(Operation::CatalogAside, path)?;
        match std::fs::rename(name(""), name(".damaged")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn conclude(out: &mut dyn Write, sum: &Sum, as_json: bool) -> io::Result<()> {
    if as_json {
        let object = json!({"calls": sum.calls, "segments": sum.segments, "forgotten": sum.forgotten, "problems": sum.problems, "half_joined": sum.half_noted.len()});
        return writeln!(out, "{object}");
    }
    writeln!(
        out,
        "{} calls and {} segments are in the catalog, {} rows without files were removed",
        sum.calls, sum.segments, sum.forgotten
    )?;
    if !sum.half_noted.is_empty() {
        let count = sum.half_noted.len();
        writeln!(
            out,
            "{count} joins of calls stand in one of two logs; the next start writes the other lines"
        )?;
    }
    if sum.problems > 0 {
        writeln!(out, "{} files could not be read; nothing was removed", sum.problems)?;
    }
    Ok(())
}
