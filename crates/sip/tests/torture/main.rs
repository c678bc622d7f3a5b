//! The torture messages of RFC 4475, from the RFC's descriptions, through the whole agent: what must be served
//! is served, what must be refused is refused with the right status, and nothing stays behind.
//!
//! A recorder refuses less than the RFC allows: a display name that lacks its quotes, a body or an Accept that
//! it does not know do not keep an INVITE from its user, for a call that can be recorded is recorded. Line ends are CRLF; `\x01…` bytes of
//! the RFC's binary messages are written as escapes.

mod invalid;
#[path = "../pair/mod.rs"]
mod pair;
mod valid;

use std::net::SocketAddr;

use bytes::Bytes;
use model::Mono;
use pair::{Side, config, label, now};
use sip::{Agent, Event, Flow, FlowId, Framer, Transport};

/// What becomes of a message.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    /// The user is asked.
    Invited,
    /// It is answered with this status.
    Answered(u16),
    /// Nothing comes of it.
    Silence,
}
use Outcome::{Answered, Invited, Silence};
use invalid::invalid;
use valid::valid;

struct Case {
    name: &'static str,
    outcome: Outcome,
    message: Bytes,
}

fn case(name: &'static str, outcome: Outcome, message: &str) -> Case {
    Case { name, outcome, message: message.replace('\n', "\r\n").into() }
}

fn raw(name: &'static str, outcome: Outcome, parts: &[&[u8]]) -> Case {
    Case { name, outcome, message: parts.concat().into() }
}

const SDP: &str = "v=0
o=mhandley 29739 7272939 IN IP4 192.0.2.15
s=-
c=IN IP4 192.0.2.15
t=0 0
m=audio 49217 RTP/AVP 0 12
m=video 3227 RTP/AVP 31
a=rtpmap:31 LPC
";

fn flow() -> Flow {
    let remote = SocketAddr::from(([192, 0, 2, 9], 5099));
    Flow { id: FlowId(1), transport: Transport::Udp, local: Side::Server.address(), remote }
}

#[test]
fn every_message_gets_what_it_should() {
    let cases: Vec<Case> = valid().into_iter().chain(invalid()).collect();
    assert_eq!(cases.len(), 49, "the messages of RFC 4475");
    let mut failures = Vec::new();
    for Case { name, outcome, message } in cases {
        let mut agent = Agent::new(config(Side::Server), [3; 32]);
        agent.receive_datagram(now(Mono::ZERO), flow(), message);
        let sent: Vec<String> =
            std::iter::from_fn(|| agent.poll_transmit()).map(|t| label(&t.bytes)).collect();
        let is_invited = matches!(agent.poll_event(), Some(Event::Invited { .. }));
        let status =
            sent.first().and_then(|label| label.split('/').next()).and_then(|status| status.parse().ok());
        let seen = match status {
            Some(100) if is_invited => Invited,
            Some(status) => Answered(status),
            None => Silence,
        };
        if seen != outcome {
            failures.push(format!("{name}: {seen:?} instead of {outcome:?}"));
        }
        if seen != Invited && agent.stats().transactions + agent.stats().sessions > 0 {
            failures.push(format!("{name}: something stays"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// However a stream is cut, and whatever comes on it: no panic.
#[test]
fn no_message_harms_a_stream() {
    for Case { message, .. } in valid().into_iter().chain(invalid()) {
        for step in [1, 7, 64, 4096] {
            let mut framer = Framer::new();
            let mut agent = Agent::new(config(Side::Server), [3; 32]);
            for chunk in message.chunks(step) {
                let Ok(messages) = framer.push(chunk) else { break };
                for message in messages {
                    let flow = Flow { transport: Transport::Tcp, ..flow() };
                    agent.receive_message(now(Mono::ZERO), flow, message);
                }
            }
        }
    }
}
