//! An error is one line that says what, why and what to do, and the exit code is not 0.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;

use support::program::{Done, run};
use support::server::Server;
use support::{PATIENCE, calls::place, rtp::Mouth, rtp::Talk, sipp::Scenario};

/// One line on standard error from us, which begins with our name and names these things.
fn expect_error(what: &str, done: &Done, code: i32, named: &[&str]) {
    assert_eq!(done.code, Some(code), "{what}: {}{}", done.err, String::from_utf8_lossy(&done.out));
    let ours: Vec<&str> = done.err.lines().filter(|l| l.starts_with("callspool: ")).collect();
    let [line] = ours[..] else { panic!("{what}: one line that says what is wrong:\n{}", done.err) };
    assert!(!done.err.contains("panicked"), "{what}: {}", done.err);
    for name in named {
        assert!(line.contains(name), "{what}: {name:?} is not in: {line}");
    }
    let (_, todo) =
        line.rsplit_once("; ").unwrap_or_else(|| panic!("{what}: nothing says what to do: {line}"));
    assert!(todo.len() > 5, "{what}: {line}");
}

fn serve_with(settings: &[(&str, &str)]) -> Done {
    Server::prepare(settings).callspool(&["serve"])
}

#[test]
fn a_configuration_that_is_wrong_is_told_with_place_and_cure() {
    expect_error(
        "no time",
        &serve_with(&[("MEDIA__MEDIA_TIMEOUT", "soon")]),
        2,
        &["CALLSPOOL_MEDIA__MEDIA_TIMEOUT"],
    );
    expect_error(
        "no such key",
        &serve_with(&[("MEDIA__MEDIA_TIMEOUTS", "2s")]),
        2,
        &["CALLSPOOL_MEDIA__MEDIA_TIMEOUTS", "did you mean CALLSPOOL_MEDIA__MEDIA_TIMEOUT"],
    );

    let server = Server::prepare(&[]);
    let file = server.directory().join("callspool.toml");
    let with_file = |text: &str| {
        std::fs::write(&file, text).unwrap();
        server.callspool(&["serve"])
    };
    expect_error(
        "a key misspelled",
        &with_file("[media]\nport_mni = 1\n"),
        2,
        &["port_mni", "port_min", "callspool.toml"],
    );
    expect_error("no TOML", &with_file("[media\n"), 2, &["callspool.toml"]);
    expect_error("no such file", &server.callspool(&["--config", "none.toml", "serve"]), 2, &["none.toml"]);
    expect_error("no such command", &server.callspool(&["record"]), 2, &["record"]);
}

#[test]
fn a_port_in_use_is_named() {
    let server = Server::prepare(&[]);
    let sip = server.ports().sip();
    let taken = UdpSocket::bind(("127.0.0.1", sip)).unwrap();
    expect_error("UDP", &server.callspool(&["serve"]), 1, &["udp", &format!("127.0.0.1:{sip}"), "in use"]);
    drop(taken);
    let taken = TcpListener::bind(("127.0.0.1", sip)).unwrap();
    expect_error("TCP", &server.callspool(&["serve"]), 1, &["tcp", &format!("127.0.0.1:{sip}"), "in use"]);
    drop(taken);
    let taken = TcpListener::bind(("127.0.0.1", server.ports().http())).unwrap();
    let http = server.ports().http().to_string();
    expect_error("HTTP", &server.callspool(&["serve"]), 1, &[&http, "in use"]);
    drop(taken);
}

#[test]
fn a_repository_that_cannot_be_written_is_named() {
    // Root may write anywhere, but not beneath a file.
    let server = Server::prepare(&[("RECORDING__REPOSITORY", "callspool.toml/repository")]);
    expect_error("beneath a file", &server.callspool(&["serve"]), 1, &["callspool.toml/repository"]);
    let server = Server::prepare(&[("NODE__DATA_DIR", "callspool.toml/state")]);
    expect_error("data beneath a file", &server.callspool(&["serve"]), 1, &["callspool.toml/state"]);
}

/// A file system that is mounted for reading only: as root in a mount namespace of its own, else as it is.
#[test]
fn a_read_only_repository_is_named() {
    let server = Server::prepare(&[]);
    let place = server.directory().join("read-only");
    std::fs::create_dir(&place).unwrap();
    let script = "mount -t tmpfs -o ro tmpfs \"$0\" && exec \"$1\" serve";
    let mut command: Command = server.command();
    command.env("CALLSPOOL_RECORDING__REPOSITORY", &place);
    let binary = env!("CARGO_BIN_EXE_callspool");
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&place).arg(binary);
    shell.current_dir(server.directory());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(key, value);
        }
    }
    let done = run(shell, PATIENCE);
    if done.err.contains("unshare failed") || done.err.starts_with("mount:") {
        eprintln!("this machine lets nobody mount: {}; not tested", done.err.trim());
        return;
    }
    expect_error("read only", &done, 1, &["read-only"]);
}

#[test]
fn a_second_callspool_on_the_same_repository_is_refused() {
    let server = Server::start();
    let repository = server.state().join("repository");
    let second = Server::prepare(&[("RECORDING__REPOSITORY", repository.to_str().unwrap())]);
    expect_error("serve", &second.callspool(&["serve"]), 1, &[repository.to_str().unwrap()]);
    expect_error("reindex", &second.callspool(&["reindex"]), 1, &[repository.to_str().unwrap()]);
    // The first one never noticed.
    place(
        &server,
        Scenario::new("call"),
        &Mouth::open(),
        &Talk::new(700.0, PATIENCE / 60).packets(),
        "complete",
    );
}

#[test]
fn a_wav_that_is_none_is_named() {
    let server = Server::prepare(&[]);
    let call =
        |wav: &Path| server.callspool(&["call", "--to", "sip:a@127.0.0.1:9", "--wav", wav.to_str().unwrap()]);
    let none = server.directory().join("none.wav");
    std::fs::write(&none, "RIFF? no").unwrap();
    let done = call(&none);
    assert_ne!(done.code, Some(0));
    expect_error("no WAV", &done, done.code.unwrap(), &["none.wav"]);
    let absent = call(&server.directory().join("absent.wav"));
    assert_ne!(absent.code, Some(0));
    expect_error("absent", &absent, absent.code.unwrap(), &["absent.wav"]);
}

#[test]
fn calls_that_are_not_there_are_not_there() {
    let server = Server::start();
    for arguments in [
        &["show", "06jv3kq4g2n00"][..],
        &["export", "06jv3kq4g2n00", "-o", "x.wav"],
        &["verify", "06jv3kq4g2n00"],
    ] {
        expect_error(arguments[0], &server.callspool(arguments), 1, &["06jv3kq4g2n00"]);
    }
    assert!(!server.directory().join("x.wav").exists());
    expect_error("no id", &server.callspool(&["show", "nonsense!"]), 2, &["nonsense!"]);
}

#[test]
fn a_call_to_nobody_is_told() {
    let server = Server::prepare(&[]);
    let to = format!("sip:rec@127.0.0.1:{}", server.ports().next());
    let done = server.callspool(&["call", "--to", &to, "--timeout", "1s", "--duration", "1s"]);
    assert_eq!(done.code, Some(1), "{}{}", done.err, done.text());
}
