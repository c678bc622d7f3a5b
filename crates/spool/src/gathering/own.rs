//! What a node holds of a call, read from its files and logs: what the shell hands in at a start and when it is asked.

use std::collections::BTreeMap;
use std::io;

use model::{
    CallHoldings, CallKey, CopyOf, HeldDirectory, HeldFile, Holding, Location, NodeNumber, Place,
    RecordingState, SegmentId, SegmentRecord,
};

use super::logs;
use crate::digest;
use crate::layout;
use crate::log::{self, Entry, LogLine};
use crate::manifest;
use crate::op::{Files, digest_of, list_or_nothing, read_small};

/// What a node holds of a call. `places`: the directories of the call and of those that turned out to be it, with the
/// volumes that they are on; those that are not there are left out. `numbers`: those that segments have in the surviving
/// call, where they are others than their manifests say. A manifest that cannot be read is no copy.
///
/// # Errors
/// When a directory or a file cannot be read: then it is not known what is there.
pub fn holdings(
    node: NodeNumber,
    call: &CallKey,
    numbers: &BTreeMap<SegmentId, u16>,
    places: &[(Place, &dyn Files)],
) -> io::Result<CallHoldings> {
    let mut held = CallHoldings::nothing(call.clone());
    for (place, files) in places {
        let directory = logs::directory(place);
        let names = list_or_nothing(*files, &directory)?;
        if names.is_empty() {
            continue;
        }
        let octets = read_small(*files, &layout::log_path(&directory))?.unwrap_or_default();
        let (lines, _) = log::read(&octets);
        let states = || states_at(&lines, CopyOf::Call(call.call), node);
        // Each of the calls that turned out to be this one may have been gathered before that was known, and be leaned on.
        let pins = |(place, _): &(Place, &dyn Files)| {
            states_at(&lines, CopyOf::Call(place.of.call), node).any(RecordingState::is_gathered)
        };
        held.ended = held.ended.max(log::total_of(&lines, call.call));
        held.gathered |= states().any(RecordingState::is_gathered) || places.iter().any(pins);
        held.state = states().last().or(held.state);
        let mut copies = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(".json")) {
            if let Some((mut copy, expected)) = copy(node, *files, &directory, name, &lines)? {
                held.expected = held.expected.max(expected);
                copy.number = numbers.get(&copy.segment).copied().unwrap_or(copy.number);
                copies.push(copy);
            }
        }
        held.directories.push(HeldDirectory { place: place.clone(), copies });
    }
    Ok(held)
}

/// The states that a log has for a copy at a node, the newest last.
fn states_at(lines: &[LogLine], of: CopyOf, node: NodeNumber) -> impl Iterator<Item = RecordingState> {
    let at = Location::Node(node);
    lines.iter().filter_map(move |line| match &line.entry {
        Entry::State { copy, .. } if copy.of == of && copy.at == at => Some(copy.state),
        _ => None,
    })
}

/// A copy, and the total that its segment was sealed with.
fn copy(
    node: NodeNumber,
    files: &dyn Files,
    directory: &str,
    name: &str,
    lines: &[LogLine],
) -> io::Result<Option<(Holding, u16)>> {
    let octets = read_small(files, &format!("{directory}/{name}"))?.unwrap_or_default();
    let Ok(read) = manifest::read(&octets) else { return Ok(None) };
    let record = read.record;
    let state = states_at(lines, CopyOf::Segment(record.id), node).last().unwrap_or(record.state);
    let sealed = digest::of_bytes(&octets);
    let itself = HeldFile { name: name.to_owned(), octets: sealed.bytes, sha256: sealed.sha256 };
    let held = match read.sealed {
        true => std::iter::once(itself).chain(rest(files, directory, &record, state)?).collect(),
        false => Vec::new(),
    };
    let holding = Holding {
        segment: record.id,
        number: record.number,
        node: record.node,
        respondent: record.respondent,
        ended_as: read.sealed.then_some(record.state),
        state,
        files: held,
    };
    Ok(Some((holding, if read.sealed { record.total } else { 0 })))
}

/// Parts and sidecar, as the manifest has them. What was sealed without a digest is read through, if it is there to stay.
fn rest(
    files: &dyn Files,
    directory: &str,
    record: &SegmentRecord,
    state: RecordingState,
) -> io::Result<Vec<HeldFile>> {
    let parts = record.parts.iter().map(|p| (&p.file, p.bytes, &p.sha256));
    let sidecar = record.sidecar.iter().map(|s| (&s.file, s.bytes, &s.sha256));
    let held = parts.chain(sidecar).map(|(name, octets, sealed)| {
        let sha256 = match sealed {
            Some(sha256) => sha256.clone(),
            None if !state.is_segment() => "0".repeat(64),
            None => digest_of(files, &format!("{directory}/{name}"))?.sha256,
        };
        Ok(HeldFile { name: name.clone(), octets, sha256 })
    });
    held.collect()
}
