//! sipp, which plays the communications manager: scenarios are in `tests/sipp/`.
//!
//! What recording clients of each kind send is written as flows (`flow`), in `crates/call/tests/ladders/dialects`; a
//! scenario is made of them. sipp signals only; media are sent by the test itself (`rtp`), to the ports that the answers name.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::flow::Flow;
use super::messages::{self, SipMessage, Way};
use super::program::Program;
use super::server::Server;
use super::{PATIENCE, wait_until};

/// How long a scenario takes at most, unless it says otherwise: longer than anything that it waits for.
const LIMIT: Duration = Duration::from_secs(40);

/// How long parties talk at a time where a scenario goes by the clock: flows over TCP.
pub const STRETCH: Duration = Duration::from_millis(1_200);

/// A scenario that is about to run.
pub struct Scenario {
    file: PathBuf,
    /// What the file is made of, when it does not exist yet.
    flow: Option<Flow>,
    name: String,
    transport: &'static str,
    host: &'static str,
    /// The address that it sends from; none: the same that it sends to.
    from: Option<&'static str>,
    limit: Duration,
    keys: Vec<(String, String)>,
}

impl Scenario {
    /// The scenario in `tests/sipp/<file>.xml`, over UDP and IPv4.
    pub fn new(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(file).with_extension("xml");
        Self {
            file: path,
            flow: None,
            name: file.to_owned(),
            transport: "u1",
            host: "127.0.0.1",
            from: None,
            limit: LIMIT,
            keys: Vec::new(),
        }
    }

    /// What clients of this kind send: the flow in `crates/call/tests/ladders/dialects/<name>.flow`.
    pub fn of_kind(name: &str) -> Self {
        Self::of(name, flow(name))
    }

    /// A flow of the test's own.
    pub fn of(name: &str, flow: Flow) -> Self {
        let transport = if flow.tcp { "t1" } else { "u1" };
        Self { transport, flow: Some(flow), ..Self::new(name) }
    }

    /// Over one TCP connection.
    pub fn tcp(mut self) -> Self {
        self.transport = "t1";
        self
    }

    /// Over IPv6.
    pub fn v6(mut self) -> Self {
        self.host = "[::1]";
        self
    }

    /// From this address of the machine.
    pub fn from(mut self, address: &'static str) -> Self {
        self.from = Some(address);
        self
    }

    /// Takes no longer than this; else 40 s.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Its Call-ID begins so; else with the name of the file.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// What `[key]` stands for in the scenario.
    pub fn key(mut self, key: &str, value: impl ToString) -> Self {
        self.keys.push((key.to_owned(), value.to_string()));
        self
    }

    /// Whether it waits for the test to say go on.
    pub fn waits(&self) -> bool {
        std::fs::read_to_string(&self.file).expect("a scenario").contains("request=\"NOTIFY\"")
    }

    /// Runs it, once.
    pub fn start(mut self, server: &Server) -> Sipp {
        if let Some(flow) = &self.flow {
            self.file = server.directory().join(&self.name).with_extension("xml");
            std::fs::write(&self.file, flow.scenario(STRETCH.as_millis())).expect("a scenario");
        }
        let base = server.directory().join(&self.name);
        let (trace, errors, output) =
            (base.with_extension("trace"), base.with_extension("errors"), base.with_extension("out"));
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(&self.file).args(["-m", "1", "-nostdin", "-t", self.transport]);
        let own = self.from.unwrap_or_else(|| self.host.trim_matches(['[', ']']));
        command.args(["-i", own]);
        // SIP, control, and what it opens for media although it sends none: audio and video, RTP and RTCP.
        let port = server.ports().next_of(6);
        let (control, media) = ((port + 1).to_string(), (port + 2).to_string());
        command.args(["-p", &port.to_string(), "-cp", &control, "-mp", &media]);
        if self.flow.as_ref().is_some_and(Flow::hurries) {
            // Answers may come while it still sends; those that it needs come again.
            command.args(["-default_behaviors", "all,-abortunexp"]);
        }
        command.args(["-cid_str", &format!("{}-%u@test.invalid", self.name)]);
        command
            .args([
                "-timeout",
                &format!("{}s", self.limit.as_secs()),
                "-timeout_error",
                "-trace_msg",
                "-message_file",
            ])
            .arg(&trace);
        command.args(["-trace_err", "-error_file"]).arg(&errors);
        let defaults = [("caller", "1001"), ("called", "recorder"), ("bye_header", "X-Nothing: none")];
        let defaults = defaults.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let absent = |key: &str| self.keys.iter().all(|(k, _)| k != key);
        for (key, value) in defaults.iter().filter(|(key, _)| absent(key)).chain(&self.keys) {
            command.args(["-key", key, value]);
        }
        command.arg(format!("{}:{}", self.host, server.ports().sip()));
        command.current_dir(server.directory());
        let call_id = format!("{}-1@test.invalid", self.name);
        let here = SocketAddr::new(own.parse().unwrap(), port);
        let program = Program::start(command, &output);
        Sipp { program, trace, errors, call_id, here, limit: self.limit, told: 0 }
    }
}

/// What clients of a kind send.
pub fn flow(name: &str) -> Flow {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../call/tests/ladders/dialects");
    let path = directory.join(name).with_extension("flow");
    Flow::read(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// A scenario that runs.
pub struct Sipp {
    program: Program,
    trace: PathBuf,
    errors: PathBuf,
    call_id: String,
    here: SocketAddr,
    limit: Duration,
    told: u32,
}

impl Sipp {
    /// Its Call-ID header.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// What has been sent and received so far.
    pub fn messages(&self) -> Vec<SipMessage> {
        messages::read(&String::from_utf8_lossy(&std::fs::read(&self.trace).unwrap_or_default()))
    }

    /// Waits for a message that comes from callspool.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&SipMessage) -> bool) -> SipMessage {
        let (trace, errors) = (self.trace.clone(), self.errors.clone());
        let program = &mut self.program;
        wait_until(what, PATIENCE, || {
            let ended = program.ended();
            let bytes = std::fs::read(&trace).unwrap_or_default();
            let messages = messages::read(&String::from_utf8_lossy(&bytes));
            let found = messages.iter().find(|m| m.way == Way::Received && is_it(m)).cloned();
            match (found, ended) {
                (Some(message), _) => Ok(message),
                (None, Some(status)) => {
                    panic!("sipp ended ({status}) before {what}:\n{}", tell(&errors, &messages))
                }
                (None, None) => Err(messages.last().map_or("nothing".into(), |m| m.start_line().to_owned())),
            }
        })
    }

    /// Waits for the 2xx to the request with this CSeq, `1 INVITE`.
    pub fn answer(&mut self, cseq: &str) -> SipMessage {
        let is_final = |m: &SipMessage| m.answers(cseq) && m.status().is_some_and(|s| s >= 200);
        let answer = self.wait_for(&format!("the answer to {cseq}"), is_final);
        assert!(answer.status().is_some_and(|s| s < 300), "{cseq} was refused:\n{}", answer.text);
        answer
    }

    /// Lets a scenario over UDP go on that waits for a NOTIFY: the test plays it, within the dialog.
    pub fn go_on(&mut self) {
        self.told += 1;
        let is_answer = |m: &SipMessage| {
            m.status() == Some(200) && m.header("CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"))
        };
        let answer = self.wait_for("the answer to the INVITE", is_answer);
        let header = |name| answer.header(name).unwrap_or_default();
        let notify = format!(
            "NOTIFY sip:sipp@{here} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKgo{told}\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {told} NOTIFY\r\nContent-Length: 0\r\n\r\n",
            header("To"),
            header("From"),
            self.call_id,
            here = self.here,
            told = self.told,
        );
        let any = SocketAddr::new(self.here.ip(), 0);
        let socket = UdpSocket::bind(any).expect("a socket");
        socket.send_to(notify.as_bytes(), self.here).expect("a datagram to sipp");
    }

    /// Waits until the scenario is over, which must have gone as written; returns its messages.
    pub fn finish(mut self) -> Vec<SipMessage> {
        let status = self.program.wait(self.limit + PATIENCE);
        let messages = self.messages();
        let told = || tell(&self.errors, &messages);
        assert!(status.success(), "the scenario did not go as written ({status}):\n{}", told());
        messages
    }
}

fn tell(errors: &Path, messages: &[SipMessage]) -> String {
    let mut told = std::fs::read_to_string(errors).unwrap_or_default();
    for message in messages {
        told.push_str(&format!("── {:?}\n{}", message.way, message.text));
    }
    told
}
