//! The joiner: notes in the logs of two calls that they are one, and tells the catalog.
//!
//! ```text
//!  Order::Join ──► joiner ──► the catalog, which waits for nothing
//!                    └──► a hand, a thread for this join: pending file ─► line ─► other line ─► pending file goes
//! ```
//!
//! The joiner itself touches no disk. The logs may be on different volumes, and any volume may be away or stand still:
//! that keeps a hand, and no other join. A hand that does not come back is left; by then the volume is known to stand
//! still, and another hand goes without it. Joins that share a call are noted one after the other. What a disk did not
//! take is tried again for an hour, and by the next start, which finds it by its pending file; an alarm says so.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use model::{CallId, ChangeKind, Copy, Incident, Join, NodeNumber};
use spool::FileOp;
use spool::joining::{self, Half};
use spool::layout;
use spool::log::LogLine;

use super::disk::Disk;
use super::tell::Teller;
use crate::clock::now;
use crate::pending::Pending;
use crate::repository::Repository;
use crate::volumes::Volumes;

/// Until what a disk did not take is tried again, and a hand that is at it is taken to hang.
const RETRY: Duration = Duration::from_secs(5);
/// An hour: a disk that is away for longer is back at a start, or never.
const TRIES_MAX: u32 = 720;
/// Joins that wait for a disk or a hand, at most: a few for each call that can be live. What is beyond is one call in
/// the catalog and two on disk, and an alarm.
const WAITING_MAX: usize = 16_384;
/// Hands at a time, those that hang included. A join takes milliseconds; so many may come to hang with a disk in the
/// seconds until it is known to stand still, after which nobody looks there any more.
const HANDS_MAX: usize = 128;
/// How long what is under way may take when the process stops: the next start does the rest.
const LEAVE: Duration = Duration::from_millis(1_500);

pub(crate) struct Joiner {
    pub(crate) node: NodeNumber,
    pub(crate) volumes: Volumes,
    pub(crate) pending: Pending,
    pub(crate) jobs: Receiver<Join>,
    pub(crate) teller: Teller,
}

#[derive(Clone)]
struct Job {
    join: Join,
    /// How often it failed.
    tries: u32,
}

/// Which hand, and what it did.
type Noted = (u64, io::Result<()>);

/// A thread that notes a join.
struct Hand {
    number: u64,
    job: Job,
    since: Instant,
    /// It did not come back in time: another does its work.
    is_left: bool,
}

/// The joins that are not in both logs yet.
struct Work {
    /// To be begun as soon as a hand is free, and no other has one of the calls.
    ready: VecDeque<Job>,
    /// To be tried again.
    failed: Vec<Job>,
    hands: Vec<Hand>,
    /// The number of the last hand.
    last: u64,
    tell: Sender<Noted>,
}

impl Work {
    /// The calls whose logs a hand is at.
    fn busy(&self) -> BTreeSet<CallId> {
        let at_work = self.hands.iter().filter(|hand| !hand.is_left);
        at_work.flat_map(|hand| [hand.job.join.into.call, hand.job.join.from.call]).collect()
    }
}

impl Joiner {
    /// Runs until nobody can order any more.
    pub(crate) fn run(self) {
        crate::priority::step_back();
        let (tell, told) = unbounded();
        let mut work = Work { ready: VecDeque::new(), failed: Vec::new(), hands: Vec::new(), last: 0, tell };
        let mut due = Instant::now() + RETRY;
        loop {
            crossbeam_channel::select! {
                recv(self.jobs) -> job => match job {
                    Ok(join) => self.take(join, &mut work),
                    Err(_) => break,
                },
                recv(told) -> noted => {
                    if let Ok(noted) = noted {
                        self.noted(noted, &mut work);
                    }
                }
                default(due.saturating_duration_since(Instant::now())) => {}
            }
            if Instant::now() >= due {
                due = Instant::now() + RETRY;
                self.leave_late(&mut work);
                work.ready.extend(work.failed.drain(..));
            }
            self.hand_out(&mut work);
        }
        self.finish(work, &told);
    }

    /// Two calls are one. People see what is so, whether or not a disk takes it.
    fn take(&self, join: Join, work: &mut Work) {
        let (into, from) = (join.into.call, join.from.call);
        if !join.is_sound() {
            tracing::error!(%into, %from, "two calls cannot be one: {join:?}");
            return;
        }
        tracing::info!(%into, %from, "two calls are one: {}", join.why.describe());
        self.teller.tell(join.into.tenant.clone(), ChangeKind::Joined(join.clone()));
        if work.ready.len() + work.failed.len() < WAITING_MAX {
            work.ready.push_back(Job { join, tries: 0 });
        } else {
            let text = format!(
                "call {from} is this one, and their files do not say so: {WAITING_MAX} joins wait for disks"
            );
            self.teller.alarm(&join.into.tenant, Incident::Limit, Some(into), None, text);
        }
    }

    fn noted(&self, (number, noted): Noted, work: &mut Work) {
        let Some(at) = work.hands.iter().position(|hand| hand.number == number) else { return };
        let hand = work.hands.swap_remove(at);
        if let (Err(e), false) = (noted, hand.is_left) {
            self.failed(hand.job, &e, work);
        }
    }

    /// Hands that do not come back are left, and what they were at is tried again.
    fn leave_late(&self, work: &mut Work) {
        let mut left = Vec::new();
        for hand in work.hands.iter_mut().filter(|hand| !hand.is_left && hand.since.elapsed() >= RETRY) {
            hand.is_left = true;
            left.push(hand.job.clone());
        }
        let e = io::Error::new(io::ErrorKind::TimedOut, "a disk does not answer");
        left.into_iter().for_each(|job| self.failed(job, &e, work));
    }

    fn failed(&self, mut job: Job, e: &io::Error, work: &mut Work) {
        let (into, from) = (job.join.into.call, job.join.from.call);
        job.tries += 1;
        if job.tries >= TRIES_MAX {
            let text = format!(
                "call {from} is this one, and not both their logs say so: {e}; the next start tries again"
            );
            self.teller.alarm(&job.join.into.tenant, Incident::Storage, Some(into), None, text);
            return;
        }
        if job.tries == 1 {
            tracing::error!(%into, %from, "that two calls are one cannot be noted: {e}; it is tried again");
        }
        work.failed.push(job);
    }

    /// Begins what can be begun.
    fn hand_out(&self, work: &mut Work) {
        let mut busy = work.busy();
        for job in std::mem::take(&mut work.ready) {
            let calls = [job.join.into.call, job.join.from.call];
            if work.hands.len() >= HANDS_MAX || calls.iter().any(|call| busy.contains(call)) {
                work.ready.push_back(job);
                continue;
            }
            work.last += 1;
            if let Err(e) = self.begin(work.last, job.join.clone(), work.tell.clone()) {
                tracing::error!("a join waits: no thread can be started: {e}");
                work.failed.push(job);
                continue;
            }
            busy.extend(calls);
            work.hands.push(Hand { number: work.last, job, since: Instant::now(), is_left: false });
        }
    }

    fn begin(&self, number: u64, join: Join, tell: Sender<Noted>) -> io::Result<()> {
        let (node, volumes, pending, teller) =
            (self.node, self.volumes.clone(), self.pending.clone(), self.teller.clone());
        let carry_out = move || {
            let noted = carry_out(node, &volumes, &pending, &teller, &join);
            // Nobody may be there any more.
            let _ = tell.send((number, noted));
        };
        std::thread::Builder::new().name("join".to_owned()).spawn(carry_out).map(drop)
    }

    /// Begins what waits, and waits for it for a moment.
    fn finish(&self, mut work: Work, told: &Receiver<Noted>) {
        let until = Instant::now() + LEAVE;
        work.ready.extend(work.failed.drain(..));
        self.hand_out(&mut work);
        while work.hands.iter().any(|hand| !hand.is_left) {
            match told.recv_deadline(until) {
                Ok(noted) => self.noted(noted, &mut work),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            self.hand_out(&mut work);
        }
        let at_work = work.hands.iter().filter(|hand| !hand.is_left).count();
        let left = at_work + work.ready.len() + work.failed.len();
        if left > 0 {
            tracing::error!("{left} joins of calls are not in both logs; the next start writes them");
        }
    }
}

/// Notes a join where it is missing. Blocks on the disks that the calls are on.
fn carry_out(
    node: NodeNumber,
    volumes: &Volumes,
    pending: &Pending,
    teller: &Teller,
    join: &Join,
) -> io::Result<()> {
    if let Err(e) = pending.note(join) {
        // The logs say it all the same, if they can.
        tracing::error!("a start would not finish this join if callspool ended now: {e}");
    }
    let tell = |copy: Copy| teller.copy(&join.into.tenant, join.into.call, copy);
    note(&volumes.repository(), node, join, tell, |directory| disk_of(volumes, directory))?;
    if let Err(e) = pending.done(join) {
        tracing::warn!("a join that is noted is looked at again by the next start: {e}");
    }
    Ok(())
}

/// Writes what is missing in the logs of two calls that are one, and makes it durable. `disk_of` is a disk that holds a
/// directory. A copy that is taken back is told. Twice is as once.
///
/// Where one of the two lies at other nodes only, it gets a directory here with nothing but its log: who asks this node for
/// either of the two, as those do that gather them, is told of both.
///
/// # Errors
/// When a log cannot be read or written; the other line is worth having without that one, and is written.
pub(crate) fn note(
    repository: &Repository,
    node: NodeNumber,
    join: &Join,
    tell: impl Fn(Copy),
    disk_of: impl Fn(&str) -> Option<Disk>,
) -> io::Result<()> {
    let lines_of = |half: Half| -> io::Result<Vec<LogLine>> { Ok(repository.log(&half.directory(join))?.0) };
    let mut result = Ok(());
    for half in joining::order(join, &lines_of(Half::Into)?) {
        let (mut ops, copy) = joining::note(now(), node, join, half, &lines_of(half)?);
        let directory = half.directory(join);
        let beside_the_other = || {
            // It may lie on a volume that is away.
            let disk =
                disk_of(&half.other().directory(join)).filter(|_| repository.away().next().is_none())?;
            ops.insert(0, FileOp::MakeDir { path: directory.clone() });
            Some(disk)
        };
        let Some(disk) = disk_of(&directory).or_else(beside_the_other) else {
            if !ops.is_empty() {
                let text = format!("nothing of {directory} is on the volumes that are there");
                result = Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            continue;
        };
        let stands_already = ops.is_empty();
        match disk.apply_all(ops).and_then(|()| disk.make_durable(&layout::log_path(&directory))) {
            // It stands in the log of another volume.
            Err(e) if stands_already && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => result = Err(e),
            Ok(()) => copy.into_iter().for_each(&tell),
        }
    }
    result
}

/// A volume that holds some of a call, and answers.
fn disk_of(volumes: &Volumes, directory: &str) -> Option<Disk> {
    let holds = |root: &Path| root.join(directory).is_dir();
    let volume = volumes.iter().find(|v| !v.is_lost() && holds(&v.root))?;
    Some(Disk::new(&volume.root))
}

#[cfg(test)]
mod tests {
    use model::alarm::AlarmRules;
    use model::{IdGenerator, TenantId, VolumeName};
    use spool::log::joins_of;
    use store::{CallQuery, Catalog, CatalogWriter};

    use super::*;
    use crate::volumes::VolumeSpec;
    use crate::volumes::identity::Memory;
    use crate::whole::tests::two;

    #[test]
    fn an_order_is_in_both_logs_and_in_the_catalog_once_however_often_it_comes() {
        let (two, state) = (two(), tempfile::tempdir().unwrap());
        let spec = VolumeSpec {
            name: VolumeName::default(),
            path: two.directory.path().to_owned(),
            weight: 1,
            min_free: 0,
        };
        let volumes = Volumes::new(vec![spec], 1 << 20);
        let memory = Memory::new(state.path());
        let arrived = volumes.arrive(&memory, state.path(), Duration::from_secs(20));
        assert!(arrived.values().all(Result::is_ok), "{arrived:?}");
        let path = state.path().join("catalog.db");
        let (handle, worker) = CatalogWriter::start(&path, &state.path().join("journal"));
        let writer = std::thread::spawn(move || worker.run(|_| {}));
        let ids = IdGenerator::new(NodeNumber::SINGLE, 0);
        let teller = Teller::new(ids, AlarmRules::default(), handle.clone());
        for half in [Half::Into, Half::From] {
            assert!(
                crate::catalog::tell_call(&two.repository, &teller, &half.directory(&two.join)).is_some()
            );
        }
        let (orders, jobs) = crossbeam_channel::bounded(4);
        let pending = Pending::new(state.path());
        let joiner = Joiner {
            node: NodeNumber::SINGLE,
            volumes,
            pending: pending.clone(),
            jobs,
            teller: teller.clone(),
        };
        let running = std::thread::spawn(move || joiner.run());
        let mut backwards = two.join.clone();
        std::mem::swap(&mut backwards.into, &mut backwards.from);
        for join in [two.join.clone(), two.join.clone(), backwards] {
            orders.send(join).unwrap();
        }
        let both = || {
            let joins = |half: Half| two.repository.log(&half.directory(&two.join)).unwrap().0;
            [Half::Into, Half::From].iter().all(|half| !joins_of(&joins(*half)).is_empty())
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !both() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(orders);
        running.join().unwrap();
        assert_eq!(pending.all().unwrap(), []);
        for half in [Half::Into, Half::From] {
            let (lines, damage) = two.repository.log(&half.directory(&two.join)).unwrap();
            let says = |line: &&LogLine| {
                matches!(line.entry, spool::log::Entry::Joined(_) | spool::log::Entry::JoinedInto(_))
            };
            assert_eq!((lines.iter().filter(says).count(), damage.len()), (1, 0), "{half:?}");
            assert_eq!(joins_of(&lines), [&two.join]);
        }
        handle.stop();
        writer.join().unwrap().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let catalog = Catalog::reader(&path);
            let list = catalog.calls(&CallQuery::default()).await.unwrap();
            assert_eq!(
                list.iter().map(|c| (c.id, c.segments)).collect::<Vec<_>>(),
                [(two.join.into.call, 3)]
            );
            let other = catalog.call(&TenantId::default(), two.join.from.call).await.unwrap().unwrap();
            assert_eq!(other.summary.id, two.join.into.call);
        });
    }
}
