//! The call's log: what has become of its segments, one JSON object a line, append only.
//!
//! ```text
//! {"crc":"1c291ca3","at":"2026-11-20T09:15:42.000000Z","entry":{"type":"state", …}}
//!         └ CRC-32 (IEEE) in hexadecimal of every octet from the quote before `at` to the closing brace
//! ```
//!
//! A line is written in one append. A process that dies inside leaves a torn line, or a whole one without its line
//! feed, and the next line then stands right behind it: the reader finds it again by its `{"crc":"`, which cannot
//! stand inside a JSON text.
//! What cannot be read is reported with its place, and never hides what follows.

use std::collections::{BTreeMap, BTreeSet};

use model::note::Subject;
use model::{
    CallId, Copy, CopyOf, Correction, Join, NodeNumber, Note, PauseSource, RecordingState, SegmentId,
    WallTime,
};
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
    /// Somebody asked for a pause of a segment.
    Paused {
        /// Which.
        segment: SegmentId,
        /// Who.
        by: PauseSource,
    },
    /// A pause of a segment ended.
    Resumed {
        /// Which.
        segment: SegmentId,
        /// Who asked.
        by: PauseSource,
    },
    /// Somebody noted something of the call.
    Noted {
        /// What.
        note: Note,
        /// Who.
        by: String,
    },
    /// Another call turned out to be this one. Its segments have numbers in this one from now on; its files stay where
    /// they are.
    Joined(Join),
    /// This call turned out to be another, which survives. The same as stands in the log of that one: either is enough.
    JoinedInto(Join),
    /// Somebody corrected who is agent and who is external.
    Sides(Correction),
    /// Copies were given up here, as the call is gathered at another node. What the first octets of this log say is said
    /// there too.
    GivenUp {
        /// For whom.
        to: NodeNumber,
        /// How many octets.
        octets: u64,
    },
    /// Something of a newer callspool; kept as it stands.
    #[serde(untagged)]
    Other(serde_json::Value),
}

impl Entry {
    /// The segment that it speaks of, if it is one.
    #[must_use]
    pub const fn segment(&self) -> Option<SegmentId> {
        match self {
            Self::Opened { segment, .. }
            | Self::Sealed { segment, .. }
            | Self::Repaired { segment, .. }
            | Self::Paused { segment, .. }
            | Self::Resumed { segment, .. } => Some(*segment),
            Self::State { copy: Copy { of: CopyOf::Segment(segment), .. }, .. } => Some(*segment),
            _ => None,
        }
    }
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
        if let Some(line) = read_line(text) {
            lines.push(line);
        } else {
            // One may stand behind a torn one, or behind one that only lacks its line feed.
            let mut begins = begins(text).filter(|begin| *begin > 0).chain([text.len()]);
            let mut from = 0;
            while let Some(to) = begins.next().filter(|to| *to > from) {
                match read_line(&text[from..to]) {
                    Some(line) => lines.push(line),
                    None => {
                        let torn = ended.is_none() || to < text.len();
                        damage.push(LogDamage { at: at + from, octets: to - from, torn });
                    }
                }
                from = to;
            }
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

/// Where something stands that begins as a line does.
fn begins(text: &[u8]) -> impl Iterator<Item = usize> {
    text.windows(BEGIN.len()).enumerate().filter(|(_, w)| *w == BEGIN.as_bytes()).map(|(at, _)| at)
}

/// The newest state that a log tells of for something.
#[must_use]
pub fn state_of(lines: &[LogLine], of: CopyOf) -> Option<RecordingState> {
    lines.iter().rev().find_map(|line| match &line.entry {
        Entry::State { copy, .. } if copy.of == of => Some(copy.state),
        _ => None,
    })
}

/// The newest total that a log tells of for a call.
#[must_use]
pub fn total_of(lines: &[LogLine], of: CallId) -> Option<u16> {
    lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Total { call, total, .. } if *call == of => Some(*total),
        _ => None,
    })
}

/// A note, as a log has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noted {
    /// When it was made.
    pub at: WallTime,
    /// What it says.
    pub note: Note,
    /// Who made it.
    pub by: String,
}

/// The newest note on each subject, also where that takes something away.
#[must_use]
pub fn notes_of(lines: &[LogLine]) -> BTreeMap<Subject, Noted> {
    let noted = lines.iter().filter_map(|line| match &line.entry {
        Entry::Noted { note, by } => Some(Noted { at: line.at, note: note.clone(), by: by.clone() }),
        _ => None,
    });
    noted.map(|n| (n.note.subject(), n)).collect()
}

/// All joins that a log tells of, in the order in which they stand there, those of the same two calls once.
#[must_use]
pub fn joins_of(lines: &[LogLine]) -> Vec<&Join> {
    let mut joins: Vec<&Join> = Vec::new();
    for line in lines {
        if let Entry::Joined(join) | Entry::JoinedInto(join) = &line.entry
            && join.is_sound()
            && !joins.iter().any(|j| j.is_of(join))
        {
            joins.push(join);
        }
    }
    joins
}

/// The newest correction of sides that a log has for a call.
#[must_use]
pub fn correction_of(lines: &[LogLine], call: CallId) -> Option<&Correction> {
    corrections_of(lines).filter(|c| c.calls.contains(&call)).max_by_key(|c| c.at)
}

/// The newest correction of sides that a log has for any of some calls.
#[must_use]
pub fn correction_for<'a>(lines: &'a [LogLine], calls: &BTreeSet<CallId>) -> Option<&'a Correction> {
    let of_them = |c: &&Correction| c.calls.iter().any(|call| calls.contains(call));
    corrections_of(lines).filter(of_them).max_by_key(|c| c.at)
}

/// All corrections of sides, in the order in which they stand there.
pub fn corrections_of(lines: &[LogLine]) -> impl Iterator<Item = &Correction> {
    lines.iter().filter_map(|line| match &line.entry {
        Entry::Sides(correction) => Some(correction),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use model::{Location, Sides};
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    const AT: WallTime = WallTime::from_millis(1_795_166_100_000);

    fn entries() -> Vec<Entry> {
        let segment = SegmentId::from_u64(7);
        let copy = Copy {
            of: CopyOf::Segment(segment),
            at: Location::Node(NodeNumber::SINGLE),
            state: RecordingState::Partial,
        };
        vec![
            Entry::Opened {
                segment,
                number: 1,
                manifest: "001.json".into(),
                state: RecordingState::Incomplete,
            },
            Entry::State {
                copy,
                from: Some(RecordingState::Incomplete),
                why: "a \"quote\"\nand {\"crc\":\"".into(),
            },
            Entry::Total { call: CallId::from_u64(3), total: 2, why: "hold".into() },
            Entry::Sealed { segment, manifest: "001.json".into(), sha256: "ab".repeat(32) },
            Entry::Repaired { segment, what: vec!["one".into(), "two".into()] },
            Entry::Noted { note: Note::Tagged { tag: "vip".parse().unwrap() }, by: "api".into() },
            Entry::Joined(fixture::join(1, 2)),
            Entry::JoinedInto(fixture::join(1, 2)),
            Entry::Sides(corrected(AT, true)),
            Entry::GivenUp { to: NodeNumber::SINGLE, octets: 77 },
        ]
    }

    fn corrected(at: WallTime, swapped: bool) -> Correction {
        let sides = |swapped| Sides { swapped, ..Sides::default() };
        let calls = vec![CallId::from_u64(1), CallId::from_u64(2)];
        Correction { calls, from: sides(!swapped), to: sides(swapped), at, by: "api".into() }
    }

    fn whole() -> Vec<u8> {
        entries().iter().flat_map(|e| line(AT, e)).collect()
    }

    #[test]
    fn lines_round_trip_and_are_json() {
        let bytes = whole();
        let (lines, damage) = read(&bytes);
        assert_eq!(damage, []);
        assert_eq!(lines.iter().map(|l| &l.entry).collect::<Vec<_>>(), entries().iter().collect::<Vec<_>>());
        for text in bytes.split(|c| *c == b'\n').filter(|l| !l.is_empty()) {
            let value: serde_json::Value = serde_json::from_slice(text).unwrap();
            assert!(value["entry"]["type"].is_string(), "{value}");
        }
    }

    #[test]
    fn the_crc_is_of_what_the_header_says() {
        let text = String::from_utf8(line(AT, &entries()[2])).unwrap();
        let covered = text.trim_end().split_once("\",").unwrap().1;
        assert!(text.starts_with(&format!("{{\"crc\":\"{:08x}\",", crc32fast::hash(covered.as_bytes()))));
    }

    #[test]
    fn entries_of_a_later_callspool_are_kept() {
        let covered = "\"at\":\"2026-11-20T09:15:00Z\",\"entry\":{\"type\":\"hold\",\"until\":\"2030\"}}";
        let crc = crc32fast::hash(covered.as_bytes());
        let (lines, damage) = read(format!("{{\"crc\":\"{crc:08x}\",{covered}\n").as_bytes());
        assert_eq!(damage, []);
        assert!(matches!(&lines[..], [LogLine { entry: Entry::Other(v), .. }] if v["until"] == "2030"));
    }

    #[test]
    fn the_newest_note_on_a_subject_counts() {
        let tag = |t: &str| Note::Tagged { tag: t.parse().unwrap() };
        let put = |v: &str| Note::Put { key: "ticket".parse().unwrap(), value: v.parse().unwrap() };
        let notes = [tag("vip"), put("T-1"), Note::Untagged { tag: "vip".parse().unwrap() }, put("T-2")];
        let bytes: Vec<u8> =
            notes.into_iter().flat_map(|note| line(AT, &Entry::Noted { note, by: "api".into() })).collect();
        let newest: Vec<Note> = notes_of(&read(&bytes).0).into_values().map(|n| n.note).collect();
        assert_eq!(newest, [Note::Untagged { tag: "vip".parse().unwrap() }, put("T-2")]);
    }

    #[test]
    fn joins_are_told_once_whichever_side_noted_them() {
        let (mut lines, _) = read(&whole());
        let backwards = fixture::join(2, 1);
        lines.push(LogLine { at: AT, entry: Entry::Joined(backwards) });
        assert_eq!(joins_of(&lines), [&fixture::join(1, 2)]);
    }

    #[test]
    fn the_newest_correction_counts_wherever_it_stands() {
        let (mut lines, _) = read(&whole());
        let older = corrected(WallTime::from_millis(1), false);
        lines.push(LogLine { at: AT, entry: Entry::Sides(older) });
        for (call, swapped) in [(1, Some(true)), (2, Some(true)), (3, None)] {
            let found = correction_of(&lines, CallId::from_u64(call)).map(|c| c.to.swapped);
            assert_eq!(found, swapped, "{call}");
        }
        assert_eq!(corrections_of(&lines).count(), 2);
    }

    #[test]
    fn the_newest_state_counts() {
        let (lines, _) = read(&whole());
        assert_eq!(state_of(&lines, CopyOf::Segment(SegmentId::from_u64(7))), Some(RecordingState::Partial));
        assert_eq!(state_of(&lines, CopyOf::Segment(SegmentId::from_u64(8))), None);
        assert_eq!(total_of(&lines, CallId::from_u64(3)), Some(2));
    }

    proptest! {
        #[test]
        fn a_torn_write_hides_nothing(at in any::<prop::sample::Index>()) {
            let torn = line(AT, &entries()[1]);
            let cut = at.index(torn.len());
            let mut bytes = whole();
            bytes.extend_from_slice(&torn[..cut]);
            let (lines, damage) = read(&bytes);
            // All but the line feed may have been written: then the line counts.
            let complete = usize::from(cut == torn.len() - 1);
            prop_assert_eq!(lines.len(), entries().len() + complete);
            prop_assert_eq!(damage.len(), usize::from(cut > 0) - complete);
            prop_assert!(damage.iter().all(|d| d.torn));
            bytes.extend_from_slice(&line(AT, &entries()[0]));
            let (lines, damage) = read(&bytes);
            prop_assert_eq!(lines.len(), entries().len() + complete + 1);
            prop_assert!(damage.iter().all(|d| d.torn));
        }

        #[test]
        fn a_lost_line_feed_costs_nothing(which in any::<prop::sample::Index>()) {
            let mut bytes = whole();
            let feeds: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
            bytes.remove(feeds[which.index(feeds.len())]);
            let (lines, damage) = read(&bytes);
            prop_assert_eq!(lines.len(), entries().len());
            prop_assert_eq!(damage, vec![]);
        }

        #[test]
        fn a_changed_octet_costs_its_line_at_most(at in any::<prop::sample::Index>(), by in 1_u8..) {
            let mut bytes = whole();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let (lines, damage) = read(&bytes);
            // A line feed in the wrong place tears a line in two, a missing one joins two.
            prop_assert!(lines.len() >= entries().len() - 2);
            prop_assert!(!damage.is_empty());
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
