//! What proxies tell of their calls, so that another finds that one of its own is of the same conversation.
//!
//! ```text
//!  proxy ──Sighted, Unsighted──► record server ──SightedElsewhere──► each of two proxies whose calls share a sign
//! ```
//!
//! A *sign* is an id of a call as its digest, with whose it is and among whose calls it tells: whoever compares signs
//! learns no name, number or id, and all of them are of one length.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::join::CallKey;
use crate::name::PeerName;
use crate::stream::Side;

/// Signs of a call: as many as ids are kept of it. What is beyond is not looked at.
pub const SIGNS_MAX: usize = 256;
/// Octets of a sign. Who can choose ids chooses two that have one sign after 2^64 tries, and cannot hit one of another's.
const OCTETS: usize = 16;

/// An id of a call as its digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sign([u8; OCTETS]);

/// Text that is no sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a sign has 32 hexadecimal digits")]
pub struct NoSign;

impl Sign {
    /// The beginning of a digest; a shorter one is filled up with zeros.
    #[must_use]
    pub fn of_digest(digest: &[u8]) -> Self {
        let mut octets = [0; OCTETS];
        octets.iter_mut().zip(digest).for_each(|(octet, of_digest)| *octet = *of_digest);
        Self(octets)
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sign({self})")
    }
}

impl FromStr for Sign {
    type Err = NoSign;

    fn from_str(text: &str) -> Result<Self, NoSign> {
        if text.len() != 2 * OCTETS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoSign);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| NoSign)
    }
}

impl TryFrom<String> for Sign {
    type Error = NoSign;

    fn try_from(text: String) -> Result<Self, NoSign> {
        text.parse()
    }
}

impl From<Sign> for String {
    fn from(sign: Sign) -> Self {
        sign.to_string()
    }
}

/// A call of a proxy, as others need to know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sighting {
    /// The call.
    pub call: CallKey,
    /// How many segments it expects.
    pub total: u16,
    /// Its signs; to another proxy those that a call of it has too.
    pub signs: BTreeSet<Sign>,
    /// The sides that dialogs of a phone's bridge bring of it at the moment.
    #[serde(default)]
    pub bridged: BTreeSet<Side>,
    /// The record servers that have segments of it.
    #[serde(default)]
    pub on: BTreeSet<PeerName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_reads_as_it_is_written_and_nothing_else_is_one() {
        let sign = Sign::of_digest(&[0, 1, 2, 254]);
        assert_eq!(sign.to_string(), "000102fe000000000000000000000000");
        assert_eq!(sign.to_string().parse(), Ok(sign));
        for text in ["", "0", "+00102fe000000000000000000000000", "g00102fe000000000000000000000000"] {
            assert_eq!(text.parse::<Sign>(), Err(NoSign), "{text}");
        }
        assert_eq!(Sign::of_digest(&[7; 32]), Sign::of_digest(&[7; 16]));
    }
}
