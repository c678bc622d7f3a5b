//! Putting a backup back. First everything is unpacked beside its place and checked against the manifest; only then,
//! by renames, it takes its place, and what was there is kept beside it under another name. A backup that is damaged
//! anywhere changes nothing.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use faults::{Operation, Share, before};
use spool::digest::Digester;

use super::{
    CATALOG, CONFIGURATION, Entry, FILE_MAX, FILES_MAX, FORMAT, MANIFEST, MANIFEST_MAX, Manifest, named_files,
};
use crate::cli::{CliError, file_error};
use crate::config::Config;

/// What was put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Restored {
    pub(crate) manifest: Manifest,
    /// Where each file is now.
    pub(crate) placed: Vec<PathBuf>,
    /// What was there, under its new name.
    pub(crate) kept: Vec<PathBuf>,
    /// What was left in the backup, because no setting says where it belongs.
    pub(crate) left: Vec<Entry>,
}

/// A file beside its place.
struct Staged {
    at: PathBuf,
    place: PathBuf,
    /// What lies beside the place and belongs to what is there, besides that itself.
    satellites: &'static [&'static str],
}

/// What is staged goes when it was not needed.
#[derive(Default)]
struct Stage(Vec<Staged>);

impl Drop for Stage {
    fn drop(&mut self) {
        for staged in &self.0 {
            let _ = std::fs::remove_file(&staged.at);
        }
    }
}

/// What is to be put back of a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// Catalog, journal, keys: to where the configuration says.
    State,
    /// The configuration file alone: to where it was.
    Configuration,
}

/// Puts a backup back. Nothing may serve meanwhile; the caller holds the lock.
pub(crate) fn restore(backup: &Path, config: &Config, wanted: Wanted) -> Result<Restored, CliError> {
    let damaged = |e: io::Error| match e.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => CliError::failed(
            format!("cannot use the backup {}", backup.display()),
            e,
            "nothing was changed; use another backup",
        ),
        _ => file_error(format!("cannot restore {}", backup.display()), &e),
    };
    let file = File::open(backup)
        .map_err(|e| file_error(format!("cannot read the backup {}", backup.display()), &e))?;
    let mut archive = tar::Archive::new(io::BufReader::new(file));
    let mut entries = archive.entries().map_err(damaged)?;
    let manifest = manifest(&mut entries).map_err(damaged)?;
    let (mut stage, mut left) = (Stage::default(), Vec::new());
    for entry in &manifest.files {
        let place = place_of(entry, config, wanted);
        let mut from =
            entries.next().ok_or_else(|| damaged(torn(&entry.name))).and_then(|e| e.map_err(damaged))?;
        unpack(&mut from, entry, place.as_deref(), &mut stage).map_err(damaged)?;
        if place.is_none() {
            left.push(entry.clone());
        }
    }
    let mut restored = Restored { manifest, placed: Vec::new(), kept: Vec::new(), left };
    swap(&stage, &mut restored).map_err(|e| file_error("cannot put everything into its place", &e))?;
    Ok(restored)
}

fn torn(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends before {name}"))
}

fn spoiled(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

fn manifest(entries: &mut tar::Entries<'_, io::BufReader<File>>) -> io::Result<Manifest> {
    let first = entries.next().ok_or_else(|| spoiled("it is empty"))??;
    if first.path()?.as_os_str() != MANIFEST {
        return Err(spoiled("it does not begin with a manifest, so it is no backup of callspool"));
    }
    let mut text = Vec::new();
    first.take(MANIFEST_MAX).read_to_end(&mut text)?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|e| spoiled(format!("its manifest cannot be read: {e}")))?;
    // The version first: what a newer manifest holds need not fit.
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format <= u64::from(FORMAT) && format > 0 => {}
        Some(format) => {
            return Err(spoiled(format!(
                "its format {format} is newer than this callspool, which knows {FORMAT}"
            )));
        }
        None => return Err(spoiled("its manifest says no format")),
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|e| spoiled(format!("its manifest cannot be read: {e}")))?;
    if manifest.files.len() > FILES_MAX {
        return Err(spoiled("its manifest lists more files than a backup has"));
    }
    Ok(manifest)
}

/// Where a file of the backup belongs now.
fn place_of(entry: &Entry, config: &Config, wanted: Wanted) -> Option<PathBuf> {
    match (wanted, entry.setting.as_str()) {
        (Wanted::Configuration, CONFIGURATION) => Some(entry.path.clone()),
        (Wanted::Configuration, _) | (Wanted::State, CONFIGURATION) => None,
        (Wanted::State, setting) => {
            named_files(config).into_iter().find(|(s, _)| s == setting).map(|(_, path)| path)
        }
    }
}

/// Writes an entry beside its place, if it has one, and checks it in any case.
fn unpack(
    from: &mut impl NamedRead,
    entry: &Entry,
    place: Option<&Path>,
    stage: &mut Stage,
) -> io::Result<()> {
    if from.name()? != entry.name {
        return Err(spoiled(format!("{} is not where the manifest says", entry.name)));
    }
    if entry.octets > FILE_MAX && !entry.setting.starts_with("catalog.") {
        return Err(spoiled(format!("{} is too large", entry.name)));
    }
    let mut to = match place {
        // SQLite would read these as the new catalog's.
        Some(place) if entry.setting == CATALOG => Some(stage.begin(place, &["-wal", "-shm"])?),
        Some(place) => Some(stage.begin(place, &[])?),
        None => None,
    };
    let (mut digester, mut buffer) = (Digester::new(), vec![0; 1 << 16]);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let piece = buffer.get(..count).unwrap_or_default();
        digester.update(piece);
        if let Some((to, share)) = &mut to {
            share.write(piece, |bytes| to.write_all(bytes))?;
        }
    }
    let digest = digester.finish();
    if (digest.bytes, &digest.sha256) != (entry.octets, &entry.sha256) {
        return Err(spoiled(format!("{} is not what was backed up: its digest differs", entry.name)));
    }
    to.map_or(Ok(()), |(to, _)| to.sync_all())
}

/// An entry of an archive.
trait NamedRead: Read {
    fn name(&self) -> io::Result<String>;
}

impl<R: Read> NamedRead for tar::Entry<'_, R> {
    fn name(&self) -> io::Result<String> {
        Ok(self.path()?.to_string_lossy().into_owned())
    }
}

impl Stage {
    fn begin(&mut self, place: &Path, satellites: &'static [&'static str]) -> io::Result<(File, Share)> {
        let share = before(Operation::RestoreWrite, place)?;
        if let Some(directory) = place.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let at = beside(place, &format!(".restoring-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&at)?;
        self.0.push(Staged { at, place: place.to_owned(), satellites });
        Ok((file, share))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}

/// Each place is empty for no longer than it takes to rename; what was there is never removed. When something does
/// not go into its place, everything goes back to where it was.
fn swap(stage: &Stage, restored: &mut Restored) -> io::Result<()> {
    let stamp = restored.manifest.made.clone();
    let aside = free_suffix(stage, &format!(".before-{}", stamp.replace(':', "")));
    let mut moved = Moved::default();
    for staged in &stage.0 {
        if let Err(e) = put(staged, &aside, restored, &mut moved) {
            return Err(moved.back(e));
        }
    }
    Ok(())
}

fn put(staged: &Staged, aside: &str, restored: &mut Restored, moved: &mut Moved) -> io::Result<()> {
    let Staged { at, place, satellites } = staged;
    for suffix in [""].iter().chain(*satellites) {
        let (from, to) = (beside(place, suffix), beside(place, &format!("{aside}{suffix}")));
        match moved.rename(&from, &to) {
            Ok(()) => restored.kept.push(to),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    moved.rename(at, place)?;
    if let Some(directory) = place.parent() {
        File::open(directory)?.sync_all()?;
    }
    restored.placed.push(place.clone());
    Ok(())
}

/// What was renamed so far: from where, to where.
#[derive(Default)]
struct Moved(Vec<(PathBuf, PathBuf)>);

impl Moved {
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        before(Operation::RestoreSwap, from)?;
        std::fs::rename(from, to)?;
        self.0.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Undoes it, the last first. What went wrong, and whether this did as well.
    fn back(self, why: io::Error) -> io::Error {
        let back = self.0.iter().rev().try_for_each(|(from, to)| std::fs::rename(to, from));
        match back {
            Ok(()) => io::Error::new(why.kind(), format!("{why}; everything is where it was")),
            Err(e) => io::Error::other(format!("{why}; and not all of it could be moved back: {e}")),
        }
    }
}

/// A suffix that no file has yet.
fn free_suffix(stage: &Stage, base: &str) -> String {
    let mut suffix = base.to_owned();
    let mut n = 1;
    while stage.0.iter().any(|s| beside(&s.place, &suffix).exists()) {
        n += 1;
        suffix = format!("{base}-{n}");
    }
    suffix
}
