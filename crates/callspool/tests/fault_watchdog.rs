//! A supervisor is told what callspool does, and stops hearing that it lives when a thread that calls depend on
//! stands still.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::caller::Caller;
use fault_support::supervisor::{Held, Supervisor};
use support::program::Program;
use support::server::Server;
use support::{PATIENCE, wait_until};

/// It is fed four times as often, and may pass half of that without a round.
const WATCHDOG: Duration = Duration::from_secs(2);

fn start(server: &Server, supervisor: &Supervisor) -> Program {
    let mut command = server.command();
    command.arg("serve");
    supervisor.watch(&mut command, WATCHDOG);
    Program::start(command, &server.directory().join("supervised.log"))
}

#[test]
fn a_thread_that_stands_still_is_not_fed_for_and_one_that_waits_is() {
    let server = Server::prepare(&[("MEDIA__THREADS", "2")]);
    let mut supervisor = Supervisor::listen(server.directory());
    let mut program = start(&server, &supervisor);
    supervisor.wait_for("READY=1");
    for thread in ["media-0", "media-1"] {
        supervisor.wait_for("WATCHDOG=1");
        let held = Held::hold(program.id(), thread);
        wait_until("the standstill to be logged", PATIENCE, || match program.output() {
            log if log.contains(&format!("thread {thread} has stood still")) => Ok(()),
            log => Err(log),
        });
        // What was said before is heard first.
        supervisor.listen_for(Duration::from_millis(200));
        let told = supervisor.listen_for(WATCHDOG);
        assert!(!told.iter().any(|line| line == "WATCHDOG=1"), "{told:?}");
        drop(held);
        supervisor.wait_for("WATCHDOG=1");
    }
    // It has nothing to write: as far as anybody can tell it waits, as it would for a disk.
    let held = Held::hold(program.id(), "writer-0");
    let told = supervisor.listen_for(2 * WATCHDOG);
    assert!(told.iter().filter(|line| *line == "WATCHDOG=1").count() >= 4, "{told:?}");
    drop(held);
    program.terminate();
    supervisor.wait_for("STOPPING=1");
    assert_eq!(program.wait(PATIENCE).code(), Some(0), "{}", program.output());
}

#[test]
fn a_stop_with_calls_up_says_what_it_waits_for_and_asks_for_more_time() {
    let server = Server::prepare(&[("NODE__SHUTDOWN_GRACE", "20s")]);
    let mut supervisor = Supervisor::listen(server.directory());
    let mut program = start(&server, &supervisor);
    supervisor.wait_for("READY=1");
    let caller = Caller::start(&server, "calls", &["--calls", "2", "--duration", "4s"]);
    server.callspool(&["reload"]).expect_ok("reload");
    supervisor.wait_for("RELOADING=1");
    supervisor.wait_for("READY=1");
    supervisor.wait_for("STATUS=recording: 2 calls, 2 segments live");
    program.terminate();
    supervisor.wait_for("STOPPING=1");
    supervisor.wait_for("EXTEND_TIMEOUT_USEC=30000000");
    supervisor.wait_for("STATUS=taking no new calls: ");
    assert_eq!(program.wait(PATIENCE).code(), Some(0), "{}", program.output());
    caller.finish().expect_all_ok("calls that end within the grace");
}
