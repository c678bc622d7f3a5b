//! Each function that does something to a file asks `faults::before` first, so that a test can make it fail: what
//! cannot fail on order is never seen failing.
//!
//! Only the crates that touch files are looked at. A function that is asked for by another one, or whose failing is
//! of no consequence, stands in [`EXEMPT`] with why.

use crate::files;
use crate::lexer::{self, Token, shipped};
use crate::paths::mentions;
use crate::purity::test_files;

/// The crates that do something to files.
const CRATES: [&str; 2] = ["store", "callspool"];

/// Who asks whether an operation may go on.
const ASKED: &str = "faults::before";

/// What does something to a file: a function by the end of its path, or a method.
const OPERATIONS: &[&str] = &[
    "fs::read",
    "fs::read_to_string",
    "fs::read_dir",
    "fs::write",
    "fs::rename",
    "fs::copy",
    "fs::hard_link",
    "fs::remove_file",
    "fs::remove_dir",
    "fs::remove_dir_all",
    "fs::create_dir",
    "fs::create_dir_all",
    "fs::DirBuilder::new",
    "fs::File::open",
    "fs::File::create",
    "fs::OpenOptions::new",
    "statvfs::statvfs",
    "unistd::syncfs",
    ".set_len",
    ".sync_all",
    ".sync_data",
];

const ASKED_ABOVE: &str = "whoever calls it has asked";
const SYSTEM: &str = "it reads what the kernel tells, which is on no disk";
const READ_ONCE: &str = "it reads what an operator wrote; an error is told, and nothing is begun";
const SOCKET: &str = "it is a socket that nobody misses";

/// Files or functions of files that need not ask, and why.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("callspool/src/alarms/sockets.rs", "*", SYSTEM),
    ("callspool/src/backup/restore.rs", "restore", "an error is told before anything is changed"),
    ("callspool/src/backup/restore.rs", "drop", "what stays is removed by hand; the way back is what failed"),
    ("callspool/src/backup/restore.rs", "back", "it is what is done about an operation that failed"),
    ("callspool/src/backup/restore.rs", "put", "it makes a rename durable that has happened"),
    ("callspool/src/backup/restore.rs", "unpack", "what it writes to was asked for when it was made"),
    ("callspool/src/backup/take.rs", "copy_whole_lines", "what it writes to was asked for when it was made"),
    ("callspool/src/backup/take.rs", "source", "an error is told, and there is no backup"),
    ("callspool/src/backup/take.rs", "write", ASKED_ABOVE),
    ("callspool/src/backup/take.rs", "beside", "an error is told, and there is no backup"),
    ("callspool/src/backup/take.rs", "drop", "what stays is removed by hand"),
    ("callspool/src/bench/machine.rs", "*", SYSTEM),
    ("callspool/src/bench/node/own.rs", "*", "it is of a measurement, which ends with an error"),
    ("callspool/src/cli/cert.rs", "*", "an error is told, and no half of a pair stays"),
    ("callspool/src/cli/doctor/", "*", "it tries, and tells what came of it"),
    ("callspool/src/cli/volumes.rs", "look", "it asks for the room before it looks at the rest"),
    ("callspool/src/clock.rs", "*", "a seam of its own for tests"),
    ("callspool/src/config/mod.rs", "*", READ_ONCE),
    ("callspool/src/catalog/number.rs", "boot", SYSTEM),
    ("callspool/src/control.rs", "bind", SOCKET),
    ("callspool/src/metrics.rs", "*", SYSTEM),
    ("callspool/src/password.rs", "*", READ_ONCE),
    ("callspool/src/private_text.rs", "private_text", READ_ONCE),
    ("callspool/src/recorder/disk.rs", "appending", ASKED_ABOVE),
    ("callspool/src/recorder/disk.rs", "private", "it opens nothing"),
    ("callspool/src/recorder/replay.rs", "open", ASKED_ABOVE),
    ("callspool/src/recorder/reserve.rs", "*", "it opens /dev/null"),
    ("callspool/src/serve.rs", "serve", SOCKET),
    ("callspool/src/users.rs", "text", READ_ONCE),
    ("callspool/src/volumes/identity.rs", "read_file", ASKED_ABOVE),
    ("callspool/src/volumes/identity.rs", "write_beside", ASKED_ABOVE),
    ("callspool/src/volumes/mod.rs", "make_private_dir", ASKED_ABOVE),
    (
        "store/src/writer/queue.rs",
        "reindex_was_wanted",
        "a note that cannot be read is a reindex that is not made",
    ),
];

fn is_operation(path: &str) -> bool {
    OPERATIONS.iter().any(|end| {
        path.strip_suffix(end)
            .is_some_and(|head| head.is_empty() || head.ends_with("::") || end.starts_with('.'))
    })
}

/// The functions of a file: the line that each begins in, and its name.
fn functions(tokens: &[Token]) -> Vec<(usize, &str)> {
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    pairs
        .filter(|(word, name)| word.is("fn") && name.is_word())
        .map(|(w, n)| (w.line, n.text.as_str()))
        .collect()
}

/// Functions of a source that do something to a file and do not ask, with what they do.
fn unasked(source: &str) -> Vec<(String, String)> {
    let tokens = shipped(&lexer::tokens(source)).tokens;
    let functions = functions(&tokens);
    let of = |line: usize| functions.iter().rposition(|(begin, _)| *begin <= line);
    let mentions = mentions(&tokens);
    let asks =
        |function: usize| mentions.iter().any(|m| m.path.ends_with(ASKED) && of(m.line) == Some(function));
    let mut found = Vec::new();
    for mention in mentions.iter().filter(|m| is_operation(&m.path)) {
        if let Some(function) = of(mention.line)
            && !asks(function)
        {
            found.push((functions[function].1.to_owned(), mention.path.clone()));
        }
    }
    found
}

#[test]
fn whatever_touches_a_file_can_be_made_to_fail() {
    let all: Vec<_> =
        files::rust().into_iter().filter(|f| f.is_source() && CRATES.contains(&f.krate())).collect();
    let tests = test_files(&all);
    let (mut findings, mut used) = (Vec::new(), Vec::new());
    for file in all.iter().filter(|f| !tests.contains(&f.path)) {
        for (function, operation) in unasked(&file.text) {
            let exempt = EXEMPT.iter().position(|(path, name, _)| {
                file.path.strip_prefix("crates/").is_some_and(|p| p.starts_with(path))
                    && (*name == "*" || *name == function)
            });
            match exempt {
                Some(row) => used.push(row),
                None => {
                    findings.push(format!("{}: {function} calls {operation} and does not ask", file.path))
                }
            }
        }
    }
    for (row, (path, function, _)) in EXEMPT.iter().enumerate() {
        if !used.contains(&row) {
            findings.push(format!("{path}: {function} is exempt and need not be"));
        }
    }
    files::assert_none("file operations without a failpoint (crates/faults has the list)", &findings);
}

#[test]
fn it_fires() {
    for (sample, expected) in [
        ("fn f() { std::fs::rename(a, b); }", 1),
        ("use std::fs::File; fn f() { File::open(p)?.sync_all() }", 2),
        ("use std::fs;\nfn f() {\n fs::write(p, b)\n}\nfn g() {\n faults::before(o, p);\n}", 1),
        ("use faults::before; fn f() { before(o, p)?; std::fs::write(p, b) }", 0),
        ("fn f() { file.set_len(1); }", 1),
        ("#[cfg(test)] mod tests { fn f() { std::fs::write(p, b); } }", 0),
        ("fn f() { fs::symlink_metadata(p); }", 0),
    ] {
        assert_eq!(unasked(sample).len(), expected, "{sample}");
    }
}
