//! What is done to one packet by one master key: the session keys that follow from it (RFC 3711 section 4.3), the
//! counter mode with HMAC-SHA1 (sections 4.1.1 and 4.2.1), and AES-GCM (RFC 7714).
//!
//! ```text
//!  SRTP,  HMAC   │ header │ encrypted payload │ MKI │ tag │
//!  SRTP,  GCM    │ header │ encrypted payload ⋯ tag │ MKI │
//!  SRTCP, HMAC   │ header │ encrypted rest │ E, index │ MKI │ tag │
//!  SRTCP, GCM    │ header │ encrypted rest ⋯ tag │ E, index │ MKI │
//! ```
//!
//! What is read is copied and changed in the copy: a packet can be tried again with another key or index.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use model::{MasterKey, Suite};

/// Octets of an SRTCP tag with HMAC: 80 bits whatever the suite says of SRTP (RFC 4568 section 6.2.2).
const RTCP_TAG: usize = 10;
/// Octets of a tag with GCM (RFC 7714 section 13).
const GCM_TAG: usize = 16;
/// Octets of an HMAC-SHA1 session key.
const AUTH_KEY: usize = 20;
/// Octets in the clear at the front of RTCP: its first header and the SSRC (RFC 3711 section 3.4).
pub(super) const RTCP_HEADER: usize = 8;
/// The flag in front of the SRTCP index that says that the rest is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// Where a packet is changed: the most that is read from a socket.
pub(super) type Scratch = [u8; super::PACKET_MAX];

/// The session keys of a master key.
pub(super) struct Cipher {
    rtp: Half,
    rtcp: Half,
    plain_rtp: bool,
    /// Makes names of sources.
    names: hmac::Key,
}

/// Of SRTP or of SRTCP.
enum Half {
    Counter { key: Box<DecryptingKey>, mac: Box<hmac::Key>, salt: [u8; 14], tag: usize },
    Gcm { key: LessSafeKey, salt: [u8; 12] },
}

/// Labels of key derivation (RFC 3711 section 4.3.2): encryption, authentication, salt; for SRTCP three more.
const RTP_LABEL: u8 = 0;
const RTCP_LABEL: u8 = 3;

impl Cipher {
    /// None when the master key has not the length that the suite wants.
    pub(super) fn new(suite: Suite, master: &MasterKey, plain_rtp: bool) -> Option<Self> {
        let (key, salt) = master.secret.expose().split_at_checked(suite.key_len())?;
        if salt.len() != suite.salt_len() {
            return None;
        }
        let derivation = Derivation::new(key, salt)?;
        let rtp_tag = match suite {
            Suite::AesCm128HmacSha1Tag32 | Suite::AesCm192HmacSha1Tag32 | Suite::AesCm256HmacSha1Tag32 => 4,
            _ => RTCP_TAG,
        };
        Some(Self {
            rtp: Half::derive(&derivation, suite, RTP_LABEL, rtp_tag)?,
            rtcp: Half::derive(&derivation, suite, RTCP_LABEL, RTCP_TAG)?,
            plain_rtp,
            names: hmac::Key::new(hmac::HMAC_SHA256, master.secret.expose()),
        })
    }

    /// An SSRC that nobody who has not the key can foretell. It tells nothing of the key.
    pub(super) fn name(&self, number: u32) -> Option<u32> {
        let mut input = *b"callspool ssrc 0000";
        input.last_chunk_mut::<4>()?.copy_from_slice(&number.to_be_bytes());
        let made = hmac::sign(&self.names, &input);
        made.as_ref().first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))
    }

    /// Of session keys of AES-GCM themselves, the same for RTP and RTCP, as published vectors give them.
    #[cfg(test)]
    pub(super) fn of_session(key: &[u8], salt: [u8; 12]) -> Self {
        let half = || Half::gcm(key, salt).unwrap();
        Self { rtp: half(), rtcp: half(), plain_rtp: false, names: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The identifier's octets in an SRTP packet.
    pub(super) fn rtp_mki<'a>(&self, packet: &'a [u8], len: usize) -> Option<&'a [u8]> {
        let behind = if self.rtp.is_gcm() { 0 } else { self.rtp.tag_len() };
        let end = packet.len().checked_sub(behind)?;
        packet.get(end.checked_sub(len)?..end)
    }

    /// The identifier's octets in an SRTCP packet.
    pub(super) fn rtcp_mki<'a>(&self, packet: &'a [u8], len: usize) -> Option<&'a [u8]> {
        let behind = if self.rtcp.is_gcm() { 0 } else { self.rtcp.tag_len() };
        let end = packet.len().checked_sub(behind)?;
        packet.get(end.checked_sub(len)?..end)
    }

    /// The SRTCP index that a packet names, and whether it is encrypted.
    pub(super) fn rtcp_index(&self, packet: &[u8], mki: usize) -> Option<u32> {
        let behind = mki + if self.rtcp.is_gcm() { 0 } else { self.rtcp.tag_len() };
        let end = packet.len().checked_sub(behind)?;
        let word = packet.get(end.checked_sub(4)?..end)?;
        Some(u32::from_be_bytes(word.try_into().ok()?) & !ENCRYPTED)
    }

    /// Opens an SRTP packet of `header` octets of header into `out`; how many octets it then has. None when it is
    /// not authentic under this key and index.
    pub(super) fn open_rtp(
        &self,
        packet: &[u8],
        header: usize,
        mki: usize,
        (ssrc, index): (u32, u64),
        out: &mut Scratch,
    ) -> Option<usize> {
        let roc = (u32::try_from(index >> 16).ok()?).to_be_bytes();
        match &self.rtp {
            Half::Counter { key, mac, salt, tag } => {
                let (rest, given) = packet.split_at_checked(packet.len().checked_sub(*tag)?)?;
                let body = rest.get(..rest.len().checked_sub(mki)?)?;
                let encrypted = body.len().checked_sub(header)?;
                is_tag(mac, &[body, &roc], given)?;
                out.get_mut(..body.len())?.copy_from_slice(body);
                if !self.plain_rtp && encrypted > 0 {
                    crypt(key, counter(salt, ssrc, index), out.get_mut(header..body.len())?)?;
                }
                Some(body.len())
            }
            Half::Gcm { key, salt } => {
                let body = packet.get(..packet.len().checked_sub(mki)?)?;
                let end = body.len().checked_sub(GCM_TAG)?;
                let (text, tag) = body.split_at_checked(end)?;
                let (head, secret) = text.split_at_checked(header)?;
                out.get_mut(..end)?.copy_from_slice(text);
                let nonce = rtp_nonce(salt, ssrc, index);
                if self.plain_rtp {
                    key.open_in_place_separate_tag(nonce, Aad::from(text), tag, &mut []).ok()?;
                } else {
                    let place = out.get_mut(header..header + secret.len())?;
                    key.open_in_place_separate_tag(nonce, Aad::from(head), tag, place).ok()?;
                }
                Some(end)
            }
        }
    }

    /// Opens an SRTCP packet into `out`; how many octets it then has.
    pub(super) fn open_rtcp(&self, packet: &[u8], mki: usize, ssrc: u32, out: &mut Scratch) -> Option<usize> {
        match &self.rtcp {
            Half::Counter { key, mac, salt, tag } => {
                let (rest, given) = packet.split_at_checked(packet.len().checked_sub(*tag)?)?;
                let signed = rest.get(..rest.len().checked_sub(mki)?)?;
                let (body, word) = signed.split_last_chunk::<4>()?;
                is_tag(mac, &[signed], given)?;
                let word = u32::from_be_bytes(*word);
                out.get_mut(..body.len())?.copy_from_slice(body);
                if word & ENCRYPTED != 0 {
                    let index = u64::from(word & !ENCRYPTED);
                    crypt(key, counter(salt, ssrc, index), out.get_mut(RTCP_HEADER..body.len())?)?;
                }
                Some(body.len())
            }
            Half::Gcm { key, salt } => {
                let rest = packet.get(..packet.len().checked_sub(mki)?)?;
                let (sealed, word) = rest.split_last_chunk::<4>()?;
                let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(GCM_TAG)?)?;
                let value = u32::from_be_bytes(*word);
                let nonce = rtcp_nonce(salt, ssrc, value & !ENCRYPTED);
                let head = text.first_chunk::<RTCP_HEADER>()?;
                out.get_mut(..text.len())?.copy_from_slice(text);
                if value & ENCRYPTED != 0 {
                    let aad = rtcp_aad(head, *word);
                    let place = out.get_mut(RTCP_HEADER..text.len())?;
                    key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, place).ok()?;
                } else {
                    // Everything is associated data, the word behind it too (RFC 7714 section 9.3).
                    let end = text.len() + 4;
                    out.get_mut(text.len()..end)?.copy_from_slice(word);
                    let aad = Aad::from(out.get(..end)?);
                    key.open_in_place_separate_tag(nonce, aad, tag, &mut []).ok()?;
                }
                Some(text.len())
            }
        }
    }

    /// Protects the RTP packet of `header` octets of header in `packet`. For whoever sends: test callers.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut Vec<u8>,
        header: usize,
        mki: &[u8],
        (ssrc, index): (u32, u64),
    ) -> Option<()> {
        let roc = (u32::try_from(index >> 16).ok()?).to_be_bytes();
        match &self.rtp {
            Half::Counter { key, mac, salt, tag } => {
                if !self.plain_rtp {
                    crypt(key, counter(salt, ssrc, index), packet.get_mut(header..)?)?;
                }
                let whole = tag_of(mac, &[packet, &roc]);
                packet.extend_from_slice(mki);
                packet.extend_from_slice(whole.as_ref().get(..*tag)?);
            }
            Half::Gcm { key, salt } => {
                let nonce = rtp_nonce(salt, ssrc, index);
                let tag = if self.plain_rtp {
                    key.seal_in_place_separate_tag(nonce, Aad::from(&packet[..]), &mut []).ok()?
                } else {
                    let (head, text) = packet.split_at_mut_checked(header)?;
                    key.seal_in_place_separate_tag(nonce, Aad::from(&head[..]), text).ok()?
                };
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(mki);
            }
        }
        Some(())
    }

    /// Protects the RTCP packet in `packet`, encrypted or not.
    pub(super) fn seal_rtcp(&self, packet: &mut Vec<u8>, mki: &[u8], index: u32, plain: bool) -> Option<()> {
        let head = *packet.first_chunk::<RTCP_HEADER>()?;
        let ssrc = u32::from_be_bytes(*head.last_chunk::<4>()?);
        let value = (index & !ENCRYPTED) | if plain { 0 } else { ENCRYPTED };
        let word = value.to_be_bytes();
        match &self.rtcp {
            Half::Counter { key, mac, salt, tag } => {
                if !plain {
                    let iv = counter(salt, ssrc, u64::from(index & !ENCRYPTED));
                    crypt(key, iv, packet.get_mut(RTCP_HEADER..)?)?;
                }
                packet.extend_from_slice(&word);
                let whole = tag_of(mac, &[packet]);
                packet.extend_from_slice(mki);
                packet.extend_from_slice(whole.as_ref().get(..*tag)?);
            }
            Half::Gcm { key, salt } => {
                let nonce = rtcp_nonce(salt, ssrc, index & !ENCRYPTED);
                if plain {
                    packet.extend_from_slice(&word);
                    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&packet[..]), &mut []).ok()?;
                    packet.truncate(packet.len() - word.len());
                    packet.extend_from_slice(tag.as_ref());
                } else {
                    let text = packet.get_mut(RTCP_HEADER..)?;
                    let aad = rtcp_aad(&head, word);
                    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).ok()?;
                    packet.extend_from_slice(tag.as_ref());
                }
                packet.extend_from_slice(&word);
                packet.extend_from_slice(mki);
            }
        }
        Some(())
    }
}

impl Half {
    fn derive(derivation: &Derivation, suite: Suite, label: u8, tag: usize) -> Option<Self> {
        let mut key = [0; 32];
        let key = key.get_mut(..suite.key_len())?;
        derivation.fill(label, key)?;
        let half = if suite.salt_len() == 12 {
            let mut salt = [0; 12];
            derivation.fill(label + 2, &mut salt)?;
            Self::gcm(key, salt)?
        } else {
            let (mut auth, mut salt) = ([0; AUTH_KEY], [0; 14]);
            derivation.fill(label + 1, &mut auth)?;
            derivation.fill(label + 2, &mut salt)?;
            let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth);
            zeroize::Zeroize::zeroize(&mut auth);
            Self::Counter { key: Box::new(counter_key(key)?), mac: Box::new(mac), salt, tag }
        };
        zeroize::Zeroize::zeroize(key);
        Some(half)
    }

    fn gcm(key: &[u8], salt: [u8; 12]) -> Option<Self> {
        let algorithm = if key.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        Some(Self::Gcm { key: LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?), salt })
    }

    const fn is_gcm(&self) -> bool {
        matches!(self, Self::Gcm { .. })
    }

    const fn tag_len(&self) -> usize {
        match self {
            Self::Counter { tag, .. } => *tag,
            Self::Gcm { .. } => GCM_TAG,
        }
    }
}

/// The pseudo-random function of key derivation: the key stream of AES in counter mode from the salt with a label
/// (RFC 3711 section 4.3.3, RFC 6188). The key derivation rate is zero.
pub(super) struct Derivation {
    key: DecryptingKey,
    salt: [u8; 16],
}

impl Derivation {
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        let mut block = [0; 16];
        block.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(Self { key: counter_key(key)?, salt: block })
    }

    pub(super) fn fill(&self, label: u8, out: &mut [u8]) -> Option<()> {
        let mut iv = self.salt;
        iv[7] ^= label;
        out.fill(0);
        crypt(&self.key, iv, out)
    }
}

fn counter_key(key: &[u8]) -> Option<DecryptingKey> {
    let algorithm = match key.len() {
        16 => &cipher::AES_128,
        24 => &cipher::AES_192,
        _ => &cipher::AES_256,
    };
    DecryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// Counter mode is its own inverse.
fn crypt(key: &DecryptingKey, iv: [u8; 16], text: &mut [u8]) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    key.decrypt(text, DecryptionContext::Iv128(FixedLength::from(iv))).ok().map(|_| ())
}

/// IV = (salt · 2^16) ⊕ (SSRC · 2^64) ⊕ (index · 2^16), RFC 3711 section 4.1.1.
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

/// RFC 7714 section 8.1: two zero octets, SSRC, ROC, sequence number, with the salt upon them.
fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = *salt;
    xor(&mut iv[2..6], &ssrc.to_be_bytes());
    xor(&mut iv[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(iv)
}

/// RFC 7714 section 9.1: two zero octets, SSRC, two zero octets, index, with the salt upon them.
fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let mut iv = *salt;
    xor(&mut iv[2..6], &ssrc.to_be_bytes());
    xor(&mut iv[8..12], &index.to_be_bytes());
    Nonce::assume_unique_for_key(iv)
}

fn rtcp_aad(head: &[u8; RTCP_HEADER], word: [u8; 4]) -> [u8; RTCP_HEADER + 4] {
    let mut aad = [0; RTCP_HEADER + 4];
    aad[..RTCP_HEADER].copy_from_slice(head);
    aad[RTCP_HEADER..].copy_from_slice(&word);
    aad
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (octet, other) in into.iter_mut().zip(with) {
        *octet ^= other;
    }
}

fn tag_of(mac: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(mac);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Whether the tag is the one of these octets; compared in a time that does not tell where it differs.
fn is_tag(mac: &hmac::Key, parts: &[&[u8]], given: &[u8]) -> Option<()> {
    let whole = tag_of(mac, parts);
    let ours = whole.as_ref().get(..given.len())?;
    aws_lc_rs::constant_time::verify_slices_are_equal(ours, given).ok()
}
