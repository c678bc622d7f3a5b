//! The call's log: what has become of its segments, one JSON object a line, append only.
//!
//! ```text
//! {"crc":"1c291ca3","at":"2026-11-20T09:15:42.000000Z","entry":{"type":"state", …}}
//!         └ CRC-32 (IEEE) in hexadecimal of every octet from the quote before `at` to the closing brace
//! ```
//!
//! A line is written in one append. A process that dies inside leaves a torn line, and the next line then
//! stands right behind it: the reader finds it again by its `{"crc":"`, which cannot stand inside a JSON text.
//! What cannot be read is reported with its place, and never hides what follows.

use model::{CallId, Copy, CopyOf, RecordingState, SegmentId, WallTime};
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Entry {
    /// A segment began to be written.
    Opened {
        /// Which.
        segment: SegmentId,
        /// Its number.
        number: u16,
        /// Its manifest, beside this log.
        manifest: String,
        /// The state that it begins in.
        state: RecordingState,
    },
    /// The state of a copy changed, by the one table.
    State {
        /// The copy, with its state now.
        copy: Copy,
        /// The state that it had; none when the copy came to be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<RecordingState>,
        /// Why.
        why: String,
    },
    /// The total of the call's segments became known anew.
    Total {
        /// The call.
        call: CallId,
        /// The total.
        total: u16,
        /// Why.
        why: String,
    },
    /// A segment's manifest is final.
    Sealed {
        /// Which.
        segment: SegmentId,
        /// Its manifest, beside this log.
        manifest: String,
        /// The SHA-256 of the manifest's file.
        sha256: String,
    },
    /// A segment was found open and was closed.
    Repaired {
        /// Which.
        segment: SegmentId,
        /// What was done, in words.
        what: Vec<String>,
    },
    /// Something of a newer callspool; kept as it stands.
    #[serde(untagged)]
    Other(serde_json::Value),
}

/// A line, read.
#[derive(Clone, PartialEq, Debug)]
pub struct LogLine {
    /// When.
    pub at: WallTime,
    /// What.
    pub entry: Entry,
}

/// A stretch of a log that is no line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogDamage {
    /// Where it begins, in octets.
    pub at: usize,
    /// How long it is.
    pub octets: usize,
    /// Whether the log ends with it: a write that was cut, not one that was changed.
    pub torn: bool,
}

/// How every line begins.
const BEGIN: &str = "{\"crc\":\"";

#[derive(Serialize)]
struct LineOut<'a> {
    at: WallTime,
    entry: &'a Entry,
}

#[derive(Deserialize)]
struct LineIn {
    at: WallTime,
    entry: Entry,
}

/// The bytes of a line, its line feed included.
#[must_use]
pub fn line(at: WallTime, entry: &Entry) -> Vec<u8> {
    // Entries are plain data with text keys: they always serialize.
    let object = serde_json::to_string(&LineOut { at, entry }).unwrap_or_default();
    let covered = object.strip_prefix('{').unwrap_or(&object);
    let crc = crc32fast::hash(covered.as_bytes());
    format!("{BEGIN}{crc:08x}\",{covered}\n").into_bytes()
}

/// Reads a log. Blank lines are nothing.
#[must_use]
pub fn read(bytes: &[u8]) -> (Vec<LogLine>, Vec<LogDamage>) {
    let (mut lines, mut damage) = (Vec::new(), Vec::new());
    let mut at = 0;
    for whole in bytes.split_inclusive(|c| *c == b'\n') {
        let ended = whole.strip_suffix(b"\n");
        let text = ended.unwrap_or(whole);
        // A whole line may stand behind a torn one.
        let begin = rfind(text, BEGIN.as_bytes()).unwrap_or(0);
        match read_line(&text[begin..]) {
            Some(line) => {
                lines.push(line);
                if begin > 0 {
                    damage.push(LogDamage { at, octets: begin, torn: true });
                }
            }
            None if text.is_empty() => {}
            None => damage.push(LogDamage { at, octets: text.len(), torn: ended.is_none() }),
        }
        at += whole.len();
    }
    (lines, damage)
}

fn read_line(text: &[u8]) -> Option<LogLine> {
    let rest = text.strip_prefix(BEGIN.as_bytes())?;
    let (crc, rest) = rest.split_at_checked(8)?;
    let covered = rest.strip_prefix(b"\",")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    if crc32fast::hash(covered) != crc {
        return None;
    }
    let line: LineIn = serde_json::from_slice(&[b"{", covered].concat()).ok()?;
    Some(LogLine { at: line.at, entry: line.entry })
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|w| w == what)
}

/// The newest state that a log tells of for something.
#[must_use]
pub fn state_of(lines: &[LogLine], of: CopyOf) -> Option<RecordingState> {
    lines.iter().rev().find_map(|line| match &line.entry {
        Entry::State { copy, .. } if copy.of == of => Some(copy.state),
        _ => None,
    })
}
