//! The record server of this process: takes orders, records segments, reports.
//!
//! ```text
//!  Order::Open ──► placer ──► opener ──(ports, directory, manifest)──► media thread ──► writer ──► sealer
//!                    │ refused  └──── some for a volume, then one each ─┐ │ flushes       │ digests, manifest
//!                    ▼                                                  ▼ ▼               ▼
//!                 Report::Refused        Report::Opened, MediaTimedOut, Failing, Ended
//! ```
//!
//! Beside them the joiner notes in the logs of calls that turned out to be one that they are.
//!
//! Threads, not tasks: media must not wait behind anything else. A segment belongs to one media thread by its id.
//! No thread waits for the catalogue, and neither a media thread nor the placer for a disk: what waits for one are
//! the threads of its volume.

mod delay;
mod disk;
mod figures;
mod handshakes;
mod joiner;
mod kept;
mod listening;
mod live;
mod markers;
mod media_thread;
mod opener;
mod outcomes;
mod placer;
mod ports;
mod quality;
mod redo;
mod replacing;
mod replay;
mod reserve;
mod resting;
mod sealer;
mod seats;
mod shelving;
mod source;
mod spares;
mod syncs;
mod tell;
mod threads;
mod thresholds;
mod turns;
mod watch;
mod writer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};
use model::peer::Flowing;
use model::{Failure, Incident, Join, NodeNumber, Order, Report, SegmentId, TenantId};

pub(crate) use disk::Disk;
pub(crate) use figures::Figures;
pub(crate) use joiner::note as note_join;
pub(crate) use listening::{
    Coding, Crowded, Ear, LISTENERS_MAX, LISTENERS_PER_CALL_MAX, Listening, Overheard,
};
pub(crate) use markers::read_markers;
pub(crate) use media_thread::Shared;
pub(crate) use ports::{PortConfig, Ports, STREAMS_PER_PORT_MAX};
pub(crate) use quality::QualityRules;
pub(crate) use redo::run;
pub(crate) use replay::{Replayed, Unreadable, When, replay};
pub(crate) use source::{Kind, possible};
pub(crate) use tell::Teller;
pub(crate) use threads::Threads;
pub(crate) use thresholds::{AlarmThresholds, Thresholds};

use crate::clock::mono;
use crate::dtls::Identity;
use crate::pending::Pending;
use crate::privilege::RawSockets;
use crate::pulse::Pulses;
use crate::repository::{Place, Repository};
use crate::volumes::identity::Memory;
use crate::volumes::{Volume, Volumes};
use handshakes::{Handshakes, Knocks};
use joiner::Joiner;
use media_thread::{MediaConfig, MediaOrder, MediaThread};
use opener::Opener;
use placer::{Placer, Placing};
use ports::Berths;
use resting::Resting;
use sealer::Sealer;
use shelving::Shelving;
use source::Chosen;
use threads::Bell;
use turns::Turns;
use watch::Watch;
use writer::Writer;

/// Orders that may wait for a media thread, and segments that may wait to be opened. Some seconds' worth at the
/// highest call rate; beyond it orders to open are refused.
const ORDERS_MAX: usize = 8_192;
/// What a record server needs to know.
#[derive(Debug, Clone)]
pub(crate) struct RecorderConfig {
    pub(crate) node: NodeNumber,
    /// What the volumes of this node are known by.
    pub(crate) memory: Memory,
    pub(crate) data_dir: PathBuf,
    /// Whose alarms are those of the volumes as a whole.
    pub(crate) tenant: TenantId,
    pub(crate) ports: PortConfig,
    /// Streams that may share a pair of ports.
    pub(crate) streams_per_port: usize,
    /// Where datagrams come from, if the machine allows it.
    pub(crate) source: Kind,
    /// Octets of each ring of packets.
    pub(crate) ring: usize,
    pub(crate) threads: usize,
    /// Openers of each volume.
    pub(crate) openers: usize,
    pub(crate) tick: Duration,
    pub(crate) flush: Duration,
    pub(crate) sync: Duration,
    pub(crate) media_timeout: Duration,
    /// When something is told as an alarm, to begin with.
    pub(crate) thresholds: AlarmThresholds,
    /// How long an operation may take before its volume counts as standing still.
    pub(crate) stall: Duration,
    /// Segments that are live or being closed, at most.
    pub(crate) segments_max: usize,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
    pub(crate) cname: String,
    /// Where its threads show that they go round.
    pub(crate) pulses: Pulses,
}

/// What it works with and does not make itself.
pub(crate) struct Means {
    /// Of the volumes, in their order.
    pub(crate) disks: Vec<Disk>,
    pub(crate) raw: RawSockets,
    /// What is shown in handshakes.
    pub(crate) identity: Arc<Identity>,
}

/// A running record server.
pub(crate) struct Recorder {
    placer: Sender<Placing>,
    joiner: Sender<Join>,
    media: Threads,
    shared: Arc<Shared>,
    reports: tokio::sync::mpsc::Sender<Report>,
    teller: Teller,
    tenant: TenantId,
    volumes: Volumes,
    descriptors_max: u64,
    listening: Listening,
    resting: Arc<Resting>,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the threads. What is live on the volumes must have been listed before.
    pub(crate) fn start(
        config: &RecorderConfig,
        volumes: &Volumes,
        Means { disks, raw, identity }: Means,
        teller: Teller,
        reports: tokio::sync::mpsc::Sender<Report>,
        returned: tokio::sync::mpsc::UnboundedSender<Arc<Volume>>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.thresholds.set(config.thresholds);
        let (knock, knocks) = Knocks::new();
        let count = config.threads.max(1);
        let (wanted, ports, ring) = (config.source, config.ports.clone(), config.ring);
        let chosen = raw.use_up(move || Chosen::of(wanted, &ports, count, ring))??;
        let source = chosen.kind;
        let _ = shared.source.set(source);
        tracing::info!("media are received by media.source = \"{}\"", source.name());
        if let Some(why) = chosen.instead {
            teller.alarm(&config.tenant, Incident::Limit, None, None, why);
        }
        let ports = if source == Kind::PacketRing {
            // Each thread has a ring, with the ports that are its own.
            Ports::dealt(&PortConfig { is_held: true, ..config.ports.clone() }, &knock, count)
        } else {
            let all = Arc::new(Ports::new(config.ports.clone(), knock));
            (0..count).map(|_| Arc::clone(&all)).collect()
        };
        let ports = Berths::new(ports, config.streams_per_port, &shared);
        let (placer, placings) = bounded(ORDERS_MAX);
        let (answer, tried) = unbounded();
        let (job_ways, writer_jobs): (Vec<_>, Vec<_>) = volumes.iter().map(|_| unbounded()).unzip();
        let (ways, orders): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(ORDERS_MAX)).unzip();
        let bells: Vec<Bell> = ways.iter().map(|_| Bell::default()).collect();
        let media = Threads::new(ways.into_iter().zip(bells.iter().cloned()));
        let listening = Listening::default();
        let resting = Arc::new(Resting::default());
        let mut threads = Vec::new();
        let handshakes =
            Handshakes { identity, knocks, media: media.clone(), pulse: config.pulses.take("handshakes") };
        threads.push(spawn("handshakes".to_owned(), move || handshakes.run())?);
        let own = ports.iter().cloned().zip(chosen.sources);
        for (((n, orders), bell), (own_ports, source)) in orders.into_iter().enumerate().zip(bells).zip(own) {
            let thread = MediaThread {
                config: MediaConfig {
                    tick: config.tick,
                    flush: config.flush,
                    media_timeout: config.media_timeout,
                    descriptors_max: config.descriptors_max,
                    cname: config.cname.clone(),
                },
                pulse: config.pulses.take(format!("media-{n}")),
                orders,
                bell,
                volumes: volumes.clone(),
                writers: job_ways.clone(),
                reports: reports.clone(),
                ports: own_ports,
                shared: Arc::clone(&shared),
                resting: Arc::clone(&resting),
                teller: teller.clone(),
                listening: listening.clone(),
            };
            threads.push(spawn(format!("media-{n}"), move || thread.run(source))?);
        }
        drop(job_ways);
        let (mut openers, mut sealers) = (Vec::new(), Vec::new());
        for (((index, volume), disk), jobs) in volumes.iter().enumerate().zip(disks).zip(writer_jobs) {
            let (way, open_jobs) = bounded(ORDERS_MAX);
            openers.push(way);
            let turns = Arc::new(Turns::new());
            for number in 0..config.openers.max(1) {
                let name = format!("opener-{index}-{number}");
                let opening = Opener {
                    node: config.node,
                    index,
                    number,
                    turns: Arc::clone(&turns),
                    volume: Arc::clone(volume),
                    descriptors_max: config.descriptors_max,
                    disk: disk.clone(),
                    jobs: open_jobs.clone(),
                    tried: answer.clone(),
                    media: media.clone(),
                    ports: ports.clone(),
                    teller: teller.clone(),
                    shared: Arc::clone(&shared),
                    pulse: config.pulses.take(&*name),
                };
                threads.push(spawn(name, move || opening.run())?);
            }
            let (sealer, seal_jobs) = unbounded();
            sealers.push(sealer.clone());
            let writing = Writer {
                volume: Arc::clone(volume),
                disk: disk.clone(),
                jobs,
                media: media.clone(),
                sealer,
                reports: reports.clone(),
                shelving: Shelving::new(
                    Arc::clone(volume),
                    config.pulses.take(format!("writer-{index}")),
                    disk.clone(),
                    teller.clone(),
                    config.tenant.clone(),
                    redo::run(),
                ),
                shared: Arc::clone(&shared),
                descriptors_max: config.descriptors_max,
            };
            threads.push(spawn(format!("writer-{index}"), move || writing.run())?);
            let sealing = Sealer {
                node: config.node,
                volume: Arc::clone(volume),
                disk: disk.clone(),
                repository: Repository::of(vec![Place::new(volume.name.clone(), &volume.root)]),
                media: media.clone(),
                jobs: seal_jobs,
                reports: reports.clone(),
                teller: teller.clone(),
                shared: Arc::clone(&shared),
            };
            threads.push(spawn(format!("sealer-{index}"), move || sealing.run())?);
            let watch = Watch {
                volume: Arc::clone(volume),
                memory: config.memory.clone(),
                data_dir: config.data_dir.clone(),
                interval: config.sync,
                tenant: config.tenant.clone(),
                teller: teller.clone(),
                shared: Arc::clone(&shared),
                disk,
                returned: returned.clone(),
            };
            threads.push(spawn(format!("sync-{index}"), move || watch.run())?);
        }
        let placing = Placer {
            orders: placings,
            tried,
            volumes: volumes.clone(),
            openers,
            sealers,
            media: media.clone(),
            reports: reports.clone(),
            shared: Arc::clone(&shared),
            segments_max: config.segments_max,
            stall: config.stall,
            teller: teller.clone(),
            tenant: config.tenant.clone(),
            pulse: config.pulses.take("placer"),
        };
        threads.push(spawn("placer".to_owned(), move || placing.run())?);
        let (joiner, joins) = bounded(ORDERS_MAX);
        let joining = Joiner {
            node: config.node,
            volumes: volumes.clone(),
            pending: Pending::new(&config.data_dir),
            jobs: joins,
            teller: teller.clone(),
        };
        threads.push(spawn("joiner".to_owned(), move || joining.run())?);
        let (tenant, descriptors_max) = (config.tenant.clone(), config.descriptors_max);
        let volumes = volumes.clone();
        Ok(Self {
            placer,
            joiner,
            media,
            shared,
            reports,
            teller,
            tenant,
            volumes,
            descriptors_max,
            listening,
            resting,
            threads,
        })
    }

    /// Carries out an order. Never waits: when a queue is full, an order to open or change is refused.
    pub(crate) fn order(&self, order: Order) {
        match order {
            Order::Open(open) => {
                let segment = open.segment;
                if let Some(failed) = &open.takes_over {
                    // Its sockets stay in their thread.
                    self.media.follow(segment, failed.segment);
                }
                if self.placer.try_send(Placing::Open(mono(), open)).is_err() {
                    // Nothing is kept for it yet, so it does not matter whether this gets through.
                    let _ = self.media.try_send(segment, MediaOrder::NeverCame(segment));
                    self.refuse(segment, "segments wait to be opened");
                }
            }
            Order::Change { segment, streams } => {
                // What pauses a stream must not be lost.
                let pauses = streams.iter().any(|s| s.flowing == Flowing::Paused);
                let lost = match self.media.try_send(segment, MediaOrder::Change { segment, streams }) {
                    Some(order) => !pauses || self.media.send_soon(segment, order).is_err(),
                    None => false,
                };
                if lost {
                    self.refuse(segment, "orders wait to be carried out");
                }
            }
            Order::Annotate { segment, data, metadata } => {
                self.insist(segment, MediaOrder::Annotate { segment, data, metadata });
            }
            Order::Pause { segment, order, by } => {
                self.insist(segment, MediaOrder::Pause { segment, order, by });
            }
            Order::Resume { segment, order, by } => {
                self.insist(segment, MediaOrder::Resume { segment, order, by });
            }
            Order::Keys { segment, order, stream, protection } => {
                self.insist(segment, MediaOrder::Keys { segment, order, stream, protection });
            }
            Order::End { segment, at, reason, by } => {
                self.insist(segment, MediaOrder::End { segment, at, reason, by });
            }
            Order::Withdraw { segment } => {
                // If this is lost, the segment is opened, and ends as it was told to.
                let _ = self.placer.try_send(Placing::Withdraw(segment));
            }
            Order::Conclude(conclusion) => {
                self.resting.forget(conclusion.call);
                if self.placer.try_send(Placing::Conclude(conclusion)).is_err() {
                    tracing::error!("a call is concluded in its log at the next start: orders wait");
                }
            }
            Order::Join(join) => {
                let (call, other) = (join.into.call, join.from.call);
                self.listening.join(other, call);
                self.resting.join(other, call);
                // If it is not told, it is remembered a little longer.
                let _ = self.placer.try_send(Placing::Joined(other));
                if self.joiner.try_send(join).is_err() {
                    let text = format!("call {other} is this one, and is not joined with it: orders wait");
                    self.teller.alarm(&self.tenant, Incident::Limit, Some(call), None, text);
                }
            }
        }
    }

    /// An order that must not be lost: when the queue is full, this waits a little.
    fn insist(&self, segment: SegmentId, order: MediaOrder) {
        if let Some(order) = self.media.try_send(segment, order)
            && let Err(e) = self.media.send_soon(segment, order)
        {
            let text = format!("an order is lost: {e}");
            self.teller.alarm(&self.tenant, Incident::Limit, None, Some(segment), text);
        }
    }

    fn refuse(&self, segment: SegmentId, why: &str) {
        let report = Report::Refused { segment, why: Failure::Resources(why.to_owned()) };
        if self.reports.try_send(report).is_err() {
            // The front's own deadline refuses the request then.
            tracing::warn!(%segment, "a refusal could not be reported");
        }
    }

    /// Whether media wait for every volume that could take a call.
    pub(crate) fn is_behind(&self) -> bool {
        self.volumes.are_filling()
    }

    /// Those who listen to calls of it.
    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// How full it is, for whoever watches.
    pub(crate) fn figures(&self) -> Figures {
        Figures::new(Arc::clone(&self.shared), self.descriptors_max, self.volumes.clone())
    }

    /// What its threads count.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// When something is told as an alarm from now on.
    pub(crate) fn set_thresholds(&self, thresholds: AlarmThresholds) {
        self.shared.thresholds.set(thresholds);
    }

    /// Orders that wait for the placer, and for the media threads.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.placer.len(), self.media.queued())
    }

    /// What it does now, in a line.
    pub(crate) fn summary(&self) -> String {
        let of = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        let backlog: usize = self.volumes.iter().map(|v| of(&v.backlog)).sum();
        format!(
            "{} segments live, {} KiB wait for the disk, {} packets dropped",
            of(&self.shared.segments),
            backlog >> 10,
            self.shared.dropped.load(Ordering::Relaxed)
        )
    }

    /// Stops when what is live has ended, or at the deadline. Somebody must go on taking reports meanwhile.
    pub(crate) fn stop(self, deadline: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let until = Instant::now() + deadline;
        let shared = Arc::clone(&self.shared);
        drop((self.placer, self.joiner, self.media));
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
