//! The pure crates decide and never act: no file, socket, clock, thread, process or randomness, and no map
//! whose order differs between two runs.
//!
//! That is what makes them testable in virtual time, and a failing seed repeatable. Time and entropy are
//! arguments; bytes come in and go out through `std::io` traits. Test code may do as it likes.

use std::collections::BTreeSet;

use crate::files::{self, File};
use crate::lexer::{self, shipped};
use crate::paths::mentions;

/// The crates that decide.
pub(crate) const PURE: [&str; 5] = ["model", "sip", "media", "call", "spool"];

/// How a forbidden path looks.
enum Ban {
    /// This path and all below it.
    Under(&'static str),
    /// Any path that ends so, wherever it was imported from.
    EndsIn(&'static str),
    /// A call of this method.
    Method(&'static str),
    /// A call of this macro.
    Macro(&'static str),
}

use Ban::{EndsIn, Macro, Method, Under};

/// What is forbidden, and what to do instead.
const BANS: &[(Ban, &str)] = &[
    (Under("std::fs"), "files are the shell's; return a FileOp"),
    (Under("std::os"), "the operating system is the shell's"),
    (Under("std::process"), "processes are the shell's"),
    (Under("std::env"), "configuration is an argument"),
    (Under("std::thread"), "threads are the shell's"),
    (Under("std::io::stdin"), "reading from a terminal is the shell's"),
    (Under("std::io::stdout"), "printing is the shell's"),
    (Under("std::io::stderr"), "printing is the shell's"),
    (Under("tokio"), "tasks and sockets are the shell's"),
    (Under("rand"), "entropy is an argument"),
    (Under("getrandom"), "entropy is an argument"),
    (Under("fastrand"), "entropy is an argument"),
    (Under("libc"), "system calls are the shell's"),
    (Under("nix"), "system calls are the shell's"),
    (Under("socket2"), "sockets are the shell's"),
    (EndsIn("TcpStream"), "sockets are the shell's"),
    (EndsIn("TcpListener"), "sockets are the shell's"),
    (EndsIn("UdpSocket"), "sockets are the shell's"),
    (EndsIn("UnixStream"), "sockets are the shell's"),
    (EndsIn("UnixListener"), "sockets are the shell's"),
    (EndsIn("UnixDatagram"), "sockets are the shell's"),
    (EndsIn("ToSocketAddrs"), "resolving names is the shell's"),
    (Method("to_socket_addrs"), "resolving names is the shell's"),
    (EndsIn("Instant::now"), "time is an argument: model::Now"),
    (EndsIn("SystemTime::now"), "time is an argument: model::Now"),
    (EndsIn("Timestamp::now"), "time is an argument: model::Now"),
    (EndsIn("Zoned::now"), "time is an argument: model::Now"),
    (Method("elapsed"), "it reads the clock; subtract two times"),
    (EndsIn("spawn"), "whoever spawns is the shell"),
    (Method("spawn"), "whoever spawns is the shell"),
    (EndsIn("HashMap"), "its order differs between runs: BTreeMap, or a Vec"),
    (EndsIn("HashSet"), "its order differs between runs: BTreeSet, or a Vec"),
    (EndsIn("RandomState"), "it draws randomness"),
    (Macro("println"), "printing is the shell's"),
    (Macro("print"), "printing is the shell's"),
    (Macro("eprintln"), "printing is the shell's"),
    (Macro("eprint"), "printing is the shell's"),
    (Macro("thread_local"), "state has an owner"),
];

impl Ban {
    fn forbids(&self, path: &str) -> bool {
        let below = |path: &str, root: &str| {
            path.strip_prefix(root).is_some_and(|r| r.is_empty() || r.starts_with("::"))
        };
        match self {
            Under(root) => below(path, root),
            EndsIn(end) => path.strip_suffix(end).is_some_and(|head| head.is_empty() || head.ends_with("::")),
            Method(name) => path.strip_prefix('.').is_some_and(|rest| below(rest, name)),
            Macro(name) => path.strip_suffix('!').is_some_and(|p| p.rsplit("::").next() == Some(name)),
        }
    }
}

/// The findings of one file: `line: path (what to do instead)`.
fn impure(source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for mention in mentions(&shipped(&lexer::tokens(source)).tokens) {
        // A constructor of a map is a mention of the map too: `HashMap::new` does not end in its name.
        let path = mention.path.trim_end_matches("::new").trim_end_matches("::with_capacity");
        if let Some((_, instead)) = BANS.iter().find(|(ban, _)| ban.forbids(path)) {
            findings.push(format!("{}: {} ({instead})", mention.line, mention.path));
        }
    }
    findings
}

/// Files that belong to `#[cfg(test)] mod name;` of another file.
pub(crate) fn test_files(files: &[File]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        let (dir, name) = file.path.rsplit_once('/').unwrap_or_default();
        let dir = match name {
            "lib.rs" | "main.rs" | "mod.rs" => dir.to_owned(),
            _ => format!("{dir}/{}", name.trim_end_matches(".rs")),
        };
        for module in shipped(&lexer::tokens(&file.text)).test_files {
            found.insert(format!("{dir}/{module}.rs"));
            found.insert(format!("{dir}/{module}/mod.rs"));
        }
    }
    found
}

#[test]
fn the_pure_crates_do_nothing() {
    let files: Vec<_> =
        files::rust().into_iter().filter(|f| f.is_source() && PURE.contains(&f.krate())).collect();
    let tests = test_files(&files);
    let findings: Vec<_> = files
        .iter()
        .filter(|file| !tests.contains(&file.path))
        .flat_map(|file| impure(&file.text).into_iter().map(|finding| format!("{}:{finding}", file.path)))
        .collect();
    files::assert_none("in a pure crate (model, sip, media, call, spool)", &findings);
}

#[test]
fn each_ban_fires() {
    for (ban, _) in BANS {
        let sample = match ban {
            Under(path) => format!("use {path}::x;"),
            EndsIn(path) => format!("fn f() {{ some::{path}(); }}"),
            Method(name) => format!("fn f() {{ x.{name}(); }}"),
            Macro(name) => format!("fn f() {{ {name}!(x); }}"),
        };
        assert_eq!(impure(&sample).len(), 1, "{sample}");
    }
}

#[test]
fn disguises_do_not_help() {
    for sample in [
        "use std::{fmt, fs};",
        "use std::fs::{self, File};",
        "fn f() { ::std::fs::read(p) }",
        "use std::time::Instant as Clock; fn f() { Clock::now(); }",
        "use std::time; fn f() { time::Instant::now(); }",
        "fn f() { std::collections::HashMap::<u8, u8>::new(); }",
        "use std::collections::HashMap; fn f() -> HashMap<u8, u8> { HashMap::new() }",
        "#[cfg(any(test, unix))] fn f() { std::thread::spawn(g); }",
        "#[cfg(not(test))] fn f() { println!(); }",
    ] {
        assert!(!impure(sample).is_empty(), "{sample}");
    }
}

#[test]
fn what_is_pure_passes() {
    for sample in [
        "//! No std::fs here, and no HashMap.",
        "const TEXT: &str = \"std::fs::read and Instant::now()\";",
        "use std::net::{IpAddr, SocketAddr};",
        "use std::io::{self, Read, Seek, Write};",
        "fn f(now: Instant) -> Instant { now }",
        "fn f() { respawn(); elapsed; process(x); fs::x(); }",
        "#[cfg(test)] mod tests { use std::fs; fn f() { std::thread::spawn(g); } }",
    ] {
        assert_eq!(impure(sample), Vec::<String>::new(), "{sample}");
    }
}

#[test]
fn a_module_for_tests_in_its_own_file_is_a_test() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let found = test_files(&[
        file("crates/sip/src/lib.rs", "#[cfg(test)] mod ladder; mod agent;"),
        file("crates/sip/src/agent.rs", "#[cfg(test)]\nmod tests;"),
    ]);
    assert!(found.contains("crates/sip/src/ladder.rs"));
    assert!(found.contains("crates/sip/src/agent/tests.rs"));
    assert!(!found.contains("crates/sip/src/agent.rs"));
}
