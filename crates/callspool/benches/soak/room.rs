//! Keeps an hour's recordings from filling the disk: what ended a while ago is taken out of the repository, and emptied.
//!
//! callspool deletes nothing by itself, so this does, from outside and as an operator might. The files are emptied, not
//! removed: a file system from which thousands of files were just removed is slow to make new ones, which would be
//! measured then (docs/benchmarks.md). What was emptied is counted; what is left is verified in the end.

use std::fs::{File, read_dir};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::Failure;

/// Ended for so long: whoever plays recordings here plays the newest.
const KEPT: Duration = Duration::from_secs(120);
/// Looking through thousands of directories costs time.
const EACH: Duration = Duration::from_secs(15);
/// How soon it is noticed that all is over.
const NOTICE: Duration = Duration::from_millis(200);
/// Octets that a call takes in a second, generously: a hundred packets of 300 octets, blocks and manifests included.
const OCTETS_S: u64 = 100 * 300;
/// How long one lies there: its own length, and until it is emptied.
const LIES: Duration = Duration::from_secs(60 + 120 + 15);

/// What was taken away.
#[derive(Default)]
pub(crate) struct Room {
    calls: AtomicU64,
    octets: AtomicU64,
}

impl Room {
    /// Empties what is old, until told to stop.
    pub(crate) fn go_on(&self, data_dir: &Path, stop: &AtomicBool) -> Result<(), Failure> {
        let (repository, aside) = (data_dir.join("repository"), data_dir.join("emptied"));
        std::fs::create_dir_all(&aside)?;
        while !stop.load(Ordering::Relaxed) {
            for call in calls_in(&repository)? {
                if is_old(&call)? {
                    self.empty(&call, &aside)?;
                }
            }
            let again = std::time::Instant::now() + EACH;
            while std::time::Instant::now() < again && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(NOTICE);
            }
        }
        Ok(())
    }

    fn empty(&self, call: &Path, aside: &Path) -> Result<(), Failure> {
        let to = aside.join(call.file_name().ok_or("a call without a name")?);
        std::fs::rename(call, &to)?;
        for file in files_in(&to)? {
            self.octets.fetch_add(std::fs::metadata(&file)?.len(), Ordering::Relaxed);
            File::options().write(true).open(&file)?.set_len(0)?;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (calls, octets) = (self.calls.load(Ordering::Relaxed), self.octets.load(Ordering::Relaxed));
        write!(
            f,
            "{calls} calls of {} MiB that had ended for {} s were emptied",
            octets >> 20,
            KEPT.as_secs()
        )
    }
}

/// Octets that so many calls at a time take at most, with what has ended and is not emptied yet.
pub(crate) const fn needed(at_once: usize) -> u64 {
    at_once as u64 * OCTETS_S * LIES.as_secs()
}

/// The directories of calls: `<tenant>/<date>/<call>`.
fn calls_in(repository: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![repository.to_owned()];
    for _ in ["tenant", "date", "call"] {
        let below: io::Result<Vec<Vec<PathBuf>>> = found.iter().map(|d| directories_in(d)).collect();
        found = below?.concat();
    }
    Ok(found)
}

fn directories_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let all = entries_of(directory)?.into_iter();
    Ok(all
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|n| n != spool::layout::LIVE_DIR))
        .collect())
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries_of(directory)?.into_iter().filter(|path| path.is_file()).collect())
}

fn entries_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// Whether all of a call is sealed, and nothing has been written for a while.
fn is_old(call: &Path) -> Result<bool, Failure> {
    let files = files_in(call)?;
    let before = SystemTime::now() - KEPT;
    for file in &files {
        if std::fs::metadata(file)?.modified()? > before {
            return Ok(false);
        }
    }
    for manifest in files.iter().filter(|f| f.extension().is_some_and(|e| e == "json")) {
        let read: Value = serde_json::from_slice(&std::fs::read(manifest)?)?;
        if read["sealed"] != Value::Bool(true) {
            return Ok(false);
        }
    }
    Ok(!files.is_empty())
}
