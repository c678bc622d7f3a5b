//! A cluster on a network of the test's own: two proxies, three record servers and a communications manager, each on a host
//! with a cable. One is pulled while fifty calls go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_wrap, reason = "numbers of a test are small")]

mod fault_support;
mod support;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fault_support::caller::{CallReport, Caller, Report};
use fault_support::cluster::certify;
use fault_support::listing::{Segment, directories, segments};
use model::RecordingState;
use support::lan::Lan;
use support::remote::Remote;
use support::server::Server;
use support::{PATIENCE, wait_until};

const HOSTS: [&str; 6] = ["p", "q", "a", "b", "c", "m"];
const RECORDERS: [&str; 3] = ["a", "b", "c"];
const CALLS: usize = 50;
/// One network at a time: six nodes are as many as a small machine has room for.
static ALONE: Mutex<()> = Mutex::new(());
/// RTP of G.711 in packets of 20 ms.
const PACKET: i64 = 160;

struct Network {
    lan: Lan,
    proxies: Vec<Remote>,
    recorders: Vec<Remote>,
    /// The last that goes: until then its nodes are there.
    _alone: MutexGuard<'static, ()>,
}

fn address(host: &str) -> String {
    format!("192.0.2.{}", HOSTS.iter().position(|h| *h == host).unwrap() + 1)
}

impl Network {
    /// None where nobody may make one.
    fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let lan = Lan::of(&HOSTS)?;
        let keys = Server::prepare(&[]);
        let authority = keys.directory().join("nodes");
        certify(&keys, &["authority", authority.to_str().unwrap()]);
        let node = |host: &'static str, number: usize, roles: &str| -> Remote {
            certify(&keys, &["node", authority.to_str().unwrap(), host]);
            let own = address(host);
            let mut server = Server::prepare(&[("NODE__ROLES", roles), ("MEDIA__LISTEN_V6", "")]);
            server.set("NODE__NUMBER", &number.to_string());
            server.set("SIP__UDP", &format!("{own}:5060"));
            server.set("SIP__TCP", &format!("{own}:5060"));
            server.set("MEDIA__LISTEN_V4", &own);
            // All ports of the host are its own.
            server.set("MEDIA__PORT_MIN", "20000");
            server.set("MEDIA__PORT_MAX", "29999");
            for (key, file) in [("CA", "ca.pem"), ("CERTIFICATE", "own.pem"), ("KEY", "own.key")] {
                // What is on the disk of the test is there as long as its servers.
                let from = authority.join(file.replace("own", host));
                let to = server.directory().join(file);
                std::fs::copy(from, &to).unwrap();
                server.set(&format!("CLUSTER__{key}"), to.to_str().unwrap());
            }
            settings.iter().for_each(|(key, value)| server.set(key, value));
            Remote::new(&lan, host, server)
        };
        let recorders: Vec<Remote> =
            (1..).zip(RECORDERS).map(|(n, host)| node(host, n, "recorder,api")).collect();
        let proxies: Vec<Remote> =
            (100..).zip(["p", "q"]).map(|(n, host)| node(host, n, "proxy,api")).collect();
        let mut network = Self { lan, proxies, recorders, _alone: alone };
        for (host, recorder) in RECORDERS.iter().zip(&mut network.recorders) {
            recorder.server.set("CLUSTER__LISTEN", &format!("{}:5070", address(host)));
            recorder.restart();
        }
        for proxy in &mut network.proxies {
            for host in RECORDERS {
                let key = format!("PEER__{}__ADDRESS", host.to_uppercase());
                proxy.server.set(&key, &format!("{}:5070", address(host)));
            }
            proxy.restart();
        }
        network.wait_until_ready();
        Some(network)
    }

    fn wait_until_ready(&self) {
        for proxy in &self.proxies {
            wait_until("every record server to take calls", PATIENCE, || {
                let status = proxy.status();
                if status.contains("3 of 3 record servers take calls") { Ok(()) } else { Err(status) }
            });
        }
    }

    /// The manager places calls with media, by the first proxy.
    fn call(&self, name: &str, duration: &str) -> Caller {
        let space = self.lan.host("m");
        let server = &self.proxies[0].server;
        let mut command = server.command_by("ip", &["netns", "exec", &space]);
        command.args(["call", "--json", "--siprec", "--to", &format!("sip:rec@{}:5060", address("p"))]);
        command.args(["--calls", &CALLS.to_string(), "--rate", "10/s", "--duration", duration]);
        Caller::by(command, &server.directory().join(format!("caller-{name}")))
    }

    fn wait_until_up(&self, name: &str) {
        let proxy = &self.proxies[0];
        wait_until("calls to be up", PATIENCE, || {
            let status = proxy.status();
            let said = || std::fs::read_to_string(proxy.server.directory().join(format!("caller-{name}")));
            if status.contains(&format!("{CALLS} calls")) {
                Ok(())
            } else {
                Err(format!("{status}{:?}", said()))
            }
        });
    }

    fn repository(&self, recorder: usize) -> PathBuf {
        self.recorders[recorder].server.state().join("repository")
    }

    fn all(&self) -> Vec<(usize, Segment)> {
        let of = |n: usize| {
            let found = directories(&self.repository(n));
            found.iter().flat_map(|d| segments(d)).map(move |s| (n, s)).collect::<Vec<_>>()
        };
        (0..self.recorders.len()).flat_map(of).collect()
    }

    /// Of each call its segments, when all of them are sealed.
    fn calls(&self, report: &Report) -> Vec<Vec<(usize, Segment)>> {
        let all = wait_until("everything to be sealed", PATIENCE, || {
            let all = self.all();
            let live = all.iter().filter(|(_, s)| !s.sealed).count();
            if live == 0 { Ok(all) } else { Err(format!("{live} of {} are live", all.len())) }
        });
        let of = |call: &CallReport| {
            let mut own: Vec<_> = all.iter().filter(|(_, s)| s.is_of(&call.sip_call_id)).cloned().collect();
            own.sort_by_key(|(_, s)| s.record.number);
            own
        };
        report.calls.iter().map(of).collect()
    }
}

/// Pulls the cable of the first record server in the middle of fifty calls; says what became of each.
fn pull(network: &Network) -> (Report, Vec<Vec<(usize, Segment)>>) {
    let caller = network.call("pulled", "14s");
    network.wait_until_up("pulled");
    std::thread::sleep(Duration::from_millis(1_500));
    let there = network.all().iter().filter(|(n, _)| *n == 0).count();
    assert!(there >= 10, "{there} calls at the first record server");
    network.lan.cable("a", "down");
    let report = caller.finish();
    network.lan.cable("a", "up");
    network.wait_until_ready();
    let calls = network.calls(&report);
    let moved = calls.iter().filter(|segments| segments.len() == 2).count();
    assert_eq!(moved, there, "all that were there are elsewhere, and no others");
    for segments in &calls {
        let states: Vec<_> = segments.iter().map(|(_, s)| s.record.state).collect();
        match &segments[..] {
            [(at, _)] => assert!(*at != 0 && states == [RecordingState::Partial], "{at} {states:?}"),
            [(first, _), (second, _)] => {
                let expected =
                    [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
                assert!(*first == 0 && *second != 0 && states == expected, "{first} {second} {states:?}");
            }
            more => panic!("{more:#?}"),
        }
    }
    for proxy in &network.proxies {
        assert!(proxy.status().contains("0 calls"), "{}", proxy.status());
    }
    (report, calls)
}

#[test]
fn when_the_link_of_a_record_server_goes_down_fifty_calls_go_on() {
    let Some(network) = Network::start(&[]) else { return };
    let (report, _) = pull(&network);
    report.expect_all_ok("the link of a record server went down");
}

#[test]
fn through_the_proxy_no_packet_is_missing_when_the_link_of_a_record_server_goes_down() {
    let Some(network) = Network::start(&[("MEDIA__RELAY", "yes")]) else { return };
    let (report, calls) = pull(&network);
    report.expect_all_ok("the link of a record server went down");
    expect_whole(&report, &calls);
}

#[test]
fn through_the_proxy_no_packet_is_missing_when_every_record_server_is_started_again() {
    let Some(mut network) = Network::start(&[("MEDIA__RELAY", "yes")]) else { return };
    let caller = network.call("rolling", "25s");
    network.wait_until_up("rolling");
    for n in 0..network.recorders.len() {
        network.recorders[n].program().terminate();
        assert!(network.recorders[n].program().wait(PATIENCE).success());
        network.recorders[n].restart();
        network.wait_until_ready();
    }
    let report = caller.finish();
    report.expect_all_ok("every record server was started again");
    let calls = network.calls(&report);
    assert!(calls.iter().all(|segments| segments.len() > 1), "each call was moved");
    expect_whole(&report, &calls);
}

/// Of each stream every packet that was sent is in a segment.
fn expect_whole(report: &Report, calls: &[Vec<(usize, Segment)>]) {
    for (call, segments) in report.calls.iter().zip(calls) {
        for (n, sent) in call.streams.iter().enumerate() {
            let spans: Vec<(i64, i64)> = segments
                .iter()
                .map(|(_, segment)| {
                    let stream = &segment.record.streams[n];
                    let counts = &stream.accounting;
                    assert_eq!((counts.lost, counts.ssrc_changes), (0, 0), "{stream:?}");
                    let first = i64::from(stream.anchors.first().expect("an anchor").rtp);
                    (first, first + PACKET * counts.received as i64)
                })
                .collect();
            let (begin, end) = (spans[0].0, spans[spans.len() - 1].1);
            // The next one begins where the one before ends, or earlier: by what was replayed.
            assert!(spans.windows(2).all(|pair| pair[1].0 <= pair[0].1), "a hole: {spans:?}");
            assert_eq!((end - begin) / PACKET, sent.packets as i64, "{spans:?}");
        }
    }
}
