//! How the packets of a stream are protected (SRTP, RFC 3711), and the keys that this takes.
//!
//! Keys pass from signalling to the record server and go nowhere else. [`Secret`] shows its content to nobody who
//! prints or serializes it, and wipes it when it is dropped; whatever holds one is left out of all that is written.

use std::fmt;

use zeroize::Zeroizing;

/// Octets of a master key identifier. RFC 4568 section 6.1 allows 128; nobody sends more than 4.
pub const MKI_MAX: usize = 128;
/// Master keys of one stream at a time. Each is tried on a packet that no other opens, so they are few.
pub const MASTER_KEYS_MAX: usize = 4;

/// A cipher with its authentication, as SDP names it (RFC 4568, RFC 6188, RFC 7714).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`
    AesCm128HmacSha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`: SRTCP has tags of 80 bits all the same.
    AesCm128HmacSha1Tag32,
    /// `AES_192_CM_HMAC_SHA1_80`
    AesCm192HmacSha1Tag80,
    /// `AES_192_CM_HMAC_SHA1_32`
    AesCm192HmacSha1Tag32,
    /// `AES_256_CM_HMAC_SHA1_80`
    AesCm256HmacSha1Tag80,
    /// `AES_256_CM_HMAC_SHA1_32`
    AesCm256HmacSha1Tag32,
    /// `AEAD_AES_128_GCM`
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`
    AeadAes256Gcm,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AesCm128HmacSha1Tag80,
        Self::AesCm128HmacSha1Tag32,
        Self::AesCm192HmacSha1Tag80,
        Self::AesCm192HmacSha1Tag32,
        Self::AesCm256HmacSha1Tag80,
        Self::AesCm256HmacSha1Tag32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm192HmacSha1Tag80 => "AES_192_CM_HMAC_SHA1_80",
            Self::AesCm192HmacSha1Tag32 => "AES_192_CM_HMAC_SHA1_32",
            Self::AesCm256HmacSha1Tag80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1Tag32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of that name, whatever its case. `AES_CM_256_…`, which some write, is
    /// `AES_256_CM_…`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let turned = ["192", "256"].iter().find_map(|bits| {
            let rest = upper.strip_prefix("AES_CM_")?.strip_prefix(bits)?;
            Some(format!("AES_{bits}_CM{rest}"))
        });
        let turned = turned.unwrap_or(upper);
        Self::ALL.into_iter().find(|s| s.name() == turned)
    }

    /// Octets of a master key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 | Self::AeadAes128Gcm => 16,
            Self::AesCm192HmacSha1Tag80 | Self::AesCm192HmacSha1Tag32 => 24,
            Self::AesCm256HmacSha1Tag80 | Self::AesCm256HmacSha1Tag32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Octets of a master salt: 14 (RFC 3711), or 12 with GCM (RFC 7714 section 12).
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Octets of key and salt together, as `inline:` carries them.
    #[must_use]
    pub const fn secret_len(self) -> usize {
        self.key_len() + self.salt_len()
    }
}

/// Octets that nobody may see. Cloned only where a second holder is needed; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes them.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// The octets, for whoever computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A master key with its salt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterKey {
    /// Key and salt, one behind the other.
    pub secret: Secret,
    /// What stands in each packet that it protects (RFC 3711 section 3.1); empty: nothing does.
    pub mki: Vec<u8>,
}

/// By what the packets of one direction are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// The cipher.
    pub suite: Suite,
    /// One or more. All of them have an identifier of the same length, or there is one without.
    pub masters: Vec<MasterKey>,
    /// RTP is authenticated only (`UNENCRYPTED_SRTP`, RFC 4568 section 6.3.2).
    pub plain_rtp: bool,
    /// RTCP is authenticated only (`UNENCRYPTED_SRTCP`).
    pub plain_rtcp: bool,
    /// How often the sequence number has rolled over, where whoever gives the keys knows it. Else it is found by
    /// trying.
    pub rollovers: Option<u32>,
}

impl Keys {
    /// Keys of one master key without identifier. None when `secret` has not the length that the suite wants.
    #[must_use]
    pub fn single(suite: Suite, secret: Vec<u8>) -> Option<Self> {
        let secret = Secret::new(secret);
        (secret.expose().len() == suite.secret_len()).then(|| Self {
            suite,
            masters: vec![MasterKey { secret, mki: Vec::new() }],
            plain_rtp: false,
            plain_rtcp: false,
            rollovers: None,
        })
    }
}

/// A hash function of certificates (RFC 8122 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum CertificateHash {
    /// `sha-1`, of old devices: nobody finds a second certificate with the same one, even so.
    Sha1,
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

impl CertificateHash {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Octets of a digest.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of a certificate, as `a=fingerprint` says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// By which function.
    pub hash: CertificateHash,
    /// As many octets as it has.
    pub digest: Vec<u8>,
}

/// Who begins a handshake on the media port (RFC 5763 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeRole {
    /// The sender does.
    Server,
    /// We do.
    Client,
}

/// A DTLS handshake that yields keys (RFC 5764).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// Who begins.
    pub role: HandshakeRole,
    /// The certificate that the peer must show has one of these.
    pub peer: Vec<Fingerprint>,
    /// The peer's name for the association (`a=tls-id`, RFC 8842): under another it begins another.
    pub id: Option<String>,
}

/// What a lite agent of ICE needs (RFC 8445).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ice {
    /// Our `a=ice-ufrag`: in each check it stands in front.
    pub user: String,
    /// Our `a=ice-pwd`: whoever has it has our description.
    pub password: Secret,
}

/// How a stream is protected.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Protection {
    /// Not at all: plain RTP.
    #[default]
    None,
    /// By these keys.
    Srtp {
        /// What the sender protects its packets by.
        inbound: Keys,
        /// What our receiver reports are protected by.
        outbound: Keys,
    },
    /// By keys that a handshake on its port yields.
    Dtls(Handshake),
    /// By keys that are yet to come. Until then nothing can be read, and we send nothing.
    Awaited,
    /// By these keys, which somebody gave beside signalling. There are none of ours: we send nothing.
    Given(Keys),
}

impl Protection {
    /// Whether packets are encrypted or authenticated.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_suites_are_read_again_in_any_case() {
        for suite in Suite::ALL {
            assert_eq!(Suite::named(suite.name()), Some(suite));
            assert_eq!(Suite::named(&suite.name().to_ascii_lowercase()), Some(suite));
        }
        assert_eq!(Suite::named("AES_CM_256_HMAC_SHA1_80"), Some(Suite::AesCm256HmacSha1Tag80));
        assert_eq!(Suite::named("AES_CM_192_HMAC_SHA1_32"), Some(Suite::AesCm192HmacSha1Tag32));
        assert_eq!(Suite::named("F8_128_HMAC_SHA1_80"), None);
    }

    #[test]
    fn a_secret_is_in_nothing_that_is_printed() {
        let keys = Keys::single(Suite::AesCm128HmacSha1Tag80, (100..130).collect()).unwrap();
        let protection = Protection::Srtp { inbound: keys.clone(), outbound: keys };
        let printed = format!("{protection:?} {protection:#?}");
        assert!(printed.contains("Secret(…)"), "{printed}");
        assert!(!printed.contains("100, 101"), "{printed}");
        assert!(Keys::single(Suite::AeadAes128Gcm, vec![0; 30]).is_none());
    }
}
