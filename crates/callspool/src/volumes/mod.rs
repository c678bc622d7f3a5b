//! The volumes of this node: the directories that recordings lie in, each on a disk of its own, and how each of
//! them is at the moment.
//!
//! [`declared`] reads them from the configuration, [`identity`] tells a volume from the empty place of one,
//! [`Volume`] is what all threads know of one. Threads of a volume may hang with it; whoever must not hang looks
//! at a [`Volume`] only and never at its disk.

pub(crate) mod identity;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faults::{Operation, before};
use model::{Failure, Mono, SegmentId, VolumeName};
use spool::placement::{Candidate, Fitness};

use crate::config::Config;
use crate::patience::{ANSWER, within};
use crate::repository::{self, Lock, Place, Repository};
use identity::{Memory, NotHere, VolumeId};
pub(crate) use standing::Standing;

/// A volume as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VolumeSpec {
    pub(crate) name: VolumeName,
    pub(crate) path: PathBuf,
    /// How much it is wanted, against the others; 0: only read.
    pub(crate) weight: u32,
    /// Octets that stay free.
    pub(crate) min_free: u64,
}

/// The volumes of the configuration. `recording.repository` is the only one when none is declared; with others it
/// is only read, and only if it is there.
pub(crate) fn declared(config: &Config) -> Vec<VolumeSpec> {
    let least = config.recording.min_free_space.octets() as u64;
    let repository = |weight| VolumeSpec {
        name: VolumeName::default(),
        path: config.recording.repository.clone(),
        weight,
        min_free: least,
    };
    let volumes = &config.recording.volumes;
    if volumes.is_empty() {
        return vec![repository(1)];
    }
    let specs = volumes.iter().map(|v| VolumeSpec {
        name: v.name.clone(),
        path: v.path.clone(),
        weight: v.weight,
        min_free: v.min_free.map_or(least, |s| s.0),
    });
    // What was recorded before others were declared is still found.
    let before = repository(0);
    let is_declared = volumes.iter().any(|v| v.path == before.path);
    let place = before.path.clone();
    // One that does not answer is there.
    let is_there = || within(ANSWER, move || place.is_dir()).unwrap_or(true);
    let reads_before = !is_declared && is_there();
    specs.chain(reads_before.then_some(before)).collect()
}

/// Whose operation it is that may hang.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hand {
    Writer,
    Watch,
    /// One of its openers, by number.
    Opener(usize),
}

/// Openers that a volume may have: file systems serve no more at once, and each is a thread.
pub(crate) const OPENERS_MAX: usize = 16;
/// Writer and watch, and the openers.
const HANDS: usize = 2 + OPENERS_MAX;

impl Hand {
    /// Its place among all of them; one opener too many would share that of the last.
    const fn index(self) -> usize {
        match self {
            Self::Writer => 0,
            Self::Watch => 1,
            Self::Opener(n) if n < OPENERS_MAX => 2 + n,
            Self::Opener(_) => HANDS - 1,
        }
    }
}

/// An operation that takes so long gives reason to begin segments elsewhere; a page that is written takes less than
/// a millisecond.
const SLOW: Duration = Duration::from_millis(500);

/// How long a single opener may be held up by what does not hold up the others (a directory that somebody has, a bad
/// place on a disk) before its volume counts as standing still: many times what a disk takes to find a spoiled sector.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// How long a volume is known again by its directory alone: numbers of file systems without a disk are used again when
/// one is unmounted, and nobody mounts another in its place within so little time.
const RECOGNIZED: Duration = Duration::from_millis(100);

/// The directory in which a volume was found.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// The numbers of its file system and of itself in that (`st_dev`, `st_ino`).
    place: (u64, u64),
    /// When it was last known by the file that names it.
    recognized: Mono,
}

impl Seat {
    /// The directory as it is now; none where there is none.
    fn of(root: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(root) {
            Ok(found) => {
                Ok(Some(Self { place: (found.dev(), found.ino()), recognized: crate::clock::mono() }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// What a volume's watch found at its last look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// Nobody has looked yet.
    Unknown,
    Here,
    /// It is not in its place, or cannot be reached: why.
    Away(String),
}

/// A volume as all threads know it.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) name: VolumeName,
    pub(crate) root: PathBuf,
    weight: u32,
    pub(crate) min_free: u64,
    id: Mutex<Option<VolumeId>>,
    /// The directory in which it was found last.
    seat: Mutex<Option<Seat>>,
    lock: Mutex<Option<Lock>>,
    presence: Mutex<Presence>,
    /// How often it was found.
    arrivals: AtomicU64,
    /// Readers skip it: it is away, or stands still.
    away: Arc<AtomicBool>,
    /// Less is free than must stay free, or a write said that there is no room.
    full: AtomicBool,
    read_only: AtomicBool,
    /// An operation failed, and none is known to have worked since.
    suspect: AtomicBool,
    stalled: AtomicBool,
    free: AtomicU64,
    /// Octets handed to its writer and not written yet.
    pub(crate) backlog: AtomicUsize,
    /// The most that may be.
    pub(crate) backlog_max: usize,
    /// So much waited for its writer that nothing was begun on it, and not little enough since.
    filling: AtomicBool,
    /// Octets written to it since the start, those of its redo not among them.
    pub(crate) written: AtomicU64,
    /// Octets written to its redo since the start.
    pub(crate) redone: AtomicU64,
    /// Octets of media that went straight to their files, because there was no redo to put them in.
    pub(crate) straight: AtomicU64,
    /// Since when each hand is in an operation, in monotonic nanoseconds; 0: it is not.
    busy: [AtomicU64; HANDS],
    /// When the newest of those operations began that an opener has ended.
    got_on: AtomicU64,
    live: Mutex<BTreeSet<SegmentId>>,
}

impl Volume {
    pub(crate) fn new(spec: VolumeSpec, backlog_max: usize) -> Self {
        Self {
            name: spec.name,
            root: spec.path,
            weight: spec.weight,
            min_free: spec.min_free,
            id: Mutex::default(),
            seat: Mutex::default(),
            lock: Mutex::default(),
            presence: Mutex::new(Presence::Unknown),
            arrivals: AtomicU64::default(),
            away: Arc::new(AtomicBool::new(true)),
            full: AtomicBool::default(),
            read_only: AtomicBool::default(),
            suspect: AtomicBool::default(),
            stalled: AtomicBool::default(),
            free: AtomicU64::default(),
            backlog: AtomicUsize::default(),
            backlog_max,
            filling: AtomicBool::default(),
            written: AtomicU64::default(),
            redone: AtomicU64::default(),
            straight: AtomicU64::default(),
            busy: Default::default(),
            got_on: AtomicU64::default(),
            live: Mutex::default(),
        }
    }

    /// Finds it in its place, makes it there when it is new, and locks it.
    pub(crate) fn arrive(&self, memory: &Memory, data_dir: &Path) -> Result<(), Arrival> {
        let found = identity::identify(&self.name, &self.root, memory, data_dir).map_err(Arrival::NotHere)?;
        let mut lock = held(&self.lock);
        if lock.is_none() {
            let taken = || Arrival::NotLocked(repository::taken(&self.root));
            let unreachable = |e| Arrival::NotHere(NotHere::Unreachable(self.root.clone(), e));
            *lock = Some(Lock::try_take(&self.root).map_err(unreachable)?.ok_or_else(taken)?);
        }
        *held(&self.id) = Some(found);
        // Placement goes by it from the first call on.
        if let Ok(free) = free_of(&self.root) {
            self.measured(free);
        }
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        self.set_presence(Presence::Here);
        Ok(())
    }

    /// How often it was found in its place, having been away before.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// It is not in its place any more. Its lock goes, so that nothing of ours keeps the disk busy.
    pub(crate) fn depart(&self, why: String) {
        self.set_presence(Presence::Away(why));
        *held(&self.seat) = None;
        *held(&self.lock) = None;
    }

    /// Looks whether it is still the one that was found. Touches the disk.
    pub(crate) fn is_still_here(&self) -> io::Result<bool> {
        let before = Seat::of(&self.root)?;
        let found = identity::read(&self.root)?;
        let is_here = found.is_some() && found == *held(&self.id);
        let after = Seat::of(&self.root)?;
        // Nothing was mounted or unmounted between: what was read is of this directory. Who departs takes it away.
        let is_same = before.map(|seat| seat.place) == after.map(|seat| seat.place);
        let mut seat = held(&self.seat);
        *seat = before.filter(|_| is_here && is_same && self.is_here());
        Ok(is_here)
    }

    /// The same at a smaller price: where that was found a moment ago, it is looked whether the directory is the same
    /// one. An empty mount point is another than the disk that was mounted there.
    pub(crate) fn is_in_its_place(&self) -> io::Result<bool> {
        let known = *held(&self.seat);
        let now = crate::clock::mono();
        let Some(known) = known.filter(|seat| now.since(seat.recognized) < RECOGNIZED) else {
            return self.is_still_here();
        };
        before(Operation::Identity, &self.root)?;
        Ok(Seat::of(&self.root)?.is_some_and(|seat| seat.place == known.place))
    }

    pub(crate) fn presence(&self) -> Presence {
        held(&self.presence).clone()
    }

    pub(crate) fn is_here(&self) -> bool {
        *held(&self.presence) == Presence::Here
    }

    fn set_presence(&self, presence: Presence) {
        *held(&self.presence) = presence;
        self.tell_readers();
    }

    fn tell_readers(&self) {
        self.away.store(!self.is_here() || self.stalled.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A writing operation failed.
    pub(crate) fn failed(&self, failure: &Failure, error: &io::Error) {
        match failure {
            Failure::DiskFull => self.full.store(true, Ordering::Relaxed),
            // The machine lacks something; the volume does not.
            Failure::Resources(_) => {}
            _ if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                self.read_only.store(true, Ordering::Relaxed);
            }
            _ => self.suspect.store(true, Ordering::Relaxed),
        }
    }

    /// Whether it should be proven that it can be written again.
    pub(crate) fn is_doubted(&self) -> bool {
        self.suspect.load(Ordering::Relaxed) || self.read_only.load(Ordering::Relaxed)
    }

    /// A file was written, or could not be.
    pub(crate) fn proven(&self, written: &io::Result<()>) {
        let read_only = matches!(written, Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem);
        self.read_only.store(read_only, Ordering::Relaxed);
        let is_full = matches!(written, Err(e) if e.kind() == io::ErrorKind::StorageFull);
        self.suspect.store(written.is_err() && !read_only && !is_full, Ordering::Relaxed);
    }

    /// Notes its room; whether it is too little.
    pub(crate) fn measured(&self, free: u64) -> bool {
        let full = free < self.min_free;
        self.free.store(free, Ordering::Relaxed);
        self.full.store(full, Ordering::Relaxed);
        full
    }

    /// Does something that may hang, and lets others see since when.
    pub(crate) fn at_work<T>(&self, hand: Hand, work: impl FnOnce() -> T) -> T {
        let busy = self.busy.get(hand.index());
        let note = |since: u64| _ = busy.map(|busy| busy.store(since, Ordering::Relaxed));
        let began = crate::clock::mono().0.max(1);
        note(began);
        let done = work();
        note(0);
        if matches!(hand, Hand::Opener(_)) {
            self.got_on.fetch_max(began, Ordering::Relaxed);
        }
        done
    }

    /// The longest that a hand has been in an operation that says something of the volume: one opener does not while
    /// others get on, unless that lasts. They get on when one has ended an operation that began later.
    pub(crate) fn busy_for(&self, now: Mono) -> Duration {
        let got_on = self.got_on.load(Ordering::Relaxed);
        let hands = self.busy.iter().enumerate().map(|(hand, busy)| (hand, busy.load(Ordering::Relaxed)));
        let busy = hands.filter(|(_, since)| *since > 0).map(|(hand, since)| {
            let is_alone = hand >= Hand::Opener(0).index() && since <= got_on;
            (is_alone, now.since(Mono(since)))
        });
        busy.filter(|(is_alone, busy)| !is_alone || *busy >= ALONE_MAX)
            .map(|(_, busy)| busy)
            .max()
            .unwrap_or_default()
    }

    /// Notes whether it stands still; whether that is news.
    pub(crate) fn set_stalled(&self, stalled: bool) -> bool {
        let news = self.stalled.swap(stalled, Ordering::Relaxed) != stalled;
        if news {
            self.tell_readers();
        }
        news
    }

    /// Nothing more should be written to it: it is away or stands still.
    pub(crate) fn is_lost(&self) -> bool {
        !self.is_here() || self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, segment: SegmentId) {
        held(&self.live).insert(segment);
    }

    pub(crate) fn end(&self, segment: SegmentId) {
        held(&self.live).remove(&segment);
    }

    pub(crate) fn live(&self) -> BTreeSet<SegmentId> {
        held(&self.live).clone()
    }

    /// Free octets, as of the last look.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Octets that one of its redo files may have: none where it is away or has less room than must stay free. All of
    /// them together take a quarter of the rest at most.
    pub(crate) fn room_for_redo(&self) -> Option<u64> {
        let is_full = self.full.load(Ordering::Relaxed);
        let room = self.free().checked_sub(self.min_free).filter(|_| !is_full && self.is_here());
        room.map(|room| room / (4 * spool::redo::LEAVES_MAX as u64))
    }

    /// Whether more waits for its writer than it may.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > self.backlog_max
    }

    /// Whether so much waits for its writer that nothing is begun on it: long before anything is dropped, from a quarter of
    /// what may wait on, until it is an eighth.
    pub(crate) fn is_filling(&self) -> bool {
        let waits = self.backlog.load(Ordering::Relaxed);
        let most = self.filling_from();
        let most = if self.filling.load(Ordering::Relaxed) { most / 2 } else { most };
        let is_filling = waits > most;
        self.filling.store(is_filling, Ordering::Relaxed);
        is_filling
    }

    const fn filling_from(&self) -> usize {
        self.backlog_max / 4
    }

    /// As placement sees it.
    fn candidate(&self, now: Mono) -> Candidate {
        let behind = self.is_filling();
        let unfit = self.is_lost()
            || behind
            || self.full.load(Ordering::Relaxed)
            || self.read_only.load(Ordering::Relaxed);
        let fitness = match (unfit, self.suspect.load(Ordering::Relaxed) || self.busy_for(now) > SLOW) {
            (true, _) => Fitness::Unfit,
            (false, true) => Fitness::Suspect,
            (false, false) => Fitness::Good,
        };
        Candidate {
            fitness,
            room: self.free.load(Ordering::Relaxed).saturating_sub(self.min_free),
            weight: self.weight,
            live: u32::try_from(held(&self.live).len()).unwrap_or(u32::MAX),
        }
    }

    /// As readers see it.
    pub(crate) fn place(&self) -> Place {
        Place { name: self.name.clone(), root: self.root.clone(), away: Arc::clone(&self.away) }
    }
}

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Arrival {
    #[error(transparent)]
    NotHere(NotHere),
    #[error("{0}")]
    NotLocked(crate::cli::CliError),
}

/// The volumes of this process.
#[derive(Clone, Debug)]
pub(crate) struct Volumes(Arc<[Arc<Volume>]>);

impl Volumes {
    /// As configured. Touches no disk.
    pub(crate) fn new(specs: Vec<VolumeSpec>, backlog_max: usize) -> Self {
        let share = backlog_max / specs.len().max(1);
        Self(specs.into_iter().map(|spec| Arc::new(Volume::new(spec, share))).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.0.iter()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Volume>> {
        self.0.get(index)
    }

    pub(crate) fn candidates(&self, now: Mono) -> Vec<Candidate> {
        self.0.iter().map(|v| v.candidate(now)).collect()
    }

    /// Whether so much waits for each of those that are there that nothing is begun on any.
    pub(crate) fn are_filling(&self) -> bool {
        let mut all = self.open().peekable();
        all.peek().is_some() && all.all(|v| v.is_filling())
    }

    /// Those that are there and take segments, as far as what waits for them allows.
    fn open(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.0.iter().filter(|v| {
            let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
            v.weight > 0 && !v.is_lost() && !is(&v.full) && !is(&v.read_only)
        })
    }

    /// Octets that may still be written to each volume that takes segments: as many as to the fullest of them. None while there
    /// is no such volume.
    pub(crate) fn room(&self) -> u64 {
        let rooms = self.open().map(|v| v.free().saturating_sub(v.min_free));
        rooms.min().unwrap_or(0)
    }

    /// Octets that wait for the writer of the volume for which least does, of those that are there, and from how many on
    /// nothing is begun on it.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let of = |v: &Arc<Volume>| (v.backlog.load(Ordering::Relaxed), v.filling_from());
        self.open().map(of).min().unwrap_or((0, 1))
    }

    /// What lies on them, for those who read.
    pub(crate) fn repository(&self) -> Repository {
        Repository::of(self.0.iter().map(|v| v.place()).collect())
    }

    /// Looks for all of them at once, each for at most so long: a disk that hangs holds up nothing. What was
    /// found out in time, by name.
    pub(crate) fn arrive(
        &self,
        memory: &Memory,
        data_dir: &Path,
        patience: Duration,
    ) -> BTreeMap<VolumeName, Result<(), Arrival>> {
        let (tell, told) = crossbeam_channel::unbounded();
        for volume in self.0.iter().map(Arc::clone) {
            let (tell, memory, data_dir) = (tell.clone(), memory.clone(), data_dir.to_owned());
            let look = move || {
                let arrived = volume.at_work(Hand::Watch, || volume.arrive(&memory, &data_dir));
                if let Err(e) = &arrived {
                    volume.depart(e.to_string());
                }
                // Nobody waits any more, and what a crash left there was not listed: its watch finds it once more,
                // and has that repaired.
                if tell.send((volume.name.clone(), arrived)).is_err() && volume.live().is_empty() {
                    volume.set_presence(Presence::Unknown);
                }
            };
            // One after the other where no thread can be had.
            if std::thread::Builder::new().name("volume".to_owned()).spawn(look).is_err() {
                tracing::error!("a volume is not looked for: no thread can be started");
            }
        }
        drop(tell);
        let until = std::time::Instant::now() + patience;
        let mut all = BTreeMap::new();
        while let Ok((name, arrived)) = told.recv_deadline(until) {
            all.insert(name, arrived);
        }
        all
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Octets that are free in a file system.
pub(crate) fn free_of(root: &Path) -> io::Result<u64> {
    before(Operation::FreeSpace, root)?;
    let fs = nix::sys::statvfs::statvfs(root)?;
    let unit = fs.fragment_size();
    Ok(fs.blocks_available().saturating_mul(unit))
}

/// Makes a directory that is for its owner alone, and those above it.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests;
