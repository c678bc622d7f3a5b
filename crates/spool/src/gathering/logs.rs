//! What gathering reads in calls' logs and adds to them. Pure functions of lines.

use std::collections::BTreeSet;

use model::note::Subject;
use model::{
    CallId, CallKey, Copy, CopyOf, Holding, Location, LogMark, NodeNumber, Place, Rank, RecordingState,
    SegmentId, WallTime,
};

use crate::digest;
use crate::log::{self, Entry, LogLine};

/// How much of a log is known.
pub(super) fn mark(octets: &[u8]) -> LogMark {
    let digest = digest::of_bytes(octets);
    LogMark { octets: digest.bytes, sha256: digest.sha256 }
}

/// What of another node's log of the same directory is to be said here too, as lines, each at its own time.
///
/// Copies of the call at other nodes are theirs. A note is left out where a newer one on the same subject stands here: what
/// stands last counts. `rank`: which of the two directories here it is, and `twins` the segments whose copies from there lie in
/// the second: what is said of these stands there, and all else in the call's own.
pub(super) fn lacking(
    here: &[LogLine],
    there: &[LogLine],
    rank: Rank,
    twins: &BTreeSet<SegmentId>,
) -> Vec<u8> {
    let newest = log::notes_of(here);
    let is_older = |line: &LogLine, subject: &Subject| newest.get(subject).is_some_and(|n| n.at >= line.at);
    let is_wanted = |line: &&LogLine| match &line.entry {
        Entry::State { copy, .. } => matches!(copy.of, CopyOf::Segment(_)) && copy.state.is_segment(),
        Entry::Total { .. } | Entry::GivenUp { .. } => false,
        Entry::Noted { note, .. } => !is_older(line, &note.subject()),
        _ => true,
    };
    let is_of_twin = |line: &&LogLine| line.entry.segment().is_some_and(|s| twins.contains(&s));
    let belongs = |line: &&LogLine| is_of_twin(line) != rank.is_first();
    let new = there.iter().filter(is_wanted).filter(belongs).filter(|line| !here.contains(line));
    new.flat_map(|line| log::line(line.at, &line.entry)).collect()
}

/// What the log of a directory lacks of copies that are here: that they were sealed, and their states at this node.
pub(super) fn of_copies(
    now: WallTime,
    node: NodeNumber,
    lines: &[LogLine],
    copies: &[(Holding, Option<NodeNumber>)],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (copy, from) in copies {
        let (Some(sha256), Some(manifest)) = (copy.digest(), copy.files.first()) else { continue };
        let sealed = Entry::Sealed {
            segment: copy.segment,
            manifest: manifest.name.clone(),
            sha256: sha256.to_owned(),
        };
        let is_sealed = |l: &LogLine| matches!(&l.entry, Entry::Sealed { segment, sha256: s, .. } if *segment == copy.segment && s == sha256);
        if !lines.iter().any(is_sealed) {
            bytes.extend(log::line(now, &sealed));
        }
        let at = Location::Node(node);
        let of = CopyOf::Segment(copy.segment);
        let is_here =
            |l: &LogLine| matches!(&l.entry, Entry::State { copy: c, .. } if c.of == of && c.at == at);
        if !lines.iter().any(is_here) {
            let why = from
                .map_or_else(|| "gathered".to_owned(), |from| format!("gathered from node {}", from.get()));
            let copy = Copy { of, at, state: copy.state };
            bytes.extend(log::line(now, &Entry::State { copy, from: None, why }));
        }
    }
    bytes
}

/// That a call is gathered here. `from`: the states that its own copy here passes through, the newest last.
pub(super) fn of_call(
    now: WallTime,
    node: NodeNumber,
    lines: &[LogLine],
    call: CallId,
    total: u16,
    states: &[(Option<RecordingState>, RecordingState, &str)],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if log::total_of(lines, call) != Some(total) {
        bytes.extend(log::line(now, &Entry::Total { call, total, why: "gathered".to_owned() }));
    }
    bytes.extend(of_states(now, node, CopyOf::Call(call), states));
    bytes
}

/// Lines for the states that a copy at this node passes through.
pub(super) fn of_states(
    now: WallTime,
    node: NodeNumber,
    of: CopyOf,
    states: &[(Option<RecordingState>, RecordingState, &str)],
) -> Vec<u8> {
    let line = |(from, state, why): &(Option<RecordingState>, RecordingState, &str)| {
        let copy = Copy { of, at: Location::Node(node), state: *state };
        log::line(now, &Entry::State { copy, from: *from, why: (*why).to_owned() })
    };
    states.iter().flat_map(line).collect()
}

/// Whether a log says no more than that its beginning is known elsewhere, and which copies were given up for that.
pub(super) fn says_no_more(octets: &[u8], mark: &LogMark) -> bool {
    let Some((known, rest)) = usize::try_from(mark.octets).ok().and_then(|n| octets.split_at_checked(n))
    else {
        return false;
    };
    self::mark(known) == *mark && is_only_giving_up(rest)
}

/// Whether all that a log says is known elsewhere, of one whose copies were given up: then it may go.
pub(super) fn may_go(octets: &[u8]) -> bool {
    let (lines, _) = log::read(octets);
    let known = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::GivenUp { octets, .. } => usize::try_from(*octets).ok(),
        _ => None,
    });
    known.and_then(|n| octets.get(n..)).is_some_and(is_only_giving_up)
}

fn is_only_giving_up(octets: &[u8]) -> bool {
    let (lines, damage) = log::read(octets);
    let is_of_it = |line: &LogLine| match &line.entry {
        Entry::GivenUp { .. } => true,
        Entry::State { copy, .. } => !copy.state.is_segment() || matches!(copy.of, CopyOf::Call(_)),
        _ => false,
    };
    damage.is_empty() && lines.iter().all(is_of_it)
}

/// The directory that a place is.
pub(super) fn directory(place: &Place) -> String {
    let of_call = directory_of(&place.of);
    match place.rank {
        Rank::First => of_call,
        Rank::Twin => crate::layout::twin_directory(&of_call),
    }
}

/// The directory of a call.
pub(super) fn directory_of(call: &CallKey) -> String {
    crate::layout::call_directory(&call.tenant, call.call_started, call.call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Note;

    const AT: WallTime = WallTime::from_millis(1_795_166_100_000);

    fn note(ms: i64, value: &str) -> Vec<u8> {
        let note = Note::Put { key: "ticket".parse().unwrap(), value: value.parse().unwrap() };
        log::line(WallTime::from_millis(AT.millis() + ms), &Entry::Noted { note, by: "api".to_owned() })
    }

    fn given_up(segment: u64, octets: u64) -> Vec<u8> {
        let of = CopyOf::Segment(SegmentId::from_u64(segment));
        let states = [(Some(RecordingState::Partial), RecordingState::Delete, "gathered")];
        let to = NodeNumber::SINGLE;
        [of_states(AT, to, of, &states), log::line(AT, &Entry::GivenUp { to, octets })].concat()
    }

    fn lacking_all(here: &[LogLine], there: &[LogLine]) -> Vec<u8> {
        lacking(here, there, Rank::First, &BTreeSet::new())
    }

    #[test]
    fn what_is_said_of_a_second_copy_stands_beside_it_and_all_else_in_the_log_of_the_call() {
        let sealed = |segment| {
            let sha256 = "ab".repeat(32);
            let (segment, manifest) = (SegmentId::from_u64(segment), "001.json".to_owned());
            log::line(AT, &Entry::Sealed { segment, manifest, sha256 })
        };
        let there = [sealed(7), note(0, "T-1"), sealed(8)].concat();
        let (lines, _) = log::read(&there);
        let twins = BTreeSet::from([SegmentId::from_u64(7)]);
        assert_eq!(lacking(&[], &lines, Rank::Twin, &twins), sealed(7));
        assert_eq!(lacking(&[], &lines, Rank::First, &twins), [note(0, "T-1"), sealed(8)].concat());
    }

    #[test]
    fn the_newest_note_stays_the_newest_whoever_had_it() {
        for (here, there, lacks) in
            [(0, 1, true), (1, 0, false), (0, 0, false)].map(|(h, t, l)| (note(h, "T-1"), note(t, "T-2"), l))
        {
            let (lines, _) = log::read(&here);
            let more = lacking_all(&lines, &log::read(&there).0);
            assert_eq!(more == there, lacks);
            let (both, _) = log::read(&[here, more].concat());
            assert!(lacking_all(&both, &log::read(&there).0).is_empty(), "twice");
        }
    }

    #[test]
    fn what_other_nodes_have_of_the_call_as_a_whole_stays_theirs() {
        let call = CallId::from_u64(1);
        let states = [(None, RecordingState::Complete, "gathered")];
        let there = of_call(AT, NodeNumber::new(2).unwrap(), &[], call, 2, &states);
        assert_eq!(log::read(&there).0.len(), 2);
        assert!(lacking_all(&[], &log::read(&[there, given_up(7, 0)].concat()).0).is_empty());
    }

    #[test]
    fn a_log_that_says_more_does_not_go() {
        let known = note(0, "T-1");
        let marked = mark(&known);
        let whole = [known.clone(), given_up(7, marked.octets), given_up(8, marked.octets)].concat();
        assert!(says_no_more(&known, &marked) && says_no_more(&whole, &marked) && may_go(&whole));
        let more = [whole.clone(), note(1, "T-2")].concat();
        assert!(!says_no_more(&more, &marked) && !may_go(&more));
        // Noted between the look and the mark.
        let between = [known.clone(), note(1, "T-2"), given_up(7, marked.octets)].concat();
        assert!(!says_no_more(&between, &marked) && !may_go(&between));
        let torn = &whole[..whole.len() - 9];
        assert!(!may_go(torn) || says_no_more(torn, &marked));
        assert!(!says_no_more(&known[1..], &marked) && !may_go(&known));
        assert!(!may_go(b""));
    }

    #[test]
    fn copies_are_noted_once() {
        let call = crate::fixture::record(1);
        let copy = Holding {
            segment: call.id,
            number: 1,
            node: NodeNumber::SINGLE,
            respondent: call.respondent,
            ended_as: Some(RecordingState::Partial),
            state: RecordingState::Partial,
            files: vec![model::HeldFile { name: "001.json".to_owned(), octets: 1, sha256: "ab".repeat(32) }],
        };
        let copies = [(copy, Some(NodeNumber::new(3).unwrap()))];
        let bytes = of_copies(AT, NodeNumber::SINGLE, &[], &copies);
        let (lines, damage) = log::read(&bytes);
        assert_eq!((lines.len(), damage.len()), (2, 0));
        assert!(of_copies(AT, NodeNumber::SINGLE, &lines, &copies).is_empty());
    }
}
