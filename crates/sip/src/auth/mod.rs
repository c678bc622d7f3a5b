//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760): who may be sent away, and by which proof.
//!
//! ```text
//!  request ─► Authenticator::judge ─┬─ no, or unusable, credentials ─────► Challenged: a new nonce
//!                                   ├─ nonce old, foreign or used up ────► Challenged: a new nonce, stale=true
//!                                   ├─ user or response wrong ───────────► Wrong: counted for the address
//!                                   ├─ too many of those from there ─────► Locked: nothing is computed
//!                                   └─ all right, this count for once ───► Passed
//! ```
//!
//! Until credentials that prove right come with it, a nonce costs no memory: it is time and number under a MAC.
//! SHA-256 is offered before MD5, each if some user has it; `qop` is always `auth`. The URI within credentials is
//! taken as it comes: whatever a proxy made of the Request-URI, the resource is the same, this recorder.
//!
//! Passwords are never known here, only HA1; neither HA1 nor responses are ever printed. Nothing here reads a
//! clock or draws randomness.

mod counts;
mod credentials;
mod failures;
mod judge;
mod nonce;
mod users;

use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest as _, Sha256};

pub use judge::{Authenticator, Judged, Protection, Verdict};
pub use users::{Users, UsersError};

/// The algorithms that we speak, the best first: a client takes the first that it knows (RFC 8760 section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// SHA-256 (RFC 8760).
    Sha256,
    /// MD5: what many gateways know only. Not safe against those who can try passwords at leisure.
    Md5,
}

impl Algorithm {
    /// All, the best first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// As it stands in `algorithm`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// By its token, in any case.
    #[must_use]
    pub fn of_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| token.eq_ignore_ascii_case(algorithm.token()))
    }

    /// The digits of a hash.
    const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }

    /// The hash of the parts with colons between, in hexadecimal digits: H and KD of RFC 7616 section 3.3.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
        }
    }
}

/// A name and a password, to answer challenges with.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// What stands for a password: H(user:realm:password) of RFC 7616 section 3.4.2. Who has it can authenticate in
/// its realm, so it is kept like a password, and never printed by chance.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1(Box<str>);

impl Ha1 {
    /// Of a password.
    #[must_use]
    pub fn of(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> Self {
        Self(algorithm.hash(&[user, realm, password]).into())
    }

    /// From its hexadecimal digits.
    fn read(algorithm: Algorithm, digits: &str) -> Option<Self> {
        let is_one = digits.len() == algorithm.digits() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_one.then(|| Self(digits.to_ascii_lowercase().into()))
    }

    /// Its digits, to be written into a file of users.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ha1(…)")
    }
}

/// What is proved with a response, beside the password.
struct Proof<'a> {
    nonce: &'a str,
    /// The count as it was written: eight digits.
    count: &'a str,
    cnonce: &'a str,
    method: &'a str,
    uri: &'a str,
}

impl Proof<'_> {
    /// The response that proves it, with `qop=auth` (RFC 7616 section 3.4.1).
    fn response(&self, algorithm: Algorithm, ha1: &Ha1) -> String {
        let ha2 = algorithm.hash(&[self.method, self.uri]);
        algorithm.hash(&[&ha1.0, self.nonce, self.count, self.cnonce, "auth", &ha2])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 section 3.9.1, whose password is `Circle of Life` (erratum 4495), and RFC 2617 section 3.5.
    #[test]
    fn the_examples_of_the_rfcs() {
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let uri = "/dir/index.html";
        let of_7616 = Proof { nonce, count: "00000001", cnonce, method: "GET", uri };
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = Ha1::of(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            assert_eq!(of_7616.response(algorithm, &ha1), expected);
        }
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let of_2617 = Proof { nonce, count: "00000001", cnonce: "0a4f113b", method: "GET", uri };
        let ha1 = Ha1::of(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(ha1.expose(), "939e7578ed9e3c518a452acee763bce9");
        assert_eq!(of_2617.response(Algorithm::Md5, &ha1), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn what_stands_for_a_password_is_read_and_not_shown() {
        let digits = "939E7578ED9E3C518A452ACEE763BCE9";
        let ha1 = Ha1::read(Algorithm::Md5, digits).unwrap();
        assert_eq!((ha1.expose(), format!("{ha1:?}").as_str()), (&*digits.to_lowercase(), "Ha1(…)"));
        for bad in ["", "939E7578ED9E3C518A452ACEE763BCE", "g39E7578ED9E3C518A452ACEE763BCE9"] {
            assert!(Ha1::read(Algorithm::Md5, bad).is_none(), "{bad}");
        }
        assert!(Ha1::read(Algorithm::Sha256, digits).is_none());
    }
}
