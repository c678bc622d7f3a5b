//! A receiver of webhooks: takes what is posted, answers as it is told, remembers all of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use sha2::Sha256;

use super::authority::Identity;
use super::{PATIENCE, wait_until};

/// What was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The path with its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// What was answered.
    pub status: u16,
}

impl Posted {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The event's id, by the body.
    pub fn id(&self) -> String {
        self.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Whether the signature is that of this secret, now.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let Some(header) = self.header("callspool-signature") else { return false };
        let parts: Vec<(&str, &str)> = header.split(',').filter_map(|p| p.split_once('=')).collect();
        let at = parts.iter().find(|(key, _)| *key == "t").expect("a time").1;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.").as_bytes());
        mac.update(&self.body);
        let expected: String = mac.finalize().into_bytes().iter().map(|o| format!("{o:02x}")).collect();
        parts.iter().any(|(key, value)| *key == "v1" && *value == expected)
    }
}

#[derive(Default)]
struct State {
    posted: Mutex<Vec<Posted>>,
    /// The next answers; 204 when there are none. 0: none is ever given.
    answers: Mutex<VecDeque<u16>>,
    is_over: AtomicBool,
}

/// See the module.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

impl Receiver {
    /// Listens on a port of loopback, 0 for any.
    pub fn start(port: u16) -> Self {
        Self::listen(port, None)
    }

    /// The same with TLS.
    pub fn start_tls(identity: &Identity) -> Self {
        let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap();
        let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(0, Some(Arc::new(config)))
    }

    fn listen(port: u16, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        // The port may still be in the hands of a receiver that has just ended.
        let listener = wait_until("a port for the receiver", PATIENCE, || {
            TcpListener::bind(("127.0.0.1", port)).map_err(|e| e.to_string())
        });
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared, tls) = (stream, Arc::clone(&shared), tls.clone()) else { continue };
                std::thread::spawn(move || connection(stream, tls, &shared));
            }
        });
        Self { address, state }
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it answers next, a status for each request; afterwards 204.
    pub fn answer(&self, statuses: &[u16]) {
        self.state.answers.lock().unwrap().extend(statuses);
    }

    /// Whatever it was to answer, from now on it takes everything.
    pub fn answer_again(&self) {
        self.state.answers.lock().unwrap().clear();
    }

    /// All that was posted, in order.
    pub fn posted(&self) -> Vec<Posted> {
        self.state.posted.lock().unwrap().clone()
    }

    /// Waits until what was posted is as it should be.
    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut(&[Posted]) -> bool) -> Vec<Posted> {
        wait_until(what, PATIENCE, || {
            let posted = self.posted();
            match is_so(&posted) {
                true => Ok(posted),
                false => Err(posted
                    .iter()
                    .map(|p| format!("{} {}", p.status, String::from_utf8_lossy(&p.body)))
                    .collect::<Vec<_>>()
                    .join("\n")),
            }
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // It wakes the one who accepts.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn connection(mut tcp: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, state: &State) {
    let _ = tcp.set_read_timeout(Some(PATIENCE));
    match tls {
        None => serve(tcp, state),
        Some(config) => {
            let mut tls = rustls::ServerConnection::new(config).unwrap();
            serve(rustls::Stream::new(&mut tls, &mut tcp), state);
        }
    }
}

/// Serves requests until the client goes, or an answer is withheld.
fn serve(stream: impl Read + Write, state: &State) {
    let mut stream = BufReader::new(stream);
    while let Some(mut posted) = read(&mut stream) {
        if state.is_over.load(Ordering::Relaxed) {
            return;
        }
        posted.status = state.answers.lock().unwrap().pop_front().unwrap_or(204);
        let status = posted.status;
        state.posted.lock().unwrap().push(posted);
        if status == 0 {
            // The client goes, or the deadline comes.
            let _ = stream.read(&mut [0]);
            return;
        }
        let answer = format!("HTTP/1.1 {status} As told\r\nContent-Length: 0\r\n\r\n");
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Posted> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        Some(line.trim_end().to_owned())
    };
    let request = line()?;
    let path = request.strip_prefix("POST ")?.strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers = Vec::new();
    while let Some(header) = line().filter(|l| !l.is_empty()) {
        let (name, value) = header.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Posted { path, headers, body, status: 0 })
}
