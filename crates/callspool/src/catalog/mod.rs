//! The catalogue of this process: a thread that writes it, a reader for questions, and what is done when it says
//! that something is wrong. Recording never waits for any of it.

mod number;
mod place;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::alarm::Seen;
use model::join::CALLS_MAX;
use model::{Condition, Incident, Join};
use spool::Files;
use store::{Catalog, CatalogWriter, Handle, Place, Report, WriterConfig};
use tokio::sync::{mpsc, watch};

use crate::cli::CliError;
use crate::config::Config;
use crate::recorder::Teller;
use crate::reindex;
use crate::repository::Repository;
use crate::startup::Mender;
pub(crate) use number::Claim;
pub(crate) use place::place;
pub(crate) use waiting::watch_events;

/// Reports of the writer that may wait: it makes few. What does not fit is in its status as well.
const REPORTS_MAX: usize = 64;
/// How long a catalogue that is away may delay the start.
const PATIENCE: Duration = Duration::from_secs(2);
/// Changes in memory beyond which a reindex waits: it must not push live changes into the journal.
const QUEUED_MAX: usize = 2_000;

/// How long the writer may take to write what is left when the process stops. What it could not write within a
/// second is in its journal as well.
const CLOSE: Duration = Duration::from_secs(5);
/// How long questions that are being answered may take then.
const CLOSE_READER: Duration = Duration::from_secs(1);
/// How long what a reindex told may take to be written. At worst the next start reindexes once more.
const SETTLE: Duration = Duration::from_secs(120);
/// How often it is looked whether a thread has ended, or a queue has emptied.
const LOOK: Duration = Duration::from_millis(10);

/// The call itself and its copies: one at a node, some in archives.
const COPIES_OF_A_CALL: usize = 32;

/// The running catalogue.
pub(crate) struct CatalogLink {
    pub(crate) handle: Handle,
    /// For questions; finds the catalogue again when it was away.
    pub(crate) reader: Arc<Catalog>,
    /// The highest number of an id that it knows.
    pub(crate) highest_id: u64,
    reports: Option<mpsc::Receiver<Report>>,
    writer: JoinHandle<()>,
}

impl CatalogLink {
    /// Starts the writer. Waits for nothing but a look at what is there.
    pub(crate) async fn start(config: &Config, place: &Place) -> Result<Self, CliError> {
        let mut writing = WriterConfig::new(place, &config.catalog.journal);
        writing.journal_bytes_max = config.catalog.journal_max.octets() as u64;
        let (handle, worker) = CatalogWriter::with_config(writing);
        let (tell, reports) = mpsc::channel(REPORTS_MAX);
        let run = move || {
            crate::priority::step_back();
            let told = worker.run(|report| {
                if let Err(e) = tell.try_send(report) {
                    tracing::warn!("a report of the catalog writer is not acted on: {e}");
                }
            });
            if let Err(e) = told {
                tracing::error!(
                    "the catalog writer cannot run: {e}; `callspool reindex` restores the catalog"
                );
            }
        };
        let writer = std::thread::Builder::new().name("catalog".to_owned()).spawn(run).map_err(|e| {
            CliError::failed("cannot start the catalog", e, "check the limit of threads (ulimit -u)")
        })?;
        let reader = Arc::new(Catalog::reader(place));
        let highest_id = highest_id(&reader).await;
        Ok(Self { handle, reader, highest_id, reports: Some(reports), writer })
    }

    /// Acts on what the writer reports: alarms, and a reindex where the catalogue lost something.
    /// A reindex gives up when `stop` becomes true; it is then wanted again after the next start.
    pub(crate) fn watch(&mut self, mender: Mender, stop: watch::Receiver<bool>) {
        let Some(mut reports) = self.reports.take() else { return };
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let mut running = None;
            while let Some(happened) = next(&mut reports, &mut running).await {
                match happened {
                    Happened::Told(report) => tell(&mender, report),
                    Happened::Reindexed { wanted, whole: true } => handle.reindexed(wanted),
                    Happened::Reindexed { whole: false, .. } => {
                        tracing::error!(
                            "the reindex did not come to its end; the next start begins it again"
                        );
                        continue;
                    }
                }
                if let (None, Some(wanted)) = (&running, handle.status().reindex_wanted) {
                    let done = reindexing(mender.clone(), handle.clone(), stop.clone());
                    running = Some(Reindex { wanted, done });
                }
            }
        });
    }

    /// Lets the writer write what is left, to the catalogue or its journal. One that hangs is left behind.
    pub(crate) async fn close(self) {
        self.handle.stop();
        let until = Instant::now() + CLOSE;
        while !self.writer.is_finished() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        if !self.writer.is_finished() {
            let queued = self.handle.status().queued;
            tracing::error!(
                "the catalog writer did not end in time; {queued} changes may be missing in the catalog until \
                 `callspool reindex`"
            );
        } else if self.writer.join().is_err() {
            tracing::error!("the catalog writer did not end as it should");
        }
        if tokio::time::timeout(CLOSE_READER, self.reader.close()).await.is_err() {
            tracing::warn!("the catalog was not closed in time");
        }
    }
}

/// A reindex in progress, and which wish it fulfils.
struct Reindex {
    wanted: u64,
    done: tokio::task::JoinHandle<bool>,
}

/// What is to be acted on.
enum Happened {
    Told(Report),
    Reindexed { wanted: u64, whole: bool },
}

/// What happens next: a reindex takes its time, or hangs with a disk, and what the writer reports is told meanwhile.
/// None: nothing will happen any more.
async fn next(reports: &mut mpsc::Receiver<Report>, running: &mut Option<Reindex>) -> Option<Happened> {
    let Some(reindex) = running else { return reports.recv().await.map(Happened::Told) };
    tokio::select! {
        report = reports.recv() => report.map(Happened::Told),
        done = &mut reindex.done => {
            let happened = Happened::Reindexed { wanted: reindex.wanted, whole: done.unwrap_or(false) };
            *running = None;
            Some(happened)
        }
    }
}

/// Fills the catalogue from the repository; whether all of that came to its end.
fn reindexing(mender: Mender, to_fill: Handle, stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<bool> {
    tokio::task::spawn_blocking(move || {
        let all = reindex_all(&mender, &to_fill, &stop);
        let settled = settled(&to_fill, &stop);
        if settled {
            mender.conclude_rest(&stop);
        }
        all && settled
    })
}

/// The highest number of an id that the catalogue knows, as soon as its writer has opened or made it. When it is
/// away ids go by the clock, which is enough unless that was set back meanwhile.
async fn highest_id(reader: &Catalog) -> u64 {
    let asking = async {
        loop {
            match reader.highest_id().await {
                Ok(id) => return id,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or(0)
}

/// Tells of what the writer reports.
fn tell(mender: &Mender, report: Report) {
    let away = |seen| mender.teller.observe_node(Condition::CatalogAway, &mender.tenant, seen);
    let lost = |text| mender.teller.alarm(&mender.tenant, Incident::CatalogLoss, None, None, text);
    match report {
        Report::Away { why } => away(Seen::Bad(format!(
            "the catalog does not answer: {why}; recording goes on and changes are kept: let its disk or its server answer, or let go of its lock"
        ))),
        Report::Back { replayed } => {
            tracing::info!("the catalog is back; {replayed} changes came from the journal");
            away(Seen::Good);
        }
        Report::Rebuilt { why, set_aside } => {
            let kept: Vec<_> = set_aside.iter().map(|p: &PathBuf| p.display().to_string()).collect();
            tracing::info!(
                "the catalog is new: {why}; it is filled from the repository; set aside: {kept:?}"
            );
            mender.teller.tell_alarms_again();
        }
        Report::Lost { changes, why } => lost(format!(
            "{changes} changes did not reach the catalog: {why}; it is filled from the repository again"
        )),
        Report::Refused { event, why } => lost(format!("the catalog refused change {event}: {why}")),
        Report::DamagedJournal { lines } => lost(format!(
            "{lines} lines of the catalog's journal are damaged; it is filled from the repository again"
        )),
    }
}

/// Tells the catalogue all that the repository holds, or as much of it as can be read: then it is false.
fn reindex_all(mender: &Mender, handle: &Handle, stop: &watch::Receiver<bool>) -> bool {
    let (repository, teller) = (&mender.repository, &mender.teller);
    let (mut calls, mut unread) = (0, 0);
    for directory in repository.call_directories() {
        while handle.status().queued > QUEUED_MAX && !*stop.borrow() {
            std::thread::sleep(LOOK);
        }
        if *stop.borrow() {
            tracing::info!("the reindex gives up after {calls} calls: callspool stops");
            return false;
        }
        match directory {
            Ok(directory) => match tell_call(repository, teller, &directory) {
                Some(half_noted) => {
                    calls += 1;
                    mender.complete_found(&directory, &half_noted);
                }
                None => unread += 1,
            },
            Err(e) => {
                tracing::error!("a part of the repository cannot be listed: {e}");
                unread += 1;
            }
        }
    }
    unread +=
        repository.away().inspect(|v| tracing::warn!("volume {v} is away; its calls are left out")).count();
    tracing::info!(
        "the catalog is told of {calls} calls of the repository; {unread} directories are unreadable"
    );
    unread == 0
}

/// Waits until the catalogue has all that it was told: only then nothing of it is lost with the process.
fn settled(handle: &Handle, stop: &watch::Receiver<bool>) -> bool {
    let until = Instant::now() + SETTLE;
    loop {
        let status = handle.status();
        if status.queued == 0 && status.journal_bytes == 0 {
            return true;
        }
        if *stop.borrow() || Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// Tells the catalogue what the files of one call say, as of before they were read: a segment that ends while its
/// manifest is read has the last word. The joins of it that only one log tells of; none when it cannot be read.
pub(crate) fn tell_call(repository: &Repository, teller: &Teller, directory: &str) -> Option<Vec<Join>> {
    let files = repository.list(directory).map_or(0, |names| names.len());
    // The call, its copies, joins, corrections and notes, and two changes for each segment.
    let ids = teller.draw(2 * files + COPIES_OF_A_CALL + 2 * CALLS_MAX + reindex::NOTES_MAX);
    match reindex::changes_of(repository, directory) {
        Ok(mut said) => {
            reindex::leave_to_others(&mut said.changes, teller.node());
            for problem in said.problems {
                tracing::warn!("left out of the catalog: {problem}");
            }
            for (id, (tenant, change)) in ids.into_iter().zip(said.changes) {
                teller.tell_as(id, tenant, change);
            }
            Some(said.half_noted)
        }
        Err(e) => {
            tracing::error!("{directory} cannot be read: {e}");
            None
        }
    }
}
