//! A server that is reached over TLS and WebSocket too.

use super::authority::{Authority, Identity};
use super::server::Server;

/// A server with TLS, WS and WSS beside the rest, its authority, and its certificate.
pub struct Secured {
    pub server: Server,
    pub authority: Authority,
    pub identity: Identity,
    pub tls: u16,
    pub ws: u16,
    pub wss: u16,
}

impl Secured {
    /// With more settings.
    pub fn start(more: &[(&str, &str)]) -> Self {
        let mut server = Server::prepare(more);
        let authority = Authority::new(server.directory(), "authority");
        let identity = authority.issue("recorder.example");
        let [tls, ws, wss] = [(); 3].map(|()| server.ports().next());
        for (setting, port) in [("SIP__TLS", tls), ("SIP__WS", ws), ("SIP__WSS", wss)] {
            server.set(setting, &format!("127.0.0.1:{port},[::1]:{port}"));
        }
        let files = [("TLS__CERTIFICATE", &identity.certificate), ("TLS__KEY", &identity.key)];
        for (setting, file) in files.into_iter().chain([("TLS__CA", &authority.file())]) {
            server.set(setting, file.to_str().expect("a path that is text"));
        }
        server.restart();
        Self { server, authority, identity, tls, ws, wss }
    }
}
