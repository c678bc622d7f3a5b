//! Where things lie in a repository, and what they are called.
//!
//! ```text
//! <repository>/<tenant>/<UTC date of the call's start>/<call id>/   the call's directory
//!     001.json        manifest of segment 1          (stem "001")
//!     001-1.mka       its first part
//!     001-2.mka       its second part
//!     001.pcap        its sidecar
//!     002.json …      segment 2
//!     003.json.partial …  what is being fetched from another node
//!     twin/001.json …     the other copy of segment 1, where two record servers recorded it, with a log of its own
//!     call.log        what has become of all of it
//! <repository>/live/markers                          the segments that are being written (see [`crate::markers`])
//! <repository>/live/spare/<n>                        what a live manifest is written to before it is exchanged
//! <repository>/live/<segment id>                     a segment that was being written, as versions before marked it
//! ```
//!
//! The stem is the segment's number. Two dialogs of one call may have begun as two calls and been given the
//! same number; the second one that is opened in a directory is then called `001-<segment id>`, and so are its
//! parts (`001-<segment id>-1.mka`). The number in a name is only a name: the manifest says which it is.

use model::{CallId, SegmentId, TenantId, WallTime};

/// The directory of what is there for live segments: no tenant is called so.
pub const LIVE_DIR: &str = "live";
/// The file that says which segments are live.
pub const MARKERS_PATH: &str = "live/markers";
/// The directory of files that manifests are written to, to be exchanged with those that are in their places.
pub const SPARE_DIR: &str = "live/spare";
/// The name of a call's log.
pub const LOG_NAME: &str = "call.log";
/// The name of the directory of second copies, in that of the call.
const TWIN_NAME: &str = "twin";

/// The directory of a call.
#[must_use]
pub fn call_directory(tenant: &TenantId, call_started: WallTime, call: CallId) -> String {
    format!("{tenant}/{}/{call}", call_started.utc_date())
}

/// Where the second copies of a call's segments lie: what two record servers recorded has the same names at both.
#[must_use]
pub fn twin_directory(call_directory: &str) -> String {
    format!("{call_directory}/{TWIN_NAME}")
}

/// The path of a call's log.
#[must_use]
pub fn log_path(directory: &str) -> String {
    format!("{directory}/{LOG_NAME}")
}

/// What a segment's live marker is called. Versions before had a file of that name; now [one file](crate::markers) has all.
#[must_use]
pub fn marker_path(segment: SegmentId) -> String {
    format!("{LIVE_DIR}/{segment}")
}

/// The segment of a live marker, by what it is called.
#[must_use]
pub fn marked_segment(marker_path: &str) -> Option<SegmentId> {
    marker_path.strip_prefix(LIVE_DIR)?.strip_prefix('/')?.parse().ok()
}

/// What the files of a segment are called: its number, and its id too when that name is taken.
#[must_use]
pub fn stem(number: u16, segment: SegmentId, taken: &[String]) -> String {
    let plain = format!("{number:03}");
    if taken.iter().any(|name| *name == format!("{plain}.json")) {
        stem_by_id(number, segment)
    } else {
        plain
    }
}

/// The same where that name may be taken at another record server.
#[must_use]
pub fn stem_by_id(number: u16, segment: SegmentId) -> String {
    format!("{number:03}-{segment}")
}

/// The name of a manifest.
#[must_use]
pub fn manifest_name(stem: &str) -> String {
    format!("{stem}.json")
}

/// The name of a part.
#[must_use]
pub fn part_name(stem: &str, part: u16) -> String {
    format!("{stem}-{part}.mka")
}

/// The name of a sidecar.
#[must_use]
pub fn sidecar_name(stem: &str) -> String {
    format!("{stem}.pcap")
}

/// What a file is called as long as it is not all there: it is being fetched from another node.
#[must_use]
pub fn partial_name(name: &str) -> String {
    format!("{name}{PARTIAL}")
}

/// Whether a file is called so.
#[must_use]
pub fn is_partial(name: &str) -> bool {
    name.ends_with(PARTIAL)
}

const PARTIAL: &str = ".partial";

/// Which part of the segment with this stem a file is, if it is one.
#[must_use]
pub fn part_number(stem: &str, name: &str) -> Option<u16> {
    let digits = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".mka")?;
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|n| plain && *n > 0)
}

/// A path of a manifest, taken apart again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestPath {
    /// The call's directory.
    pub directory: String,
    /// The owner.
    pub tenant: TenantId,
    /// The call.
    pub call: CallId,
    /// What the segment's files are called.
    pub stem: String,
    /// The number that the name says.
    pub number: u16,
}

/// Text that is no path of a manifest: it would lead out of the repository, or is torn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is no path of a manifest: <tenant>/<date>/<call id>/<number>.json is expected")]
pub struct NotAManifestPath(String);

impl ManifestPath {
    /// Takes a path apart. What passes cannot lead out of the repository.
    pub fn parse(path: &str) -> Result<Self, NotAManifestPath> {
        Self::try_parse(path).ok_or_else(|| NotAManifestPath(path.chars().take(120).collect()))
    }

    fn try_parse(path: &str) -> Option<Self> {
        let mut pieces = path.split('/');
        let (tenant, date, call, name) = (pieces.next()?, pieces.next()?, pieces.next()?, pieces.next()?);
        let date_like = date.len() <= 12 && date.bytes().all(|c| c.is_ascii_digit() || c == b'-');
        if pieces.next().is_some() || !date_like || date.is_empty() {
            return None;
        }
        let stem = name.strip_suffix(".json")?;
        let (digits, rest) = stem.split_once('-').map_or((stem, None), |(n, id)| (n, Some(id)));
        if let Some(id) = rest {
            id.parse::<SegmentId>().ok()?;
        }
        let plain = (3..=5).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
        Some(Self {
            directory: format!("{tenant}/{date}/{call}"),
            tenant: tenant.parse().ok()?,
            call: call.parse().ok()?,
            stem: stem.to_owned(),
            number: digits.parse().ok().filter(|_| plain)?,
        })
    }

    /// The path again.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.directory, manifest_name(&self.stem))
    }
}

/// What a live marker holds: the path of the manifest and a line feed.
#[must_use]
pub fn marker_bytes(manifest_path: &str) -> Vec<u8> {
    format!("{manifest_path}\n").into_bytes()
}

/// Reads a live marker. Without its line feed it is torn: it is the first thing written of a segment, so
/// nothing else of it exists then.
pub fn read_marker(bytes: &[u8]) -> Result<ManifestPath, NotAManifestPath> {
    let text = String::from_utf8_lossy(bytes);
    match text.strip_suffix('\n') {
        Some(path) => ManifestPath::parse(path),
        None => Err(NotAManifestPath(text.chars().take(120).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn a_taken_number_is_told_apart_by_the_id() {
        let id = SegmentId::from_u64(77);
        assert_eq!(stem(1, id, &[]), "001");
        assert_eq!(stem(1, id, &["002.json".into()]), "001");
        assert_eq!(stem(1, id, &["001.json".into()]), format!("001-{id}"));
        assert_eq!(stem_by_id(1, id), format!("001-{id}"));
    }

    #[test]
    fn parts_of_one_segment_are_not_taken_for_those_of_another() {
        let long = format!("001-{}", SegmentId::from_u64(77));
        for (stem, name, expected) in [
            ("001", "001-1.mka", Some(1)),
            ("001", "001-12.mka", Some(12)),
            ("001", "001-0.mka", None),
            ("001", "001-+1.mka", None),
            ("001", "001.mka", None),
            ("001", "0011-1.mka", None),
            ("001", &part_name(&long, 3), None),
            (&long, &part_name(&long, 3), Some(3)),
        ] {
            assert_eq!(part_number(stem, name), expected, "{stem} {name}");
        }
    }

    #[test]
    fn a_marker_leads_nowhere_else() {
        let call = CallId::from_u64(5);
        let good = format!("default/2026-11-20/{call}/001.json");
        assert_eq!(read_marker(&marker_bytes(&good)).unwrap().path(), good);
        for bad in [
            good.as_str(),
            "\n",
            "../../etc/passwd\n",
            &format!("default/../{call}/001.json\n"),
            &format!("default/2026-11-20/{call}/../001.json\n"),
            &format!("/default/2026-11-20/{call}/001.json\n"),
            &format!("default/2026-11-20/{call}/001-..json\n"),
        ] {
            assert!(read_marker(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn paths_round_trip(number in any::<u16>(), segment in any::<u64>(), twice in any::<bool>()) {
            let id = SegmentId::from_u64(segment);
            let taken = if twice { vec![format!("{number:03}.json")] } else { vec![] };
            let dir = call_directory(&TenantId::default(), WallTime(0), CallId::from_u64(9));
            let path = format!("{dir}/{}", manifest_name(&stem(number, id, &taken)));
            let parsed = ManifestPath::parse(&path).unwrap();
            prop_assert_eq!(parsed.number, number);
            prop_assert_eq!(parsed.path(), path);
        }

        #[test]
        fn any_marker_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_marker(&bytes);
        }
    }
}
