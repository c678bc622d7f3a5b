//! What vendors' headers say of a call beside ids: who is on which m-line where there are no metadata, and key-values.
//!
//! - `X-Cisco-Recording-Participant: sip:2210@192.0.2.9;media-index="0"`, once for each party, is what Cisco's
//!   network-based recording sends instead of metadata.
//! - Other headers of vendors about the call become key-values by their own names.

use model::call::{EXTRA_MAX, PARTIES_MAX};
use model::{CallData, Party, PartyRole, Side};
use sip::RequestInfo;

use super::agent::AgentSide;
use super::correlation::is_id;
use super::parties::number;

/// How names of headers begin that say something of the call by themselves.
const VENDORS: [&str; 4] = ["x-avaya-", "x-genesys-", "x-cisco-", "x-broadworks-"];
/// Octets of a header's value that are kept: names and ids are shorter.
const VALUE_BYTES_MAX: usize = 256;
/// As many m-lines as are taken of an offer.
const PLACES_MAX: usize = 16;
/// The header of network-based recording.
const PARTICIPANT: &str = "X-Cisco-Recording-Participant";

/// Takes what vendors' headers say by themselves. What is known already stays: the first dialog names the call.
pub(super) fn absorb(data: &mut CallData, request: &RequestInfo) {
    for (name, value) in &request.headers {
        let key = name.to_ascii_lowercase();
        let is_known = key.eq_ignore_ascii_case(PARTICIPANT) || is_id(&key);
        if VENDORS.iter().any(|v| key.starts_with(v)) && !is_known && data.extra.len() < EXTRA_MAX {
            data.extra.entry(key).or_insert_with(|| cut(value).to_owned());
        }
    }
}

/// Takes who is named by headers for parties, where nobody is known.
pub(super) fn seat(data: &mut CallData, placed: &[Placed], agent: &AgentSide) {
    if data.parties.is_empty() {
        data.parties = placed.iter().map(|p| p.party.clone()).collect();
        for (index, party) in data.parties.iter_mut().enumerate() {
            party.side = agent.at(index);
        }
    }
}

/// A party and the m-lines that it sends, counted from 0.
pub(super) struct Placed {
    pub(super) party: Party,
    pub(super) lines: Vec<usize>,
}

/// Who is on which m-line, by `X-Cisco-Recording-Participant`; empty where there is none.
pub(super) fn participants(request: &RequestInfo) -> Vec<Placed> {
    let values = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(PARTICIPANT));
    values.flat_map(|(_, value)| value.split(',')).take(PARTIES_MAX).filter_map(placed).collect()
}

/// `sip:2210@192.0.2.9;media-index="0 2"`, in angle brackets or not.
fn placed(value: &str) -> Option<Placed> {
    let value = cut(value).trim();
    let (name, rest) = match value.split_once('<') {
        Some((name, rest)) => (name.trim().trim_matches('"'), rest),
        None => ("", value),
    };
    let end = rest.find(['>', ';']).unwrap_or(rest.len());
    let (uri, parameters) = rest.split_at_checked(end)?;
    let uri = uri.trim();
    let user = uri.split_once(':').map_or(uri, |(_, rest)| rest).split('@').next().unwrap_or_default();
    let index = parameters.split([';', '>']).find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim().eq_ignore_ascii_case("media-index").then(|| value.trim().trim_matches('"'))
    });
    let lines = index.unwrap_or_default().split([' ', '/']).filter_map(|n| n.trim().parse().ok());
    (!uri.is_empty()).then(|| Placed {
        party: Party {
            role: PartyRole::Participant,
            side: Side::Unknown,
            number: number(user),
            uri: Some(uri.to_owned()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            participant: None,
            joined: None,
            left: None,
        },
        lines: lines.take(PLACES_MAX).collect(),
    })
}

fn cut(value: &str) -> &str {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_are_read_with_their_lines() {
        for (value, uri, number, name, lines) in [
            (
                "sip:2210@192.0.2.9;media-index=\"0\"",
                "sip:2210@192.0.2.9",
                Some("2210"),
                None,
                &[0_usize][..],
            ),
            (
                "<sip:+4930@a.invalid>;media-index=\"1 3\"",
                "sip:+4930@a.invalid",
                Some("+4930"),
                None,
                &[1, 3],
            ),
            ("\"Ann\" <sip:ann@a.invalid>", "sip:ann@a.invalid", None, Some("Ann"), &[]),
            ("sip:2210@192.0.2.9;media-index=\"x\"", "sip:2210@192.0.2.9", Some("2210"), None, &[]),
        ] {
            let placed = placed(value).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(placed.party.uri.as_deref(), Some(uri), "{value}");
            assert_eq!(
                (placed.party.number.as_deref(), placed.party.name.as_deref()),
                (number, name),
                "{value}"
            );
            assert_eq!(placed.lines, lines, "{value}");
        }
        assert!(placed("").is_none() && placed("<>").is_none());
    }
}
