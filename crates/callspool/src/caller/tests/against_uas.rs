//! Whole calls over loopback, against a recorder of a few lines that counts what it hears.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::sdp::{Direction, Origin, Slot};
use sip::{Agent, AgentConfig, Event, RequestInfo, SessionId, Transport};
use tokio::sync::mpsc;

use crate::caller::make_calls;
use crate::caller::plan::{CallPlan, Hold, Impairments};
use crate::caller::report::Summary;
use crate::caller::run::Format;
use crate::caller::testing::plan;
use crate::net::{NetConfig, SipDriver, SipSockets};

/// How long the recorder may take to have counted after the caller is done.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the recorder saw of one source: its numbers, and how many packets came in all.
type Source = (BTreeSet<u16>, u64);

#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    sources: BTreeMap<u32, Source>,
    reports: u64,
    metadata: Vec<sip::RecordingMetadata>,
}

#[derive(Clone, Copy, PartialEq)]
enum Behavior {
    Records,
    Refuses,
    HangsUp,
    NeverAnswers,
}

struct Recorder {
    driver: SipDriver,
    address: SocketAddr,
    behavior: Behavior,
    seen: Arc<Mutex<Seen>>,
    sessions: BTreeMap<SessionId, Vec<(UdpSocket, UdpSocket)>>,
    version: u64,
}

impl Recorder {
    fn start(transport: Transport, behavior: Behavior) -> (SocketAddr, Arc<Mutex<Seen>>) {
        let any = vec!["127.0.0.1:0".parse().unwrap()];
        let config = match transport {
            Transport::Tcp => NetConfig { tcp: any, ..NetConfig::default() },
            _ => NetConfig { udp: any, ..NetConfig::default() },
        };
        let sockets = SipSockets::bind(&config).unwrap();
        let address =
            *sockets.udp_addresses().iter().chain(&sockets.addresses(Transport::Tcp)).next().unwrap();
        let agent = Agent::new(AgentConfig::default(), [7; 32]);
        let seen = Arc::default();
        let recorder = Self {
            driver: SipDriver::new(agent, sockets),
            address,
            behavior,
            seen: Arc::clone(&seen),
            sessions: BTreeMap::new(),
            version: 0,
        };
        tokio::spawn(recorder.run());
        (address, seen)
    }

    async fn run(mut self) {
        loop {
            let input = self.driver.select().await;
            self.driver.apply(input);
            while let Some(event) = self.driver.poll_event() {
                self.event(event);
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Invited { session, request } => self.invited(session, &request),
            Event::Reoffered { session, request } => {
                self.note(&request);
                let sdp = self.answer(session, &request);
                self.driver.with(|a, now| a.accept(now, session, sdp.into(), &[])).unwrap();
            }
            Event::Confirmed { session, .. } if self.behavior == Behavior::HangsUp => {
                self.driver.with(|a, now| a.bye(now, session, None)).unwrap();
            }
            Event::Ended { session, request, .. } => {
                if let Some(request) = request {
                    self.note(&request);
                }
                self.hear(session);
            }
            _ => {}
        }
    }

    fn invited(&mut self, session: SessionId, request: &RequestInfo) {
        self.note(request);
        match self.behavior {
            Behavior::NeverAnswers => {}
            Behavior::Refuses => {
                let _ = self.driver.with(|a, now| a.refuse(now, session, 503, "Service Unavailable", &[]));
            }
            Behavior::Records | Behavior::HangsUp => {
                let lines = request.sdp().map_or(1, |p| media::sdp::read(&p.bytes).unwrap().media.len());
                let sockets = (0..lines).map(|_| {
                    let socket = || {
                        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                        socket.set_nonblocking(true).unwrap();
                        socket
                    };
                    (socket(), socket())
                });
                self.sessions.insert(session, sockets.collect());
                let sdp = self.answer(session, request);
                self.driver.with(|a, now| a.accept(now, session, sdp.into(), &[])).unwrap();
            }
        }
    }

    fn answer(&mut self, session: SessionId, request: &RequestInfo) -> String {
        self.version += 1;
        let address = self.address.ip();
        let origin = Origin { username: "-".into(), session_id: session.0, version: self.version, address };
        let sockets = &self.sessions[&session];
        let Some(part) = request.sdp() else {
            let rtp = sockets[0].0.local_addr().unwrap();
            let codecs = vec![(0, model::Codec::new("PCMU", 8000, 1))];
            let line = media::sdp::OfferLine {
                kind: model::MediaKind::Audio,
                rtp,
                rtcp_port: sockets[0].1.local_addr().unwrap().port(),
                codecs,
                direction: Direction::RecvOnly,
                label: None,
                mux: false,
                ptime: None,
                protocol: "RTP/AVP".to_owned(),
                security: media::sdp::Security::None,
                ice: None,
            };
            return media::sdp::offer(&[line], &origin);
        };
        let offer = media::sdp::read(&part.bytes).unwrap();
        let slots: Vec<Slot> = offer
            .media
            .iter()
            .zip(sockets)
            .map(|(line, (rtp, rtcp))| Slot::Take {
                rtp: rtp.local_addr().unwrap(),
                rtcp_port: rtcp.local_addr().unwrap().port(),
                direction: line.direction.answered_by_recorder(),
                mux: false,
                security: media::sdp::Security::None,
                ice: None,
            })
            .collect();
        media::sdp::answer(&offer, &slots, &origin)
    }

    fn note(&self, request: &RequestInfo) {
        let mut seen = self.seen.lock().unwrap();
        let directions = request.sdp().map(|p| {
            let sdp = media::sdp::read(&p.bytes).unwrap();
            sdp.media.iter().map(|l| l.direction.as_str()).collect::<Vec<_>>().join("+")
        });
        seen.requests
            .push([request.method.clone()].into_iter().chain(directions).collect::<Vec<_>>().join(" "));
        for part in request.metadata() {
            seen.metadata.push(sip::siprec::read(&part.bytes).unwrap());
        }
    }

    fn hear(&mut self, session: SessionId) {
        let mut seen = self.seen.lock().unwrap();
        let mut buffer = [0; 2000];
        for (rtp, rtcp) in self.sessions.remove(&session).unwrap_or_default() {
            while let Ok(n) = rtp.recv(&mut buffer) {
                assert_eq!(n, 172);
                let ssrc = u32::from_be_bytes(buffer[8..12].try_into().unwrap());
                let source = seen.sources.entry(ssrc).or_default();
                source.0.insert(u16::from_be_bytes(buffer[2..4].try_into().unwrap()));
                source.1 += 1;
            }
            while rtcp.recv(&mut buffer).is_ok() {
                seen.reports += 1;
            }
        }
    }
}

struct Outcome {
    summary: Summary,
    calls: Vec<serde_json::Value>,
    seen: Arc<Mutex<Seen>>,
}

/// Makes the calls; they are interrupted when the recorder has seen so many requests.
async fn call(
    transport: Transport,
    behavior: Behavior,
    mut plan: CallPlan,
    interrupt_at: Option<usize>,
) -> Outcome {
    let (address, seen) = Recorder::start(transport, behavior);
    (plan.target.remote, plan.target.transport) = (address, transport);
    plan.target.uri = format!("sip:rec@{address}");
    let (interrupts, receiver) = mpsc::channel(1);
    if let Some(requests) = interrupt_at {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            while seen.lock().unwrap().requests.len() < requests {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            interrupts.send(()).await.unwrap();
        });
    }
    let mut out = Vec::new();
    let calls = make_calls(plan, receiver, &mut out, Format::Json);
    let summary = tokio::time::timeout(Duration::from_secs(20), calls).await.expect("an end").unwrap();
    let mut calls: Vec<serde_json::Value> = out
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let last = calls.pop().unwrap();
    assert_eq!(last["summary"]["calls"], summary.calls);
    Outcome { summary, calls, seen }
}

impl Outcome {
    /// What the caller says it sent is what the recorder heard, source by source.
    async fn counts_agree(&self) {
        let mut sent: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for run in self.calls.iter().flat_map(|c| c["streams"].as_array().unwrap()).flat_map(runs) {
            let source = sent.entry(run["ssrc"].as_u64().unwrap()).or_default();
            source.0 += run["packets"].as_u64().unwrap();
            source.1 += run["duplicated"].as_u64().unwrap();
        }
        let started = std::time::Instant::now();
        loop {
            let heard = self.heard();
            let wrong: Vec<_> =
                sent.iter().filter(|(ssrc, counts)| heard.get(ssrc) != Some(counts)).collect();
            if wrong.is_empty() && heard.len() == sent.len() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "not heard as sent: {wrong:?}, {} heard", heard.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Per source: packets, and duplicates beside them.
    fn heard(&self) -> BTreeMap<u64, (u64, u64)> {
        let seen = self.seen.lock().unwrap();
        let counts = |(numbers, all): &Source| (numbers.len() as u64, all - numbers.len() as u64);
        seen.sources.iter().map(|(ssrc, source)| (u64::from(*ssrc), counts(source))).collect()
    }
}

fn runs(stream: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    stream["runs"].as_array().unwrap().iter()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_call_is_exact_to_the_packet() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let outcome = call(transport, Behavior::Records, plan(false), None).await;
        let report = &outcome.calls[0];
        assert_eq!((report["ok"].as_bool(), outcome.summary.ok), (Some(true), 1), "{report}");
        // Half a second. A machine under load may be late with some, never send one too many; that those which were
        // sent came is asked below.
        let packets = report["streams"][0]["packets"].as_u64().unwrap();
        assert!((1..=25).contains(&packets), "{packets} packets");
        assert_eq!(report["ended"], "bye");
        assert!(!report["sip_call_id"].as_str().unwrap().is_empty());
        outcome.counts_agree().await;
        let requests = outcome.seen.lock().unwrap().requests.clone();
        assert_eq!(requests, ["INVITE sendrecv", "BYE"], "{transport:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_siprec_call_holds_resumes_and_names_its_parties() {
    let hold = Hold { start: Duration::from_millis(200), length: Duration::from_millis(100) };
    // Long enough that the resume is not behind the end, however late the machine is.
    let plan = CallPlan { holds: vec![hold], duration: Some(Duration::from_secs(3)), ..plan(true) };
    for transport in [Transport::Udp, Transport::Tcp] {
        let outcome = call(transport, Behavior::Records, plan.clone(), None).await;
        let report = &outcome.calls[0];
        assert_eq!((report["ok"].as_bool(), report["holds"].as_u64()), (Some(true), Some(1)), "{report}");
        outcome.counts_agree().await;
        let seen = outcome.seen.lock().unwrap();
        let expected =
            ["INVITE sendonly+sendonly", "INVITE inactive+inactive", "INVITE sendonly+sendonly", "BYE"];
        assert_eq!(seen.requests, expected);
        assert_eq!(seen.metadata.len(), 1);
        assert_eq!((seen.metadata[0].participants.len(), seen.metadata[0].streams.len()), (2, 2));
        for stream in report["streams"].as_array().unwrap() {
            let periods: Vec<_> = runs(stream).map(|r| r["period"].as_u64()).collect();
            assert_eq!(periods, [Some(0), Some(1)], "a run on each side of the hold");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn impairments_are_counted_as_the_recorder_hears_them() {
    let impairments = Impairments {
        loss: 0.1,
        reorder: 0.1,
        duplicate: 0.1,
        ssrc_change_at: Some(Duration::from_millis(250)),
        seed: 5,
    };
    let plan = CallPlan { impairments, duration: Some(Duration::from_secs(1)), ..plan(true) };
    let outcome = call(Transport::Udp, Behavior::Records, plan, None).await;
    outcome.counts_agree().await;
    let streams = outcome.calls[0]["streams"].as_array().unwrap();
    for count in ["skipped", "duplicated", "reordered"] {
        assert!(streams.iter().any(|s| s[count].as_u64() > Some(0)), "{count}");
    }
    assert_eq!(outcome.seen.lock().unwrap().sources.len(), 4, "two streams, two sources each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_offer_is_recorded_too() {
    let plan = CallPlan { delayed_offer: true, ..plan(false) };
    let outcome = call(Transport::Udp, Behavior::Records, plan, None).await;
    assert_eq!(outcome.summary.ok, 1, "{:?}", outcome.calls);
    outcome.counts_agree().await;
    assert_eq!(outcome.seen.lock().unwrap().requests[0], "INVITE");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_recorded_are_told() {
    for (behavior, ended) in [
        (Behavior::Refuses, "refused"),
        (Behavior::HangsUp, "remote-bye"),
        (Behavior::NeverAnswers, "timeout"),
    ] {
        let plan = CallPlan { timeout: Duration::from_millis(300), ..plan(false) };
        let outcome = call(Transport::Udp, behavior, plan, None).await;
        assert_eq!((outcome.summary.ok, outcome.summary.failed), (0, 1));
        assert_eq!(outcome.calls[0]["ended"], ended, "{}", outcome.calls[0]);
        assert!(!outcome.calls[0]["problems"].as_array().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_is_not_there_is_told_at_once_by_tcp() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut plan = plan(true);
    (plan.target.remote, plan.target.transport) = (nobody, Transport::Tcp);
    let (_interrupts, receiver) = mpsc::channel(1);
    let mut out = Vec::new();
    let started = std::time::Instant::now();
    let summary = make_calls(plan, receiver, &mut out, Format::Text).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let text = String::from_utf8(out).unwrap();
    assert!(summary.failed == 1 && text.contains("the peer cannot be reached"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_hangs_up_and_makes_no_more_calls() {
    let plan = CallPlan { duration: Some(Duration::from_secs(60)), calls: 1_000, rate: 20.0, ..plan(false) };
    // All of them would take 50 s and more, for which the test has no patience.
    let outcome = call(Transport::Udp, Behavior::Records, plan, Some(5)).await;
    assert!((5..1_000).contains(&outcome.summary.calls), "{:?}", outcome.summary);
    let requests = outcome.seen.lock().unwrap().requests.clone();
    let byes = requests.iter().filter(|r| *r == "BYE").count();
    let ended = |how: &str| outcome.calls.iter().filter(|c| c["ended"] == how).count();
    // A CANCEL that crossed the 200 is followed by a BYE too (RFC 3261 section 9.1).
    assert!(
        (ended("bye")..=ended("bye") + ended("cancelled")).contains(&byes),
        "{byes} BYE: {:?}",
        outcome.calls
    );
    assert!(byes >= 1 && outcome.calls.iter().all(|c| c["interrupted"] == true), "{:?}", outcome.calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_vanishes_sends_no_bye() {
    let plan = CallPlan { vanish: true, ..plan(false) };
    let outcome = call(Transport::Udp, Behavior::Records, plan, None).await;
    assert_eq!((outcome.summary.ok, outcome.calls[0]["ended"].as_str()), (1, Some("vanished")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(outcome.seen.lock().unwrap().requests, ["INVITE sendrecv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_keep_their_pace() {
    let plan = CallPlan { calls: 200, rate: 400.0, concurrency: 150, ..plan(true) };
    let outcome = call(Transport::Udp, Behavior::Records, plan, None).await;
    assert_eq!((outcome.summary.ok, outcome.summary.calls), (200, 200), "{:?}", outcome.summary);
    assert!(outcome.summary.most_at_once <= 150);
    assert!((200 * 2 * 20..=200 * 2 * 25).contains(&outcome.summary.packets), "{:?}", outcome.summary);
    outcome.counts_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "loads the machine for some seconds"]
async fn a_thousand_calls_a_second() {
    let plan = CallPlan {
        calls: 3_000,
        rate: 1_000.0,
        concurrency: 1_000,
        duration: Some(Duration::from_millis(900)),
        ..plan(true)
    };
    let outcome = call(Transport::Udp, Behavior::Records, plan, None).await;
    println!("{}", outcome.summary);
    println!("{:?}", outcome.summary);
    assert_eq!(outcome.summary.ok, 3_000);
}
