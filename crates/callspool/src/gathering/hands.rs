//! The threads that may hang with disks: one for each volume, one that looks at whole calls and tells the catalog of them, one that
//! looks through everything.
//!
//! What is to be done on a volume is done in the order in which it was said; the machine asks for no more than some steps at a
//! time. Calls that are to be looked at stand in [line](super::line), which has an end. A disk that hangs holds up its own
//! volume, and the thread that looks once that reads it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use model::{CallHoldings, CallId, CallKey, Copy, CopyOf, NodeNumber, TenantId, VolumeName};
use spool::gathering::{Got, Local};
use tokio::sync::mpsc;

use super::carry::Hand;
use super::line::{Line, Look};
use super::look;
use crate::catalog::tell_call;
use crate::recorder::{Disk, Teller};
use crate::repository::{Place, Repository};
use crate::volumes::Volumes;
use crate::whole::WholeCall;

/// Calls that were found and are not taken in: looking waits then.
const FOUND_MAX: usize = 16;
/// How often it is looked whether a volume that is away has come, before everything is looked through.
const AWAY_LOOK: Duration = Duration::from_secs(1);
/// Between two calls that are looked at when everything is: recordings have the disks meanwhile, and a hundred thousand calls
/// take some minutes.
const SCAN_PAUSE: Duration = Duration::from_millis(1);

/// What came of something.
pub(super) enum Finished {
    Local {
        ticket: u64,
        result: Result<Got, String>,
    },
    /// A call was looked at, by the directory that it was asked by.
    Looked {
        asked: String,
        held: io::Result<CallHoldings>,
    },
    /// A call was looked for; its directory.
    Found {
        call: CallId,
        directory: Option<String>,
    },
    /// The catalog was told.
    Told,
}

/// See the module. For the owner alone.
pub(super) struct Hands {
    volumes: BTreeMap<VolumeName, Sender<(u64, Local)>>,
    looks: Sender<Look>,
    line: Line,
    scanner: Scanner,
}

/// Looks through everything, when it is asked to.
struct Scanner {
    asks: Sender<()>,
}

/// What the threads have to say.
pub(super) struct Heard {
    pub(super) finished: mpsc::UnboundedReceiver<Finished>,
    /// What was found by looking through everything.
    pub(super) found: mpsc::Receiver<CallHoldings>,
}

impl Hands {
    /// Starts the threads. They end when this is dropped and what they are at is done.
    pub(super) fn start(
        node: NodeNumber,
        all: &Volumes,
        disks: Vec<(VolumeName, Disk)>,
        teller: &Teller,
    ) -> io::Result<(Self, Heard)> {
        let (tell, finished) = mpsc::unbounded_channel();
        let mut volumes = BTreeMap::new();
        for (name, disk) in disks {
            let Some(volume) = all.iter().find(|volume| volume.name == name) else { continue };
            let repository = Repository::of(vec![Place::new(name.clone(), &volume.root)]);
            let hand = Hand { volume: Arc::clone(volume), disk, repository };
            let ((way, steps), tell) = (unbounded(), tell.clone());
            spawn(format!("gather-{}", volumes.len()), move || work(&hand, &steps, &tell))?;
            volumes.insert(name, way);
        }
        let (looks, asked) = unbounded::<Look>();
        let (repository, looking) = (all.repository(), teller.clone());
        spawn("gather-look".to_owned(), move || {
            for look in asked {
                if tell.send(carry_out(look, node, &repository, &looking)).is_err() {
                    return;
                }
            }
        })?;
        let (found_in, found) = mpsc::channel(FOUND_MAX);
        let (asks, wanted) = crossbeam_channel::bounded(1);
        let repository = all.repository();
        spawn("gather-scan".to_owned(), move || scan(node, &repository, &wanted, &found_in))?;
        let (line, scanner) = (Line::default(), Scanner { asks });
        Ok((Self { volumes, looks, line, scanner }, Heard { finished, found }))
    }

    /// A step on a volume. Whoever asks for one that is not there hears so.
    pub(super) fn carry_out(&mut self, ticket: u64, volume: &VolumeName, local: Local) -> Result<(), String> {
        let way = self.volumes.get(volume).ok_or_else(|| format!("there is no volume {volume} here"))?;
        match &local {
            Local::Look(path) | Local::Read { path, .. } | Local::Digest(path) => {
                self.line.begins(ticket, path);
            }
            Local::File(op) => self.line.begins(ticket, op.path()),
            // It changes no file.
            Local::Sync => {}
        }
        way.send((ticket, local)).map_err(|_| {
            self.line.is_done(ticket);
            format!("nobody works on volume {volume}")
        })
    }

    /// A step is done: what waits behind it may go on.
    pub(super) fn done(&mut self, ticket: u64) {
        self.line.is_done(ticket);
        self.go_on();
    }

    /// What was looked for was found or not, or the catalog was told: what is next in line may go on.
    pub(super) fn looked(&mut self) {
        self.line.done();
        self.go_on();
    }

    /// A call was looked at, by these directories. Whether that may be believed; else it is looked at again.
    pub(super) fn may_believe(&mut self, held: &CallHoldings) -> bool {
        let seen: Vec<_> = held.directories.iter().map(|d| look::directory(&d.place.of)).collect();
        let is_stale = self.line.is_stale(seen.iter().map(String::as_str));
        self.go_on();
        !is_stale
    }

    /// Whether something was to be looked at that is not, since this was asked.
    pub(super) fn has_forgotten(&mut self) -> bool {
        self.line.has_forgotten()
    }

    /// Has a call looked at, by its directory.
    pub(super) fn look_at(&mut self, directory: String) {
        self.wait(Look::At(directory));
    }

    /// Has a call looked for.
    pub(super) fn look_for(&mut self, tenant: TenantId, call: CallId) {
        self.wait(Look::For(tenant, call));
    }

    /// Has the catalog told of copies, in the order of these.
    pub(super) fn tell(&mut self, call: CallKey, copies: Vec<Copy>) {
        self.wait(Look::Tell { call, copies });
    }

    /// Has everything looked through, once more if that is under way.
    pub(super) fn scan(&self) {
        // One that waits already will see all of it.
        let _ = self.scanner.asks.try_send(());
    }

    fn wait(&mut self, look: Look) {
        self.line.join(look);
        self.go_on();
    }

    fn go_on(&mut self) {
        if let Some(look) = self.line.next() {
            // The thread is there as long as this is.
            let _ = self.looks.send(look);
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(run).map(drop)
}

/// Works on a volume until nobody asks any more.
fn work(hand: &Hand, steps: &Receiver<(u64, Local)>, tell: &mpsc::UnboundedSender<Finished>) {
    for (ticket, local) in steps {
        let result = hand.carry_out(local);
        if tell.send(Finished::Local { ticket, result }).is_err() {
            return;
        }
    }
}

fn carry_out(look: Look, node: NodeNumber, repository: &Repository, teller: &Teller) -> Finished {
    match look {
        Look::At(asked) => {
            let held = look::holdings(node, repository, &asked);
            Finished::Looked { asked, held }
        }
        Look::For(tenant, call) => {
            let is_of = |directory: &String| directory.split('/').next() == Some(tenant.as_str());
            let found = repository.find(call).inspect_err(|e| tracing::debug!(%call, "it is not found: {e}"));
            Finished::Found { call, directory: found.ok().flatten().filter(is_of) }
        }
        Look::Tell { call, copies } => {
            let is_gathered = |copy: &Copy| copy.of == CopyOf::Call(call.call) && copy.state.is_gathered();
            if copies.iter().any(is_gathered) {
                tell_whole(repository, teller, &look::directory(&call));
            }
            for copy in copies {
                teller.copy(&call.tenant, call.call, copy);
            }
            Finished::Told
        }
    }
}

/// The catalog is to have all segments of a call that others recorded.
fn tell_whole(repository: &Repository, teller: &Teller, directory: &str) {
    match WholeCall::read(repository, directory) {
        Ok(whole) => {
            for piece in &whole.pieces {
                tell_call(repository, teller, &piece.directory);
            }
        }
        Err(e) => {
            tracing::error!("{directory} cannot be read: {e}; `callspool reindex` tells the catalog of it")
        }
    }
}

/// Looks through everything whenever it is asked to, the newest calls first, and hands on what may concern others. It
/// waits where that is not taken.
fn scan(
    node: NodeNumber,
    repository: &Repository,
    wanted: &Receiver<()>,
    found: &mpsc::Sender<CallHoldings>,
) {
    for () in wanted {
        while repository.away().next().is_some() {
            std::thread::sleep(AWAY_LOOK);
            if found.is_closed() {
                return;
            }
        }
        let mut calls = 0_u64;
        for directory in repository.call_directories() {
            std::thread::sleep(SCAN_PAUSE);
            if found.is_closed() {
                return;
            }
            let held = directory.and_then(|directory| look::holdings(node, repository, &directory));
            match held {
                Ok(held) if look::concerns(node, &held) => {
                    calls += 1;
                    if found.blocking_send(held).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(e) => tracing::debug!("it is not known whether a call is to be gathered: {e}"),
            }
        }
        tracing::info!("of {calls} calls that lie here others may have segments");
    }
}
