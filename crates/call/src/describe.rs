//! What is known of a call beside its media: read from requests and SIPREC metadata into [`CallData`].
//!
//! Metadata that cannot be read are kept as they came, with the problem noted; they never refuse a call.

use std::collections::BTreeMap;

use model::{CallData, Metadata, Now, Party, PartyRole, Side};
use sip::siprec::{self, RecordingMetadata};
use sip::{AddressView, RequestInfo};

/// Parties of a call: a conference of more is listed up to here, its raw metadata are kept whole.
const PARTIES_MAX: usize = 32;
/// Call-IDs of a call: one per dialog; far beyond what transfers and resumes produce.
const CALL_IDS_MAX: usize = 32;
/// Labels remembered of a dialog: four times the m-lines that are taken.
const LABELS_MAX: usize = 64;
/// Octets of metadata kept of one body: the largest seen are 20 kB. Longer ones are cut, and say so.
const METADATA_BYTES_MAX: usize = 256 * 1024;

/// Headers that correlate the dialogs of a call, and the key that each is kept under.
const CORRELATION_HEADERS: [(&str, &str); 4] = [
    ("Session-ID", "session-id"),
    ("Cisco-Guid", "cisco-guid"),
    ("User-to-User", "user-to-user"),
    ("X-BroadWorks-Correlation-Info", "broadworks"),
];

/// Takes what `request` says into `data`; returns the metadata bodies that it carried.
pub(crate) fn absorb(data: &mut CallData, request: &RequestInfo, now: Now) -> Vec<Metadata> {
    if !data.sip_call_ids.contains(&request.call_id) && data.sip_call_ids.len() < CALL_IDS_MAX {
        data.sip_call_ids.push(request.call_id.clone());
    }
    for (header, key) in CORRELATION_HEADERS {
        if let Some(value) = request.header(header) {
            data.correlation.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    let mut kept = Vec::new();
    for part in request.metadata() {
        let read = siprec::read(&part.bytes);
        if let Ok(metadata) = &read {
            take_metadata(data, metadata);
        }
        kept.push(raw(now, &request.method, &part.content_type, &part.bytes, read.err()));
    }
    if data.parties.is_empty() && !request.siprec {
        data.parties = parties_of(request);
    }
    kept
}

/// Caller and called of a dialog that is itself the call: an INVITE to the recorder's own address.
fn parties_of(request: &RequestInfo) -> Vec<Party> {
    let caller = request.asserted.first().unwrap_or(&request.from);
    vec![party(PartyRole::Caller, caller), party(PartyRole::Called, &request.to)]
}

fn party(role: PartyRole, address: &AddressView) -> Party {
    Party {
        role,
        side: Side::Unknown,
        uri: Some(address.uri.clone()),
        number: address.user.as_deref().and_then(number),
        name: address.display.clone().filter(|d| !d.is_empty()),
        participant: None,
    }
}

/// The number in a user part: digits, with an optional `+`, visual separators dropped (RFC 3966 section 5.1).
fn number(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or(user);
    let digits: String = user.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' ')).collect();
    let rest = digits.strip_prefix('+').unwrap_or(&digits);
    let ok = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '*' || c == '#');
    ok.then_some(digits)
}

/// Takes the participants; what is absent leaves what was known.
fn take_metadata(data: &mut CallData, metadata: &RecordingMetadata) {
    for (key, value) in [("siprec-session", metadata.session_id.as_ref())] {
        if let Some(value) = value {
            data.correlation.insert(key.to_owned(), value.clone());
        }
    }
    for id in metadata.sip_session_ids.iter().take(1) {
        data.correlation.entry("session-id".to_owned()).or_insert_with(|| id.clone());
    }
    for participant in &metadata.participants {
        let known = data.parties.iter().position(|p| p.participant.as_deref() == Some(&participant.id));
        let index = match known {
            Some(index) => index,
            None if data.parties.len() < PARTIES_MAX => {
                data.parties.push(Party {
                    role: PartyRole::Participant,
                    side: side_at(data.parties.len()),
                    uri: None,
                    number: None,
                    name: None,
                    participant: Some(participant.id.clone()),
                });
                data.parties.len() - 1
            }
            None => continue,
        };
        let (Some(party), Some((uri, name))) = (data.parties.get_mut(index), participant.aors.first()) else {
            continue;
        };
        let user = uri.split_once(':').map_or(uri.as_str(), |(_, rest)| rest);
        party.number = number(user.split('@').next().unwrap_or(user));
        party.uri = Some(uri.clone());
        party.name = name.clone().or(party.name.take());
    }
}

/// Without configuration the first participant that a client names is taken for the near end: clients list
/// the leg first from which they record.
fn side_at(index: usize) -> Side {
    match index {
        0 => Side::Agent,
        1 => Side::External,
        _ => Side::Unknown,
    }
}

fn raw(
    now: Now,
    method: &str,
    content_type: &str,
    bytes: &[u8],
    problem: Option<siprec::MetadataError>,
) -> Metadata {
    let cut = bytes.len() > METADATA_BYTES_MAX;
    let bytes = bytes.get(..METADATA_BYTES_MAX).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let changed = matches!(text, std::borrow::Cow::Owned(_));
    let problem = match (problem, cut) {
        (Some(p), _) => Some(p.to_string()),
        (None, true) => Some(format!("cut at {METADATA_BYTES_MAX} octets")),
        (None, false) => None,
    };
    Metadata {
        at: now.wall,
        method: method.to_owned(),
        content_type: content_type.to_owned(),
        text: text.into_owned(),
        base64: changed.then(|| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)),
        problem,
    }
}

/// The sides of streams, by the labels of SIPREC metadata; without them by position.
#[derive(Debug, Default)]
pub(crate) struct KnownSides {
    by_label: BTreeMap<String, Side>,
}

impl KnownSides {
    /// Learns from the metadata that a request carries: a stream is on the side of the participant that sends it.
    pub(crate) fn learn(&mut self, request: &RequestInfo, data: &CallData) {
        for part in request.metadata() {
            let Ok(metadata) = siprec::read(&part.bytes) else { continue };
            for stream in &metadata.streams {
                let Some(label) = stream.label.clone() else { continue };
                let mut senders = metadata.sends.iter().filter(|(_, s)| *s == stream.id).map(|(p, _)| p);
                let side = match (senders.next(), senders.next()) {
                    (None, _) => continue,
                    (Some(one), None) => data
                        .parties
                        .iter()
                        .find(|p| p.participant.as_ref() == Some(one))
                        .map_or(Side::Unknown, |p| p.side),
                    _ => Side::Mixed,
                };
                if self.by_label.len() < LABELS_MAX || self.by_label.contains_key(&label) {
                    self.by_label.insert(label, side);
                }
            }
        }
    }

    /// The side of the stream with this label, or at this index of `count` media lines.
    pub(crate) fn side(&self, label: Option<&str>, index: usize, count: usize) -> Side {
        match label.and_then(|l| self.by_label.get(l)) {
            Some(side) => *side,
            None if count <= 1 => Side::Mixed,
            None => side_at(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers() {
        for (user, expected) in [
            ("+49-30-123", Some("+4930123")),
            ("1001", Some("1001")),
            ("*21#", Some("*21#")),
            ("(030) 12", Some("03012")),
            ("+4930;phone-context=x", Some("+4930")),
            ("alice", None),
            ("+", None),
            ("", None),
        ] {
            assert_eq!(number(user).as_deref(), expected, "{user}");
        }
    }

    #[test]
    fn metadata_that_are_no_text_are_kept_to_the_byte() {
        let kept = raw(Now::default(), "INVITE", "application/rs-metadata+xml", b"<a>\xff</a>", None);
        assert_eq!(kept.base64.as_deref(), Some("PGE+/zwvYT4="));
        assert!(kept.text.contains('\u{fffd}'));
    }

    #[test]
    fn a_huge_body_is_cut_and_says_so() {
        let kept = raw(Now::default(), "INVITE", "x", &vec![b'a'; METADATA_BYTES_MAX + 1], None);
        assert_eq!(kept.text.len(), METADATA_BYTES_MAX);
        assert!(kept.problem.is_some());
    }
}
