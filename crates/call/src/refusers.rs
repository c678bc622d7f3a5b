//! Clients that refuse to be told of other ports in mid-call, by a re-INVITE of ours.
//!
//! Their calls cannot go on at another record server, unless media go through the proxy, whose ports stay as they are. So
//! it is remembered of whom that is known, for a day: then a client may have learned, and is tried again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Mono;

/// As many as a proxy has clients, and more. Beyond it who refused longest ago is forgotten, and costs one more refusal.
const REFUSERS_MAX: usize = 4_096;
/// A day.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Refusers {
    last: BTreeMap<(Arc<str>, IpAddr), Mono>,
}

impl Refusers {
    /// A client of this trunk, which signals from there, has refused.
    pub(crate) fn note(&mut self, now: Mono, trunk: Arc<str>, client: IpAddr) {
        self.last.insert((trunk, client), now);
        if self.last.len() > REFUSERS_MAX {
            let oldest = self.last.iter().min_by_key(|(_, at)| **at).map(|(who, _)| who.clone());
            oldest.and_then(|who| self.last.remove(&who));
        }
    }

    /// Whether it has, lately.
    pub(crate) fn has(&self, now: Mono, trunk: &Arc<str>, client: IpAddr) -> bool {
        let at = self.last.get(&(Arc::clone(trunk), client));
        at.is_some_and(|at| now.since(*at) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refused_is_known_for_a_day_and_only_so_many_are() {
        let (mut refusers, [a, b]) = (Refusers::default(), ["a", "b"].map(Arc::<str>::from));
        let client = |n: u32| IpAddr::from(n.to_be_bytes());
        let at = |s: u64| Mono(s * 1_000_000_000);
        refusers.note(at(1), a.clone(), client(1));
        assert!(refusers.has(at(2), &a, client(1)));
        assert!(!refusers.has(at(2), &b, client(1)) && !refusers.has(at(2), &a, client(2)));
        assert!(!refusers.has(at(86_401), &a, client(1)));
        (0..5_000).for_each(|n| refusers.note(at(n.into()), b.clone(), client(n)));
        assert_eq!(refusers.last.len(), REFUSERS_MAX);
        assert!(refusers.has(at(5_000), &b, client(4_999)) && !refusers.has(at(5_000), &b, client(3)));
    }
}
