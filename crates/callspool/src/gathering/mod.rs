//! Bringing together what several record servers recorded of a call, around [`spool::gathering::Synchronizer`].
//!
//! ```text
//!   other record servers ──Inquiry──► ┌────────┐ ──ask──► other record servers
//!   calls that end here ────Notice──► │ owner  │
//!   page, commands ────────Command──► └────────┘ ──► catalog, alarms, figures
//!                                       │    ▲
//!                                 Local ▼    │ what came of it
//!                                     hands: a thread for each volume, one that looks at whole calls
//! ```
//!
//! The [owner] has the machine and does nothing else: it touches no disk and waits for none. It has a thread of its own,
//! with its own connections, and all of its threads [step back](crate::priority) behind those that record. What it
//! remembers does not matter; a start [looks](look) through what lies here, and goes on by that.
//!
//! It never decides what is moved or given up, never changes what is sealed, and has nothing to do with calls in progress.

mod carry;
mod ended;
mod figures;
mod hands;
mod line;
mod look;
mod notice;
mod owner;
mod port;
mod stands;

use std::sync::Arc;
use std::time::Duration;

use model::{CallId, NodeNumber, PeerName, TenantId, VolumeName};
use peers::{Credentials, Inquiries, Inquiry, Roster};
use spool::gathering::{Mode, RANGE_MAX, Synchronizer, Terms};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cli::CliError;
use crate::clock;
use crate::cluster::Cluster;
use crate::config::hours::Hours;
use crate::config::{Config, GatherMode, Role};
use crate::desk::Cares;
use crate::elsewhere::Elsewhere;
use crate::recorder::{Disk, Teller};
use crate::volumes::Volumes;
pub(crate) use figures::GatherFigures;
pub(crate) use look::key_of;
pub(crate) use notice::Notice;
use owner::Starting;
pub(crate) use stands::CallStands;

/// Questions of other nodes that wait to be looked at: more are told that nobody answers, and ask again.
const INQUIRIES_MAX: usize = 256;
/// What people want, at a time.
const COMMANDS_MAX: usize = 64;
/// Octets that are asked for at once, at least: less is mostly questions.
const RANGE_MIN: u64 = 4 << 10;
/// How long a person may wait for an answer: a call may have to be looked for on disks.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// What a person wants.
#[derive(Debug)]
pub(crate) enum Command {
    /// That this call is gathered now, or to know how it stands.
    Call { tenant: TenantId, call: CallId, wish: Wish, answer: oneshot::Sender<Option<CallStands>> },
    /// The same of all that something is left to be done about.
    All { wish: Wish, answer: oneshot::Sender<Vec<CallStands>> },
}

/// What is to be done about calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Gather,
    Know,
}

/// The way to whoever gathers, for the page and for commands.
#[derive(Clone, Debug)]
pub(crate) struct GatherLink(mpsc::Sender<Command>);

/// Why a person gets no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error(
        "no segments are gathered on this node: it is no record server among others, or gathering.mode is off"
    )]
    NotHere,
    #[error("too many ask at once")]
    Busy,
    #[error("there is no answer in time")]
    Late,
}

/// A way, and where it leads. Nobody may ever be there.
pub(crate) fn channel() -> (GatherLink, mpsc::Receiver<Command>) {
    let (link, commands) = mpsc::channel(COMMANDS_MAX);
    (GatherLink(link), commands)
}

impl GatherLink {
    /// How a call stands; none when there is nothing left to be done about it here. With [`Wish::Gather`] it is looked for on
    /// the disks if it is not in mind.
    pub(crate) async fn call(
        &self,
        tenant: TenantId,
        call: CallId,
        wish: Wish,
    ) -> Result<Option<CallStands>, NoAnswer> {
        self.ask(|answer| Command::Call { tenant, call, wish, answer }).await
    }

    /// How all stand that something is left to be done about.
    pub(crate) async fn all(&self, wish: Wish) -> Result<Vec<CallStands>, NoAnswer> {
        self.ask(|answer| Command::All { wish, answer }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(command(answer)).map_err(|e| match e {
            mpsc::error::TrySendError::Closed(_) => NoAnswer::NotHere,
            mpsc::error::TrySendError::Full(_) => NoAnswer::Busy,
        })?;
        match tokio::time::timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NoAnswer::NotHere),
            Err(_) => Err(NoAnswer::Late),
        }
    }
}

/// What gathering needs before it runs: where other nodes ask must be known when the doors open.
pub(crate) struct Prepared {
    own: Credentials,
    roster: Roster,
    peers: Vec<(PeerName, String)>,
    inquiries: mpsc::Receiver<Inquiry>,
    tell: mpsc::Sender<Inquiry>,
}

/// What it works with.
pub(crate) struct Means {
    /// Who has which call.
    pub(crate) cares: Cares,
    pub(crate) volumes: Volumes,
    /// Those that the recorder writes to.
    pub(crate) disks: Vec<(VolumeName, Disk)>,
    pub(crate) teller: Teller,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) figures: Arc<GatherFigures>,
    /// Who asks the same nodes by the same connections, to play what lies there.
    pub(crate) elsewhere: Option<Elsewhere>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Gathering that runs, until it is told to stop.
pub(crate) struct Running(oneshot::Receiver<()>);

impl Running {
    /// Its owner has ended. Hands may hang with their disks; what they were at is done on by the next start.
    pub(crate) async fn ended(self) {
        let _ = self.0.await;
    }
}

impl Prepared {
    /// None on a node that gathers nothing and has nothing that others might gather.
    pub(crate) fn of(config: &Config, cluster: &Cluster) -> Option<Self> {
        let credentials = cluster.credentials().filter(|_| config.gathering.mode != GatherMode::Off)?;
        if !config.node.roles.contains(&Role::Recorder) {
            return None;
        }
        let (tell, inquiries) = mpsc::channel(INQUIRIES_MAX);
        Some(Self {
            own: credentials.clone(),
            roster: Roster::new(credentials.name(), config.node.number),
            peers: cluster.peers(config).into_iter().collect(),
            inquiries,
            tell,
        })
    }

    /// Where other record servers ask.
    pub(crate) fn inquiries(&self) -> Inquiries {
        Inquiries::new(self.roster.clone(), self.tell.clone())
    }

    /// Begins. What is wrong with the disks is told later, as alarms.
    pub(crate) fn start(self, config: &Config, means: Means) -> Result<Running, CliError> {
        let failed = |e: std::io::Error| {
            CliError::failed("cannot begin to gather segments", e, "check the limit of threads (ulimit -u)")
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (ended, running) = oneshot::channel();
        let (settings, terms) = (settings(config), terms(config, &means.volumes));
        let machine = Synchronizer::new(terms, clock::wall().0.unsigned_abs());
        let run = move || {
            crate::priority::step_back();
            match Starting::new(settings, machine, self, means) {
                Ok(owner) => runtime.block_on(owner.run()),
                Err(e) => tracing::error!("segments are not gathered: no thread can be started: {e}"),
            }
            // What still blocks is left behind.
            runtime.shutdown_background();
            let _ = ended.send(());
        };
        std::thread::Builder::new().name("gathering".to_owned()).spawn(run).map_err(failed)?;
        Ok(Running(running))
    }
}

/// What of the configuration the owner goes by.
#[derive(Clone, Debug)]
struct Settings {
    node: NodeNumber,
    /// Whose alarms are those of no call.
    tenant: TenantId,
    mode: Mode,
    window: Option<Hours>,
    purge_window: Option<Hours>,
    /// How long nobody may say how a call came out.
    conclude_after: Duration,
}

fn settings(config: &Config) -> Settings {
    Settings {
        node: config.node.number,
        tenant: config.recording.tenant.clone(),
        mode: mode(config),
        window: config.gathering.window,
        purge_window: config.gathering.purge_window,
        conclude_after: config.gathering.conclude_after,
    }
}

fn mode(config: &Config) -> Mode {
    if config.gathering.mode == GatherMode::Virtual { Mode::Virtual } else { Mode::Gather }
}

fn terms(config: &Config, volumes: &Volumes) -> Terms {
    let gathering = &config.gathering;
    // A second's worth, so that a slow rate is one that goes on evenly.
    let range = gathering.rate.0.clamp(RANGE_MIN, u64::from(RANGE_MAX));
    Terms {
        node: config.node.number,
        volume: volumes.iter().next().map(|v| v.name.clone()).unwrap_or_default(),
        mode: mode(config),
        range: u32::try_from(range).unwrap_or(RANGE_MAX),
        octets_in_flight: gathering.in_flight.0,
        octets_per_second: gathering.rate.0,
        // As much again as must stay free: gathering ends long before recording would.
        reserve: config.recording.min_free_space.0,
        others: config.tables.peer.len(),
        conclude_after: gathering.conclude_after,
    }
}
