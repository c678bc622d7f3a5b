//! Calls: one conversation, from first INVITE to last hang-up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{CallId, TenantId};
use crate::stream::Side;
use crate::time::WallTime;

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
