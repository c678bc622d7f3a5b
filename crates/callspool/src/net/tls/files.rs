//! The files: certificate chain, key and authorities, read and checked together.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::insecure::TrustAll;

/// Authorities in one file: a system's whole bundle has some 150.
const AUTHORITIES_MAX: usize = 4_096;
/// Certificates in a chain: a root is six steps away at most (CA/Browser Forum), with room.
const CHAIN_MAX: usize = 16;

/// Whether a client is asked for a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum ClientAuth {
    /// It is not.
    #[default]
    None,
    /// It is; who shows none is let in without a name.
    Request,
    /// It is; who shows none is refused.
    Require,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum TlsVersion {
    /// 1.2 and 1.3.
    #[default]
    V12,
    /// 1.3 only.
    V13,
}

/// Where everything is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TlsFiles {
    /// PEM, ours first, then those that lead to its authority; with it goes `key`. Without it there is no server,
    /// and a client shows nothing.
    pub(crate) certificate: Option<PathBuf>,
    /// PEM.
    pub(crate) key: Option<PathBuf>,
    /// PEM, the authorities that are trusted: of clients, and of servers that we connect to. Without it those of
    /// the system are trusted for servers, and none for clients.
    pub(crate) ca: Option<PathBuf>,
    /// What is asked of clients.
    pub(crate) client_auth: ClientAuth,
    /// Oldest version.
    pub(crate) min_version: TlsVersion,
    /// Servers that we connect to need to prove nothing: for tests of an operator.
    pub(crate) trust_all: bool,
}

impl TlsFiles {
    /// What they are at this moment.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp::of([&self.certificate, &self.key, &self.ca].into_iter().flatten())
    }
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {why}; {todo}", path.display())]
pub(crate) struct TlsError {
    /// Which file.
    pub(crate) what: &'static str,
    /// Its path.
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) why: String,
    /// What to do.
    pub(crate) todo: &'static str,
}

/// Time, length and number of each file, which tell whether one was replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(Vec<Option<(i64, i64, u64, u64)>>);

impl Stamp {
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let of = |path: &PathBuf| {
            let of = |m: Metadata| (m.mtime(), m.mtime_nsec(), m.len(), m.ino());
            std::fs::metadata(path).ok().map(of)
        };
        Self(files.into_iter().map(of).collect())
    }
}

/// What the files hold, ready to use.
pub(super) struct Loaded {
    pub(super) server: Option<Arc<ServerConfig>>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) not_after: Option<i64>,
}

pub(super) fn read(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let identity = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => Some((read_chain(certificate)?, read_key(key)?, certificate)),
        _ => None,
    };
    let roots = files.ca.as_deref().map(read_authorities).transpose()?;
    let not_after = identity.as_ref().and_then(|(chain, ..)| not_after(chain.first()?));
    let server = match &identity {
        Some((chain, key, path)) => Some(server(files, chain, key, path, roots.clone())?),
        None => None,
    };
    let client = client(files, identity.as_ref().map(|(c, k, p)| (&c[..], k, p.as_path())), roots)?;
    Ok(Loaded { server, client, not_after })
}

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    match least {
        TlsVersion::V12 => &BOTH,
        TlsVersion::V13 => &BOTH[..1],
    }
}

fn server(
    files: &TlsFiles,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    path: &Path,
    roots: Option<Arc<RootCertStore>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_protocol_versions(versions(files.min_version));
    let builder = match (files.client_auth, roots) {
        (ClientAuth::None, _) | (_, None) => builder.with_no_client_auth(),
        (asked, Some(roots)) => {
            let verifier = WebPkiClientVerifier::builder(roots);
            let verifier =
                if asked == ClientAuth::Request { verifier.allow_unauthenticated() } else { verifier };
            let path = files.ca.clone().unwrap_or_default();
            builder.with_client_cert_verifier(verifier.build().map_err(|error| TlsError {
                what: "the authorities",
                path,
                why: error.to_string(),
                todo: "give a PEM file with the authorities of the clients in tls.ca",
            })?)
        }
    };
    let config = builder.with_single_cert(chain.to_vec(), key.clone_key());
    config.map(Arc::new).map_err(|error| unusable(path, &error))
}

fn client(
    files: &TlsFiles,
    identity: Option<(&[CertificateDer<'static>], &PrivateKeyDer<'static>, &Path)>,
    roots: Option<Arc<RootCertStore>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_protocol_versions(versions(files.min_version));
    let builder = if files.trust_all {
        let trust = TrustAll::new(builder.crypto_provider());
        builder.dangerous().with_custom_certificate_verifier(Arc::new(trust))
    } else {
        builder.with_root_certificates(roots.unwrap_or_else(system_authorities))
    };
    let config = match identity {
        Some((chain, key, path)) => builder
            .with_client_auth_cert(chain.to_vec(), key.clone_key())
            .map_err(|error| unusable(path, &error))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn unusable(path: &Path, error: &rustls::Error) -> TlsError {
    let todo = match error {
        rustls::Error::InconsistentKeys(_) => "give the key that belongs to the certificate",
        _ => {
            "give the certificate first and then those that lead to its authority, with an RSA, ECDSA or Ed25519 key"
        }
    };
    TlsError { what: "the certificate", path: path.to_owned(), why: error.to_string(), todo }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = read_certificates("the certificate", path, "give a PEM file that callspool may read")?;
    if chain.len() > CHAIN_MAX {
        let why = format!("{} certificates are no chain", chain.len());
        let todo = "give the certificate and those that lead to its authority only";
        return Err(TlsError { what: "the certificate", path: path.to_owned(), why, todo });
    }
    Ok(chain)
}

fn read_authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let todo = "give a PEM file with the certificates of the authorities";
    let found = read_certificates("the authorities", path, todo)?;
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.into_iter().take(AUTHORITIES_MAX));
    if added == 0 {
        let why = format!("none of its {ignored} certificates can be used");
        return Err(TlsError { what: "the authorities", path: path.to_owned(), why, todo });
    }
    Ok(Arc::new(roots))
}

fn read_certificates(
    what: &'static str,
    path: &Path,
    todo: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: String| TlsError { what, path: path.to_owned(), why, todo };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(why(&error)))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| failed(why(&error)))?;
    if found.is_empty() {
        return Err(failed("it holds no certificate in PEM form".into()));
    }
    Ok(found)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |why: String, todo| TlsError { what: "the key", path: path.to_owned(), why, todo };
    let metadata = std::fs::metadata(path)
        .map_err(|error| failed(error.to_string(), "give the PEM file of the key, readable for callspool"))?;
    if metadata.mode() & 0o007 != 0 {
        let why = format!("everybody on this machine may use it (mode {:o})", metadata.mode() & 0o777);
        return Err(failed(why, "take that away with chmod o= on it"));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        failed(why(&error), "give the PEM file of the key, without a passphrase, readable for callspool")
    })
}

fn why(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "it holds nothing of that kind in PEM form".into(),
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What the system trusts. A machine without any trusts nobody: connecting then says so.
fn system_authorities() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
