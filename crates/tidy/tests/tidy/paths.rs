//! The paths that a file mentions, as far as a file alone can tell: `use` trees are opened, and what they
//! import is put in front of where it is used. `use std::time::Instant as I; I::now()` mentions
//! `std::time::Instant::now`.
//!
//! A method call is written `.name`, a macro call `name!`. Types are not inferred: that is the compiler's.

use std::collections::BTreeMap;

use crate::lexer::Token;

/// A path as it is mentioned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// All paths in `tokens`, in order, those of `use` first.
pub(crate) fn mentions(tokens: &[Token]) -> Vec<Mention> {
    let mut imports = BTreeMap::new();
    let mut found = Vec::new();
    let mut rest = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is("use") {
            at = use_tree(tokens, at + 1, "", &mut imports, &mut found);
        } else {
            rest.push(&tokens[at]);
            at += 1;
        }
    }
    in_code(&rest, &imports, &mut found);
    found
}

/// Reads one branch of a `use` tree that begins at `at`; returns behind it.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &str,
    imports: &mut BTreeMap<String, String>,
    found: &mut Vec<Mention>,
) -> usize {
    let mut path = prefix.to_owned();
    let mut name = prefix.rsplit("::").next().unwrap_or_default().to_owned();
    let mut line = 0;
    while let Some(token) = tokens.get(at) {
        line = token.line;
        match token.text.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is("}") && !t.is(";")) {
                    at = use_tree(tokens, at, &path, imports, found);
                    at += usize::from(tokens.get(at).is_some_and(|t| t.is(",")));
                }
                return at + 1;
            }
            "," | "}" | ";" | "<" => break,
            "as" => {
                name = tokens.get(at + 1).map(|t| t.text.clone()).unwrap_or_default();
                at += 1;
            }
            "self" if !path.is_empty() => {}
            "::" => {}
            word => {
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(word);
                word.clone_into(&mut name);
            }
        }
        at += 1;
    }
    if !path.is_empty() {
        imports.insert(name, path.clone());
        found.push(Mention { line, path });
    }
    at
}

/// Paths outside of `use`.
fn in_code(tokens: &[&Token], imports: &BTreeMap<String, String>, found: &mut Vec<Mention>) {
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at].is_word() {
            at += 1;
            continue;
        }
        let method = at > 0 && tokens[at - 1].is(".");
        let line = tokens[at].line;
        let mut path = if method {
            format!(".{}", tokens[at].text)
        } else {
            imports.get(&tokens[at].text).unwrap_or(&tokens[at].text).clone()
        };
        at += 1;
        while let [colons, word, ..] = tokens[at..]
            && colons.is("::")
            && word.is_word()
        {
            path.push_str("::");
            path.push_str(&word.text);
            at += 2;
        }
        if let [bang, open, ..] = tokens[at..]
            && bang.is("!")
            && ["(", "[", "{"].iter().any(|o| open.is(o))
        {
            path.push('!');
        }
        found.push(Mention { line, path });
    }
}

fn check(source: &str, expected: &[&str]) {
    let found = mentions(&crate::lexer::tokens(source));
    let paths: Vec<_> = found.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(paths, expected, "{source}");
}

#[test]
fn use_trees_are_opened() {
    check("use std::fs;", &["std::fs"]);
    check("use std::{fs, io::{self, Read}};", &["std::fs", "std::io", "std::io::Read"]);
    check("use std::time::Instant as I; I::now()", &["std::time::Instant", "std::time::Instant::now"]);
    check("use super::*;", &["super::*"]);
    check("use ::std::fs as disk; disk::read(x)", &["std::fs", "std::fs::read", "x"]);
    check("use a::{b, c,}; b::d", &["a::b", "a::c", "a::b::d"]);
}

#[test]
fn code_is_read_path_by_path() {
    check("start.elapsed() + std::fs::read(path)", &["start", ".elapsed", "std::fs::read", "path"]);
    check("println!(x); a != b; Vec::<u8>::new()", &["println!", "x", "a", "b", "Vec", "u8", "new"]);
}
