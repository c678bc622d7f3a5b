//! The worker: one step at a time, safe to repeat after a crash.
//!
//! While the journal is empty, changes go from the queue to the catalog. Once something is in the journal,
//! everything goes through it until it has been replayed. A batch whose write takes long is put into the journal
//! as well: it may be written twice, which does no harm, but never not at all.

mod opening;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Change, EventId, WallTime};
use tokio::time::{Instant, sleep, timeout};

use super::queue::Shared;
use super::recent::Recent;
use super::{Report, WriterConfig};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::journal::{AppendError, Journal};
use crate::postgres;
use crate::sqlite::disk::Disk;
use crate::sqlite::file::Identity;

/// Changes of a transaction at most: 10 ms of SQLite's time, and what a crash makes it do again.
const BATCH: usize = 512;
/// How long a first change waits for others: a full sync then serves them all, and 20 syncs a second are cheap.
const GATHER: Duration = Duration::from_millis(50);
/// A write that takes longer is journaled beside: until it ends, a kill would lose what is in memory.
const PATIENCE: Duration = Duration::from_secs(1);
/// An operation that takes longer is told of: locks are waited for a second, and a batch takes milliseconds.
const SILENT: Duration = Duration::from_secs(5);
/// How often a catalog that is away is tried again, and one that is idle is looked after.
const RETRY: Duration = Duration::from_secs(1);
/// Changes in memory beyond which they go to the journal: some 6 MB.
const SPILL: usize = 2_048;
/// How often old events are removed. Each time at most [`LIST_MAX`](crate::LIST_MAX), 20,000 an hour.
const TRIM: Duration = Duration::from_secs(180);

const MORE_THAN_FITS: &str = "more was told than memory holds before it could be written";

/// Writes what handles tell. Made by [`CatalogWriter::start`](super::CatalogWriter::start).
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    config: WriterConfig,
    catalog: Option<Catalog>,
    /// For looks at its files while it is not open.
    disk: Disk,
    /// What was open last, to tell its leftovers from the files of a new catalog.
    last: Identity,
    /// The server that was open last, where it is on one, and what was written to it.
    server: Option<postgres::Identity>,
    recent: Recent,
    /// The catalog failed: it is closed and opened again, as what it is open on may have changed for good.
    failing: bool,
    /// The catalog said that it is damaged: it is set aside before the next opening.
    damaged: Option<String>,
    /// A catalog was lost; to be reported when there is a new one.
    rebuilding: Option<(String, Vec<PathBuf>)>,
    journal: Option<Journal>,
    /// The journal takes nothing: changes stay in memory as long as there is room.
    journal_failing: Option<String>,
    replay_at: u64,
    replayed: u64,
    trimmed: Option<Instant>,
}

impl Worker {
    pub(super) fn new(config: WriterConfig, shared: Arc<Shared>) -> Self {
        Self {
            shared,
            config,
            catalog: None,
            disk: Disk::default(),
            last: Identity::default(),
            server: None,
            recent: Recent::default(),
            failing: false,
            damaged: None,
            rebuilding: None,
            journal: None,
            journal_failing: None,
            replay_at: 0,
            replayed: 0,
            trimmed: None,
        }
    }

    /// Works until [`Handle::stop`](super::Handle::stop). Blocks: it wants a thread of its own.
    /// Fails only when the thread cannot have a runtime.
    pub fn run(mut self, mut report: impl FnMut(Report)) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            if let Some(why) = self.shared.reindex_was_wanted() {
                self.shared.want_reindex(&why);
                let why = format!("{why} (before the restart)");
                report(Report::Rebuilt { why, set_aside: Vec::new() });
            }
            while !self.shared.stopping() {
                self.step(&mut report).await;
            }
            self.finish(&mut report).await;
        });
        // What hangs with its disk is left behind.
        runtime.shutdown_background();
        Ok(())
    }

    async fn step(&mut self, report: &mut impl FnMut(Report)) {
        self.report_overflow(report);
        let open = self.ensure_open(report).await;
        if open && !self.journal_waits() {
            let batch = self.gather().await;
            if batch.is_empty() {
                self.trim().await;
            } else {
                self.write(batch, report).await;
            }
        } else {
            self.spill();
            if open && self.replay(report).await {
                return;
            }
            // Neither a catalog that is away nor a journal that fails is better at once.
            let _ = timeout(RETRY, self.until_told_to_spill()).await;
            return;
        }
        if self.failing {
            // What comes meanwhile goes to the journal in time, unless that fails too.
            let _ = timeout(RETRY, self.until_told_to_spill()).await;
        }
    }

    /// At the end: what is left goes to the catalog, or to the journal.
    async fn finish(&mut self, report: &mut impl FnMut(Report)) {
        while self.catalog.is_some() && !self.failing && !self.journal_waits() {
            let batch = self.shared.take(BATCH);
            if batch.is_empty() {
                break;
            }
            self.write(batch, report).await;
        }
        self.spill();
        self.shared.drop_rest();
        self.report_overflow(report);
        if let Some(catalog) = self.catalog.take() {
            catalog.close().await;
        }
    }

    /// The next batch: waits a second for a first change, and a moment for others.
    async fn gather(&self) -> Vec<Change> {
        if self.shared.queued() == 0 {
            let _ = timeout(RETRY, self.until_many(1)).await;
        }
        if self.shared.queued() > 0 && !self.shared.stopping() {
            let _ = timeout(GATHER, self.until_many(BATCH)).await;
        }
        self.shared.take(BATCH)
    }

    async fn until_many(&self, n: usize) {
        while self.shared.queued() < n && !self.shared.stopping() {
            self.shared.wake.notified().await;
        }
    }

    /// Until there is more in memory than should be and the journal can take it, or until the stop.
    async fn until_told_to_spill(&self) {
        let spills = || self.journal_failing.is_none() && self.shared.spills(SPILL);
        while !spills() && !self.shared.stopping() {
            self.shared.wake.notified().await;
        }
    }

    /// Until there is more in memory than should be; a stop does not hurry it.
    async fn until_spilling(&self) {
        while !self.shared.spills(SPILL) {
            self.shared.wake.notified().await;
        }
    }

    /// Does something with the catalog that may take long, while what is told meanwhile goes to the journal.
    async fn while_spilling<T>(
        &mut self,
        doing: impl Future<Output = T>,
        report: &mut impl FnMut(Report),
    ) -> T {
        let (mut doing, begun) = (Box::pin(doing), Instant::now());
        loop {
            tokio::select! {
                result = &mut doing => return result,
                () = sleep(PATIENCE) => {}
                () = self.until_spilling(), if self.journal_failing.is_none() => {}
            }
            self.spill();
            self.note_silence(begun, report);
        }
    }

    /// Says that the catalog does not answer, when that lasts.
    fn note_silence(&self, since: Instant, report: &mut impl FnMut(Report)) {
        if since.elapsed() >= SILENT {
            self.note_away("what it was asked to do does not come to its end", report);
        }
    }

    /// Writes a batch to the catalog, or to the journal when that fails.
    async fn write(&mut self, batch: Vec<Change>, report: &mut impl FnMut(Report)) {
        let Some(catalog) = self.catalog.take() else {
            self.shared.put_back(batch);
            return;
        };
        let mut journaled = false;
        let result = {
            let (mut writing, begun) = (Box::pin(apply(&catalog, &batch)), Instant::now());
            loop {
                tokio::select! {
                    result = &mut writing => break result,
                    () = sleep(PATIENCE) => {}
                    () = self.until_spilling(), if self.journal_failing.is_none() => {}
                }
                journaled = journaled || self.append(&batch);
                self.spill();
                self.note_silence(begun, report);
            }
        };
        self.catalog = Some(catalog);
        match result {
            Ok(refused) => {
                self.wrote(batch.len() - refused.len());
                self.shared.settled(batch.len());
                self.keep(batch);
                self.refused(refused, report);
            }
            Err(error) => {
                self.failed(&error, report);
                if journaled {
                    self.shared.settled(batch.len());
                } else {
                    self.shared.put_back(batch);
                    self.spill();
                }
            }
        }
    }

    /// Replays a piece of the journal. True when there may be more to do at once.
    async fn replay(&mut self, report: &mut impl FnMut(Report)) -> bool {
        let Some(journal) = self.journal.as_mut() else { return false };
        let page = match journal.read(self.replay_at, BATCH) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, path = %journal.path().display(), "the journal cannot be read");
                self.note_away(&format!("its journal cannot be read: {error}"), report);
                return false;
            }
        };
        let Some(catalog) = self.catalog.take() else { return false };
        let result = self.while_spilling(apply(&catalog, &page.changes), report).await;
        self.catalog = Some(catalog);
        let refused = match result {
            Ok(refused) => refused,
            Err(error) => {
                self.failed(&error, report);
                return false;
            }
        };
        let applied = page.changes.len() - refused.len();
        self.replay_at = page.next;
        self.replayed += applied as u64;
        let Some(journal) = self.journal.as_mut() else { return false };
        if page.next >= journal.bytes() {
            if let Err(error) = journal.clear() {
                // It is replayed once more after a restart, which changes nothing.
                tracing::error!(%error, path = %journal.path().display(), "the journal cannot be emptied");
                self.replay_at = journal.bytes();
                self.note_away(&format!("its journal cannot be emptied: {error}"), report);
                return false;
            }
            self.replay_at = 0;
        }
        self.wrote(applied);
        self.keep(page.changes);
        self.refused(refused, report);
        if page.damaged > 0 {
            self.shared.count(|s| s.damaged_lines += page.damaged);
            self.shared.want_reindex("lines of the journal were damaged");
            report(Report::DamagedJournal { lines: page.damaged });
        }
        self.note_journal();
        true
    }

    fn wrote(&mut self, changes: usize) {
        self.shared.count(|s| s.written += changes as u64);
    }

    /// Remembers what was written to a server, of which a standby may lack the last.
    fn keep(&mut self, changes: Vec<Change>) {
        if self.server.is_some() {
            self.recent.keep(changes);
        }
    }

    fn refused(&self, refused: Vec<(EventId, String)>, report: &mut impl FnMut(Report)) {
        for (event, why) in refused {
            tracing::error!(%event, why, "the catalog refused a change");
            self.shared.count(|s| s.refused += 1);
            report(Report::Refused { event, why });
        }
    }

    /// Whether something is in the journal. Opens it at first use.
    fn journal_waits(&mut self) -> bool {
        if self.journal.is_none() {
            match Journal::open(&self.config.journal, self.config.journal_bytes_max) {
                Ok(journal) => {
                    self.journal = Some(journal);
                    self.replay_at = 0;
                }
                Err(error) => {
                    tracing::error!(%error, path = %self.config.journal.display(), "the journal cannot be opened");
                }
            }
            self.note_journal();
        }
        self.journal.as_ref().is_some_and(|j| !j.is_empty())
    }

    fn note_journal(&self) {
        let bytes = self.journal.as_ref().map_or(0, Journal::bytes);
        self.shared.count(|s| s.journal_bytes = bytes);
    }

    /// Moves the queue to the journal. What that does not take stays in the queue, until there is no room.
    fn spill(&mut self) {
        loop {
            let changes = self.shared.take(BATCH);
            if changes.is_empty() {
                break;
            }
            if !self.append(&changes) {
                self.shared.put_back(changes);
                break;
            }
            self.shared.settled(changes.len());
        }
        self.note_journal();
    }

    /// Appends to the journal. False when it takes nothing.
    fn append(&mut self, changes: &[Change]) -> bool {
        self.journal_waits();
        let result = match self.journal.as_mut() {
            Some(journal) => journal.append(changes),
            None => Err(AppendError::File(io::Error::other("it cannot be opened"))),
        };
        let Err(error) = result else {
            self.journal_failing = None;
            return true;
        };
        if matches!(error, AppendError::File(_)) {
            // Another descriptor may fare better.
            self.journal = None;
        }
        let why = error.to_string();
        if self.journal_failing.is_none() {
            tracing::error!(why, "changes stay in memory: neither catalog nor journal takes them");
        }
        self.journal_failing = Some(why);
        false
    }

    fn report_overflow(&self, report: &mut impl FnMut(Report)) {
        let changes = self.shared.take_overflow();
        if changes > 0 {
            let why = self.journal_failing.clone().unwrap_or_else(|| MORE_THAN_FITS.to_owned());
            tracing::error!(changes, why, "changes are lost to the catalog until a reindex");
            self.shared.want_reindex(&why);
            report(Report::Lost { changes, why });
        }
    }

    /// Removes events that are too old, when there is nothing else to do.
    async fn trim(&mut self) {
        if self.trimmed.is_some_and(|at| at.elapsed() < TRIM) {
            return;
        }
        self.trimmed = Some(Instant::now());
        let Some(catalog) = &self.catalog else { return };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = WallTime::from_millis(i64::try_from(now.as_millis()).unwrap_or(0));
        let before =
            model::IdGenerator::new(model::NodeNumber::SINGLE, 0).event(now - self.config.events_kept);
        if let Err(error) = catalog.trim_events(before).await {
            tracing::debug!(%error, "old events stay for now");
        }
    }
}

/// Applies a batch; when it is refused, its halves, and so on, so that one bad change costs no other. What fails for a
/// reason that nobody foresaw is refused too where others got through: it would fail for ever, and hold up all that come
/// behind it. Where none does, the catalog is what fails. What was committed to a file that was deleted or replaced
/// meanwhile does not count.
async fn apply(catalog: &Catalog, batch: &[Change]) -> Result<Vec<(EventId, String)>, CatalogError> {
    use CatalogError::{Refused, Unknown, Unreadable};
    let (mut refused, mut waiting) = (Vec::new(), vec![batch]);
    let (mut got_through, mut unknown) = (false, None);
    while let Some(piece) = waiting.pop() {
        match (catalog.apply(piece).await, piece) {
            (Ok(()), _) => got_through = true,
            (Err(e @ (Refused(_) | Unreadable(_) | Unknown(_))), [change]) => {
                refused.push((change.id, e.to_string()));
                unknown = unknown.or(Some(e).filter(|e| matches!(e, Unknown(_))));
            }
            (Err(Refused(_) | Unreadable(_) | Unknown(_)), _) => {
                let (before, behind) = piece.split_at(piece.len() / 2);
                waiting.extend([behind, before]);
            }
            (Err(e), _) => return Err(e),
        }
    }
    match unknown {
        Some(e) if !got_through => Err(e),
        _ if catalog.is_current().await => Ok(refused),
        _ => Err(CatalogError::Replaced),
    }
}
