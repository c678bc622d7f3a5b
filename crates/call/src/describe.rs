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

/// Who of a call is the agent; who is not is the external party.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AgentSide {
    /// The first participant and stream: clients list the leg first from which they record.
    #[default]
    First,
    /// The second participant and stream.
    Second,
    /// Who sends the stream with this label (RFC 4574).
    Label(String),
    /// Whose number fits; `*` stands for any digits: `10*`.
    Number(String),
    /// Whose address is in this domain.
    Domain(String),
}

impl AgentSide {
    fn fits(&self, party: &Party) -> bool {
        match self {
            Self::Number(pattern) => party.number.as_deref().is_some_and(|number| is_like(pattern, number)),
            Self::Domain(domain) => {
                party.uri.as_deref().is_some_and(|uri| host(uri).eq_ignore_ascii_case(domain))
            }
            Self::First | Self::Second | Self::Label(_) => false,
        }
    }

    /// By place, where nothing else tells: the first two are the sides, in one order or the other.
    fn at(&self, index: usize) -> Side {
        match (index, self) {
            (0, Self::Second) => Side::External,
            (1, Self::Second) | (0, _) => Side::Agent,
            (1, _) => Side::External,
            _ => Side::Unknown,
        }
    }

    /// Sets the sides of all parties, where somebody fits; the first who does not is the external one.
    fn settle(&self, parties: &mut [Party]) {
        if !parties.iter().any(|party| self.fits(party)) {
            return;
        }
        let mut is_external_known = false;
        for party in parties {
            party.side = match (self.fits(party), is_external_known) {
                (true, _) => Side::Agent,
                (false, false) => Side::External,
                (false, true) => Side::Unknown,
            };
            is_external_known |= party.side == Side::External;
        }
    }
}

/// Whether a text is as the pattern says, in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The host of a SIP URI, without port and parameters.
fn host(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let address = rest.split([';', '?']).next().unwrap_or_default();
    let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => host,
    }
}

/// Takes what `request` says into `data`; returns the metadata bodies that it carried.
pub(crate) fn absorb(
    data: &mut CallData,
    request: &RequestInfo,
    now: Now,
    agent: &AgentSide,
) -> Vec<Metadata> {
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
            take_metadata(data, metadata, agent);
        }
        kept.push(raw(now, &request.method, &part.content_type, &part.bytes, read.err()));
    }
    if data.parties.is_empty() && !request.siprec {
        data.parties = parties_of(request);
    }
    agent.settle(&mut data.parties);
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
fn take_metadata(data: &mut CallData, metadata: &RecordingMetadata, agent: &AgentSide) {
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
                    side: agent.at(data.parties.len()),
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
#[derive(Debug)]
pub(crate) struct KnownSides {
    agent: AgentSide,
    by_label: BTreeMap<String, Side>,
}

impl KnownSides {
    pub(crate) const fn new(agent: AgentSide) -> Self {
        Self { agent, by_label: BTreeMap::new() }
    }

    /// Learns from the metadata that a request carries: a stream is on the side of the participant that sends it.
    pub(crate) fn learn(&mut self, request: &RequestInfo, data: &mut CallData) {
        for part in request.metadata() {
            let Ok(metadata) = siprec::read(&part.bytes) else { continue };
            self.settle_by_label(&metadata, data);
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

    /// Where the label says who the agent is, it says so of the participant that sends the stream too.
    fn settle_by_label(&self, metadata: &RecordingMetadata, data: &mut CallData) {
        let AgentSide::Label(agent) = &self.agent else { return };
        for stream in &metadata.streams {
            let side = if stream.label.as_ref() == Some(agent) { Side::Agent } else { Side::External };
            for (sender, _) in metadata.sends.iter().filter(|(_, s)| *s == stream.id) {
                let party = data.parties.iter_mut().find(|p| p.participant.as_ref() == Some(sender));
                party.into_iter().for_each(|party| party.side = side);
            }
        }
    }

    /// The side of the stream with this label, or at this index of `count` media lines.
    pub(crate) fn side(&self, label: Option<&str>, index: usize, count: usize) -> Side {
        match (label.and_then(|l| self.by_label.get(l)), &self.agent) {
            (Some(side), _) => *side,
            (None, _) if count <= 1 => Side::Mixed,
            (None, AgentSide::Label(agent)) if label.is_some() => {
                if label == Some(agent) {
                    Side::Agent
                } else {
                    Side::External
                }
            }
            (None, agent) => agent.at(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_hosts() {
        for (pattern, text, expected) in [
            ("10*", "1001", true),
            ("10*", "201", false),
            ("*", "", true),
            ("1001", "1001", true),
            ("1001", "10011", false),
            ("+49*30*9", "+493012309", true),
            ("+49*30*9", "+49301230", false),
            ("1*1", "1", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
        for (uri, expected) in [
            ("sip:a:b@pbx.example:5060;x=y", "pbx.example"),
            ("sips:pbx.example", "pbx.example"),
            ("sip:a@[2001:db8::1]:5060", "[2001:db8::1]"),
            ("sip:a@[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host(uri), expected, "{uri}");
        }
    }

    #[test]
    fn who_is_the_agent_is_as_the_trunk_says() {
        let party = |number: &str, uri: &str| Party {
            role: PartyRole::Participant,
            side: Side::Unknown,
            uri: Some(uri.to_owned()),
            number: Some(number.to_owned()),
            name: None,
            participant: None,
        };
        let sides = |agent: &AgentSide| {
            let mut parties =
                vec![party("4930", "sip:4930@carrier.example"), party("1001", "sip:1001@pbx.example")];
            agent.settle(&mut parties);
            parties.iter().map(|p| p.side).collect::<Vec<_>>()
        };
        let swapped = [Side::External, Side::Agent];
        assert_eq!(sides(&AgentSide::Number("10*".into())), swapped);
        assert_eq!(sides(&AgentSide::Domain("PBX.example".into())), swapped);
        assert_eq!(sides(&AgentSide::Number("7*".into())), [Side::Unknown; 2], "nobody fits");
        let known = KnownSides::new(AgentSide::Label("2".into()));
        assert_eq!((known.side(Some("1"), 0, 2), known.side(Some("2"), 1, 2)), (Side::External, Side::Agent));
        let known = KnownSides::new(AgentSide::Second);
        assert_eq!((known.side(None, 0, 2), known.side(None, 1, 2)), (Side::External, Side::Agent));
        assert_eq!(known.side(None, 0, 1), Side::Mixed);
    }

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
