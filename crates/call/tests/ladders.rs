//! The front as ladders: what a client and a record server do goes in, what is answered, ordered and told comes
//! out. Only `check` knows the API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::{Action, Front, FrontConfig};
use expect_test::{Expect, expect};
use model::peer::Flowing;
use model::state::Respondent;
use model::{
    ChangeKind, EndReason, Failure, IdGenerator, Mono, NodeNumber, Now, OpenSegment, Order, RecordingState,
    Report, SegmentId, SegmentRecord, StreamPorts, TenantId, WallTime, total,
};
use sip::{AddressView, EndCause, Event, Flow, FlowId, Part, ReasonView, RequestInfo, SessionId, Transport};

const SESSION: SessionId = SessionId(1);

/// A record server that answers when the script says so.
struct World {
    now: Now,
    front: Front,
    open: Vec<(OpenSegment, Option<EndReason>)>,
    unanswered: Vec<(SegmentId, Vec<model::OpenStream>)>,
    next_port: u16,
    session: SessionId,
    out: String,
}

fn check(script: &str, expected: Expect) {
    let now = Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) };
    let config = FrontConfig {
        node: NodeNumber::SINGLE,
        tenant: TenantId::default(),
        calls_max: 2,
        linger: Duration::from_secs(3),
        hold_timeout: Duration::from_secs(7_200),
        inactive: Flowing::Held,
        address_v4: None,
        address_v6: None,
    };
    let front = Front::new(config, IdGenerator::new(NodeNumber::SINGLE, 0));
    let mut world = World {
        now,
        front,
        open: Vec::new(),
        unanswered: Vec::new(),
        next_port: 20_000,
        session: SESSION,
        out: String::new(),
    };
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        writeln!(world.out, "> {line}").unwrap();
        world.step(line);
        world.drain();
    }
    expected.assert_eq(&world.out);
}

impl World {
    fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let now = self.now;
        let session = self.session;
        match word {
            "session" => self.session = SessionId(rest.parse().unwrap()),
            "invite" => {
                let request = Box::new(request("INVITE", rest));
                self.front.handle_event(now, Event::Invited { session, request });
            }
            "reinvite" | "update" => {
                let request = Box::new(request(&word.replace("reinvite", "INVITE").to_uppercase(), rest));
                self.front.handle_event(now, Event::Reoffered { session, request });
            }
            "ack" => {
                let answer = (!rest.is_empty()).then(|| sdp_part(rest));
                self.front.handle_event(now, Event::Confirmed { session, answer });
            }
            "bye" => {
                let mut bye = request("BYE", "");
                if let Some(cause) = rest.strip_prefix("cause ") {
                    let cause = Some(cause.parse().unwrap());
                    bye.reasons.push(ReasonView { protocol: "Q.850".into(), cause, text: None });
                }
                self.end(EndCause::Bye, Some(Box::new(bye)));
            }
            "cancel" => self.end(EndCause::Cancelled, None),
            "expired" => self.end(EndCause::SessionExpired, None),
            "no-ack" => self.end(EndCause::AckTimeout, None),
            "opened" => self.opened(),
            "refused" => {
                let (segment, _) = self.unanswered.remove(0);
                self.open.retain(|(o, _)| o.segment != segment);
                self.front.handle_report(now, Report::Refused { segment, why: Failure::DiskFull });
            }
            "sealed" => self.sealed(None),
            "disk-error" => self.sealed(Some(EndReason::Internal(Failure::Storage("EIO".into())))),
            "silence" => {
                let segment = self.open[0].0.segment;
                self.front.handle_report(now, Report::MediaTimedOut { segment });
            }
            "wait" => {
                self.now = self.now + Duration::from_secs(rest.trim_end_matches('s').parse().unwrap());
                self.front.handle_timeout(self.now);
            }
            "stop" => self.front.end_all(now),
            other => panic!("no such step: {other}"),
        }
    }

    fn end(&mut self, cause: EndCause, request: Option<Box<RequestInfo>>) {
        self.front.handle_event(self.now, Event::Ended { session: self.session, cause, request });
    }

    fn opened(&mut self) {
        let (segment, streams) = self.unanswered.remove(0);
        let ports = streams
            .iter()
            .map(|s| {
                let port = self.next_port;
                self.next_port += 2;
                let at = |p| SocketAddr::new("0.0.0.0".parse().unwrap(), p);
                StreamPorts { stream: s.stream, rtp: at(port), rtcp: at(port + 1) }
            })
            .collect();
        self.front.handle_report(self.now, Report::Opened { segment, ports });
    }

    /// The oldest segment is sealed; by its own failure when one is given.
    fn sealed(&mut self, own: Option<EndReason>) {
        let (open, ordered) = self.open.remove(0);
        let end = own.or(ordered).expect("a segment that was told to end");
        let begun = RecordingState::begin(Respondent::No);
        let record = SegmentRecord {
            id: open.segment,
            call: open.call,
            tenant: open.tenant.clone(),
            number: open.number,
            total: total::at_end(open.number, open.total, &end),
            node: NodeNumber::SINGLE,
            state: begun.apply(end.transition()).unwrap(),
            respondent: open.respondent,
            started: open.started,
            ended: Some(self.now.wall),
            trigger: open.trigger.clone(),
            end: Some(end),
            encryption: Default::default(),
            data: open.data.clone(),
            metadata: vec![],
            streams: vec![],
            parts: vec![],
            sidecar: None,
        };
        self.front.handle_report(self.now, Report::Ended { record: Box::new(record) });
    }

    fn drain(&mut self) {
        while let Some(action) = self.front.poll_action() {
            let text = self.describe(action);
            writeln!(self.out, "    {text}").unwrap();
        }
    }

    fn describe(&mut self, action: Action) -> String {
        match action {
            Action::Accept { session, sdp } => format!("200 s{} {}", session.0, picture(&sdp)),
            Action::Refuse { session, code, .. } => format!("{code} s{}", session.0),
            Action::HangUp { session, reason } => format!("BYE s{} {reason}", session.0),
            Action::Order(Order::Open(open)) => {
                let text = format!("open {}/{} {}", open.number, open.total, streams(&open.streams));
                self.unanswered.push((open.segment, open.streams.clone()));
                self.open.push((*open, None));
                text
            }
            Action::Order(Order::Change { segment, streams: wanted }) => {
                let text = format!("change {}", streams(&wanted));
                self.unanswered.push((segment, wanted));
                text
            }
            Action::Order(Order::Annotate { metadata, .. }) => format!("annotate {} bodies", metadata.len()),
            Action::Order(Order::End { segment, reason, .. }) => {
                if let Some(open) = self.open.iter_mut().find(|(o, _)| o.segment == segment) {
                    open.1 = Some(reason.clone());
                }
                format!("end by {}", reason.describe())
            }
            Action::Order(Order::Conclude(c)) => format!("conclude {} of {}", c.state, c.total),
            Action::Tell(_, ChangeKind::Call(call)) => {
                let ended = if call.ended.is_some() { ", ended" } else { "" };
                format!("tell call of {}{ended}", call.total)
            }
            Action::Tell(_, ChangeKind::Copy { copy, .. }) => format!("tell copy {}", copy.state),
            Action::Tell(_, ChangeKind::Alarm(alarm)) => format!("ALARM {}: {}", alarm.kind, alarm.text),
            Action::Tell(_, other) => format!("tell {}", other.name()),
        }
    }
}

fn streams(streams: &[model::OpenStream]) -> String {
    let all: Vec<_> = streams
        .iter()
        .map(|s| format!("{}:{:?}:{:?}", s.label.as_deref().unwrap_or("-"), s.side, s.flowing).to_lowercase())
        .collect();
    all.join(" ")
}

/// `m=` port and direction of each line of a description.
fn picture(sdp: &Bytes) -> String {
    let sdp = media::sdp::read(sdp).expect("our own description");
    let lines: Vec<_> =
        sdp.media.iter().map(|m| format!("{}/{:?}", m.port, m.direction).to_lowercase()).collect();
    lines.join(" ")
}

/// `sendonly sendonly`, `inactive`, `image`, `-` for port 0; nothing for no body; `junk` for what is no SDP.
fn sdp_part(lines: &str) -> Part {
    let mut sdp = "v=0\r\no=src 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n".to_owned();
    for (i, line) in lines.split_whitespace().enumerate() {
        let label = i + 1;
        let port = if line == "-" { 0 } else { 5_000 + 2 * i };
        match line {
            "image" => sdp.push_str("m=image 6000 udptl t38\r\n"),
            "-" => sdp.push_str(&format!("m=audio {port} RTP/AVP 0\r\n")),
            direction => sdp.push_str(&format!(
                "m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\na=label:{label}\r\n"
            )),
        }
    }
    let bytes = if lines == "junk" { Bytes::from_static(b"junk") } else { Bytes::from(sdp) };
    Part { content_type: "application/sdp".into(), disposition: None, headers: vec![], bytes }
}

fn request(method: &str, lines: &str) -> RequestInfo {
    let address = |user: &str| AddressView {
        display: None,
        uri: format!("sip:{user}@pbx.example"),
        user: Some(user.into()),
        host: "pbx.example".into(),
        params: vec![],
        uri_params: vec![],
    };
    RequestInfo {
        method: method.into(),
        uri: "sip:rec@192.0.2.1".into(),
        uri_user: Some("rec".into()),
        from: address("1001"),
        to: address("2002"),
        contact: None,
        asserted: vec![],
        call_id: "a@b".into(),
        headers: vec![],
        require: vec![],
        supported: vec![],
        reasons: vec![],
        parts: if lines.is_empty() { vec![] } else { vec![sdp_part(lines)] },
        flow: Flow {
            id: FlowId(1),
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.7:5060".parse().unwrap(),
        },
        siprec: false,
    }
}

#[test]
fn a_plain_call() {
    check(
        "invite sendrecv
         opened
         ack
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendrecv
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn hold_and_resume_are_two_segments() {
    check(
        "invite sendonly sendonly
         opened
         ack
         reinvite inactive inactive
         sealed
         reinvite sendonly sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > ack
            > reinvite inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive
                tell call of 2
            > sealed
            > reinvite sendonly sendonly
                open 2/2 1:agent:active 2:external:active
            > opened
                200 s1 20004/recvonly 20006/recvonly
                tell call of 2
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn one_label_held_is_a_span_and_a_hang_up_on_hold_leaves_no_segment_to_wait_for() {
    check(
        "invite sendonly sendonly
         opened
         reinvite inactive sendonly
         opened
         reinvite inactive inactive
         sealed
         bye
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > reinvite inactive sendonly
                change 1:agent:held 2:external:active
            > opened
                200 s1 20004/inactive 20006/recvonly
            > reinvite inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive
                tell call of 2
            > sealed
            > bye
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn without_a_body_we_offer_and_the_answer_comes_in_the_ack() {
    check(
        "invite
         opened
         ack sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite
                open 1/1 -:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack sendonly
                change 1:mixed:active
            > opened
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn media_that_we_cannot_take_get_port_0_and_nothing_at_all_is_488() {
    check(
        "invite image sendonly -
         opened
         bye
         session 2
         invite image
         session 3
         invite junk",
        expect![[r#"
            > invite image sendonly -
                open 1/1 2:mixed:active
            > opened
                200 s1 0/sendrecv 20000/recvonly 0/sendrecv
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > session 2
            > invite image
                488 s2
            > session 3
            > invite junk
                488 s3
        "#]],
    );
}

#[test]
fn a_stream_is_added_by_re_invite() {
    check(
        "invite sendonly
         opened
         reinvite sendonly sendonly
         opened
         update sendonly -
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20002/recvonly 20004/recvonly
            > update sendonly -
                change 1:mixed:active
            > opened
                200 s1 20006/recvonly 0/sendrecv
        "#]],
    );
}

#[test]
fn failures_upstream() {
    check(
        "invite sendonly
         opened
         silence
         sealed
         wait 3s
         session 2
         invite sendonly
         opened
         bye cause 38
         sealed
         wait 3s
         session 3
         invite sendonly
         opened
         expired
         sealed
         session 4
         invite sendonly
         opened
         no-ack",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > silence
                ALARM upstream-failure: a segment ended early: media time-out
                BYE s1 SIP;cause=408;text="media time-out"
                end by media time-out
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete-external-error of 1
                tell copy complete-external-error
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > bye cause 38
                end by failure reason in BYE: Q.850 38
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete-external-error of 1
                tell copy complete-external-error
            > session 3
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s3 20004/recvonly
                tell call of 1
            > expired
                end by session expired
                tell call of 1, ended
            > sealed
            > session 4
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s4 20006/recvonly
                tell call of 1
            > no-ack
                end by dialog failure: no ACK for our 200
                tell call of 1, ended
        "#]],
    );
}

#[test]
fn failures_inside() {
    check(
        "invite sendonly
         refused
         session 2
         invite sendonly
         wait 5s
         opened
         sealed
         session 3
         invite sendonly
         opened
         disk-error
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                503 s1
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > wait 5s
                ALARM not-recorded: a segment could not be opened: out of resources: the record server did not answer
                503 s2
            > opened
                end by out of resources: ports came too late
            > sealed
            > session 3
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s3 20002/recvonly
                tell call of 1
            > disk-error
                ALARM internal-failure: a segment ended: storage failure: EIO
                BYE s3 SIP;cause=503;text="storage failure: EIO"
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
        "#]],
    );
}

#[test]
fn a_resume_that_cannot_be_recorded_is_refused_and_the_number_stays_free() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         reinvite sendonly
         refused
         reinvite sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > reinvite sendonly
                open 2/2 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                503 s1
            > reinvite sendonly
                open 2/2 1:mixed:active
            > opened
                200 s1 20002/recvonly
                tell call of 2
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn a_cancel_while_the_segment_opens() {
    check(
        "invite sendonly
         cancel
         opened
         sealed
         wait 3s
         session 2
         invite sendonly
         cancel
         refused",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > cancel
                end by hang-up
            > opened
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > cancel
                end by hang-up
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
        "#]],
    );
}

#[test]
fn limits_and_the_end() {
    check(
        "invite sendonly
         opened
         session 2
         invite sendonly
         opened
         session 3
         invite sendonly
         stop
         sealed
         sealed
         wait 0s
         session 4
         invite sendonly",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > session 3
            > invite sendonly
                ALARM not-recorded: a call was refused: the limit of calls is reached
                503 s3
            > stop
                BYE s1 SIP;cause=503;text="callspool is stopping"
                end by process ended
                tell call of 1, ended
                BYE s2 SIP;cause=503;text="callspool is stopping"
                end by process ended
                tell call of 1, ended
            > sealed
            > sealed
            > wait 0s
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
            > session 4
            > invite sendonly
                ALARM not-recorded: a call was refused: callspool is stopping
                503 s4
        "#]],
    );
}

#[test]
fn a_hold_that_nobody_resumes_ends() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         wait 7200s
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > wait 7200s
                BYE s1 SIP;cause=200;text="on hold for too long"
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}
