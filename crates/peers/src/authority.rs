//! A private authority and certificates of nodes, for those who have no authority of their own.
//!
//! Whoever has a certificate of the authority may give orders to each node, so it is used for nothing else. Nothing is
//! written here: keys are given to whoever asks, and wiped when they are dropped.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use model::PeerName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

/// Days that a certificate may be valid: a hundred years.
pub const DAYS_MAX: u32 = 36_525;

/// A certificate with its key, each as the text of a file.
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its key (PKCS #8).
    pub key: Zeroizing<String>,
}

impl fmt::Debug for Pem {
    /// Nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Why a certificate cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The authority is not one.
    #[error("the authority cannot be used: {0}")]
    Authority(String),
    /// TLS takes it for no host name.
    #[error(
        "'{0}' cannot be in a certificate: give a name with a letter in it that does not end with a hyphen"
    )]
    Name(PeerName),
    /// It is no address and no host name.
    #[error("'{0}' is no address: give an IP address or a host name")]
    Address(String),
    /// Not so many days.
    #[error("a certificate cannot be valid for {0} days: give 1 to {most}", most = DAYS_MAX)]
    Days(u32),
    /// The library says so.
    #[error("it cannot be made: {0}")]
    Making(String),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error.to_string())
    }
}

/// Makes an authority, from yesterday on (clocks differ).
pub fn authority(name: &str, days: u32) -> Result<Pem, AuthorityError> {
    let mut params = params(name, Vec::new(), days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pem { certificate, key: Zeroizing::new(key.serialize_pem()) })
}

/// Makes a certificate for a node, which is named by it first and can be reached at the addresses.
pub fn node(
    authority: &Pem,
    name: &PeerName,
    addresses: &[String],
    days: u32,
) -> Result<Pem, AuthorityError> {
    if server_name(name).is_none() {
        return Err(AuthorityError::Name(name.clone()));
    }
    if let Some(bad) = addresses.iter().find(|address| ServerName::try_from(address.as_str()).is_err()) {
        return Err(AuthorityError::Address(bad.clone()));
    }
    let unusable = |error: rcgen::Error| AuthorityError::Authority(error.to_string());
    let key = KeyPair::from_pem(&authority.key).map_err(unusable)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key).map_err(unusable)?;
    let mut names = vec![name.to_string()];
    names.extend(addresses.iter().cloned());
    let mut params = params(name.as_str(), names, days)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Pem { certificate, key: Zeroizing::new(key.serialize_pem()) })
}

/// A peer's name as a client of TLS expects it in a certificate. Some names are none there: `7`, `a-`.
pub(crate) fn server_name(name: &PeerName) -> Option<ServerName<'static>> {
    match ServerName::try_from(name.to_string()) {
        Ok(name @ ServerName::DnsName(_)) => Some(name),
        _ => None,
    }
}

fn params(name: &str, names: Vec<String>, days: u32) -> Result<CertificateParams, AuthorityError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(AuthorityError::Days(days));
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let part = |n: i8| u8::try_from(n).unwrap_or(1);
    let begin_of = |day: Date| rcgen::date_time_ymd(day.year().into(), part(day.month()), part(day.day()));
    params.not_before = begin_of(later(today, -1)?);
    // Whole days: the one that has begun does not count.
    params.not_after = begin_of(later(today, i64::from(days) + 1)?);
    Ok(params)
}

/// The day so many days after that one.
fn later(day: Date, days: i64) -> Result<Date, AuthorityError> {
    day.checked_add(Span::new().days(days)).map_err(|error| AuthorityError::Making(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, addresses: &[&str], days: u32) -> String {
        let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
        let ca = authority("test", 10).unwrap();
        node(&ca, &name.parse().unwrap(), &addresses, days).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_in_a_certificate_is_refused() {
        for name in ["7", "0x1f", "a-"] {
            assert!(error(name, &[], 10).contains("cannot be in a certificate"), "{name}");
        }
        for address in ["", "a b", "rec.example.com:7100", "10.0.0.0/8"] {
            assert!(error("rec-1", &["10.0.0.1", address], 10).contains("is no address"), "{address}");
        }
        for days in [0, DAYS_MAX + 1] {
            assert!(error("rec-1", &[], days).contains("1 to 36525"), "{days}");
        }
    }

    #[test]
    fn what_is_no_authority_makes_nothing() {
        let ca = authority("test", 10).unwrap();
        let broken = Pem { certificate: "none".to_owned(), key: ca.key.clone() };
        let error = node(&broken, &"rec-1".parse().unwrap(), &[], 10).unwrap_err();
        assert!(matches!(error, AuthorityError::Authority(_)), "{error}");
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let printed = format!("{:?}", authority("test", 10).unwrap());
        assert!(!printed.contains("PRIVATE"), "{printed}");
    }
}
