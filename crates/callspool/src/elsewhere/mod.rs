//! What of a call lies on other record servers, to be played here.
//!
//! ```text
//!  page, commands ──► call ── look ──► Questions ──► other record servers     what do you have of it?
//!                       │       └──► plan: here, there, missing and why         manifests and logs, checked
//!                       └── reads files ──► fetch ──► shelf                     media, when they are read
//! ```
//!
//! Whoever plays a call sees its segments as if all were here ([`CallAcross`]); a part of another node is fetched when it
//! is read, so what is heard first comes first. Runtime and thread are of their own and step back behind those that
//! record. A node without the role of a record server does the same, if it names others.
//!
//! Nothing is moved, changed or given up, here or there, and what is fetched is no copy ([`shelf`]).

mod call;
mod fetch;
mod link;
mod look;
mod shelf;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use api::port::{Family, count};
use model::{HeldFile, NodeNumber, PeerName, Place, SegmentId, WallTime};
use peers::{Asker, Questions, Roster, Told};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::cli::{CliError, file_error};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::volumes::Volumes;
pub(crate) use call::{CallAcross, FilesAcross, Sought, read};
use fetch::{Flight, Wanted};
pub(crate) use link::{AcrossLink, Need};
use look::Looks;
use shelf::Shelf;

/// Files that are fetched at a time, a megabyte of each in memory at most: half of what a peer answers at a time, the rest is
/// for gathering.
const AT_ONCE: usize = 4;

/// How long what nobody hears is kept: a day's listening to a call finds it here.
const UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How often it is looked whether something is to be put away.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// What nodes have of a call.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The directory of the call that survives, where a node has something of it.
    pub(crate) directory: Option<String>,
    /// Segments that are played from other nodes, in the order of their numbers.
    pub(crate) segments: Vec<FoundSegment>,
    /// What their logs say.
    pub(crate) logs: Vec<FoundLog>,
    /// Segments that are nowhere to be had.
    pub(crate) missing: Vec<Missing>,
    /// Nodes that did not say what they have, and why, for people.
    pub(crate) silent: Vec<Silent>,
}

/// A segment that is played from another node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FoundSegment {
    pub(crate) segment: SegmentId,
    pub(crate) number: u16,
    pub(crate) node: NodeNumber,
    pub(crate) name: PeerName,
    pub(crate) place: Place,
    /// Its directory there.
    pub(crate) directory: String,
    /// Its files, the manifest first.
    pub(crate) files: Vec<HeldFile>,
}

/// The log of a directory at another node, as it was when it was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FoundLog {
    pub(crate) directory: String,
    pub(crate) file: HeldFile,
}

/// A segment that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    /// Its number; none where a node may have one of which nothing is known.
    pub(crate) number: Option<u16>,
    pub(crate) segment: Option<SegmentId>,
    /// Where it is, and why it cannot be had from there, in a sentence.
    pub(crate) text: String,
    /// Since when that is so, where it is known.
    pub(crate) since: Option<WallTime>,
}

/// A node that did not say what it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Silent {
    pub(crate) name: PeerName,
    pub(crate) node: Option<NodeNumber>,
    pub(crate) why: String,
    pub(crate) since: Option<WallTime>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Elsewhere(Arc<Shared>);

struct Shared {
    runtime: tokio::runtime::Handle,
    /// Set when nodes can be asked.
    questions: OnceLock<Questions>,
    shelf: Shelf,
    looks: Looks,
    /// Files on their way, by digest.
    flights: Mutex<BTreeMap<String, Arc<Flight>>>,
    places: Semaphore,
    /// When what was asked for has had its time.
    free_at: Mutex<Instant>,
    /// Octets in a second, at most.
    rate: u64,
    /// Whose disks must not be disturbed.
    volumes: Volumes,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    fetched: AtomicU64,
    failures: AtomicU64,
}

/// Opens files of other nodes that are played.
pub(crate) trait Lends: Send + Sync {
    /// Opens one, when it is here. It blocks.
    fn open(&self, wanted: &Wanted) -> io::Result<File>;
}

impl Lends for Elsewhere {
    fn open(&self, wanted: &Wanted) -> io::Result<File> {
        self.0.open(wanted)
    }
}

/// What the process that serves has fetched, for a command beside it.
pub(crate) struct Fetched(PathBuf);

impl Fetched {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self(data_dir.to_owned())
    }
}

impl Lends for Fetched {
    fn open(&self, wanted: &Wanted) -> io::Result<File> {
        let gone = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => io::Error::other(format!(
                "what was fetched from {} was put away for others: elsewhere.cache is too small",
                wanted.from
            )),
            _ => e,
        };
        shelf::open(&shelf::path_of(&self.0, &wanted.file.sha256)).map_err(gone)
    }
}

impl Elsewhere {
    /// Begins; none where no other record server is named, or nothing may be fetched.
    pub(crate) fn start(
        config: &Config,
        volumes: &Volumes,
        stop: watch::Receiver<bool>,
    ) -> Result<Option<Self>, CliError> {
        let most = config.elsewhere.cache.0;
        let what = || "cannot begin to fetch from other nodes";
        if config.tables.peer.is_empty() || most == 0 {
            // It may have been otherwise before.
            shelf::clear(&config.node.data_dir).map_err(|e| file_error(what().to_owned(), &e))?;
            return Ok(None);
        }
        let shelf = Shelf::start(&config.node.data_dir, most, config.recording.min_free_space.0)
            .map_err(|e| file_error(what().to_owned(), &e))?;
        let failed = |e: io::Error| CliError::failed(what(), e, "check the limit of threads (ulimit -u)");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let shared = Shared {
            runtime: runtime.handle().clone(),
            questions: OnceLock::new(),
            shelf,
            looks: Looks::default(),
            flights: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
            free_at: Mutex::new(Instant::now()),
            rate: config.elsewhere.rate.0,
            volumes: volumes.clone(),
            figures: Figures::default(),
        };
        let shelf = shared.shelf.clone();
        let run = move || {
            crate::priority::step_back();
            runtime.block_on(look_after(&shelf, stop));
            // What still blocks is left behind.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("elsewhere".to_owned()).spawn(run).map_err(failed)?;
        Ok(Some(Self(Arc::new(shared))))
    }

    /// Nodes can be asked, by the connections of whoever gathers.
    pub(crate) fn ask_by(&self, questions: Questions) {
        // It is set once, at the start.
        let _ = self.0.questions.set(questions);
    }

    /// Connects to the other nodes itself, where nobody gathers.
    pub(crate) fn connect(&self, config: &Config, cluster: &Cluster) {
        let Some(own) = cluster.credentials().cloned() else { return };
        let roster = Roster::new(own.name(), config.node.number);
        let peers = cluster.peers(config).into_iter().collect();
        let elsewhere = self.clone();
        self.0.runtime.spawn(async move {
            let mut asker = Asker::start(own, roster.clone(), peers);
            elsewhere.ask_by(asker.questions());
            loop {
                match asker.told().await {
                    Told::Up { name, node } => {
                        tracing::info!(record_server = %name, node = node.get(), "can be asked for segments");
                    }
                    Told::Down { name, why, .. } => {
                        tracing::debug!(record_server = %name, "cannot be asked for segments: {why}");
                    }
                    Told::Answered { .. } | Told::Unanswered { .. } => {}
                }
                roster.clashes().into_iter().for_each(|clash| tracing::error!("{clash}"));
            }
        });
    }

    /// Has all media of what was found fetched; what cannot be had is missing then. It blocks.
    pub(crate) fn fetch_all(&self, found: &Found) -> Found {
        let octets = |segment: &FoundSegment| segment.files.iter().map(|file| file.octets).sum::<u64>();
        let all: u64 = found.segments.iter().map(octets).sum();
        let most = self.0.shelf.most();
        let mut fetched = Found { segments: Vec::new(), ..found.clone() };
        for segment in &found.segments {
            let failed = match all > most {
                true => {
                    Some(format!("the call is longer than elsewhere.cache allows ({all} of {most} octets)"))
                }
                false => segment.media().find_map(|wanted| self.0.open(&wanted).err()).map(|e| e.to_string()),
            };
            match failed {
                None => fetched.segments.push(segment.clone()),
                Some(why) => fetched.missing.push(segment.missing(&why)),
            }
        }
        fetched
    }

    /// What it counts, as metrics.
    pub(crate) fn families(&self) -> Vec<Family> {
        let of = |n: &AtomicU64| count(n.load(Ordering::Relaxed));
        let Figures { fetched, failures } = &self.0.figures;
        vec![
            Family::counter(
                "callspool_elsewhere_fetched_bytes",
                "Octets of other nodes that came to be played",
            )
            .of(of(fetched)),
            Family::counter(
                "callspool_elsewhere_failures",
                "Files of other nodes that were to be played and could not be fetched",
            )
            .of(of(failures)),
            Family::gauge(
                "callspool_elsewhere_cache_bytes",
                "Octets of other nodes that are kept to be played",
            )
            .of(count(self.0.shelf.octets())),
        ]
    }
}

/// Puts away what nobody hears any more, until it is told to stop.
async fn look_after(shelf: &Shelf, mut stop: watch::Receiver<bool>) {
    loop {
        // Whoever could say it is gone: that is an end too.
        if tokio::time::timeout(LOOK_EVERY, stop.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
        shelf.put_away(UNUSED_MAX);
    }
}

impl FoundSegment {
    /// The files of its media.
    pub(crate) fn media(&self) -> impl Iterator<Item = Wanted> + '_ {
        self.files.iter().skip(1).map(|file| self.wanted(file))
    }

    fn wanted(&self, file: &HeldFile) -> Wanted {
        Wanted { from: self.name.clone(), place: self.place.clone(), file: file.clone() }
    }

    fn missing(&self, why: &str) -> Missing {
        let text = format!("segment {} is at {}: {why}", self.number, self.name);
        Missing { number: Some(self.number), segment: Some(self.segment), text, since: None }
    }
}

impl Missing {
    /// In a line, for people.
    pub(crate) fn describe(&self) -> String {
        let since = self.since.map(|at| format!(" (since {at})")).unwrap_or_default();
        format!("{}{since}", self.text)
    }
}

impl Silent {
    /// That nothing is known to be missing does not say that nothing is.
    fn may_have_more(&self) -> Missing {
        let text = format!("{} may have more of the call and cannot be asked: {}", self.name, self.why);
        Missing { number: None, segment: None, text, since: self.since }
    }

    /// In a line, for people.
    pub(crate) fn describe(&self) -> String {
        format!("{} cannot be asked: {}", self.name, self.why)
    }
}
