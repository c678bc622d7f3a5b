//! Calls of which a segment ended here, and of which it is not said yet how they came out.
//!
//! Most are concluded within seconds. One that is not for long, and that nobody has, is looked at: its record servers conclude it
//! then. A call on hold is one that somebody has, for as long as that lasts.
//!
//! It is told by the threads that close segments and note conclusions, and asked by the owner. What a start finds on the disks
//! it need not know, nor what is beyond its limit: everything is looked through then.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Mono;

/// Calls at a time: several times those of proxies at their limits, at some hundred octets each.
const CALLS_MAX: usize = 65_536;

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Ended {
    /// The directory of each call, since when nobody has said anything of it.
    calls: BTreeMap<String, Mono>,
    has_missed: bool,
}

impl Ended {
    /// A segment of a call ended.
    pub(super) fn ended(&mut self, now: Mono, directory: &str) {
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(directory) {
            self.has_missed = true;
            return;
        }
        self.calls.insert(directory.to_owned(), now);
    }

    /// It was noted how a call came out.
    pub(super) fn concluded(&mut self, directory: &str) {
        self.calls.remove(directory);
    }

    /// Takes out those of which nothing was said for so long. Those that somebody has wait as long once more.
    pub(super) fn due(
        &mut self,
        now: Mono,
        after: Duration,
        mut is_had: impl FnMut(&str) -> bool,
    ) -> Vec<String> {
        let mut due = Vec::new();
        self.calls.retain(|directory, since| {
            if *since + after > now {
                return true;
            }
            let is_had = is_had(directory);
            if is_had {
                *since = now;
            } else {
                due.push(directory.clone());
            }
            is_had
        });
        due
    }

    /// Whether something could not be remembered since this was asked.
    pub(super) fn has_missed(&mut self) -> bool {
        std::mem::take(&mut self.has_missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(300);

    #[test]
    fn what_is_neither_concluded_nor_anybody_s_is_looked_at_once() {
        let at = |s: u64| Mono(s * 1_000_000_000);
        let mut ended = Ended::default();
        ["a", "b", "c"].iter().for_each(|call| ended.ended(at(0), call));
        ended.concluded("a");
        ended.ended(at(100), "c");
        assert_eq!(ended.due(at(299), AFTER, |_| false), [""; 0]);
        assert_eq!(ended.due(at(300), AFTER, |_| false), ["b"]);
        assert_eq!(ended.due(at(400), AFTER, |call| call == "c"), [""; 0], "somebody has it");
        assert_eq!(ended.due(at(699), AFTER, |_| false), [""; 0]);
        assert_eq!(ended.due(at(700), AFTER, |_| false), ["c"]);
        assert_eq!(ended.due(at(9_999), AFTER, |_| false), [""; 0]);
    }

    #[test]
    fn what_is_beyond_the_limit_is_known_to_be_missing() {
        let mut ended = Ended::default();
        (0..CALLS_MAX).for_each(|n| ended.ended(Mono(0), &n.to_string()));
        ended.ended(Mono(1), "0");
        assert!(!ended.has_missed());
        ended.ended(Mono(1), "one more");
        assert!(ended.has_missed() && !ended.has_missed());
        assert_eq!(ended.calls.len(), CALLS_MAX);
    }
}
