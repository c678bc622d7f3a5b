//! The access token of the page: made at first start, readable by its owner alone, never logged.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use faults::{Operation, before};

use crate::cli::{CliError, file_error};

/// 32 octets cannot be guessed; fewer than half of that, written by somebody by hand, could.
const TOKEN_OCTETS: usize = 32;
/// The shortest token that is accepted, in characters.
const TOKEN_CHARS_MIN: usize = 16;
/// The longest; a cookie must hold it.
const TOKEN_CHARS_MAX: usize = 256;

/// The token in the file, which is made when there is none.
pub(crate) fn load_or_create(path: &Path) -> Result<String, CliError> {
    match load(path) {
        Err(Problem::Missing) => {}
        other => return other.map_err(|p| p.tell(path)),
    }
    match create(path) {
        // Another process was faster: its token counts.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => load(path).map_err(|p| p.tell(path)),
        Err(e) => Err(file_error(format!("cannot make the token file {}", path.display()), &e)),
        Ok(token) => Ok(token),
    }
}

/// The token in the file, for a command that talks to the server whose it is.
pub(crate) fn read(path: &Path) -> Result<String, CliError> {
    load(path).map_err(|p| p.tell(path))
}

enum Problem {
    Missing,
    Unreadable(io::Error),
    Open(u32),
    NoToken,
}

impl Problem {
    fn tell(self, path: &Path) -> CliError {
        let what = format!("cannot use the token file {}", path.display());
        match self {
            Self::Missing => file_error(what, &io::ErrorKind::NotFound.into()),
            Self::Unreadable(e) => file_error(what, &e),
            Self::Open(mode) => CliError::failed(
                what,
                format!("others can read it (mode {mode:04o})"),
                "remove it, or chmod 600 it",
            ),
            Self::NoToken => CliError::failed(
                what,
                format!(
                    "it holds no token of {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} letters, digits, '-' and '_'"
                ),
                "remove it, and a new one is made",
            ),
        }
    }
}

fn load(path: &Path) -> Result<String, Problem> {
    let opened = before(Operation::Token, path).and_then(|_| OpenOptions::new().read(true).open(path));
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Problem::Missing),
        Err(e) => return Err(Problem::Unreadable(e)),
    };
    let mode = file.metadata().map_err(Problem::Unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Problem::Open(mode));
    }
    let mut text = String::new();
    Read::by_ref(&mut file).take(4_096).read_to_string(&mut text).map_err(Problem::Unreadable)?;
    let token = text.trim();
    let plain = token.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if plain && (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) {
        Ok(token.to_owned())
    } else {
        Err(Problem::NoToken)
    }
}

fn create(path: &Path) -> io::Result<String> {
    let mut octets = [0_u8; TOKEN_OCTETS];
    getrandom::fill(&mut octets).map_err(io::Error::other)?;
    let token: String = octets.iter().map(|o| format!("{o:02x}")).collect();
    let share = before(Operation::TokenWrite, path)?;
    // Half a token would be taken for one, and an empty file for none that may be replaced.
    let beside = path.with_added_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let made = share
        .write(format!("{token}\n").as_bytes(), |bytes| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&beside, path));
    let _ = fs::remove_file(&beside);
    made.map(|()| token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_token_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = load_or_create(&path).unwrap();
        assert_eq!(token.len(), 2 * TOKEN_OCTETS);
        assert_eq!(load_or_create(&path).unwrap(), token);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(load_or_create(&dir.path().join("other")).unwrap(), token);
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_no_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let check = |text: &str, mode: u32, expected: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let told = load_or_create(&path).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        };
        check("0123456789abcdef", 0o640, "others can read it (mode 0640); remove it, or chmod 600 it");
        check("short", 0o600, "no token of 16");
        check("", 0o600, "no token of 16");
        check("0123456789abcde\u{e9}f", 0o600, "no token of 16");
        let told = load_or_create(&dir.path().join("no/token")).unwrap_err().to_string();
        assert!(told.contains("cannot make the token file"), "{told}");
    }
}
