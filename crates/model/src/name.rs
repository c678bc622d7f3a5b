//! Short names that people give to things, of one narrow alphabet: they are in paths, certificates and labels of
//! metrics, and say the same in all of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Characters of a name, at most: what still fits a column of a table. A label of the DNS has 63 (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 32;

/// Whether it is one: small letters, digits and hyphens, a letter or digit first.
fn is_name(s: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=NAME_MAX).contains(&s.len())
        && s.bytes().all(|c| plain(c) || c == b'-')
        && s.bytes().next().is_some_and(plain)
}

macro_rules! names {
    ($( $(#[$doc:meta])* $Name:ident, $(#[$error_doc:meta])* $Error:ident = $what:literal; )+) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $Name(Arc<str>);

        $(#[$error_doc])*
        #[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
        #[error("'{0}' cannot name {what}: give 1 to 32 small letters, digits and hyphens, a letter or digit first", what = $what)]
        pub struct $Error(String);

        impl $Name {
            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Name {
            type Err = $Error;

            fn from_str(s: &str) -> Result<Self, $Error> {
                if is_name(s) { Ok(Self(Arc::from(s))) } else { Err($Error(s.chars().take(64).collect())) }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
    )+ };
}

names! {
    /// The name of a volume: a directory in which a record server keeps its recordings, on a disk of its own.
    VolumeName,
    /// Text that cannot name a volume.
    NotAVolumeName = "a volume";

    /// The name of another node as seen from here: its certificate says the same.
    PeerName,
    /// Text that cannot name a peer.
    NotAPeerName = "a peer";
}

impl VolumeName {
    /// The volume of an installation that declares none: `recording.repository`.
    pub const DEFAULT_NAME: &'static str = "repository";

    /// Whether it is that of the volume that is there without being declared.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.as_str() == Self::DEFAULT_NAME
    }
}

impl Default for VolumeName {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT_NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for bad in ["", "-a", "A", "a b", "a/b", "..", "ä", &"x".repeat(33)] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad}");
            assert!(bad.parse::<PeerName>().is_err(), "{bad}");
        }
        assert_eq!("disk-2".parse::<VolumeName>().unwrap().to_string(), "disk-2");
        assert!(VolumeName::default().is_default());
        let error = "Rec 1".parse::<PeerName>().unwrap_err().to_string();
        assert!(error.starts_with("'Rec 1' cannot name a peer: "), "{error}");
    }
}
