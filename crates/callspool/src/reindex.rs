//! What the files of a call say, as the changes that the catalog is told of: with them it is made anew.
//!
//! Manifests say what the segments are, the log what became of them and what people noted. What the catalog alone
//! knows (events) is not in files and does not come back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use model::join::CALLS_MAX;
use model::note::Subject;
use model::{
    CallId, CallRecord, ChangeKind, Copy, CopyOf, Correction, Join, Location, NodeNumber, RecordingState,
    SegmentRecord, TenantId, WallTime, copy, total,
};
use spool::layout;
use spool::log::{Entry, LogLine, Noted, correction_of, corrections_of, joins_of, notes_of};
use spool::twins::pair;

use crate::repository::{FoundManifest, Repository};
use crate::whole::WholeCall;

/// Tags and keys that a call ever had, at most: what is noted beyond is refused, so a reindex tells all of them.
pub(crate) const NOTES_MAX: usize = 256;

/// What the files of one call say.
#[derive(Debug, Default)]
pub(crate) struct CallOnDisk {
    /// Changes to tell the catalog, in order: the call, its segments, the copies.
    pub(crate) changes: Vec<(TenantId, ChangeKind)>,
    /// What could not be read, in words.
    pub(crate) problems: Vec<String>,
    /// Joins that its log tells of and that of the other call does not, or the other way round.
    pub(crate) half_noted: Vec<Join>,
}

/// Everything that the files of one call say, as changes. A manifest that cannot be read is left out and told of.
pub(crate) fn changes_of(repository: &Repository, directory: &str) -> io::Result<CallOnDisk> {
    let mut problems = Vec::new();
    let mut segments = Vec::new();
    let twins = layout::twin_directory(directory);
    for (within, found) in
        [(directory, repository.manifests(directory)?), (&twins, beside(repository, &twins)?)]
    {
        for found in found {
            match found.manifest {
                Ok(manifest) => segments.push((manifest.record, within.to_owned())),
                Err(why) => problems.push(format!("{within}/{}: {why}", found.name)),
            }
        }
    }
    let (twin_lines, _) = repository.log(&twins)?;
    let (lines, damage) = repository.log(directory)?;
    if let Some(damage) = damage.first() {
        problems
            .push(format!("{directory}/call.log: {} octets at {} cannot be read", damage.octets, damage.at));
    }
    let (mut segments, _) = pair(segments);
    segments.sort_by_key(|(s, _)| (s.number, s.id));
    // Of notes on calls that are one the newest counts, in whichever log it stands and whichever is told last.
    let (noted, half_noted) = match joins_of(&lines).is_empty() {
        true => (notes_of(&lines), Vec::new()),
        false => {
            let whole = WholeCall::read(repository, directory)?;
            (notes_of(&whole.lines()), whole.half_noted().cloned().collect())
        }
    };
    let changes = changes(segments, &lines, &twin_lines, noted);
    if changes.is_empty() && problems.is_empty() {
        problems.push(format!("{directory}: no manifest"));
    }
    Ok(CallOnDisk { changes, problems, half_noted })
}

/// The manifests of second copies.
fn beside(repository: &Repository, twins: &str) -> io::Result<Vec<FoundManifest>> {
    match repository.manifests(twins) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found,
    }
}

fn changes(
    segments: Vec<(SegmentRecord, String)>,
    lines: &[LogLine],
    twin_lines: &[LogLine],
    noted: BTreeMap<Subject, Noted>,
) -> Vec<(TenantId, ChangeKind)> {
    let records: Vec<SegmentRecord> = segments.iter().map(|(record, _)| record.clone()).collect();
    let Some(call) = call_record(&records, lines) else { return Vec::new() };
    let (id, tenant) = (call.id, call.tenant.clone());
    let mut changes = vec![ChangeKind::Call(Box::new(call))];
    for (record, directory) in segments {
        let of = CopyOf::Segment(record.id);
        let mut copies = of_both(copies_of(of, lines), copies_of(of, twin_lines));
        if copies.is_empty() {
            copies.push(Copy { of, at: Location::Node(record.node), state: record.state });
        }
        changes.push(ChangeKind::Segment { record: Box::new(record), directory });
        changes.extend(copies.into_iter().map(|copy| ChangeKind::Copy { call: id, copy }));
    }
    changes.extend(call_copies(id, lines).into_iter().map(|copy| ChangeKind::Copy { call: id, copy }));
    changes.extend(joins_of(lines).into_iter().take(CALLS_MAX).map(|join| ChangeKind::Joined(join.clone())));
    changes.extend(corrections(lines).into_iter().map(ChangeKind::Sides));
    let notes = noted.into_values().take(NOTES_MAX);
    changes.extend(notes.map(|n| ChangeKind::Noted { call: id, note: n.note, by: n.by }));
    changes.into_iter().map(|kind| (tenant.clone(), kind)).collect()
}

/// The call as its segments and its log tell of it. The newest segment knows most.
fn call_record(segments: &[SegmentRecord], lines: &[LogLine]) -> Option<CallRecord> {
    let newest = segments.last()?;
    let first = segments.iter().map(|s| s.started).min()?;
    let is_live = segments.iter().any(SegmentRecord::is_live);
    let last_end = segments.iter().filter_map(|s| s.ended).max();
    let corrected = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Total { total, .. } => Some(*total),
        _ => None,
    });
    Some(CallRecord {
        id: newest.call,
        tenant: newest.tenant.clone(),
        started: first,
        ended: if is_live { None } else { last_end },
        total: corrected.unwrap_or_else(|| total::of_call(segments.iter().map(|s| s.total))),
        data: newest.data.clone(),
    })
}

/// The newest correction of sides for each call that a log has one for.
fn corrections(lines: &[LogLine]) -> Vec<Correction> {
    let calls: BTreeSet<CallId> =
        corrections_of(lines).flat_map(|c| c.calls.iter().copied()).take(CALLS_MAX).collect();
    let newest = calls.into_iter().filter_map(|call| Some((call, correction_of(lines, call)?)));
    newest.map(|(call, found)| Correction { calls: vec![call], ..found.clone() }).collect()
}

/// The copies of the call as a whole, each in the state that the log tells of last.
fn call_copies(call: CallId, lines: &[LogLine]) -> Vec<Copy> {
    copies_of(CopyOf::Call(call), lines)
}

/// Copies of a segment, of which there may be two at a node: that which ended best counts.
fn of_both(mut copies: Vec<Copy>, twins: Vec<Copy>) -> Vec<Copy> {
    for twin in twins {
        match copies.iter_mut().find(|copy| copy.at == twin.at) {
            Some(copy) => {
                let best = copy::ended_best([copy.state, twin.state]);
                copy.state = best.unwrap_or_else(|| copy.state.min(twin.state));
            }
            None => copies.push(twin),
        }
    }
    copies
}

fn copies_of(of: CopyOf, lines: &[LogLine]) -> Vec<Copy> {
    let mut copies: Vec<Copy> = Vec::new();
    for line in lines {
        if let Entry::State { copy, .. } = &line.entry
            && copy.of == of
        {
            copies.retain(|c| c.at != copy.at);
            copies.push(copy.clone());
        }
    }
    copies
}

/// Leaves out how copies at other nodes stand of what this node has a copy of too: that is told by whoever has them, and a
/// log here may know less.
pub(crate) fn leave_to_others(changes: &mut Vec<(TenantId, ChangeKind)>, node: NodeNumber) {
    let here = Location::Node(node);
    let copies = changes.iter().filter_map(|(_, kind)| match kind {
        ChangeKind::Copy { copy, .. } if copy.at == here => Some(copy.of),
        _ => None,
    });
    let own: BTreeSet<CopyOf> = copies.collect();
    changes.retain(|(_, kind)| match kind {
        ChangeKind::Copy { copy, .. } => copy.at == here || !own.contains(&copy.of),
        _ => true,
    });
}

/// The state of a call as its files tell it, by the one rule.
pub(crate) fn state_on_disk(segments: &[SegmentRecord], lines: &[LogLine]) -> model::CallState {
    let of_segment = |s: &SegmentRecord| WholeCall::state_of(lines, s);
    let states: Vec<(RecordingState, bool)> = segments.iter().map(|s| (of_segment(s), s.is_live())).collect();
    let copies: Vec<RecordingState> = match segments.first() {
        Some(s) => call_copies(s.call, lines).iter().map(|c| c.state).collect(),
        None => Vec::new(),
    };
    model::copy::call_state(&states, &copies)
}

/// When a call ended as its files tell it.
pub(crate) fn ended_on_disk(segments: &[SegmentRecord]) -> Option<WallTime> {
    if segments.iter().any(SegmentRecord::is_live) {
        None
    } else {
        segments.iter().filter_map(|s| s.ended).max()
    }
}

#[cfg(test)]
mod tests {
    use model::SegmentId;

    use super::*;

    #[test]
    fn a_copy_elsewhere_is_told_by_whoever_has_it_unless_none_is_here() {
        let node = |n| NodeNumber::new(n).unwrap();
        let copy = |segment, n| {
            let of = CopyOf::Segment(SegmentId::from_u64(segment));
            let copy = Copy { of, at: Location::Node(node(n)), state: RecordingState::Partial };
            (TenantId::default(), ChangeKind::Copy { call: CallId::from_u64(1), copy })
        };
        let mut changes = vec![copy(1, 1), copy(1, 2), copy(2, 2), copy(3, 1)];
        leave_to_others(&mut changes, node(2));
        assert_eq!(changes, [copy(1, 2), copy(2, 2), copy(3, 1)]);
    }
}
