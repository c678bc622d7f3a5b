//! An authority of the test's own, and what it issues: certificates for servers and clients, as PEM files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Signs certificates.
pub struct Authority {
    directory: PathBuf,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// A new one; its files go to `directory`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { directory: directory.to_owned(), name: name.to_owned(), issuer };
        std::fs::write(authority.file(), authority.issuer.pem()).expect("the authority's file");
        authority
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.name))
    }

    /// A certificate for loopback, and for a name.
    pub fn issue(&self, name: &str) -> Identity {
        let identity = Identity {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        self.issue_into(name, &identity);
        identity
    }

    /// Another certificate in the same files.
    pub fn issue_into(&self, name: &str, identity: &Identity) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            params.subject_alt_names.push(SanType::IpAddress(ip));
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        // The key first: whoever reads in between has to see that they do not belong together.
        std::fs::write(&identity.key, key.serialize_pem()).expect("a key");
        std::fs::set_permissions(&identity.key, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        std::fs::write(&identity.certificate, certificate.pem()).expect("a certificate");
    }
}
