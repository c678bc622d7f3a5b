//! The certificates of this node: from the configuration, read again when their files change, and watched for the
//! day on which they expire.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cli::CliError;
use crate::clock;
use crate::config::{Config, LeastTls, TlsClients};
use crate::net::{Certificates, ClientAuth, TlsFiles, TlsVersion};

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

/// Reads the files again, and tells what came of it.
pub(crate) fn reload(certificates: &Certificates) -> Result<String, String> {
    match certificates.reload() {
        Ok(()) => Ok("certificates read again: new TLS connections use them".to_owned()),
        Err(e) => Err(format!("the TLS certificates stay as they were: {e}")),
    }
}

/// Looks at the files each minute until the process stops.
pub(crate) async fn watch(certificates: Arc<Certificates>, mut stop: watch::Receiver<bool>) {
    let mut seen = certificates.loaded_stamp();
    let mut reminded: Option<tokio::time::Instant> = None;
    loop {
        if reminded.is_none_or(|at| at.elapsed() >= REMIND) && remind(&certificates) {
            reminded = Some(tokio::time::Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let now = certificates.stamp();
        // A file that is broken is told once, and tried again when it changes: also to what it was before.
        if now != seen && (now != certificates.loaded_stamp() || certificates.unusable().is_some()) {
            match reload(&certificates) {
                Ok(told) => tracing::info!("{told}"),
                Err(told) => tracing::error!("{told}"),
            }
            reminded = None;
        }
        seen = now;
    }
}

fn remind(certificates: &Certificates) -> bool {
    let now = Duration::from_millis(u64::try_from(clock::wall().millis()).unwrap_or(0));
    match certificates.valid_for(now) {
        Some(Duration::ZERO) => tracing::error!("the TLS certificate has expired: renew it; peers refuse it"),
        Some(left) if left <= EXPIRES_SOON => {
            let days = left.as_secs() / 86_400;
            tracing::warn!("the TLS certificate expires in {days} days: see why it is not renewed");
        }
        _ => return false,
    }
    true
}
