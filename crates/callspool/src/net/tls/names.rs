//! Who a verified certificate says that its owner is (RFC 5922 section 7.1).

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Names kept of one certificate: public authorities give 100 at most.
const NAMES_MAX: usize = 100;
/// A longer name is no host name, and no URI that anybody writes into a configuration.
const NAME_BYTES_MAX: usize = 255;

/// The DNS names and URIs of its subjectAltName; of a `sip` URI without a user the domain, which is what it
/// stands for. A certificate without any has its common name.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = Vec::new();
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        let name = match name {
            GeneralName::DNSName(name) => name.to_ascii_lowercase(),
            GeneralName::URI(uri) => domain_or_uri(uri),
            _ => continue,
        };
        if is_sound(&name) && !names.contains(&name) && names.len() < NAMES_MAX {
            names.push(name);
        }
    }
    if names.is_empty()
        && let Some(common) = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).next()
        && is_sound(common)
    {
        names.push(common.to_owned());
    }
    names
}

fn domain_or_uri(uri: &str) -> String {
    match uri.split_once(':') {
        Some((scheme, domain)) if scheme.eq_ignore_ascii_case("sip") && !domain.contains(['@', ';', '?']) => {
            domain.to_ascii_lowercase()
        }
        _ => uri.to_owned(),
    }
}

fn is_sound(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn names(common: &str, alternatives: Vec<SanType>) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives;
        let key = KeyPair::generate().unwrap();
        of(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn alternatives_win_over_the_common_name() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
        assert_eq!(
            names("ignored", vec![dns("SBC.example"), uri("sip:Example.com"), uri("urn:uuid:f81d")]),
            ["sbc.example", "example.com", "urn:uuid:f81d"]
        );
        assert_eq!(names("x", vec![uri("sip:agent@example.com")]), ["sip:agent@example.com"]);
        assert_eq!(names("sbc-7", vec![]), ["sbc-7"]);
        assert_eq!(names("sbc-7", vec![SanType::IpAddress([127, 0, 0, 1].into())]), ["sbc-7"]);
        assert_eq!(names("line\nbreak", vec![]), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert_eq!(of(&CertificateDer::from(vec![0x30, 0x82, 1])), Vec::<String>::new());
    }
}
