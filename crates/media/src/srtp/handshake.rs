//! What a DTLS handshake leaves behind (RFC 5764), as far as it is about SRTP: the certificate that was shown, and
//! the keys that follow. The handshake itself is not here.

use aws_lc_rs::digest;
use model::protection::{CertificateHash, Fingerprint, HandshakeRole};
use model::{Keys, Suite};

/// Whether a certificate (DER) has one of these fingerprints.
#[must_use]
pub fn is_certificate_of(certificate: &[u8], fingerprints: &[Fingerprint]) -> bool {
    fingerprints.iter().any(|f| fingerprint(f.hash, certificate).digest == f.digest)
}

/// The fingerprint of a certificate (DER).
#[must_use]
pub fn fingerprint(hash: CertificateHash, certificate: &[u8]) -> Fingerprint {
    let algorithm = match hash {
        CertificateHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        CertificateHash::Sha256 => &digest::SHA256,
        CertificateHash::Sha384 => &digest::SHA384,
        CertificateHash::Sha512 => &digest::SHA512,
    };
    Fingerprint { hash, digest: digest::digest(algorithm, certificate).as_ref().to_vec() }
}

/// The keys of both directions, the peer's first, out of the exported material: keys of client and server, then
/// salts of client and server (RFC 5764 section 4.2). None when there is too little of it.
#[must_use]
pub fn keys_of(suite: Suite, material: &[u8], ours: HandshakeRole) -> Option<(Keys, Keys)> {
    let (keys, salts) = material.split_at_checked(2 * suite.key_len())?;
    let (client_key, server_key) = keys.split_at_checked(suite.key_len())?;
    let (client_salt, server_salt) = salts.get(..2 * suite.salt_len())?.split_at_checked(suite.salt_len())?;
    let client = Keys::single(suite, [client_key, client_salt].concat())?;
    let server = Keys::single(suite, [server_key, server_salt].concat())?;
    Some(match ours {
        HandshakeRole::Server => (client, server),
        HandshakeRole::Client => (server, client),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_as_the_rfc_says() {
        let suite = Suite::AesCm128HmacSha1Tag80;
        let material: Vec<u8> = (0..60).collect();
        let (peer, ours) = keys_of(suite, &material, HandshakeRole::Server).unwrap();
        let octets = |keys: &Keys| keys.masters[0].secret.expose().to_vec();
        let expected = |key: u8, salt: u8| (key..key + 16).chain(salt..salt + 14).collect::<Vec<u8>>();
        assert_eq!((octets(&peer), octets(&ours)), (expected(0, 32), expected(16, 46)));
        assert_eq!(keys_of(suite, &material, HandshakeRole::Client), Some((ours, peer)));
        assert_eq!(keys_of(suite, &material[..59], HandshakeRole::Client), None);
    }

    #[test]
    fn a_certificate_is_known_by_any_of_its_fingerprints() {
        let certificate = b"not really DER";
        for hash in CertificateHash::ALL {
            let right = fingerprint(hash, certificate);
            assert_eq!(right.digest.len(), hash.octets());
            let wrong = fingerprint(hash, b"another");
            assert!(is_certificate_of(certificate, &[wrong.clone(), right]));
            assert!(!is_certificate_of(certificate, &[wrong]));
        }
        assert!(!is_certificate_of(certificate, &[]));
    }
}
