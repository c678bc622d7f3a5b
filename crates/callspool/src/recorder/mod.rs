//! The record server of this process: takes orders, records segments, reports.
//!
//! ```text
//!  Order::Open ──► opener ──(ports, directory, manifest)──► media thread ──► writer ──► sealer
//!                    │ refused                                 │ flushes        │ digests, manifest
//!                    ▼                                         ▼                ▼
//!                 Report::Refused        Report::Opened, MediaTimedOut, Failing, Ended
//! ```
//!
//! Threads, not tasks: media must not wait behind anything else. A segment belongs to one media thread by its id.
//! No thread waits for the catalogue, and no media thread for a disk.

mod disk;
mod ingest;
mod live;
mod media_thread;
mod opener;
mod ports;
mod sealer;
mod tell;
mod watch;
mod writer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, Sender, TrySendError, bounded, unbounded};
use model::{AlarmKind, Failure, NodeNumber, Order, Report, SegmentId, TenantId};
use nix::sys::epoll::{Epoll, EpollCreateFlags};

pub(crate) use disk::Disk;
pub(crate) use ports::PortConfig;
pub(crate) use tell::Teller;

use crate::clock::mono;
use crate::pulse::Pulses;
use crate::repository::Repository;
use media_thread::{MediaConfig, MediaOrder, MediaThread, Shared};
use opener::Opener;
use ports::Ports;
use sealer::{SealJob, Sealer};
use watch::Watch;
use writer::Writer;

/// Orders that may wait for a media thread, and segments that may wait to be opened. Some seconds' worth at the
/// highest call rate; beyond it orders to open are refused.
const ORDERS_MAX: usize = 8_192;
/// How long an order that must not be lost waits for its thread, which looks each few milliseconds: one that has
/// not looked for so long does not look any more.
const INSIST: Duration = Duration::from_secs(1);

/// What a record server needs to know.
#[derive(Debug, Clone)]
pub(crate) struct RecorderConfig {
    pub(crate) node: NodeNumber,
    pub(crate) repository: PathBuf,
    /// Whose alarms are those of the repository as a whole.
    pub(crate) tenant: TenantId,
    pub(crate) ports: PortConfig,
    pub(crate) threads: usize,
    pub(crate) tick: Duration,
    pub(crate) flush: Duration,
    pub(crate) sync: Duration,
    pub(crate) media_timeout: Duration,
    pub(crate) min_free_space: u64,
    /// Octets that may wait for the disk, for the whole process. At 16 kB/s a call, 256 MiB bridge a stall of 16 s
    /// for 1,000 calls. Beyond it media are dropped, counted and alarmed, rather than memory growing without end.
    pub(crate) backlog_max: usize,
    /// Segments that are live or being closed, at most.
    pub(crate) segments_max: usize,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
    pub(crate) cname: String,
    /// Where its threads show that they go round.
    pub(crate) pulses: Pulses,
}

/// The ways to the media threads.
#[derive(Clone)]
pub(crate) struct Threads(Arc<[Sender<MediaOrder>]>);

impl Threads {
    fn of(&self, segment: SegmentId) -> Option<&Sender<MediaOrder>> {
        let count = u64::try_from(self.0.len()).ok().filter(|n| *n > 0)?;
        self.0.get(usize::try_from(segment.as_u64() % count).ok()?)
    }

    /// Waits while the thread's queue is full; for threads that may wait.
    pub(crate) fn send(&self, segment: SegmentId, order: MediaOrder) -> Result<(), Gone> {
        if let Some(thread) = self.of(segment)
            && thread.send(order).is_ok()
        {
            return Ok(());
        }
        tracing::error!(%segment, "its media thread is gone");
        Err(Gone)
    }

    /// The same, for at most [`INSIST`].
    fn send_soon(&self, segment: SegmentId, order: MediaOrder) -> Result<(), &'static str> {
        let Some(thread) = self.of(segment) else { return Err("its media thread is gone") };
        match thread.send_timeout(order, INSIST) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err("its media thread stands still"),
            Err(SendTimeoutError::Disconnected(_)) => Err("its media thread is gone"),
        }
    }

    /// Never waits; the order is given back when the queue is full.
    pub(crate) fn try_send(&self, segment: SegmentId, order: MediaOrder) -> Option<MediaOrder> {
        match self.of(segment)?.try_send(order) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
            Err(TrySendError::Full(order)) => Some(order),
        }
    }
}

/// A media thread has ended: the process stops.
#[derive(Debug)]
pub(crate) struct Gone;

/// A running record server.
pub(crate) struct Recorder {
    opener: Sender<opener::Waiting>,
    media: Threads,
    sealer: Sender<SealJob>,
    shared: Arc<Shared>,
    reports: tokio::sync::mpsc::Sender<Report>,
    teller: Teller,
    tenant: TenantId,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the threads. The repository must exist and be repaired.
    pub(crate) fn start(
        config: &RecorderConfig,
        teller: Teller,
        reports: tokio::sync::mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let alarms = teller.clone();
        let disk = Disk::new(&config.repository);
        let shared = Arc::new(Shared::default());
        let ports = Arc::new(Ports::new(config.ports.clone()));
        let (jobs, writer_jobs) = unbounded();
        let (sealer, seal_jobs) = unbounded();
        let (opener, open_orders) = bounded(ORDERS_MAX);
        let mut threads = Vec::new();
        let mut ways = Vec::new();
        for n in 0..config.threads.max(1) {
            let (way, orders) = bounded(ORDERS_MAX);
            ways.push(way);
            let thread = MediaThread {
                config: MediaConfig {
                    tick: config.tick,
                    flush: config.flush,
                    media_timeout: config.media_timeout,
                    backlog_max: config.backlog_max,
                    descriptors_max: config.descriptors_max,
                    cname: config.cname.clone(),
                },
                pulse: config.pulses.take(format!("media-{n}")),
                epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
                orders,
                writer: jobs.clone(),
                reports: reports.clone(),
                ports: Arc::clone(&ports),
                shared: Arc::clone(&shared),
                teller: teller.clone(),
            };
            threads.push(spawn(format!("media-{n}"), move || thread.run())?);
        }
        drop(jobs);
        let media = Threads(ways.into());
        let opening = Opener {
            node: config.node,
            segments_max: config.segments_max,
            // Refused early, so that media of running segments are not dropped later.
            backlog_max: config.backlog_max / 4,
            descriptors_max: config.descriptors_max,
            disk: disk.clone(),
            orders: open_orders,
            media: media.clone(),
            reports: reports.clone(),
            ports,
            teller: teller.clone(),
            shared: Arc::clone(&shared),
            pulse: config.pulses.take("opener"),
        };
        threads.push(spawn("opener".to_owned(), move || opening.run())?);
        let writing = Writer {
            disk: disk.clone(),
            jobs: writer_jobs,
            media: media.clone(),
            sealer: sealer.clone(),
            reports: reports.clone(),
            shared: Arc::clone(&shared),
            pulse: config.pulses.take("writer"),
        };
        threads.push(spawn("writer".to_owned(), move || writing.run())?);
        let sealing = Sealer {
            node: config.node,
            disk,
            repository: Repository::new(&config.repository),
            jobs: seal_jobs,
            reports: reports.clone(),
            teller: teller.clone(),
            shared: Arc::clone(&shared),
        };
        threads.push(spawn("sealer".to_owned(), move || sealing.run())?);
        let watch = Watch {
            root: config.repository.clone(),
            interval: config.sync,
            min_free: config.min_free_space,
            tenant: config.tenant.clone(),
            teller,
            shared: Arc::clone(&shared),
        };
        threads.push(spawn("sync".to_owned(), move || watch.run())?);
        let tenant = config.tenant.clone();
        Ok(Self { opener, media, sealer, shared, reports, teller: alarms, tenant, threads })
    }

    /// Carries out an order. Never waits: when a queue is full, an order to open or change is refused.
    pub(crate) fn order(&self, order: Order) {
        match order {
            Order::Open(open) => {
                let segment = open.segment;
                if self.opener.try_send((mono(), open)).is_err() {
                    // Nothing is kept for it yet, so it does not matter whether this gets through.
                    let _ = self.media.try_send(segment, MediaOrder::NeverCame(segment));
                    self.refuse(segment, "segments wait to be opened");
                }
            }
            Order::Change { segment, streams } => {
                if self.media.try_send(segment, MediaOrder::Change { segment, streams }).is_some() {
                    self.refuse(segment, "orders wait to be carried out");
                }
            }
            Order::Annotate { segment, data, metadata } => {
                self.insist(segment, MediaOrder::Annotate { segment, data, metadata });
            }
            Order::End { segment, at, reason } => {
                self.insist(segment, MediaOrder::End { segment, at, reason })
            }
            Order::Conclude(conclusion) => {
                let _ = self.sealer.send(SealJob::Conclude(conclusion));
            }
        }
    }

    /// An order that must not be lost: when the queue is full, this waits a little.
    fn insist(&self, segment: SegmentId, order: MediaOrder) {
        if let Some(order) = self.media.try_send(segment, order)
            && let Err(e) = self.media.send_soon(segment, order)
        {
            let text = format!("an order is lost: {e}");
            self.teller.alarm(&self.tenant, AlarmKind::Limit, None, Some(segment), text);
        }
    }

    fn refuse(&self, segment: SegmentId, why: &str) {
        let report = Report::Refused { segment, why: Failure::Resources(why.to_owned()) };
        if self.reports.try_send(report).is_err() {
            // The front's own deadline refuses the request then.
            tracing::warn!(%segment, "a refusal could not be reported");
        }
    }

    /// What it does now, in a line.
    pub(crate) fn summary(&self) -> String {
        let of = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        format!(
            "{} segments live, {} KiB wait for the disk, {} packets dropped",
            of(&self.shared.segments),
            of(&self.shared.backlog) >> 10,
            self.shared.dropped.load(Ordering::Relaxed)
        )
    }

    /// Stops when what is live has ended, or at the deadline. Somebody must go on taking reports meanwhile.
    pub(crate) fn stop(self, deadline: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let until = Instant::now() + deadline;
        let shared = Arc::clone(&self.shared);
        drop((self.opener, self.media, self.sealer));
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() {
                let _ = thread.join();
            } else {
                let name = thread.thread().name().unwrap_or_default().to_owned();
                tracing::error!(
                    "thread {name} did not stop in time; what it held is repaired at the next start"
                );
            }
        }
        let (packets, dropped) =
            (shared.packets.load(Ordering::Relaxed), shared.dropped.load(Ordering::Relaxed));
        tracing::info!(
            "{packets} datagrams came to media ports since the start, {dropped} packets were dropped"
        );
    }
}

/// Starts a thread that calls depend on. When it panics, the process aborts: without it calls would go on as if
/// they were recorded. A supervisor starts the process again, which repairs what was live; that loses what came
/// since, and no more.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let told = name.clone();
    std::thread::Builder::new().name(name).spawn(move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(
                "thread {told} panicked: callspool aborts, and repairs what was live when it is started"
            );
            std::process::abort();
        }
    })
}
