//! New calls that wait to be looked at: whatever belongs to a call in progress goes before them.
//!
//! ```text
//!  INVITE ──► waits ──► next ──► agent
//!    │ again: nothing new          │ after too long: refused
//!    ├─ would wait too long: refused
//!    └─ cancelled, or its connection closed: gone, before it cost anything
//! ```
//!
//! Who is in the queue has had no answer yet, not even 100, and sends again after 500 ms (T1 of RFC 3261 section 17.1.1.2);
//! so nobody may wait for nearly as long. Whoever drives it gives a turn when nothing else has come, and [now and
//! then](Newcomers::is_due) when something always has: what lies in a socket is seen by nobody, and who comes behind it
//! is neither taken nor refused. It knows requests by a key alone; what they are is the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Mono;

use crate::pace::{Pace, Watermarks};

/// Who would wait longer is refused: two fifths of T1, so that who is taken does not send again.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Until then newcomers are refused when one was.
const WAIT_SHORT: Duration = Duration::from_millis(100);
/// When the oldest has waited for so long, turns come too seldom, whatever a turn takes: newcomers are refused.
const STANDSTILL: Duration = Duration::from_millis(400);
/// When the oldest has waited for so long it is its turn although other things come,
const DUE: Duration = Duration::from_millis(50);
/// once so many of them went before it. Where a turn takes ten to fifty times as long as reading what belongs to a call or
/// is refused, newcomers have an eighth of the time to nearly half of it, whatever comes; with fewer, more would come than is
/// read at some times what can be served.
const GO_BEFORE: u32 = 64;
/// Who has waited for so long after all is refused when its turn comes: it has sent again twice, and most likely turned
/// to somebody else.
const LATE: Duration = Duration::from_secs(2);
/// So few never wait too long, so that how long one takes is always measured again.
const FEW: usize = 8;
/// Requests that may wait: at 0.1 ms for each of them it is two tenths of a second still.
const WAITING_MAX: usize = 2_048;
/// 16 MiB: as many of the usual size, 8 kB. A single one may have 256 kB by TCP.
const OCTETS_MAX: usize = 16 << 20;

/// What becomes of one that comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<T> {
    /// It waits.
    Waits,
    /// The same request waits already.
    Again,
    /// It would wait too long.
    Refused(T),
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// It is to be served.
    Served(T),
    /// It has waited too long and is to be refused.
    Late(T),
}

#[derive(Debug)]
struct Waiting<K, T> {
    since: Mono,
    key: K,
    octets: usize,
    request: T,
}

/// The queue; `K` tells requests apart, `T` is one.
#[derive(Debug)]
pub struct Newcomers<K, T> {
    /// By number: the first is the oldest.
    waiting: BTreeMap<u64, Waiting<K, T>>,
    numbers: BTreeMap<K, u64>,
    /// How many have come.
    came: u64,
    octets: usize,
    pace: Pace,
    wait: Watermarks,
    /// What went before them since the last turn.
    went_before: u32,
}

impl<K: Ord + Clone, T> Default for Newcomers<K, T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            numbers: BTreeMap::new(),
            came: 0,
            octets: 0,
            pace: Pace::new(1),
            wait: Watermarks::new(WAIT_MAX, WAIT_SHORT),
            went_before: 0,
        }
    }
}

impl<K: Ord + Clone, T> Newcomers<K, T> {
    /// Somebody comes, with a request that takes so many octets of memory.
    pub fn arrive(&mut self, now: Mono, key: K, octets: usize, request: T) -> Arrival<T> {
        if self.numbers.contains_key(&key) {
            return Arrival::Again;
        }
        let is_long = self.is_long(now) && self.waiting.len() >= FEW;
        let is_full = self.waiting.len() >= WAITING_MAX || self.octets.saturating_add(octets) > OCTETS_MAX;
        if is_long || is_full || self.oldest(now) > STANDSTILL {
            return Arrival::Refused(request);
        }
        self.came += 1;
        self.octets += octets;
        self.numbers.insert(key.clone(), self.came);
        self.waiting.insert(self.came, Waiting { since: now, key, octets, request });
        Arrival::Waits
    }

    /// One that waits is cancelled.
    pub fn cancel(&mut self, key: &K) -> Option<T> {
        let number = self.numbers.get(key).copied()?;
        let gone = self.remove(number)?;
        self.pace.gone(self.waiting.len());
        Some(gone.request)
    }

    /// Those of whom this is true wait no more.
    pub fn drop_those(&mut self, is_gone: impl Fn(&T) -> bool) {
        let gone = |(number, waiting): (&u64, &Waiting<K, T>)| is_gone(&waiting.request).then_some(*number);
        let gone: Vec<u64> = self.waiting.iter().filter_map(gone).collect();
        for number in gone {
            self.remove(number);
        }
        self.pace.gone(self.waiting.len());
    }

    /// Something else was looked at before those who wait.
    pub fn go_before(&mut self) {
        self.went_before = self.went_before.saturating_add(1);
    }

    /// Whose turn it is now; none when nobody waits.
    pub fn next(&mut self, now: Mono) -> Option<Turn<T>> {
        self.went_before = 0;
        let number = self.waiting.first_key_value().map(|(number, _)| *number)?;
        let Waiting { since, request, .. } = self.remove(number)?;
        self.pace.left(now, self.waiting.len());
        self.is_long(now);
        let is_late = now.since(since) > LATE;
        Some(if is_late { Turn::Late(request) } else { Turn::Served(request) })
    }

    /// Whether one should have a turn now although other things come all the time.
    #[must_use]
    pub fn is_due(&self, now: Mono) -> bool {
        self.went_before >= GO_BEFORE && self.oldest(now) > DUE
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn oldest(&self, now: Mono) -> Duration {
        self.waiting.first_key_value().map(|(_, oldest)| now.since(oldest.since)).unwrap_or_default()
    }

    fn is_long(&mut self, now: Mono) -> bool {
        let expected = self.pace.wait(now, self.waiting.len());
        self.wait.look(expected)
    }

    fn remove(&mut self, number: u64) -> Option<Waiting<K, T>> {
        let gone = self.waiting.remove(&number)?;
        self.numbers.remove(&gone.key);
        self.octets = self.octets.saturating_sub(gone.octets);
        Some(gone)
    }
}

#[cfg(test)]
mod tests;
