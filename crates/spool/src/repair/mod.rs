//! Closing what a process that died left open.
//!
//! A live marker leads to a manifest; from there everything is found. A part is cut behind its last whole
//! block, its Duration corrected, the manifest sealed, state and seal noted in the log, the marker removed.
//!
//! ```text
//!  Truncate, Patch (each part, sidecar) ─► log: repaired ─► manifest sealed ─► log: state, sealed ─► marker gone
//! ```
//!
//! Each step is left out when it is done already, so a repair that dies anywhere is simply run again, and run
//! on what is whole it returns nothing. A manifest that is lost or damaged is rebuilt from the parts (see
//! `rebuild`). Bytes are only ever cut off where a killed process can have left them: what lies
//! behind damage in the middle of a part stays, and is told of.

use std::io;

use model::segment::{Failure, PartRecord};
use model::{EndReason, NodeNumber, Now, RecordingState, SegmentId, SegmentRecord, WallTime, total};

use crate::codec::TICK_US;
use crate::digest::{Digest, Digester};
use crate::layout::{self, ManifestPath};
use crate::log::{self, Entry};
use crate::manifest::{self, Manifest};
use crate::mka::{self, Damage};
use crate::op::{FileOp, Files, list_or_nothing, read_small};
use crate::{pcap, rebuild};

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
    let mut repair =
        Repair { ops: Vec::new(), directory: at.directory.clone(), record: None, what: Vec::new() };
    let names = list_or_nothing(files, &at.directory)?;
    let bytes = read_small(files, &at.path())?;
    let lines = log::read(&read_small(files, &layout::log_path(&at.directory))?.unwrap_or_default()).0;
    let live = match bytes.as_deref().map(manifest::read) {
        Some(Ok(m)) if m.record.id != segment => None,
        Some(Ok(m)) if m.sealed => {
            repair.seal(now, &m.record, at, bytes.unwrap_or_default(), &lines, files);
            repair.record = Some(m.record);
            return Ok(repair);
        }
        Some(Err(manifest::ManifestError::UnknownVersion(v))) => return Err(RepairError::UnknownVersion(v)),
        Some(Ok(m)) => Some(m),
        Some(Err(e)) => {
            repair.what.push(format!("the manifest was rebuilt: {e}"));
            Some(rebuild::manifest(at, segment, node, &names, files)?)
        }
        None if names.iter().any(|n| belongs(at, n)) => {
            repair.what.push("the manifest was missing and was rebuilt".to_owned());
            Some(rebuild::manifest(at, segment, node, &names, files)?)
        }
        None => None,
    };
    match live {
        Some(live) => repair.close(now, live, at, &names, &lines, files)?,
        // The process died before there was anything but the marker.
        None => repair.remove_marker(segment, files),
    }
    Ok(repair)
}

fn belongs(at: &ManifestPath, name: &str) -> bool {
    layout::part_number(&at.stem, name).is_some() || name == layout::sidecar_name(&at.stem)
}

impl Repair {
    fn close(
        &mut self,
        now: Now,
        live: Manifest,
        at: &ManifestPath,
        names: &[String],
        lines: &[log::LogLine],
        files: &dyn Files,
    ) -> Result<(), RepairError> {
        let mut record = live.record;
        let claimed_us = media_us(&record);
        self.parts(&mut record, at, names, files)?;
        self.sidecar(&mut record, at, names, files)?;
        settle(&mut record, claimed_us, live.written, now.wall);
        let why = record.end.as_ref().map(EndReason::describe).unwrap_or_default();
        self.what.push(format!("closed as '{}': {why}", record.state));
        if !lines.iter().any(|l| matches!(l.entry, Entry::Repaired { segment, .. } if segment == record.id)) {
            let entry = Entry::Repaired { segment: record.id, what: self.what.clone() };
            let bytes = log::line(now.wall, &entry);
            self.ops.push(FileOp::AppendLine { path: layout::log_path(&at.directory), bytes });
        }
        let sealed = manifest::to_bytes(&record, true, now.wall);
        self.ops.push(FileOp::Replace { path: at.path(), bytes: sealed.clone() });
        self.seal(now, &record, at, sealed, lines, files);
        self.record = Some(record);
        Ok(())
    }

    /// What comes behind the sealed manifest.
    fn seal(
        &mut self,
        now: Now,
        record: &SegmentRecord,
        at: &ManifestPath,
        sealed: Vec<u8>,
        lines: &[log::LogLine],
        files: &dyn Files,
    ) {
        let sha256 = crate::digest::of_bytes(&sealed).sha256;
        self.ops.extend(crate::writer::seal_log_ops(now, record, &at.directory, &at.stem, sha256, lines));
        self.remove_marker(record.id, files);
    }

    fn remove_marker(&mut self, segment: SegmentId, files: &dyn Files) {
        let path = layout::marker_path(segment);
        if files.len(&path).is_ok() {
            self.ops.push(FileOp::Remove { path });
        }
    }

    fn parts(
        &mut self,
        record: &mut SegmentRecord,
        at: &ManifestPath,
        names: &[String],
        files: &dyn Files,
    ) -> Result<(), RepairError> {
        let mut parts = Vec::new();
        for name in names {
            let Some(number) = layout::part_number(&at.stem, name) else { continue };
            let listed = record.parts.iter().find(|p| p.file == *name).cloned();
            let path = format!("{}/{name}", at.directory);
            let scan = mka::scan(io::BufReader::new(files.open(&path)?))?;
            let length = files.len(&path)?;
            if scan.head.tracks.is_empty()
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
            self.part(&mut part, &path, &scan, length, files)?;
            parts.push(part);
        }
        for lost in record.parts.iter().filter(|p| !names.contains(&p.file)) {
            self.what.push(format!("{} is missing", lost.file));
        }
        parts.sort_by_key(|p| p.number);
        record.parts = parts;
        Ok(())
    }

    fn part(
        &mut self,
        part: &mut PartRecord,
        path: &str,
        scan: &mka::Scan,
        length: u64,
        files: &dyn Files,
    ) -> Result<(), RepairError> {
        part.duration_us = scan.duration_ticks.saturating_mul(TICK_US);
        let keep = self.cut(path, &part.file, scan.whole_bytes, length, files)?;
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
        let digest = digest_patched(files, path, keep, patch)?;
        (part.bytes, part.sha256) = (digest.bytes, Some(digest.sha256));
        Ok(())
    }

    fn sidecar(
        &mut self,
        record: &mut SegmentRecord,
        at: &ManifestPath,
        names: &[String],
        files: &dyn Files,
    ) -> Result<(), RepairError> {
        let file = layout::sidecar_name(&at.stem);
        record.sidecar = None;
        if !names.contains(&file) {
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
        let keep = self.cut(&path, &file, scan.whole_bytes, length, files)?;
        let Digest { bytes, sha256 } = digest_patched(files, &path, keep, None)?;
        let packets = scan.packets;
        record.sidecar = Some(model::segment::SidecarRecord { file, packets, bytes, sha256: Some(sha256) });
        Ok(())
    }

    /// Cuts off what a process left that died inside a write, or a machine that lost its power: one torn
    /// element, or zeros. How much remains.
    fn cut(&mut self, path: &str, file: &str, whole: u64, length: u64, files: &dyn Files) -> io::Result<u64> {
        let behind = length.saturating_sub(whole);
        if behind == 0 {
            return Ok(length);
        }
        if behind <= TORN_MAX || is_zeros(files, path, whole)? {
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
fn settle(record: &mut SegmentRecord, claimed_us: i64, written: WallTime, now: WallTime) {
    // It had ended, and all that the manifest speaks of is there: the process died before the seal only.
    if record.end.is_some() && media_us(record) >= claimed_us {
        return;
    }
    let reason = EndReason::Internal(Failure::Process);
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
