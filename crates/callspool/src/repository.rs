//! A record server's own recordings, as those read them who did not write them: the readers of `spool`,
//! the commands, the reindexing.
//!
//! They may lie on several volumes, the segments of one call too; to a reader they are one tree. A volume that is
//! away is skipped. Only what looks like a recording is walked and opened: `<tenant>/<date>/<call>/<file>`, no
//! links, nothing above the root. Nothing here writes, but for the lock files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use faults::{Operation, before};
use model::{CallId, SegmentId, TenantId, VolumeName, WallTime};
use nix::fcntl::OFlag;
use spool::layout::{self, ManifestPath};
use spool::log::{LogDamage, LogLine};
use spool::manifest::{self, Manifest, ManifestError};
use spool::{Files, ReadSeek};

use crate::cli::{CliError, file_error};
use crate::recorder::read_markers;

/// Held by whoever may change a volume.
const LOCK_NAME: &str = ".lock";

/// A manifest or log is not longer, four times over (`spool` reads no longer ones either).
const WHOLE_FILE_MAX: u64 = 64 << 20;

/// Where some of the recordings lie.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The volume.
    pub(crate) name: VolumeName,
    /// Its directory.
    pub(crate) root: PathBuf,
    /// Set while it cannot be read without hanging or reading something else.
    pub(crate) away: Arc<AtomicBool>,
}

/// The recordings of a node.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    places: Arc<[Place]>,
}

/// A lock on a volume; let go when it is dropped, or when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// A file that is called like a manifest, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct FoundManifest {
    /// Its name in the call's directory.
    pub(crate) name: String,
    /// The volume that it is on; its record says the same, whatever it said when it was written.
    pub(crate) volume: VolumeName,
    /// What it says, or why it cannot be read.
    pub(crate) manifest: Result<Manifest, String>,
}

/// The markers of a volume: each with its manifest, or why that cannot be told.
pub(crate) type Markers = Vec<(SegmentId, Result<ManifestPath, String>)>;

/// What is marked as live.
#[derive(Default, Debug)]
pub(crate) struct Marked {
    pub(crate) markers: Markers,
    /// Places that a disk cannot read: others may have been marked there.
    pub(crate) unreadable: usize,
}

impl Lock {
    /// Takes the right to change a volume, without waiting for it. None: another process has it.
    pub(crate) fn try_take(root: &Path) -> io::Result<Option<Self>> {
        let path = root.join(LOCK_NAME);
        before(Operation::Lock, &path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// The same, for a command that cannot do without.
    pub(crate) fn take(root: &Path) -> Result<Self, CliError> {
        match Self::try_take(root) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(taken(root)),
            Err(e) => Err(file_error(format!("cannot lock the repository {}", root.display()), &e)),
        }
    }
}

/// Another process changes a volume.
pub(crate) fn taken(root: &Path) -> CliError {
    CliError::failed(
        format!("cannot lock the repository {}", root.display()),
        "another callspool runs on it",
        "stop that one first, or give this one another node.data_dir",
    )
}

impl Place {
    /// A directory that nobody watches.
    #[must_use]
    pub(crate) fn new(name: VolumeName, root: &Path) -> Self {
        Self { name, root: root.to_owned(), away: Arc::default() }
    }

    fn list(&self, within: &str, wanted: impl Fn(&std::fs::FileType) -> bool) -> io::Result<Vec<String>> {
        let directory = self.root.join(within);
        before(Operation::List, &directory)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if wanted(&entry.file_type()?) {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn open(&self, path: &str) -> io::Result<File> {
        let (flags, path) = (OFlag::O_NOFOLLOW.bits(), self.root.join(within(path)?));
        before(Operation::Read, &path)?;
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    }

    fn read_whole(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(WHOLE_FILE_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > WHOLE_FILE_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is longer than 64 MiB")));
        }
        Ok(bytes)
    }
}

impl Repository {
    /// The recordings below one directory. Touches nothing.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn new(root: &Path) -> Self {
        Self::of(vec![Place::new(VolumeName::default(), root)])
    }

    /// The recordings of several volumes.
    #[must_use]
    pub(crate) fn of(places: Vec<Place>) -> Self {
        Self { places: places.into() }
    }

    /// Where they are, for messages.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        let roots: Vec<_> = self.places.iter().map(|p| p.root.display().to_string()).collect();
        roots.join(", ")
    }

    /// Each volume as a repository of its own, with its name.
    pub(crate) fn each(&self) -> impl Iterator<Item = (VolumeName, Self)> + '_ {
        self.places.iter().map(|p| (p.name.clone(), Self::of(vec![p.clone()])))
    }

    /// Whether a volume is among them and can be read.
    pub(crate) fn has(&self, volume: &VolumeName) -> bool {
        self.present().any(|p| p.name == *volume)
    }

    /// Whether all of them are away.
    pub(crate) fn is_away(&self) -> bool {
        self.present().next().is_none()
    }

    /// The volumes that are away.
    pub(crate) fn away(&self) -> impl Iterator<Item = &VolumeName> {
        self.places.iter().filter(|p| p.away.load(Ordering::Relaxed)).map(|p| &p.name)
    }

    fn present(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|p| !p.away.load(Ordering::Relaxed))
    }

    /// Takes the right to change all of it.
    pub(crate) fn lock(&self) -> Result<Vec<Lock>, CliError> {
        self.present().map(|p| Lock::take(&p.root)).collect()
    }

    /// The directories of all calls, those of the newest days first. A directory that cannot be read is told of.
    pub(crate) fn call_directories(&self) -> impl Iterator<Item = io::Result<String>> + '_ {
        let mut days: BTreeSet<String> = BTreeSet::new();
        let mut problems = Vec::new();
        for place in self.present() {
            match place.days() {
                Ok(found) => days.extend(found),
                Err(e) => problems.push(Err(e)),
            }
        }
        problems.into_iter().chain(by_date(days).into_iter().flat_map(|day| self.calls_of(&day)))
    }

    /// The directories of the calls that were made last before a time, the newest first: within so long before the newest of
    /// them, and so many at most.
    pub(crate) fn newest_calls(&self, before: WallTime, within: Duration, most: usize) -> Vec<String> {
        let days: BTreeSet<String> = self.present().flat_map(|p| p.days().unwrap_or_default()).collect();
        let days = by_date(days);
        let date = |day: &str| day.split_once('/').map(|(_, date)| date.to_owned());
        // The newest may have been made a moment after midnight.
        let mut dates = within.as_secs() / 86_400 + 2;
        let mut newest: BTreeSet<(CallId, &String)> = BTreeSet::new();
        for of_date in days.chunk_by(|a, b| date(a) == date(b)) {
            for (day, place) in of_date.iter().flat_map(|day| self.present().map(move |p| (day, p))) {
                let names = place.directories(day, |_| true).unwrap_or_default();
                let calls = names.iter().filter_map(|name| name.parse::<CallId>().ok());
                for call in calls.filter(|call| call.made_at() < before) {
                    newest.insert((call, day));
                    if newest.len() > most {
                        newest.pop_first();
                    }
                }
            }
            dates -= u64::from(!newest.is_empty());
            if dates == 0 {
                break;
            }
        }
        let since = newest.last().map_or(before, |(call, _)| call.made_at()) - within;
        let recent = newest.into_iter().rev().take_while(|(call, _)| call.made_at() >= since);
        recent.map(|(call, day)| format!("{day}/{call}")).collect()
    }

    fn calls_of(&self, day: &str) -> Vec<io::Result<String>> {
        let (mut calls, mut all) = (BTreeSet::new(), Vec::new());
        for place in self.present() {
            match place.directories(day, |name| name.parse::<CallId>().is_ok()) {
                Ok(found) => calls.extend(found),
                // The other volumes have calls of that day, this one has none.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => all.push(Err(e)),
            }
        }
        all.extend(calls.into_iter().rev().map(|call| Ok(format!("{day}/{call}"))));
        all
    }

    /// The directory of a call, if it is here; it may be on several volumes.
    pub(crate) fn find(&self, call: CallId) -> io::Result<Option<String>> {
        let mut problem = None;
        for place in self.present() {
            let is_here = |day: &String| {
                let path = place.root.join(day).join(call.to_string());
                std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
            };
            match place.days() {
                Ok(days) => {
                    if let Some(day) = by_date(days.into_iter().collect()).into_iter().find(is_here) {
                        return Ok(Some(format!("{day}/{call}")));
                    }
                }
                Err(e) => problem = Some(e),
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// The manifests in a call's directory, in order of their names.
    pub(crate) fn manifests(&self, directory: &str) -> io::Result<Vec<FoundManifest>> {
        let mut all = Vec::new();
        self.gather(|place| {
            for name in place.list(directory, std::fs::FileType::is_file)? {
                if name.ends_with(".json") {
                    let manifest = place.manifest(&format!("{directory}/{name}"));
                    all.push(FoundManifest { name, volume: place.name.clone(), manifest });
                }
            }
            Ok(())
        })?;
        all.sort_by(|a, b| (&a.name, &a.volume).cmp(&(&b.name, &b.volume)));
        Ok(all)
    }

    /// The log of a call, in order of time; without one it is empty.
    pub(crate) fn log(&self, directory: &str) -> io::Result<(Vec<LogLine>, Vec<LogDamage>)> {
        let (mut lines, mut damage) = (Vec::new(), Vec::new());
        for place in self.present() {
            match place.read_whole(&layout::log_path(directory)) {
                Ok(bytes) => {
                    let (more, damaged) = spool::log::read(&bytes);
                    lines.extend(more);
                    damage.extend(damaged);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        // Lines of one volume stay as they stand.
        if self.places.len() > 1 {
            lines.sort_by_key(|line: &LogLine| line.at);
        }
        Ok((lines, damage))
    }

    /// The markers of segments that are live, or were when the process died, also those that a version before left.
    pub(crate) fn live_markers(&self) -> io::Result<Marked> {
        let (mut all, mut unreadable) = (Vec::new(), 0);
        for place in self.present() {
            match place.open(layout::MARKERS_PATH) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                file => {
                    let found = read_markers(&file?, &place.root.join(layout::MARKERS_PATH))?;
                    unreadable += found.unreadable();
                    all.extend(found.marked().into_iter().map(|(_, segment, at)| (segment, Ok(at))));
                }
            }
            let names = match place.list(layout::LIVE_DIR, std::fs::FileType::is_file) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
                names => names?,
            };
            for segment in names.iter().filter_map(|name| name.parse().ok()) {
                let bytes = place.read_whole(&layout::marker_path(segment)).map_err(|e| e.to_string());
                all.push((segment, bytes.and_then(|b| layout::read_marker(&b).map_err(|e| e.to_string()))));
            }
        }
        all.sort_by_key(|(segment, _)| *segment);
        Ok(Marked { markers: all, unreadable })
    }

    /// What manifests were before, each with its path: of segments that are marked, and whose manifest cannot be read, as a
    /// machine that loses its power may leave one that was replaced a moment ago. The spare files still have them then.
    pub(crate) fn replaced_manifests(&self, markers: &Markers) -> Vec<(String, Vec<u8>)> {
        let is_damaged = |path: &str| match self.first(|place| place.read_whole(path)) {
            // What a newer version wrote is not damaged.
            Ok(bytes) => !matches!(manifest::read(&bytes), Ok(_) | Err(ManifestError::UnknownVersion(_))),
            Err(_) => false,
        };
        let marked = markers.iter().filter_map(|(segment, at)| Some((*segment, at.as_ref().ok()?.path())));
        let damaged: BTreeMap<SegmentId, String> = marked.filter(|(_, path)| is_damaged(path)).collect();
        let mut found: BTreeMap<&String, (WallTime, Vec<u8>)> = BTreeMap::new();
        for place in self.present().filter(|_| !damaged.is_empty()) {
            for name in place.list(layout::SPARE_DIR, std::fs::FileType::is_file).unwrap_or_default() {
                let Ok(bytes) = place.read_whole(&format!("{}/{name}", layout::SPARE_DIR)) else { continue };
                let Ok(spare) = manifest::read(&bytes) else { continue };
                let Some(path) = damaged.get(&spare.record.id) else { continue };
                if found.get(path).is_none_or(|(other, _)| *other <= spare.written) {
                    found.insert(path, (spare.written, bytes));
                }
            }
        }
        found.into_iter().map(|(path, (_, bytes))| (path.clone(), bytes)).collect()
    }

    /// Does something on each volume. What is not there is left out, unless it is on none.
    fn gather(&self, mut each: impl FnMut(&Place) -> io::Result<()>) -> io::Result<()> {
        let mut absent = Some(io::Error::new(io::ErrorKind::NotFound, "no volume is there"));
        for place in self.present() {
            match each(place) {
                Ok(()) => absent = None,
                Err(e) if e.kind() == io::ErrorKind::NotFound => absent = absent.map(|_| e),
                Err(e) => return Err(e),
            }
        }
        absent.map_or(Ok(()), Err)
    }

    /// The first volume on which it works.
    fn first<T>(&self, each: impl Fn(&Place) -> io::Result<T>) -> io::Result<T> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no volume is there");
        for place in self.present() {
            match each(place) {
                Ok(found) => return Ok(found),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

impl Place {
    fn manifest(&self, path: &str) -> Result<Manifest, String> {
        let bytes = self.read_whole(path).map_err(|e| e.to_string())?;
        let mut manifest = manifest::read(&bytes).map_err(|e| e.to_string())?;
        if ManifestPath::parse(path).is_ok_and(|at| at.call != manifest.record.call) {
            // Who took too long between opening a manifest and reading it may read the next one in that file.
            return Err(format!("it speaks of call {}", manifest.record.call));
        }
        let growing = manifest.growing_part().zip(path.rsplit_once('/'));
        let growing = growing.map(|(file, (directory, _))| self.open(&format!("{directory}/{file}")));
        if let Some(Ok(part)) = growing {
            let bytes = part.metadata().map_or(0, |m| m.len());
            manifest.catch_up(io::BufReader::new(part), bytes);
        }
        manifest.record.volume = self.name.clone();
        Ok(manifest)
    }

    /// `<tenant>/<date>` of all tenants.
    fn days(&self) -> io::Result<Vec<String>> {
        let is_tenant = |name: &str| name != layout::LIVE_DIR && name.parse::<TenantId>().is_ok();
        let mut days = Vec::new();
        for tenant in self.directories("", is_tenant)? {
            days.extend(
                self.directories(&tenant, is_date)?.into_iter().map(|date| format!("{tenant}/{date}")),
            );
        }
        Ok(days)
    }

    /// The names of real directories in a directory, that are called as expected.
    fn directories(&self, within: &str, expected: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let mut names = self.list(within, std::fs::FileType::is_dir)?;
        names.retain(|name| expected(name));
        Ok(names)
    }
}

impl Files for Repository {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(self.first(|place| place.open(path))?))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = BTreeSet::new();
        self.gather(|place| {
            names.extend(place.list(&within(dir)?.to_string_lossy(), std::fs::FileType::is_file)?);
            Ok(())
        })?;
        Ok(names.into_iter().collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.first(|place| Ok(std::fs::symlink_metadata(place.root.join(within(path)?))?.len()))
    }

    fn may_be_marked(&self, _segment: SegmentId) -> bool {
        true
    }
}

/// A path below a root; what would lead out of it is refused.
fn within(path: &str) -> io::Result<&Path> {
    if Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
        Ok(Path::new(path))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{path}' leads out of the repository")))
    }
}

/// `<tenant>/<date>`, the newest date first.
fn by_date(days: BTreeSet<String>) -> Vec<String> {
    let mut days: Vec<String> = days.into_iter().collect();
    let key = |day: &String| day.split_once('/').map(|(tenant, date)| (date.to_owned(), tenant.to_owned()));
    days.sort_by_key(|day| std::cmp::Reverse(key(day)));
    days
}

/// `2026-11-20`, or a year of another length: only its alphabet matters for safety.
fn is_date(name: &str) -> bool {
    (1..=12).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_digit() || c == b'-')
}

#[cfg(test)]
mod tests;
