//! TLS, WebSocket and the gate before the agent over loopback: bad clients cost themselves their connection, and a
//! flood costs little.
//!
//! The modules are compiled in from the binary's sources, because a binary has no library to link.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "only a part of the binary is here")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/net/mod.rs"]
mod net;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use net::{Certificates, NetConfig, NetEvent, NetLimits, Rates, SipDriver, SipSockets, TlsFiles};
use sip::{Agent, AgentConfig, Destination, Event, Flow, FlowId, Gate, OpenGate, Transmit, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Nothing on loopback takes this long; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/WS h.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    To: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\nbody";

fn ws(limits: NetLimits) -> SipSockets {
    let ws = vec!["127.0.0.1:0".parse().unwrap()];
    SipSockets::bind(&NetConfig { ws, limits, ..NetConfig::default() }).unwrap()
}

async fn next(sockets: &mut SipSockets) -> NetEvent {
    tokio::time::timeout(PATIENCE, sockets.select()).await.expect("an event")
}

/// Connects as a client while the sockets are driven.
async fn open(
    sockets: &mut SipSockets,
    protocol: Option<&'static str>,
) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, Error> {
    let address = sockets.addresses(Transport::Ws)[0];
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    }
    let mut opening = Box::pin(tokio_tungstenite::client_async(request, stream));
    loop {
        tokio::select! {
            opened = &mut opening => return opened.map(|(socket, _)| socket),
            event = sockets.select() => assert!(matches!(event, NetEvent::FlowClosed { .. }), "{event:?}"),
        }
    }
}

#[tokio::test]
async fn a_websocket_carries_one_message_in_each_and_keep_alives_are_answered() {
    let mut sockets = ws(NetLimits::default());
    let mut client = open(&mut sockets, Some("xmpp, sip")).await.unwrap();
    for message in [Message::text(OPTIONS), Message::binary(OPTIONS.as_bytes().to_vec())] {
        client.send(message).await.unwrap();
        let NetEvent::Message { flow, message } = next(&mut sockets).await else { panic!("no message") };
        assert_eq!((flow.transport, message.body().as_ref()), (Transport::Ws, &b"body"[..]));
        sockets.send(Transmit {
            to: Destination::Flow(flow.id),
            bytes: Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n"),
        });
        let answer = tokio::select! {
            answer = client.next() => answer.unwrap().unwrap(),
            event = sockets.select() => panic!("unexpected {event:?}"),
        };
        assert_eq!(answer, Message::text("SIP/2.0 200 OK\r\n\r\n"));
    }
    client.send(Message::text("\r\n\r\n")).await.unwrap();
    let pong = tokio::select! {
        pong = client.next() => pong.unwrap().unwrap(),
        event = sockets.select() => panic!("unexpected {event:?}"),
    };
    assert_eq!(pong, Message::text("\r\n"));
}

#[tokio::test]
async fn without_the_subprotocol_there_is_no_websocket() {
    for protocol in [None, Some("xmpp")] {
        let mut sockets = ws(NetLimits::default());
        match open(&mut sockets, protocol).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400),
            other => panic!("{other:?}"),
        }
        if sockets.stats().handshake_failures == 0 {
            next(&mut sockets).await;
        }
        assert_eq!(sockets.stats().handshake_failures, 1);
    }
}

#[tokio::test]
async fn what_is_too_long_or_no_sip_closes_the_websocket_and_no_other() {
    let mut sockets = ws(NetLimits::default());
    let mut good = open(&mut sockets, Some("sip")).await.unwrap();
    let two = OPTIONS.replace("CSeq", "Content-Length: 4\r\nCSeq").repeat(2);
    for bad in ["a".repeat(300 << 10), "hello".to_owned(), two] {
        let mut client = open(&mut sockets, Some("sip")).await.unwrap();
        // It may be cut off before all is sent.
        let sent = tokio::spawn(async move { client.send(Message::text(bad)).await });
        let NetEvent::FlowClosed { dialed: None, .. } = next(&mut sockets).await else {
            panic!("not closed")
        };
        let _ = sent.await;
    }
    assert_eq!(sockets.stats().closed_bad, 3);
    good.send(Message::text(OPTIONS)).await.unwrap();
    assert!(matches!(next(&mut sockets).await, NetEvent::Message { .. }));
}

#[tokio::test]
async fn who_does_not_answer_pings_is_closed_and_who_does_is_not() {
    let short = Duration::from_millis(150);
    let mut sockets = ws(NetLimits { ping: short, pong: short, ..NetLimits::default() });
    let _silent = open(&mut sockets, Some("sip")).await.unwrap();
    let mut alive = open(&mut sockets, Some("sip")).await.unwrap();
    let task = tokio::spawn(async move { while let Some(Ok(_)) = alive.next().await {} });
    assert!(matches!(next(&mut sockets).await, NetEvent::FlowClosed { .. }));
    assert!(tokio::time::timeout(4 * short, sockets.select()).await.is_err(), "the other stays");
    assert_eq!((sockets.stats().closed_idle, sockets.open_flows().0), (1, 1));
    task.abort();
}

#[tokio::test]
async fn handshakes_that_do_not_end_are_counted_and_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let path = |name: &str, text: String| {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Some(path)
    };
    let files = TlsFiles {
        certificate: path("certificate", certificate.pem()),
        key: path("key", key.serialize_pem()),
        ..TlsFiles::default()
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let any = || vec!["127.0.0.1:0".parse().unwrap()];
    let limits = NetLimits {
        handshake: Duration::from_millis(500),
        connections_per_source_max: 3,
        ..NetLimits::default()
    };
    let certificates = Some(Arc::new(Certificates::load(files).unwrap()));
    let config =
        NetConfig { tls: any(), wss: any(), ws: any(), certificates, limits, ..NetConfig::default() };
    let mut sockets = SipSockets::bind(&config).unwrap();
    let mut slow = Vec::new();
    for transport in [Transport::Tls, Transport::Wss, Transport::Ws, Transport::Tls] {
        let mut stream = TcpStream::connect(sockets.addresses(transport)[0]).await.unwrap();
        // A byte at a time is no progress: the deadline is for the whole.
        let _ = stream.write_all(if transport == Transport::Ws { b"G" } else { b"\x16" }).await;
        slow.push(stream);
        let _ = tokio::time::timeout(Duration::from_millis(20), sockets.select()).await;
    }
    for _ in 0..3 {
        assert!(matches!(next(&mut sockets).await, NetEvent::FlowClosed { .. }));
    }
    let stats = sockets.stats();
    assert_eq!((stats.handshake_failures, stats.refused_source, stats.accepted), (3, 1, 3), "{stats:?}");
}

/// A driver on UDP with a gate, and a peer that reads what it says.
struct Gated<G = OpenGate> {
    driver: SipDriver<G>,
    peer: UdpSocket,
    flow: Flow,
}

async fn gated(rate: usize) -> Gated {
    gated_by(rate, OpenGate).await
}

async fn gated_by<G: Gate>(rate: usize, gate: G) -> Gated<G> {
    let udp = vec!["127.0.0.1:0".parse().unwrap()];
    let mut sockets = SipSockets::bind(&NetConfig { udp, ..NetConfig::default() }).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"x", sockets.udp_addresses()[0]).unwrap();
    let NetEvent::Datagram { flow, .. } = next(&mut sockets).await else { panic!("no datagram") };
    peer.set_nonblocking(true).unwrap();
    let config = AgentConfig { sessions_max: 100_000, ..AgentConfig::default() };
    let driver = SipDriver::new(Agent::with_gate(config, [5; 32], gate), sockets)
        .limited(Rates::new(rate, Instant::now()), "gate".into());
    Gated { driver, peer, flow }
}

impl<G: Gate> Gated<G> {
    fn receive(&mut self, text: String) {
        self.bring(text);
        // Nothing else has come.
        self.driver.apply(net::DriverInput::Turn);
    }

    fn bring(&mut self, text: String) {
        let bytes = Bytes::from(text);
        self.driver.apply(net::DriverInput::Net(NetEvent::Datagram { flow: self.flow, bytes }));
    }

    /// A request of the usual size.
    fn request(&self, n: usize, method: &str, tag: &str) -> String {
        let (ip, port) = (self.flow.remote.ip(), self.flow.remote.port());
        let cseq = if method == "BYE" { 2 } else { 1 };
        let body =
            if method == "INVITE" { "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n".repeat(8) } else { String::new() };
        format!(
            "{method} sip:rec@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:{port};branch=z9hG4bK{method}{n}\r\n\
             Max-Forwards: 70\r\nFrom: \"A\" <sip:a@192.0.2.2>;tag=f{n}\r\nTo: <sip:rec@192.0.2.1>{tag}\r\n\
             Call-ID: call-{n}@192.0.2.2\r\nCSeq: {cseq} {method}\r\nContact: <sip:a@{ip}:{port}>\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, UPDATE, INFO\r\nSupported: timer\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// A whole call, as far as signalling goes.
    fn call(&mut self, n: usize) {
        self.receive(self.request(n, "INVITE", ""));
        let Some(Event::Invited { session, .. }) = self.driver.poll_event() else { panic!("no call") };
        self.driver
            .with(|agent, now| agent.accept(now, session, Bytes::from_static(b"v=0\r\n"), &[]))
            .unwrap();
        let tag = self.answers().into_iter().find_map(|answer| to_tag(&answer)).expect("a tag");
        self.receive(self.request(n, "ACK", &tag));
        self.receive(self.request(n, "BYE", &tag));
        while self.driver.poll_event().is_some() {}
        self.answers();
    }

    fn answers(&self) -> Vec<String> {
        let mut buffer = [0; 4_096];
        let mut answers = Vec::new();
        while let Ok(length) = self.peer.recv(&mut buffer) {
            answers.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        answers
    }
}

fn to_tag(answer: &str) -> Option<String> {
    let to = answer.lines().find(|line| line.starts_with("To:"))?;
    to.split_once(";tag=").map(|(_, tag)| format!(";tag={tag}"))
}

#[tokio::test]
async fn beyond_its_rate_a_source_gets_503_and_its_calls_go_on() {
    let mut gated = gated(5).await;
    gated.receive(gated.request(0, "INVITE", ""));
    let Some(Event::Invited { session, .. }) = gated.driver.poll_event() else { panic!("no call") };
    (1..40).for_each(|n| gated.receive(gated.request(n, "INVITE", "")));
    let answers = gated.answers();
    let refused: Vec<_> = answers.iter().filter(|a| a.starts_with("SIP/2.0 503")).collect();
    assert!((25..=30).contains(&refused.len()), "{} of 40 refused", refused.len());
    assert!(refused.iter().all(|a| a.contains("Retry-After: 10\r\n")));
    let stats = gated.driver.agent().stats();
    assert_eq!(stats.transactions, 40 - refused.len(), "a refusal leaves nothing");
    // The ACK of a refusal is absorbed; the first INVITE again, its ACK and BYE pass.
    gated.receive(gated.request(39, "ACK", &to_tag(refused[refused.len() - 1]).unwrap()));
    assert_eq!(gated.driver.agent().stats().stray, 0);
    gated.receive(gated.request(0, "INVITE", ""));
    assert_eq!(gated.driver.agent().stats().absorbed, 1);
    gated.driver.with(|agent, now| agent.accept(now, session, Bytes::from_static(b"v=0\r\n"), &[])).unwrap();
    let tag = gated.answers().iter().rev().find_map(|answer| to_tag(answer)).unwrap();
    gated.receive(gated.request(0, "ACK", &tag));
    gated.receive(gated.request(0, "BYE", &tag));
    assert!(gated.answers().iter().any(|answer| answer.starts_with("SIP/2.0 200") && answer.contains("BYE")));
}

/// An INVITE that was sent again before its 503 arrived begins no call that nobody waits for, whatever has become of the
/// reason; the next INVITE of its client does.
#[tokio::test]
async fn a_call_that_was_refused_stays_refused_when_its_invite_comes_again() {
    let mut gated = gated(0).await;
    let refused = |gated: &Gated| {
        let answers = gated.answers();
        answers.len() == 1 && answers[0].starts_with("SIP/2.0 503")
    };
    gated.driver.set_full(true);
    gated.receive(gated.request(1, "INVITE", ""));
    assert!(refused(&gated));
    gated.driver.set_full(false);
    gated.receive(gated.request(1, "INVITE", ""));
    assert!(refused(&gated) && gated.driver.poll_event().is_none());
    assert_eq!(gated.driver.take_shed(), (1, 0), "it is one call");
    gated.call(2);
    gated.receive(
        gated.request(1, "INVITE", "").replace("1 INVITE", "2 INVITE").replace("bKINVITE1", "bKagain"),
    );
    assert!(matches!(gated.driver.poll_event(), Some(Event::Invited { .. })));
}

/// Who refuses for want of room once a call has had its turn: the agent.
struct Moody(bool);

impl Gate for Moody {
    fn ask(&mut self, _now: model::Now, _request: &sip::GateRequest<'_>) -> sip::Admission {
        self.0 = !self.0;
        match self.0 {
            true => {
                sip::Admission::Refused { status: 503, reason: "Service Unavailable", headers: Vec::new() }
            }
            false => sip::Admission::Admitted(None),
        }
    }
}

#[tokio::test]
async fn a_call_that_the_gate_refused_for_now_stays_refused_when_its_invite_comes_again() {
    let mut gated = gated_by(0, Moody(false)).await;
    for _ in 0..2 {
        gated.receive(gated.request(1, "INVITE", ""));
        assert!(gated.answers().iter().all(|a| a.starts_with("SIP/2.0 503")));
    }
    assert!(gated.driver.poll_event().is_none());
    gated.receive(gated.request(2, "INVITE", ""));
    assert!(matches!(gated.driver.poll_event(), Some(Event::Invited { .. })));
}

/// Calls from where nobody may call do not wait among those of trunks, and are refused by their lines.
#[tokio::test]
async fn strangers_do_not_wait_among_the_calls_of_trunks() {
    let trunk = |from: &str| call::Trunk {
        from: vec![from.parse().unwrap()],
        ..call::Trunk::open(model::TenantId::default())
    };
    let gate = |from| {
        call::TrunkGate::new(call::Trunks::new(vec![trunk(from)], model::TenantId::default()), [5; 32])
    };
    let mut strange = gated_by(0, gate("192.0.2.0/24")).await;
    (0..20).for_each(|n| strange.bring(strange.request(n, "INVITE", "")));
    assert_eq!(strange.driver.newcomers(), 0);
    let answers = strange.answers();
    assert!(answers.len() == 20 && answers.iter().all(|a| a.starts_with("SIP/2.0 403")), "{answers:?}");
    let away = strange.driver.gate_mut().take_turned_away().unwrap();
    assert_eq!((away.strangers, strange.driver.take_shed()), (20, (0, 0)));
    // Its ACK is known.
    strange.receive(strange.request(0, "ACK", &to_tag(&answers[0]).unwrap()));
    assert_eq!(strange.driver.agent().stats().stray, 0);
    let mut known = gated_by(0, gate("127.0.0.0/8")).await;
    known.bring(known.request(0, "INVITE", ""));
    assert_eq!(known.driver.newcomers(), 1);
}

/// What came is looked at in this order: a call in progress first, then the calls that begin, each once. One that is
/// cancelled before its turn never begins.
#[tokio::test]
async fn calls_that_begin_wait_for_those_in_progress_and_a_cancelled_one_costs_nothing() {
    let mut gated = gated(0).await;
    gated.receive(gated.request(0, "INVITE", ""));
    let Some(Event::Invited { session, .. }) = gated.driver.poll_event() else { panic!("no call") };
    gated.driver.with(|agent, now| agent.accept(now, session, Bytes::from_static(b"v=0\r\n"), &[])).unwrap();
    let tag = gated.answers().into_iter().find_map(|answer| to_tag(&answer)).expect("a tag");
    // Four begin, one of them comes again, one is cancelled.
    for n in [1, 2, 3, 1, 4] {
        gated.bring(gated.request(n, "INVITE", ""));
    }
    assert_eq!(gated.driver.newcomers(), 4);
    gated.bring(
        gated.request(2, "INVITE", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"),
    );
    let answers = gated.answers();
    let answered =
        |status: &str, cseq: &str| answers.iter().any(|a| a.starts_with(status) && a.contains(cseq));
    assert!(
        answered("SIP/2.0 200", "CSeq: 1 CANCEL") && answered("SIP/2.0 487", "CSeq: 1 INVITE"),
        "{answers:?}"
    );
    // Its ACK is known, and no other CANCEL finds it.
    let own = answers.iter().find_map(|answer| to_tag(answer)).expect("a tag");
    gated.bring(gated.request(2, "ACK", &own));
    gated.bring(gated.request(0, "ACK", &tag));
    gated.bring(gated.request(0, "BYE", &tag));
    let ended = |event: Event| matches!(event, Event::Ended { .. });
    assert!(std::iter::from_fn(|| gated.driver.poll_event()).any(ended), "the call in progress went first");
    assert_eq!(gated.driver.agent().stats().sessions, 0);
    // As long as nothing else comes.
    for left in (0..3).rev() {
        let input = gated.driver.select().await;
        assert!(matches!(input, net::DriverInput::Turn), "{input:?}");
        gated.driver.apply(input);
        assert_eq!(gated.driver.newcomers(), left);
    }
    let begun = |event: &Event| matches!(event, Event::Invited { .. });
    assert_eq!(std::iter::from_fn(|| gated.driver.poll_event()).filter(begun).count(), 3);
    assert_eq!((gated.driver.agent().stats().stray, gated.driver.take_shed()), (0, (0, 0)));
}

/// Whoever invites and cancels, as often as he likes, closes nothing to others; and whose way back is gone is not looked
/// at any more.
#[tokio::test]
async fn who_invites_and_cancels_keeps_nobody_out() {
    let mut gated = gated(0).await;
    let cancel = |gated: &Gated, n: usize| {
        gated.request(n, "INVITE", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL")
    };
    for n in 1..3_000 {
        gated.bring(gated.request(n, "INVITE", ""));
        gated.bring(cancel(&gated, n));
        assert_eq!((gated.driver.newcomers(), gated.answers().len()), (0, 2), "{n}");
    }
    gated.receive(gated.request(0, "INVITE", ""));
    assert!(matches!(gated.driver.poll_event(), Some(Event::Invited { .. })));
    (5_000..5_003).for_each(|n| gated.bring(gated.request(n, "INVITE", "")));
    let flow = gated.flow.id;
    gated.driver.apply(net::DriverInput::Net(NetEvent::FlowClosed { flow, dialed: None }));
    assert_eq!(gated.driver.newcomers(), 0);
    assert_eq!(gated.driver.agent().stats().sessions, 1);
}

/// Though something always comes, a call that waits has its turn.
#[tokio::test]
async fn a_call_that_begins_has_its_turn_among_other_things() {
    let mut gated = gated(0).await;
    gated.bring(gated.request(1, "INVITE", ""));
    let to = gated.flow.local;
    let (mut others, mut turns) = (0, 0);
    tokio::time::timeout(Duration::from_secs(20), async {
        while turns == 0 {
            // So much that the socket always has something.
            (0..20).for_each(|_| _ = gated.peer.send_to(b"OPTIONS", to));
            let input = gated.driver.select().await;
            let is_turn = matches!(input, net::DriverInput::Turn);
            (others, turns) = if is_turn { (others, turns + 1) } else { (others + 1, turns) };
            gated.driver.apply(input);
        }
    })
    .await
    .expect("a turn");
    assert!(others >= 4, "{others} other inputs before it");
    assert!(matches!(gated.driver.poll_event(), Some(Event::Invited { .. })));
}

/// What a driver that takes every call has counted.
type Counted = Arc<std::sync::Mutex<(net::Unread, net::NetStats)>>;

/// A driver on UDP, TCP and WebSocket that takes every call.
async fn taking(rate: usize) -> ([SocketAddr; 3], Counted) {
    let any = || vec!["127.0.0.1:0".parse().unwrap()];
    let config = NetConfig { udp: any(), tcp: any(), ws: any(), ..NetConfig::default() };
    let sockets = SipSockets::bind(&config).unwrap();
    let addresses = [
        sockets.udp_addresses()[0],
        sockets.addresses(Transport::Tcp)[0],
        sockets.addresses(Transport::Ws)[0],
    ];
    let mut driver = SipDriver::new(Agent::new(AgentConfig::default(), [5; 32]), sockets)
        .limited(Rates::new(rate, Instant::now()), "gate".into());
    let counted = Counted::default();
    let told = Arc::clone(&counted);
    tokio::spawn(async move {
        loop {
            let input = driver.select().await;
            driver.apply(input);
            while let Some(event) = driver.poll_event() {
                if let Event::Invited { session, .. } = event {
                    driver
                        .with(|agent, now| agent.accept(now, session, Bytes::from_static(b"v=0\r\n"), &[]))
                        .unwrap();
                }
            }
            *told.lock().unwrap() = (driver.unread(), driver.counts().0);
        }
    });
    (addresses, counted)
}

fn request(n: usize, method: &str, tag: &str) -> String {
    let cseq = if method == "BYE" { 2 } else { 1 };
    format!(
        "{method} sip:rec@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP h.invalid;branch=z9hG4bK{method}{n}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@192.0.2.2>;tag=f{n}\r\nTo: <sip:rec@192.0.2.1>{tag}\r\n\
         Call-ID: call-{n}\r\nCSeq: {cseq} {method}\r\nContact: <sip:a@h.invalid>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Answers other than provisional ones, until there are so many or the connection is closed. They have no body but
/// the offers of 2xx to INVITE, which have no blank line.
async fn finals(client: &mut TcpStream, count: usize) -> Vec<String> {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    let of = |text: &str| -> Vec<String> {
        let answers = text.split("SIP/2.0 ").filter(|a| a.contains("\r\n\r\n") && !a.starts_with('1'));
        answers.map(str::to_owned).collect()
    };
    let read = async {
        while of(&text).len() < count {
            match client.read(&mut buffer).await {
                Ok(length @ 1..) => text.push_str(std::str::from_utf8(&buffer[..length]).unwrap()),
                _ => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("answers, or an end");
    of(&text)
}

#[tokio::test]
async fn beyond_twice_its_rate_a_source_loses_its_connection_and_its_calls_go_on() {
    let ([_, tcp, _], counted) = taking(5).await;
    let mut client = TcpStream::connect(tcp).await.unwrap();
    client.write_all(request(0, "INVITE", "").as_bytes()).await.unwrap();
    let tag = to_tag(&finals(&mut client, 1).await[0]).unwrap();
    client.write_all(request(0, "ACK", &tag).as_bytes()).await.unwrap();

    // Ten may come at once, and some more while this goes on; each beyond is told to come again.
    let many = |range: std::ops::Range<usize>| range.map(|n| request(n, "OPTIONS", "")).collect::<String>();
    client.write_all(many(1..15).as_bytes()).await.unwrap();
    let answers = finals(&mut client, 14).await;
    let refused =
        answers.iter().filter(|a| a.starts_with("503") && a.contains("\r\nRetry-After: 10\r\n")).count();
    assert!((1..=5).contains(&refused), "{refused} of {} were refused", answers.len());
    assert_eq!(answers.iter().filter(|a| a.starts_with("200")).count(), 14 - refused);
    assert_eq!(counted.lock().unwrap().1.closed_flood, 0);

    // Who goes on is not answered any more.
    let _ = client.write_all(many(15..200).as_bytes()).await;
    finals(&mut client, usize::MAX).await;
    let stats = counted.lock().unwrap().1;
    assert_eq!((stats.closed_flood, stats.accepted), (1, 1), "{stats:?}");

    // The call that went on goes on, over another connection of the same source.
    let mut again = TcpStream::connect(tcp).await.unwrap();
    again.write_all(request(0, "BYE", &tag).as_bytes()).await.unwrap();
    let answer = finals(&mut again, 1).await;
    assert!(answer[0].starts_with("200") && answer[0].contains("2 BYE"), "{answer:?}");
}

/// One limit for all transports: what came over one counts for the others.
#[tokio::test]
async fn requests_of_a_source_are_counted_over_all_transports_together() {
    let ([udp, tcp, websocket], counted) = taking(5).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..12 {
        let text = request(n, "OPTIONS", "").replace("/TCP", "/UDP").replace(";branch", ";rport;branch");
        socket.send_to(text.as_bytes(), udp).await.unwrap();
    }
    let mut buffer = [0; 4_096];
    for _ in 0..12 {
        tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer").unwrap();
    }
    let refused = || counted.lock().unwrap().0.too_many;
    let before = refused();
    let mut client = TcpStream::connect(tcp).await.unwrap();
    client
        .write_all((20..24).map(|n| request(n, "OPTIONS", "")).collect::<String>().as_bytes())
        .await
        .unwrap();
    let answers = finals(&mut client, 4).await;
    assert!(answers.iter().any(|a| a.starts_with("503")), "{answers:?}");
    assert!(refused() > before);
    let upgrade = format!("ws://{websocket}/").into_client_request().map(|mut request| {
        request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
        request
    });
    let stream = TcpStream::connect(websocket).await.unwrap();
    let (mut browser, _) = tokio_tungstenite::client_async(upgrade.unwrap(), stream).await.unwrap();
    let mut is_refused = false;
    for n in 30..34 {
        browser.send(Message::text(request(n, "OPTIONS", "").replace("/TCP", "/WS"))).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, browser.next()).await.expect("an answer");
        is_refused |= answer.unwrap().unwrap().to_text().unwrap().starts_with("SIP/2.0 503");
    }
    assert!(is_refused);
}

#[tokio::test]
async fn a_call_that_nobody_has_room_for_costs_less_than_a_call() {
    const CALLS: usize = 2_000;
    let time = async |is_full: bool| {
        let mut gated = gated(0).await;
        let start = Instant::now();
        for n in 0..CALLS {
            gated.driver.set_full(is_full);
            if is_full {
                gated.receive(gated.request(n, "INVITE", ""));
                let answers = gated.answers();
                assert!(answers[0].starts_with("SIP/2.0 503"), "{answers:?}");
                gated.receive(gated.request(n, "ACK", &to_tag(&answers[0]).unwrap()));
            } else {
                gated.call(n);
            }
        }
        assert_eq!(gated.driver.take_shed(), (if is_full { CALLS as u64 } else { 0 }, 0));
        assert_eq!(gated.driver.agent().stats().sessions, 0);
        start.elapsed() / u32::try_from(CALLS).unwrap()
    };
    let (call, refusal) = (time(false).await, time(true).await);
    let ratio = call.as_secs_f64() / refusal.as_secs_f64();
    eprintln!(
        "a call {call:?}, a refusal with its ACK {refusal:?}: {ratio:.1} times less, the test's own work included"
    );
}
