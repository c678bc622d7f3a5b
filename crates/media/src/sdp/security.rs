//! What SDP says of encryption: `a=crypto` (SDES, RFC 4568), `a=fingerprint` and `a=setup` (DTLS, RFC 5763), and
//! of connectivity checks: `a=ice-ufrag`, `a=ice-pwd` (RFC 8839).
//!
//! A line that names a cipher or a parameter that we do not know is passed over, as the RFC asks; what is left is in
//! the order in which it was offered. Keys are taken out of the attributes as they are read: nothing that prints or
//! keeps a description has them.

use std::fmt::Write;
use std::net::SocketAddr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use model::protection::{CertificateHash, Fingerprint, Ice, MASTER_KEYS_MAX, MKI_MAX};
use model::{Keys, MasterKey, Secret, Suite};
use zeroize::Zeroizing;

/// Lines `a=crypto` of an m-line that are read. Devices offer up to eight.
const CRYPTO_MAX: usize = 16;
/// Fingerprints that are read: one for each function.
const FINGERPRINTS_MAX: usize = 8;
/// Octets of `ice-ufrag` and `ice-pwd` (RFC 8839 section 5.4).
const ICE_MAX: usize = 256;
/// Letters of `tls-id` (RFC 8842 section 4).
const TLS_ID: std::ops::RangeInclusive<usize> = 20..=255;
/// As people write it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A line `a=crypto`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crypto {
    /// Names it in the answer.
    pub tag: u32,
    /// The name of the cipher as it is written: some write it in another way than the RFC.
    pub name: String,
    /// What whoever wrote it protects its packets by.
    pub keys: Keys,
}

/// What an m-line says of encryption.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offered {
    /// The lines `a=crypto` that can be done, the most wanted first.
    pub crypto: Vec<Crypto>,
    /// There were others, with ciphers or parameters that are not known.
    pub unknown_crypto: bool,
    /// The certificate that a DTLS handshake would show; of the line, else of the session.
    pub fingerprints: Vec<Fingerprint>,
    /// Who would begin it.
    pub setup: Option<Setup>,
    /// What the association is called by who wrote it (`a=tls-id`).
    pub tls_id: Option<String>,
    /// `a=ice-ufrag` and `a=ice-pwd` of who wrote it.
    pub ice: Option<IceUser>,
}

/// Who begins a handshake (RFC 4145, RFC 5763).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    /// Who wrote it.
    Active,
    /// The other.
    Passive,
    /// Either: only in offers.
    ActPass,
}

impl Setup {
    const ALL: [Self; 3] = [Self::Active, Self::Passive, Self::ActPass];

    const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }
}

/// Who does connectivity checks. Of the password no more is kept than whether it is another one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IceUser {
    /// `a=ice-ufrag`
    pub user: String,
    /// `a=ice-pwd`
    pub password: Option<Secret>,
}

/// What an m-line of ours says of encryption.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Security {
    /// Nothing.
    #[default]
    None,
    /// These lines `a=crypto`: one in an answer, with the tag of the one that was chosen.
    Sdes(Vec<Crypto>),
    /// A handshake, by whom it is begun, with this certificate of ours.
    Dtls {
        /// The certificate.
        fingerprint: Fingerprint,
        /// Who begins.
        setup: Setup,
        /// What we call the association (`a=tls-id`), where the other has named it too.
        id: Option<String>,
    },
}

impl Offered {
    /// Takes an attribute that is about this; false for any other.
    pub(super) fn take(&mut self, name: &str, value: &str) -> bool {
        match name.to_ascii_lowercase().as_str() {
            "crypto" => self.read_crypto(value),
            "fingerprint" if self.fingerprints.len() < FINGERPRINTS_MAX => {
                self.fingerprints.extend(fingerprint(value));
            }
            "setup" => {
                self.setup = Setup::ALL.into_iter().find(|s| value.trim().eq_ignore_ascii_case(s.name()));
            }
            "tls-id" if is_tls_id(value.trim()) => self.tls_id = Some(value.trim().to_owned()),
            "ice-ufrag" if value.len() <= ICE_MAX => {
                value.clone_into(&mut self.ice.get_or_insert_default().user);
            }
            "ice-pwd" if value.len() <= ICE_MAX => {
                self.ice.get_or_insert_default().password = Some(Secret::new(value.as_bytes().to_vec()));
            }
            "fingerprint" | "tls-id" | "ice-ufrag" | "ice-pwd" | "key-mgmt" => {}
            _ => return false,
        }
        true
    }

    /// What the line does not say itself, the session says for all.
    pub(super) fn complete(&mut self, session: &Self) {
        if self.fingerprints.is_empty() {
            self.fingerprints.clone_from(&session.fingerprints);
        }
        self.setup = self.setup.or(session.setup);
        if self.ice.is_none() {
            self.ice.clone_from(&session.ice);
        }
    }

    /// Whether a handshake can be made.
    #[must_use]
    pub const fn has_handshake(&self) -> bool {
        !self.fingerprints.is_empty()
    }

    /// Reads the value of an attribute `crypto`.
    pub(super) fn read_crypto(&mut self, value: &str) {
        if self.crypto.len() >= CRYPTO_MAX {
            return;
        }
        match crypto(value) {
            Some(line) => self.crypto.push(line),
            None => self.unknown_crypto = true,
        }
    }
}

impl Security {
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::None => {}
            Self::Sdes(lines) => lines.iter().for_each(|line| write_crypto(out, line)),
            Self::Dtls { fingerprint, setup, id } => {
                let digest: Vec<String> = fingerprint.digest.iter().map(|o| format!("{o:02X}")).collect();
                let _ = write!(
                    out,
                    "a=fingerprint:{} {}\r\na=setup:{}\r\n",
                    fingerprint.hash.name(),
                    digest.join(":"),
                    setup.name()
                );
                if let Some(id) = id {
                    let _ = write!(out, "a=tls-id:{id}\r\n");
                }
            }
        }
    }
}

/// Our credentials and the one candidate of each component (RFC 8839 sections 5.1 and 5.4).
pub(super) fn write_ice(out: &mut String, ice: &Ice, rtp: SocketAddr, rtcp_port: u16, mux: bool) {
    let password = Zeroizing::new(String::from_utf8_lossy(ice.password.expose()).into_owned());
    let _ = write!(out, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.user, password.as_str());
    let ports = [(1, rtp.port()), (2, rtcp_port)];
    for (component, port) in ports.into_iter().take(if mux { 1 } else { 2 }) {
        // Of a host candidate, the best there is of its component (RFC 8445 section 5.1.2.1).
        let priority: u32 = (126 << 24) + (65_535 << 8) + (256 - component);
        let _ = write!(out, "a=candidate:1 {component} UDP {priority} {} {port} typ host\r\n", rtp.ip());
    }
}

fn is_tls_id(value: &str) -> bool {
    let is_letter = |c: u8| c.is_ascii_alphanumeric() || b"+/-_".contains(&c);
    TLS_ID.contains(&value.len()) && value.bytes().all(is_letter)
}

/// `sha-256 AB:CD:…`
fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (name, digits) = value.trim().split_once(char::is_whitespace)?;
    let hash = CertificateHash::ALL.into_iter().find(|h| name.eq_ignore_ascii_case(h.name()))?;
    let octet = |pair: &str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
    let digest: Vec<u8> = digits.trim().split(':').map(octet).collect::<Option<_>>()?;
    (digest.len() == hash.octets()).then_some(Fingerprint { hash, digest })
}

/// `1 AES_CM_128_HMAC_SHA1_80 inline:<key and salt>|2^20|1:4;inline:… UNENCRYPTED_SRTCP`
fn crypto(value: &str) -> Option<Crypto> {
    let mut words = value.split_whitespace();
    let tag = words.next().filter(|t| t.len() <= 9)?.parse().ok()?;
    let name = words.next()?;
    let suite = Suite::named(name)?;
    let texts = words.next()?;
    let mut keys = keys(suite, texts)?;
    for parameter in words {
        match parameter.to_ascii_uppercase().as_str() {
            "UNENCRYPTED_SRTP" => keys.plain_rtp = true,
            "UNENCRYPTED_SRTCP" => keys.plain_rtcp = true,
            // The size of a window is the receiver's own business.
            other if other.starts_with("WSH=") || other.starts_with('-') => {}
            _ => return None,
        }
    }
    Some(Crypto { tag, name: name.to_owned(), keys })
}

/// The keys that a text gives as `a=crypto` does (RFC 4568 section 6.1): `inline:<key and salt>|<lifetime>|<identifier>:<its
/// octets>`, and others behind `;`. None when it is not written so, or does not fit the suite.
#[must_use]
pub fn keys(suite: Suite, texts: &str) -> Option<Keys> {
    if texts.split(';').count() > MASTER_KEYS_MAX {
        return None;
    }
    let masters: Vec<MasterKey> = texts.split(';').map(|text| master(suite, text)).collect::<Option<_>>()?;
    let lengths = masters.first()?.mki.len();
    // Of several keys each packet must say which; all in the same number of octets.
    if masters.iter().any(|m| m.mki.len() != lengths) || (masters.len() > 1 && lengths == 0) {
        return None;
    }
    Some(Keys { suite, masters, plain_rtp: false, plain_rtcp: false, rollovers: None })
}

/// One of them.
fn master(suite: Suite, text: &str) -> Option<MasterKey> {
    let (method, rest) = text.split_once(':')?;
    if !method.trim().eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut fields = rest.split('|');
    let secret = BASE64.decode(fields.next()?.trim()).ok().map(Secret::new)?;
    if secret.expose().len() != suite.secret_len() {
        return None;
    }
    let mut mki = Vec::new();
    for field in fields {
        // A field without colon is the lifetime: a sender that goes beyond it changes its key by itself.
        if let Some((value, length)) = field.split_once(':') {
            mki = identifier(value, length)?;
        }
    }
    Some(MasterKey { secret, mki })
}

/// A decimal number in so many octets.
fn identifier(value: &str, length: &str) -> Option<Vec<u8>> {
    let length: usize = length.trim().parse().ok().filter(|l| (1..=MKI_MAX).contains(l))?;
    let number: u128 = value.trim().parse().ok()?;
    let octets = number.to_be_bytes();
    let kept = length.min(octets.len());
    let (over, low) = octets.split_at(octets.len() - kept);
    if over.iter().any(|o| *o != 0) {
        return None;
    }
    let mut mki = vec![0; length - kept];
    mki.extend_from_slice(low);
    Some(mki)
}

fn write_crypto(out: &mut String, line: &Crypto) {
    let Crypto { tag, name, keys } = line;
    // Writing to a string cannot fail.
    let _ = write!(out, "a=crypto:{tag} {name} ");
    for (n, master) in keys.masters.iter().enumerate() {
        let text = Zeroizing::new(BASE64.encode(master.secret.expose()));
        let _ = write!(out, "{}inline:{}", if n > 0 { ";" } else { "" }, text.as_str());
        if !master.mki.is_empty() {
            let low = master.mki.iter().rev().take(16).rev();
            let number = low.fold(0_u128, |number, octet| number << 8 | u128::from(*octet));
            let _ = write!(out, "|{number}:{}", master.mki.len());
        }
    }
    for (is_set, name) in [(keys.plain_rtp, "UNENCRYPTED_SRTP"), (keys.plain_rtcp, "UNENCRYPTED_SRTCP")] {
        if is_set {
            let _ = write!(out, " {name}");
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";

    fn read(values: &[&str]) -> Offered {
        let mut offered = Offered::default();
        values.iter().for_each(|v| offered.read_crypto(v));
        offered
    }

    #[test]
    fn lines_are_read_in_order_and_unknown_ones_passed_over() {
        let offered = read(&[
            &format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            &format!("7 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^20|1:4 UNENCRYPTED_SRTCP WSH=64 -X"),
            &format!("8 aes_cm_128_hmac_sha1_80 INLINE:{KEY}|2^31"),
        ]);
        assert!(offered.unknown_crypto);
        let [a, b] = &offered.crypto[..] else { panic!("{offered:?}") };
        assert_eq!((a.tag, a.keys.suite), (7, Suite::AesCm128HmacSha1Tag32));
        assert_eq!((a.keys.masters[0].mki.as_slice(), a.keys.plain_rtcp), (&[0, 0, 0, 1][..], true));
        assert_eq!(a.keys.masters[0].secret.expose(), b"123456789ABCDE0123456789ABcdef");
        assert_eq!((b.tag, b.keys.masters[0].mki.len()), (8, 0));
    }

    #[test]
    fn what_cannot_be_done_is_passed_over() {
        for value in [
            "",
            "1",
            "x AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 AES_CM_128_HMAC_SHA1_80 uri:AAAA",
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=0"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} FEC_ORDER=SRTP_FEC"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|300:1"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:0"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4;inline:{KEY}|2:2"),
            &format!("1 AEAD_AES_128_GCM inline:{KEY}"),
        ] {
            assert_eq!(read(&[value]), Offered { unknown_crypto: true, ..Offered::default() }, "{value}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let secret: Vec<u8> = (0..44).collect();
        let master = |n: u8| MasterKey { secret: Secret::new(secret.clone()), mki: vec![0, n] };
        let keys = Keys {
            suite: Suite::AeadAes256Gcm,
            masters: vec![master(1), master(2)],
            plain_rtp: true,
            plain_rtcp: false,
            rollovers: None,
        };
        let line = Crypto { tag: 3, name: "AEAD_AES_256_GCM".to_owned(), keys };
        let mut out = String::new();
        Security::Sdes(vec![line.clone()]).write(&mut out);
        let value = out.trim_end().strip_prefix("a=crypto:").unwrap();
        assert_eq!(read(&[value]).crypto, [line]);
    }

    #[test]
    fn handshakes_and_checks_are_read_of_the_line_or_of_the_session() {
        let digest = vec!["aB"; 32].join(":");
        let mut session = Offered::default();
        assert!(session.take("fingerprint", &format!("SHA-256 {digest}")));
        assert!(session.take("ice-ufrag", "someone") && session.take("ice-pwd", "secret"));
        let mut line = Offered::default();
        for wrong in ["sha-256 AB:CD", "md5 AB", "sha-256", &format!("sha-1 {digest}"), "sha-256 é:AB"] {
            assert!(line.take("fingerprint", wrong));
        }
        assert!(line.take("setup", " ActPass ") && !line.take("label", "1"));
        line.complete(&session);
        let [f] = &line.fingerprints.clone()[..] else { panic!("{line:?}") };
        assert_eq!((f.hash, &f.digest), (CertificateHash::Sha256, &vec![0xab; 32]));
        assert_eq!((line.setup, line.ice.as_ref().unwrap().user.as_str()), (Some(Setup::ActPass), "someone"));
        assert!(!format!("{line:?}").contains("secret"));
        let mut out = String::new();
        Security::Dtls { fingerprint: f.clone(), setup: Setup::Passive, id: None }.write(&mut out);
        let expected = format!("a=fingerprint:sha-256 {}\r\na=setup:passive\r\n", digest.to_uppercase());
        assert_eq!(out, expected);
        for wrong in ["", "short", "twenty letters, and a comma", &"x".repeat(256)] {
            assert!(line.take("tls-id", wrong) && line.tls_id.is_none(), "{wrong}");
        }
        assert!(line.take("tls-id", " abc3de65cddef001be82 "));
        let id = line.tls_id.clone();
        assert_eq!(id.as_deref(), Some("abc3de65cddef001be82"));
        let mut out = String::new();
        Security::Dtls { fingerprint: f.clone(), setup: Setup::Passive, id }.write(&mut out);
        assert_eq!(out, format!("{expected}a=tls-id:abc3de65cddef001be82\r\n"));
    }

    #[test]
    fn there_is_a_limit() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        assert_eq!(read(&vec![line.as_str(); 100]).crypto.len(), CRYPTO_MAX);
    }
}
