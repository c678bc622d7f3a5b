//! How far an order of somebody reaches within a call: the one rule by which pauses and stops hold.
//!
//! ```text
//!  given by                                reaches
//!  a person or program, by the interface   the whole call
//!  a dialog of the trunk that the call is of   the whole call
//!  a dialog of another trunk               what came by its own trunk
//! ```
//!
//! A dialog of another trunk joined by an id; who knows ids must not be able to keep a call from being recorded. When
//! two calls become one, an order reaches what it reached before, and nothing less: a join ends no pause and no stop.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Who gave an order, as far as it decides what it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A person or program.
    Order,
    /// Dialogs of a trunk.
    Trunk {
        /// Its name.
        by: Arc<str>,
        /// Trunks that it reached beside its own in a call that has become another. As many at most as the call had
        /// dialogs.
        also: BTreeSet<Arc<str>>,
    },
}

impl Reach {
    /// That of the dialogs of a trunk.
    pub(crate) fn of_trunk(trunk: &Arc<str>) -> Self {
        Self::Trunk { by: Arc::clone(trunk), also: BTreeSet::new() }
    }

    /// Whether it reaches all of a call, which is of the trunk `own`, whatever joins it later.
    pub(crate) fn is_whole(&self, own: &str) -> bool {
        match self {
            Self::Order => true,
            Self::Trunk { by, .. } => **by == *own,
        }
    }

    /// Whether it reaches what came by a trunk, in a call of the trunk `own`.
    pub(crate) fn covers(&self, own: &str, trunk: &str) -> bool {
        match self {
            _ if self.is_whole(own) => true,
            Self::Order => true,
            Self::Trunk { by, also } => **by == *trunk || also.contains(trunk),
        }
    }

    /// Its call, of the trunk `own` and with dialogs of these trunks, is about to become another: what it reached it
    /// reaches still.
    pub(crate) fn keep(&mut self, own: &str, trunks: &BTreeSet<Arc<str>>) {
        let is_whole = self.is_whole(own);
        if let Self::Trunk { by, also } = self
            && is_whole
        {
            also.extend(trunks.iter().filter(|trunk| *trunk != by).cloned());
        }
    }

    /// Two orders of the same are one.
    pub(crate) fn join(&mut self, other: Self) {
        if let (Self::Trunk { also, .. }, Self::Trunk { also: further, .. }) = (self, other) {
            also.extend(further);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_reaches_its_own_and_the_trunk_of_the_call_reaches_all() {
        let reach = |trunk: &str| Reach::of_trunk(&Arc::from(trunk));
        for (reach, own, trunk, expected) in [
            (Reach::Order, "a", "b", true),
            (reach("a"), "a", "a", true),
            (reach("a"), "a", "b", true),
            (reach("b"), "a", "a", false),
            (reach("b"), "a", "b", true),
            (reach("b"), "a", "c", false),
        ] {
            assert_eq!(reach.covers(own, trunk), expected, "{reach:?} {own} {trunk}");
        }
    }

    #[test]
    fn a_join_takes_nothing_away() {
        let mut reach = Reach::of_trunk(&Arc::from("b"));
        reach.keep("b", &[Arc::from("b"), Arc::from("c")].into());
        assert!(reach.covers("a", "b") && reach.covers("a", "c"));
        assert!(!reach.covers("a", "a") && !reach.covers("a", "d"), "it reaches nothing new");
        let mut guest = Reach::of_trunk(&Arc::from("c"));
        guest.keep("b", &[Arc::from("b"), Arc::from("c")].into());
        assert!(!guest.covers("a", "b"), "what did not reach it does not now");
    }
}
