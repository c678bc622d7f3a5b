//! `callspool bench`: it measures a callspool of its own or one that it is told, counts exactly, leaves nothing behind,
//! and keeps off calls that are not its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::program::{Program, run};
use support::recording::marked;
use support::server::Server;
use support::{PATIENCE, wait_until};

/// Small loads, whose limits no machine crosses, however busy.
const SMALL: &[&str] = &[
    "--calls-from",
    "2",
    "--calls-most",
    "2",
    "--rate-from",
    "4",
    "--rate-most",
    "4",
    "--step",
    "1s",
    "--set-up-rate",
    "20/s",
    "--max-setup",
    "60s",
    "--max-delay",
    "60s",
];
/// Two starts, some steps, two stops.
const LONG: Duration = Duration::from_secs(120);

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bench(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callspool"));
    // Other tests have callspools that run meanwhile.
    command.arg("bench").arg("--among-real-calls").args(arguments).current_dir(directory);
    command
}

#[test]
fn a_callspool_of_its_own_is_measured_and_nothing_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (figures, picture) = (directory.path().join("b.json"), directory.path().join("b.svg"));
    let there = directory.path().join("there");
    std::fs::create_dir(&there).unwrap();
    let mut command = bench(directory.path(), SMALL);
    command.arg("--dir").arg(&there).arg("--json").arg(&figures).arg("--picture").arg(&picture);
    command.args(["--set", "media.tick=10ms"]);
    // What the machine is set to is nothing to it: with this it would not start.
    command.env("CALLSPOOL_SIP__UDP", "nowhere");
    let done = run(command, LONG);
    let found = json(&figures);
    let shown = format!("{}{}\n{found:#}", done.text(), done.err);
    assert_eq!(found["form"], 1, "{shown}");
    assert_eq!(found["settings"]["media.tick"], "10ms", "{shown}");
    let calls = &found["calls"];
    let first = &calls["steps"][0];
    assert_eq!(
        (&first["load"], &first["invited"], &first["failed"]),
        (&2.into(), &2.into(), &0.into()),
        "{shown}"
    );
    assert!(first["sent"].as_u64().unwrap() > 100, "{shown}");
    assert_eq!(first["lost"], 0, "{shown}");
    assert!(first["delay_p99_ms"].as_f64().unwrap() > 0.0, "{shown}");
    assert!(first["setup_p99_ms"].as_f64().unwrap() > 0.0, "{shown}");
    // What was sent is what the accounts of the recordings hold, to the packet.
    assert_eq!(calls["packets_sent"], calls["packets_accounted"], "{shown}");
    let rate = &found["rate"]["steps"][0];
    assert!(rate["invited"].as_u64().unwrap() >= 1 && rate["failed"] == 0, "{shown}");
    assert!(std::fs::read_to_string(&picture).unwrap().contains("</svg>"), "{shown}");
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 0, "something stays; {shown}");
}

#[test]
fn one_that_runs_is_measured_until_it_has_calls_of_others() {
    let server = Server::start();
    let (to, page) = (format!("sip:bench@{}", server.sip_address()), server.http_address());
    let token = server.state().join("token");
    let figures = server.directory().join("b.json");
    let measure = |more: &[&str]| {
        let mut command = server.command();
        command.arg("bench").args(SMALL).args(["--only", "calls", "--to", &to, "--page", &page]);
        command.arg("--token-file").arg(&token).arg("--json").arg(&figures).args(more);
        run(command, LONG)
    };
    let done = measure(&["--plain"]);
    let found = json(&figures);
    assert_eq!(
        found["calls"]["packets_sent"],
        found["calls"]["packets_accounted"],
        "{}{}\n{found:#}",
        done.text(),
        done.err
    );
    // Now it has recorded calls.
    let refused = measure(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert!(refused.err.contains("--among-real-calls") && refused.err.contains("3 calls"), "{}", refused.err);
    let wanted = measure(&["--among-real-calls", "--srtp", "AES_CM_128_HMAC_SHA1_80"]);
    let (found, shown) = (json(&figures), format!("{}{}", wanted.text(), wanted.err));
    assert_eq!(found["calls"]["steps"][0]["invited"], 2, "{shown}");
    // All of it was opened.
    assert!(shown.contains("protected by AES_CM_128_HMAC_SHA1_80"), "{shown}");
    assert_eq!(found["calls"]["packets_sent"], found["calls"]["packets_accounted"], "{shown}");
}

#[test]
fn who_interrupts_it_leaves_no_call_and_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there");
    std::fs::create_dir(&there).unwrap();
    let figures = directory.path().join("b.json");
    let mut command = bench(directory.path(), &["--calls-from", "2", "--step", "10m", "--only", "calls"]);
    command.arg("--dir").arg(&there).arg("--json").arg(&figures);
    let mut program = Program::start(command, &directory.path().join("log"));
    // It records: there is a call.
    wait_until("a call to be recorded", PATIENCE, || {
        let own = std::fs::read_dir(&there).unwrap().flatten().next().ok_or("no directory")?;
        let live = marked(&own.path().join("repository"));
        if live.is_empty() { Err("no live segment".to_owned()) } else { Ok(()) }
    });
    program.terminate();
    let status = program.wait(LONG);
    assert_eq!(status.code(), Some(1), "{}", program.output());
    assert_eq!(json(&figures)["calls"]["interrupted"], true, "{}", program.output());
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 0, "{}", program.output());
}
