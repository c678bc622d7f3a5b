//! The interface over a real recording: notes that outlive the catalog, readiness, events, clients that are slow or
//! many, and the examples of the documents word for word.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::calls::place;
use support::http::{self, Response};
use support::program::run;
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, wait_until};

struct Interface {
    server: Server,
    token: String,
}

impl Interface {
    /// With one call recorded; its id.
    fn with_a_call() -> (Self, String) {
        let interface = Self::open();
        let packets = Talk::new(400.0, Duration::from_millis(600)).packets();
        let outcome = place(&interface.server, Scenario::new("call"), &Mouth::open(), &packets, "complete");
        (interface, outcome.recorded.id())
    }

    fn open() -> Self {
        // One that is told nothing, for its numbers.
        let server = Server::with(&[
            ("WEBHOOK__OPS__URL", "http://127.0.0.1:9/"),
            ("WEBHOOK__OPS__EVENTS", "alarm:certificate"),
        ]);
        let token = std::fs::read_to_string(server.state().join("token")).expect("a token").trim().to_owned();
        Self { server, token }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        http::send(method, &self.server.http_address(), path, &headers, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Waits until so many calls are listed.
    fn listed(&self, query: &str, count: usize) {
        wait_until(&format!("{count} calls at {query}"), PATIENCE, || {
            let answer = self.ask("GET", &format!("/api/v1/calls{query}"), "");
            let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let found = json["calls"].as_array().map_or(0, Vec::len);
            if found == count { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        });
    }
}

#[test]
fn notes_are_in_the_log_and_outlive_the_catalog() {
    let (interface, call) = Interface::with_a_call();
    let tagged = interface.json("PUT", &format!("/api/v1/calls/{call}/tags/complaint"), "");
    assert_eq!((&tagged["tags"][0]["tag"], &tagged["changed"]), (&"complaint".into(), &true.into()));
    let path = format!("/api/v1/calls/{call}/metadata/ticket");
    interface.json("PUT", &path, r#"{"value":"T-1"}"#);
    interface.json("PUT", &path, r#"{"value":"T-4711"}"#);
    interface.json("PUT", &format!("/api/v1/calls/{call}/tags/wrong"), "");
    interface.json("DELETE", &format!("/api/v1/calls/{call}/tags/wrong"), "");
    interface.listed("?tag=complaint&metadata=ticket=T-4711", 1);
    interface.listed("?tag=wrong", 0);

    let shown = interface.server.callspool(&["show", &call]).expect_ok("show").text().to_owned();
    for line in ["tagged 'complaint' by api", "ticket = T-4711 by api", "tag 'wrong' taken away by api"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    interface.server.callspool(&["verify", &call]).expect_ok("verify");
    wait_until("each note to be an event", PATIENCE, || {
        let detail = interface.json("GET", &format!("/api/v1/calls/{call}"), "");
        let kinds: Vec<&str> =
            detail["events"].as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
        match kinds.iter().filter(|k| **k == "tag").count() {
            3 => Ok(()),
            _ => Err(format!("{kinds:?}")),
        }
    });

    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(interface.server.state().join(name));
    }
    interface.listed("?tag=complaint&metadata=ticket=T-4711", 1);
    interface.listed("?tag=wrong", 0);
}

#[test]
fn a_call_that_is_over_takes_no_orders_and_one_that_never_was_neither() {
    let (interface, call) = Interface::with_a_call();
    for order in ["start", "stop", "pause", "resume"] {
        let over = interface.ask("POST", &format!("/api/v1/calls/{call}/{order}"), "");
        assert!(matches!(over.status, 409 | 503), "{order}: {}", over.text());
        let never = interface.ask("POST", &format!("/api/v1/calls/06jv3kq4g2n00/{order}"), "");
        assert!(matches!(never.status, 404 | 503), "{order}: {}", never.text());
    }
}

#[test]
fn a_node_is_ready_until_it_is_drained() {
    let interface = Interface::open();
    let ready = |status: u16| {
        wait_until(&format!("/readyz to be {status}"), PATIENCE, || {
            let answer =
                http::get(&interface.server.http_address(), "/readyz", &[]).map_err(|e| e.to_string())?;
            if answer.status == status { Ok(answer.text()) } else { Err(answer.text()) }
        })
    };
    ready(200);
    interface.server.callspool(&["drain"]).expect_ok("drain");
    assert!(ready(503).contains("\"draining\""));
    interface.server.callspool(&["drain", "--off"]).expect_ok("drain --off");
    ready(200);
    // The catalog is nothing that recording depends on.
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(interface.server.state().join(name));
    }
    assert_eq!(http::get(&interface.server.http_address(), "/readyz", &[]).unwrap().status, 200);
}

#[test]
fn what_happened_is_counted() {
    let (interface, _) = Interface::with_a_call();
    // Counters of the signalling are renewed each second.
    wait_until("all of it to be counted", PATIENCE, || {
        let text = interface.ask("GET", "/metrics", "").text();
        let missing: Vec<&str> = [
            "callspool_calls_begun_total 1",
            "callspool_calls_concluded_total{state=\"complete\"} 1",
            "callspool_segments_ended_total{state=\"partial\"} 1",
            "callspool_segments_live 0",
            "callspool_rtp_packets_total{outcome=\"received\"} 30",
            "callspool_rtp_packets_total{outcome=\"lost\"} 0",
            "callspool_stream_gaps_total{reason=\"loss\"} 0",
            "callspool_queue_length{queue=\"reports\"} 0",
            "callspool_sip_requests_received_total{method=\"INVITE\"} 1",
            "callspool_sip_requests_received_total{method=\"BYE\"} 1",
            "callspool_sip_responses_sent_total{class=\"2xx\"} 2",
            "callspool_volume_up{volume=\"repository\"} 1",
            "callspool_catalog_up 1",
        ]
        .into_iter()
        .filter(|line| !text.lines().any(|l| l == *line || l == format!("{line}.0")))
        .collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}:\n{text}")) }
    });
    // Each family is explained, and nothing is explained that is not there. Of alarms there is none, no choice of record
    // servers, from which segments could be gathered or played and to which media could be relayed, and no service address.
    let text = interface.ask("GET", "/metrics", "").text();
    let there: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next())
        .chain(["callspool_alarms_active"])
        .chain(["callspool_record_server_segments", "callspool_record_server_takes_calls"])
        .chain(["callspool_gathering_calls", "callspool_gathering_nodes"])
        .chain(["callspool_gathering_calls_gathered_total", "callspool_gathering_bytes_total"])
        .chain(["callspool_gathering_segments_removed_total", "callspool_gathering_failures_total"])
        .chain(["callspool_elsewhere_fetched_bytes_total", "callspool_elsewhere_failures_total"])
        .chain(["callspool_elsewhere_cache_bytes"])
        .chain(["callspool_relay_streams", "callspool_relay_copies_sent_total"])
        .chain(["callspool_relay_datagrams_received_total", "callspool_relay_datagrams_dropped_total"])
        .chain(["callspool_relay_datagrams_unsent_total", "callspool_relay_packets_replayed_total"])
        .chain(["callspool_service_address_held", "callspool_service_address_ready"])
        .chain(["callspool_service_address_taken_total"])
        .chain(["callspool_service_address_advertisements_total"])
        .collect();
    let explained: BTreeSet<&str> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split(['`', '{']).next())
        .collect();
    assert_eq!(there, explained);
    let open = http::get(&interface.server.http_address(), "/metrics", &[]).unwrap();
    assert_eq!(open.status, 401);
}

#[test]
fn events_come_to_whoever_listens() {
    let (interface, call) = Interface::with_a_call();
    let address = interface.server.http_address();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /api/v1/events?kind=tag HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
        interface.token
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut heard = String::new();
    let mut piece = [0; 4_096];
    let mut hear = |what: &str| {
        while !heard.contains(what) {
            let n = stream.read(&mut piece).unwrap_or_else(|e| panic!("no {what}: {e}: {heard}"));
            assert!(n > 0, "no {what}: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..n]));
        }
    };
    hear("text/event-stream");
    interface.json("PUT", &format!("/api/v1/calls/{call}/tags/heard"), "");
    hear("\"tag\":\"heard\"");
}

#[test]
fn many_clients_that_say_nothing_keep_nobody_out() {
    let interface = Interface::open();
    let address = interface.server.http_address();
    // More than there are places: those that have waited longest make room.
    let mut silent: Vec<TcpStream> = (0..600).map_while(|_| TcpStream::connect(&address).ok()).collect();
    for _ in 0..20 {
        let answer = http::get(&address, "/healthz", &[]).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let is_closed = |s: &mut TcpStream| {
        let _ = s.set_nonblocking(true);
        matches!(s.read(&mut [0; 1]), Ok(0)) || s.write(b"G").is_err()
    };
    let closed: Vec<bool> = silent.iter_mut().map(is_closed).collect();
    let count = closed.iter().filter(|c| **c).count();
    assert!((80..=150).contains(&count), "{count} of {} are closed", closed.len());
    assert!(closed[..80].iter().all(|c| *c), "those that came first go first: {closed:?}");
}

/// The examples of `docs/api.md`, in their order, in one shell.
#[test]
fn the_examples_of_the_documents_work_word_for_word() {
    let (interface, _) = Interface::with_a_call();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md")).unwrap();
    let examples: Vec<&str> =
        text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() >= 5);
    let script = format!("set -euo pipefail\n{}", examples.concat())
        .replace("http://127.0.0.1:8080", &format!("http://{}", interface.server.http_address()))
        .replace(".state/token", &interface.server.state().join("token").display().to_string());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(interface.server.directory());
    let said = run(command, PATIENCE).expect_ok("the examples").text().to_owned();
    let kinds: Vec<&str> =
        said.split("/problems/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
    // The call of the examples is over, so it takes no orders, and the other one is none.
    let expected = |k: &&str| matches!(*k, "not-live" | "node-unreachable" | "no-such-call");
    assert!(kinds.iter().all(expected), "{kinds:?}: {said}");
    for expected in ["\"tag\":\"complaint\"", "T-4711", "event: tag"] {
        assert!(said.contains(expected), "no {expected}: {said}");
    }
}
