//! At its limits callspool refuses before it loses; with many calls at once each is counted by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use model::{EndReason, Failure, RecordingState};
use serde_json::Value;
use support::http;
use support::messages::SipMessage;
use support::rtp::Mouth;
use support::server::Server;
use support::sipp::Scenario;

/// `callspool call --json`: a report for each call; the summary is left out.
fn call(server: &Server, code: i32, arguments: &[&str]) -> Vec<Value> {
    let to = format!("sip:recorder@{}", server.sip_address());
    let mut all = vec!["call", "--to", &to, "--json"];
    all.extend_from_slice(arguments);
    let done = server.callspool(&all);
    assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.err, done.text());
    let objects = done.text().lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    objects.filter(|o| o["sip_call_id"].is_string()).collect()
}

#[test]
fn many_calls_at_once_are_each_counted_to_the_packet() {
    let server = Server::start();
    let arguments = [
        "--siprec",
        "--calls",
        "25",
        "--rate",
        "50/s",
        "--duration",
        "3s",
        "--loss",
        "2%",
        "--reorder",
        "2%",
    ];
    let reports = call(&server, 0, &arguments);
    assert_eq!(reports.len(), 25);
    for report in &reports {
        let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
        for (stream, sent) in recorded.segment().streams.iter().zip(report["streams"].as_array().unwrap()) {
            let a = stream.accounting;
            let is = [a.received, a.lost, a.reordered, a.duplicate, a.late, a.dropped];
            let number = |key: &str| sent[key].as_u64().unwrap();
            assert_eq!(
                is,
                [number("packets"), number("skipped"), number("reordered"), 0, 0, 0],
                "{report:#}"
            );
        }
    }
    assert_eq!(server.calls().len(), 25);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

#[test]
fn beyond_the_limit_of_calls_a_call_is_refused_and_the_others_go_on() {
    let server = Server::with(&[("RECORDING__MAX_CALLS", "1")]);
    expect_one_refused(&server);
}

#[test]
fn when_ports_run_out_a_call_is_refused_and_the_others_go_on() {
    let mut server = Server::prepare(&[]);
    let (first, last) = (server.ports().media().0, server.ports().media().0 + 1);
    server.set("MEDIA__PORT_MIN", &first.to_string());
    server.set("MEDIA__PORT_MAX", &last.to_string());
    server.restart();
    expect_one_refused(&server);
}

/// One source may not ask for more than its share, over connections either; another one is served meanwhile, and
/// what had begun is complete.
#[test]
fn beyond_its_rate_a_source_is_refused_over_connections_too_and_others_are_served() {
    let server = Server::with(&[("SIP__MAX_REQUESTS_PER_SOURCE", "10"), ("API__METRICS_OPEN", "true")]);
    let to = format!("sip:recorder@{}", server.sip_address());
    let many = ["--transport", "tcp", "--calls", "30", "--rate", "200/s", "--duration", "2s", "--json"];
    let done = server.callspool(&[&["call", "--to", &to], &many[..]].concat());
    let reports = done.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let reports: Vec<Value> = reports.filter(|report| report["sip_call_id"].is_string()).collect();
    let of = |status: u64| reports.iter().filter(move |report| report["status"] == status);
    let (taken, refused) = (of(200).count(), of(503).count());
    assert!(
        taken >= 20 && refused >= 1 && taken + refused == 30,
        "{taken} taken, {refused} refused: {}",
        done.err
    );
    for report in of(200) {
        let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
        let sent = report["streams"][0]["packets"].as_u64().unwrap();
        assert_eq!(recorded.stream().accounting.received, sent);
    }

    // A flood on a connection: it is closed, and who calls from elsewhere is served.
    let mut flood = std::net::TcpStream::connect(server.sip_address()).unwrap();
    flood.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let asks: String = (0..500)
        .map(|n| {
            format!(
                "OPTIONS sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:a@h.invalid>;tag={n}\r\nTo: <sip:rec@127.0.0.1>\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n\
                 Content-Length: 0\r\n\r\n"
            )
        })
        .collect();
    let _ = flood.write_all(asks.as_bytes());
    let mut answers = Vec::new();
    // An end, or a reset, for there is something left that nobody reads.
    assert!(!flood.read_to_end(&mut answers).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    let mut other = Scenario::new("call").tcp().from("127.0.0.2").key("audio", 9).start(&server);
    other.answer("1 INVITE");
    support::wait_until("the flood to be counted", support::PATIENCE, || {
        let metrics = http::get(&server.http_address(), "/metrics", &[]).map_err(|e| e.to_string())?;
        let line = "callspool_sip_connections_closed_total{reason=\"flood\"} 1";
        if metrics.text().contains(line) { Ok(()) } else { Err(metrics.text()) }
    });
}

/// The page: a source is told to ask less often, a proxy is not counted, and on the machine itself nobody is.
#[test]
fn the_page_tells_a_source_to_ask_less_often_and_counts_no_proxy() {
    let limits = [("API__MAX_REQUESTS_PER_SOURCE", "2"), ("API__MAX_CONNECTIONS_PER_SOURCE", "3")];
    let ask = |server: &Server| http::get(&server.http_address(), "/healthz", &[]);
    let open = Server::with(&limits);
    for _ in 0..30 {
        assert_eq!(ask(&open).unwrap().status, 200, "by default loopback is where a proxy is");
    }
    drop(open);
    let counting = Server::with(&[&limits[..], &[("API__PROXIES", "192.0.2.1")]].concat());
    let statuses: Vec<u16> = (0..7).filter_map(|_| ask(&counting).ok()).map(|answer| answer.status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    support::wait_until("the page to answer again", support::PATIENCE, || match ask(&counting) {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{:?}", other.map(|answer| answer.status))),
    });
    let held: Vec<_> =
        (0..3).map(|_| std::net::TcpStream::connect(counting.http_address()).unwrap()).collect();
    support::wait_until("another connection to be closed", support::PATIENCE, || match ask(&counting) {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer.status.to_string()),
    });
    drop(held);
    support::wait_until("the page to answer again", support::PATIENCE, || match ask(&counting) {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{:?}", other.map(|answer| answer.status))),
    });
}

fn expect_one_refused(server: &Server) {
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| call(server, 0, &["--duration", "3s"]).remove(0));
        support::wait_until("the first call to be live", support::PATIENCE, || match &server.calls()[..] {
            [call] if call.live => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let mut sipp = Scenario::new("call").key("audio", Mouth::open().port()).start(server);
        let is_final = |m: &SipMessage| m.answers("1 INVITE") && m.status().is_some_and(|s| s >= 200);
        let refusal = sipp.wait_for("a refusal", is_final);
        assert_eq!(refusal.status(), Some(503), "{}", refusal.text);
        let after = refusal.header("Retry-After").and_then(|v| v.parse::<u32>().ok());
        assert!(after.is_some_and(|s| s > 0), "{}", refusal.text);
        first.join().unwrap()
    });
    let recorded = server.wait_for_state(first["sip_call_id"].as_str().unwrap(), "complete");
    assert_eq!(recorded.stream().accounting.received, first["streams"][0]["packets"].as_u64().unwrap());
    assert_eq!(server.calls().len(), 1, "the refused call left something: {:?}", server.calls());
    // There is room again.
    call(server, 0, &["--duration", "500ms"]);
}

#[test]
fn a_client_that_vanishes_leaves_an_external_error() {
    let server = Server::with(&[("MEDIA__MEDIA_TIMEOUT", "1s")]);
    let report = call(&server, 0, &["--siprec", "--vanish", "--duration", "2s"]).remove(0);
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete-external-error");
    let segment = recorded.segment();
    assert_eq!(segment.state, RecordingState::PartialExternalError);
    assert_eq!(segment.end, Some(EndReason::Upstream(Failure::MediaTimeout)));
    for (stream, sent) in segment.streams.iter().zip(report["streams"].as_array().unwrap()) {
        assert_eq!(stream.accounting.received, sent["packets"].as_u64().unwrap());
    }
    let length = segment.ended.unwrap().since(segment.started);
    assert!(length < Duration::from_secs(20), "it took {length:?} to see that nothing comes");
}
