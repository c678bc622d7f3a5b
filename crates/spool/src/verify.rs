//! Checking what lies in a call's directory: against its manifests, its log, and itself.
//!
//! Nothing is changed. Every file is read through once; what is wrong is a [`Finding`] with the file it is in.

use std::io;

use model::segment::PartRecord;
use model::state::TRANSITIONS;
use model::{CopyOf, SegmentRecord};

use crate::joining::Half;
use crate::layout::{self, LOG_NAME};
use crate::log::{self, Entry, LogLine};
use crate::manifest::{self, Manifest};
use crate::op::{Files, digest_of, list_or_nothing, read_small};
use crate::{digest, mka, pcap};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// Something is not as it was written, or is missing.
    Wrong,
}

/// What was found in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The file, relative to the call's directory.
    pub file: String,
    /// What, in a sentence.
    pub text: String,
}

/// What a check of a call came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verified {
    /// The segments whose manifests could be read.
    pub segments: Vec<SegmentRecord>,
    /// Files that were read through.
    pub files: usize,
    /// Octets that were read through.
    pub bytes: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Verified {
    /// Whether all is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|f| f.severity < Severity::Wrong)
    }

    fn say(&mut self, severity: Severity, file: &str, text: impl Into<String>) {
        self.findings.push(Finding { severity, file: file.to_owned(), text: text.into() });
    }

    fn wrong(&mut self, file: &str, text: impl Into<String>) {
        self.say(Severity::Wrong, file, text);
    }
}

/// Checks a call's directory.
pub fn call(files: &dyn Files, directory: &str) -> io::Result<Verified> {
    let mut found = Verified::default();
    let names = list_or_nothing(files, directory)?;
    if names.is_empty() {
        found.wrong("", "there is no such directory, or nothing in it");
        return Ok(found);
    }
    let log = check_log(&mut found, files, directory)?;
    let (lines, has_log) = (log.as_deref().unwrap_or_default(), log.is_some());
    check_joins(&mut found, files, directory, lines)?;
    let mut known = vec![LOG_NAME.to_owned()];
    let mut is_missed = false;
    for name in names.iter().filter(|n| n.ends_with(".json")) {
        known.push(name.clone());
        let bytes = read_small(files, &format!("{directory}/{name}"))?.unwrap_or_default();
        found.files += 1;
        found.bytes += bytes.len() as u64;
        match manifest::read(&bytes) {
            Ok(manifest) => {
                check_sealed(&mut found, name, &manifest, &bytes, lines);
                // The log of a segment in progress begins with the first line that says more than its manifest.
                is_missed |= manifest.sealed && !has_log;
                known.extend(check_files(&mut found, files, directory, &manifest)?);
                found.segments.push(manifest.record);
            }
            Err(e) => found.wrong(name, e.to_string()),
        }
    }
    if is_missed {
        found.wrong(
            LOG_NAME,
            "the log is missing: states, edits and holds of this call are not known from disk",
        );
    }
    for stray in names.iter().filter(|n| !known.contains(n)) {
        match layout::is_partial(stray) {
            true => found.say(Severity::Note, stray, "is being fetched from another node, or was in vain"),
            false => found.wrong(stray, "no manifest speaks of this file"),
        }
    }
    found.segments.sort_by_key(|s| (s.number, s.id));
    Ok(found)
}

/// None: there is no log.
fn check_log(found: &mut Verified, files: &dyn Files, directory: &str) -> io::Result<Option<Vec<LogLine>>> {
    let Some(bytes) = read_small(files, &layout::log_path(directory))? else { return Ok(None) };
    found.files += 1;
    found.bytes += bytes.len() as u64;
    let (lines, damage) = log::read(&bytes);
    for d in damage {
        let (severity, what) = if d.torn {
            (Severity::Note, "a write was cut")
        } else {
            (Severity::Wrong, "a line was changed")
        };
        found.say(severity, LOG_NAME, format!("{what}: {} octets at {}", d.octets, d.at));
    }
    for line in &lines {
        if let Entry::State { copy, from: Some(from), .. } = &line.entry {
            let listed = TRANSITIONS.iter().any(|(f, _, to)| f == from && *to == copy.state);
            if !listed {
                found.wrong(LOG_NAME, format!("'{from}' cannot become '{}' ({})", copy.state, line.at));
            }
        }
    }
    Ok(Some(lines))
}

/// What one log says of two calls that are one, the other should say too.
fn check_joins(
    found: &mut Verified,
    files: &dyn Files,
    directory: &str,
    lines: &[LogLine],
) -> io::Result<()> {
    for join in log::joins_of(lines) {
        let places = [Half::Into, Half::From].map(|half| half.directory(join));
        for other in places.iter().filter(|place| *place != directory) {
            // One that is not here may be on another volume.
            let Some(bytes) = read_small(files, &layout::log_path(other))? else { continue };
            if !log::joins_of(&log::read(&bytes).0).iter().any(|j| j.is_of(join)) {
                let text = format!("the log of {other} does not say that these two calls are one");
                found.say(Severity::Note, LOG_NAME, text);
            }
        }
    }
    Ok(())
}

fn check_sealed(found: &mut Verified, name: &str, manifest: &Manifest, bytes: &[u8], lines: &[LogLine]) {
    let id = manifest.record.id;
    if !manifest.sealed {
        found.say(Severity::Note, name, "not sealed: the segment is live, or waits for its repair");
        return;
    }
    let sha256 = digest::of_bytes(bytes).sha256;
    // A segment that was not whole when it was looked after is sealed once more.
    let noted = lines.iter().rev().find_map(|l| match &l.entry {
        Entry::Sealed { segment, sha256, .. } if *segment == id => Some(sha256),
        _ => None,
    });
    match noted {
        None => found.wrong(name, "the log does not say that this segment was sealed"),
        Some(noted) if *noted != sha256 => found.wrong(name, "the manifest is not the one that was sealed"),
        Some(_) => {}
    }
    if log::state_of(lines, CopyOf::Segment(id)).is_none() {
        found.wrong(name, "the log does not say in which state this segment ended");
    }
}

/// Checks the files that a manifest speaks of; their names.
fn check_files(
    found: &mut Verified,
    files: &dyn Files,
    directory: &str,
    manifest: &Manifest,
) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let record = &manifest.record;
    let parts = record.parts.iter().map(|p| (&p.file, p.bytes, p.sha256.as_deref(), Some(p)));
    let sidecar = record.sidecar.iter().map(|s| (&s.file, s.bytes, s.sha256.as_deref(), None));
    for (file, bytes, sha256, part) in parts.chain(sidecar) {
        names.push(file.clone());
        if file.contains('/') {
            found.wrong(file, "the manifest names a file elsewhere");
            continue;
        }
        let path = format!("{directory}/{file}");
        let digest = match digest_of(files, &path) {
            Ok(digest) => digest,
            Err(e) => {
                found.wrong(file, format!("cannot be read: {e}"));
                continue;
            }
        };
        found.files += 1;
        found.bytes += digest.bytes;
        if !manifest.sealed {
            continue;
        }
        match sha256 {
            None => found.say(Severity::Note, file, "was sealed without a digest"),
            Some(sha256) if sha256 != digest.sha256 => {
                let text = format!(
                    "its digest is not the sealed one ({} octets, {bytes} were sealed)",
                    digest.bytes
                );
                found.wrong(file, text);
            }
            Some(_) => {}
        }
        match part {
            Some(part) => check_part(found, files, &path, part)?,
            None => check_sidecar(found, files, &path, file)?,
        }
    }
    Ok(names)
}

fn check_part(found: &mut Verified, files: &dyn Files, path: &str, part: &PartRecord) -> io::Result<()> {
    let file = &part.file;
    let scan = mka::scan(io::BufReader::new(files.open(path)?))?;
    if let Some(damage) = scan.damage {
        found.wrong(file, format!("its structure is damaged: {damage}"));
    } else if !scan.is_clean() {
        found.wrong(file, "its head does not fit its blocks");
    }
    if scan.duration_ticks.saturating_mul(crate::codec::TICK_US) != part.duration_us {
        found.wrong(file, "it is not as long as its manifest says");
    }
    // A part without them is read from its beginning.
    if !part.marks.is_empty() && part.marks != scan.marks {
        found.wrong(file, "what its manifest says of where one may begin to read is not so");
    }
    Ok(())
}

fn check_sidecar(found: &mut Verified, files: &dyn Files, path: &str, file: &str) -> io::Result<()> {
    match pcap::scan(io::BufReader::new(files.open(path)?)) {
        Ok(scan) if scan.torn => found.wrong(file, format!("damaged behind octet {}", scan.whole_bytes)),
        Ok(_) => {}
        Err(pcap::PcapError::Io(e)) => return Err(e),
        Err(e) => found.wrong(file, e.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::EndReason;
    use model::segment::PartMark;

    use super::*;
    use crate::fixture::{Spool, heard};

    #[test]
    fn marks_that_lead_elsewhere_are_told() {
        let mut spool = Spool::new();
        (0..50).for_each(|n| spool.push(&heard(1, n * 20, 7)));
        let record = spool.finish(1_000, EndReason::HangUp);
        let path = format!("{}/{}", spool.writer.directory(), record.parts[0].file);
        let check = |marks: Vec<PartMark>| {
            let (mut found, part) = (Verified::default(), PartRecord { marks, ..record.parts[0].clone() });
            check_part(&mut found, &spool.disk, &path, &part).unwrap();
            found.is_sound()
        };
        let right = mka::scan(io::BufReader::new(spool.disk.open(&path).unwrap())).unwrap().marks;
        assert!(check(Vec::new()) && check(right.clone()));
        assert!(!check([right, vec![PartMark { reached_us: 1, at: 1 }]].concat()));
    }
}
