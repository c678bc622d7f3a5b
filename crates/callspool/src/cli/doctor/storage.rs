//! What carries the files: the kind of file system, how long a sync takes, and whether the catalog is whole.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use store::{Catalog, PostgresSettings};

use super::super::block_on;
use super::super::ls::cure;
use super::Check;

/// Syncs that are timed: the slowest of a few says more than one.
const SYNCS: usize = 5;
/// What a disk that is not in trouble stays below, spinning ones included.
const SYNC_MAX: Duration = Duration::from_millis(100);
/// A catalog that is larger is not looked through: reading it would take minutes, and the disk from the calls.
const CATALOG_MAX: u64 = 1 << 30;

/// What a file system is called, and what is the matter with recording to it.
const KINDS: [(FsType, &str, &str); 4] = [
    (NFS_SUPER_MAGIC, "NFS", "a server that stalls stalls recording, and locks may not hold"),
    (SMB_SUPER_MAGIC, "SMB", "a server that stalls stalls recording, and locks may not hold"),
    (FUSE_SUPER_MAGIC, "FUSE", "it may not make durable what it says it did"),
    (TMPFS_MAGIC, "tmpfs", "it is memory: everything is gone after a restart of the machine"),
];

/// Of a directory that recordings or the catalog are in.
pub(super) fn volume(name: &str, path: &Path) -> Vec<Check> {
    let existing = super::places::nearest_existing(path);
    vec![kind(name, &existing), sync(name, &existing)]
}

fn kind(name: &str, path: &Path) -> Check {
    let what = format!("file system of the {name}");
    match statfs(path).map(|fs| fs.filesystem_type()) {
        Ok(found) => match KINDS.iter().find(|(kind, ..)| *kind == found) {
            Some((_, kind, why)) => Check::warning(
                what,
                format!("{kind}: {why}"),
                "use a local disk with ext4 or xfs, and copy from there",
            ),
            None => Check::good(what, "local"),
        },
        Err(e) => Check::failure(what, e.to_string(), "check the disk"),
    }
}

fn sync(name: &str, path: &Path) -> Check {
    let what = format!("sync of the {name}");
    match slowest_sync(path) {
        Ok(took) if took > SYNC_MAX => Check::warning(
            what,
            format!("{} ms: what a loss of power costs grows with it", took.as_millis()),
            "see what else uses the disk, or use a faster one",
        ),
        Ok(took) => Check::good(what, format!("{:.1} ms", took.as_secs_f64() * 1_000.0)),
        Err(e) => Check::failure(what, e.to_string(), "let this user write there, or check the disk"),
    }
}

fn slowest_sync(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(format!(".callspool-sync-{}", std::process::id()));
    let timed = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut slowest = Duration::ZERO;
        for _ in 0..SYNCS {
            let begun = Instant::now();
            file.write_all(&[0; 4_096])?;
            file.sync_all()?;
            slowest = slowest.max(begun.elapsed());
        }
        Ok(slowest)
    })();
    let _ = std::fs::remove_file(&path);
    timed
}

/// Looks through the catalog, if there is one.
pub(super) fn catalog(path: &Path) -> Check {
    let what = format!("catalog {}", path.display());
    let octets = match std::fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Check::good(what, "will be made at the first start");
        }
        Err(e) => return Check::failure(what, e.to_string(), "let this user read it"),
        Ok(metadata) => metadata.len(),
    };
    if octets > CATALOG_MAX {
        return Check::good(
            what,
            format!("{}: too large to look through here", super::super::text::octets(octets)),
        );
    }
    let todo =
        "callspool sets it aside and makes it anew at the next start; `callspool restore` has its events";
    let looked = block_on(async {
        let catalog = Catalog::reader(path);
        let damage = catalog.damage().await;
        catalog.close().await;
        damage
    });
    match looked {
        Ok(Ok(damage)) if damage.is_empty() => Check::good(what, "whole"),
        Ok(Ok(damage)) => Check::failure(what, format!("damaged: {}", damage.join("; ")), todo),
        Ok(Err(e)) => Check::failure(what, e.to_string(), todo),
        Err(e) => Check::failure(what, e.to_string(), "raise the limits of this user"),
    }
}

/// Asks the server with the catalog.
pub(super) fn server(settings: &PostgresSettings) -> Check {
    let what = format!("catalog {settings}");
    let looked = block_on(async {
        let catalog = Catalog::reader(settings.clone());
        let damage = catalog.damage().await;
        catalog.close().await;
        damage
    });
    match looked {
        Ok(Ok(_)) => Check::good(what, "the server answers"),
        Ok(Err(e)) => Check::failure(what, e.to_string(), cure(&e)),
        Err(e) => Check::failure(what, e.to_string(), "raise the limits of this user"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn memory_is_no_place_for_recordings() {
        let check = kind("repository", Path::new("/dev/shm"));
        assert!(check.verdict == Verdict::Warning && check.found.starts_with("tmpfs"), "{check:?}");
    }

    #[test]
    fn a_sync_is_timed_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert_ne!(sync("x", dir.path()).verdict, Verdict::Failure);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(sync("x", Path::new("/proc")).verdict, Verdict::Failure);
    }

    #[test]
    fn a_catalog_is_whole_or_damaged_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        assert_eq!(catalog(&path).found, "will be made at the first start");
        block_on(async { Catalog::open(&path).await.unwrap().close().await }).unwrap();
        assert_eq!(catalog(&path).found, "whole");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 4;
        bytes[middle..].fill(0xaa);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(catalog(&path).verdict, Verdict::Failure);
    }
}
