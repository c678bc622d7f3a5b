//! Calls: one conversation, from first INVITE to last hang-up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{CallId, TenantId};
use crate::stream::Side;
use crate::time::WallTime;

/// Parties of a call, those that left among them: a long conference. Those beyond are left out, which is noted.
pub const PARTIES_MAX: usize = 128;
/// Call-ID headers of a call: one for each dialog, far beyond what transfers and resumes produce.
pub const CALL_IDS_MAX: usize = 32;
/// Ids of a call that correlate, by their keys; what is known has a dozen.
pub const CORRELATION_MAX: usize = 64;
/// Further key-values of a call; vendors send some dozen.
pub const EXTRA_MAX: usize = 256;

/// Which way the call went, seen from the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the agent.
    Incoming,
    /// From the agent.
    Outgoing,
    /// Not known.
    #[default]
    Unknown,
}

/// What a party is in the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartyRole {
    /// Who called.
    Caller,
    /// Who was called.
    Called,
    /// Who joined later.
    Participant,
}

/// One who takes part in the call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Party {
    /// What it is in the call.
    pub role: PartyRole,
    /// Agent or external, as far as known.
    #[serde(default)]
    pub side: Side,
    /// The address of record or the URI, as it came: `sip:1001@pbx.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The number: the user part of the URI where that is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The participant id of SIPREC metadata (RFC 7865), when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// Since when it takes part, where SIPREC metadata say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<WallTime>,
    /// When it left a call that went on without it, by SIPREC metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<WallTime>,
}

impl Party {
    /// Whether it is the same one in another call: by its id, its address or its number.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let known = |p: &Self| p.participant.is_some() || p.uri.is_some() || p.number.is_some();
        same(&self.participant, &other.participant)
            || same(&self.uri, &other.uri)
            || same(&self.number, &other.number)
            || !known(other) && self.name == other.name
    }
}

/// What is known of a call beside its media.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CallData {
    /// Which way it went.
    pub direction: Direction,
    /// Who takes part; at most 32.
    pub parties: Vec<Party>,
    /// The directory number of the recorded line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// The device name of the recorded phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The Call-ID headers of its dialogs with us; at most 32.
    pub sip_call_ids: Vec<String>,
    /// Ids that correlate: `session-id`, `cisco-guid`, `ucid`, `siprec-session`, … At most 64 keys.
    pub correlation: BTreeMap<String, String>,
    /// Further key-values, from vendor headers or third parties. At most 256 keys.
    pub extra: BTreeMap<String, String>,
}

impl CallData {
    /// The first party in a role.
    #[must_use]
    pub fn party(&self, role: PartyRole) -> Option<&Party> {
        self.parties.iter().find(|p| p.role == role)
    }

    /// Takes over what another has and this lacks: of two calls that are one, what is known of both. What both know
    /// stays as it is here.
    pub fn absorb(&mut self, other: &Self) {
        if self.direction == Direction::Unknown {
            self.direction = other.direction;
        }
        for party in &other.parties {
            if self.parties.len() < PARTIES_MAX && !self.parties.iter().any(|p| p.is_same(party)) {
                self.parties.push(party.clone());
            }
        }
        for (own, others) in [(&mut self.dn, &other.dn), (&mut self.device, &other.device)] {
            if own.is_none() {
                own.clone_from(others);
            }
        }
        for id in &other.sip_call_ids {
            if self.sip_call_ids.len() < CALL_IDS_MAX && !self.sip_call_ids.contains(id) {
                self.sip_call_ids.push(id.clone());
            }
        }
        let maps = [
            (&mut self.correlation, &other.correlation, CORRELATION_MAX),
            (&mut self.extra, &other.extra, EXTRA_MAX),
        ];
        for (own, others, most) in maps {
            for (key, value) in others {
                if own.len() < most && !own.contains_key(key) {
                    own.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

/// A metadata body as it was received.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Metadata {
    /// When it came.
    pub at: WallTime,
    /// The request that carried it: `INVITE`, `UPDATE`, `BYE`.
    pub method: String,
    /// Its content type.
    pub content_type: String,
    /// Its text; bytes that are not UTF-8 are replaced, `base64` then holds the original.
    pub text: String,
    /// The original octets, when the text is not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Why it could not be understood, when it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A call as the catalogue holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its id, for life.
    pub id: CallId,
    /// Its owner.
    pub tenant: TenantId,
    /// When its first segment began.
    pub started: WallTime,
    /// When it ended; none while it goes on, holds included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<WallTime>,
    /// The highest total of its segments, corrected when it ended.
    pub total: u16,
    /// What is known of it.
    pub data: CallData,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(role: PartyRole, number: Option<&str>, name: Option<&str>) -> Party {
        let text = |t: Option<&str>| t.map(str::to_owned);
        Party {
            role,
            side: Side::Unknown,
            uri: None,
            number: text(number),
            name: text(name),
            participant: None,
            joined: None,
            left: None,
        }
    }

    #[test]
    fn what_is_known_of_both_calls_is_known_of_the_one_that_they_are() {
        let mut call = CallData {
            parties: vec![party(PartyRole::Caller, Some("100"), Some("Ann"))],
            dn: Some("100".to_owned()),
            sip_call_ids: vec!["a".to_owned()],
            correlation: BTreeMap::from([("session-id".to_owned(), "1".to_owned())]),
            ..CallData::default()
        };
        let other = CallData {
            direction: Direction::Incoming,
            parties: vec![
                party(PartyRole::Called, Some("100"), None),
                party(PartyRole::Caller, Some("200"), None),
                party(PartyRole::Participant, None, Some("Ann")),
            ],
            dn: Some("200".to_owned()),
            device: Some("SEP1".to_owned()),
            sip_call_ids: vec!["a".to_owned(), "b".to_owned()],
            correlation: BTreeMap::from([
                ("session-id".to_owned(), "2".to_owned()),
                ("ucid".to_owned(), "3".to_owned()),
            ]),
            ..CallData::default()
        };
        call.absorb(&other);
        let numbers: Vec<_> = call.parties.iter().map(|p| p.number.as_deref()).collect();
        assert_eq!(numbers, [Some("100"), Some("200")]);
        assert_eq!((call.dn.as_deref(), call.device.as_deref()), (Some("100"), Some("SEP1")));
        assert_eq!(call.sip_call_ids, ["a", "b"]);
        assert_eq!(call.correlation["session-id"], "1");
        assert_eq!((call.correlation["ucid"].as_str(), call.direction), ("3", Direction::Incoming));
        let before = call.clone();
        call.absorb(&other);
        assert_eq!(call, before);
    }
}
