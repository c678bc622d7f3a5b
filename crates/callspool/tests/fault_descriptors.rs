//! Descriptors run out under calls: those that go on lose nothing, new ones are refused with 503 and a reason, the
//! page goes on answering, and when there are some again all is as before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::net::TcpStream;

use fault_support::caller::{Caller, Report, place};
use fault_support::catalog;
use fault_support::process::{descriptors, id_of, sockets};
use fault_support::sip;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use support::rtp::Mouth;
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, http, wait_until};

/// What callspool keeps for itself.
const OWN: u64 = 712;
/// That, and room for twelve calls of one stream, which take three each: two ports and a part. A quarter of what is left
/// goes to connections for SIP, of which this server may have two.
const ALLOWED: u64 = OWN + 2 + 12 * 3;

fn expect_complete(server: &Server, report: &Report) {
    for call in report.answered() {
        let recorded = server.wait_for_state(&call.sip_call_id, "complete");
        assert_eq!(recorded.segments.len(), 1, "{call:?}: {:?}", recorded.segments);
        for (stream, sent) in recorded.segment().streams.iter().zip(&call.streams) {
            assert_eq!(stream.accounting.received, sent.packets, "{call:?}");
        }
    }
}

fn calls(server: &Server, name: &str, count: &str, seconds: &str) -> Caller {
    Caller::start(server, name, &["--calls", count, "--rate", "20/s", "--duration", seconds])
}

fn expect_alarm(server: &Server, kind: &str, word: &str) {
    wait_until(&format!("the alarm {kind} about {word}"), PATIENCE, || {
        let told = catalog::alarms(server);
        match told.iter().any(|(k, text)| k == kind && text.contains(word)) {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    });
}

#[test]
fn at_the_limit_new_calls_are_refused_and_those_that_go_on_lose_nothing() {
    let mut server = Server::prepare(&[("SIP__TCP_MAX_CONNECTIONS", "2")]);
    server.allow_descriptors(ALLOWED);
    server.restart();
    assert!(descriptors(id_of(&server)) < 200, "more than is kept for this");
    let long = calls(&server, "long", "10", "9s");
    wait_until("ten calls", PATIENCE, || match server.calls().len() {
        10 => Ok(()),
        n => Err(n.to_string()),
    });
    // Whoever else takes descriptors takes them out of a share of their own.
    let address = server.http_address();
    let silent: Vec<TcpStream> = (0..600).map_while(|_| TcpStream::connect(&address).ok()).collect();
    let connected: Vec<TcpStream> =
        (0..20).map_while(|_| TcpStream::connect(server.sip_address()).ok()).collect();
    let more = calls(&server, "more", "6", "2s").finish();
    let answered = more.answered().count();
    let statuses: Vec<u16> = more.calls.iter().map(|c| c.status).collect();
    assert!(answered >= 1 && statuses.iter().all(|s| matches!(s, 200 | 503)), "{statuses:?}");
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(descriptors(id_of(&server)) as u64 <= ALLOWED);
    assert_eq!(http::get(&address, "/healthz", &[]).unwrap().status, 200);
    expect_alarm(&server, "descriptors", "descriptors");
    expect_alarm(&server, "not-recorded", "LimitNOFILE");
    long.finish().expect_all_ok("long");
    drop((silent, connected));
    let after = place(&server, "after", &["--calls", "6", "--duration", "500ms"]);
    expect_complete(&server, &after);
    expect_complete(&server, &more);
}

/// Descriptors that segments take, as the server counts them.
fn taken(server: &Server) -> f64 {
    let text = http::get(&server.http_address(), "/metrics", &[]).unwrap().text();
    let value = text.lines().find_map(|l| l.strip_prefix("callspool_segments_descriptors ")?.parse().ok());
    value.unwrap_or_else(|| panic!("not counted in {text}"))
}

fn expect_taken(server: &Server, expected: f64) {
    wait_until(&format!("{expected} descriptors"), PATIENCE, || match taken(server) {
        n if (n - expected).abs() < 0.5 => Ok(()),
        n => Err(n.to_string()),
    });
}

#[test]
fn a_call_takes_what_it_has_open_and_where_there_is_no_more_its_files_take_turns() {
    // A port for both RTP and RTCP, and a part; with room for it a sidecar.
    for (allowed, with_sidecar) in [(OWN + 2, 2.0), (OWN + 8, 3.0)] {
        let mut server = Server::prepare(&[("SIP__TCP_MAX_CONNECTIONS", "1"), ("API__METRICS_OPEN", "true")]);
        server.allow_descriptors(allowed);
        server.restart();
        let (mouth, before) = (Mouth::open(), sockets(&server));
        let (mut dialog, media) = Dialog::begin_by(&server, "mux", mouth.port(), "RTP/AVP", "a=rtcp-mux\r\n");
        expect_taken(&server, 2.0);
        assert_eq!(sockets(&server), before + 1);
        let mut talker = Talker::new(&mouth, media.rtp());
        // Speech goes to the part, digits to the sidecar, each in a flush of its own.
        for digit in 0..5 {
            talker.say(12, &payload(u64::from(digit)));
            talker.press(digit);
        }
        talker.say(12, &payload(5));
        expect_taken(&server, with_sidecar);
        dialog.bye();
        let recorded = server.wait_for_state(dialog.call_id(), "complete");
        let counts = recorded.stream().accounting;
        assert_eq!((counts.received, counts.lost, counts.dropped), (6 * 12 + 5 * 3, 0, 0), "{counts:?}");
        assert_eq!(recorded.segment().sidecar.as_ref().map(|s| s.packets), Some(15));
        expect_taken(&server, 0.0);
        let done = server.callspool(&["verify", "--all"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    }
}

/// Every descriptor of the process is taken: no more are allowed than there are, and clients of the page take those
/// that become free.
struct Exhausted {
    process: Pid,
    before: Rlimit,
    clients: Vec<TcpStream>,
}

impl Exhausted {
    fn of(server: &Server) -> Self {
        let id = id_of(server);
        let process = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        let numbers = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().flatten();
        let highest: u64 = numbers.filter_map(|e| e.file_name().to_str()?.parse().ok()).max().unwrap();
        let maximum = getrlimit(Resource::Nofile).maximum;
        let none = Rlimit { current: Some(highest + 1), maximum };
        let before = prlimit(Some(process), Resource::Nofile, none).expect("the limit of a child");
        let mut exhausted = Self { process, before, clients: Vec::new() };
        wait_until("descriptors to run out", PATIENCE, || {
            exhausted.clients.extend((0..20).map_while(|_| TcpStream::connect(server.http_address()).ok()));
            match descriptors(id) as u64 {
                n if n > highest => Ok(()),
                n => Err(format!("{n} of {highest}")),
            }
        });
        exhausted
    }

    fn restore(self) {
        prlimit(Some(self.process), Resource::Nofile, self.before).expect("the limit of a child");
        drop(self.clients);
    }
}

#[test]
fn without_a_single_descriptor_calls_go_on_and_new_ones_are_refused() {
    let server = Server::start();
    let long = Caller::start(&server, "long", &["--calls", "4", "--siprec", "--duration", "8s"]);
    wait_until("four calls", PATIENCE, || match server.calls().len() {
        4 => Ok(()),
        n => Err(n.to_string()),
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    let exhausted = Exhausted::of(&server);
    sip::expect_refusal(&server, "without a descriptor");
    sip::expect_options(&server, "without a descriptor");
    std::thread::sleep(std::time::Duration::from_secs(2));
    exhausted.restore();
    expect_alarm(&server, "not-recorded", "LimitNOFILE");
    let report = long.finish();
    report.expect_all_ok("long");
    expect_complete(&server, &report);
    expect_complete(&server, &place(&server, "after", &["--calls", "2", "--duration", "500ms"]));
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}
