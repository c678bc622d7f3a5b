//! By what a node proves who it is, and whom it believes: a certificate with its key, and the authority that made
//! the certificates of all nodes.
//!
//! Both ends of a link show a certificate (TLS 1.3). Whoever dials demands that the other one's names the peer that
//! it means; whoever listens learns from it who has dialed. A certificate names its node by the first DNS name that
//! can be one. Nothing is taken over from an earlier link: each one is proved anew, so that what has expired or was
//! replaced ends with it. A certificate that was renewed is read again while links stand: those that are made later use it.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use model::PeerName;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Authorities of nodes: one, and another one while all certificates are being replaced, with room.
const AUTHORITIES_MAX: usize = 16;
/// Certificates in a chain: a root is six steps away at most (CA/Browser Forum), with room.
const CHAIN_MAX: usize = 16;
/// Octets of each file: a certificate has some 2,000.
const FILE_OCTETS_MAX: u64 = 1 << 20;
/// What is spoken over TLS (RFC 9113 section 3.2): who speaks something else is told by TLS.
const HTTP_2: &[u8] = b"h2";

const GIVE_AUTHORITY: &str = "give the PEM file that `callspool cert authority` made, in cluster.ca";
const GIVE_CERTIFICATE: &str = "give the PEM file that `callspool cert node` made, in cluster.certificate";
const GIVE_KEY: &str = "give the PEM file of the key that belongs to the certificate, in cluster.key";

/// What a node shows and whom it believes, ready to use. Cheap to clone; clones are read again together.
#[derive(Clone)]
pub struct Credentials(Arc<Own>);

struct Own {
    name: PeerName,
    held: RwLock<Arc<Held>>,
}

/// What was read last.
struct Held {
    not_after: i64,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for Credentials {
    /// Whose they are, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// A file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} {}: {why}; {todo}", path.display())]
pub struct CredentialsError {
    /// Which of the three.
    pub what: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// What to do.
    pub todo: &'static str,
}

impl Credentials {
    /// Reads the PEM files of authority, certificate and key.
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, CredentialsError> {
        let (name, held) = Held::read(ca, certificate, key)?;
        Ok(Self(Arc::new(Own { name, held: RwLock::new(Arc::new(held)) })))
    }

    /// Reads them again: links that are made from now on use them. On an error all stays as it is.
    pub fn reload(&self, ca: &Path, certificate: &Path, key: &Path) -> Result<(), CredentialsError> {
        let (name, held) = Held::read(ca, certificate, key)?;
        if name != self.0.name {
            let why = format!("it is of {name}, and this node is {}", self.0.name);
            let todo = "give the node's own, or start it again to give it that name";
            return Err(CredentialsError { todo, ..File::CERTIFICATE.error(certificate, why) });
        }
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
        Ok(())
    }

    /// The node's own name.
    #[must_use]
    pub fn name(&self) -> &PeerName {
        &self.0.name
    }

    /// Until when the certificate is valid, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.held().not_after
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.held().client)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.held().server)
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.0.held.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn read(ca: &Path, certificate: &Path, key: &Path) -> Result<(PeerName, Self), CredentialsError> {
        let roots = read_authorities(ca)?;
        let chain = read_chain(certificate)?;
        let (name, not_after) = read_name(certificate, chain.first())?;
        let key_of = read_key(key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unusable = |error: rustls::Error| File::CERTIFICATE.error(certificate, error.to_string());
        let client = client(&provider, Arc::clone(&roots), &chain, &key_of).map_err(unusable)?;
        let server = server(&provider, roots, chain, key_of).map_err(unusable)?;
        Ok((name, Self { not_after, client: Arc::new(client), server: Arc::new(server) }))
    }
}

/// The node that a certificate is of. Its signatures were checked by others.
pub(crate) fn name_in(certificate: &CertificateDer<'_>) -> Option<PeerName> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let alternatives = parsed.subject_alternative_name().ok().flatten()?;
    alternatives.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => name.to_ascii_lowercase().parse().ok(),
        _ => None,
    })
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.to_vec(), key.clone_key())?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// One of the three files, and what is said when it is not what it should be.
struct File {
    what: &'static str,
    todo: &'static str,
}

impl File {
    const AUTHORITY: Self = Self { what: "the authority", todo: GIVE_AUTHORITY };
    const CERTIFICATE: Self = Self { what: "the certificate", todo: GIVE_CERTIFICATE };
    const KEY: Self = Self { what: "the key", todo: GIVE_KEY };

    fn error(&self, path: &Path, why: impl Into<String>) -> CredentialsError {
        CredentialsError { what: self.what, path: path.to_owned(), why: why.into(), todo: self.todo }
    }

    /// What the system says of it, if it can be read as a whole.
    fn look(&self, path: &Path) -> Result<Metadata, CredentialsError> {
        let found = std::fs::metadata(path).map_err(|error| self.error(path, error.to_string()))?;
        if !found.is_file() || found.len() > FILE_OCTETS_MAX {
            return Err(self.error(path, "it is no file of a certificate or key"));
        }
        Ok(found)
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        self.look(path)?;
        let failed = |error: pem::Error| self.error(path, why(&error));
        let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect();
        let found = found.map_err(failed)?;
        if found.is_empty() { Err(self.error(path, why(&pem::Error::NoItemsFound))) } else { Ok(found) }
    }
}

fn read_authorities(path: &Path) -> Result<Arc<RootCertStore>, CredentialsError> {
    let found = File::AUTHORITY.certificates(path)?;
    if found.len() > AUTHORITIES_MAX {
        let why = format!("{} authorities: nodes trust those of their own only", found.len());
        return Err(File::AUTHORITY.error(path, why));
    }
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate).map_err(|error| File::AUTHORITY.error(path, error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let chain = File::CERTIFICATE.certificates(path)?;
    if chain.len() > CHAIN_MAX {
        return Err(File::CERTIFICATE.error(path, format!("{} certificates are no chain", chain.len())));
    }
    Ok(chain)
}

/// Whose certificate it is, and until when.
fn read_name(
    path: &Path,
    certificate: Option<&CertificateDer<'_>>,
) -> Result<(PeerName, i64), CredentialsError> {
    let failed = |why: &str| File::CERTIFICATE.error(path, why);
    let certificate = certificate.ok_or_else(|| failed("it holds none"))?;
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| failed("it holds no certificate (X.509)"))?;
    let name = name_in(certificate).ok_or_else(|| failed("it does not name a node by a DNS name"))?;
    Ok((name, parsed.validity().not_after.timestamp()))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    let mode = File::KEY.look(path)?.mode() & 0o777;
    if mode & 0o007 != 0 {
        let why = format!("everybody on this machine may use it (mode {mode:o})");
        return Err(CredentialsError {
            todo: "take that away with chmod o= on it",
            ..File::KEY.error(path, why)
        });
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| File::KEY.error(path, why(&error)))
}

fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it holds nothing of that kind in PEM form".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::authority::{self, Pem};

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let ca = authority::authority("test", 10).unwrap();
            let node = authority::node(&ca, &"rec-1".parse().unwrap(), &[], 10).unwrap();
            let files = Self(tempfile::tempdir().unwrap());
            files.write("ca.pem", &ca.certificate);
            files.write("node.pem", &node.certificate);
            files.write("node.key", &node.key);
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn load(&self) -> Result<Credentials, CredentialsError> {
            Credentials::load(&self.path("ca.pem"), &self.path("node.pem"), &self.path("node.key"))
        }
    }

    #[test]
    fn what_was_made_is_loaded_and_says_whose_it_is() {
        let credentials = Files::new().load().unwrap();
        assert_eq!(credentials.name().as_str(), "rec-1");
        assert_eq!(format!("{credentials:?}"), "Credentials { name: rec-1, .. }");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name_and_what_to_do() {
        let other: Pem = authority::authority("other", 10).unwrap();
        for (file, text, expected) in [
            ("ca.pem", "", "the authority"),
            ("node.pem", "nothing", "the certificate"),
            ("node.key", "nothing", "the key"),
            ("node.key", other.key.as_str(), "the certificate"),
            ("node.pem", other.certificate.as_str(), "does not name a node"),
        ] {
            let files = Files::new();
            files.write(file, text);
            let error = files.load().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("; give the PEM file"), "{file}: {error}");
        }
        let files = Files::new();
        fs::remove_file(files.path("node.pem")).unwrap();
        let error = files.load().unwrap_err();
        assert_eq!((error.what, &error.path), ("the certificate", &files.path("node.pem")));
    }

    #[test]
    fn what_was_renewed_is_read_again_and_what_cannot_be_used_or_is_another_s_changes_nothing() {
        let files = Files::new();
        let credentials = files.load().unwrap();
        let clone = credentials.clone();
        let before = credentials.not_after();
        let reload =
            || credentials.reload(&files.path("ca.pem"), &files.path("node.pem"), &files.path("node.key"));
        let ca = authority::authority("test", 10).unwrap();
        for (name, days, expected) in
            [("rec-1", 400, None), ("rec-2", 800, Some("it is of rec-2, and this node is rec-1"))]
        {
            let node = authority::node(&ca, &name.parse().unwrap(), &[], days).unwrap();
            [("ca.pem", &ca.certificate), ("node.pem", &node.certificate), ("node.key", &node.key)]
                .iter()
                .for_each(|(file, text)| files.write(file, text));
            match (reload(), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (done, _) => panic!("{name}: {done:?}"),
            }
            assert!(clone.not_after() - before > 300 * 86_400, "{name}");
            assert!(clone.not_after() - before < 500 * 86_400, "{name}");
        }
        files.write("node.key", "nothing");
        reload().unwrap_err();
        assert_eq!(clone.name().as_str(), "rec-1");
    }

    #[test]
    fn a_key_that_everybody_may_read_is_not_used() {
        let files = Files::new();
        fs::set_permissions(files.path("node.key"), fs::Permissions::from_mode(0o604)).unwrap();
        let error = files.load().unwrap_err().to_string();
        assert!(error.contains("mode 604") && error.contains("chmod o="), "{error}");
    }
}
