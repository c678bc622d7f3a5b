//! The search for what must be nowhere: in every octet on disk, in the log, in answers of the interface, in what it
//! streams to who listens to events.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::g711::{decode_ulaw, encode_alaw};
use serde_json::Value;

use super::recording::Recorded;
use super::server::Server;
use super::{PATIENCE, http, wait_until};

/// Octets in a row that would be a find: of 160 random ones no eight come up by chance.
const RUN: usize = 8;
/// A card number, as digits of INFO.
pub const CARD: &str = "4929416338071725";

/// What the interface wants to be asked with.
fn bearer(server: &Server) -> String {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    format!("Bearer {}", token.trim())
}

/// Orders something of the call; how it stands then.
pub fn order(server: &Server, call: &str, what: &str) -> Value {
    let bearer = bearer(server);
    let path = format!("/api/v1/calls/{call}/{what}");
    let headers = [("Authorization", bearer.as_str())];
    let response = http::send("POST", &server.http_address(), &path, &headers, "");
    let response = response.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(response.status, 200, "{what}: {}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}

/// Gives keys of a stream of the call; the status, and the answer as text.
pub fn give_keys(server: &Server, call: &str, stream: &str, body: &Value) -> (u16, String) {
    let bearer = bearer(server);
    let path = format!("/api/v1/calls/{call}/streams/{stream}/keys");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let response = http::send("PUT", &server.http_address(), &path, &headers, &body.to_string());
    let response = response.unwrap_or_else(|e| panic!("{path}: {e}"));
    (response.status, response.text())
}

/// The answer of the interface about a call, and the list of calls.
pub fn answers(server: &Server, call: &str) -> Vec<u8> {
    let bearer = bearer(server);
    let get =
        |path: &str| http::get(&server.http_address(), path, &[("Authorization", &bearer)]).unwrap().body;
    let of_call = ["", "/segments", "/metadata"].map(|part| get(&format!("/api/v1/calls/{call}{part}")));
    [of_call.concat(), get("/api/v1/calls"), get("/api/v1/alarms?active=false")].concat()
}

/// Every file below a directory, with its octets.
pub fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
}

/// Audio in µ-law as it was sent, and as it would look in A-law and as linear samples in either order of octets.
fn forms(payload: &[u8]) -> [Vec<u8>; 4] {
    let samples: Vec<i16> = payload.iter().map(|o| decode_ulaw(*o)).collect();
    [
        payload.to_vec(),
        samples.iter().map(|s| encode_alaw(*s)).collect(),
        samples.iter().flat_map(|s| s.to_le_bytes()).collect(),
        samples.iter().flat_map(|s| s.to_be_bytes()).collect(),
    ]
}

/// How many octets of the payload stand in the text, wherever a run of it begins.
pub fn finds(bytes: &[u8], payload: &[u8]) -> usize {
    let twice = payload.repeat(2);
    let runs: HashSet<&[u8]> = twice.windows(RUN).collect();
    bytes.windows(RUN).filter(|w| runs.contains(w)).count()
}

/// A listener to all events, from the first on.
pub struct Events {
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Events {
    /// Listens until the server ends.
    pub fn listen(server: &Server) -> Self {
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let address = server.http_address();
        let mut stream = TcpStream::connect(&address).expect("the interface");
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let request = format!(
            "GET /api/v1/events?after=0000000000000 HTTP/1.1\r\nHost: {address}\r\nAuthorization: {}\r\n\r\n",
            bearer(server)
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let into = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut piece = [0; 8_192];
            while let Ok(n @ 1..) = stream.read(&mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Self { heard }
    }

    /// What came so far, once it contains this.
    pub fn heard(&self, what: &str) -> Vec<u8> {
        wait_until(&format!("the event {what}"), PATIENCE, || {
            let heard = self.heard.lock().unwrap().clone();
            let text = String::from_utf8_lossy(&heard);
            if text.contains(what) { Ok(heard) } else { Err(text.into_owned()) }
        })
    }
}

/// Fails when anything of the secret is in anything that callspool wrote or says.
pub fn expect_nowhere(server: &Server, events: &Events, call: &str, secrets: &[Vec<u8>]) {
    let mut all = vec![("the interface".to_owned(), answers(server, call))];
    all.push(("the events".to_owned(), events.heard(call)));
    files(server.directory(), &mut all);
    assert!(all.iter().any(|(name, _)| name.ends_with(".mka")), "there is something to search");
    assert!(all.iter().any(|(name, _)| name.ends_with(".log")), "the log is searched");
    for (name, bytes) in &all {
        for secret in secrets.iter().flat_map(|s| forms(s)) {
            assert_eq!(finds(bytes, &secret), 0, "audio of the pause is in {name}");
        }
        let card = bytes.windows(CARD.len()).any(|w| w == CARD.as_bytes());
        assert!(!card, "digits of the pause are in {name}");
    }
}

/// How many whole payloads are in the parts.
pub fn kept(recorded: &Recorded, payload: &[u8]) -> usize {
    let bytes: Vec<u8> = recorded.parts().iter().flat_map(|p| std::fs::read(p).unwrap()).collect();
    bytes.windows(payload.len()).filter(|w| *w == payload).count()
}

/// The id of the dialog's call, once it is on disk.
pub fn id_of(server: &Server, sip_call_id: &str) -> String {
    let look = || server.recorded(sip_call_id).map(|r| r.id()).ok_or_else(|| "no call".to_owned());
    wait_until("the call to be on disk", PATIENCE, look)
}
