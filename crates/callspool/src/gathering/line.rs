//! What of whole calls is to be looked at or told, in line: when each may go, and how many there are.
//!
//! A call is looked at behind all steps that were said before on its directories, so that what is seen is not older than what the machine
//! knows. Which directories these are is known for certain when it was looked at; if something was under way on one of them
//! then, it is looked at again. What waits for a disk that hangs is overtaken by all else.
//!
//! It touches no disk and has no thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{CallId, CallKey, Copy, TenantId};

use super::look;

/// Calls in line, at most. Beyond, that something was forgotten is remembered: it is found by looking through everything.
const LINE_MAX: usize = 4_096;

/// What is asked of the thread that looks at calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// What is in this directory, and in those that turned out to be the same call's.
    At(String),
    /// Where this call lies.
    For(TenantId, CallId),
    /// The catalog is told of copies.
    Tell { call: CallKey, copies: Vec<Copy> },
}

#[derive(Debug)]
struct InLine {
    look: Look,
    /// Where nothing may be under way that was said before.
    of: BTreeSet<String>,
    /// The last ticket that was said before.
    behind: u64,
}

/// What is being done now.
#[derive(Debug)]
struct Now {
    look: Look,
    /// Directories on which something was under way that was said before.
    open: BTreeSet<String>,
}

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Line {
    /// Steps that were said and are not done, each with its directory.
    under_way: BTreeMap<u64, String>,
    last: u64,
    line: VecDeque<InLine>,
    now: Option<Now>,
    has_forgotten: bool,
}

impl Line {
    /// A step was said, on something in a call's directory.
    pub(super) fn begins(&mut self, ticket: u64, path: &str) {
        self.last = self.last.max(ticket);
        self.under_way.insert(ticket, directory_of(path).to_owned());
    }

    /// A step is done, or will never be.
    pub(super) fn is_done(&mut self, ticket: u64) {
        self.under_way.remove(&ticket);
    }

    /// Has it wait. The same as one that waits already waits with that, behind all that was said by now.
    pub(super) fn join(&mut self, look: Look) {
        for same in &mut self.line {
            if same.look.takes_in(&look) {
                same.behind = self.last;
                return;
            }
        }
        if self.line.len() >= LINE_MAX {
            self.has_forgotten = true;
            return;
        }
        let of = match &look {
            Look::At(directory) => Some(directory.clone()),
            Look::For(..) => None,
            Look::Tell { call, .. } => Some(look::directory(call)),
        };
        self.line.push_back(InLine { look, of: of.into_iter().collect(), behind: self.last });
    }

    /// What is to be done now: one at a time.
    pub(super) fn next(&mut self) -> Option<Look> {
        if self.now.is_some() {
            return None;
        }
        let mut oldest: BTreeMap<&str, u64> = BTreeMap::new();
        for (ticket, directory) in &self.under_way {
            oldest.entry(directory).or_insert(*ticket);
        }
        let is_free = |directory: &str, behind| oldest.get(directory).is_none_or(|ticket| *ticket > behind);
        let may = |waits: &InLine| waits.of.iter().all(|directory| is_free(directory, waits.behind));
        let first = self.line.iter().position(may)?;
        let InLine { look, behind, .. } = self.line.remove(first)?;
        let open = self.under_way.range(..=behind).map(|(_, directory)| directory.clone()).collect();
        self.now = Some(Now { look: look.clone(), open });
        Some(look)
    }

    /// It is done.
    pub(super) fn done(&mut self) {
        self.now = None;
    }

    /// A call was looked at, in these directories. Whether what was seen may be older than what was said before: then it waits
    /// to be looked at again.
    pub(super) fn is_stale<'a>(&mut self, seen: impl Iterator<Item = &'a str>) -> bool {
        let Some(Now { look, open }) = self.now.take() else { return false };
        let of: BTreeSet<String> = seen.map(str::to_owned).collect();
        let is_stale = !of.is_disjoint(&open);
        if is_stale {
            self.line.push_back(InLine { look, of, behind: self.last });
        }
        is_stale
    }

    /// Whether there was more than is kept, since this was asked.
    pub(super) fn has_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }
}

impl Look {
    /// Makes this one of the two, if that can be: the newest state of each copy counts.
    fn takes_in(&mut self, other: &Self) -> bool {
        match (&mut *self, other) {
            (Self::Tell { call, copies }, Self::Tell { call: same, copies: newer }) if call == same => {
                copies.retain(|copy| !newer.iter().any(|n| (&n.of, &n.at) == (&copy.of, &copy.at)));
                copies.extend_from_slice(newer);
                true
            }
            (one, other) => one == other,
        }
    }
}

/// The directory of the call that a path is in, or is.
fn directory_of(path: &str) -> &str {
    path.match_indices('/').nth(2).map_or(path, |(at, _)| path.get(..at).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CopyOf, Location, NodeNumber, RecordingState, WallTime};

    fn call(n: u64) -> String {
        look::directory(&key(n))
    }

    fn key(n: u64) -> CallKey {
        CallKey { call: CallId::from_u64(n), call_started: WallTime(0), tenant: TenantId::default() }
    }

    fn at(n: u64) -> Look {
        Look::At(call(n))
    }

    #[test]
    fn what_waits_for_a_disk_that_hangs_holds_up_nothing_else() {
        let mut line = Line::default();
        line.begins(5, &format!("{}/001-1.mka", call(1)));
        line.join(at(1));
        line.join(at(2));
        assert_eq!(line.next(), Some(at(2)));
        assert_eq!(line.next(), None, "one at a time");
        assert!(!line.is_stale([call(2).as_str()].into_iter()));
        // What is said later is not waited for.
        line.begins(6, &call(1));
        assert_eq!(line.next(), None);
        line.is_done(5);
        assert_eq!(line.next(), Some(at(1)));
        assert!(!line.is_stale([call(1).as_str()].into_iter()));
        assert_eq!(line.next(), None);
    }

    #[test]
    fn what_was_seen_before_a_step_on_another_directory_of_the_call_was_done_is_looked_at_again() {
        let mut line = Line::default();
        line.begins(5, &call(2));
        line.join(at(1));
        assert_eq!(line.next(), Some(at(1)));
        let both = [call(1), call(2)];
        assert!(line.is_stale(both.iter().map(String::as_str)), "the second turned out to be the same call");
        assert_eq!(line.next(), None);
        line.is_done(5);
        assert_eq!(line.next(), Some(at(1)));
        assert!(!line.is_stale(both.iter().map(String::as_str)));
    }

    #[test]
    fn each_is_in_line_once_behind_all_that_was_said_and_the_line_has_an_end() {
        let mut line = Line::default();
        for _ in 0..2 * LINE_MAX {
            line.join(at(1));
        }
        assert_eq!((line.line.len(), line.has_forgotten()), (1, false));
        line.begins(7, &call(1));
        line.join(at(1));
        assert_eq!(line.next(), None, "behind the step that was said meanwhile");
        for n in 2..=LINE_MAX as u64 {
            line.join(at(n));
        }
        assert!(!line.has_forgotten());
        line.join(at(1 + LINE_MAX as u64));
        assert_eq!(line.line.len(), LINE_MAX);
        assert!(line.has_forgotten() && !line.has_forgotten());
    }

    #[test]
    fn the_catalog_is_told_the_newest_of_each_copy() {
        let copy = |segment, state| Copy {
            of: CopyOf::Segment(model::SegmentId::from_u64(segment)),
            at: Location::Node(NodeNumber::SINGLE),
            state,
        };
        let tell = |copies: Vec<Copy>| Look::Tell { call: key(1), copies };
        let mut line = Line::default();
        line.begins(5, &call(1));
        line.join(tell(vec![copy(1, RecordingState::Partial), copy(2, RecordingState::Partial)]));
        line.join(tell(vec![copy(1, RecordingState::Delete)]));
        line.join(Look::Tell { call: key(2), copies: Vec::new() });
        line.is_done(5);
        let newest = vec![copy(2, RecordingState::Partial), copy(1, RecordingState::Delete)];
        assert_eq!(line.next(), Some(tell(newest)));
        line.done();
        assert_eq!(line.next(), Some(Look::Tell { call: key(2), copies: Vec::new() }));
    }
}
