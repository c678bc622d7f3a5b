//! What a proxy has told of its calls, and what it has still to tell to whom.
//!
//! Whoever is linked hears of all calls, at a pace that its link takes: what is said at once goes into a queue that is
//! closed when it is full. What changes meanwhile is told as it is when its turn comes, and once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::custody::ToKeeper;
use model::{CallId, Mono, PeerName, Sighting};

/// Told to one record server at once: some hundred kilobytes.
const AT_ONCE: usize = 200;
/// How long until the next: thousands of calls, as when a link is new, are told at two thousand a second.
const EACH: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    calls: BTreeMap<CallId, Sighting>,
    /// To whom, of what.
    due: BTreeMap<PeerName, BTreeSet<CallId>>,
    next: Option<Mono>,
}

impl Telling {
    /// Nothing was told yet.
    pub(crate) const fn new() -> Self {
        Self { calls: BTreeMap::new(), due: BTreeMap::new(), next: None }
    }

    /// A record server is linked: it knows nothing.
    pub(crate) fn linked(&mut self, name: &PeerName) {
        self.due.insert(name.clone(), self.calls.keys().copied().collect());
        self.wake();
    }

    /// It did not take what it was told last.
    pub(crate) fn again(&mut self, now: Mono, name: &PeerName) {
        self.due.insert(name.clone(), self.calls.keys().copied().collect());
        self.next = Some(now + EACH);
    }

    /// Its link is gone.
    pub(crate) fn unlinked(&mut self, name: &PeerName) {
        self.due.remove(name);
    }

    /// By what a call of ours is recognized now; none: nothing is recognized as it any more.
    pub(crate) fn sighted(&mut self, call: CallId, sighting: Option<Sighting>) {
        let before = match &sighting {
            Some(sighting) => self.calls.insert(call, sighting.clone()),
            None => self.calls.remove(&call),
        };
        if before != sighting {
            self.due.values_mut().for_each(|due| _ = due.insert(call));
            self.wake();
        }
    }

    /// When [`Self::poll`] has something to say.
    pub(crate) const fn next(&self) -> Option<Mono> {
        self.next
    }

    /// What is to be said now.
    pub(crate) fn poll(&mut self, now: Mono) -> Vec<(PeerName, ToKeeper)> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut said = Vec::new();
        for (name, due) in &mut self.due {
            for _ in 0..AT_ONCE {
                let Some(call) = due.pop_first() else { break };
                said.push((
                    name.clone(),
                    match self.calls.get(&call) {
                        Some(sighting) => ToKeeper::Sighted(Box::new(sighting.clone())),
                        None => ToKeeper::Unsighted { call },
                    },
                ));
            }
        }
        let is_left = self.due.values().any(|due| !due.is_empty());
        self.next = is_left.then(|| now + EACH);
        said
    }

    fn wake(&mut self) {
        if self.next.is_none() && self.due.values().any(|due| !due.is_empty()) {
            self.next = Some(Mono::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{CallKey, WallTime};

    use super::*;

    fn name(name: &str) -> PeerName {
        name.parse().unwrap()
    }

    fn sighting(n: u64, total: u16) -> Sighting {
        let call = CallId::from_u64(n);
        let call = CallKey { call, call_started: WallTime(0), tenant: "bonn".parse().unwrap() };
        Sighting { call, total, signs: BTreeSet::new(), bridged: BTreeSet::new(), on: BTreeSet::new() }
    }

    fn is(telling: &mut Telling, n: u64, total: u16) {
        telling.sighted(CallId::from_u64(n), (total > 0).then(|| sighting(n, total)));
    }

    /// What is said, as `to call=total`, or `to call gone`.
    fn said(telling: &mut Telling, at: Mono) -> Vec<String> {
        let line = |(to, said): (PeerName, ToKeeper)| match said {
            ToKeeper::Sighted(s) => format!("{to} {}={}", s.call.call.as_u64(), s.total),
            ToKeeper::Unsighted { call } => format!("{to} {} gone", call.as_u64()),
            other => panic!("{other:?}"),
        };
        telling.poll(at).into_iter().map(line).collect()
    }

    #[test]
    fn what_changes_is_told_to_all_that_are_linked_and_once() {
        let mut telling = Telling::new();
        is(&mut telling, 1, 1);
        assert_eq!(telling.next(), None, "nobody is there");
        telling.linked(&name("r"));
        telling.linked(&name("s"));
        assert_eq!(said(&mut telling, Mono(5)), ["r 1=1", "s 1=1"]);
        is(&mut telling, 1, 1);
        assert_eq!(telling.next(), None, "it is as it was");
        is(&mut telling, 1, 2);
        telling.unlinked(&name("s"));
        assert_eq!(said(&mut telling, Mono(6)), ["r 1=2"]);
        is(&mut telling, 1, 0);
        is(&mut telling, 2, 0);
        assert_eq!(said(&mut telling, Mono(7)), ["r 1 gone"]);
        telling.linked(&name("s"));
        assert_eq!((said(&mut telling, Mono(8)), telling.next()), (Vec::new(), None));
    }

    #[test]
    fn who_did_not_take_it_is_told_again_and_not_at_once() {
        let mut telling = Telling::new();
        telling.linked(&name("r"));
        is(&mut telling, 1, 1);
        assert_eq!(said(&mut telling, Mono(1)), ["r 1=1"]);
        telling.again(Mono(1), &name("r"));
        assert_eq!(said(&mut telling, Mono(1)), [""; 0]);
        assert_eq!(said(&mut telling, Mono(1) + EACH), ["r 1=1"]);
    }

    #[test]
    fn who_is_linked_hears_of_thousands_bit_by_bit_and_of_what_changed_meanwhile_as_it_is() {
        let mut telling = Telling::new();
        (0..1_000).for_each(|n| is(&mut telling, n, 1));
        telling.linked(&name("r"));
        let (mut at, mut all) = (Mono(1), Vec::new());
        while telling.next().is_some() {
            let more = said(&mut telling, at);
            assert!(more.len() <= AT_ONCE, "{}", more.len());
            assert_eq!(said(&mut telling, at), [""; 0], "not before it is time");
            all.extend(more);
            is(&mut telling, 999, 2);
            at = at + EACH;
        }
        assert_eq!((all.len(), all.last().map(String::as_str)), (1_000, Some("r 999=2")));
    }
}
