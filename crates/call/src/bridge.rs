//! The built-in bridge of Cisco phones: two dialogs for each call, one for each voice.
//!
//! The communications manager sends two INVITEs without body. What they are of is in the parameters of the From URI:
//!
//! ```text
//!  near end (the agent)   <sip:1001@cucm;x-nearend;x-refci=27298945;x-nearendclusterid=C1;x-nearenddevice=SEP0011…;
//!  far end (the other)    <sip:1001@cucm;x-farend;…the same…        x-nearendaddr=1001;x-farendrefci=27298946;
//!                                                                   x-farenddevice=GW1;x-farendaddr=0301234>
//! ```
//!
//! Both have the same `x-refci`, which the cluster gives to the agent's leg. Older clusters leave out their name and the
//! addresses. When the agent holds, both dialogs end; two others, with another `x-refci`, begin when he resumes.

use model::call::PARTIES_MAX;
use model::{CallData, Party, PartyRole, Side};
use serde::{Deserialize, Serialize};
use sip::{AddressView, RequestInfo};

use crate::describe;

/// Octets of a parameter: device names and addresses are some 20; what is longer is none.
const VALUE_BYTES_MAX: usize = 128;

/// Whose voice the dialog brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// The agent's.
    Near,
    /// The other party's.
    Far,
}

impl End {
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Near => Side::Agent,
            Self::Far => Side::External,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Near => "near end",
            Self::Far => "far end",
        }
    }
}

/// What such a dialog says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) end: End,
    pub(crate) refci: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) far_refci: Option<String>,
    pub(crate) far_address: Option<String>,
    pub(crate) far_guid: Option<String>,
}

/// Reads the From of a request; none where it is no such dialog.
pub(crate) fn read(request: &RequestInfo) -> Option<Bridge> {
    let from = &request.from;
    let end = match (has(from, "x-nearend"), has(from, "x-farend")) {
        (true, false) => End::Near,
        (false, true) => End::Far,
        _ => return None,
    };
    let value = |name: &str| {
        let value = from.uri_param(name).or_else(|| from.param(name)).flatten()?;
        let is_one = !value.is_empty() && value.len() <= VALUE_BYTES_MAX;
        is_one.then(|| value.to_owned())
    };
    Some(Bridge {
        end,
        refci: value("x-refci"),
        cluster: value("x-nearendclusterid"),
        device: value("x-nearenddevice"),
        address: value("x-nearendaddr").or_else(|| from.user.clone().filter(|u| u.len() <= VALUE_BYTES_MAX)),
        far_refci: value("x-farendrefci"),
        far_address: value("x-farendaddr"),
        far_guid: value("x-farendguid"),
    })
}

fn has(from: &AddressView, name: &str) -> bool {
    from.uri_param(name).or_else(|| from.param(name)).is_some()
}

impl Bridge {
    /// Line and device, and the parties with their sides. Of a line that another agent took over on another phone, what
    /// is recorded from now on is that one's.
    pub(crate) fn describe(&self, data: &mut CallData) {
        if self.device.is_some() {
            data.device.clone_from(&self.device);
        }
        if self.address.is_some() {
            data.dn.clone_from(&self.address);
        }
        for (key, value) in [("x-refci", &self.refci), ("x-farendrefci", &self.far_refci)] {
            if let Some(value) = value {
                data.correlation.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(guid) = &self.far_guid {
            data.correlation.entry("cisco-guid".to_owned()).or_insert_with(|| guid.clone());
        }
        for (address, side) in [(&self.address, Side::Agent), (&self.far_address, Side::External)] {
            if let Some(address) = address {
                settle(data, address, side);
            }
        }
    }
}

/// Who has this number is on this side: the communications manager knows it best.
fn settle(data: &mut CallData, address: &str, side: Side) {
    let number = describe::number(address);
    let is_same = |p: &Party| match (&p.number, &number) {
        (Some(known), Some(number)) => known == number,
        _ => p.name.as_deref() == Some(address),
    };
    if let Some(party) = data.parties.iter_mut().find(|p| is_same(p)) {
        party.side = side;
    } else if data.parties.len() < PARTIES_MAX {
        data.parties.push(Party {
            role: PartyRole::Participant,
            side,
            uri: None,
            name: number.is_none().then(|| address.to_owned()),
            number,
            participant: None,
            joined: None,
            left: None,
        });
    }
}
