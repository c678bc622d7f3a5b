//! Signatures: who knows the secret can tell that a request is from here, is whole, and is of now.
//!
//! ```text
//! Callspool-Signature: t=1795166100,v1=5257a869…[,v1=…]
//!                      seconds      HMAC-SHA256(secret, "1795166100." + body), hexadecimal
//! ```
//!
//! While a secret is changed there are two, and a signature of each: the receiver takes whichever it knows.

use std::fmt::{self, Write as _};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::private_text::{Wrong, private_text};

/// As long as what HMAC-SHA256 makes (RFC 2104 section 3): a shorter one is easier to guess.
const SECRET_MIN: usize = 32;
/// The one that comes, the one that goes, and room for a mistake.
const SECRETS_MAX: usize = 4;

/// What a receiver knows too. Never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Those of a file, one a line.
    pub(super) fn read(path: &Path) -> Result<Self, Wrong> {
        let text = private_text(path)?;
        let secrets: Vec<Vec<u8>> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| l.as_bytes().to_vec()).collect();
        let todo = "make one with: openssl rand -hex 32";
        if let Some(short) = secrets.iter().find(|s| s.len() < SECRET_MIN) {
            let why = format!("a secret of {} octets is too short: {SECRET_MIN} at least", short.len());
            return Err((why, todo.to_owned()));
        }
        match secrets.len() {
            0 => Err(("it is empty".to_owned(), todo.to_owned())),
            1..=SECRETS_MAX => Ok(Self(secrets)),
            n => Err((format!("it has {n} secrets"), format!("leave {SECRETS_MAX} of its lines at most"))),
        }
    }

    /// The value of the header, at a time in seconds since 1970; none without a secret.
    pub(super) fn sign(&self, seconds: i64, body: &[u8]) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut value = format!("t={seconds}");
        for secret in &self.0 {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(format!("{seconds}.").as_bytes());
            mac.update(body);
            value.push_str(",v1=");
            for octet in mac.finalize().into_bytes() {
                write!(value, "{octet:02x}").ok()?;
            }
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_signature_is_what_openssl_makes_of_it() {
        // printf '1795166100.{"id":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let secrets = Secrets(vec![b"0123456789abcdef0123456789abcdef".to_vec()]);
        assert_eq!(
            secrets.sign(1_795_166_100, br#"{"id":1}"#).unwrap(),
            "t=1795166100,v1=669ae833fa2446799646b1908e21e00a453b135fe12579bf409b7035f96188e4"
        );
        assert_eq!(Secrets::default().sign(1, b""), None);
        let two = Secrets(vec![vec![b'a'; 32], vec![b'b'; 32]]).sign(1, b"x").unwrap();
        assert_eq!(two.matches("v1=").count(), 2, "{two}");
    }

    #[test]
    fn a_secret_is_long_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Secrets::read(&path)
        };
        let long = "x".repeat(32);
        assert_eq!(read(&format!("{long}\n"), 0o600).unwrap().0.len(), 1);
        assert_eq!(read(&format!("{long}\n\n  {long}y\n"), 0o640).unwrap().0.len(), 2);
        for (text, mode, why) in [
            ("short\n", 0o600, "5 octets"),
            ("", 0o600, "empty"),
            (&format!("{long}\n").repeat(5), 0o600, "5 secrets"),
            (&long, 0o644, "mode 0644"),
        ] {
            let told = read(text, mode).unwrap_err();
            assert!(told.0.contains(why), "{told:?}");
        }
        assert!(Secrets::read(&dir.path().join("none")).unwrap_err().0.contains("no such file"));
        assert_eq!(format!("{:?}", Secrets(vec![vec![1]])), "Secrets(1)");
    }
}
