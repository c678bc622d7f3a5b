//! The users of a realm, as a file has them.
//!
//! ```text
//!  # comment
//!  user:realm:algorithm:HA1        sbc:callspool:SHA-256:5e88…
//!  user:realm:HA1                  as htdigest writes it: MD5
//! ```
//!
//! Lines of other realms are passed over, so that trunks can share a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Algorithm, Ha1};

/// Each takes some 400 octets; a trunk has one user as a rule, a phone system that registers each phone thousands.
const USERS_MAX: usize = 10_000;
/// Octets of a name.
const NAME_MAX: usize = 128;

/// What is wrong with a file of users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct UsersError {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong with it; never what stands in it.
    pub why: &'static str,
}

#[derive(Clone, PartialEq, Eq, Default)]
struct Keys {
    sha256: Option<Ha1>,
    md5: Option<Ha1>,
}

/// Users by their names, with what stands for their passwords.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Users {
    by_name: BTreeMap<Arc<str>, Keys>,
    /// By the hash of name and realm (RFC 7616 section 3.4.4).
    by_hash: BTreeMap<Box<str>, Arc<str>>,
}

impl Users {
    /// Reads the users of a realm from the text of a file.
    ///
    /// # Errors
    /// The first line that is none, and why.
    pub fn read(text: &str, realm: &str) -> Result<Self, UsersError> {
        let mut users = Self::default();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            users.take(line, realm).map_err(|why| UsersError { line: n + 1, why })?;
        }
        Ok(users)
    }

    fn take(&mut self, line: &str, realm: &str) -> Result<(), &'static str> {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, of_realm, algorithm, ha1) = match fields.as_slice() {
            [name, realm, algorithm, ha1] => {
                let algorithm = Algorithm::of_token(algorithm);
                (*name, *realm, algorithm.ok_or("the algorithm is neither SHA-256 nor MD5")?, *ha1)
            }
            [name, realm, ha1] => (*name, *realm, Algorithm::Md5, *ha1),
            _ => return Err("it is not user:realm:algorithm:HA1"),
        };
        if !Self::is_name(name) {
            return Err("the name is empty or too long, or has control characters");
        }
        let ha1 = Ha1::read(algorithm, ha1.trim_end()).ok_or("the HA1 does not fit its algorithm")?;
        if of_realm != realm {
            return Ok(());
        }
        let name: Arc<str> = name.into();
        let keys = self.by_name.entry(Arc::clone(&name)).or_default();
        let slot = match algorithm {
            Algorithm::Sha256 => &mut keys.sha256,
            Algorithm::Md5 => &mut keys.md5,
        };
        if slot.replace(ha1).is_some() {
            return Err("this user has a password of this algorithm already");
        }
        self.by_hash.insert(algorithm.hash(&[&name, realm]).into(), name);
        if self.by_name.len() > USERS_MAX { Err("there are more than 10000 users") } else { Ok(()) }
    }

    /// Whether a user can have this name.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        (1..=NAME_MAX).contains(&name.len()) && !name.contains(|c: char| c == ':' || c.is_control())
    }

    /// The line of a user in a file.
    #[must_use]
    pub fn line(name: &str, realm: &str, algorithm: Algorithm, ha1: &Ha1) -> String {
        format!("{name}:{realm}:{}:{}", algorithm.token(), ha1.expose())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none: then nobody passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The algorithms that any of them has a password of, the best first.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let has = |algorithm: &Algorithm| self.by_name.values().any(|keys| keys.of(*algorithm).is_some());
        Algorithm::ALL.into_iter().filter(has).collect()
    }

    /// A user by name or hash, with what stands for the password.
    pub(super) fn find(&self, name: &str, is_hashed: bool, of: Algorithm) -> Option<(&Arc<str>, &Ha1)> {
        let name = if is_hashed { self.by_hash.get(name)? } else { name };
        let (name, keys) = self.by_name.get_key_value(name)?;
        Some((name, keys.of(of)?))
    }
}

impl Keys {
    const fn of(&self, algorithm: Algorithm) -> Option<&Ha1> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.as_ref(),
            Algorithm::Md5 => self.md5.as_ref(),
        }
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.by_name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, realm: &str, algorithm: Algorithm) -> String {
        Users::line(name, realm, algorithm, &Ha1::of(algorithm, name, realm, "secret"))
    }

    #[test]
    fn a_file_is_read() {
        let htdigest = "old:here:939e7578ed9e3c518a452acee763bce9";
        let text = [
            "# who may send",
            "",
            &line("a", "here", Algorithm::Sha256),
            &line("a", "here", Algorithm::Md5),
            &line("b", "elsewhere", Algorithm::Md5),
            htdigest,
        ]
        .join("\r\n");
        let users = Users::read(&text, "here").unwrap();
        assert_eq!((users.len(), format!("{users:?}").as_str()), (2, "Users(2)"));
        assert_eq!(users.algorithms(), Algorithm::ALL);
        assert!(users.find("a", false, Algorithm::Sha256).is_some());
        let hash = Algorithm::Sha256.hash(&["a", "here"]);
        assert_eq!(&**users.find(&hash, true, Algorithm::Sha256).unwrap().0, "a");
        assert!(users.find("a", true, Algorithm::Sha256).is_none(), "a name is no hash");
        assert!(users.find("b", false, Algorithm::Md5).is_none(), "of another realm");
        assert!(users.find("old", false, Algorithm::Sha256).is_none());
        assert_eq!(Users::read(htdigest, "here").unwrap().algorithms(), [Algorithm::Md5]);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_not_shown() {
        let md5 = line("a", "r", Algorithm::Md5);
        for (text, line, why) in [
            ("a:r".to_owned(), 1, "user:realm"),
            (format!("\n{md5}x"), 2, "HA1"),
            (md5.replace("MD5", "SHA1"), 1, "neither"),
            (format!("{md5}\n{md5}"), 2, "already"),
            (md5.replacen('a', "", 1), 1, "name"),
            (format!("a:r:MD5:{}:x", "0".repeat(32)), 1, "user:realm"),
        ] {
            let error = Users::read(&text, "r").unwrap_err();
            assert!(error.line == line && error.why.contains(why), "{text}: {error}");
        }
    }
}
