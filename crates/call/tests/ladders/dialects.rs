//! What recording clients of each kind send, through agent and front: flows in, ladders out.
//!
//! A flow is `dialects/NAME.flow` ([`crate::flow`]); what comes of it stands beside it as `NAME.ladder`: each message,
//! each order to the record server, and in the end what is known of the call. The record server does what it is
//! told when the client waits for an answer.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use call::{Action, AgentSide, FrontConfig, Trunk, Trunks};
use model::{CallData, Mono, TenantId};
use sip::{Agent, AgentConfig, Flow as Wire, FlowId, Framer, Transport};

use crate::flow::{Flow, Sent, Step};
use crate::world::{World, config};

const CLIENT: &str = "192.0.2.7:5060";
const SERVER: &str = "192.0.2.1:5060";

/// The ports that parties talk from, as flows call them.
const PORTS: [(&str, u16); 4] =
    [("[agent]", 6_000), ("[external]", 6_002), ("[third]", 6_004), ("[fourth]", 6_006)];

/// A client that plays a flow towards an agent and a front.
struct Client {
    world: World,
    agent: Agent,
    framer: Framer,
    tcp: bool,
    /// `;tag=…` of the server, once it is known.
    tag: String,
    /// Its Contact.
    target: String,
    sent: u32,
    answers: Vec<String>,
}

impl Client {
    fn new(tcp: bool, config: FrontConfig) -> Self {
        let at: SocketAddr = SERVER.parse().unwrap();
        let advertised = vec![(Transport::Udp, at), (Transport::Tcp, at)];
        let config_of_agent = AgentConfig { advertised, ..AgentConfig::default() };
        Self {
            world: World::of(config),
            agent: Agent::new(config_of_agent, [3; 32]),
            framer: Framer::new(),
            tcp,
            tag: String::new(),
            target: String::new(),
            sent: 0,
            answers: Vec::new(),
        }
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Send(sent) => self.send(sent),
            Step::Expect { status, cseq } => {
                self.world.answer_all();
                self.pump();
                let expected = format!("{status} {cseq}");
                let place = self.answers.iter().position(|a| *a == expected);
                let place = place
                    .unwrap_or_else(|| panic!("no {expected} in {:?}\n{}", self.answers, self.world.out));
                self.answers.remove(place);
            }
            Step::Talk => {
                self.world.answer_all();
                self.pump();
                self.world.line("──── the parties talk");
            }
        }
    }

    fn send(&mut self, sent: &Sent) {
        self.sent += 1;
        let body = self.filled(&sent.body.clone().unwrap_or_default()).replace('\n', "\r\n");
        let head = self.filled(&sent.head).replace("[len]", &body.len().to_string()).replace('\n', "\r\n");
        self.world.line(&format!("> {} {}", sent.method, sent.cseq.split(' ').next().unwrap_or_default()));
        let bytes = Bytes::from(format!("{head}\r\n{body}"));
        let now = self.world.now();
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        let (local, remote) = (SERVER.parse().unwrap(), CLIENT.parse().unwrap());
        let wire = Wire { id: FlowId(1), transport, local, remote };
        if self.tcp {
            // As TCP brings it: cut somewhere.
            let (one, two) = bytes.split_at(bytes.len() / 3);
            let mut messages = self.framer.push(one).unwrap();
            messages.extend(self.framer.push(two).unwrap());
            for message in messages {
                self.agent.receive_message(now, wire, message);
            }
        } else {
            self.agent.receive_datagram(now, wire, bytes);
        }
        self.pump();
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let (ip, port) = CLIENT.split_once(':').unwrap();
        let (server_ip, server_port) = SERVER.split_once(':').unwrap();
        for (word, value) in [
            ("[transport]", if self.tcp { "TCP" } else { "UDP" }),
            ("[local_ip]", ip),
            ("[media_ip]", ip),
            ("[local_port]", port),
            ("[remote_ip]", server_ip),
            ("[remote_port]", server_port),
            ("[caller]", "1001"),
            ("[called]", "recorder"),
            ("[pid]", "77"),
            ("[call_number]", "1"),
            ("[call_id]", "flow@test.invalid"),
            ("[peer_tag_param]", &self.tag),
            ("[next_url]", &self.target),
            ("[branch]", &format!("z9hG4bKflow{}", self.sent)),
        ] {
            text = text.replace(word, value);
        }
        for (word, port) in PORTS {
            text = text.replace(word, &port.to_string());
        }
        text
    }

    /// Does all that follows, until nothing more does.
    fn pump(&mut self) {
        loop {
            if let Some(transmit) = self.agent.poll_transmit() {
                self.hear(&String::from_utf8_lossy(&transmit.bytes));
            } else if let Some(event) = self.agent.poll_event() {
                self.world.event(event);
            } else if let Some(action) = self.world.for_agent.pop_front() {
                let now = self.world.now();
                let agent = &mut self.agent;
                match action {
                    Action::Accept { session, sdp } => agent.accept(now, session, sdp, &[]),
                    Action::Refuse { session, code, reason, headers } => {
                        agent.refuse(now, session, code, reason, &headers)
                    }
                    Action::Reoffer { session, sdp } => agent.reinvite(now, session, Some(sdp)),
                    Action::HangUp { session, reason } => agent.bye(now, session, Some(&reason)),
                    _ => Ok(()),
                }
                .unwrap();
            } else {
                return;
            }
        }
    }

    /// A message of the server.
    fn hear(&mut self, text: &str) {
        let header = |name: &str| {
            let found = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            found.unwrap_or_default().trim().to_owned()
        };
        let first = text.lines().next().unwrap_or_default();
        let Some(status) = first.strip_prefix("SIP/2.0 ").and_then(|s| s.split(' ').next()) else {
            return self.world.line(&format!("    ◄ {first}"));
        };
        if status.starts_with('1') {
            return;
        }
        if let Some((_, tag)) = header("To").split_once(";tag=") {
            self.tag = format!(";tag={tag}");
        }
        if let Some((uri, _)) = header("Contact").trim_start_matches('<').split_once('>') {
            self.target = uri.to_owned();
        }
        let answer = format!("{status} {}", header("CSeq"));
        self.world.line(&format!("    ◄ {answer}{}", picture(text)));
        self.answers.push(answer);
    }
}

/// The m-lines of an answer with what matters to the client.
fn picture(text: &str) -> String {
    let mut picture = String::new();
    for line in text.lines() {
        let attribute =
            line.strip_prefix("a=").filter(|a| !a.starts_with("rtpmap") && !a.starts_with("fmtp"));
        if line.starts_with("m=") {
            write!(picture, "\n        {line}").unwrap();
        } else if let Some(attribute) = attribute {
            write!(picture, " {attribute}").unwrap();
        }
    }
    picture
}

fn known(data: &CallData) -> String {
    let mut out = String::new();
    for party in &data.parties {
        let side = format!("{:?}", party.side).to_lowercase();
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (number, name, uri) = (or_none(&party.number), or_none(&party.name), or_none(&party.uri));
        writeln!(out, "{side}: {number}, {name}, {uri}").unwrap();
    }
    let all = data.correlation.iter().map(|(key, value)| (format!("correlated by {key}"), value));
    for (key, value) in all.chain(data.extra.iter().map(|(key, value)| (key.clone(), value))) {
        if key != "trunk" {
            writeln!(out, "{key}: {value}").unwrap();
        }
    }
    out
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ladders/dialects")
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(directory().join(name).with_extension("flow")).unwrap()
}

fn play(text: &str, config: FrontConfig) -> Client {
    let flow = Flow::read(text);
    let mut client = Client::new(flow.tcp, config);
    for step in &flow.steps {
        client.play(step);
    }
    client
}

fn check(name: &str) {
    let mut client = play(&text_of(name), config(10));
    let data = client.world.told.clone().expect("a call that was told of");
    client.world.end_all();
    assert_eq!(client.world.now().mono, Mono(0), "no flow waits for a timer");
    let ladder = format!("{}\n{}", client.world.out, known(&data));
    expect_test::expect_file![directory().join(name).with_extension("ladder")].assert_eq(&ladder);
}

/// What a trunk says of the agent decides of lines too, where headers say who is on which.
#[test]
fn the_agent_may_be_on_the_second_line_or_on_both() {
    let trunk = Trunk { agent_side: AgentSide::Number("+49*".into()), ..Trunk::open(TenantId::default()) };
    let config =
        || FrontConfig { trunks: Trunks::new(vec![trunk.clone()], TenantId::default()), ..config(10) };
    let text = text_of("cube_network_based");
    let out = play(&text, config()).world.out;
    assert!(out.contains("open 1/1 -:external:active -:agent:active"), "{out}");
    let out = play(&text.replace("media-index=\"0\"", "media-index=\"1\""), config()).world.out;
    assert!(out.contains("open 1/1 -:agent:active -:mixed:active"), "{out}");
}

macro_rules! dialects {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_flow_is_tested() {
            let mut listed = vec![$(stringify!($name).to_owned()),*];
            let files = std::fs::read_dir(directory()).unwrap().map(|e| e.unwrap().path());
            let flows = files.filter(|p| p.extension().is_some_and(|e| e == "flow"));
            let mut found: Vec<_> = flows.map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect();
            listed.sort();
            found.sort();
            assert_eq!(listed, found);
        }
    };
}

dialects! {
    audiocodes, avaya_sbce, avaya_sm, broadworks, cube, cube_network_based, freeswitch, metaswitch, metaswitch_transfer, opensips,
    oracle, refresh_on_hold, ribbon, sems,
}
