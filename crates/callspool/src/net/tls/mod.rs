//! What we show to TLS peers, what we ask of them, and how both change without a restart.
//!
//! [`Certificates`] holds what was read from the files. A handshake takes what is there when it begins; a
//! connection that stands keeps what it was made with. A new file that cannot be used changes nothing.
//!
//! ```text
//!  files ──► read, checked together ──► Arc in a lock ──► accept, connect
//!    ▲ changed (time, length, inode), or told to reload
//! ```

mod files;
mod insecure;
mod names;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use files::Loaded;
pub(crate) use files::{ClientAuth, Stamp, TlsError, TlsFiles, TlsVersion};

/// What TLS needs, as it was last read.
pub(crate) struct Certificates {
    files: TlsFiles,
    loaded: RwLock<Arc<Held>>,
    /// Why the files, as they are now, cannot be used; what was read before is used on.
    unusable: RwLock<Option<String>>,
}

struct Held {
    server: Option<Arc<ServerConfig>>,
    client: Arc<ClientConfig>,
    /// Seconds since 1970.
    not_after: Option<i64>,
    stamp: Stamp,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The peer showed no certificate, or one that is not trusted.
    #[error("{0}")]
    Certificate(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let held = Arc::new(Held::read(&files)?);
        Ok(Self { files, loaded: RwLock::new(held), unusable: RwLock::new(None) })
    }

    /// Reads the files again. On an error all stays as it is, and the error says what to do.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let read = Held::read(&self.files);
        *self.unusable.write().unwrap_or_else(PoisonError::into_inner) =
            read.as_ref().err().map(ToString::to_string);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read?);
        Ok(())
    }

    /// Why the files could not be read again when that was tried last; none when they could.
    pub(crate) fn unusable(&self) -> Option<String> {
        self.unusable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the files are at this moment, to be compared with the next time.
    pub(crate) fn stamp(&self) -> Stamp {
        self.files.stamp()
    }

    /// What the files were when they were last read with success.
    pub(crate) fn loaded_stamp(&self) -> Stamp {
        self.held().stamp.clone()
    }

    /// Until when the certificate is valid, in seconds since 1970; none when there is none.
    pub(crate) fn not_after(&self) -> Option<i64> {
        self.held().not_after
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server's side of a handshake, and who the client has proved to be.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(server::TlsStream<TcpStream>, Arc<[String]>), HandshakeError> {
        let held = self.held();
        let Some(config) = &held.server else {
            return Err(HandshakeError::Other("there is no certificate".into()));
        };
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let stream = acceptor.accept(stream).await.map_err(|error| classify(&error))?;
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        let names = shown.map(|certificate| names::of(certificate)).unwrap_or_default();
        Ok((stream, names.into()))
    }

    /// The client's side of a handshake with a server that must have this name or address.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<client::TlsStream<TcpStream>, HandshakeError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| HandshakeError::Other(format!("'{host}' is no name that a certificate can have")))?;
        let connector = TlsConnector::from(Arc::clone(&self.held().client));
        connector.connect(name, stream).await.map_err(|error| classify(&error))
    }
}

impl Held {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        // Before the files are read: what changes meanwhile is noticed.
        let stamp = files.stamp();
        let Loaded { server, client, not_after } = files::read(files)?;
        Ok(Self { server, client, not_after, stamp })
    }
}

fn classify(error: &std::io::Error) -> HandshakeError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::NoCertificatesPresented) => {
            HandshakeError::Certificate("it showed no certificate".into())
        }
        Some(tls @ rustls::Error::InvalidCertificate(_)) => HandshakeError::Certificate(tls.to_string()),
        _ => HandshakeError::Other(error.to_string()),
    }
}
