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
//! is replaced as a whole at most every few seconds; a sealed one is never changed. Members that a version
//! does not know are skipped, so additions need no new version; what changes the meaning of what is there does.

use model::{SegmentRecord, WallTime};
use serde::{Deserialize, Serialize};

use crate::digest;

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
