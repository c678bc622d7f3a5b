//! Where requests of ours go within a dialog, by the transport that its client uses, and what answers name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is test code")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Mono, Now, WallTime};
use sip::{
    Agent, AgentConfig, Destination, EndCause, Event, Flow, FlowId, HostId, Query, SessionId, Transport,
};

const SDP: &[u8] = b"v=0\r\n";

fn now(seconds: u64) -> Now {
    let since = Duration::from_secs(seconds);
    Now { mono: Mono::ZERO + since, wall: WallTime::from_millis(1_795_166_100_000) + since }
}

fn flow(transport: Transport) -> Flow {
    let (local, remote) = (([192, 0, 2, 1], 5061).into(), ([192, 0, 2, 7], 40_000).into());
    Flow { id: FlowId(1), transport, local, remote }
}

/// An agent with one call on this flow, answered and acknowledged; with it the 200.
fn call(flow: Flow, uri: &str, contact: &str) -> (Agent, SessionId, String) {
    let mut agent = Agent::new(AgentConfig::default(), [3; 32]);
    let names: Arc<[String]> = Arc::new(["sbc.example".to_owned()]);
    agent.flow_authenticated(flow, Arc::clone(&names));
    let head = |method: &str, to: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS df7jal23ls0d.invalid;branch=z9hG4bK{method};rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=a\r\n\
             To: <sip:r@c>{to}\r\nCall-ID: x\r\nCSeq: 1 {method}\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    agent.receive_datagram(now(0), flow, Bytes::from(head("INVITE", "")));
    let Some(Event::Invited { session, request }) = agent.poll_event() else { panic!("no call") };
    if flow.transport != Transport::Udp {
        assert_eq!(request.peer_names, names);
    }
    agent.accept(now(0), session, Bytes::from_static(SDP), &[]).unwrap();
    let answer = std::iter::from_fn(|| agent.poll_transmit()).last().unwrap();
    assert_eq!(answer.to, Destination::Flow(flow.id));
    let answer = String::from_utf8(answer.bytes.to_vec()).unwrap();
    let tag = answer.lines().find(|l| l.starts_with("To:")).unwrap().split(";tag=").nth(1).unwrap();
    agent.receive_datagram(now(0), flow, Bytes::from(head("ACK", &format!(";tag={tag}"))));
    while agent.poll_event().is_some() {}
    (agent, session, answer)
}

fn bye(agent: &mut Agent, session: SessionId) -> (Destination, String) {
    agent.bye(now(1), session, None).unwrap();
    let bye = agent.poll_transmit().unwrap();
    (bye.to, String::from_utf8(bye.bytes.to_vec()).unwrap())
}

fn address(transport: Transport, remote: &str) -> Destination {
    Destination::Address { transport, remote: remote.parse::<SocketAddr>().unwrap() }
}

#[test]
fn a_client_is_reached_over_its_connection_whatever_its_contact_says() {
    for (transport, token) in
        [(Transport::Tcp, "TCP"), (Transport::Tls, "TLS"), (Transport::Ws, "WS"), (Transport::Wss, "WSS")]
    {
        for contact in ["sip:a@198.51.100.9:5090;transport=udp", "sip:a@df7jal23ls0d.invalid;transport=ws"] {
            let (mut agent, session, _) = call(flow(transport), "sip:r@c", contact);
            let (to, bye) = bye(&mut agent, session);
            assert_eq!(to, Destination::Flow(FlowId(1)), "{transport:?} {contact}");
            assert!(bye.contains(&format!("Via: SIP/2.0/{token} ")), "{bye}");
        }
    }
}

#[test]
fn when_its_connection_is_gone_the_contact_leads_back_but_not_to_a_browser() {
    for (transport, contact, expected) in [
        (Transport::Tls, "sip:a@198.51.100.9:5090", address(Transport::Tls, "198.51.100.9:5090")),
        (Transport::Tls, "sips:a@198.51.100.9;transport=tcp", address(Transport::Tls, "198.51.100.9:5061")),
        (Transport::Tcp, "sip:a@198.51.100.9", address(Transport::Tcp, "198.51.100.9:5060")),
        (Transport::Tls, "sip:a@pbx.example", address(Transport::Tls, "192.0.2.7:5061")),
        (Transport::Wss, "sip:a@198.51.100.9", Destination::Flow(FlowId(1))),
    ] {
        let (mut agent, session, _) = call(flow(transport), "sip:r@c", contact);
        agent.flow_closed(now(1), FlowId(1));
        let (to, _) = bye(&mut agent, session);
        assert_eq!(to, expected, "{transport:?} {contact}");
        agent.unreachable(now(1), to);
        let Some(Event::Ended { cause, .. }) = agent.poll_event() else { panic!("it goes on") };
        assert_eq!((cause, agent.stats().sessions), (EndCause::Local, 0), "and nobody waits");
    }
}

#[test]
fn answers_name_the_transport_and_keep_to_sips() {
    let contact = |transport, uri| call(flow(transport), uri, "sip:a@198.51.100.9").2;
    assert!(contact(Transport::Tls, "sip:r@c").contains("<sip:callspool@192.0.2.1:5061;transport=tls>"));
    assert!(contact(Transport::Tls, "sips:r@c").contains("<sips:callspool@192.0.2.1:5061;transport=tcp>"));
    assert!(contact(Transport::Wss, "sip:r@c").contains("<sip:callspool@192.0.2.1:5061;transport=ws>"));
}

#[test]
fn a_name_is_looked_up_and_its_next_address_is_tried_when_one_fails() {
    let named = |last: u8| Destination::Named {
        transport: Transport::Udp,
        remote: ([198, 51, 100, last], 5060).into(),
        host: HostId(1),
    };
    let (mut agent, session, _) = call(flow(Transport::Udp), "sip:r@c", "sip:a@PBX.example");
    let query = agent.poll_query().unwrap();
    assert_eq!(Some(&query), Query::new("pbx.example", None, None).as_ref());
    agent.resolved(now(0), &query, vec![named(1), named(2)]);
    let (to, first) = bye(&mut agent, session);
    assert_eq!(to, named(1));
    agent.unreachable(now(1), to);
    let second = agent.poll_transmit().unwrap();
    assert_eq!(second.to, named(2));
    let second = String::from_utf8(second.bytes.to_vec()).unwrap();
    let line = |text: &str, name: &str| text.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    assert_eq!(line(&first, "CSeq"), line(&second, "CSeq"), "the same request");
    assert_ne!(line(&first, "Via"), line(&second, "Via"), "a new transaction");
    // 64*T1 without an answer is a failure too; then there is nothing left, and the call is over.
    agent.handle_timeout(now(40));
    while agent.poll_transmit().is_some() {}
    assert!(matches!(agent.poll_event(), Some(Event::Ended { cause: EndCause::Local, .. })));
    assert_eq!(agent.stats().transactions, 0);
}

/// Flows over UDP are forgotten when there are too many, which made-up sources can bring about; the address of the
/// peer is still known, and its call must not be lost for that.
#[test]
fn a_udp_flow_that_was_forgotten_does_not_cost_the_call() {
    let (mut agent, session, _) = call(flow(Transport::Udp), "sip:r@c", "sip:a@192.0.2.7:40000");
    agent.flow_closed(now(1), FlowId(1));
    let (to, _) = bye(&mut agent, session);
    assert_eq!(to, address(Transport::Udp, "192.0.2.7:40000"));
}
