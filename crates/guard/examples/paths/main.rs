//! How many instructions the hot paths take, held against what they took before.
//!
//! ```text
//!  paths check FILE                   counts all paths, fails where one takes 5 % more than FILE says
//!  paths accept FILE WHY [PATH …]     writes what they take now, and why
//!  paths run PATH ROUNDS              walks a path so often: what valgrind looks at
//! ```
//!
//! Times depend on the machine and on who else uses it, instructions do not. A path is walked twice under `valgrind
//! --tool=callgrind`, a few times and many times; the difference is what the rounds between take, without what
//! prepares them. valgrind shows every program the same processor, so that what chooses code by the processor
//! (memchr, SHA-2, AES, `memcpy`) chooses alike on each machine that has AVX2.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counting;
mod exports;
mod known;
mod packets;
mod relays;
mod signaling;

use std::process::ExitCode;

/// A way through the pure crates.
struct Path {
    name: &'static str,
    /// What a round is.
    round: &'static str,
    /// Rounds of the short walk and of the long one. Preparing is the same for both.
    rounds: (usize, usize),
    walk: fn(usize),
}

const PATHS: &[Path] = &[
    Path {
        name: "packet",
        round: "packet of G.711, received, buffered and flushed",
        rounds: (1_000, 4_000),
        walk: packets::clear,
    },
    Path {
        name: "packet-srtp",
        round: "packet, opened by AES-CM-128 and HMAC-SHA1-80",
        rounds: (1_000, 4_000),
        walk: packets::encrypted,
    },
    Path {
        name: "packet-masked",
        round: "packet, looked into for digits",
        rounds: (1_000, 3_000),
        walk: packets::masked,
    },
    Path { name: "relay", round: "packet of G.711, forwarded", rounds: (1_000, 4_000), walk: relays::clear },
    Path {
        name: "relay-tee",
        round: "packet, forwarded, remembered and teed",
        rounds: (1_000, 4_000),
        walk: relays::teed,
    },
    Path {
        name: "relay-srtp",
        round: "packet, opened and protected anew by AES-CM-128 and HMAC-SHA1-80",
        rounds: (1_000, 4_000),
        walk: relays::encrypted,
    },
    Path {
        name: "call",
        round: "SIPREC call with 6 kB of body, from INVITE to BYE",
        rounds: (20, 120),
        walk: signaling::calls,
    },
    Path {
        name: "manifest",
        round: "manifest of a segment of two streams",
        rounds: (20, 120),
        walk: packets::manifests,
    },
    Path { name: "export-wav", round: "second of two sides, as WAV", rounds: (5, 25), walk: exports::wav },
    Path { name: "export-flac", round: "second of two sides, as FLAC", rounds: (5, 15), walk: exports::flac },
    Path { name: "export-opus", round: "second of two sides, as Opus", rounds: (5, 15), walk: exports::opus },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", name, rounds] => {
            let path = PATHS.iter().find(|p| p.name == *name).expect("a path of the list");
            (path.walk)(rounds.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        ["check", file] => known::check(file),
        ["accept", file, why, only @ ..] => known::accept(file, why, only),
        _ => {
            eprintln!("paths: check FILE | accept FILE WHY [PATH …] | run PATH ROUNDS");
            ExitCode::from(2)
        }
    }
}
