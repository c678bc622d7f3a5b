//! The files that tidy looks at: Rust sources of all crates, documents, manifests.
//!
//! Everything is found by walking the checkout, so that a new crate or document is under the rules from its
//! first day, without being listed anywhere.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories of a crate that hold Rust.
const RUST_DIRS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// A file, by its path from the root of the checkout.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// `sip` for `crates/sip/src/lib.rs`.
    pub(crate) fn krate(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// Whether it is compiled into the crate, not only into its tests and benches.
    pub(crate) fn is_source(&self) -> bool {
        self.path.split('/').nth(2) == Some("src")
    }
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The names of the directories under `crates`.
pub(crate) fn crates() -> Vec<String> {
    entries(&root().join("crates"))
        .into_iter()
        .filter(|dir| dir.join("Cargo.toml").is_file())
        .map(|dir| dir.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// All Rust files of all crates.
pub(crate) fn rust() -> Vec<File> {
    let mut found = Vec::new();
    for krate in crates() {
        for dir in RUST_DIRS {
            walk(&root().join("crates").join(&krate).join(dir), "rs", &mut found);
        }
    }
    assert!(found.len() > 20, "the walk over crates/ finds next to nothing");
    found
}

/// All documents: `docs/**/*.md` and those at the root.
pub(crate) fn documents() -> Vec<File> {
    let mut found = Vec::new();
    walk(&root().join("docs"), "md", &mut found);
    for path in entries(&root()) {
        if path.extension().is_some_and(|e| e == "md") {
            found.push(read(&path));
        }
    }
    assert!(found.len() > 5, "the walk over docs/ finds next to nothing");
    found
}

/// One file by its path from the root.
pub(crate) fn file(path: &str) -> File {
    read(&root().join(path))
}

/// Fails with one line for each finding.
pub(crate) fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}\n", findings.join("\n  "));
}

fn walk(dir: &Path, extension: &str, found: &mut Vec<File>) {
    for path in entries(dir) {
        if path.is_dir() {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(read(&path));
        }
    }
}

/// The entries of a directory in order of their names; none when there is no such directory.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    File { path, text }
}
