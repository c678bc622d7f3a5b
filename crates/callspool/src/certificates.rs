//! The certificates of this node, for telephony and for other nodes: from the configuration, read again when their files change, and watched for the
//! day on which they expire.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::WallTime;
use peers::{Credentials, CredentialsError};
use tokio::sync::watch;

use crate::cli::CliError;
use crate::clock;
use crate::config::{Config, LeastTls, TlsClients};
use crate::net::{Certificates, ClientAuth, Stamp, TlsFiles, TlsVersion};

/// How often the files are looked at: an ACME client that renewed a certificate need tell nobody.
const LOOK: Duration = Duration::from_secs(60);
/// ACME clients renew 30 days before the end; what is not renewed two weeks before will not renew itself.
pub(crate) const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);
/// How often it is told that a certificate expires.
const REMIND: Duration = Duration::from_secs(86_400);

/// Reads what `[tls]` names; none when it names nothing.
pub(crate) fn load(config: &Config) -> Result<Option<Arc<Certificates>>, CliError> {
    let tls = &config.tls;
    let named = |path: &Path| (!path.as_os_str().is_empty()).then(|| PathBuf::from(path));
    if named(&tls.certificate).is_none() && named(&tls.ca).is_none() {
        return Ok(None);
    }
    let files = TlsFiles {
        certificate: named(&tls.certificate),
        key: named(&tls.key),
        ca: named(&tls.ca),
        client_auth: match tls.client_auth {
            TlsClients::None => ClientAuth::None,
            TlsClients::Request => ClientAuth::Request,
            TlsClients::Require => ClientAuth::Require,
        },
        min_version: match tls.min_version {
            LeastTls::V12 => TlsVersion::V12,
            LeastTls::V13 => TlsVersion::V13,
        },
        trust_all: false,
    };
    let certificates = Certificates::load(files).map_err(|e| {
        CliError::failed(format!("cannot use {} {}", e.what, e.path.display()), e.why, e.todo)
    })?;
    Ok(Some(Arc::new(certificates)))
}

/// A certificate that is read again when its files change.
pub(crate) trait Renewable: Send + Sync {
    /// Which one, as people know it.
    fn what(&self) -> &'static str;
    /// Reads the files again, and tells what came of it. What cannot be used changes nothing.
    fn reload(&self) -> Result<String, String>;
    /// Why they could not be used when that was tried last.
    fn unusable(&self) -> Option<String>;
    /// What the files are now.
    fn stamp(&self) -> Stamp;
    /// What they were when they were last read with success.
    fn loaded_stamp(&self) -> Stamp;
    /// Until when it is valid, in seconds since 1970; none where there is none.
    fn not_after(&self) -> Option<i64>;

    /// How long it is valid yet; zero when it has expired.
    fn valid_for(&self, now: WallTime) -> Option<Duration> {
        let left = self.not_after()? - now.millis() / 1_000;
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}

/// Those that this process has.
pub(crate) type Renewables = Vec<Arc<dyn Renewable>>;

impl Renewable for Certificates {
    fn what(&self) -> &'static str {
        "the TLS certificate"
    }

    fn reload(&self) -> Result<String, String> {
        match self.reload() {
            Ok(()) => Ok("certificates read again: new TLS connections use them".to_owned()),
            Err(e) => Err(format!("the TLS certificates stay as they were: {e}")),
        }
    }

    fn unusable(&self) -> Option<String> {
        self.unusable()
    }

    fn stamp(&self) -> Stamp {
        self.stamp()
    }

    fn loaded_stamp(&self) -> Stamp {
        self.loaded_stamp()
    }

    fn not_after(&self) -> Option<i64> {
        self.not_after()
    }
}

/// By what this node proves itself to others, with its files.
pub(crate) struct NodeCertificate {
    credentials: Credentials,
    /// Authority, certificate, key.
    files: [PathBuf; 3],
    loaded: Mutex<Stamp>,
    unusable: Mutex<Option<String>>,
}

impl NodeCertificate {
    /// Reads what `[cluster]` names.
    pub(crate) fn load(files: [PathBuf; 3]) -> Result<Self, CredentialsError> {
        // Before the files are read: what changes meanwhile is noticed.
        let stamp = Stamp::of(&files);
        let [ca, certificate, key] = &files;
        let credentials = Credentials::load(ca, certificate, key)?;
        Ok(Self { credentials, files, loaded: Mutex::new(stamp), unusable: Mutex::new(None) })
    }

    /// What was read.
    pub(crate) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

impl Renewable for NodeCertificate {
    fn what(&self) -> &'static str {
        "the certificate of this node"
    }

    fn reload(&self) -> Result<String, String> {
        let stamp = Stamp::of(&self.files);
        let [ca, certificate, key] = &self.files;
        let read = self.credentials.reload(ca, certificate, key);
        *lock(&self.unusable) = read.as_ref().err().map(ToString::to_string);
        read.map_err(|e| format!("the certificate of this node stays as it was: {e}"))?;
        *lock(&self.loaded) = stamp;
        Ok("the certificate of this node was read again: new links use it".to_owned())
    }

    fn unusable(&self) -> Option<String> {
        lock(&self.unusable).clone()
    }

    fn stamp(&self) -> Stamp {
        Stamp::of(&self.files)
    }

    fn loaded_stamp(&self) -> Stamp {
        lock(&self.loaded).clone()
    }

    fn not_after(&self) -> Option<i64> {
        Some(self.credentials.not_after())
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the files of one each minute until the process stops.
pub(crate) async fn watch(certificate: Arc<dyn Renewable>, mut stop: watch::Receiver<bool>) {
    let mut seen = certificate.loaded_stamp();
    let mut reminded: Option<tokio::time::Instant> = None;
    loop {
        if reminded.is_none_or(|at| at.elapsed() >= REMIND) && remind(certificate.as_ref()) {
            reminded = Some(tokio::time::Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let now = certificate.stamp();
        // A file that is broken is told once, and tried again when it changes: also to what it was before.
        if now != seen && (now != certificate.loaded_stamp() || certificate.unusable().is_some()) {
            match certificate.reload() {
                Ok(told) => tracing::info!("{told}"),
                Err(told) => tracing::error!("{told}"),
            }
            reminded = None;
        }
        seen = now;
    }
}

fn remind(certificate: &dyn Renewable) -> bool {
    let what = certificate.what();
    match certificate.valid_for(clock::wall()) {
        Some(Duration::ZERO) => tracing::error!("{what} has expired: renew it; peers refuse it"),
        Some(left) if left <= EXPIRES_SOON => {
            let days = left.as_secs() / 86_400;
            tracing::warn!("{what} expires in {days} days: see why it is not renewed");
        }
        _ => return false,
    }
    true
}
