//! Telling the catalog without waiting for it.
//!
//! ```text
//!  tell ──► queue (memory) ──► batch ──────────► catalog: rows and events, one transaction
//!                │                │ fails, or takes longer than 1 s
//!                └── spills ──────┴─► journal ──► replayed in order when the catalog is back
//! ```
//!
//! [`Handle::tell`] takes a lock for the time of a push. The [`Worker`] runs on a thread of its own, so that a
//! disk that hangs holds up nobody else. It opens the catalog, makes a new one when it is gone, sets a damaged
//! one aside, and says so in [`Report`]s; whoever started it raises alarms from them.
//!
//! When the journal is full, or its disk fails or hangs too, changes stay in memory; when there is no room
//! either, the newest are dropped: counted in [`Status::lost`], reported, and a file beside the journal notes
//! until [`Handle::reindexed`] that a reindex is wanted. The manifests are the truth, so a reindex restores it.

mod queue;
mod recent;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Change, EventId};

use crate::journal;
use crate::place::Place;
use crate::sqlite::file::beside;
use queue::Shared;
pub use worker::Worker;

/// Where and how to write.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// Where the catalog is.
    pub place: Place,
    /// The journal.
    pub journal: PathBuf,
    /// Bytes of the journal at most.
    pub journal_bytes_max: u64,
    /// How long events stay in the outbox.
    pub events_kept: Duration,
}

impl WriterConfig {
    /// The usual limits: a journal of 1 GiB, events of 30 days.
    #[must_use]
    pub fn new(place: impl Into<Place>, journal: &Path) -> Self {
        Self {
            place: place.into(),
            journal: journal.to_owned(),
            journal_bytes_max: journal::BYTES_MAX,
            // A month: longer than any consumer is away, short enough that events never outgrow the calls.
            events_kept: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

/// Makes the two ends.
#[derive(Debug)]
pub struct CatalogWriter;

impl CatalogWriter {
    /// A handle for whoever has something to tell, and the worker, which runs where [`Worker::run`] is called.
    /// Touches no file.
    #[must_use]
    pub fn start(place: impl Into<Place>, journal: &Path) -> (Handle, Worker) {
        Self::with_config(WriterConfig::new(place, journal))
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_config(config: WriterConfig) -> (Handle, Worker) {
        let marker = beside(&config.journal, ".reindex");
        let shared = Arc::new(Shared::new(marker));
        (Handle { shared: Arc::clone(&shared) }, Worker::new(config, shared))
    }
}

/// For whoever has something to tell.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Tells the catalog of a change. Never waits; never loses without a count.
    pub fn tell(&self, change: Change) {
        self.shared.push(change);
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// A reindex that began when [`Status::reindex_wanted`] had this number is done.
    pub fn reindexed(&self, wanted: u64) {
        self.shared.reindexed(wanted);
    }

    /// Lets the worker write what is left, to the catalog or the journal, and end.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

/// How the writer stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Changes in memory, those that are being written included.
    pub queued: usize,
    /// Bytes in the journal.
    pub journal_bytes: u64,
    /// How long the catalog has been away, when it is.
    pub away_for: Option<Duration>,
    /// Why it is away.
    pub away_why: Option<String>,
    /// Changes written to the catalog since the start.
    pub written: u64,
    /// Changes dropped since the start because neither catalog nor journal could take them.
    pub lost: u64,
    /// Changes that the catalog refused for what they are.
    pub refused: u64,
    /// Lines of the journal that could not be read.
    pub damaged_lines: u64,
    /// Set while the catalog lacks what only the repository knows; to be given to [`Handle::reindexed`].
    pub reindex_wanted: Option<u64>,
}

/// What the worker has to say to whoever started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The catalog does not answer; changes go to the journal.
    Away {
        /// What it said.
        why: String,
    },
    /// It answers again and has all that the journal held.
    Back {
        /// Changes that came from the journal.
        replayed: u64,
    },
    /// There is a new, empty catalog (or another one): reindex the repository.
    Rebuilt {
        /// What became of the old one.
        why: String,
        /// Where its files are now.
        set_aside: Vec<PathBuf>,
    },
    /// Changes were dropped: reindex the repository.
    Lost {
        /// How many.
        changes: u64,
        /// Why the journal did not take them.
        why: String,
    },
    /// The catalog refused a change for what it is: a defect of ours.
    Refused {
        /// Which.
        event: EventId,
        /// What it said.
        why: String,
    },
    /// Lines of the journal could not be read: reindex the repository.
    DamagedJournal {
        /// How many.
        lines: u64,
    },
}
