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

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::reach::{Reach, Whose};

/// See the module.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Stops {
    order: Option<String>,
    /// By trunk. As many at most as the call had dialogs.
    trunks: BTreeMap<Arc<str>, String>,
}

impl Stops {
    fn all(&self) -> impl Iterator<Item = (Reach, &str)> {
        let signaled = self.trunks.iter().map(|(trunk, by)| (Reach::Trunk(Arc::clone(trunk)), by.as_str()));
        self.order.as_deref().map(|by| (Reach::Order, by)).into_iter().chain(signaled)
    }

    /// Who stopped the whole call, all of which this tells.
    pub(crate) fn of_call(&self, is_all: impl Fn(&Reach) -> bool) -> Option<&str> {
        self.all().find(|(reach, _)| is_all(reach)).map(|(_, by)| by)
    }

    /// The rule: who stopped what a dialog brings; none while it is wanted.
    pub(crate) fn of(&self, whose: &Whose) -> Option<&str> {
        self.all().find(|(reach, _)| reach.covers(whose)).map(|(_, by)| by)
    }

    /// Whether a person stopped it: that no client ends.
    pub(crate) const fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// Somebody stops it. Who did so before stays named.
    pub(crate) fn stop(&mut self, reach: Reach, by: String) {
        match reach {
            Reach::Order => _ = self.order.get_or_insert(by),
            Reach::Trunk(trunk) => _ = self.trunks.entry(trunk).or_insert(by),
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
            Reach::Trunk(by) => self.trunks.remove(by).is_some(),
        }
    }

    /// What another call was stopped by, which turned out to be this one.
    pub(crate) fn join(&mut self, other: Self) {
        self.order = self.order.take().or(other.order);
        for (trunk, by) in other.trunks {
            self.trunks.entry(trunk).or_insert(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk(name: &str) -> Reach {
        Reach::Trunk(Arc::from(name))
    }

    fn of(name: &str) -> Whose {
        Whose::new(Arc::from(name), &[Arc::from("a")].into())
    }

    #[test]
    fn each_ends_what_it_may_end() {
        let mut stops = Stops::default();
        stops.stop(Reach::Order, "alice".to_owned());
        stops.stop(trunk("a"), "stop-siprec".to_owned());
        assert_eq!((stops.of_call(|_| true), stops.of(&of("b"))), (Some("alice"), Some("alice")));
        assert!(stops.start(&trunk("a")) && stops.is_ordered());
        assert_eq!(stops.of(&of("a")), Some("alice"), "a client does not end what a person ordered");
        stops.stop(trunk("b"), "stop-siprec".to_owned());
        assert!(stops.start(&Reach::Order) && !stops.start(&Reach::Order));
        assert_eq!(stops.of(&of("b")), None, "a person ends all of them");
    }

    #[test]
    fn a_trunk_stops_what_is_its_own_and_its_guests() {
        let mut stops = Stops::default();
        stops.stop(trunk("b"), "stop-siprec".to_owned());
        assert_eq!((stops.of(&of("a")), stops.of(&of("b"))), (None, Some("stop-siprec")));
        let mut other = Stops::default();
        other.stop(trunk("a"), "stop-siprec".to_owned());
        stops.join(other);
        assert_eq!([stops.of(&of("a")), stops.of(&of("c"))], [Some("stop-siprec"); 2]);
        assert_eq!(stops.of_call(|reach| *reach == trunk("c")), None);
    }
}
