//! Names that dialogs lead to, and the addresses that the driver found for them (RFC 3263).
//!
//! Nothing here waits: a name is asked for when a dialog is agreed on, and again at each use, so that the answer
//! that is used is the last one. Until there is one the peer is sent to where it was heard. An address that
//! fails is passed over for a while, by every dialog with this name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::Mono;

use crate::flow::{Destination, Transport};

/// Names kept: an installation has some tens of peers. Beyond it the one longest unused is forgotten.
const NAMES_MAX: usize = 1_024;
/// Lookups under way: beyond it a name is not asked for, so that INVITEs with invented names make no flood.
const ASKED_MAX: usize = 64;
/// Addresses kept for a name, the best first: each may cost a whole time-out.
const TARGETS_MAX: usize = 8;
/// How long an address that failed is passed over, as long as others are left.
const FAILED: Duration = Duration::from_secs(300);

/// A name to look up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Query {
    /// The host name, in lower case, without a final dot.
    pub host: String,
    /// The port, where one is named: then there is no SRV.
    pub port: Option<u16>,
    /// The transport, where it is decided: then there is no NAPTR.
    pub transport: Option<Transport>,
}

impl Query {
    /// None when this can be no host name (RFC 1123 section 2.1).
    #[must_use]
    pub fn new(host: &str, port: Option<u16>, transport: Option<Transport>) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // RFC 2606: `.invalid` is what browsers name, and never is.
        let is_name = host.len() <= 253 && host.split('.').all(is_label) && !host.ends_with(".invalid");
        is_name.then_some(Self { host, port, transport })
    }
}

struct Target {
    to: Destination,
    failed: Option<Mono>,
}

struct Entry {
    targets: Vec<Target>,
    used: u64,
}

#[derive(Default)]
pub(crate) struct Names {
    entries: BTreeMap<Query, Entry>,
    asked: BTreeSet<Query>,
    queries: VecDeque<Query>,
    uses: u64,
}

impl Names {
    /// Has a name looked up, unless that is under way.
    pub(crate) fn ask(&mut self, query: Query) {
        if self.asked.len() < ASKED_MAX && self.asked.insert(query.clone()) {
            self.queries.push_back(query);
        }
    }

    pub(crate) fn poll_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }

    /// The best address of a name that has not failed, as far as it is known.
    pub(crate) fn target(&mut self, query: &Query) -> Option<Destination> {
        self.ask(query.clone());
        self.uses += 1;
        let entry = self.entries.get_mut(query)?;
        entry.used = self.uses;
        let sound = entry.targets.iter().find(|target| target.failed.is_none());
        sound.or(entry.targets.first()).map(|target| target.to)
    }

    pub(crate) fn resolved(&mut self, now: Mono, query: &Query, targets: Vec<Destination>) {
        self.asked.remove(query);
        if targets.is_empty() {
            // A name server that is away for a moment makes no peer unreachable.
            return;
        }
        let before = self.entries.remove(query);
        let failed_before = |to: &Destination| {
            let old = before.iter().flat_map(|entry| &entry.targets).find(|target| target.to == *to);
            old.and_then(|target| target.failed).filter(|at| now.since(*at) < FAILED)
        };
        let targets = targets
            .into_iter()
            .take(TARGETS_MAX)
            .map(|to| Target { failed: failed_before(&to), to })
            .collect();
        if self.entries.len() >= NAMES_MAX
            && let Some(oldest) = self.entries.iter().min_by_key(|(_, e)| e.used).map(|(q, _)| q.clone())
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.entries.insert(query.clone(), Entry { targets, used: self.uses });
    }

    /// Notes that an address failed; gives the next one of the same name that has not.
    pub(crate) fn next_after(&mut self, now: Mono, failed: Destination) -> Option<Destination> {
        let mut next = None;
        for entry in self.entries.values_mut() {
            let Some(target) = entry.targets.iter_mut().find(|target| target.to == failed) else { continue };
            target.failed = Some(now);
            let sound = entry.targets.iter().find(|target| target.failed.is_none());
            next = next.or(sound.map(|target| target.to));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::HostId;

    fn to(last: u8) -> Destination {
        let remote = ([192, 0, 2, last], 5060).into();
        Destination::Named { transport: Transport::Udp, remote, host: HostId(1) }
    }

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn addresses_that_fail_are_passed_over_until_all_have_failed_or_time_has_passed() {
        let query = Query::new("PBX.example.", None, None).unwrap();
        assert_eq!(query.host, "pbx.example");
        let mut names = Names::default();
        assert_eq!(names.target(&query), None);
        assert_eq!(names.target(&query), None);
        assert_eq!(names.poll_query().as_ref(), Some(&query));
        assert_eq!(names.poll_query(), None, "asked for once at a time");
        names.resolved(at(0), &query, vec![to(1), to(2)]);
        assert_eq!(names.target(&query), Some(to(1)));
        assert_eq!(names.next_after(at(1), to(1)), Some(to(2)));
        assert_eq!(names.target(&query), Some(to(2)));
        names.resolved(at(2), &query, vec![to(1), to(2)]);
        assert_eq!(names.target(&query), Some(to(2)), "a new answer does not make it sound");
        assert_eq!(names.next_after(at(3), to(2)), None);
        assert_eq!(names.target(&query), Some(to(1)), "better than nothing");
        names.resolved(at(400), &query, vec![to(1), to(2)]);
        assert_eq!(names.next_after(at(400), to(1)), Some(to(2)));
        names.resolved(at(401), &query, Vec::new());
        assert_eq!(names.target(&query), Some(to(2)), "no answer changes nothing");
    }

    #[test]
    fn neither_names_nor_lookups_grow_without_end() {
        let mut names = Names::default();
        let query = |n: usize| Query::new(&format!("h{n}.example"), None, None).unwrap();
        (0..1_000).for_each(|n| names.ask(query(n)));
        assert_eq!((names.queries.len(), names.asked.len()), (ASKED_MAX, ASKED_MAX));
        (0..2_000).for_each(|n| names.resolved(at(0), &query(n), vec![to(1)]));
        assert_eq!(names.entries.len(), NAMES_MAX);
        assert!(names.entries.contains_key(&query(1_999)) && !names.entries.contains_key(&query(0)));
    }

    #[test]
    fn what_is_no_host_name_is_not_looked_up() {
        for host in ["", "a..b", "df7jal23ls0d.invalid", "a b", "x/y", &"a".repeat(64)] {
            assert_eq!(Query::new(host, None, None), None, "{host}");
        }
    }
}
