//! The file of what paths take, with the reason of each figure.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::counting::{compiler, count, has_avx2};

/// More than this is a change of the path, and not one of how the compiler orders it.
const MORE_PERCENT: f64 = 5.0;

const HEAD: &str = "# Instructions that the hot paths take, by `./dev guard`, which is part of `./dev test`: a path that takes 5 % more fails.\n\
                    # A rise that is meant is written by `./dev guard --accept \"why\" PATH`; its reason stands here.\n\n";

#[derive(Serialize, Deserialize)]
struct File {
    /// The minor version of rustc that they were counted with.
    compiler: String,
    paths: BTreeMap<String, Known>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    /// For one round.
    instructions: u64,
    /// What a round is.
    round: String,
    /// Why it takes what it takes: of the last change.
    why: String,
}

/// Counts all paths and compares.
pub(crate) fn check(file: &str) -> ExitCode {
    let text = std::fs::read_to_string(file).expect("the file of what paths take");
    let known: File = toml::from_str(&text).expect("TOML as `accept` writes it");
    let here = compiler();
    let is_compared = has_avx2() && known.compiler == here;
    if !has_avx2() {
        println!("this processor has no AVX2: code is chosen otherwise, nothing is compared");
    }
    if known.compiler != here {
        println!("counted with rustc {}, this is {here}: nothing is compared", known.compiler);
    }
    let (mut failed, mut loose) = (Vec::new(), Vec::new());
    for (path, found) in count(|_| true) {
        let before = known.paths.get(path.name).map(|k| k.instructions);
        let Some(before) = before else {
            println!("{:<16} {found:>12}  (new) for each {}", path.name, path.round);
            failed.push(path.name);
            continue;
        };
        let change = (found as f64 / before as f64 - 1.0) * 100.0;
        println!("{:<16} {found:>12}  {change:>+6.1} %  for each {}", path.name, path.round);
        if change > MORE_PERCENT {
            failed.push(path.name);
        } else if change < -MORE_PERCENT {
            loose.push(path.name);
        }
    }
    if !loose.is_empty() {
        println!("better than known: write it down, ./dev guard --accept \"why\" {}", loose.join(" "));
    }
    if failed.is_empty() || !is_compared {
        return ExitCode::SUCCESS;
    }
    println!("more than {MORE_PERCENT} % over what is known, or not known: {}", failed.join(", "));
    println!("make it less, or say why it is so: ./dev guard --accept \"why\" {}", failed.join(" "));
    ExitCode::FAILURE
}

/// Writes what they take now. Without names, all of them.
pub(crate) fn accept(file: &str, why: &str, only: &[&str]) -> ExitCode {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut known = toml::from_str(&text).unwrap_or(File { compiler: compiler(), paths: BTreeMap::new() });
    if only.is_empty() {
        known = File { compiler: compiler(), paths: BTreeMap::new() };
    } else if known.compiler != compiler() {
        println!("the others were counted with rustc {}: accept all of them", known.compiler);
        return ExitCode::FAILURE;
    }
    for (path, instructions) in count(|p| only.is_empty() || only.contains(&p.name)) {
        println!("{:<16} {instructions:>12}  for each {}", path.name, path.round);
        let (round, why) = (path.round.to_owned(), why.to_owned());
        known.paths.insert(path.name.to_owned(), Known { instructions, round, why });
    }
    let text = toml::to_string(&known).expect("a table");
    std::fs::write(file, format!("{HEAD}{text}")).expect("a file that can be written");
    ExitCode::SUCCESS
}
