//! What is agreed on for a line, written down for another front and read again. It holds keys: what is made of it goes over
//! links between nodes and into no file.
//!
//! Keys by a handshake are of whoever made it, and cannot be handed on: such a line is not written at all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use media::sdp::{Crypto, IceUser, Security};
use model::protection::{Ice, MASTER_KEYS_MAX, MKI_MAX};
use model::{Keys, MasterKey, Protection, Secret, Suite};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::Agreed;

#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inbound: Option<KeysForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<CryptoForm>,
    /// Keys come beside signalling.
    #[serde(default)]
    by_interface: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<KeysForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ice: Option<IceForm>,
}

#[derive(Serialize, Deserialize)]
struct CryptoForm {
    tag: u32,
    name: String,
    keys: KeysForm,
}

#[derive(Serialize, Deserialize)]
struct KeysForm {
    suite: String,
    /// Key and identifier of each, as base64.
    masters: Vec<(String, String)>,
    plain_rtp: bool,
    plain_rtcp: bool,
    rollovers: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct IceForm {
    user: String,
    password: String,
    their_user: String,
    their_password: String,
}

pub(crate) fn serialize<S: Serializer>(agreed: &Agreed, s: S) -> Result<S::Ok, S::Error> {
    form(agreed).ok_or_else(|| ser::Error::custom("keys by a handshake are not handed on"))?.serialize(s)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Agreed, D::Error> {
    read(Form::deserialize(d)?).ok_or_else(|| de::Error::custom("keys that are none"))
}

fn form(agreed: &Agreed) -> Option<Form> {
    let inbound = match &agreed.protection {
        Protection::Dtls(_) => return None,
        Protection::Srtp { inbound, .. } => Some(keys_form(inbound)),
        Protection::None | Protection::Awaited | Protection::Given(_) => None,
    };
    let said = match &agreed.said {
        Security::None => None,
        Security::Sdes(lines) => lines.first(),
        Security::Dtls { .. } => return None,
    };
    let said = said.map(|c| CryptoForm { tag: c.tag, name: c.name.clone(), keys: keys_form(&c.keys) });
    let ice = agreed.ice.as_ref().map(|(ours, theirs)| IceForm {
        user: ours.user.clone(),
        password: encode(ours.password.expose()),
        their_user: theirs.user.clone(),
        their_password: theirs.password.as_ref().map_or_else(String::new, |p| encode(p.expose())),
    });
    let by_interface = matches!(agreed.protection, Protection::Awaited | Protection::Given(_));
    Some(Form { inbound, said, by_interface, given: agreed.given.as_ref().map(keys_form), ice })
}

fn read(form: Form) -> Option<Agreed> {
    let given = match form.given {
        Some(given) => Some(keys(given)?),
        None => None,
    };
    let said = match form.said {
        Some(said) => Some(Crypto { tag: said.tag, name: said.name, keys: keys(said.keys)? }),
        None => None,
    };
    let protection = match (form.inbound, &said, form.by_interface) {
        (Some(inbound), Some(said), _) => {
            Protection::Srtp { inbound: keys(inbound)?, outbound: said.keys.clone() }
        }
        (Some(_), None, _) => return None,
        (None, _, true) => given.clone().map_or(Protection::Awaited, Protection::Given),
        (None, _, false) => Protection::None,
    };
    let ice = match form.ice {
        Some(ice) => {
            let ours = Ice { user: ice.user, password: Secret::new(decode(&ice.password)?) };
            let password = Some(Secret::new(decode(&ice.their_password)?));
            Some((ours, IceUser { user: ice.their_user, password }))
        }
        None => None,
    };
    let said = said.map_or(Security::None, |said| Security::Sdes(vec![said]));
    Some(Agreed { protection, said, ice, given })
}

fn keys_form(keys: &Keys) -> KeysForm {
    let master = |m: &MasterKey| (encode(m.secret.expose()), encode(&m.mki));
    KeysForm {
        suite: keys.suite.name().to_owned(),
        masters: keys.masters.iter().map(master).collect(),
        plain_rtp: keys.plain_rtp,
        plain_rtcp: keys.plain_rtcp,
        rollovers: keys.rollovers,
    }
}

fn keys(form: KeysForm) -> Option<Keys> {
    let suite = Suite::named(&form.suite)?;
    let KeysForm { masters, plain_rtp, plain_rtcp, rollovers, .. } = form;
    let read = |(secret, mki): (String, String)| {
        Some(MasterKey { secret: Secret::new(decode(&secret)?), mki: decode(&mki)? })
    };
    let masters: Vec<MasterKey> = masters.into_iter().map(read).collect::<Option<_>>()?;
    let is_sound = |m: &MasterKey| m.secret.expose().len() == suite.secret_len() && m.mki.len() <= MKI_MAX;
    let are_sound = (1..=MASTER_KEYS_MAX).contains(&masters.len()) && masters.iter().all(is_sound);
    are_sound.then_some(Keys { suite, masters, plain_rtp, plain_rtcp, rollovers })
}

fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
