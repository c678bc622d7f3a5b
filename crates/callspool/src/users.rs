//! Files of users of trunks: who may send, with what stands for the passwords ([`sip::auth::Users`]).
//!
//! A file is read at start and at each reload; it must not be readable by everybody, nor writable by others than
//! its owner. A password is set by writing the file anew beside it, so that a reader sees the old or the new one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use faults::{Operation, before};
use sip::auth::{Algorithm, Ha1, Users};

use crate::config::{Config, Problem};

/// Ten thousand users with two lines of some 200 octets each, and comments.
const FILE_OCTETS_MAX: u64 = 8 << 20;
/// Others than owner and group; and writing by the group.
const FORBIDDEN_MODE: u32 = 0o027;

/// The users of each trunk that has some.
pub(crate) type TrunkUsers = BTreeMap<String, Arc<Users>>;

/// Reads the users of all trunks.
pub(crate) fn load(config: &Config) -> Result<TrunkUsers, Vec<Problem>> {
    let (mut users, mut problems) = (TrunkUsers::new(), Vec::new());
    for (name, trunk) in &config.tables.trunk {
        if trunk.users_file.as_os_str().is_empty() {
            continue;
        }
        match read(&trunk.users_file, &trunk.realm) {
            Ok(of_trunk) => {
                users.insert(name.clone(), Arc::new(of_trunk));
            }
            Err((why, todo)) => {
                let place = format!("trunk.{name}.users_file {}", trunk.users_file.display());
                problems.push(Problem::new(place, why, todo));
            }
        }
    }
    if problems.is_empty() { Ok(users) } else { Err(problems) }
}

/// What is wrong, and what to do.
type Wrong = (String, String);

fn read(path: &Path, realm: &str) -> Result<Users, Wrong> {
    let text = text(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            ("there is no such file".to_owned(), "make it with `callspool trunks password`".to_owned())
        }
        io::ErrorKind::PermissionDenied => (e.to_string(), "let this user read it".to_owned()),
        _ => (e.to_string(), "name a text file of users".to_owned()),
    })?;
    let mode = fs::metadata(path).map_or(0, |file| file.mode() & 0o7777);
    if mode & FORBIDDEN_MODE != 0 {
        let why = format!("others can read it or write to it (mode {mode:04o})");
        return Err((why, "chmod 600 it, or 640".to_owned()));
    }
    let users = Users::read(&text, realm)
        .map_err(|e| (e.to_string(), "correct the line; a user is user:realm:algorithm:HA1".to_owned()))?;
    if users.is_empty() {
        let why = format!("it has no user of the realm '{realm}': nobody could send");
        return Err((why, "make one with `callspool trunks password`, or correct the realm".to_owned()));
    }
    Ok(users)
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_OCTETS_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What becomes of a user in a file.
pub(crate) enum Change<'a> {
    /// The user has this password from now on, for these algorithms and no other.
    Password(&'a str, &'a [Algorithm]),
    /// There is no such user any more.
    Removed,
}

/// Changes a user of a realm; all other lines stay as they are. False when there was no such user.
pub(crate) fn change(path: &Path, user: &str, realm: &str, change: &Change<'_>) -> io::Result<bool> {
    let (found, mode) = match text(path) {
        Ok(text) => (text, fs::metadata(path)?.mode() & 0o7777),
        Err(e) if e.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
        Err(e) => return Err(e),
    };
    let prefix = format!("{user}:{realm}:");
    let was_there = found.lines().any(|line| line.starts_with(&prefix));
    let mut lines: Vec<String> =
        found.lines().filter(|line| !line.starts_with(&prefix)).map(str::to_owned).collect();
    if let Change::Password(password, algorithms) = change {
        let line = |a: &Algorithm| Users::line(user, realm, *a, &Ha1::of(*a, user, realm, password));
        lines.extend(algorithms.iter().map(line));
    }
    let beside = path.with_added_extension("new");
    let share = before(Operation::UsersWrite, path)?;
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let written = share
        .write(text.as_bytes(), |bytes| file.write_all(bytes))
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map(|()| was_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_change_and_go_and_the_rest_of_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let both = Change::Password("sesame", &Algorithm::ALL);
        assert!(!change(&path, "sbc", "callspool", &both).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!change(&path, "pbx", "callspool", &Change::Password("x", &[Algorithm::Md5])).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("sesame"));
        fs::write(&path, format!("# ours\n{text}")).unwrap();
        assert!(change(&path, "sbc", "callspool", &Change::Password("other", &[Algorithm::Sha256])).unwrap());
        let users = read(&path, "callspool").unwrap();
        assert_eq!((users.len(), users.algorithms()), (2, Algorithm::ALL.to_vec()));
        assert!(change(&path, "pbx", "callspool", &Change::Removed).unwrap());
        assert!(!change(&path, "pbx", "callspool", &Change::Removed).unwrap());
        assert_eq!(read(&path, "callspool").unwrap().algorithms(), [Algorithm::Sha256]);
        assert!(fs::read_to_string(&path).unwrap().starts_with("# ours\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing lies about");
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let tell = |path: &Path| read(path, "callspool").unwrap_err();
        assert!(tell(&path).0.contains("no such file"));
        change(&path, "sbc", "elsewhere", &Change::Password("x", &Algorithm::ALL)).unwrap();
        assert!(tell(&path).0.contains("no user of the realm 'callspool'"));
        fs::write(&path, "nonsense\n").unwrap();
        assert!(tell(&path).0.contains("line 1"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(tell(&path).0.contains("mode 0644"));
        assert!(tell(dir.path()).0.contains("directory"));
    }
}
