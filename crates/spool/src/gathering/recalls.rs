//! Requests of other nodes that wait until the shell has said what is here of their call.
//!
//! A node has one for each call, the newest: it asks again what was not answered. One that nobody can wait for any more goes, so
//! what cannot be read keeps no place from others.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{CallId, Mono, NodeNumber, Request};

use super::ANSWER_WITHIN;
use super::keeper::Asker;

/// Of all nodes: more are told to ask again.
const RECALLS_MAX: usize = 1_024;
/// Whoever asks has given up by then.
const KEPT_FOR: Duration = ANSWER_WITHIN.saturating_mul(2);

#[derive(Debug, Default)]
pub(super) struct Recalls(BTreeMap<(CallId, NodeNumber), Waiting>);

#[derive(Debug)]
struct Waiting {
    asker: Asker,
    request: Request,
    until: Mono,
}

impl Recalls {
    /// Has a request wait. The ones that do not any more, this one if there is no place for it.
    pub(super) fn wait(&mut self, now: Mono, call: CallId, asker: Asker, request: Request) -> Vec<Asker> {
        let mut gone = self.expire(now);
        if self.0.len() >= RECALLS_MAX && !self.0.contains_key(&(call, asker.to)) {
            gone.push(asker);
            return gone;
        }
        let waiting = Waiting { asker, request, until: now + KEPT_FOR };
        let before = self.0.insert((call, asker.to), waiting);
        // What came twice is answered once.
        gone.extend(before.map(|waiting| waiting.asker).filter(|before| *before != asker));
        gone
    }

    /// Takes those that wait for a call.
    pub(super) fn take(&mut self, call: CallId) -> impl Iterator<Item = (Asker, Request)> + use<> {
        let of_it: Vec<_> = self.0.extract_if(.., |(of, _), _| *of == call).collect();
        of_it.into_iter().map(|(_, waiting)| (waiting.asker, waiting.request))
    }

    /// Takes those that nobody waits for.
    pub(super) fn expire(&mut self, now: Mono) -> Vec<Asker> {
        self.0.extract_if(.., |_, waiting| waiting.until <= now).map(|(_, waiting)| waiting.asker).collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Mono> {
        self.0.values().map(|waiting| waiting.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CallKey, TenantId, WallTime};

    fn asker(node: u16, ticket: u64) -> Asker {
        Asker { to: NodeNumber::new(node).unwrap(), ticket }
    }

    fn list(call: u64) -> (CallId, Request) {
        let call = CallId::from_u64(call);
        let key = CallKey { call, call_started: WallTime(0), tenant: TenantId::default() };
        (call, Request::List { call: key })
    }

    #[test]
    fn a_node_waits_once_for_a_call_and_not_for_ever() {
        let (mut recalls, (call, request)) = (Recalls::default(), list(1));
        let start = Mono(7);
        assert_eq!(recalls.wait(start, call, asker(2, 1), request.clone()), []);
        assert_eq!(recalls.wait(start, call, asker(2, 1), request.clone()), [], "the same, twice");
        assert_eq!(recalls.wait(start, call, asker(2, 2), request.clone()), [asker(2, 1)]);
        assert_eq!(recalls.wait(start, call, asker(3, 3), request.clone()), []);
        let taken: Vec<_> = recalls.take(call).map(|(asker, _)| asker).collect();
        assert_eq!(taken, [asker(2, 2), asker(3, 3)]);
        assert_eq!(recalls.next_timeout(), None);
        for n in 0..RECALLS_MAX as u64 {
            let (call, request) = list(n);
            assert_eq!(recalls.wait(start, call, asker(2, n), request), []);
        }
        let (other, request) = list(5_000);
        assert_eq!(recalls.wait(start, other, asker(2, 9), request.clone()), [asker(2, 9)]);
        let later = recalls.next_timeout().unwrap();
        assert_eq!(recalls.wait(later, other, asker(2, 9), request).len(), RECALLS_MAX);
        assert_eq!(recalls.take(other).count(), 1);
    }
}
