//! Two calls that turned out to be one: what their logs say of it, and how their segments are read as those of one.
//!
//! ```text
//!   <date>/<call a>/call.log   joined       {"into": a, "from": b, …}     a survives
//!   <date>/<call b>/call.log   joined-into  {"into": a, "from": b, …}     b is read as a part of a
//! ```
//!
//! Both lines say the same and name both directories, so one of them is enough to write the other. The first is written
//! where the call is not concluded: whoever looks for calls that are not comes upon it. Manifests, files and
//! directories stay as they are.

use model::join::{Recorded, moved_total, numbering};
use model::{
    CallId, CallKey, Copy, CopyOf, Join, Location, NodeNumber, Now, RecordingState, SegmentRecord, Transition,
};

use crate::layout;
use crate::log::{self, Entry, LogLine};
use crate::op::FileOp;

/// One of the two calls of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// The one that survives.
    Into,
    /// The one that it takes in.
    From,
}

impl Half {
    /// Which call it is.
    #[must_use]
    pub const fn key(self, join: &Join) -> &CallKey {
        match self {
            Self::Into => &join.into,
            Self::From => &join.from,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Into => Self::From,
            Self::From => Self::Into,
        }
    }

    /// The directory of its files.
    #[must_use]
    pub fn directory(self, join: &Join) -> String {
        let key = self.key(join);
        layout::call_directory(&key.tenant, key.call_started, key.call)
    }
}

/// In which order the two logs are written: first where the call is not concluded.
#[must_use]
pub fn order(join: &Join, of_into: &[LogLine]) -> [Half; 2] {
    if is_concluded(of_into, join.into.call) { [Half::From, Half::Into] } else { [Half::Into, Half::From] }
}

/// Whether a call's log says that the call came to its end.
#[must_use]
pub fn is_concluded(lines: &[LogLine], call: CallId) -> bool {
    log::state_of(lines, CopyOf::Call(call)).is_some_and(RecordingState::is_gathered)
}

/// What a join adds to the log of one of the calls, whose lines are these. Nothing when it stands there. A surviving call
/// that was concluded before goes on: what it had come to is taken back, and that copy is returned. What it came to since
/// is of both.
#[must_use]
pub fn note(
    now: Now,
    node: NodeNumber,
    join: &Join,
    half: Half,
    lines: &[LogLine],
) -> (Vec<FileOp>, Option<Copy>) {
    if log::joins_of(lines).iter().any(|j| j.is_of(join)) {
        return (Vec::new(), None);
    }
    let path = layout::log_path(&half.directory(join));
    let append = |entry: &Entry| FileOp::AppendLine { path: path.clone(), bytes: log::line(now.wall, entry) };
    if half == Half::From {
        return (vec![append(&Entry::JoinedInto(join.clone()))], None);
    }
    let joined = append(&Entry::Joined(join.clone()));
    let of = CopyOf::Call(join.into.call);
    let before = concluded_before(lines, join);
    let Some(state) = before.and_then(|state| state.apply(Transition::Continued).ok()) else {
        return (vec![joined], None);
    };
    let copy = Copy { of, at: Location::Node(node), state };
    let why = format!("joined with {}", join.from.call);
    (vec![append(&Entry::State { copy: copy.clone(), from: before, why }), joined], Some(copy))
}

/// What the surviving call had come to when the join was found.
fn concluded_before(lines: &[LogLine], join: &Join) -> Option<RecordingState> {
    let newest = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::State { copy, .. } if copy.of == CopyOf::Call(join.into.call) => Some((line.at, copy.state)),
        _ => None,
    });
    newest.filter(|(at, _)| *at < join.at).map(|(_, state)| state)
}

/// Gives segments of calls that are one the numbers and totals that they have in the surviving one, and sorts them by
/// their numbers. What belongs to each goes along.
pub fn renumber<T>(survivor: CallId, segments: &mut [(SegmentRecord, T)], joins: &[Join]) {
    let recorded = |s: &SegmentRecord| Recorded { number: s.number, segment: s.id, call: s.call };
    let numbers = numbering(survivor, segments.iter().map(|(s, _)| recorded(s)), joins);
    for (segment, _) in segments.iter_mut() {
        if let Some(number) = numbers.get(&segment.id) {
            segment.total = moved_total(segment.total, segment.number, *number);
            segment.number = *number;
        }
        segment.call = survivor;
    }
    segments.sort_by_key(|(s, _)| (s.number, s.id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{START, join, now, record};
    use crate::memory::MemoryDisk;
    use crate::op::Files;
    use model::{SegmentId, WallTime};
    use std::io::Read;

    fn state(call: u64, state: RecordingState) -> LogLine {
        let of = CopyOf::Call(CallId::from_u64(call));
        let copy = Copy { of, at: Location::Node(NodeNumber::SINGLE), state };
        LogLine {
            at: WallTime(START.0 - 1),
            entry: Entry::State { copy, from: None, why: "test".to_owned() },
        }
    }

    /// Notes a join in one log, on a disk that has its directory; what the log says then.
    fn noted(disk: &mut MemoryDisk, half: Half, lines: &[LogLine]) -> Vec<LogLine> {
        let directory = half.directory(&join(1, 2));
        disk.apply(&FileOp::MakeDir { path: directory.clone() }).unwrap();
        let (ops, _) = note(now(0), NodeNumber::SINGLE, &join(1, 2), half, lines);
        ops.iter().for_each(|op| disk.apply(op).unwrap());
        let mut bytes = Vec::new();
        if let Ok(mut file) = disk.open(&layout::log_path(&directory)) {
            file.read_to_end(&mut bytes).unwrap();
        }
        log::read(&bytes).0
    }

    #[test]
    fn both_logs_say_the_same_once() {
        let mut disk = MemoryDisk::default();
        for half in [Half::Into, Half::From] {
            let lines = noted(&mut disk, half, &[]);
            assert_eq!(log::joins_of(&lines), [&join(1, 2)]);
            assert_eq!(noted(&mut disk, half, &lines).len(), 1);
        }
    }

    #[test]
    fn a_concluded_call_that_takes_another_in_goes_on() {
        let concluded = [state(1, RecordingState::CompleteExternalError)];
        assert_eq!(order(&join(1, 2), &concluded), [Half::From, Half::Into]);
        assert_eq!(order(&join(1, 2), &[]), [Half::Into, Half::From]);
        let (ops, copy) = note(now(0), NodeNumber::SINGLE, &join(1, 2), Half::Into, &concluded);
        assert_eq!(ops.len(), 2);
        assert_eq!(copy.unwrap().state, RecordingState::PartialExternalError);
        // What it came to afterwards is of both: a disk that hung noted the join late.
        let later = [LogLine { at: START, ..concluded[0].clone() }];
        let (ops, copy) = note(now(0), NodeNumber::SINGLE, &join(1, 2), Half::Into, &later);
        assert_eq!((ops.len(), copy), (1, None));
        // What was archived is not taken back; the join counts all the same.
        let archived = [state(1, RecordingState::CompleteCopy)];
        let (ops, copy) = note(now(0), NodeNumber::SINGLE, &join(1, 2), Half::Into, &archived);
        assert_eq!((ops.len(), copy), (1, None));
        let (ops, copy) = note(now(0), NodeNumber::SINGLE, &join(1, 2), Half::From, &concluded);
        assert_eq!((ops.len(), copy), (1, None));
    }

    #[test]
    fn segments_of_both_are_those_of_one() {
        let recorded = |call: u64, id: u64, number: u16, total: u16| {
            let mut r = record(number);
            (r.call, r.id, r.total) = (CallId::from_u64(call), SegmentId::from_u64(id), total);
            r.started = WallTime(START.0 + i64::try_from(id).unwrap());
            (r, format!("directory of {call}"))
        };
        let mut segments = vec![recorded(2, 20, 1, 2), recorded(1, 10, 1, 1)];
        renumber(CallId::from_u64(1), &mut segments, &[join(1, 2)]);
        let seen: Vec<_> =
            segments.iter().map(|(s, d)| (s.call.as_u64(), s.number, s.total, d.as_str())).collect();
        assert_eq!(seen, [(1, 1, 1, "directory of 1"), (1, 2, 3, "directory of 2")]);
    }
}
