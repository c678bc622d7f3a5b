//! Where things are kept: directories that can be written and that others cannot read, and space in them.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use store::Place;

use super::{Check, storage};
use crate::catalog;
use crate::config::{Config, Role, Size};
use crate::patience::within;

/// Free space that lasts less than a day for some hundred calls: worth a word, not a failure.
const SPACE_FACTOR: u64 = 4;

/// How long a volume may take for its checks, which write and sync some pages.
const LOOK: Duration = Duration::from_secs(15);

/// How long a catalog of a gigabyte may take to be read through.
const READ: Duration = Duration::from_secs(60);

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![directory("data directory", &config.node.data_dir)];
    if config.node.roles.contains(&Role::Recorder) {
        for volume in crate::volumes::declared(config) {
            let name = match volume.name.is_default() {
                true => "repository".to_owned(),
                false => format!("volume {}", volume.name),
            };
            let what = format!("{name} {}", volume.path.display());
            let looked = within(LOOK, move || {
                let mut checks = vec![directory(&name, &volume.path)];
                checks.extend(storage::volume(&name, &volume.path));
                if volume.weight > 0 {
                    checks.push(space(&volume.path, Size(volume.min_free)));
                }
                checks
            });
            checks.extend(looked.unwrap_or_else(|| vec![silent(what)]));
        }
    }
    match catalog::place(config) {
        Ok(Place::File(path)) => {
            let what = format!("catalog {}", path.display());
            let looked = within(READ, move || {
                vec![
                    directory("directory of the catalog", path.parent().unwrap_or(Path::new("/"))),
                    storage::catalog(&path),
                ]
            });
            checks.extend(looked.unwrap_or_else(|| vec![silent(what)]));
        }
        Ok(Place::Postgres(settings)) => checks.push(storage::server(&settings)),
        Err(e) => checks.push(Check::failure("catalog", e.to_string(), "correct [catalog]")),
    }
    if config.node.roles.contains(&Role::Api) {
        checks.push(secret("token file", &config.api.token_file));
    }
    checks
}

fn silent(what: String) -> Check {
    Check::failure(what, "it does not answer", "look after its disk, or its server")
}

/// That it can be written to, now or once it is made, and that it is for its owner alone.
fn directory(name: &str, path: &Path) -> Check {
    let what = format!("{name} {}", path.display());
    let existing = nearest_existing(path);
    if let Err(e) = try_write(&existing) {
        let todo = "let this user write there, or choose another place";
        return Check::failure(what, format!("{}: {e}", existing.display()), todo);
    }
    if existing != path {
        return Check::good(what, "will be made at the first start");
    }
    match std::fs::metadata(path).map(|m| m.mode() & 0o777) {
        Ok(mode) if mode & 0o077 != 0 => Check::warning(
            what,
            format!("others can look into it (mode {mode:04o})"),
            format!("chmod 700 {}", path.display()),
        ),
        Ok(_) => Check::good(what, "can be written, by its owner alone"),
        Err(e) => Check::failure(what, e.to_string(), "let this user read it"),
    }
}

pub(super) fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Writes a file and removes it.
fn try_write(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".callspool-doctor-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| io::Write::write_all(&mut file, b"doctor"));
    let _ = std::fs::remove_file(&path);
    written
}

fn space(path: &Path, least: Size) -> Check {
    let what = "free space for recordings";
    let free = match statvfs(&nearest_existing(path)) {
        Ok(fs) => fs.blocks_available().saturating_mul(fs.fragment_size()),
        Err(e) => return Check::failure(what, e.to_string(), "check the disk"),
    };
    let found = format!("{} ({least} at least)", super::super::text::octets(free));
    if free < least.0 {
        Check::failure(what, found, "free some, or calls are refused; or lower recording.min_free_space")
    } else if free < least.0.saturating_mul(SPACE_FACTOR) {
        Check::warning(what, found, "free some soon: below the least, calls are refused")
    } else {
        Check::good(what, found)
    }
}

/// A file that only its owner may read, if it exists.
fn secret(name: &str, path: &Path) -> Check {
    let what = format!("{name} {}", path.display());
    match std::fs::metadata(path).map(|m| m.mode() & 0o777) {
        Ok(mode) if mode & 0o077 != 0 => Check::failure(
            what,
            format!("others can read it (mode {mode:04o}); it is refused"),
            format!("chmod 600 {}, or remove it: then a new one is made", path.display()),
        ),
        Ok(_) => Check::good(what, "readable by its owner alone"),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Check::good(what, "will be made at the first start"),
        Err(e) => Check::failure(what, e.to_string(), "let this user read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories_are_tried_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mode =
            |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        assert_eq!(directory("d", dir.path()).verdict, Verdict::Good);
        assert_eq!(directory("d", &dir.path().join("a/b")).found, "will be made at the first start");
        mode(0o755);
        let open = directory("d", dir.path());
        assert!(open.verdict == Verdict::Warning && open.todo.starts_with("chmod 700 "), "{open:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(directory("d", Path::new("/proc/x")).verdict, Verdict::Failure);
    }

    #[test]
    fn space_is_enough_or_short_or_too_little() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(space(dir.path(), Size(1)).verdict, Verdict::Good);
        assert_eq!(space(dir.path(), Size(u64::MAX)).verdict, Verdict::Failure);
    }

    #[test]
    fn a_secret_that_others_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert_eq!(secret("t", &path).verdict, Verdict::Good);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(secret("t", &path).verdict, Verdict::Failure);
    }
}
