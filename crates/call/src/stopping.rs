//! Who stopped the recording of a call. It belongs to the call, outlives its segments and its dialogs, and ends only
//! when somebody who may says to start.
//!
//! ```text
//!  stopped by                     started by
//!  API                            API
//!  SIP header of a leg            SIP header of a leg of the same trunk, API
//! ```
//!
//! A leg is recorded only if no stop [reaches](crate::reach) it. What stops one of two
//! calls that turn out to be one stops both, as if it had been said after the join.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::reach::Reach;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    order: Option<String>,
    /// By trunk, with how far each reaches. As many at most as the call had dialogs.
    trunks: BTreeMap<Arc<str>, (Reach, String)>,
}

impl Stops {
    /// Who stopped the whole call, which is of the trunk `own`.
    pub(crate) fn of_call(&self, own: &str) -> Option<&str> {
        self.order.as_deref().or_else(|| self.trunks.get(own).map(|(_, by)| by.as_str()))
    }

    /// The rule: who stopped what came by a trunk; none while it is wanted.
    pub(crate) fn of(&self, own: &str, trunk: &str) -> Option<&str> {
        let signaled = self.trunks.values().find(|(reach, _)| reach.covers(own, trunk));
        self.order.as_deref().or_else(|| signaled.map(|(_, by)| by.as_str()))
    }

    /// Whether a person stopped it: that no client ends.
    pub(crate) const fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// Somebody stops it. Who did so before stays named.
    pub(crate) fn stop(&mut self, reach: Reach, by: String) {
        match &reach {
            Reach::Order => _ = self.order.get_or_insert(by),
            Reach::Trunk { by: trunk, .. } => {
                self.trunks.entry(Arc::clone(trunk)).or_insert((reach, by));
            }
        }
    }

    /// Somebody starts it: ends what they may end. Whether that was anything.
    pub(crate) fn start(&mut self, reach: &Reach) -> bool {
        match reach {
            Reach::Order => {
                let was_stopped = self.order.is_some() || !self.trunks.is_empty();
                *self = Self::default();
                was_stopped
            }
            Reach::Trunk { by, .. } => self.trunks.remove(by).is_some(),
        }
    }

    /// What another call was stopped by, which turned out to be this one. It was of the trunk `own`, with dialogs of
    /// these trunks.
    pub(crate) fn join(&mut self, other: Self, own: &str, trunks: &BTreeSet<Arc<str>>) {
        self.order = self.order.take().or(other.order);
        for (trunk, (mut reach, by)) in other.trunks {
            reach.keep(own, trunks);
            match self.trunks.get_mut(&trunk) {
                Some((known, _)) => known.join(reach),
                None => _ = self.trunks.insert(trunk, (reach, by)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk(name: &str) -> Reach {
        Reach::of_trunk(&Arc::from(name))
    }

    #[test]
    fn each_ends_what_it_may_end() {
        let mut stops = Stops::default();
        stops.stop(Reach::Order, "alice".to_owned());
        stops.stop(trunk("a"), "stop-siprec".to_owned());
        assert_eq!((stops.of_call("a"), stops.of("a", "b")), (Some("alice"), Some("alice")));
        assert!(stops.start(&trunk("a")) && stops.is_ordered());
        assert_eq!(stops.of("a", "a"), Some("alice"), "a client does not end what a person ordered");
        stops.stop(trunk("b"), "stop-siprec".to_owned());
        assert!(stops.start(&Reach::Order) && !stops.start(&Reach::Order));
        assert_eq!(stops.of("a", "b"), None, "a person ends all of them");
    }

    #[test]
    fn a_trunk_that_the_call_is_not_of_stops_what_is_its_own() {
        let mut stops = Stops::default();
        stops.stop(trunk("b"), "stop-siprec".to_owned());
        assert_eq!((stops.of_call("a"), stops.of("a", "a")), (None, None));
        assert_eq!(stops.of("a", "b"), Some("stop-siprec"));
    }

    #[test]
    fn a_join_loses_no_stop() {
        let both: BTreeSet<Arc<str>> = [Arc::from("b"), Arc::from("c")].into();
        let (mut stops, mut other) = (Stops::default(), Stops::default());
        other.stop(trunk("b"), "stop-siprec".to_owned());
        stops.join(other, "b", &both);
        assert_eq!([stops.of("a", "b"), stops.of("a", "c")], [Some("stop-siprec"); 2]);
        assert_eq!(stops.of("a", "a"), None);
    }
}
