//! What a communications manager may ask of the recorder, over UDP and TCP, IPv4 and IPv6; sipp asks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use model::{EndReason, Failure, RecordingState};
use support::calls::{Way, place};
use support::messages::SipMessage;
use support::recording::{Recorded, marked};
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// All that was sent was received, in one segment that ended normally.
fn expect_whole(what: &str, recorded: &Recorded, packets: usize) {
    let (segment, stream) = (recorded.segment(), recorded.stream());
    let a = stream.accounting;
    assert_eq!((a.received, a.lost, a.invalid, a.discarded), (packets as u64, 0, 0, 0), "{what}: {a:?}");
    assert_eq!((segment.number, segment.total), (1, 1), "{what}");
    assert_eq!((segment.state, &segment.end), (RecordingState::Partial, &Some(EndReason::HangUp)), "{what}");
}

#[test]
fn a_call_is_recorded_whichever_way_it_comes() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for (n, way) in Way::ALL.into_iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                let packets = Talk::new(500.0 + 100.0 * n as f64, SECOND).packets();
                let scenario = way.scenario("call").key("caller", format!("200{n}"));
                let outcome = place(server, scenario, &way.mouth(), &packets, "complete");
                expect_whole(&format!("{way:?}"), &outcome.recorded, packets.len());
                let source = outcome.recorded.stream().source.expect("a source");
                assert_eq!(source.is_ipv6(), matches!(way, Way::Udp6 | Way::Tcp6), "{way:?}: {source}");
            });
        }
    });
    let mut callers: Vec<_> = server.calls().into_iter().map(|c| c.caller.unwrap_or_default()).collect();
    callers.sort();
    assert_eq!(callers, ["2000", "2001", "2002", "2003"]);
    assert!(server.calls().iter().all(|c| c.called.as_deref().is_some_and(|to| to.contains("recorder"))));
}

#[test]
fn an_offer_may_be_delayed() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for way in [Way::Udp, Way::Tcp6] {
            let server = &server;
            scope.spawn(move || {
                let packets = Talk::new(700.0, SECOND).packets();
                let outcome = place(server, way.scenario("delayed"), &way.mouth(), &packets, "complete");
                let offer =
                    outcome.messages.iter().find(|m| m.answers("1 INVITE") && m.status() == Some(200));
                let media = offer.expect("a 200").media();
                assert_eq!((media.len(), media[0].kind.as_str()), (1, "audio"), "{way:?}");
                assert!(media[0].has("recvonly"), "{way:?}: {:?}", media[0].attributes);
                expect_whole(&format!("{way:?}"), &outcome.recorded, packets.len());
            });
        }
    });
}

#[test]
fn refreshes_are_answered_and_interrupt_nothing() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for way in [Way::Udp, Way::Tcp] {
            let server = &server;
            scope.spawn(move || {
                let packets = Talk::new(700.0, SECOND).packets();
                let outcome = place(server, way.scenario("refresh"), &way.mouth(), &packets, "complete");
                expect_whole(&format!("{way:?}"), &outcome.recorded, packets.len());
                let answer = |cseq: &str| -> SipMessage {
                    let found = outcome.messages.iter().find(|m| m.answers(cseq) && m.status() == Some(200));
                    found.unwrap_or_else(|| panic!("{way:?}: no 200 to {cseq}")).clone()
                };
                for cseq in ["1 INVITE", "3 UPDATE", "4 UPDATE", "6 INVITE"] {
                    let expires = answer(cseq).header("Session-Expires").map(str::to_owned);
                    assert_eq!(expires.as_deref(), Some("1800;refresher=uac"), "{way:?} {cseq}");
                }
                for cseq in ["4 UPDATE", "6 INVITE"] {
                    let (first, again) = (answer("1 INVITE").media(), answer(cseq).media());
                    assert_eq!(first[0].rtp(), again[0].rtp(), "{way:?} {cseq}: another port");
                }
                assert!(answer("3 UPDATE").media().is_empty(), "{way:?}: an answer to no offer");
                answer("5 INFO");
                assert!(answer("2 OPTIONS").header("Allow").is_some_and(|a| a.contains("INVITE")), "{way:?}");
            });
        }
    });
}

/// The shortest interval that RFC 4028 allows is 90 s, so the first refresh of ours comes after 45 s, and the end of
/// a session that its client does not refresh after 60 s: all of them at once.
#[test]
fn sessions_are_refreshed_by_us_where_it_is_ours_and_end_where_the_client_does_not() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for (way, file, method) in [
            (Way::Udp, "refreshed_by_update", "UPDATE"),
            (Way::Tcp, "refreshed_by_update", "UPDATE"),
            (Way::Udp, "refreshed_by_reinvite", "INVITE"),
            (Way::Tcp, "refreshed_by_reinvite", "INVITE"),
        ] {
            let server = &server;
            scope.spawn(move || expect_refreshed(server, way, file, method));
        }
        let server = &server;
        scope.spawn(move || {
            // They go on until shortly before the end, so that it is none by lack of media.
            let packets = Talk::new(900.0, 55 * SECOND).packets();
            let scenario = Scenario::new("expires").within(90 * SECOND);
            let outcome = place(server, scenario, &Mouth::open(), &packets, "complete-external-error");
            let bye = outcome.messages.iter().find(|m| m.start_line().starts_with("BYE ")).expect("a BYE");
            assert!(bye.header("Reason").is_some_and(|r| r.contains("Session expired")), "{}", bye.text);
            let segment = outcome.recorded.segment();
            assert_eq!(segment.end, Some(EndReason::Upstream(Failure::SessionExpired)));
            let length = segment.ended.unwrap().since(segment.started);
            assert!(length >= 60 * SECOND, "{length:?}: too early");
            assert_eq!(outcome.recorded.stream().accounting.received, packets.len() as u64);
        });
    });
}

/// One that we refresh by this method, in which media go on until after it.
fn expect_refreshed(server: &Server, way: Way, file: &str, method: &str) {
    let what = format!("{way:?} {method}");
    let packets = Talk::new(700.0, 47 * SECOND).packets();
    let scenario = way.scenario(file).within(90 * SECOND);
    let outcome = place(server, scenario, &way.mouth(), &packets, "complete");
    expect_whole(&what, &outcome.recorded, packets.len());
    let from_us = |m: &&SipMessage| m.way == support::messages::Way::Received;
    let is_refresh = |m: &&SipMessage| m.start_line().starts_with(&format!("{method} "));
    let refreshes: Vec<_> = outcome.messages.iter().filter(from_us).filter(is_refresh).collect();
    let [refresh] = &refreshes[..] else { panic!("{what}: {} refreshes", refreshes.len()) };
    assert_eq!(refresh.header("Session-Expires"), Some("90;refresher=uac"), "{what}: {}", refresh.text);
    assert!(refresh.header("Supported").is_some_and(|s| s.contains("timer")), "{what}: {}", refresh.text);
    // UPDATE says nothing of media, a re-INVITE the same as before, under the same version.
    let said = |m: &SipMessage| m.text.split_once("\nv=0").map(|(_, sdp)| sdp.to_owned());
    let first = outcome.messages.iter().find(|m| m.answers("1 INVITE") && m.status() == Some(200));
    let expected = if method == "INVITE" { said(first.expect("a 200")) } else { None };
    assert_eq!(said(refresh), expected, "{what}");
}

/// RFC 3262: a client may demand that provisional responses are reliable. Where the 200 comes at once there is none but
/// 100, which never is; what is acknowledged and never was, is answered so, and the call goes on. What happens when the
/// 200 takes its time is in `fault_slow_opening`.
#[test]
fn a_client_that_demands_reliable_provisional_responses_is_recorded() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for way in [Way::Udp, Way::Tcp] {
            let server = &server;
            scope.spawn(move || {
                let packets = Talk::new(700.0, SECOND).packets();
                let outcome = place(server, way.scenario("reliable"), &way.mouth(), &packets, "complete");
                expect_whole(&format!("{way:?}"), &outcome.recorded, packets.len());
                let to_invite = outcome.messages.iter().filter(|m| m.answers("1 INVITE"));
                let unreliable = to_invite.filter(|m| m.status().is_some_and(|s| (101..200).contains(&s)));
                for response in unreliable {
                    assert!(response.header("RSeq").is_some(), "{way:?}: {}", response.text);
                }
            });
        }
    });
}

#[test]
fn options_say_what_is_understood() {
    let server = Server::start();
    for way in Way::ALL {
        let mut sipp = way.scenario("options").start(&server);
        let answer = sipp.answer("1 OPTIONS");
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        for method in ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO"] {
            assert!(header("Allow").contains(method), "{way:?}: Allow: {}", header("Allow"));
        }
        assert!(header("Accept").contains("application/sdp"), "{way:?}: {}", header("Accept"));
        assert!(header("Supported").contains("timer"), "{way:?}: {}", header("Supported"));
        sipp.finish();
    }
    assert!(server.calls().is_empty());
}

#[test]
fn unwanted_lines_are_refused_and_the_others_recorded() {
    let server = Server::start();
    let packets = Talk::new(700.0, SECOND).packets();
    let outcome = place(&server, Scenario::new("refused_lines"), &Mouth::open(), &packets, "complete");
    let answer = outcome.messages.iter().find(|m| m.answers("1 INVITE") && m.status() == Some(200)).unwrap();
    let media = answer.media();
    assert_eq!(
        media.iter().map(|m| m.kind.as_str()).collect::<Vec<_>>(),
        ["audio", "image", "video", "application"]
    );
    assert_eq!(
        media.iter().map(|m| m.port == 0).collect::<Vec<_>>(),
        [false, true, true, true],
        "{}",
        answer.text
    );
    expect_whole("the audio", &outcome.recorded, packets.len());
}

#[test]
fn a_bye_with_a_failure_ends_with_an_external_error() {
    let server = Server::start();
    let packets = Talk::new(700.0, SECOND).packets();
    let scenario =
        Scenario::new("call").key("bye_header", "Reason: Q.850;cause=38;text=\"Network out of order\"");
    let outcome = place(&server, scenario, &Mouth::open(), &packets, "complete-external-error");
    let segment = outcome.recorded.segment();
    assert_eq!((segment.state, segment.total), (RecordingState::PartialExternalError, 1));
    let Some(EndReason::Upstream(Failure::ByeReason(why))) = &segment.end else {
        panic!("{:?}", segment.end)
    };
    assert!(why.contains("38") && why.contains("Network out of order"), "{why}");
    assert_eq!(outcome.recorded.stream().accounting.received, packets.len() as u64);
}

#[test]
fn a_bye_with_an_ordinary_reason_is_no_error() {
    let server = Server::start();
    let packets = Talk::new(700.0, SECOND / 2).packets();
    let scenario =
        Scenario::new("call").key("bye_header", "Reason: Q.850;cause=16;text=\"Normal call clearing\"");
    let outcome = place(&server, scenario, &Mouth::open(), &packets, "complete");
    expect_whole("cause 16", &outcome.recorded, packets.len());
}

#[test]
fn when_media_stop_the_call_is_ended_by_us_with_an_external_error() {
    let server = Server::with(&[("MEDIA__MEDIA_TIMEOUT", "2s")]);
    std::thread::scope(|scope| {
        for way in [Way::Udp, Way::Tcp] {
            let server = &server;
            scope.spawn(move || {
                let mouth = way.mouth();
                let packets = Talk::new(700.0, SECOND).packets();
                let outcome =
                    place(server, way.scenario("timeout"), &mouth, &packets, "complete-external-error");
                let bye =
                    outcome.messages.iter().find(|m| m.start_line().starts_with("BYE ")).expect("a BYE");
                assert!(bye.header("Reason").is_some_and(|r| r.contains("408")), "{way:?}: {}", bye.text);
                let segment = outcome.recorded.segment();
                assert_eq!(segment.end, Some(EndReason::Upstream(Failure::MediaTimeout)), "{way:?}");
                assert_eq!(segment.state, RecordingState::PartialExternalError, "{way:?}");
                assert_eq!(outcome.recorded.stream().accounting.received, packets.len() as u64, "{way:?}");
            });
        }
    });
}

/// The CANCEL may come before or after our 200; in both cases it and the INVITE are answered, and nothing is left.
#[test]
fn a_cancelled_invite_leaves_nothing_behind() {
    let server = Server::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.sip_address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut cancelled = 0;
    // From before it was looked at to after it was answered.
    for n in 0..20 {
        let pause = Duration::from_micros(1_000 * n);
        cancelled += u32::from(cancel_after(&socket, n, pause));
    }
    wait_until("no call to be live", PATIENCE, || match server.calls() {
        calls if calls.iter().all(|c| !c.live && c.ended.is_some()) => Ok(()),
        calls => Err(format!("{calls:?}")),
    });
    eprintln!("{cancelled} of 20 were cancelled before they were answered");
    wait_until("no segment to be live", PATIENCE, || {
        let left = marked(&server.state().join("repository"));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}, {:?}", server.calls())) }
    });
    assert!(server.recordings().iter().all(|r| r.sealed), "a manifest is not sealed");
}

/// Whether the INVITE was answered 487. When it was answered 200 all the same, the dialog is ended by BYE.
fn cancel_after(socket: &UdpSocket, n: u64, pause: Duration) -> bool {
    let local = socket.local_addr().unwrap();
    let request = |method: &str, cseq: u32, branch: u64, to: &str, body: &str| {
        let text = format!(
            "{method} sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKc{branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:3000@{local}>;tag=f{n}\r\nTo: {to}\r\nCall-ID: cancel-{n}@{local}\r\nCSeq: {cseq} {}\r\n\
             Contact: <sip:3000@{local}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            method.trim(),
            body.len()
        );
        socket.send(text.as_bytes()).unwrap();
    };
    let to = "<sip:rec@127.0.0.1>";
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendonly\r\n";
    request("INVITE", 1, n, to, sdp);
    std::thread::sleep(pause);
    request("CANCEL", 1, n, to, "");
    let (mut of_invite, mut of_cancel) = (None, None);
    let end = Instant::now() + PATIENCE;
    while of_invite.is_none() || of_cancel.is_none() {
        assert!(Instant::now() < end, "call {n}: INVITE {:?}, CANCEL {of_cancel:?}", of_invite.is_some());
        let mut buffer = [0; 4_096];
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let message = SipMessage { way: support::messages::Way::Received, text };
        let of_this = message.header("Call-ID") == Some(&format!("cancel-{n}@{local}"));
        match message.status() {
            Some(status) if of_this && status >= 200 && message.answers("1 INVITE") => {
                of_invite = Some(message)
            }
            Some(status) if of_this && message.answers("1 CANCEL") => of_cancel = Some(status),
            _ => {}
        }
    }
    let invite = of_invite.unwrap();
    let to = invite.header("To").unwrap().to_owned();
    match invite.status() {
        Some(487) => {
            assert_eq!(of_cancel, Some(200), "call {n}");
            request("ACK", 1, n, &to, "");
            true
        }
        Some(200) => {
            request("ACK", 1, 100 + n, &to, "");
            request("BYE", 2, 200 + n, &to, "");
            false
        }
        other => panic!("call {n}: the INVITE was answered {other:?}"),
    }
}
