//! Ids by which requests show which call they are of, read from headers, From parameters and metadata.
//!
//! Clients fill ids with what is none: zeros, `unknown`, the number of the phone. Such a value is passed over, for it
//! would make one call of all.

use std::borrow::Cow;
use std::collections::BTreeSet;

use model::JoinReason;
use serde::{Deserialize, Serialize};
use sip::RequestInfo;
use sip::siprec;

use crate::bridge::{self, Bridge};
use crate::describe::{Documents, spoken};

/// Octets of an id: the longest known are 64 of base64 and hexadecimal.
const ID_BYTES_MAX: usize = 256;
/// Octets of an id that nobody guesses: 64 bits in hexadecimal.
const TELLING_BYTES_MIN: usize = 16;
/// Ids taken of one request.
const KEYS_MAX: usize = 32;

/// The ids of vendors, by the header that holds the whole of it.
const HEADERS: [(&str, &str); 4] = [
    ("X-BroadWorks-Correlation-Info", "broadworks"),
    ("X-Genesys-CallUUID", "genesys-call-uuid"),
    ("X-Avaya-UCID", "ucid"),
    ("X-UCID", "ucid"),
];

/// An id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Key {
    /// A dialog with us, by its Call-ID.
    Dialog(String),
    /// The UUID of an end of a session (RFC 7989), in hexadecimal.
    SessionId(String),
    /// The id of a vendor or of metadata, by its name.
    Vendor(Cow<'static, str>, String),
    /// The same where it is short or counted up: among calls of one trunk it tells all the same.
    Counted(Cow<'static, str>, String),
}

impl Key {
    /// Whether a client may guess the value of another one's.
    pub(crate) const fn is_guessable(&self) -> bool {
        matches!(self, Self::Counted(..))
    }

    /// Whether it may turn up again when all dialogs of the call are over.
    pub(crate) const fn lasts(&self) -> bool {
        !matches!(self, Self::Dialog(_))
    }

    pub(crate) fn reason(&self) -> JoinReason {
        match self {
            Self::Dialog(_) => JoinReason::Dialog,
            Self::SessionId(_) => JoinReason::SessionId,
            Self::Vendor(name, _) | Self::Counted(name, _) => JoinReason::Vendor(name.clone().into_owned()),
        }
    }
}

/// A phone's line in a call with somebody: shared lines are told apart by the device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Line {
    device: String,
    number: String,
    other: String,
}

#[cfg(test)]
impl Line {
    pub(super) fn of(device: &str, number: &str, other: &str) -> Self {
        Self { device: device.to_owned(), number: number.to_owned(), other: other.to_owned() }
    }
}

/// What a request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The dialog itself.
    pub(crate) own: Option<Key>,
    /// Dialogs that it names.
    pub(crate) named: Vec<Key>,
    /// Ids that it has, and by which it is found.
    pub(crate) keys: Vec<Key>,
    /// The line that it is on.
    pub(crate) line: Option<Line>,
    /// Ids of the other party's leg.
    pub(crate) far: BTreeSet<String>,
}

/// Reads what a request says, with its metadata.
pub(crate) fn read(request: &RequestInfo, documents: &Documents<'_>) -> Said {
    let mut said = Said { own: dialog(&request.call_id), ..Said::default() };
    for header in ["Replaces", "Join", "Target-Dialog"] {
        let named = request.header(header).and_then(|v| dialog(v.split(';').next().unwrap_or_default()));
        said.named.extend(named);
    }
    if let Some(value) = request.header("Session-ID") {
        said.session_id(value);
    }
    if let Some(guid) = request.header("Cisco-Guid").and_then(guid) {
        said.far.insert(guid.clone());
        said.add(Key::Vendor("cisco-guid".into(), guid));
    }
    if let Some(ucid) = request.header("User-to-User").and_then(ucid_of_user_data) {
        said.add(Key::Counted("ucid".into(), ucid));
    }
    for (header, name) in HEADERS {
        if let Some(value) = request.header(header) {
            said.vendor(name, value);
        }
    }
    if let Some(bridge) = bridge::read(request) {
        said.bridge(&bridge);
    }
    for metadata in documents.readable() {
        said.metadata(metadata);
    }
    said
}

impl Said {
    fn add(&mut self, key: Key) {
        if self.keys.len() < KEYS_MAX && !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// Each end of a session has an UUID, which it keeps when the other end changes: either tells. Requests of both
    /// ends have them the other way round; who does not know the other end yet says nil.
    fn session_id(&mut self, value: &str) {
        let mut pieces = value.split(';');
        let local = pieces.next();
        let remote = pieces.find_map(|p| p.trim().strip_prefix("remote="));
        for uuid in [local, remote].into_iter().flatten().filter_map(uuid) {
            self.add(Key::SessionId(uuid));
        }
    }

    fn vendor(&mut self, name: &'static str, value: &str) {
        let value = value.trim().trim_matches('"');
        let value = if name == "ucid" { ucid(value) } else { Some(value.to_owned()) };
        let Some(value) = value.filter(|v| is_telling(v)) else { return };
        // A UCID is a node, a count and a time.
        self.add(if value.len() >= TELLING_BYTES_MIN && name != "ucid" {
            Key::Vendor(name.into(), value)
        } else {
            Key::Counted(name.into(), value)
        });
    }

    fn bridge(&mut self, bridge: &Bridge) {
        let cluster = bridge.cluster.as_deref().unwrap_or("-");
        let device = bridge.device.as_deref().unwrap_or("-");
        if let Some(refci) = bridge.refci.as_deref().filter(|r| is_count(r)) {
            self.add(Key::Counted("x-refci".into(), format!("{cluster}/{device}/{refci}")));
        }
        if let Some(far) = bridge.far_refci.as_deref().filter(|r| is_count(r)) {
            self.far.insert(format!("{cluster}/{far}"));
            self.add(Key::Counted("x-farendrefci".into(), format!("{cluster}/{far}")));
        }
        if let Some(guid) = bridge.far_guid.as_deref().and_then(guid) {
            self.far.insert(guid.clone());
            self.add(Key::Vendor("cisco-guid".into(), guid));
        }
        let other = bridge.far_address.as_deref().filter(|a| !is_nobody(a));
        if let (Some(device), Some(number), Some(other)) = (&bridge.device, &bridge.address, other) {
            let (device, number, other) = (device.clone(), number.clone(), other.to_owned());
            self.line = Some(Line { device, number, other });
        }
    }

    fn metadata(&mut self, metadata: &siprec::RecordingMetadata) {
        for value in metadata.sessions.iter().flat_map(|s| &s.sip_session_ids) {
            self.session_id(value);
        }
        for session in &metadata.sessions {
            self.vendor("siprec-session", &session.id);
            // Avaya has the UCID for an id of the session.
            self.vendor("ucid", &session.id);
        }
        for group in &metadata.groups {
            self.vendor("siprec-group", &group.id);
        }
        let of_all = metadata.participants.iter().flat_map(|p| p.extensions.iter());
        for (name, value) in metadata.extensions.iter().chain(of_all) {
            match &*spoken(name) {
                "ucid" | "avayaucid" => self.vendor("ucid", value),
                "exttrackingid" | "trackingid" => self.vendor("tracking-id", value),
                "guid" | "ciscoguid" | "sessionguid" => {
                    if let Some(guid) = guid(value) {
                        self.add(Key::Vendor("cisco-guid".into(), guid));
                    }
                }
                _ => {}
            }
        }
    }
}

fn dialog(call_id: &str) -> Option<Key> {
    let call_id = call_id.trim();
    (!call_id.is_empty() && call_id.len() <= ID_BYTES_MAX).then(|| Key::Dialog(call_id.to_owned()))
}

/// 32 hexadecimal digits, with or without hyphens; none if it is nil.
fn uuid(text: &str) -> Option<String> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').take(33).collect();
    let is_one = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && !is_constant(&digits);
    is_one.then(|| digits.to_ascii_lowercase())
}

/// A Cisco-Guid: four decimal numbers of 32 bits, `0317806592-0000065536-…`, or the same in hexadecimal.
fn guid(text: &str) -> Option<String> {
    let numbers: Vec<&str> = text.trim().split('-').collect();
    if let [a, b, c, d] = numbers.as_slice()
        && [a, b, c, d].into_iter().any(|n| n.len() > 8)
    {
        let number = |n: &str| n.parse::<u32>().ok().map(|n| format!("{n:08x}"));
        return uuid(&[number(a)?, number(b)?, number(c)?, number(d)?].concat());
    }
    let joined: String = numbers.concat().split_whitespace().collect();
    uuid(&joined)
}

/// The UCID in the user-to-user data of an Avaya system: element FA of 8 octets, in hexadecimal.
fn ucid_of_user_data(text: &str) -> Option<String> {
    let hex = text.split(';').next()?.trim().trim_matches('"').to_ascii_lowercase();
    let hex = hex.get(..hex.len().min(ID_BYTES_MAX))?;
    let at = (0..hex.len().saturating_sub(3)).step_by(2).find(|at| hex.get(*at..at + 4) == Some("fa08"))?;
    ucid(hex.get(at + 4..at + 20)?)
}

/// A UCID as 16 hexadecimal digits: it is written so, or as 20 decimal ones (node 5, number 5, time 10).
fn ucid(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit()) {
        let node: u16 = text.get(..5)?.parse().ok()?;
        let number: u16 = text.get(5..10)?.parse().ok()?;
        let time: u32 = text.get(10..)?.parse().ok()?;
        return Some(format!("{node:04x}{number:04x}{time:08x}"));
    }
    let is_one = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

/// Whether a value tells calls apart: no constant, no word for nothing, no phone number.
fn is_telling(value: &str) -> bool {
    let digits = value.strip_prefix('+').unwrap_or(value);
    // E.164 numbers have 15 digits at most.
    let is_number = digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit());
    (6..=ID_BYTES_MAX).contains(&value.len())
        && !is_number
        && !is_constant(value)
        && !is_nobody(value)
        && !value.contains('@')
}

/// Whether it is one character again and again, separators apart: nil.
fn is_constant(value: &str) -> bool {
    let mut chars = value.chars().filter(|c| c.is_alphanumeric());
    let first = chars.next();
    chars.all(|c| Some(c) == first)
}

/// A number that a cluster counts up.
fn is_count(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 20
        && value.bytes().all(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b != b'0')
}

/// Whether it is a word for nobody and nothing.
fn is_nobody(value: &str) -> bool {
    const WORDS: [&str; 11] = [
        "",
        "-",
        "anonymous",
        "unknown",
        "unavailable",
        "private",
        "restricted",
        "null",
        "none",
        "undefined",
        "invalid",
    ];
    WORDS.iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_id_and_what_is_none() {
        for (value, expected) in [
            ("00000000-0000-0000-0000-000000000000", false),
            ("unknown", false),
            ("UNDEFINED", false),
            ("+493012345678", false),
            ("1001", false),
            ("abc", false),
            ("user@pbx.example", false),
            ("48ad7b9a-1c", true),
            ("hVpd7YQgRW2nD22h7q60JQ==", true),
            ("00001024681577812345", true),
        ] {
            assert_eq!(is_telling(value), expected, "{value}");
        }
    }

    #[test]
    fn the_forms_of_ids_are_read_as_one() {
        let hex = "12f15a80000100000000000bf38f00aa";
        assert_eq!(guid("12F15A80-0001-0000-0000-000BF38F00AA").as_deref(), Some(hex));
        assert_eq!(guid("0317807232-0000065536-0000000011-4086235306").as_deref(), Some(hex));
        assert_eq!(guid("0-0-0-0"), None);
        assert_eq!(guid("0000000000-0000000000-0000000000-0000000000"), None);
        assert_eq!(guid("99999999999-1-2-3"), None);
        let ucid_hex = "0001040051c2a3f0";
        assert_eq!(ucid("00001010241371710448").as_deref(), Some(ucid_hex));
        assert_eq!(ucid_of_user_data("00FA080001040051C2A3F0;encoding=hex").as_deref(), Some(ucid_hex));
        assert_eq!(ucid_of_user_data("04C8143132"), None);
        assert_eq!(ucid_of_user_data("fa08"), None);
    }

    #[test]
    fn both_ends_of_a_session_id_tell_and_nil_does_not() {
        let (a, b) = ("ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2");
        let keys = |value: &str| {
            let mut said = Said::default();
            said.session_id(value);
            said.keys.iter().map(|k| format!("{k:?}").replace("SessionId", "")).collect::<Vec<_>>()
        };
        let of = |id: &str| format!("(\"{id}\")");
        assert_eq!(keys(&format!("{a};remote={b}")), [of(a), of(b)]);
        assert_eq!(keys(&format!("{b};remote={a}")), [of(b), of(a)]);
        assert_eq!(keys(&format!("{a};remote={}", "0".repeat(32))), [of(a)]);
        assert_eq!(keys("junk;remote="), Vec::<String>::new());
    }
}
