//! The manifest: what a segment is, as JSON that a person can read and a program can check.
//!
//! ```text
//! {
//!   "format": "callspool-segment",
//!   "version": 1,
//!   "checksum": "sha256:<64 hexadecimal digits>",      of every octet after this line's line feed
//!   "sealed": true,
//!   "written": "2026-11-20T09:15:42.000000Z",
//!   "segment": { … }                                   model::SegmentRecord
//! }
//! ```
//!
//! The first four lines always stand so; `tail -n +5 001.json | sha256sum` prints the checksum. A live manifest
//! is replaced as a whole, once a minute and soon after something but counts has changed; a sealed one is never changed. Members that a version
//! does not know are skipped, so additions need no new version; what changes the meaning of what is there does.

use std::io;

use model::{SegmentRecord, WallTime};
use serde::{Deserialize, Serialize};

use crate::codec::TICK_US;
use crate::digest;
use crate::mka::Reader;

/// The version that is written. All that were ever written can be read.
pub const VERSION: u32 = 1;
/// What the member `format` says.
pub const FORMAT: &str = "callspool-segment";

/// A manifest, read.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    /// The version of its format.
    pub version: u32,
    /// Whether it is final.
    pub sealed: bool,
    /// When it was written.
    pub written: WallTime,
    /// What it says.
    pub record: SegmentRecord,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Empty, cut, or something else altogether.
    #[error("no callspool manifest: its first lines are not those of one")]
    NotAManifest,
    /// Made by a newer callspool.
    #[error("manifest version {0} is unknown to this callspool (it knows {VERSION}); use a newer one")]
    UnknownVersion(u32),
    /// The bytes are not those that were written.
    #[error("the manifest's checksum says {says}, its content comes to {found}: it was changed or cut")]
    Checksum {
        /// What stands in it.
        says: String,
        /// What its bytes come to.
        found: String,
    },
    /// The checksum is right but the content is not.
    #[error("the manifest's content cannot be read")]
    Content(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct BodyOut<'a> {
    sealed: bool,
    written: WallTime,
    segment: &'a SegmentRecord,
}

#[derive(Deserialize)]
struct BodyIn {
    sealed: bool,
    written: WallTime,
    segment: SegmentRecord,
}

impl Manifest {
    /// The name of the part that says itself how long it is by now: the newest of a segment in progress.
    #[must_use]
    pub fn growing_part(&self) -> Option<&str> {
        self.record.parts.last().filter(|_| !self.sealed).map(|part| part.file.as_str())
    }

    /// Adds what that part says of its length, and how many octets it has: the manifest is not replaced for that. What
    /// cannot be read adds nothing.
    pub fn catch_up(&mut self, growing: impl io::Read, bytes: u64) {
        let Some(part) = self.record.parts.last_mut().filter(|_| !self.sealed) else { return };
        let Ok(reader) = Reader::new(growing) else { return };
        if let Some((ticks, _)) = reader.head().duration {
            #[expect(clippy::cast_possible_truncation, reason = "what is no length of a call saturates")]
            let ticks = ticks.round() as i64;
            part.duration_us = part.duration_us.max(ticks.saturating_mul(TICK_US));
        }
        part.bytes = part.bytes.max(bytes);
    }
}

/// The bytes of a manifest.
#[must_use]
pub fn to_bytes(record: &SegmentRecord, sealed: bool, written: WallTime) -> Vec<u8> {
    // A record is plain data with text keys: it always serializes. Were it not so, the manifest would hold no
    // segment and be reported as damaged by whoever reads it.
    let body =
        serde_json::to_string_pretty(&BodyOut { sealed, written, segment: record }).unwrap_or_default();
    let body = format!("{}\n", body.strip_prefix("{\n").unwrap_or(&body));
    let checksum = digest::of_bytes(body.as_bytes()).sha256;
    let head = format!(
        "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"checksum\": \"sha256:{checksum}\",\n"
    );
    (head + &body).into_bytes()
}

/// Reads a manifest and checks its checksum.
pub fn read(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let (version, says, body) = split(bytes).ok_or(ManifestError::NotAManifest)?;
    if version != VERSION {
        return Err(ManifestError::UnknownVersion(version));
    }
    let found = digest::of_bytes(body).sha256;
    if says != found {
        return Err(ManifestError::Checksum { says: says.to_owned(), found });
    }
    let object = [b"{\n", body].concat();
    let body: BodyIn = serde_json::from_slice(&object).map_err(ManifestError::Content)?;
    Ok(Manifest { version, sealed: body.sealed, written: body.written, record: body.segment })
}

/// Version, checksum and content, when the first four lines are those of a manifest.
fn split(bytes: &[u8]) -> Option<(u32, &str, &[u8])> {
    let rest = bytes.strip_prefix(b"{\n")?;
    let (format, rest) = line(rest)?;
    let (version, rest) = line(rest)?;
    if format != format!("  \"format\": \"{FORMAT}\",") {
        return None;
    }
    let version = version.strip_prefix("  \"version\": ")?.strip_suffix(',')?.parse().ok()?;
    if version != VERSION {
        // The lines after this one are the other version's own.
        return Some((version, "", rest));
    }
    let (checksum, body) = line(rest)?;
    let says = checksum.strip_prefix("  \"checksum\": \"sha256:")?.strip_suffix("\",")?;
    Some((version, says, body))
}

fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|c| *c == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{START, record};
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    fn sample() -> Vec<u8> {
        to_bytes(&record(1), true, START)
    }

    #[test]
    fn what_is_written_is_read() {
        for sealed in [true, false] {
            let manifest = read(&to_bytes(&record(3), sealed, START)).unwrap();
            let expected = Manifest { version: VERSION, sealed, written: START, record: record(3) };
            assert_eq!(manifest, expected);
        }
    }

    #[test]
    fn it_is_json_with_the_members_that_the_docs_name() {
        let value: serde_json::Value = serde_json::from_slice(&sample()).unwrap();
        let members: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["checksum", "format", "sealed", "segment", "version", "written"]);
        assert_eq!(value["segment"]["parts"][0]["file"], "001-1.mka");
    }

    #[test]
    fn what_is_no_manifest_says_so() {
        let text = String::from_utf8(sample()).unwrap();
        let check = |text: &str, expected: &str| {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        };
        check("", "NotAManifest");
        check("{}", "NotAManifest");
        check("{\"format\":\"callspool-segment\",\"version\":1}", "NotAManifest");
        check(&text.replace("callspool-segment", "someone-elses"), "NotAManifest");
        check(&text.replace("\"version\": 1,", "\"version\": 0,"), "UnknownVersion(0)");
        check(&text.replace("\"version\": 1,", "\"version\": 2,"), "UnknownVersion(2)");
        check(&text.replace("\"number\": 1", "\"number\": 2"), "Checksum");
        check(&text[..text.len() - 1], "Checksum");
        let (head, _) = text.split_once("  \"checksum\"").unwrap();
        let sum = digest::of_bytes(b"}\n").sha256;
        check(&format!("{head}  \"checksum\": \"sha256:{sum}\",\n}}\n"), "Content");
    }

    #[test]
    fn members_of_a_later_callspool_are_skipped() {
        let text = String::from_utf8(sample()).unwrap();
        let body = text.split_once("\",\n  \"sealed\"").unwrap().1;
        let body = format!("  \"later\": [1],\n  \"sealed\"{body}");
        let body = body.replace("\"number\": 1", "\"colour\": \"red\",\n    \"number\": 1");
        let sum = digest::of_bytes(body.as_bytes()).sha256;
        let head = text.split_once("sha256:").unwrap().0;
        let manifest = read(format!("{head}sha256:{sum}\",\n{body}").as_bytes()).unwrap();
        assert_eq!(manifest.record, record(1));
    }

    proptest! {
        #[test]
        fn a_changed_octet_is_noticed(at in any::<prop::sample::Index>(), by in 1_u8..) {
            let mut bytes = sample();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn a_cut_is_noticed(at in any::<prop::sample::Index>()) {
            let bytes = sample();
            prop_assert!(read(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn numbers_round_trip(number in any::<u16>(), bytes in any::<u64>(), us in any::<i64>()) {
            let mut record = record(1);
            record.number = number;
            record.parts[0].bytes = bytes;
            record.parts[0].offset_us = us;
            prop_assert_eq!(read(&to_bytes(&record, true, START)).unwrap().record, record);
        }
    }
}
