//! How far an order of somebody reaches within a call: the one rule by which pauses and stops hold.
//!
//! ```text
//!  given by                                reaches
//!  a person or program, by the interface   the whole call
//!  a dialog                                what came by its trunk, and what came to a call of its trunk as a guest
//! ```
//!
//! A call is of the trunk of its first dialog; a dialog of another trunk that comes to it by an id is a guest. Who knows
//! ids must not be able to keep a call from being recorded, so whose a dialog is is settled when it comes. When two calls
//! become one nothing of that changes: each who had a say in a dialog has it still, and nobody gets one. Of a call that
//! was two of different trunks each is the owner: what comes by its trunk later is its own alone, and who comes by a
//! third is a guest of both.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who gave an order, as far as it decides what it reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    /// A person or program.
    Order,
    /// Dialogs of this trunk.
    Trunk(Arc<str>),
}

/// Who has a say in what a dialog brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whose {
    /// The trunk that it came by.
    trunk: Arc<str>,
    /// Those of whose call it is a guest. One at most, but for guests of calls that were several.
    hosts: BTreeSet<Arc<str>>,
}

impl Whose {
    /// Of a dialog that comes by this trunk to a call of these owners.
    pub(crate) fn new(trunk: Arc<str>, owners: &BTreeSet<Arc<str>>) -> Self {
        let hosts = if owners.contains(&trunk) { BTreeSet::new() } else { owners.clone() };
        Self { trunk, hosts }
    }

    /// The trunk that it came by.
    pub(crate) const fn trunk(&self) -> &Arc<str> {
        &self.trunk
    }
}

impl Reach {
    /// Whether it reaches what a dialog brings.
    pub(crate) fn covers(&self, whose: &Whose) -> bool {
        match self {
            Self::Order => true,
            Self::Trunk(by) => *by == whose.trunk || whose.hosts.contains(by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_reaches_its_own_and_its_guests() {
        let owners = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        for (by, trunk, of, expected) in [
            ("a", "a", &["a"][..], true),
            ("a", "b", &["a"], true),
            ("b", "a", &["a"], false),
            ("b", "b", &["a"], true),
            ("b", "c", &["a"], false),
            ("a", "b", &["a", "b"], false),
            ("b", "a", &["a", "b"], false),
            ("b", "c", &["a", "b"], true),
        ] {
            let whose = Whose::new(Arc::from(trunk), &owners(of));
            assert_eq!(Reach::Trunk(Arc::from(by)).covers(&whose), expected, "{by} {trunk} {of:?}");
            assert!(Reach::Order.covers(&whose));
        }
    }
}
