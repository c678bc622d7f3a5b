//! The way of a call through agent and front: INVITE with a SIPREC body of 6 kB, 200, ACK, BYE; the record server
//! answers at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::{Action, Front, FrontConfig, TrunkGate, Trunks};
use model::peer::Flowing;
use model::{Dtmf, IdGenerator, NodeNumber, Now, Order, Report, StreamPorts, TenantId, WallTime};
use sip::{Agent, AgentConfig, Flow, FlowId, Transport};

const BOUNDARY: &str = "callspool-guard";
/// Octets of a body as session border controllers send them, with what their phone systems add.
const BODY: usize = 6_000;
/// Calls that are prepared, whatever is walked of them.
const PREPARED: usize = 120;

pub(crate) fn calls(rounds: usize) {
    let invites: Vec<Bytes> = (0..PREPARED).map(invite).collect();
    let mut server = Server::new();
    for (number, invite) in invites.into_iter().take(rounds).enumerate() {
        server.receive(invite);
        let answer = server.sent.pop().expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("SIP/2.0 200"), "no 200: {answer}");
        let to = answer.lines().find(|l| l.starts_with("To:")).expect("a To").trim_end().to_owned();
        server.receive(in_dialog(number, "ACK", 1, &to));
        server.receive(in_dialog(number, "BYE", 2, &to));
        server.now = server.now + Duration::from_millis(10);
        server.sent.clear();
        server.timers();
    }
}

struct Server {
    now: Now,
    agent: Agent<TrunkGate>,
    front: Front,
    flow: Flow,
    next_port: u16,
    sent: Vec<Bytes>,
}

impl Server {
    fn new() -> Self {
        let local: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
        let remote = "192.0.2.7:5060".parse().expect("an address");
        let tenant = TenantId::default();
        let trunks = Trunks::new(Vec::new(), tenant.clone());
        let config = AgentConfig {
            advertised: vec![(Transport::Udp, local)],
            force_udp: true,
            ..AgentConfig::default()
        };
        let front = FrontConfig {
            node: NodeNumber::SINGLE,
            tenant,
            trunks: trunks.clone(),
            tenant_calls_max: BTreeMap::new(),
            calls_max: 1_000,
            linger: Duration::from_secs(3),
            hold_timeout: Duration::from_secs(7_200),
            inactive: Flowing::Held,
            pause_timeout: Duration::ZERO,
            orders_by_header: true,
            dtmf: Dtmf::Keep,
            video: true,
            address_v4: None,
            address_v6: None,
        };
        Self {
            now: Now { wall: WallTime::from_millis(1_795_166_100_000), ..Now::default() },
            agent: Agent::with_gate(config, [1; 32], TrunkGate::new(trunks, [2; 32])),
            front: Front::new(front, IdGenerator::new(NodeNumber::SINGLE, 0)),
            flow: Flow { id: FlowId(1), transport: Transport::Udp, local, remote },
            next_port: 16_384,
            sent: Vec::new(),
        }
    }

    fn receive(&mut self, datagram: Bytes) {
        self.agent.receive_datagram(self.now, self.flow, datagram);
        self.carry_out();
    }

    /// What is due by now.
    fn timers(&mut self) {
        let mono = self.now.mono;
        if self.agent.next_timeout().is_some_and(|at| at <= mono) {
            self.agent.handle_timeout(self.now);
        }
        if self.front.next_timeout().is_some_and(|at| at <= mono) {
            self.front.handle_timeout(self.now);
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            if let Some(event) = self.agent.poll_event() {
                self.front.handle_event(self.now, event);
            } else if let Some(action) = self.front.poll_action() {
                self.act(action);
            } else if let Some(transmit) = self.agent.poll_transmit() {
                self.sent.push(transmit.bytes);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Accept { session, sdp } => {
                self.agent.accept(self.now, session, sdp, &[]).expect("a session that waits");
            }
            Action::Order(Order::Open(open)) => {
                let ports = open.streams.iter().map(|s| self.ports(s.stream)).collect();
                self.front.handle_report(self.now, Report::Opened { segment: open.segment, ports });
            }
            other => drop(black_box(other)),
        }
    }

    fn ports(&mut self, stream: model::StreamId) -> StreamPorts {
        self.next_port = if self.next_port < 32_000 { self.next_port + 2 } else { 16_384 };
        let at = |port| SocketAddr::from(([0, 0, 0, 0], port));
        StreamPorts { stream, rtp: at(self.next_port), rtcp: at(self.next_port + 1), is_stuck: false }
    }
}

fn in_dialog(number: usize, method: &str, sequence: u32, to: &str) -> Bytes {
    let text = format!(
        "{method} sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{number}{method}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1001@guard.invalid>;tag={number}\r\n{to}\r\n\
         Call-ID: {number}@guard.invalid\r\nCSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n"
    );
    Bytes::from(text)
}

fn invite(number: usize) -> Bytes {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n\
         c=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    );
    for label in [1, 2] {
        let _ = write!(
            body,
            "m=audio 4{label}00 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=label:{label}\r\na=sendonly\r\n"
        );
    }
    let _ = write!(
        body,
        "\r\n--{BOUNDARY}\r\nContent-Type: application/rs-metadata+xml\r\n\
         Content-Disposition: recording-session\r\n\r\n{}\r\n--{BOUNDARY}--\r\n",
        metadata(number)
    );
    let length = body.len();
    Bytes::from(format!(
        "INVITE sip:recorder@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1001@guard.invalid>;tag={number}\r\nTo: <sip:recorder@192.0.2.1>\r\n\
         Call-ID: {number}@guard.invalid\r\nCSeq: 1 INVITE\r\nContact: <sip:src@192.0.2.7:5060>;+sip.src\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO\r\nSupported: timer, siprec\r\nRequire: siprec\r\n\
         User-Agent: guard/1\r\nContent-Type: multipart/mixed;boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// RFC 7865, with key-values of a phone system until it is as long as they are.
fn metadata(number: usize) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\" \
         xmlns:ac=\"http://guard.invalid\">\r\n<datamode>complete</datamode>\r\n\
         <session session_id=\"s{number}\"><sipSessionID>ab30317f1a784dc48ff824d0d3715d86;remote=\
         47755a9de7794ba387653f2099600ef2</sipSessionID></session>\r\n"
    );
    for (id, label) in [("a", 1), ("b", 2)] {
        let _ = write!(
            xml,
            "<participant participant_id=\"p{id}{number}\"><nameID aor=\"sip:100{label}@guard.invalid\">\
             <name xml:lang=\"en\">Person {id}</name></nameID></participant>\r\n\
             <stream stream_id=\"st{label}\" session_id=\"s{number}\"><label>{label}</label></stream>\r\n\
             <participantsessionassoc participant_id=\"p{id}{number}\" session_id=\"s{number}\">\
             <associate-time>2026-11-27T10:00:00Z</associate-time></participantsessionassoc>\r\n\
             <participantstreamassoc participant_id=\"p{id}{number}\"><send>st{label}</send>\
             <recv>st{}</recv></participantstreamassoc>\r\n",
            3 - label
        );
    }
    xml.push_str("<extensiondata>\r\n");
    let mut key = 0;
    while xml.len() < BODY {
        key += 1;
        let _ = write!(xml, "<ac:data key=\"X-Key-{key}\">value {key} of call {number}</ac:data>\r\n");
    }
    xml.push_str("</extensiondata>\r\n</recording>\r\n");
    xml
}
