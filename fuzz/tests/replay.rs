//! What fuzzing began from and found worth keeping, run through every parser again.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use callspool_fuzz::{SEEDS, TARGETS};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

#[test]
fn everything_that_was_found_is_survived() {
    for target in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus(target.name)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let run = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(run.is_ok(), "{} does not survive {}", target.name, path.display());
            count += 1;
        }
        assert!(count > 0, "{} has no corpus", target.name);
    }
}

/// The seeds lie in the corpus as they are made today; with UPDATE_EXPECT they are written.
#[test]
fn the_corpus_holds_the_seeds() {
    for (name, seeds) in SEEDS {
        let seeds = seeds();
        assert!(!seeds.is_empty(), "{name} has no seed");
        for (n, seed) in seeds.iter().enumerate() {
            let path = corpus(name).join(format!("seed-{n}"));
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                fs::create_dir_all(corpus(name)).unwrap();
                fs::write(&path, seed).unwrap();
            }
            let there = fs::read(&path).unwrap_or_default();
            assert!(
                there == *seed,
                "{} is not what the seeds say now: run with UPDATE_EXPECT=1",
                path.display()
            );
        }
    }
}

#[test]
fn each_target_has_a_program_a_corpus_and_seeds() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|t| t.name).collect();
    assert_eq!(names, SEEDS.iter().map(|(name, _)| *name).collect());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (directory, suffix) in [("fuzz_targets", ".rs"), ("corpus", "")] {
        let found: BTreeSet<String> = fs::read_dir(here.join(directory))
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().trim_end_matches(suffix).to_owned())
            .collect();
        assert_eq!(found, names.iter().map(|n| (*n).to_owned()).collect(), "{directory}");
    }
}
