//! Reliable provisional responses (RFC 3262): what a client that takes them gets, and what its PRACK gets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is test code")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use model::Mono;
use pair::{Side, config, header, label, now};
use sip::{Agent, EndCause, Event, Flow, FlowId, SessionId, Transport};

struct Server {
    agent: Agent,
    at: Mono,
    session: Option<SessionId>,
}

impl Server {
    /// With an INVITE that has this header line.
    fn invited(line: &str) -> Self {
        let mut server =
            Self { agent: Agent::new(config(Side::Server), [9; 32]), at: Mono::ZERO, session: None };
        server.send("INVITE", 1, "<sip:record@192.0.2.2>", line, "");
        server.sent();
        while let Some(event) = server.agent.poll_event() {
            if let Event::Invited { session, .. } = event {
                server.session = Some(session);
            }
        }
        server
    }

    fn send(&mut self, method: &str, cseq: u32, to: &str, line: &str, body: &str) {
        let flow = Flow {
            id: FlowId(1),
            transport: Transport::Udp,
            local: Side::Server.address(),
            remote: Side::Client.address(),
        };
        let text = format!(
            "{method} sip:record@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{method}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@192.0.2.1>;tag=a\r\nTo: {to}\r\nCall-ID: c@192.0.2.1\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:a@192.0.2.1:5060>\r\n{line}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.agent.receive_datagram(now(self.at), flow, Bytes::from(text));
    }

    fn sent(&mut self) -> Vec<String> {
        let transmits = std::iter::from_fn(|| self.agent.poll_transmit());
        transmits.map(|t| String::from_utf8_lossy(&t.bytes).into_owned()).collect()
    }

    fn labels(&mut self) -> Vec<String> {
        self.sent().iter().map(|text| label(text.as_bytes())).collect()
    }

    fn ring(&mut self) {
        self.agent.ring(now(self.at), self.session.unwrap()).unwrap();
    }

    /// Rings; the number and the To of the response.
    fn ring_with_number(&mut self) -> (u32, String) {
        self.ring();
        let sent = self.sent();
        let [ringing] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!(header(ringing, "Require").as_deref(), Some("100rel"), "{ringing}");
        (header(ringing, "RSeq").unwrap().parse().unwrap(), header(ringing, "To").unwrap())
    }

    /// Lets time pass; what was sent, by when.
    fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.at + time;
        let mut sent = Vec::new();
        while let Some(at) = self.agent.next_timeout().filter(|at| *at <= end) {
            self.at = at;
            self.agent.handle_timeout(now(at));
            let seconds = at.since(Mono::ZERO).as_secs_f64();
            sent.extend(self.labels().into_iter().map(|label| format!("{seconds} {label}")));
        }
        self.at = end;
        sent
    }
}

const TAKES: &str = "Supported: 100rel\r\n";
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn who_does_not_take_them_gets_none() {
    let mut server = Server::invited("Supported: timer\r\n");
    server.ring();
    let sent = server.sent();
    assert!(sent.len() == 1 && header(&sent[0], "RSeq").is_none(), "{sent:?}");
}

#[test]
fn they_are_repeated_until_prack_and_numbered_on() {
    for line in [TAKES, "Require: 100rel\r\n"] {
        let mut server = Server::invited(line);
        let (number, to) = server.ring_with_number();
        assert!((1..=0x7fff_ffff).contains(&number));
        assert_eq!(
            server.wait(Duration::from_secs(4)),
            ["0.5 180/INVITE", "1.5 180/INVITE", "3.5 180/INVITE"]
        );
        server.ring();
        assert_eq!(server.labels(), Vec::<String>::new(), "one at a time");
        server.send("PRACK", 2, &to, &format!("RAck: {} 1 INVITE\r\n", number + 1), "");
        server.send("PRACK", 3, &to, &format!("RAck: {number} 2 INVITE\r\n"), "");
        server.send("PRACK", 4, &to, "", "");
        assert_eq!(server.labels(), ["481/PRACK"; 3]);
        server.send("PRACK", 5, &to, &format!("RAck: {number} 1 INVITE\r\n"), "");
        server.send("PRACK", 6, &to, &format!("RAck: {number} 1 INVITE\r\n"), "");
        assert_eq!(server.labels(), ["200/PRACK", "481/PRACK"], "each is acknowledged once");
        assert_eq!(server.ring_with_number().0, number + 1);
    }
}

#[test]
fn without_prack_the_invite_is_given_up() {
    let mut server = Server::invited(TAKES);
    server.ring_with_number();
    let sent = server.wait(MINUTE);
    assert_eq!(sent.iter().find(|line| !line.ends_with("180/INVITE")).unwrap(), "32 504/INVITE");
    let events: Vec<_> = std::iter::from_fn(|| server.agent.poll_event()).collect();
    assert!(
        matches!(events.as_slice(), [Event::Ended { cause: EndCause::RequestTimeout, .. }]),
        "{events:?}"
    );
}

/// Our provisional responses carry no SDP, so nothing of the negotiation waits for PRACK.
#[test]
fn the_answer_waits_for_no_prack_and_a_late_one_is_acknowledged() {
    let mut server = Server::invited(TAKES);
    let (number, to) = server.ring_with_number();
    let session = server.session.unwrap();
    server.agent.accept(now(server.at), session, pair::sdp("offer"), &[]).unwrap();
    let answer = server.sent();
    assert!(header(&answer[0], "Supported").unwrap().contains("100rel"), "{}", answer[0]);
    server.send("PRACK", 2, &to, &format!("RAck: {number} 1 INVITE\r\n"), "");
    assert_eq!(server.labels(), ["200/PRACK"]);
    server.send("ACK", 1, &to, "", "v=0\r\n");
    assert!(matches!(server.agent.poll_event(), Some(Event::Confirmed { .. })));
    let again = server.wait(MINUTE);
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn an_offer_in_prack_is_refused() {
    let mut server = Server::invited(TAKES);
    let (number, to) = server.ring_with_number();
    server.send("PRACK", 2, &to, &format!("RAck: {number} 1 INVITE\r\n"), "v=0\r\n");
    assert_eq!(server.labels(), ["488/PRACK"]);
    assert!(server.wait(Duration::from_secs(20)).is_empty(), "it is acknowledged all the same");
}
