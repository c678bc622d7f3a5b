//! What a cluster does when something fails, and what it costs: processes of their own on this machine, which share its
//! cores with whoever calls them.
//!
//! ```text
//!  cargo bench -p callspool --bench cluster -- [--only failover,address,dialogs,gathering,copies] [--rounds N]
//!                                              [--calls N] [--set KEY=VALUE] [--out FILE]
//! ```
//!
//! Each part says what it measures in its own file. Those that need a network of their own (a cable that is pulled, a service
//! address) say so where this machine lets nobody make one, and are left out.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod address;
mod copies;
mod dialogs;
mod failover;
#[path = "../../tests/fault_support/mod.rs"]
mod fault_support;
mod figures;
mod gathering;
#[path = "../../tests/support/mod.rs"]
mod support;

use figures::Figures;

type Measure = fn(&Options, &Figures);

/// Its parts, in the order in which they are measured.
const PARTS: [(&str, Measure); 5] = [
    ("failover", failover::measure),
    ("address", address::measure),
    ("dialogs", dialogs::measure),
    ("gathering", gathering::measure),
    ("copies", copies::measure),
];

struct Options {
    only: Vec<String>,
    /// How often something fails, where a part is not content with its own number.
    rounds: Option<usize>,
    calls: Option<usize>,
    set: Vec<(String, String)>,
    out: Option<String>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { only: Vec::new(), rounds: None, calls: None, set: Vec::new(), out: None };
        // `cargo bench` gives an argument of its own.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{word} wants a value"));
            match word.as_str() {
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--rounds" => options.rounds = Some(value.parse().expect("a number of rounds")),
                "--calls" => options.calls = Some(value.parse().expect("a number of calls")),
                "--out" => options.out = Some(value),
                "--set" => {
                    let (key, value) = value.split_once('=').expect("KEY=VALUE, such as MEDIA__TICK=10ms");
                    options.set.push((key.to_owned(), value.to_owned()));
                }
                other => panic!("{other} is not known: --only, --rounds, --calls, --set, --out"),
            }
        }
        let parts = PARTS.map(|(name, _)| name);
        let unknown = options.only.iter().find(|name| !parts.contains(&name.as_str()));
        assert!(unknown.is_none(), "{unknown:?} is none of {}", parts.join(", "));
        options
    }

    /// The settings of a part, and those that were asked for.
    fn settings<'a>(&'a self, own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        // What tests have logged costs more than what is measured.
        let quiet = [("LOG__LEVEL", "info")];
        quiet
            .into_iter()
            .chain(own.iter().copied())
            .chain(self.set.iter().map(|(key, value)| (&**key, &**value)))
            .collect()
    }
}

fn main() {
    let options = Options::read();
    let figures = Figures::new(options.out.clone());
    for (name, measure) in PARTS {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            measure(&options, &figures);
        }
    }
}
