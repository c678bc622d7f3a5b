//! What orders say of keys, in words of its own: `model` writes no keys, wherever it is asked to.
//!
//! Octets are base64 (RFC 4648 section 4), which JSON never escapes, so the parser makes no copy of them. What is read
//! is checked as signalling checks it: no key of a wrong length goes any further.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::protection::{
    CertificateHash, Fingerprint, Handshake, HandshakeRole, Ice, MASTER_KEYS_MAX, MKI_MAX,
};
use model::{Keys, MasterKey, OpenStream, Order, Protection, Secret, Suite};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Unreadable;

/// Certificates of a peer, each by all four hashes: nobody announces more (RFC 8122 section 5).
const FINGERPRINTS_MAX: usize = 64;

/// What is secret of a stream. A stream without is plain.
#[derive(Serialize, Deserialize)]
pub(crate) struct StreamSecrets {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protection: Option<ProtectionForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ice: Option<IceForm>,
}

/// An entry for each stream of an order.
pub(crate) fn of(order: &Order) -> Vec<Option<StreamSecrets>> {
    match order {
        Order::Open(open) => open.streams.iter().map(of_stream).collect(),
        Order::Change { streams, .. } => streams.iter().map(of_stream).collect(),
        Order::Keys { protection, .. } => {
            vec![Some(StreamSecrets { protection: ProtectionForm::of(protection), ice: None })]
        }
        _ => Vec::new(),
    }
}

fn of_stream(stream: &OpenStream) -> Option<StreamSecrets> {
    let protection = ProtectionForm::of(&stream.protection);
    let ice = stream.ice.as_ref().map(IceForm::of);
    (protection.is_some() || ice.is_some()).then_some(StreamSecrets { protection, ice })
}

/// Puts them where they belong.
pub(crate) fn put(order: &mut Order, secrets: Vec<Option<StreamSecrets>>) -> Result<(), Unreadable> {
    let streams = match order {
        Order::Open(open) => places(&mut open.streams),
        Order::Change { streams, .. } => places(streams),
        Order::Keys { protection, .. } => vec![(protection, None)],
        _ => Vec::new(),
    };
    if streams.len() != secrets.len() {
        let why = format!("an order of {} streams with secrets of {}", streams.len(), secrets.len());
        return Err(Unreadable::NotUnderstood(why));
    }
    for ((protection, ice), secret) in streams.into_iter().zip(secrets) {
        let Some(secret) = secret else { continue };
        *protection = secret.protection.map(ProtectionForm::read).unwrap_or_default();
        if let Some(ice) = ice {
            *ice = secret.ice.map(IceForm::read);
        }
    }
    Ok(())
}

/// Where the secrets of a stream belong.
type Place<'a> = (&'a mut Protection, Option<&'a mut Option<Ice>>);

fn places(streams: &mut [OpenStream]) -> Vec<Place<'_>> {
    streams.iter_mut().map(|stream| (&mut stream.protection, Some(&mut stream.ice))).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProtectionForm {
    Srtp { inbound: KeysForm, outbound: KeysForm },
    Dtls(HandshakeForm),
    Awaited,
    Given(KeysForm),
}

impl ProtectionForm {
    fn of(protection: &Protection) -> Option<Self> {
        Some(match protection {
            Protection::None => return None,
            Protection::Srtp { inbound, outbound } => {
                Self::Srtp { inbound: KeysForm(inbound.clone()), outbound: KeysForm(outbound.clone()) }
            }
            Protection::Dtls(handshake) => Self::Dtls(HandshakeForm(handshake.clone())),
            Protection::Awaited => Self::Awaited,
            Protection::Given(keys) => Self::Given(KeysForm(keys.clone())),
        })
    }

    fn read(self) -> Protection {
        match self {
            Self::Srtp { inbound, outbound } => Protection::Srtp { inbound: inbound.0, outbound: outbound.0 },
            Self::Dtls(handshake) => Protection::Dtls(handshake.0),
            Self::Awaited => Protection::Awaited,
            Self::Given(keys) => Protection::Given(keys.0),
        }
    }
}

/// [`Keys`] that are sound.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "KeysText", into = "KeysText")]
struct KeysForm(Keys);

#[derive(Serialize, Deserialize)]
struct KeysText {
    suite: String,
    masters: Vec<MasterText>,
    #[serde(default)]
    plain_rtp: bool,
    #[serde(default)]
    plain_rtcp: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollovers: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct MasterText {
    secret: Octets,
    #[serde(default, skip_serializing_if = "Octets::is_empty")]
    mki: Octets,
}

impl From<KeysForm> for KeysText {
    fn from(KeysForm(keys): KeysForm) -> Self {
        let text = |m: MasterKey| MasterText { secret: Octets(m.secret), mki: Octets(Secret::new(m.mki)) };
        Self {
            suite: keys.suite.name().to_owned(),
            masters: keys.masters.into_iter().map(text).collect(),
            plain_rtp: keys.plain_rtp,
            plain_rtcp: keys.plain_rtcp,
            rollovers: keys.rollovers,
        }
    }
}

impl TryFrom<KeysText> for KeysForm {
    type Error = &'static str;

    fn try_from(text: KeysText) -> Result<Self, Self::Error> {
        let suite = Suite::named(&text.suite).ok_or("no suite that is known here")?;
        if !(1..=MASTER_KEYS_MAX).contains(&text.masters.len()) {
            return Err("no master key, or too many");
        }
        let read = |m: MasterText| MasterKey { secret: m.secret.0, mki: m.mki.0.expose().to_vec() };
        let masters: Vec<MasterKey> = text.masters.into_iter().map(read).collect();
        if masters.iter().any(|m| m.secret.expose().len() != suite.secret_len()) {
            return Err("a key of another length than its suite wants");
        }
        let identifier = masters.first().map_or(0, |first| first.mki.len());
        let is_told_apart = masters.len() == 1 || identifier > 0;
        if identifier > MKI_MAX || !is_told_apart || masters.iter().any(|m| m.mki.len() != identifier) {
            return Err("keys that cannot be told apart");
        }
        let (plain_rtp, plain_rtcp, rollovers) = (text.plain_rtp, text.plain_rtcp, text.rollovers);
        Ok(Self(Keys { suite, masters, plain_rtp, plain_rtcp, rollovers }))
    }
}

/// A [`Handshake`] that can be made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "HandshakeText", into = "HandshakeText")]
struct HandshakeForm(Handshake);

#[derive(Serialize, Deserialize)]
struct HandshakeText {
    role: RoleText,
    peer: Vec<FingerprintText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RoleText {
    Server,
    Client,
}

#[derive(Serialize, Deserialize)]
struct FingerprintText {
    hash: String,
    digest: Octets,
}

impl From<HandshakeForm> for HandshakeText {
    fn from(HandshakeForm(handshake): HandshakeForm) -> Self {
        let text = |f: Fingerprint| FingerprintText {
            hash: f.hash.name().to_owned(),
            digest: Octets(Secret::new(f.digest)),
        };
        Self {
            role: match handshake.role {
                HandshakeRole::Server => RoleText::Server,
                HandshakeRole::Client => RoleText::Client,
            },
            peer: handshake.peer.into_iter().map(text).collect(),
            id: handshake.id,
        }
    }
}

impl TryFrom<HandshakeText> for HandshakeForm {
    type Error = &'static str;

    fn try_from(text: HandshakeText) -> Result<Self, Self::Error> {
        if text.peer.len() > FINGERPRINTS_MAX {
            return Err("too many fingerprints");
        }
        let read = |f: FingerprintText| {
            let hash = CertificateHash::ALL.into_iter().find(|hash| hash.name() == f.hash)?;
            let digest = f.digest.0.expose().to_vec();
            (digest.len() == hash.octets()).then_some(Fingerprint { hash, digest })
        };
        let peer: Option<Vec<Fingerprint>> = text.peer.into_iter().map(read).collect();
        let role = match text.role {
            RoleText::Server => HandshakeRole::Server,
            RoleText::Client => HandshakeRole::Client,
        };
        Ok(Self(Handshake { role, peer: peer.ok_or("no fingerprint that is known here")?, id: text.id }))
    }
}

#[derive(Serialize, Deserialize)]
struct IceForm {
    user: String,
    password: Octets,
}

impl IceForm {
    fn of(ice: &Ice) -> Self {
        Self { user: ice.user.clone(), password: Octets(ice.password.clone()) }
    }

    fn read(self) -> Ice {
        Ice { user: self.user, password: self.password.0 }
    }
}

/// Octets as base64, wiped on all ways.
pub(super) struct Octets(pub(super) Secret);

impl Default for Octets {
    fn default() -> Self {
        Self(Secret::new(Vec::new()))
    }
}

impl Octets {
    fn is_empty(&self) -> bool {
        self.0.expose().is_empty()
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let octets = self.0.expose();
        let length = base64::encoded_len(octets.len(), true).unwrap_or(0);
        let mut text = Zeroizing::new(String::with_capacity(length));
        STANDARD.encode_string(octets, &mut text);
        s.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Octets, E> {
                let room = base64::decoded_len_estimate(text.len());
                let mut octets = Zeroizing::new(Vec::<u8>::with_capacity(room));
                STANDARD.decode_vec(text, &mut octets).map_err(|_| E::custom("no base64"))?;
                Ok(Octets(Secret::new(std::mem::take(&mut *octets))))
            }
        }

        d.deserialize_str(Base64)
    }
}
