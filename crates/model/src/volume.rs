//! Volumes: the directories in which a record server keeps its recordings, each on a disk of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The name of a volume, as configured: small letters, digits and hyphens, at most 32 of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VolumeName(Arc<str>);

/// Text that cannot name a volume.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "'{0}' cannot name a volume: give 1 to 32 small letters, digits and hyphens, a letter or digit first"
)]
pub struct NotAVolumeName(String);

impl VolumeName {
    /// The volume of an installation that declares none: `recording.repository`.
    pub const DEFAULT_NAME: &'static str = "repository";

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

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

impl FromStr for VolumeName {
    type Err = NotAVolumeName;

    fn from_str(s: &str) -> Result<Self, NotAVolumeName> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let ok = (1..=32).contains(&s.len())
            && s.bytes().all(|c| plain(c) || c == b'-')
            && s.bytes().next().is_some_and(plain);
        if ok { Ok(Self(Arc::from(s))) } else { Err(NotAVolumeName(s.chars().take(64).collect())) }
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VolumeName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for bad in ["", "-a", "A", "a b", "a/b", "..", "ä", &"x".repeat(33)] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad}");
        }
        assert_eq!("disk-2".parse::<VolumeName>().unwrap().to_string(), "disk-2");
        assert!(VolumeName::default().is_default());
    }
}
