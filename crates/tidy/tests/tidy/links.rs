//! A link in a document leads somewhere: to a file of the checkout, and to a heading in it where it names one.

use std::path::Path;

use crate::files::{self, File};

/// The targets of Markdown links, with their lines. Code is left out.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(markdown) {
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (target, behind) = after.split_once(')').unwrap_or((after, ""));
            found.push((line, target.split_whitespace().next().unwrap_or_default().to_owned()));
            rest = behind;
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(markdown: &str) -> Vec<String> {
    let heading = |(_, line): (usize, String)| {
        let title = line.trim_start_matches('#');
        let is_heading = title.len() < line.len() && title.starts_with(' ');
        is_heading.then(|| slug(title.trim()))
    };
    fenced_out(markdown).filter_map(heading).collect()
}

fn slug(title: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    title.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Lines outside of fenced code, from 1.
fn fenced_out(markdown: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    markdown.lines().enumerate().filter_map(move |(i, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then(|| (i + 1, line.to_owned()))
    })
}

/// The same, with `code spans` blanked; the text of a link may be code, so only what stands outside of
/// brackets matters: a span is blanked together with its backticks.
fn prose(markdown: &str) -> impl Iterator<Item = (usize, String)> {
    fenced_out(markdown).map(|(i, line)| {
        let outside = line.split('`').enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "" });
        (i, outside.collect())
    })
}

/// Why a link of `document` leads nowhere, if it does.
fn broken(document: &File, target: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { document.path.clone() } else { resolve(&document.path, path) };
    let Some(text) = read(&path) else { return Some(format!("no file {path}")) };
    if !anchor.is_empty() && path.ends_with(".md") && !anchors(&text).iter().any(|a| a == anchor) {
        return Some(format!("no heading #{anchor} in {path}"));
    }
    None
}

/// `docs/a/b.md` and `../c.md` make `docs/c.md`.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The text of a file, or an empty one for a directory or a picture.
fn from_checkout(path: &str) -> Option<String> {
    let path = files::root().join(Path::new(path));
    if path.is_dir() {
        return Some(String::new());
    }
    std::fs::read(path).ok().map(|octets| String::from_utf8(octets).unwrap_or_default())
}

#[test]
fn links_lead_somewhere() {
    let mut findings = Vec::new();
    for document in files::documents() {
        for (line, target) in links(&document.text) {
            if let Some(why) = broken(&document, &target, &from_checkout) {
                findings.push(format!("{}:{line}: ({target}) {why}", document.path));
            }
        }
    }
    files::assert_none("broken links", &findings);
}

#[test]
fn it_fires() {
    let read = |path: &str| match path {
        "docs/a.md" => Some("# Title\n```\n# no heading\n```\n## Two `code` words!\n".to_owned()),
        "crates/x.rs" => Some(String::new()),
        _ => None,
    };
    let document = File { path: "docs/b.md".to_owned(), text: String::new() };
    for (target, fine) in [
        ("a.md", true),
        ("./a.md#title", true),
        ("a.md#two-code-words", true),
        ("../crates/x.rs#L12", true),
        ("https://www.rfc-editor.org/rfc/rfc3261", true),
        ("a.md#no-heading", false),
        ("../a.md", false),
        ("c.md", false),
        ("#title", false),
    ] {
        assert_eq!(broken(&document, target, &read).is_none(), fine, "{target}");
    }
}

#[test]
fn links_are_found_outside_of_code() {
    let markdown = "[a](x.md) and [`b`](y.md \"title\")\n```\n[c](z.md)\n```\n`[d](w.md)` ![e](p.png)";
    let found: Vec<_> = links(markdown);
    let expected = [(1, "x.md"), (1, "y.md"), (5, "p.png")].map(|(line, t)| (line, t.to_owned()));
    assert_eq!(found, expected);
}
