//! Licences and sources of all dependencies, by the rules of `deny.toml`.
//!
//! `cargo deny check licenses bans sources` reads the same file and finds the same; this needs only cargo
//! (docs/decisions/0008-licenses.md says why both). Checked: each licence expression can be fulfilled with
//! the allowed licences, no banned crate is there, everything comes from crates.io or from this checkout.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::files;

/// The rules of `deny.toml` that are checked here.
struct Rules {
    licenses: Vec<String>,
    /// Crate and licences that it alone may have.
    exceptions: Vec<(String, Vec<String>)>,
    banned: Vec<String>,
}

impl Rules {
    fn read(deny: &str) -> Self {
        let deny: Table = deny.parse().unwrap();
        let names = |list: &toml::Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
        };
        let empty = toml::Value::Array(Vec::new());
        let of = |list: &toml::Value, key: &str| list.get(key).unwrap().as_str().unwrap().to_owned();
        let tables = |list: &toml::Value| list.as_array().unwrap().clone();
        Self {
            licenses: names(&deny["licenses"]["allow"]),
            exceptions: tables(deny["licenses"].get("exceptions").unwrap_or(&empty))
                .iter()
                .map(|e| (of(e, "crate"), names(&e["allow"])))
                .collect(),
            banned: tables(&deny["bans"]["deny"]).iter().map(|b| of(b, "crate")).collect(),
        }
    }

    /// What is wrong with a package of `cargo metadata`, if anything is.
    fn problem(&self, package: &Value) -> Option<String> {
        let name = package["name"].as_str().unwrap_or_default();
        let source = package["source"].as_str();
        if self.banned.iter().any(|banned| banned == name) {
            return Some(format!("{name} is banned"));
        }
        if source.is_some_and(|s| s != "registry+https://github.com/rust-lang/crates.io-index") {
            return Some(format!("{name} comes from {}", source.unwrap_or_default()));
        }
        let Some(license) = package["license"].as_str() else {
            return Some(format!("{name} has no licence"));
        };
        let allowed = |id: &str| {
            let own = self.exceptions.iter().filter(|(krate, _)| krate == name).flat_map(|(_, ids)| ids);
            self.licenses.iter().chain(own).any(|l| l == id)
        };
        (!fulfilled(license, &allowed)).then(|| format!("{name} is under '{license}'"))
    }
}

/// Whether an SPDX expression can be fulfilled with allowed licences. `/` is an old way to write OR.
fn fulfilled(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&words, &mut at, allowed) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut ok = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        ok |= all_of(words, at, allowed);
    }
    ok
}

fn all_of(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut ok = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        ok &= one(words, at, allowed);
    }
    ok
}

fn one(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let ok = any_of(words, at, allowed);
        *at += 1; // the closing one
        return ok;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).unwrap_or(&"");
        *at += 2;
        return allowed(&format!("{word} WITH {exception}"));
    }
    allowed(word)
}

/// The packages that are built for this kind of machine.
fn packages() -> Vec<Value> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--filter-platform", &platform])
        .current_dir(files::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn every_dependency_may_be_used() {
    let rules = Rules::read(&files::file("deny.toml").text);
    let packages = packages();
    assert!(packages.len() > 50, "cargo metadata lists next to nothing");
    let problems: Vec<_> = packages.iter().filter_map(|package| rules.problem(package)).collect();
    files::assert_none("dependencies against deny.toml", &problems);
}

#[test]
fn expressions_are_understood() {
    let allowed = |id: &str| ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].contains(&id);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(GPL-2.0 OR Apache-2.0) AND Unicode-3.0", false),
        ("GPL-3.0 AND BSD-3-Clause OR MIT", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("MIT WITH Classpath-exception-2.0", false),
        ("MIT AND", false),
        ("", false),
    ] {
        assert_eq!(fulfilled(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn it_fires() {
    let rules = Rules::read(
        r#"
        licenses.allow = ["MIT"]
        licenses.exceptions = [{ crate = "odd", allow = ["Odd-1.0"] }]
        bans.deny = [{ crate = "bad", reason = "it panics" }]
        "#,
    );
    let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
    for (name, license, source, problem) in [
        ("good", Some("MIT"), Some(crates_io), None),
        ("ours", Some("MIT"), None, None),
        ("odd", Some("Odd-1.0"), Some(crates_io), None),
        ("even", Some("Odd-1.0"), Some(crates_io), Some("even is under 'Odd-1.0'")),
        ("bare", None, Some(crates_io), Some("bare has no licence")),
        ("bad", Some("MIT"), Some(crates_io), Some("bad is banned")),
        ("fork", Some("MIT"), Some("git+https://x"), Some("fork comes from git+https://x")),
    ] {
        let package = serde_json::json!({ "name": name, "license": license, "source": source });
        assert_eq!(rules.problem(&package).as_deref(), problem, "{name}");
    }
}
