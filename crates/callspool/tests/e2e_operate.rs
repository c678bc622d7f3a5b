//! A running callspool is told things by its operator: to read its configuration again, to take no new calls, to
//! stop, and to stop at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use fault_support::caller::Caller;
use fault_support::listing::{all_calls, directories, wait_for_repair};
use fault_support::sip::{Response, ask};
use nix::sys::signal::Signal;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

fn configure(server: &Server, text: &str) {
    std::fs::write(server.directory().join("callspool.toml"), text).unwrap();
}

fn wait_for_log(server: &Server, what: &str) {
    wait_until(what, PATIENCE, || match server.log() {
        log if log.contains(what) => Ok(()),
        log => Err(log.lines().last().unwrap_or_default().to_owned()),
    });
}

fn wait_for_calls(server: &Server, count: usize) {
    let repository = server.state().join("repository");
    wait_until("calls to be up", PATIENCE, || match directories(&repository).len() {
        n if n >= count => Ok(()),
        n => Err(format!("{n} of {count}")),
    });
}

/// What a new call is answered.
fn invite(server: &Server) -> Response {
    ask(server, "INVITE")
}

#[test]
fn a_reload_applies_what_it_can_and_names_the_rest_and_a_broken_file_changes_nothing() {
    let mut server = Server::start();
    let caller = Caller::start(&server, "calls", &["--duration", "5s"]);
    wait_for_calls(&server, 1);
    configure(&server, "[recording]\nmax_calls = 1\n[sip]\nuser_agent = \"other\"\n");
    let done = server.callspool(&["reload"]).expect_ok("reload");
    assert_eq!(
        done.text(),
        "configuration read; in effect now: recording.max_calls\nin effect after a restart only: sip.user_agent\n"
    );
    let answer = invite(&server);
    assert_eq!(answer.status, 503, "{}", answer.text);

    for broken in ["[recording]\nmax_calls = 0\n", "[recording\n", "[recordings]\nmax_calls = 7\n"] {
        configure(&server, broken);
        let done = server.callspool(&["reload"]);
        assert_eq!(done.code, Some(2), "{}{}", done.text(), done.err);
        assert!(done.err.contains("callspool.toml:"), "{}", done.err);
    }
    // A signal cannot answer; the log does.
    server.signal(Signal::SIGHUP);
    wait_for_log(&server, "the configuration cannot be used, and nothing is changed");
    assert!(server.log().contains("there is no section 'recordings'"), "{}", server.log());
    assert_eq!(invite(&server).status, 503);

    configure(&server, "[recording]\nmax_calls = 100\n");
    server.signal(Signal::SIGHUP);
    wait_for_log(&server, "in effect now: recording.max_calls\n");
    Caller::start(&server, "more", &["--duration", "500ms"])
        .finish()
        .expect_all_ok("a call after the reload");
    caller.finish().expect_all_ok("the call that was up all the time");
    assert!(server.is_running());
}

#[test]
fn names_that_the_page_may_be_asked_for_by_change_by_a_reload() {
    let server = Server::start();
    let ask = || http::get_as("rec.example.com", &server.http_address(), "/healthz", &[]).unwrap().status;
    assert_eq!(ask(), 421);
    configure(&server, "[api]\nallowed_hosts = [\"rec.example.com\"]\n");
    let done = server.callspool(&["reload"]).expect_ok("reload");
    assert!(done.text().contains("in effect now: api.allowed_hosts"), "{}", done.text());
    assert_eq!(ask(), 200);
    configure(&server, "");
    server.callspool(&["reload"]).expect_ok("reload");
    assert_eq!(ask(), 421);
}

#[test]
fn drained_it_takes_no_new_calls_or_hands_them_over_and_then_takes_them_again() {
    let server = Server::start();
    let caller = Caller::start(&server, "calls", &["--duration", "5s"]);
    wait_for_calls(&server, 1);
    server.callspool(&["drain"]).expect_ok("drain");
    let answer = invite(&server);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("Retry-After").is_some(), "{}", answer.text);
    let status = server.callspool(&["status"]).expect_ok("status");
    assert!(status.text().starts_with("taking no new calls: 1 calls, 1 segments live"), "{}", status.text());

    configure(&server, "[node]\nhandover = \"sip:other.example.com:5060\"\n");
    server.callspool(&["reload"]).expect_ok("reload");
    let answer = invite(&server);
    assert_eq!(answer.status, 302, "{}", answer.text);
    assert_eq!(answer.header("Contact"), Some("<sip:other.example.com:5060>"), "{}", answer.text);

    server.callspool(&["drain", "--off"]).expect_ok("drain --off");
    Caller::start(&server, "more", &["--duration", "500ms"]).finish().expect_all_ok("a call after the drain");
    caller.finish().expect_all_ok("the call that was up all the time");
}

#[test]
fn it_stops_when_the_last_call_has_ended() {
    let mut server = Server::start();
    let caller = Caller::start(&server, "calls", &["--calls", "3", "--rate", "50/s", "--duration", "4s"]);
    wait_for_calls(&server, 3);
    let stopped = std::thread::scope(|scope| {
        let stop = scope.spawn(|| server.callspool(&["stop", "--when-idle"]));
        wait_for_log(&server, "callspool stops when the last one has ended");
        assert_eq!(invite(&server).status, 503);
        stop.join().unwrap()
    });
    // The grace of these servers is 500 ms, and the calls were not held to it.
    caller.finish().expect_all_ok("calls that it waited for");
    stopped.expect_ok("stop --when-idle");
    assert_eq!(server.wait_for_end().code(), Some(0), "{}", server.log());
    assert!(all_calls(&server).iter().all(|c| !c.live && c.state == "complete"));
    let done = server.callspool(&["status"]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("callspool does not serve in"), "{}", done.err);
}

#[test]
fn a_second_signal_ends_it_at_once_and_the_next_start_repairs() {
    let mut server = Server::with(&[("NODE__SHUTDOWN_GRACE", "10m")]);
    let caller = Caller::start(&server, "calls", &["--calls", "2", "--rate", "50/s", "--duration", "60s"]);
    wait_for_calls(&server, 2);
    server.signal(Signal::SIGTERM);
    wait_for_log(&server, "stopping");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().code(), Some(1), "{}", server.log());
    // The socket that it left is no obstacle.
    server.restart();
    server.callspool(&["status"]).expect_ok("status");
    caller.interrupt();
    caller.finish();
    wait_for_repair(&server.state().join("repository"));
}

#[test]
fn the_allocator_has_an_arena_for_each_core_and_the_process_is_the_one_that_was_started() {
    let server = Server::start();
    let environment = std::fs::read(format!("/proc/{}/environ", server.id())).unwrap();
    let set = environment.split(|octet| *octet == 0).find(|v| v.starts_with(b"MALLOC_ARENA_MAX="));
    let cores = std::thread::available_parallelism().unwrap().get().max(2);
    assert_eq!(String::from_utf8_lossy(set.expect("the setting")), format!("MALLOC_ARENA_MAX={cores}"));
}
