//! The joiner thread: notes in the logs of two calls that they are one, and tells the catalog.
//!
//! The logs may be on different volumes, and either may be away: what a disk did not take is tried again for an hour.
//! One of the two lines is enough for the next start to write the other.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use model::{ChangeKind, Join, NodeNumber};
use spool::FileOp;
use spool::joining::{self, Half};
use spool::log::LogLine;

use super::disk::Disk;
use super::tell::Teller;
use crate::clock::now;
use crate::repository::Repository;
use crate::volumes::Volumes;

/// Until what a disk did not take is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// An hour. The log of a call of which nothing is there by then is not written any more.
const TRIES_MAX: u32 = 720;
/// Joins that wait for a disk, at most: a few for each call that can be live. What is beyond is logged, and is one call
/// in the catalog and two on disk.
const WAITING_MAX: usize = 16_384;

pub(crate) struct Joiner {
    pub(crate) node: NodeNumber,
    pub(crate) volumes: Volumes,
    pub(crate) jobs: Receiver<Join>,
    pub(crate) teller: Teller,
}

struct Waiting {
    join: Join,
    tries: u32,
}

impl Joiner {
    /// Runs until nobody can order any more.
    pub(crate) fn run(self) {
        crate::priority::step_back();
        let repository = self.volumes.repository();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut due = Instant::now() + RETRY;
        loop {
            let job = match waiting.is_empty() {
                true => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.jobs.recv_deadline(due),
            };
            match job {
                Ok(join) => self.carry_out(&repository, join, &mut waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.retry(&repository, &mut waiting);
                    for Waiting { join, .. } in waiting {
                        tracing::error!(into = %join.into.call, from = %join.from.call,
                            "that two calls are one is not in both their logs; the next start looks");
                    }
                    return;
                }
            }
            if Instant::now() >= due {
                self.retry(&repository, &mut waiting);
                due = Instant::now() + RETRY;
            }
        }
    }

    fn carry_out(&self, repository: &Repository, join: Join, waiting: &mut VecDeque<Waiting>) {
        let (into, from) = (join.into.call, join.from.call);
        if !join.is_sound() {
            tracing::error!(%into, %from, "two calls cannot be one: {join:?}");
            return;
        }
        tracing::info!(%into, %from, "two calls are one: {}", join.why.describe());
        let noted = self.note(repository, &join);
        // People see what is so, whether or not the disks took it. A read that hangs holds up all joins.
        self.teller.tell(join.into.tenant.clone(), ChangeKind::Joined(join.clone()));
        if let Err(e) = noted {
            let room = waiting.len() < WAITING_MAX;
            let then = if room { "it is tried again" } else { "too much waits for the disk" };
            tracing::error!(%into, %from, "that two calls are one cannot be noted: {e}; {then}");
            if room {
                waiting.push_back(Waiting { join, tries: 0 });
            }
        }
    }

    fn retry(&self, repository: &Repository, waiting: &mut VecDeque<Waiting>) {
        for _ in 0..waiting.len() {
            let Some(mut w) = waiting.pop_front() else { return };
            w.tries += 1;
            if self.note(repository, &w.join).is_err() && w.tries < TRIES_MAX {
                waiting.push_back(w);
            }
        }
    }

    fn note(&self, repository: &Repository, join: &Join) -> io::Result<()> {
        note(repository, self.node, &self.teller, join, |directory, ops| {
            append(&self.volumes, directory, ops)
        })
    }
}

/// Writes what is missing in the logs of two calls that are one; `append` does, in the log of a directory. Twice is as
/// once.
///
/// # Errors
/// When a log cannot be read or written.
pub(crate) fn note(
    repository: &Repository,
    node: NodeNumber,
    teller: &Teller,
    join: &Join,
    append: impl Fn(&str, Vec<FileOp>) -> io::Result<()>,
) -> io::Result<()> {
    let lines_of = |half: Half| -> io::Result<Vec<LogLine>> { Ok(repository.log(&half.directory(join))?.0) };
    let mut result = Ok(());
    for half in joining::order(join, &lines_of(Half::Into)?) {
        let (ops, copy) = joining::note(now(), node, join, half, &lines_of(half)?);
        if ops.is_empty() {
            continue;
        }
        match append(&half.directory(join), ops) {
            // The other line is worth having without this one.
            Err(e) => result = Err(e),
            Ok(()) => {
                if let Some(copy) = copy {
                    teller.copy(&join.into.tenant, join.into.call, copy);
                }
            }
        }
    }
    result
}

/// Appends to the log of a call, on a volume that holds some of it.
fn append(volumes: &Volumes, directory: &str, ops: Vec<FileOp>) -> io::Result<()> {
    let holds = |root: &Path| root.join(directory).is_dir();
    let volume = volumes.iter().find(|v| v.is_here() && holds(&v.root));
    let volume = volume.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("nothing of {directory} is on the volumes that are there"),
        )
    })?;
    Disk::new(&volume.root).apply_all(ops)
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
            assert!(crate::catalog::tell_call(&two.repository, &teller, &half.directory(&two.join)));
        }
        let (orders, jobs) = crossbeam_channel::bounded(4);
        let joiner = Joiner { node: NodeNumber::SINGLE, volumes, jobs, teller };
        let running = std::thread::spawn(move || joiner.run());
        let mut backwards = two.join.clone();
        std::mem::swap(&mut backwards.into, &mut backwards.from);
        for join in [two.join.clone(), two.join.clone(), backwards] {
            orders.send(join).unwrap();
        }
        drop(orders);
        running.join().unwrap();
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
