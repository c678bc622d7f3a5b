//! The commands as a person or a script meets them, before anything is recorded: the built binary, its output,
//! its exit code.

#[path = "cli/fixture.rs"]
mod fixture;

use std::io::Write;
use std::process::Stdio;

use expect_test::expect;
use fixture::{CALL, command, fails, repository_in, run};

#[test]
fn mistakes_on_the_command_line_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    fails(
        dir.path(),
        &["lss"],
        2,
        expect![
            "callspool: the command line: unrecognized subcommand 'lss'; a similar subcommand exists: 'ls'"
        ],
    );
    fails(
        dir.path(),
        &["ls", "--state", "complet"],
        2,
        expect![
            "callspool: the command line: invalid value 'complet' for '--state <STATE>': there is no such state; did you mean complete?; see `callspool --help`"
        ],
    );
    fails(
        dir.path(),
        &["ls", "--since", "yesterday"],
        2,
        expect![
            "callspool: the command line: invalid value 'yesterday' for '--since <TIME>': 'yesterday' is no time such as 2h, 2026-11-20 or 2026-11-20T09:15:00Z; see `callspool --help`"
        ],
    );
    fails(
        dir.path(),
        &["show", "not-an-id"],
        2,
        expect![
            "callspool: the command line: invalid value 'not-an-id' for '<CALL>': 'not-an-id' is no id: 13 characters 0-9 and a-z without i, l, o, u are expected; see `callspool --help`"
        ],
    );
    fails(
        dir.path(),
        &["verify"],
        2,
        expect![
            "callspool: the command line: the following required arguments were not provided: <CALL>; see `callspool --help`"
        ],
    );
    fails(
        dir.path(),
        &["call", "--hold", "2s"],
        2,
        expect![
            "callspool: the command line: invalid value '2s' for '--hold <LENGTH@START>': it is written LENGTH@START, such as 2s@3s; see `callspool --help`"
        ],
    );
    fails(
        dir.path(),
        &["call", "--loss", "200%"],
        2,
        expect![
            "callspool: the command line: invalid value '200%' for '--loss <PERCENT>': '200%' is no share from 0% to 100%; see `callspool --help`"
        ],
    );
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_before_anything_is_done() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("callspool.toml"), "[sip]\nudpp = []\n").unwrap();
    for command in ["serve", "ls", "doctor", "check-config", "reindex"] {
        fails(
            dir.path(),
            &[command],
            2,
            expect!["callspool: DIR/callspool.toml:2: [sip] has no key 'udpp'; did you mean 'udp'?"],
        );
    }
    fails(
        dir.path(),
        &["--config", "none.toml", "ls"],
        2,
        expect![
            "callspool: DIR/none.toml: there is no such file; name an existing file, or leave --config out"
        ],
    );
    assert!(!dir.path().join(".state").exists());
}

#[test]
fn every_mistake_in_a_configuration_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let ran = command(dir.path(), &["check-config"])
        .env("CALLSPOOL_SIP__UDP", "nowhere")
        .env("CALLSPOOL_MEDIA__TICK", "1h")
        .env("CALLSPOOL_MEDIA__TOCK", "1h")
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), told.lines().count()), (Some(2), 3), "{told}");
    assert!(told.lines().all(|l| l.starts_with("callspool: CALLSPOOL_") && l.contains("; ")), "{told}");
}

#[test]
fn check_config_prints_a_file_that_means_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("callspool.toml"), "[recording]\nlinger = \"7s\"\n").unwrap();
    let ran = command(dir.path(), &["check-config"]).env("CALLSPOOL_LOG__LEVEL", "debug").output().unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert!(
        printed.contains("linger = \"7s\"  # ")
            && printed.contains("level = \"debug\"  # CALLSPOOL_LOG__LEVEL"),
        "{printed}"
    );
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("c.toml"), &printed).unwrap();
    let again = run(other.path(), &["--config", "c.toml", "check-config"]).text();
    let values = |text: &str| -> Vec<String> {
        let line = |l: &str| l.split("  # ").next().unwrap_or_default().to_owned();
        text.lines().filter(|l| !l.starts_with('#')).map(line).collect()
    };
    assert_eq!(values(&again), values(&printed));
    let json: serde_json::Value =
        serde_json::from_slice(&run(dir.path(), &["check-config", "--json"]).out).unwrap();
    assert_eq!(json["recording"]["linger"]["value"], "7s");
}

#[test]
fn where_nothing_was_recorded_every_command_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let id = CALL.to_string();
    fails(
        dir.path(),
        &["ls"],
        1,
        expect![
            "callspool: cannot read the catalog DIR/.state/catalog.db: there is none yet; start `callspool serve`, or make it from the recordings with `callspool reindex`"
        ],
    );
    for args in [
        vec!["show", &id],
        vec!["export", &id],
        vec!["verify", &id],
        vec!["verify", "--all"],
        vec!["reindex"],
    ] {
        let told = run(dir.path(), &args).err;
        assert!(told.contains("/repository: there is no such directory; start `callspool serve`"), "{told}");
    }
    std::fs::create_dir_all(repository_in(dir.path())).unwrap();
    fails(
        dir.path(),
        &["show", "0000000000000"],
        1,
        expect![
            "callspool: there is no call 0000000000000: it is not in DIR/.state/repository; see `callspool ls` for the calls that there are"
        ],
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        command(dir.path(), &["states"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn states_are_printed_in_three_forms() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["states", "--markdown"]).text(), model::state::markdown());
    assert!(run(dir.path(), &["states"]).text().starts_with(" 0 incomplete\n"));
    let json: serde_json::Value =
        serde_json::from_slice(&run(dir.path(), &["states", "--json"]).out).unwrap();
    assert_eq!(json["states"].as_array().map(Vec::len), Some(32));
}

#[test]
fn doctor_tells_what_is_wrong_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = command(dir.path(), &["doctor", "--json"])
        .env("CALLSPOOL_SIP__UDP", "127.0.0.1:0")
        .env("CALLSPOOL_SIP__TCP", "192.0.2.1:5060")
        .env("CALLSPOOL_API__LISTEN", taken.local_addr().unwrap().to_string())
        .env("CALLSPOOL_NODE__DATA_DIR", "/proc/callspool")
        .output()
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let checks: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let verdict = |what: &str| {
        let check = checks.iter().find(|c| c["check"].as_str().unwrap().starts_with(what)).unwrap();
        check["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(
        [verdict("SIP over UDP"), verdict("SIP over TCP"), verdict("the page"), verdict("data directory")],
        ["ok", "failure", "warning", "failure"]
    );
    assert!(checks.iter().all(|c| c["verdict"] == "ok" || !c["todo"].as_str().unwrap().is_empty()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_wav_file_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("x.wav")).unwrap();
    file.write_all(b"this is text, not sound").unwrap();
    let ran = run(dir.path(), &["call", "--to", "sip:x@127.0.0.1:9", "--wav", "x.wav"]);
    assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "{}", ran.err);
    assert!(ran.err.starts_with("callspool: ") && ran.err.contains("x.wav"), "{}", ran.err);
}
