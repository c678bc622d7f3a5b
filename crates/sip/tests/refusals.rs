//! Messages that no session asked for: what each is answered, and that it leaves nothing behind.

mod pair;

use std::net::SocketAddr;

use bytes::Bytes;
use model::Mono;
use pair::{Pair, Side, config, header, label, now, sdp};
use sip::{Agent, AgentConfig, Destination, Event, Flow, FlowId, Transport};

/// A request with everything it needs; `more` are further header lines, each with its line end.
fn request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:record@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:record@192.0.2.2>\r\nCall-ID: c@192.0.2.1\r\nCSeq: 1 {method}\r\nContact: <sip:a@192.0.2.1:5060>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn flow() -> Flow {
    Flow {
        id: FlowId(1),
        transport: Transport::Udp,
        local: Side::Server.address(),
        remote: Side::Client.address(),
    }
}

fn answers(agent: &mut Agent, message: &str) -> Vec<String> {
    agent.receive_datagram(now(Mono::ZERO), flow(), Bytes::copy_from_slice(message.as_bytes()));
    std::iter::from_fn(|| agent.poll_transmit())
        .map(|t| String::from_utf8_lossy(&t.bytes).into_owned())
        .collect()
}

/// One message to a fresh agent: the labels of the answers, and one header of the first.
fn check(message: &str, expect: &[&str], expect_header: Option<(&str, &str)>) {
    let mut agent = Agent::new(config(Side::Server), [9; 32]);
    let answers = answers(&mut agent, message);
    let labels: Vec<String> = answers.iter().map(|a| label(a.as_bytes())).collect();
    assert_eq!(labels, expect, "{message}");
    if let Some((name, value)) = expect_header {
        assert_eq!(header(&answers[0], name).as_deref(), Some(value), "{}", answers[0]);
    }
    let stats = agent.stats();
    assert_eq!((stats.sessions, stats.transactions, stats.timers), (0, 0, 0), "nothing stays of {message}");
}

#[test]
fn what_cannot_be_served_is_refused_and_leaves_nothing() {
    let allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, MESSAGE, PRACK";
    for method in ["REGISTER", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "MESSAGE", "FOO"] {
        check(&request(method, ""), &[&format!("405/{method}")], Some(("Allow", allow)));
    }
    for method in ["BYE", "INFO", "UPDATE", "PRACK", "CANCEL"] {
        check(&request(method, ""), &[&format!("481/{method}")], None);
        let within = request(method, "").replace("To: <sip:record@192.0.2.2>", "To: <sip:r@h>;tag=nobody");
        check(&within, &[&format!("481/{method}")], None);
    }
    check(&request("ACK", ""), &[], None);
    let within = request("INVITE", "").replace("To: <sip:record@192.0.2.2>", "To: <sip:r@h>;tag=nobody");
    check(&within, &["481/INVITE"], None);
    check(
        &request("OPTIONS", ""),
        &["200/OPTIONS"],
        Some((
            "Accept",
            "application/sdp, application/rs-metadata+xml, application/rs-metadata, multipart/mixed",
        )),
    );
    check(&request("OPTIONS", "Require: x\r\n"), &["420/OPTIONS"], Some(("Unsupported", "x")));
    check(&request("INVITE", "Require: siprec, x, timer\r\n"), &["420/INVITE"], Some(("Unsupported", "x")));
    check(
        &request("INVITE", "").replace("INVITE sip:record@192.0.2.2", "INVITE http://192.0.2.2"),
        &["416/INVITE"],
        None,
    );
    check(
        &request("INVITE", "Supported: timer\r\nSession-Expires: 30\r\n"),
        &["422/INVITE"],
        Some(("Min-SE", "90")),
    );
}

#[test]
fn what_is_malformed_is_answered_where_it_can_be() {
    check(&request("INVITE", "").replace("CSeq: 1 INVITE", "CSeq: 1 BYE"), &["400/BYE"], None);
    check(&request("INVITE", "").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), &["505/INVITE"], None);
    check(&request("INVITE", "").replace("Content-Length: 0", "Content-Length: 10"), &["400/INVITE"], None);
    check(&request("INVITE", "no header\r\n"), &["400/INVITE"], None);
    check(&request("INVITE", "").replace("Call-ID: c@192.0.2.1\r\n", ""), &[], None);
    check("", &[], None);
    check("\r\n\r\n", &[], None);
    check("\0", &[], None);
    check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[], None);
    check("SIP/2.0 200 OK\r\n\r\n", &[], None);
    check(&request("ACK", "").replace("Content-Length: 0", "Content-Length: 10"), &[], None);
    // A keep-alive before the message is none of it; a missing Max-Forwards matters only to proxies.
    check(
        &format!("\r\n\r\n{}", request("OPTIONS", "").replace("Max-Forwards: 70\r\n", "")),
        &["200/OPTIONS"],
        None,
    );
}

#[test]
fn an_answer_without_transaction_is_the_same_each_time() {
    let mut agent = Agent::new(config(Side::Server), [9; 32]);
    let first = answers(&mut agent, &request("OPTIONS", ""));
    assert_eq!(first, answers(&mut agent, &request("OPTIONS", "")));
    assert!(header(&first[0], "To").unwrap().contains(";tag="));
}

/// RFC 3261 section 18.2.2 and RFC 3581: where a response goes, and what its Via says.
#[test]
fn responses_find_their_way_back() {
    let cases = [
        ("192.0.2.1:5060;branch=z9hG4bK1;rport", 5060, Some(5060), "received=192.0.2.1;rport=5060"),
        ("10.0.0.1:5062;branch=z9hG4bK1;rport", 40_000, Some(40_000), "received=192.0.2.1;rport=40000"),
        // No rport: to the port that Via names, at the address that the request came from.
        ("10.0.0.1:5062;branch=z9hG4bK1", 40_000, None, "received=192.0.2.1"),
        ("client.example;branch=z9hG4bK1", 40_000, None, "received=192.0.2.1"),
        // Someone else's idea of it is not believed.
        (
            "10.0.0.1:5062;received=203.0.113.9;branch=z9hG4bK1;rport=9",
            40_000,
            Some(40_000),
            "received=192.0.2.1;rport=40000",
        ),
    ];
    for (via, source, over_flow, expect) in cases {
        let mut agent = Agent::new(config(Side::Server), [9; 32]);
        let message = request("OPTIONS", "").replace("192.0.2.1:5060;branch=z9hG4bK1;rport", via);
        let remote = SocketAddr::new(Side::Client.address().ip(), source);
        agent.receive_datagram(now(Mono::ZERO), Flow { remote, ..flow() }, message.into());
        let transmit = agent.poll_transmit().unwrap();
        let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
        assert!(header(&text, "Via").unwrap().ends_with(expect), "{text}");
        assert!(!text.contains("203.0.113.9"), "{text}");
        match (over_flow, transmit.to) {
            (Some(_), Destination::Flow(FlowId(1))) => {}
            (None, Destination::Address { remote: to, .. }) => {
                assert_eq!(to.ip(), remote.ip());
                assert_eq!(to.port(), if via.contains("5062") { 5062 } else { 5060 });
            }
            other => panic!("{via}: {other:?}"),
        }
    }
}

#[test]
fn several_vias_stay_in_order_and_untouched() {
    let mut agent = Agent::new(config(Side::Server), [9; 32]);
    let message = request("OPTIONS", "").replace(
        ";rport\r\n",
        ";x=\"a,;b\";rport, SIP / 2.0 / TCP proxy.example ;branch=z9hG4bK2 , SIP/2.0/UDP c\r\nVia: SIP/2.0/UDP d;branch=q\r\n",
    );
    let answer = &answers(&mut agent, &message)[0];
    let vias: Vec<&str> = answer.lines().filter(|line| line.starts_with("Via:")).collect();
    assert_eq!(
        vias,
        [
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;x=\"a,;b\";received=192.0.2.1;rport=5060, SIP / 2.0 / TCP proxy.example ;branch=z9hG4bK2 , SIP/2.0/UDP c",
            "Via: SIP/2.0/UDP d;branch=q"
        ]
    );
}

#[test]
fn a_response_on_a_connection_that_broke_goes_to_via() {
    let mut agent = Agent::new(config(Side::Server), [9; 32]);
    let time = now(Mono::ZERO);
    let remote = SocketAddr::new(Side::Client.address().ip(), 40_000);
    let flow = Flow { transport: Transport::Tcp, remote, ..flow() };
    let mut framer = sip::Framer::new();
    for message in framer.push(request("INVITE", "").as_bytes()).unwrap() {
        agent.receive_message(time, flow, message);
    }
    assert_eq!(agent.poll_transmit().unwrap().to, Destination::Flow(FlowId(1)));
    let Some(Event::Invited { session, .. }) = agent.poll_event() else { panic!("no INVITE") };
    agent.flow_closed(time, FlowId(1));
    agent.accept(time, session, sdp("answer"), &[]).unwrap();
    let to = agent.poll_transmit().unwrap().to;
    assert_eq!(to, Destination::Address { transport: Transport::Tcp, remote: Side::Client.address() });
}

#[test]
fn at_the_limit_of_sessions_new_calls_get_503_and_old_ones_go_on() {
    let server = AgentConfig { sessions_max: 2, ..config(Side::Server) };
    let mut pair = Pair::with(Transport::Udp, config(Side::Client), server);
    pair.run("client invite one\nwait 20ms\nserver accept one\nwait 20ms\nclient invite two\nwait 20ms\nserver accept two\nwait 20ms\nclient invite three\nwait 20ms");
    assert!(pair.trace.contains("503/INVITE Retry-After=10"), "{}", pair.trace);
    assert!(pair.trace.contains("client Refused 503"), "{}", pair.trace);
    assert_eq!(pair.server.stats().sessions, 2);
    assert_eq!(pair.server.stats().refused_at_limit, 1);
    pair.run("server bye\nwait 100ms\nclient invite four\nwait 20ms");
    assert!(pair.trace.contains("server Invited [four]"), "{}", pair.trace);
}

#[test]
fn at_the_limit_of_transactions_new_calls_get_503_and_hanging_up_still_works() {
    let server = AgentConfig { transactions_max: 4, ..config(Side::Server) };
    let mut pair = Pair::with(Transport::Udp, config(Side::Client), server);
    for _ in 0..6 {
        pair.run("client invite x\nwait 20ms");
    }
    let stats = pair.server.stats();
    assert_eq!((stats.sessions, stats.transactions, stats.refused_at_limit), (4, 4, 2));
    pair.run("server accept y\nwait 20ms\nserver bye\nwait 100ms");
    assert!(pair.trace.contains("server Ended Local"), "{}", pair.trace);
}

/// RFC 3261 section 18.1.1.
#[test]
fn a_long_invite_leaves_udp_unless_told_to_stay() {
    for (force_udp, length, expect) in [(false, 100, "UDP"), (false, 3000, "TCP"), (true, 3000, "UDP")] {
        let mut agent = Agent::new(AgentConfig { force_udp, ..config(Side::Client) }, [1; 32]);
        let invite = sip::Outgoing {
            to_uri: "sip:r@192.0.2.2".into(),
            from_uri: "sip:a@192.0.2.1".into(),
            display: None,
            destination: Destination::Address { transport: Transport::Udp, remote: Side::Server.address() },
            bodies: vec![sip::Body {
                content_type: "application/sdp".into(),
                bytes: sdp(&"x".repeat(length)),
            }],
            extra_headers: Vec::new(),
            contact_params: String::new(),
            login: None,
        };
        agent.invite(now(Mono::ZERO), invite);
        let transmit = agent.poll_transmit().unwrap();
        let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
        assert!(header(&text, "Via").unwrap().starts_with(&format!("SIP/2.0/{expect} ")), "{text}");
        assert!(header(&text, "Contact").unwrap().contains(&format!("transport={}", expect.to_lowercase())));
        let Destination::Address { transport, .. } = transmit.to else { panic!() };
        assert_eq!(transport == Transport::Tcp, expect == "TCP");
    }
}

#[test]
fn what_cannot_be_reached_is_told() {
    let mut agent = Agent::new(config(Side::Client), [1; 32]);
    let to = Destination::Address { transport: Transport::Udp, remote: Side::Server.address() };
    let mut invite = sip::Outgoing {
        to_uri: "sip:r@192.0.2.2".into(),
        from_uri: "sip:a@192.0.2.1".into(),
        display: None,
        destination: to,
        bodies: Vec::new(),
        extra_headers: Vec::new(),
        contact_params: String::new(),
        login: None,
    };
    let first = agent.invite(now(Mono::ZERO), invite.clone());
    agent.unreachable(now(Mono::ZERO), to);
    assert!(
        matches!(agent.poll_event(), Some(Event::Ended { session, cause: sip::EndCause::TransportFailed, .. }) if session == first)
    );
    invite.to_uri = "not a uri".into();
    let second = agent.invite(now(Mono::ZERO), invite);
    assert!(
        matches!(agent.poll_event(), Some(Event::Ended { session, .. }) if session == second && second != first)
    );
    let stats = agent.stats();
    assert_eq!((stats.sessions, stats.transactions, stats.timers), (0, 0, 0));
}

/// Header injection: what a user gives can never become a header or a message of its own.
#[test]
fn nothing_that_is_given_can_break_a_line() {
    let mut agent = Agent::new(config(Side::Client), [1; 32]);
    let evil = "x\r\nInjected: yes\r\n\r\nINVITE";
    let invite = sip::Outgoing {
        to_uri: "sip:r@192.0.2.2".into(),
        from_uri: "sip:a@192.0.2.1".into(),
        display: Some(evil.into()),
        destination: Destination::Address { transport: Transport::Udp, remote: Side::Server.address() },
        bodies: vec![sip::Body { content_type: evil.into(), bytes: sdp("x") }],
        extra_headers: vec![
            (evil.into(), "a".into()),
            ("X".into(), evil.into()),
            ("Call-ID".into(), "mine".into()),
        ],
        contact_params: evil.into(),
        login: None,
    };
    agent.invite(now(Mono::ZERO), invite);
    let text = String::from_utf8_lossy(&agent.poll_transmit().unwrap().bytes).into_owned();
    assert_eq!(header(&text, "Injected"), None, "{text}");
    assert_eq!(text.matches("Call-ID:").count(), 1);
}

/// RFC 3261 section 12.2.1.1 and RFC 5626: where our requests within a dialog go, and by which route.
#[test]
fn requests_within_a_dialog_take_the_route_of_the_dialog() {
    let to =
        |address: &str| Destination::Address { transport: Transport::Udp, remote: address.parse().unwrap() };
    let over_flow = Destination::Flow(FlowId(1));
    // Contact, Record-Route, destination, Request-URI, Route.
    let cases = [
        ("<sip:a@192.0.2.1:5060>", "", over_flow, "sip:a@192.0.2.1:5060", None),
        ("<sip:a@192.0.2.77:5070>", "", to("192.0.2.77:5070"), "sip:a@192.0.2.77:5070", None),
        // Behind a NAT, a name, nothing at all: the way it came.
        ("<sip:a@10.1.1.1:5060>", "", over_flow, "sip:a@10.1.1.1:5060", None),
        ("<sip:a@client.example>", "", over_flow, "sip:a@client.example", None),
        (
            "<sip:a@192.0.2.77>",
            "Record-Route: <sip:192.0.2.50;lr>, <sip:192.0.2.51;lr>\r\n",
            to("192.0.2.50:5060"),
            "sip:a@192.0.2.77",
            Some("<sip:192.0.2.50;lr>"),
        ),
        // A strict router is itself the Request-URI, and the target goes to the end of the routes.
        (
            "<sip:a@192.0.2.77>",
            "Record-Route: <sip:192.0.2.50>\r\n",
            to("192.0.2.50:5060"),
            "sip:192.0.2.50",
            Some("<sip:a@192.0.2.77>"),
        ),
    ];
    for (contact, routes, destination, uri, route) in cases {
        let mut agent = Agent::new(config(Side::Server), [9; 32]);
        let invite = request("INVITE", routes).replace("<sip:a@192.0.2.1:5060>", contact);
        let answer = answers(&mut agent, &invite);
        assert_eq!(label(answer[0].as_bytes()), "100/INVITE");
        let Some(Event::Invited { session, .. }) = agent.poll_event() else { panic!("no INVITE: {invite}") };
        agent.accept(now(Mono::ZERO), session, sdp("answer"), &[]).unwrap();
        let ok = String::from_utf8_lossy(&agent.poll_transmit().unwrap().bytes).into_owned();
        assert_eq!(header(&ok, "Record-Route"), header(&invite, "Record-Route"));
        let to_tag = header(&ok, "To").unwrap();
        let ack = request("ACK", "").replace("To: <sip:record@192.0.2.2>", &format!("To: {to_tag}"));
        answers(&mut agent, &ack.replace("z9hG4bK1", "z9hG4bK2"));
        assert!(matches!(agent.poll_event(), Some(Event::Confirmed { .. })), "{ack}");
        agent.bye(now(Mono::ZERO), session, None).unwrap();
        let bye = agent.poll_transmit().unwrap();
        let text = String::from_utf8_lossy(&bye.bytes).into_owned();
        assert!(text.starts_with(&format!("BYE {uri} SIP/2.0\r\n")), "{text}");
        assert_eq!(bye.to, destination, "{contact} {routes}");
        assert_eq!(header(&text, "Route").as_deref(), route, "{text}");
    }
}

/// A dialog is no way around the limits: requests within one are bounded in number, whoever floods can hang up all the
/// same, and other calls notice nothing.
#[test]
fn within_a_call_requests_are_limited_and_other_calls_go_on() {
    let mut agent = Agent::new(config(Side::Server), [9; 32]);
    let send = |agent: &mut Agent, seconds: u64, method: &str, call: &str, tag: &str, cseq: u32| {
        let text = request(method, "")
            .replace("z9hG4bK1", &format!("z9hG4bK{call}{cseq}"))
            .replace("Call-ID: c@", &format!("Call-ID: {call}@"))
            .replace("To: <sip:record@192.0.2.2>", &format!("To: <sip:record@192.0.2.2>{tag}"))
            .replace("CSeq: 1 ", &format!("CSeq: {cseq} "));
        let at = Mono::ZERO + std::time::Duration::from_secs(seconds);
        agent.receive_datagram(now(at), flow(), Bytes::from(text));
        let session = std::iter::from_fn(|| agent.poll_event()).find_map(|event| match event {
            Event::Invited { session, .. } => Some(session),
            _ => None,
        });
        if let Some(session) = session {
            agent.accept(now(at), session, sdp("offer"), &[]).unwrap();
        }
        let sent: Vec<_> = std::iter::from_fn(|| agent.poll_transmit()).collect();
        String::from_utf8_lossy(&sent.last().unwrap().bytes).into_owned()
    };
    let tag = |answer: &str| format!(";tag={}", header(answer, "To").unwrap().split(";tag=").nth(1).unwrap());
    let [one, other] = ["one", "other"].map(|call| tag(&send(&mut agent, 0, "INVITE", call, "", 1)));

    let answers: Vec<String> = (2..1_002).map(|n| send(&mut agent, 0, "INFO", "one", &one, n)).collect();
    let served = answers.iter().filter(|answer| answer.starts_with("SIP/2.0 200")).count();
    assert!((40..=100).contains(&served), "{served} of 1,000 were served");
    let refused = answers.last().unwrap();
    assert!(refused.starts_with("SIP/2.0 503") && header(refused, "Retry-After").is_some(), "{refused}");
    assert_eq!(agent.stats().transactions, served + 2, "a refusal leaves nothing");

    assert!(send(&mut agent, 0, "INFO", "other", &other, 2).starts_with("SIP/2.0 200"));
    assert!(send(&mut agent, 9, "INFO", "one", &one, 1_002).starts_with("SIP/2.0 200"), "after a while");
    (1_003..1_200).for_each(|n| _ = send(&mut agent, 9, "INFO", "one", &one, n));
    assert!(send(&mut agent, 9, "BYE", "one", &one, 1_200).starts_with("SIP/2.0 200"));
}
