//! Webhooks: what happens is posted to others as it happens, signed, in order, until they have taken it.
//!
//! ```text
//!  catalog ── outbox ──┐
//!                      ├─► feed ─► course ─► post ──► receiver
//!  alarms in memory ───┘     ▲        │  answer ◄────────┘
//!                            └────────┘ advance, again later, give up
//!  place: <data_dir>/webhooks/<name>.json
//! ```
//!
//! Each webhook is a task of its own: one that hangs holds up no other, and nothing waits for it. Every event is sent
//! at least once; its id tells a receiver that it has had it. What decides is [`course`]; nothing here is on the way
//! of a call.

mod course;
mod feed;
mod keeper;
mod place;
mod post;
mod sign;
mod tally;
mod target;
mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::alarm::{About, Seen};
use model::{Condition, EventId, Subject, TenantId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::catalog::CatalogLink;
use crate::config::Config;
use crate::recorder::Teller;
use feed::Sources;
use place::PlaceFile;
pub(crate) use post::reach;
pub(crate) use tally::Board;
pub(crate) use target::{Target, Targets, load};
use task::{Begin, Task};

/// How long the file of a webhook may take to be written when it stops; the disk may hang.
const LEAVE: Duration = Duration::from_secs(1);

/// All webhooks that run.
pub(crate) struct Webhooks {
    sources: Sources,
    teller: Teller,
    tenant: TenantId,
    data_dir: PathBuf,
    board: Board,
    running: BTreeMap<String, Running>,
    /// Of every name that there ever was, so that two of the same name one after the other know of each other's.
    files: BTreeMap<String, PlaceFile>,
}

struct Running {
    target: Arc<Target>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Webhooks {
    /// None run yet.
    pub(crate) fn new(config: &Config, catalog: &CatalogLink, teller: &Teller, board: Board) -> Self {
        let sources = Sources {
            node: config.catalog.url.is_given().then_some(config.node.number),
            catalog: Arc::clone(&catalog.reader),
            writer: catalog.handle.clone(),
            told: teller.told().clone(),
        };
        Self {
            sources,
            teller: teller.clone(),
            tenant: config.recording.tenant.clone(),
            data_dir: config.node.data_dir.clone(),
            board,
            running: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Starts those that are new or have changed, whose names come back, and stops those that are gone. One without a
    /// file of how far it has come begins behind `begin`.
    pub(crate) async fn apply(&mut self, targets: &Targets, begin: EventId) -> Vec<String> {
        let stays = |name: &String, running: &Running| {
            targets.get(name).is_some_and(|target| target.is_as(&running.target))
        };
        let ending: BTreeMap<String, Running> = self.running.extract_if(.., |n, r| !stays(n, r)).collect();
        let gone: Vec<String> = ending.keys().filter(|n| !targets.contains_key(*n)).cloned().collect();
        end(ending).await;
        for name in gone {
            self.board.remove(&name);
            let about = About { tenant: self.tenant.clone(), ..About::default() };
            self.teller.observe(Condition::WebhookFailing, &Subject::Webhook(name), &about, Seen::Good);
        }
        let new: Vec<String> = targets.keys().filter(|n| !self.running.contains_key(*n)).cloned().collect();
        for (name, target) in targets.iter().filter(|(name, _)| new.contains(name)) {
            let new = || PlaceFile::new(&self.data_dir, name);
            let file = self.files.entry(name.clone()).or_insert_with(new).clone();
            self.running.insert(name.clone(), self.start(target, file, begin));
        }
        new
    }

    /// Stops all of them: what was not told yet is told after the next start.
    pub(crate) async fn stop(self) {
        end(self.running).await;
    }

    fn start(&self, target: &Arc<Target>, file: PlaceFile, begin: EventId) -> Running {
        let (stop, stopping) = watch::channel(false);
        let begin = Begin {
            target: Arc::clone(target),
            sources: self.sources.clone(),
            teller: self.teller.clone(),
            tenant: self.tenant.clone(),
            file,
            tally: self.board.of(&target.name),
            newest: begin,
            stop: stopping,
        };
        tracing::info!(webhook = %target.name, "events are posted to {}", target.url.origin());
        let task = tokio::spawn(async move { Task::begin(begin).await.run().await });
        Running { target: Arc::clone(target), stop, task }
    }
}

/// Tells them first, so that they end side by side.
async fn end(running: BTreeMap<String, Running>) {
    for webhook in running.values() {
        let _ = webhook.stop.send(true);
    }
    for (name, webhook) in running {
        if tokio::time::timeout(LEAVE, webhook.task).await.is_err() {
            tracing::warn!(webhook = %name, "it did not end in time; what was told last may be told again");
        }
    }
}
