//! Ids by which the dialogs and segments of one call are found to be one, under keys that stay the same whatever
//! client says them in whatever place.
//!
//! | key | what | from |
//! | --- | --- | --- |
//! | `session-id` | Session-ID (RFC 7989) | header; `sipSessionID` |
//! | `siprec-session`, `siprec-group` | communication session and its group (RFC 7865) | metadata |
//! | `ucid` | Universal Call ID of Avaya, as 16 hexadecimal digits | User-to-User; `ucid`, `avayaUCID` in extensions |
//! | `cisco-guid` | Cisco-Guid | header; `guid`, `ciscoGuid` in extensions |
//! | `broadworks` | X-BroadWorks-Correlation-Info | header |
//! | `tracking-id` | BroadWorks' external tracking id, and what others call so | `extTrackingID`, `trackingId` in extensions |
//! | `vendor-call-id` | the phone system's own id of the call | `callID`, `globalCallId`, `gcid`, … in extensions |
//! | `user-to-user` | User-to-User (RFC 7433) | header |
//! | `genesys-uuid` | X-Genesys-CallUUID | header |
//! | `av-global-session-id` | Av-Global-Session-ID of Avaya Aura | header |
//! | `icid` | `icid-value` of P-Charging-Vector (RFC 7315) | header |

use model::CallData;
use model::call::CORRELATION_MAX;
use sip::RequestInfo;
use sip::siprec::RecordingMetadata;

use super::spoken;

/// Octets of an id: User-to-User may have 256 hexadecimal digits, no id has more.
const ID_BYTES_MAX: usize = 512;

/// Headers that correlate, and the key that each is kept under.
const HEADERS: [(&str, &str); 6] = [
    ("Session-ID", "session-id"),
    ("Cisco-Guid", "cisco-guid"),
    ("User-to-User", "user-to-user"),
    ("X-BroadWorks-Correlation-Info", "broadworks"),
    ("X-Genesys-CallUUID", "genesys-uuid"),
    ("Av-Global-Session-ID", "av-global-session-id"),
];

/// Names of values in extensions that correlate, without hyphens and underscores, and the key of each.
const EXTENSIONS: [(&str, &str); 13] = [
    ("ucid", "ucid"),
    ("avayaucid", "ucid"),
    ("exttrackingid", "tracking-id"),
    ("trackingid", "tracking-id"),
    ("callid", "vendor-call-id"),
    ("globalcallid", "vendor-call-id"),
    ("gcid", "vendor-call-id"),
    ("globalcallreference", "vendor-call-id"),
    ("callreference", "vendor-call-id"),
    ("interactionid", "vendor-call-id"),
    ("guid", "cisco-guid"),
    ("ciscoguid", "cisco-guid"),
    ("sessionguid", "cisco-guid"),
];

/// Whether a header is an id that is kept as such.
pub(super) fn is_id(header: &str) -> bool {
    HEADERS.iter().any(|(known, _)| header.eq_ignore_ascii_case(known))
}

/// Takes the ids of a request's headers; the first of each stays.
pub(super) fn of_headers(data: &mut CallData, request: &RequestInfo) {
    for (header, key) in HEADERS {
        if let Some(value) = request.header(header) {
            take(data, key, value);
        }
    }
    if let Some(ucid) = request.header("User-to-User").and_then(ucid) {
        take(data, "ucid", &ucid);
    }
    if let Some(icid) = request.header("P-Charging-Vector").and_then(icid) {
        take(data, "icid", icid);
    }
}

/// `icid-value="a.b"` of P-Charging-Vector.
fn icid(value: &str) -> Option<&str> {
    value.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("icid-value").then(|| value.trim().trim_matches('"'))
    })
}

/// Takes the ids of metadata; the first of each stays, but of the communication session the one that there is now.
pub(super) fn of_metadata(data: &mut CallData, known: &RecordingMetadata) {
    for (key, id) in [
        ("siprec-session", known.session().map(|s| &s.id)),
        ("siprec-group", known.groups.first().map(|g| &g.id)),
    ] {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            data.correlation.remove(key);
            take(data, key, id);
        }
    }
    if let Some(id) = known.sessions.iter().flat_map(|s| &s.sip_session_ids).next() {
        take(data, "session-id", id);
    }
    // Avaya has the UCID for an id of the session; others have sixteen digits of their own.
    if let Some(ucid) = known.session().and_then(|s| ucid(&s.id)).filter(|ucid| has_time(ucid)) {
        take(data, "ucid", &ucid);
    }
    let of_participants = known.participants.iter().flat_map(|p| p.extensions.iter());
    for (name, value) in known.extensions.iter().chain(of_participants) {
        let name = spoken(name);
        let Some((_, key)) = EXTENSIONS.iter().find(|(known, _)| *known == name) else { continue };
        let id = if *key == "ucid" { ucid(value) } else { None };
        take(data, key, id.as_deref().unwrap_or(value));
    }
}

fn take(data: &mut CallData, key: &str, id: &str) {
    let id = id.trim();
    let fits = !id.is_empty() && id.len() <= ID_BYTES_MAX;
    if fits && (data.correlation.len() < CORRELATION_MAX || data.correlation.contains_key(key)) {
        data.correlation.entry(key.to_owned()).or_insert_with(|| id.to_owned());
    }
}

/// Whether the time in a UCID, its last eight digits, is one at which calls may have been recorded: 2000 to 2044.
fn has_time(ucid: &str) -> bool {
    let time = ucid.get(8..).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    time.is_some_and(|time| (946_684_800..2_366_841_600).contains(&time))
}

/// A Universal Call ID in one form, out of those in which it is sent: 20 decimal digits (five of the node, five of
/// the sequence, ten of the time), 16 hexadecimal ones, or those behind `FA08` in User-to-User, with parameters.
fn ucid(text: &str) -> Option<String> {
    let digits = text.split(';').next().unwrap_or_default().trim();
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) {
        let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u64>().ok();
        let (node, sequence, time) = (part(0..5)?, part(5..10)?, part(10..20)?);
        let fits = node <= 0xFFFF && sequence <= 0xFFFF && time <= 0xFFFF_FFFF;
        return fits.then(|| format!("{node:04X}{sequence:04X}{time:08X}"));
    }
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_uppercase();
    let id = match digits.find("FA08") {
        // Behind one octet that names the protocol, or behind nothing.
        Some(at @ (0 | 2)) => digits.get(at + 4..at + 20),
        _ => Some(digits.as_str()).filter(|id| id.len() == 16),
    };
    id.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charging_vector_has_an_id() {
        assert_eq!(icid("icid-value=\"a.b-1\";orig-ioi=x"), Some("a.b-1"));
        assert_eq!(icid("orig-ioi=x;icid-value=7"), Some("7"));
        assert_eq!(icid("orig-ioi=x"), None);
    }

    #[test]
    fn a_ucid_in_its_forms() {
        for text in [
            "00FA080001003301C8F5A24B;encoding=hex",
            "fa080001003301c8f5a2",
            "0001003301C8F5A2",
            "00001000510029947298",
        ] {
            assert_eq!(ucid(text).as_deref(), Some("0001003301C8F5A2"), "{text}");
        }
        assert!(has_time("0001003369949E5A") && !has_time("0001003301C8F5A2") && !has_time(""));
        for text in ["", "alice", "99999999999999999999", "12345", "00FA08"] {
            assert_eq!(ucid(text), None, "{text}");
        }
    }
}
