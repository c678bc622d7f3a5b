//! Segments that were left open and whose markers are lost: a machine that loses its power may keep a manifest, or a part of
//! it, and lose the marker that was written a moment before.
//!
//! ```text
//!  manifest not sealed                       ──► left open
//!  manifest torn                             ──► left open; which segment it was say its name, the heads of its parts, the log
//!  manifest sealed, of a segment of seconds  ──► left open if a file of it is not the one that was sealed
//! ```
//!
//! A segment that lasted has a marker that is durable. Parts without a manifest are not looked at: they are what is left of
//! fetching a copy from another node.

use std::io;
use std::time::Duration;

use model::{CopyOf, Location, NodeNumber, RecordingState, SegmentId, SegmentRecord};

use crate::layout::{self, LOG_NAME, ManifestPath};
use crate::log::{self, Entry, LogLine};
use crate::manifest::{self, Manifest, ManifestError};
use crate::mka::Reader;
use crate::op::{Files, digest_of, list_or_nothing, read_small};

/// 5 s: markers are durable within a second, unless somebody wants otherwise, or the disk is slow.
const SHORT: Duration = Duration::from_secs(5);

/// What of a call's directory may have been left open without a marker. Whether it is marked after all, and of an earlier
/// process, knows whoever asks.
///
/// # Errors
/// When the directory or a file of it cannot be read.
pub fn left_open(
    node: NodeNumber,
    directory: &str,
    files: &dyn Files,
) -> io::Result<Vec<(SegmentId, ManifestPath)>> {
    let names = list_or_nothing(files, directory)?;
    let octets = read_small(files, &format!("{directory}/{LOG_NAME}"))?.unwrap_or_default();
    let lines = log::read(&octets).0;
    let mut found = Vec::new();
    for name in &names {
        let Ok(at) = ManifestPath::parse(&format!("{directory}/{name}")) else { continue };
        let octets = read_small(files, &at.path())?.unwrap_or_default();
        let segment = match manifest::read(&octets) {
            Ok(Manifest { sealed: false, record, .. }) => Some(record.id),
            Ok(sealed) if is_spoiled(node, &sealed.record, directory, &lines, files)? => {
                Some(sealed.record.id)
            }
            Ok(_) | Err(ManifestError::UnknownVersion(_)) => None,
            Err(_) => whose(&at, &names, &lines, files)?,
        };
        found.extend(segment.map(|segment| (segment, at)));
    }
    Ok(found)
}

/// Whether a file of a segment that was sealed here within seconds is not the one that was sealed.
fn is_spoiled(
    node: NodeNumber,
    record: &SegmentRecord,
    directory: &str,
    lines: &[LogLine],
    files: &dyn Files,
) -> io::Result<bool> {
    let lasted = record.ended.map_or(i64::MAX, |ended| ended.nanos_since(record.started));
    let is_short = u64::try_from(lasted).is_ok_and(|lasted| Duration::from_nanos(lasted) <= SHORT);
    // Of what is given up files are removed one after the other.
    if record.node != node || !is_short || !is_kept(node, record.id, lines) {
        return Ok(false);
    }
    let parts = record.parts.iter().map(|p| (&p.file, &p.sha256));
    for (file, sealed) in parts.chain(record.sidecar.iter().map(|s| (&s.file, &s.sha256))) {
        let found = match digest_of(files, &format!("{directory}/{file}")) {
            Ok(digest) => Some(digest.sha256),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if sealed.is_some() && found != *sealed {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_kept(node: NodeNumber, segment: SegmentId, lines: &[LogLine]) -> bool {
    let newest = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::State { copy, .. }
            if copy.of == CopyOf::Segment(segment) && copy.at == Location::Node(node) =>
        {
            Some(copy.state)
        }
        _ => None,
    });
    newest.is_none_or(RecordingState::is_segment)
}

/// Which segment a manifest was of that cannot be read; none when nothing says so.
fn whose(
    at: &ManifestPath,
    names: &[String],
    lines: &[LogLine],
    files: &dyn Files,
) -> io::Result<Option<SegmentId>> {
    if let Some(id) = at.stem.split_once('-').and_then(|(_, id)| id.parse().ok()) {
        return Ok(Some(id));
    }
    for name in names.iter().filter(|name| layout::part_number(&at.stem, name).is_some()) {
        let part = io::BufReader::new(files.open(&format!("{}/{name}", at.directory))?);
        // One that was torn with it may have no head.
        let id = Reader::new(part).ok().and_then(|part| part.head().tag("CALLSPOOL_SEGMENT")?.parse().ok());
        if id.is_some() {
            return Ok(id);
        }
    }
    let own = layout::manifest_name(&at.stem);
    Ok(lines.iter().find_map(|line| match &line.entry {
        Entry::Opened { segment, manifest, .. } if *manifest == own => Some(*segment),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Spool, heard, now};
    use crate::memory::MemoryDisk;
    use crate::repair::repair;
    use model::{Copy, EndReason};

    /// A segment of a second, as it lies on the disk: live, or sealed.
    fn spool(end: Option<EndReason>) -> Spool {
        let mut spool = Spool::new();
        (0..50_i64).for_each(|n| spool.push(&heard(1, n * 20, 7)));
        spool.flush(1_000);
        if let Some(end) = end {
            spool.finish(1_200, end);
        }
        spool
    }

    fn found(disk: &MemoryDisk, spool: &Spool) -> Vec<SegmentId> {
        let found = left_open(NodeNumber::SINGLE, spool.writer.directory(), disk).unwrap();
        found.into_iter().map(|(segment, _)| segment).collect()
    }

    /// Whether it is found, and closed by a repair to be found no more.
    fn is_mended(disk: &MemoryDisk, spool: &Spool) -> bool {
        let mut disk = disk.clone();
        let open = left_open(NodeNumber::SINGLE, spool.writer.directory(), &disk).unwrap();
        let [(segment, at)] = &open[..] else { return false };
        let repair = repair(now(9_000), *segment, at, NodeNumber::SINGLE, &disk).unwrap();
        disk.apply_all(&repair.ops).unwrap();
        assert!(matches!(repair.record.unwrap().end, Some(EndReason::Internal(_))));
        assert_eq!(found(&disk, spool), []);
        true
    }

    #[test]
    fn what_a_loss_of_power_left_open_without_a_marker_is_found_and_closed() {
        let live = spool(None);
        assert_eq!(found(&live.disk, &live), [live.writer.record().id]);
        assert!(is_mended(&live.disk, &live));
        let manifest = live.path("001.json");
        for length in [0, 1, 100] {
            let mut torn = live.disk.clone();
            let octets = live.bytes("001.json")[..length].to_vec();
            torn.put(&manifest, octets);
            assert!(is_mended(&torn, &live), "torn at {length}");
        }
        // It cannot be known which one it was.
        let mut bare = MemoryDisk::new();
        bare.put(&manifest, b"{".to_vec());
        assert_eq!(found(&bare, &live), []);
    }

    #[test]
    fn what_was_sealed_and_is_not_so_any_more_is_found_while_it_is_of_seconds() {
        let sealed = spool(Some(EndReason::HangUp));
        assert_eq!(found(&sealed.disk, &sealed), []);
        let part = sealed.path("001-1.mka");
        let mut torn = sealed.disk.clone();
        let octets = sealed.bytes("001-1.mka");
        torn.put(&part, octets[..octets.len() - 300].to_vec());
        assert!(is_mended(&torn, &sealed));
        // What is given up goes file by file.
        let record = sealed.writer.record();
        let at = Location::Node(NodeNumber::SINGLE);
        let copy = Copy { of: CopyOf::Segment(record.id), at, state: RecordingState::Delete };
        let gone = Entry::State { copy, from: Some(record.state), why: "gathered elsewhere".to_owned() };
        let log = [sealed.bytes(LOG_NAME), &log::line(now(2_000).wall, &gone)].concat();
        torn.put(&sealed.path(LOG_NAME), log);
        assert_eq!(found(&torn, &sealed), []);
    }
}
