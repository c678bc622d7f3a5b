//! What a crash kept from the segments' own files.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _};

use super::Record;
use crate::layout::{self, ManifestPath};
use crate::op::Files;

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
/// and nothing is written behind a hole. What is there and reads otherwise (a machine that lost its power may have
/// kept the length of a file and not what was in it) is written once more: an octet of such a file is written once,
/// but for its head, which is never here.
pub fn missing<'a>(
    records: impl IntoIterator<Item = Record<'a>>,
    marked: &[ManifestPath],
    files: &dyn Files,
) -> io::Result<Vec<Missing<'a>>> {
    let mut stems: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for at in marked {
        stems.entry(&at.directory).or_default().push(&at.stem);
    }
    let is_marked = |path: &str| {
        let of = |(directory, name)| stems.get(directory).map(|stems| (stems, name));
        path.rsplit_once('/').and_then(of).is_some_and(|(stems, name)| {
            stems
                .iter()
                .any(|stem| layout::part_number(stem, name).is_some() || name == layout::sidecar_name(stem))
        })
    };
    let mut by_file: BTreeMap<&str, Vec<Record<'a>>> = BTreeMap::new();
    for record in records {
        // One of many records of a file: the name is looked at once.
        match by_file.get_mut(record.path) {
            Some(of_file) => of_file.push(record),
            None if is_marked(record.path) => drop(by_file.insert(record.path, vec![record])),
            None => {}
        }
    }
    let mut all = Vec::new();
    for (path, records) in by_file {
        match files.len(path) {
            Ok(length) => of_file(path, length, &records, files, &mut all)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

fn of_file<'a>(
    path: &'a str,
    length: u64,
    records: &[Record<'a>],
    files: &dyn Files,
    all: &mut Vec<Missing<'a>>,
) -> io::Result<()> {
    let (mut file, mut there) = (files.open(path)?, Vec::new());
    // How far the file reaches when what was found so far is written.
    let mut reach = length;
    for Record { offset, bytes, .. } in records.iter().copied() {
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
