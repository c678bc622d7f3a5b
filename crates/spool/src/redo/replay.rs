//! What a crash kept from the segments' own files.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _};

use super::Record;
use crate::layout::{self, ManifestPath};
use crate::manifest::{self, ManifestError};
use crate::op::{self, Files};

/// Octets that are to be written to a file that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing<'a> {
    /// The file, relative to the repository.
    pub path: &'a str,
    /// Where in it: at its end, or before.
    pub offset: u64,
    /// What.
    pub bytes: &'a [u8],
}

/// What of a redo file the segments' own files lack. To be written in this order; written again it changes nothing.
///
/// Only files of segments that are marked as live are looked at (`marked`): of others all is durable. None is made,
/// and nothing is written behind a hole, nor behind the end that a file had when its segment was sealed: what the redo
/// has beyond was given up when the segment was. What is there and reads otherwise (a machine that lost its power may
/// have kept the length of a file and not what was in it) is written once more: an octet of such a file is written
/// once, but for its head, which is never here.
pub fn missing<'a>(
    records: impl IntoIterator<Item = Record<'a>>,
    marked: &[ManifestPath],
    files: &dyn Files,
) -> io::Result<Vec<Missing<'a>>> {
    let mut by_directory: BTreeMap<&str, Vec<&ManifestPath>> = BTreeMap::new();
    for at in marked {
        by_directory.entry(&at.directory).or_default().push(at);
    }
    let segment_of = |path: &str| {
        let (directory, name) = path.rsplit_once('/')?;
        let is_of = |at: &&&ManifestPath| {
            layout::part_number(&at.stem, name).is_some() || name == layout::sidecar_name(&at.stem)
        };
        by_directory.get(directory)?.iter().find(is_of).copied()
    };
    let mut by_file: BTreeMap<&str, (&ManifestPath, Vec<Record<'a>>)> = BTreeMap::new();
    for record in records {
        // One of many records of a file: the name is looked at once.
        match by_file.get_mut(record.path) {
            Some((_, of_file)) => of_file.push(record),
            None => {
                if let Some(at) = segment_of(record.path) {
                    by_file.insert(record.path, (at, vec![record]));
                }
            }
        }
    }
    let mut all = Vec::new();
    for (path, (at, records)) in by_file {
        let length = match files.len(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            length => length?,
        };
        let end = end_of(at, path, files)?;
        of_file(path, length, end, &records, files, &mut all)?;
    }
    Ok(all)
}

/// Where a file ended when its segment was sealed; without an end while it is open.
fn end_of(at: &ManifestPath, path: &str, files: &dyn Files) -> io::Result<u64> {
    let record = match op::read_small(files, &at.path())?.as_deref().map(manifest::read) {
        Some(Ok(manifest)) if manifest.sealed => manifest.record,
        // It is for the newer callspool to say.
        Some(Err(ManifestError::UnknownVersion(_))) => return Ok(0),
        _ => return Ok(u64::MAX),
    };
    let parts = record.parts.iter().map(|part| (&part.file, part.bytes));
    let sidecar = record.sidecar.iter().map(|sidecar| (&sidecar.file, sidecar.bytes));
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    Ok(parts.chain(sidecar).find(|(file, _)| *file == name).map_or(0, |(_, octets)| octets))
}

fn of_file<'a>(
    path: &'a str,
    length: u64,
    end: u64,
    records: &[Record<'a>],
    files: &dyn Files,
    all: &mut Vec<Missing<'a>>,
) -> io::Result<()> {
    let (mut file, mut there) = (files.open(path)?, Vec::new());
    // How far the file reaches when what was found so far is written.
    let mut reach = length;
    for Record { offset, bytes, .. } in records.iter().copied() {
        let within = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get(..within).unwrap_or_default();
        let Some(end) = offset.checked_add(bytes.len() as u64).filter(|_| offset <= reach) else { continue };
        let kept = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        if kept > 0 {
            there.resize(kept, 0);
            file.seek(io::SeekFrom::Start(offset))?;
            file.read_exact(&mut there)?;
            if bytes.get(..kept) != Some(&there) {
                all.push(Missing { path, offset, bytes });
                reach = reach.max(end);
                continue;
            }
        }
        let within = usize::try_from(reach - offset).unwrap_or(usize::MAX);
        if let Some(lacking) = bytes.get(within..).filter(|lacking| !lacking.is_empty()) {
            all.push(Missing { path, offset: reach, bytes: lacking });
            reach = end;
        }
    }
    Ok(())
}
