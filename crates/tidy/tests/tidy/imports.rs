//! Who may import whom: the walls of the house, read from each crate's `Cargo.toml`.
//!
//! `[dependencies]` and `[build-dependencies]` are checked, for every target; `[dev-dependencies]` are free,
//! because a test may build what it likes around what it tests. Versions stand once, in the root's manifest.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::files;
use crate::purity::PURE;

/// Ours: each crate with what it may import.
const OURS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("faults", &[]),
    ("rings", &[]),
    ("datagrams", &["model"]),
    ("sip", &["model"]),
    ("media", &["model"]),
    ("call", &["model", "sip", "media"]),
    ("spool", &["model", "media"]),
    ("relay", &["model", "media", "datagrams", "rings"]),
    ("store", &["model", "faults"]),
    ("peers", &["model"]),
    ("address", &["model"]),
    ("api", &["model", "store"]),
    (
        "callspool",
        &[
            "model",
            "sip",
            "media",
            "call",
            "spool",
            "store",
            "peers",
            "address",
            "api",
            "faults",
            "datagrams",
            "rings",
            "relay",
        ],
    ),
    ("sim", &["model", "sip", "media", "call", "spool"]),
    ("tidy", &[]),
    ("guard", &[]),
];

/// Foreign crates that only some of ours may know. Others (serde, thiserror, bytes …) are free.
const FOREIGN: &[(&str, &[&str])] = &[
    ("sipx-sip", &["sip"]),
    ("quick-xml", &["sip"]),
    ("rtp-types", &["media"]),
    ("rtcp-types", &["media"]),
    ("sdp-types", &["media"]),
    ("sqlx", &["store"]),
    ("axum", &["api", "callspool"]),
    ("tokio", &["store", "peers", "api", "callspool"]),
    ("tracing", &["faults", "store", "api", "callspool"]),
    ("tracing-subscriber", &["callspool"]),
    ("nix", &["datagrams", "relay", "address", "callspool"]),
    ("socket2", &["peers", "address", "callspool"]),
    ("hyper", &["peers", "callspool"]),
    ("rcgen", &["peers"]),
    ("io-uring", &["rings"]),
    ("libc", &["rings"]),
    ("getrandom", &["callspool"]),
    ("crossbeam-channel", &["relay", "address", "callspool"]),
    ("netlink-packet-route", &["address"]),
    ("clap", &["callspool"]),
    ("figment", &["callspool"]),
];

/// Foreign crates that a pure crate may not have at all, with any version or feature.
const IMPURE: &[&str] =
    &["rand", "fastrand", "libc", "mio", "rayon", "async-std", "smol", "hyper", "uuid", "chrono"];

/// What the manifest of crate `krate` does against the tables.
fn findings(krate: &str, manifest: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().unwrap();
    let Some((_, may_import)) = OURS.iter().find(|(name, _)| *name == krate) else {
        return vec![format!("{krate} is not in the table of crates/tidy/tests/tidy/imports.rs")];
    };
    let mut found = Vec::new();
    for (name, how) in dependencies(&manifest) {
        if OURS.iter().any(|(ours, _)| *ours == name) {
            if !may_import.contains(&name.as_str()) {
                found.push(format!("{krate} imports {name}"));
            }
        } else if FOREIGN.iter().any(|(foreign, users)| *foreign == name && !users.contains(&krate)) {
            found.push(format!("{krate} depends on {name}, which is not its business"));
        } else if PURE.contains(&krate) && IMPURE.contains(&name.as_str()) {
            found.push(format!("{krate} is pure and depends on {name}"));
        }
        if how.get("workspace").and_then(Value::as_bool) != Some(true) {
            found.push(format!("{krate} names a version of {name}; it belongs into the root's Cargo.toml"));
        }
    }
    found
}

/// Name and value of all dependencies that are not for tests.
fn dependencies(manifest: &Table) -> Vec<(String, Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|t| t.values());
    let mut found = Vec::new();
    for table in std::iter::once(manifest).chain(targets.filter_map(Value::as_table)) {
        for key in ["dependencies", "build-dependencies"] {
            if let Some(dependencies) = table.get(key).and_then(Value::as_table) {
                found.extend(dependencies.iter().map(|(name, how)| (name.clone(), how.clone())));
            }
        }
    }
    found
}

#[test]
fn the_walls_stand() {
    let findings: Vec<_> = files::crates()
        .iter()
        .flat_map(|krate| findings(krate, &files::file(&format!("crates/{krate}/Cargo.toml")).text))
        .collect();
    files::assert_none("imports (docs/ARCHITECTURE.md has the table)", &findings);
}

#[test]
fn the_table_in_the_architecture_is_this_one() {
    let architecture = files::file("docs/ARCHITECTURE.md").text;
    for (krate, imports) in OURS.iter().filter(|(krate, _)| !["tidy", "guard"].contains(krate)) {
        let row = architecture.lines().find(|line| line.starts_with(&format!("| `{krate}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/ARCHITECTURE.md has no row for `{krate}`"));
        let cell = row.split('|').nth(2).unwrap_or_default();
        let named: BTreeSet<&str> =
            cell.split(|c: char| !c.is_alphanumeric()).filter(|w| OURS.iter().any(|(n, _)| n == w)).collect();
        let expected: BTreeSet<&str> = imports.iter().copied().collect();
        assert_eq!(named, expected, "what docs/ARCHITECTURE.md lets `{krate}` import");
    }
}

#[test]
fn the_walls_have_no_circle() {
    for (i, (krate, imports)) in OURS.iter().enumerate() {
        for import in *imports {
            assert!(
                OURS[..i].iter().any(|(earlier, _)| earlier == import),
                "{krate} imports {import}, below it"
            );
        }
    }
}

#[test]
fn it_fires() {
    for (krate, manifest, expected) in [
        ("media", "[dependencies]\nsip.workspace = true", "media imports sip"),
        ("store", "[target.'cfg(unix)'.dependencies]\nspool.workspace = true", "store imports spool"),
        ("model", "[build-dependencies]\nmedia.workspace = true", "model imports media"),
        (
            "call",
            "[dependencies]\ntokio.workspace = true",
            "call depends on tokio, which is not its business",
        ),
        ("spool", "[dependencies]\nrand.workspace = true", "spool is pure and depends on rand"),
        (
            "sip",
            "[dependencies]\nbytes = \"1\"",
            "sip names a version of bytes; it belongs into the root's Cargo.toml",
        ),
        ("web", "[dependencies]", "web is not in the table of crates/tidy/tests/tidy/imports.rs"),
    ] {
        assert_eq!(findings(krate, manifest), [expected], "{manifest}");
    }
    for manifest in
        ["[dependencies]\nmodel.workspace = true", "[dev-dependencies]\nspool.path = \"../spool\""]
    {
        assert_eq!(findings("sip", manifest), Vec::<String>::new());
    }
}
