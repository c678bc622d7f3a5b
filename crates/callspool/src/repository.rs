//! A record server's own tree of recordings, as those read it who did not write it: the readers of `spool`,
//! the commands, the reindexing.
//!
//! Only what looks like a recording is walked and opened: `<tenant>/<date>/<call>/<file>`, no links, nothing
//! above the root. Nothing here writes, but for the lock file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use model::{CallId, SegmentId, TenantId};
use nix::fcntl::OFlag;
use spool::layout::{self, ManifestPath};
use spool::log::{LogDamage, LogLine};
use spool::manifest::{self, Manifest};
use spool::{Files, ReadSeek};

use crate::cli::{CliError, file_error};

/// Held by whoever may change the repository.
const LOCK_NAME: &str = ".lock";

/// A manifest or log is not longer, four times over (`spool` reads no longer ones either).
const WHOLE_FILE_MAX: u64 = 64 << 20;

/// A directory of recordings.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    root: PathBuf,
}

/// A lock on a repository; let go when it is dropped, or when the process ends.
#[derive(Debug)]
pub(crate) struct RepositoryLock {
    _file: File,
}

/// A file that is called like a manifest, and what it says.
#[derive(Debug)]
pub(crate) struct FoundManifest {
    /// Its name in the call's directory.
    pub(crate) name: String,
    /// What it says, or why it cannot be read.
    pub(crate) manifest: Result<Manifest, String>,
}

impl Repository {
    /// The repository at a path. Touches nothing.
    #[must_use]
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the right to change the repository, without waiting for it.
    pub(crate) fn lock(&self) -> Result<RepositoryLock, CliError> {
        let path = self.root.join(LOCK_NAME);
        let what = || format!("cannot lock the repository {}", self.root.display());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| file_error(what(), &e))?;
        match file.try_lock() {
            Ok(()) => Ok(RepositoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(CliError::failed(
                what(),
                "another callspool runs on it",
                "stop that one first, or give this one another node.data_dir",
            )),
            Err(TryLockError::Error(e)) => Err(file_error(what(), &e)),
        }
    }

    /// The directories of all calls, those of the newest days first. A directory that cannot be read is told of.
    pub(crate) fn call_directories(&self) -> impl Iterator<Item = io::Result<String>> + '_ {
        let (days, problem) = match self.days() {
            Ok(days) => (days, None),
            Err(e) => (Vec::new(), Some(Err(e))),
        };
        problem.into_iter().chain(days.into_iter().flat_map(|day| {
            match self.directories(&day, |name| name.parse::<CallId>().is_ok()) {
                Ok(mut calls) => {
                    calls.sort_unstable_by(|a, b| b.cmp(a));
                    calls.into_iter().map(|call| Ok(format!("{day}/{call}"))).collect()
                }
                Err(e) => vec![Err(e)],
            }
        }))
    }

    /// The directory of a call, if it is here.
    pub(crate) fn find(&self, call: CallId) -> io::Result<Option<String>> {
        let is_here = |day: &String| {
            std::fs::symlink_metadata(self.root.join(day).join(call.to_string())).is_ok_and(|m| m.is_dir())
        };
        Ok(self.days()?.into_iter().find(is_here).map(|day| format!("{day}/{call}")))
    }

    /// The manifests in a call's directory, in order of their names.
    pub(crate) fn manifests(&self, directory: &str) -> io::Result<Vec<FoundManifest>> {
        let mut names: Vec<String> =
            self.list(directory)?.into_iter().filter(|name| name.ends_with(".json")).collect();
        names.sort_unstable();
        let read = |name: String| {
            let bytes = self.read_whole(&format!("{directory}/{name}"));
            let manifest = bytes
                .map_err(|e| e.to_string())
                .and_then(|bytes| manifest::read(&bytes).map_err(|e| e.to_string()));
            FoundManifest { name, manifest }
        };
        Ok(names.into_iter().map(read).collect())
    }

    /// The log of a call; without one it is empty.
    pub(crate) fn log(&self, directory: &str) -> io::Result<(Vec<LogLine>, Vec<LogDamage>)> {
        match self.read_whole(&layout::log_path(directory)) {
            Ok(bytes) => Ok(spool::log::read(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
            Err(e) => Err(e),
        }
    }

    /// The markers of segments that are live, or were when the process died: each with its manifest, or why
    /// that cannot be told.
    pub(crate) fn live_markers(&self) -> io::Result<Vec<(SegmentId, Result<ManifestPath, String>)>> {
        let names = match self.list(layout::LIVE_DIR) {
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let mut markers: Vec<SegmentId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        markers.sort_unstable();
        let read = |segment| {
            let bytes = self.read_whole(&layout::marker_path(segment)).map_err(|e| e.to_string());
            let path = bytes.and_then(|b| layout::read_marker(&b).map_err(|e| e.to_string()));
            (segment, path)
        };
        Ok(markers.into_iter().map(read).collect())
    }

    /// `<tenant>/<date>` of all tenants, newest date first.
    fn days(&self) -> io::Result<Vec<String>> {
        let is_tenant = |name: &str| name != layout::LIVE_DIR && name.parse::<TenantId>().is_ok();
        let mut days = Vec::new();
        for tenant in self.directories("", is_tenant)? {
            days.extend(self.directories(&tenant, is_date)?.into_iter().map(|date| (date, tenant.clone())));
        }
        days.sort_unstable_by(|a, b| b.cmp(a));
        Ok(days.into_iter().map(|(date, tenant)| format!("{tenant}/{date}")).collect())
    }

    /// The names of real directories in a directory, that are called as expected.
    fn directories(&self, within: &str, expected: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join(within))? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|n| expected(n))
                && entry.file_type()?.is_dir()
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn read_whole(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(WHOLE_FILE_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > WHOLE_FILE_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is longer than 64 MiB")));
        }
        Ok(bytes)
    }

    /// The path of something in the repository; what would lead out of it is refused.
    fn within(&self, path: &str) -> io::Result<PathBuf> {
        if Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
            Ok(self.root.join(path))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{path}' leads out of the repository")))
        }
    }
}

impl Files for Repository {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let flags = OFlag::O_NOFOLLOW.bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.within(path)?)?;
        Ok(Box::new(file))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.within(dir)?)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(std::fs::symlink_metadata(self.within(path)?)?.len())
    }
}

/// `2026-11-20`, or a year of another length: only its alphabet matters for safety.
fn is_date(name: &str) -> bool {
    (1..=12).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_digit() || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> (tempfile::TempDir, Repository) {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::new(dir.path());
        (dir, repository)
    }

    fn id(n: u64) -> CallId {
        CallId::from_u64(n)
    }

    #[test]
    fn only_calls_are_walked_the_newest_day_first() {
        let (dir, repository) = repository();
        let (a, b, c) = (id(1), id(2), id(3));
        for path in [
            format!("default/2026-11-19/{c}"),
            format!("default/2026-11-20/{a}"),
            format!("acme/2026-11-20/{b}"),
            format!("live/2026-11-20/{b}"),
            "default/2026-11-20/no call".to_owned(),
            format!("default/no date/{a}"),
            format!("No Tenant/2026-11-20/{a}"),
        ] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::write(dir.path().join(format!("default/2026-11-20/{}", id(9))), "a file").unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join(format!("default/2026-11-20/{}", id(8))))
            .unwrap();
        let found: Vec<String> = repository.call_directories().map(Result::unwrap).collect();
        let expected = [
            format!("default/2026-11-20/{a}"),
            format!("acme/2026-11-20/{b}"),
            format!("default/2026-11-19/{c}"),
        ];
        assert_eq!(found, expected);
        assert_eq!(repository.find(c).unwrap().as_deref(), Some(&*expected[2]));
        assert_eq!(repository.find(id(8)).unwrap(), None);
    }

    #[test]
    fn nothing_outside_is_opened() {
        let (dir, repository) = repository();
        std::fs::write(dir.path().join("x"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert!(repository.open("x").is_ok());
        for path in ["../x", "/etc/passwd", "a/../../x", "link"] {
            assert!(repository.open(path).is_err(), "{path}");
        }
        assert_eq!(repository.list("").unwrap(), ["x"]);
    }

    #[test]
    fn a_repository_has_one_owner() {
        let (_dir, repository) = repository();
        let lock = repository.lock().unwrap();
        let refused = repository.lock().unwrap_err().to_string();
        assert!(refused.contains("another callspool runs on it; stop that one"), "{refused}");
        drop(lock);
        assert!(repository.lock().is_ok());
    }

    #[test]
    fn a_repository_that_is_not_there_is_told_of() {
        let repository = Repository::new(Path::new("/nonexistent/repository"));
        assert!(repository.call_directories().next().unwrap().is_err());
        assert!(repository.live_markers().unwrap().is_empty());
    }
}
