//! Which version of the protocol a link speaks: whoever dials offers a range, whoever listens takes the newest that
//! both have.
//!
//! A version changes when something that both must understand does. What may be passed over needs no new one.

use std::fmt;
use std::str::FromStr;

use hyper::header::HeaderValue;
use model::NodeNumber;

/// The header of the request: what is offered.
pub(crate) const OFFERED: &str = "callspool-versions";
/// The header of the answer: what was taken.
pub(crate) const TAKEN: &str = "callspool-version";
/// The header of a question and its answer: which number the node has that says it.
pub(crate) const NODE: &str = "callspool-node";

/// The versions that are spoken here. Neighboring releases share one, so that nodes are upgraded one by one.
pub(crate) const OURS: Versions = Versions { from: 1, to: 1 };

/// The number in [`NODE`].
pub(crate) fn number_in(value: &HeaderValue) -> Option<NodeNumber> {
    let number: u16 = value.to_str().ok()?.parse().ok()?;
    NodeNumber::new(number).ok()
}

/// Versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Versions {
    from: u16,
    to: u16,
}

/// Text that is no range of versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoVersions;

impl Versions {
    /// The newest that both speak.
    pub(crate) fn common(self, other: Self) -> Option<u16> {
        let newest = self.to.min(other.to);
        (newest >= self.from.max(other.from)).then_some(newest)
    }

    pub(crate) fn contains(self, version: u16) -> bool {
        (self.from..=self.to).contains(&version)
    }

    /// What is said when there is none in common.
    pub(crate) fn refusal(self, other: Self) -> String {
        format!(
            "this node speaks {} of the protocol between nodes, the other one {}: upgrade the older one",
            self.describe(),
            other.describe()
        )
    }

    fn describe(self) -> String {
        if self.from == self.to {
            format!("version {}", self.from)
        } else {
            format!("versions {} to {}", self.from, self.to)
        }
    }
}

/// As in the header: `1-1`.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

impl FromStr for Versions {
    type Err = NoVersions;

    fn from_str(s: &str) -> Result<Self, NoVersions> {
        let (from, to) = s.split_once('-').ok_or(NoVersions)?;
        let read = |s: &str| s.trim().parse().map_err(|_| NoVersions);
        let (from, to) = (read(from)?, read(to)?);
        if from <= to { Ok(Self { from, to }) } else { Err(NoVersions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_both_speak_is_taken() {
        let versions = |s: &str| s.parse::<Versions>().unwrap();
        for (ours, theirs, common) in [
            ("1-1", "1-1", Some(1)),
            ("1-1", "1-2", Some(1)),
            ("1-3", "2-5", Some(3)),
            ("1-1", "2-3", None),
            ("4-6", "2-3", None),
        ] {
            assert_eq!(versions(ours).common(versions(theirs)), common, "{ours} {theirs}");
        }
        for text in ["", "1", "-", "2-1", "1-70000", "a-b", "1-2-3"] {
            assert_eq!(text.parse::<Versions>(), Err(NoVersions), "{text}");
        }
        assert_eq!(OURS.to_string().parse(), Ok(OURS));
    }

    #[test]
    fn a_refusal_names_both() {
        let said = OURS.refusal("2-3".parse().unwrap());
        assert!(said.contains("version 1") && said.contains("versions 2 to 3"), "{said}");
    }
}
