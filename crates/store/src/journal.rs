//! The journal: changes that the catalog could not take, on disk until it can.
//!
//! ```text
//! {"crc":"1c291ca3","change":{"id":"…","at":"…","tenant":"…","kind":{…}}}⏎
//!         └ CRC-32 (IEEE) of the text of "change", 8 hexadecimal digits
//! ```
//!
//! One change a line, appended and synced in batches, replayed in order, then cut to nothing. A process that is
//! killed in the middle of a line leaves a torn one: it was never promised and is cut off at the next opening.
//! A line that is damaged otherwise is skipped and counted. Changes are idempotent, so a replay that was broken
//! off begins anew.
//!
//! The journal has a size limit; what does not fit is refused here and counted by the writer.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use faults::{Operation, before};
use model::Change;

/// 1 GiB: at about 3 KiB a change and 6 changes a call some 60,000 calls, an hour and a half at 10 calls a
/// second. By then somebody has been alarmed, and `reindex` restores what came after.
pub const BYTES_MAX: u64 = 1 << 30;
/// 16 MiB: ten times the largest change there is (a segment of four streams with all the gaps that are listed).
/// A file without line ends is no journal and must not be read into memory.
const LINE_MAX: usize = 16 << 20;

const HEAD: &[u8] = b"{\"crc\":\"";
const MIDDLE: &[u8] = b"\",\"change\":";
const CRC_LEN: usize = 8;
const BODY_AT: usize = HEAD.len() + CRC_LEN + MIDDLE.len();

/// Changes could not be journaled; none of them was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The limit is reached.
    #[error("the journal is full: it holds {bytes} of {limit} bytes")]
    Full {
        /// Bytes in it.
        bytes: u64,
        /// Bytes at most.
        limit: u64,
    },
    /// The file cannot be written.
    #[error("the journal cannot be written: {0}")]
    File(#[from] io::Error),
}

/// A piece of the journal.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// The changes in it, in order.
    pub changes: Vec<Change>,
    /// Where the next piece begins.
    pub next: u64,
    /// Lines that could not be read.
    pub damaged: u64,
}

/// The open file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Journal {
    /// Opens or creates the journal (mode 0600) and cuts off a torn last line. `bytes_max` is usually [`BYTES_MAX`].
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        before(Operation::JournalOpen, path)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let bytes = whole_lines(&mut file)?;
        file.set_len(bytes)?;
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            // The name of a new file is durable only when its directory is.
            File::open(directory)?.sync_all()?;
        }
        Ok(Self { path: path.to_owned(), file, bytes, bytes_max })
    }

    /// Bytes in it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing waits in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends changes and syncs: all of them or none.
    pub fn append(&mut self, changes: &[Change]) -> Result<(), AppendError> {
        let mut lines = Vec::new();
        for change in changes {
            write_line(change, &mut lines)?;
        }
        let bytes = self.bytes.saturating_add(lines.len() as u64);
        if bytes > self.bytes_max {
            return Err(AppendError::Full { bytes: self.bytes, limit: self.bytes_max });
        }
        let share = before(Operation::JournalAppend, &self.path)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        let written =
            share.write(&lines, |bytes| self.file.write_all(bytes)).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // What was written in part must not stand before the next line. Where even this fails, the next
            // append overwrites it, and the next opening cuts it off or skips it.
            let _ = self.file.set_len(self.bytes);
            return Err(e.into());
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Reads at most `changes_max` changes from an offset on.
    pub fn read(&mut self, from: u64, changes_max: usize) -> io::Result<Page> {
        before(Operation::JournalRead, &self.path)?;
        self.file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::new((&mut self.file).take(self.bytes.saturating_sub(from)));
        let mut page = Page { next: from, ..Page::default() };
        while page.changes.len() < changes_max {
            let Some((line, length)) = next_line(&mut reader)? else { break };
            page.next += length;
            match read_line(&line) {
                Some(change) => page.changes.push(change),
                None => page.damaged += 1,
            }
        }
        Ok(page)
    }

    /// Forgets all of it: it has been applied.
    pub fn clear(&mut self) -> io::Result<()> {
        before(Operation::JournalClear, &self.path)?;
        self.file.set_len(0)?;
        self.bytes = 0;
        self.file.sync_data()
    }
}

fn write_line(change: &Change, out: &mut Vec<u8>) -> io::Result<()> {
    let body = serde_json::to_vec(change)?;
    if body.len() > LINE_MAX - BODY_AT - 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a change of more than 16 MiB"));
    }
    out.extend_from_slice(HEAD);
    write!(out, "{:08x}", crc32fast::hash(&body))?;
    out.extend_from_slice(MIDDLE);
    out.extend_from_slice(&body);
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// The change in a line without its line end, if the line is whole.
fn read_line(line: &[u8]) -> Option<Change> {
    let crc = line.strip_prefix(HEAD)?.get(..CRC_LEN)?;
    let body = line.get(HEAD.len() + CRC_LEN..)?.strip_prefix(MIDDLE)?.strip_suffix(b"}")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    if crc == crc32fast::hash(body) { serde_json::from_slice(body).ok() } else { None }
}

/// The next line without its end, and how many bytes it took with it. A line that is too long comes out empty.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok((length > 0).then_some((line, length)));
        }
        let end = piece.iter().position(|b| *b == b'\n');
        let taken = end.map_or(piece.len(), |at| at + 1);
        if line.len() + taken <= LINE_MAX {
            line.extend_from_slice(&piece[..end.unwrap_or(taken)]);
        } else {
            line.clear();
        }
        reader.consume(taken);
        length += taken as u64;
        if end.is_some() {
            return Ok(Some((line, length)));
        }
    }
}

/// The length of the file up to and with its last line end.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(begin))?;
        buffer.clear();
        file.take(end - begin).read_to_end(&mut buffer)?;
        if let Some(at) = buffer.iter().rposition(|b| *b == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}
