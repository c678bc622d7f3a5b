//! The Debian package holds what it should, and what it installs records a call with the configuration that it ships.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use fault_support::caller::place;
use support::program::{Program, run};
use support::server::Server;
use support::{PATIENCE, http, wait_until};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Packs the binary of these tests, as it is.
fn package(directory: &Path) -> PathBuf {
    let mut command = Command::new(checkout().join("deploy/debian/build"));
    command.args(["--binary", env!("CARGO_BIN_EXE_callspool"), "--as-is", "--out"]).arg(directory);
    let done = run(command, PATIENCE).expect_ok("deploy/debian/build");
    PathBuf::from(done.text().trim())
}

fn dpkg_deb(arguments: &[&str], package: &Path) -> String {
    let mut command = Command::new("dpkg-deb");
    command.arg(arguments[0]).arg(package).args(&arguments[1..]);
    run(command, PATIENCE).expect_ok("dpkg-deb").text().to_owned()
}

#[test]
fn the_package_installs_a_callspool_that_records() {
    let server = Server::prepare(&[]);
    let package = package(&server.directory().join("package"));
    let root = server.directory().join("root");
    dpkg_deb(&["--extract", root.to_str().unwrap()], &package);

    let field = |name: &str| dpkg_deb(&["--field", name], &package).trim().to_owned();
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").contains("libc6 (>= 2."), "{}", field("Depends"));
    assert!(field("Recommends").starts_with("ffmpeg, lame"), "{}", field("Recommends"));
    let contents = dpkg_deb(&["--contents"], &package);
    for line in [
        "-rwxr-xr-x root/root",
        "-rw-r----- root/root",
        "./usr/bin/callspool\n",
        "./usr/lib/systemd/system/callspool.service\n",
        "./usr/lib/sysusers.d/callspool.conf\n",
        "./usr/share/man/man1/callspool.1.gz\n",
        "./usr/share/man/man1/callspool-restore.1.gz\n",
        "./usr/share/bash-completion/completions/callspool\n",
        "./usr/share/zsh/vendor-completions/_callspool\n",
        "./usr/share/doc/callspool/copyright\n",
        "./usr/share/doc/callspool/operation.md\n",
    ] {
        assert!(contents.contains(line), "{line} is not in\n{contents}");
    }
    let control = server.directory().join("control");
    dpkg_deb(&["--control", control.to_str().unwrap()], &package);
    assert_eq!(
        std::fs::read_to_string(control.join("conffiles")).unwrap(),
        "/etc/callspool/callspool.toml\n"
    );
    for script in ["postinst", "prerm", "postrm"] {
        let mut command = Command::new("sh");
        command.arg("-n").arg(control.join(script));
        run(command, PATIENCE).expect_ok(script);
    }
    records(&server, &root);
}

/// As the unit starts it, but for addresses and directories.
fn records(server: &Server, root: &Path) {
    let unit = std::fs::read_to_string(root.join("usr/lib/systemd/system/callspool.service")).unwrap();
    let start = unit.lines().find_map(|l| l.strip_prefix("ExecStart=")).expect("ExecStart");
    let words: Vec<String> = start
        .split(' ')
        .map(|word| match word.strip_prefix('/') {
            Some(path) => root.join(path).display().to_string(),
            None => word.to_owned(),
        })
        .collect();
    let as_installed = |arguments: &[&str]| {
        let ours = server.command();
        let mut command = Command::new(&words[0]);
        command.current_dir(server.directory()).env_clear().args(arguments).args(&words[2..]);
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    };
    assert_eq!(words[1], "serve");
    let checked = run(as_installed(&["check-config"]), PATIENCE).expect_ok("check-config");
    assert!(checked.text().contains("callspool.toml\n"), "{}", checked.text());
    let mut program = Program::start(as_installed(&["serve"]), &server.directory().join("installed.log"));
    wait_until("an answer", PATIENCE, || match http::get(&server.http_address(), "/healthz", &[]) {
        Ok(response) if response.status == 200 => Ok(()),
        _ => Err(program.output()),
    });
    place(server, "call", &["--duration", "500ms"]);
    run(as_installed(&["stop", "--node"]), PATIENCE).expect_ok("stop");
    assert_eq!(program.wait(PATIENCE).code(), Some(0), "{}", program.output());
    run(as_installed(&["verify", "--all"]), PATIENCE).expect_ok("verify");
}
