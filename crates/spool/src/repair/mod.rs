//! Closing what a process that died left open.
//!
//! A live marker leads to a manifest; from there everything is found. A part is cut behind its last whole
//! block, its Duration corrected, the manifest sealed, state and seal noted in the log, the marker removed.
//!
//! ```text
//!  Truncate, Patch (each part, sidecar) ─► log: repaired ─► manifest sealed ─► log: state, sealed ─► unmarked
//! ```
//!
//! Each step is left out when it is done already, so a repair that dies anywhere is simply run again, and run
//! on what is whole it returns nothing. A sealed segment that still has its marker was perhaps never synced: one
//! whose files are not those that were sealed is closed once more, as what it is now. A manifest that is lost or damaged is rebuilt from the parts (see
//! `rebuild`). Bytes are only ever cut off where a killed process can have left them: what lies
//! behind damage in the middle of a part stays, and is told of.

mod unmarked;

use std::collections::BTreeMap;
use std::io;

use model::segment::{Failure, PartRecord};
use model::{
    EndReason, NodeNumber, Now, RecordingState, SegmentId, SegmentRecord, StreamId, WallTime, total,
};

use crate::codec::TICK_US;
use crate::digest::{Digest, Digester};
use crate::layout::{self, ManifestPath};
use crate::log::{self, Entry};
use crate::manifest::{self, Manifest};
use crate::marks::MARKED_OCTETS;
use crate::mka::{self, Damage};
use crate::op::{FileOp, Files, list_or_nothing, read_small};
use crate::{pcap, rebuild};
pub use unmarked::left_open;

/// 72 KiB: more than the longest block or packet with its head. A process that is killed inside an append leaves
/// at most one torn element; more than that behind the last whole one is damage of another kind, and is kept.
const TORN_MAX: u64 = 72 << 10;

/// What a repair comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Repair {
    /// What is to be done, in this order. Empty when nothing is.
    pub ops: Vec<FileOp>,
    /// The call's directory.
    pub directory: String,
    /// The segment as it is afterwards; none when nothing was ever written of it.
    pub record: Option<SegmentRecord>,
    /// What was found and done, in words.
    pub what: Vec<String>,
}

/// Why a segment cannot be repaired. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// A file cannot be read.
    #[error("cannot read what is to be repaired")]
    Io(#[from] io::Error),
    /// The manifest was written by a newer callspool, which is the one to repair it.
    #[error("the manifest is of version {0}, which this callspool does not know")]
    UnknownVersion(u32),
}

/// Repairs a segment. `segment` and `at` are the name and the content of its live marker
/// ([`layout::read_marker`]); `node` is this node.
pub fn repair(
    now: Now,
    segment: SegmentId,
    at: &ManifestPath,
    node: NodeNumber,
    files: &dyn Files,
) -> Result<Repair, RepairError> {
    repair_after(now, segment, at, node, Failure::Process, files)
}

/// The same, of a segment that this process gives up itself: an append failed, so that what it would add would
/// stand behind a torn element. Nothing may be written to its files any more; this closes them.
pub fn repair_after(
    now: Now,
    segment: SegmentId,
    at: &ManifestPath,
    node: NodeNumber,
    failure: Failure,
    files: &dyn Files,
) -> Result<Repair, RepairError> {
    let log = read_small(files, &layout::log_path(&at.directory))?.unwrap_or_default();
    let mut work = Work {
        now,
        at,
        files,
        names: list_or_nothing(files, &at.directory)?,
        lines: log::read(&log).0,
        ops: Vec::new(),
        what: Vec::new(),
    };
    let bytes = read_small(files, &at.path())?;
    let record = match bytes.as_deref().map(manifest::read) {
        // The name was taken by another segment before this one had written anything.
        Some(Ok(m)) if m.record.id != segment => None,
        Some(Ok(m)) if m.sealed && work.is_whole(&m.record)? => {
            work.seal(&m.record, &bytes.unwrap_or_default());
            Some(m.record)
        }
        Some(Ok(m)) => Some(work.close(m, failure)?),
        Some(Err(manifest::ManifestError::UnknownVersion(v))) => return Err(RepairError::UnknownVersion(v)),
        Some(Err(e)) => Some(work.rebuild(segment, node, failure, &e.to_string())?),
        None if work.names.iter().any(|n| belongs(at, n)) => {
            Some(work.rebuild(segment, node, failure, "it was missing")?)
        }
        // The process died before there was anything but the marker.
        None => None,
    };
    work.remove_marker(segment);
    Ok(Repair { ops: work.ops, directory: at.directory.clone(), record, what: work.what })
}

/// A repair in the making.
struct Work<'a> {
    now: Now,
    at: &'a ManifestPath,
    files: &'a dyn Files,
    /// The names in the call's directory.
    names: Vec<String>,
    /// What the log says so far.
    lines: Vec<log::LogLine>,
    ops: Vec<FileOp>,
    what: Vec<String>,
}

fn belongs(at: &ManifestPath, name: &str) -> bool {
    layout::part_number(&at.stem, name).is_some() || name == layout::sidecar_name(&at.stem)
}

impl Work<'_> {
    fn rebuild(
        &mut self,
        segment: SegmentId,
        node: NodeNumber,
        failure: Failure,
        why: &str,
    ) -> Result<SegmentRecord, RepairError> {
        self.what.push(format!("the manifest was rebuilt: {why}"));
        let live = rebuild::manifest(self.at, segment, node, &self.names, self.files)?;
        self.close(live, failure)
    }

    /// Whether the files of a sealed segment are those that were sealed.
    fn is_whole(&mut self, record: &SegmentRecord) -> io::Result<bool> {
        let parts = record.parts.iter().map(|p| (&p.file, p.sha256.as_ref()));
        let sidecar = record.sidecar.iter().map(|s| (&s.file, s.sha256.as_ref()));
        let mut whole = true;
        for (file, sealed) in parts.chain(sidecar) {
            let found = match crate::digest_of(self.files, &format!("{}/{file}", self.at.directory)) {
                Ok(digest) => Some(digest.sha256),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
            if sealed.is_some() && found.as_ref() != sealed {
                self.what.push(format!("{file} is not what was sealed"));
                whole = false;
            }
        }
        Ok(whole)
    }

    /// Closes what is open, and seals it.
    fn close(&mut self, live: Manifest, failure: Failure) -> Result<SegmentRecord, RepairError> {
        let mut record = live.record;
        let claimed_us = media_us(&record);
        self.parts(&mut record)?;
        self.sidecar(&mut record)?;
        // It had ended, and all that the manifest speaks of is there: the process died before the seal only.
        if live.sealed || record.end.is_none() || media_us(&record) < claimed_us {
            settle(&mut record, failure, live.written, self.now.wall);
        }
        let why = record.end.as_ref().map(EndReason::describe).unwrap_or_default();
        self.what.push(format!("closed as '{}': {why}", record.state));
        let mut bytes = self.beginning(&record);
        let told =
            |l: &log::LogLine| matches!(l.entry, Entry::Repaired { segment, .. } if segment == record.id);
        if !self.lines.iter().any(told) {
            let entry = Entry::Repaired { segment: record.id, what: self.what.clone() };
            bytes.extend(log::line(self.now.wall, &entry));
        }
        self.log(bytes);
        let sealed = manifest::to_bytes(&record, true, self.now.wall);
        self.ops.push(FileOp::Replace { path: self.at.path(), bytes: sealed.clone() });
        self.seal(&record, &sealed);
        Ok(record)
    }

    /// What the log has to say of a sealed manifest.
    fn seal(&mut self, record: &SegmentRecord, sealed: &[u8]) {
        let sha256 = crate::digest::of_bytes(sealed).sha256;
        self.log(crate::writer::seal_lines(self.now, record, &self.at.stem, sha256, &self.lines));
    }

    /// The line of a segment's beginning, if the log lacks it: it is written with the next one only.
    fn beginning(&self, record: &SegmentRecord) -> Vec<u8> {
        let told =
            |l: &log::LogLine| matches!(l.entry, Entry::Opened { segment, .. } if segment == record.id);
        if self.lines.iter().any(told) {
            return Vec::new();
        }
        log::line(record.started, &crate::writer::opened(record, &self.at.stem))
    }

    /// Adds lines to the log, if there are any.
    fn log(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.ops.push(FileOp::AppendLine { path: layout::log_path(&self.at.directory), bytes });
        }
    }

    fn remove_marker(&mut self, segment: SegmentId) {
        if self.files.may_be_marked(segment) {
            self.ops.push(FileOp::Unmark { path: layout::marker_path(segment) });
        }
    }

    fn parts(&mut self, record: &mut SegmentRecord) -> Result<(), RepairError> {
        let (at, files) = (self.at, self.files);
        let names = std::mem::take(&mut self.names);
        let mut parts = Vec::new();
        let mut there: BTreeMap<StreamId, u64> = BTreeMap::new();
        for name in &names {
            let Some(number) = layout::part_number(&at.stem, name) else { continue };
            let listed = record.parts.iter().find(|p| p.file == *name).cloned();
            let path = format!("{}/{name}", at.directory);
            let scan = mka::scan(io::BufReader::new(files.open(&path)?))?;
            let length = files.len(&path)?;
            // A head ends with the begin of a cluster; without it nobody can open the file.
            if scan.last_cluster.is_none()
                && matches!(scan.damage, None | Some(Damage::Torn { .. }))
                && length < TORN_MAX
            {
                self.what.push(format!("{name} was removed: the process ended inside its head"));
                self.ops.push(FileOp::Remove { path });
                continue;
            }
            let mut part = match listed {
                Some(part) => part,
                None => rebuild::part(record, name, number, &scan),
            };
            self.part(&mut part, &path, &scan, length)?;
            scan.tracks.iter().for_each(|t| *there.entry(t.stream).or_default() += t.media_blocks);
            parts.push(part);
        }
        for lost in record.parts.iter().filter(|p| !names.contains(&p.file)) {
            self.what.push(format!("{} is missing", lost.file));
        }
        // The counts are those of the last live manifest; no less was received than is there.
        for stream in &mut record.streams {
            let blocks = there.get(&stream.id).copied().unwrap_or_default();
            if stream.accounting.received < blocks {
                stream.accounting.received = blocks;
                self.what.push(format!("counts of stream {} are older than its media", stream.id));
            }
        }
        parts.sort_by_key(|p| p.number);
        record.parts = parts;
        self.names = names;
        Ok(())
    }

    fn part(
        &mut self,
        part: &mut PartRecord,
        path: &str,
        scan: &mka::Scan,
        length: u64,
    ) -> Result<(), RepairError> {
        part.duration_us = scan.duration_ticks.saturating_mul(TICK_US);
        let keep = self.cut(path, &part.file, scan.whole_bytes, length)?;
        let patch = match scan.head.duration {
            Some((_, offset)) if !scan.duration_is_right() => {
                Some((offset, mka::duration_bytes(scan.duration_ticks)))
            }
            _ => None,
        };
        if let Some((offset, bytes)) = patch {
            self.what.push(format!("the duration of {} was corrected", part.file));
            self.ops.push(FileOp::Patch { path: path.to_owned(), offset, bytes: bytes.to_vec() });
        }
        let digest = digest_patched(self.files, path, keep, patch)?;
        part.marks = if digest.bytes < MARKED_OCTETS { Vec::new() } else { scan.marks.clone() };
        (part.bytes, part.sha256) = (digest.bytes, Some(digest.sha256));
        Ok(())
    }

    fn sidecar(&mut self, record: &mut SegmentRecord) -> Result<(), RepairError> {
        let (at, files) = (self.at, self.files);
        let file = layout::sidecar_name(&at.stem);
        record.sidecar = None;
        if !self.names.contains(&file) {
            return Ok(());
        }
        let path = format!("{}/{file}", at.directory);
        let length = files.len(&path)?;
        let scan = match pcap::scan(io::BufReader::new(files.open(&path)?)) {
            Ok(scan) => scan,
            Err(pcap::PcapError::Io(e)) => return Err(e.into()),
            Err(pcap::PcapError::Head) if length < pcap::HEAD_BYTES => {
                self.what.push(format!("{file} was removed: the process ended inside its head"));
                self.ops.push(FileOp::Remove { path });
                return Ok(());
            }
            Err(pcap::PcapError::Head) => {
                self.what.push(format!("{file} is no capture any more; it is kept as it is"));
                pcap::PcapScan { packets: 0, whole_bytes: length, torn: false }
            }
        };
        let keep = self.cut(&path, &file, scan.whole_bytes, length)?;
        let Digest { bytes, sha256 } = digest_patched(files, &path, keep, None)?;
        let packets = scan.packets;
        record.sidecar = Some(model::segment::SidecarRecord { file, packets, bytes, sha256: Some(sha256) });
        Ok(())
    }

    /// Cuts off what a process left that died inside a write, or a machine that lost its power: one torn
    /// element, or zeros. How much remains.
    fn cut(&mut self, path: &str, file: &str, whole: u64, length: u64) -> io::Result<u64> {
        let behind = length.saturating_sub(whole);
        if behind == 0 {
            return Ok(length);
        }
        if behind <= TORN_MAX || is_zeros(self.files, path, whole)? {
            self.what.push(format!("{file} was cut by {behind} octets behind its last whole element"));
            self.ops.push(FileOp::Truncate { path: path.to_owned(), bytes: whole });
            return Ok(whole);
        }
        self.what.push(format!("{file} is damaged at octet {whole}; the {behind} octets behind are kept"));
        Ok(length)
    }
}

/// Whether all octets from `at` on are zero.
fn is_zeros(files: &dyn Files, path: &str, at: u64) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _};
    let mut input = files.open(path)?;
    input.seek(io::SeekFrom::Start(at))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(true),
            n if buffer[..n].iter().any(|b| *b != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// How far the media of a segment reach, in microseconds from its start.
fn media_us(record: &SegmentRecord) -> i64 {
    record.parts.iter().map(|p| p.offset_us.saturating_add(p.duration_us)).max().unwrap_or(0)
}

/// State, end and total of a segment that was found open.
fn settle(record: &mut SegmentRecord, failure: Failure, written: WallTime, now: WallTime) {
    let reason = EndReason::Internal(failure);
    let begun = RecordingState::begin(record.respondent);
    record.state = begun.apply(reason.transition()).unwrap_or(RecordingState::PartialInternalError);
    let media_end = record.started.0.saturating_add(media_us(record).saturating_mul(1_000));
    let alive = WallTime(media_end.max(written.0).min(now.0)).max(record.started);
    record.ended = Some(alive);
    record.total = total::at_end(record.number, record.total.max(record.number), &reason);
    record.end = Some(reason);
}

/// The digest that a file will have once it is cut and patched.
fn digest_patched(
    files: &dyn Files,
    path: &str,
    keep: u64,
    patch: Option<(u64, [u8; 8])>,
) -> io::Result<Digest> {
    use std::io::Read as _;
    let mut input = files.open(path)?.take(keep);
    let mut digester = Digester::new();
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0_u64;
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            return Ok(digester.finish());
        }
        if let Some((offset, bytes)) = patch {
            for (place, octet) in (offset..).zip(bytes) {
                let index = place.checked_sub(at).and_then(|i| usize::try_from(i).ok());
                if let Some(target) = index.and_then(|i| buffer[..n].get_mut(i)) {
                    *target = octet;
                }
            }
        }
        digester.update(&buffer[..n]);
        at += n as u64;
    }
}

#[cfg(test)]
mod tests;
