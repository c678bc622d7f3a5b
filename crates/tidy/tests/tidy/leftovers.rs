//! What someone meant to come back to does not stay in the tree: no `todo!`, `unimplemented!` or `dbg!`, in
//! tests neither, and no note that something is broken.

use crate::files;
use crate::lexer;
use crate::paths::mentions;

const MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
/// Taken apart, so that this file may be looked at too.
const NOTES: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];

fn leftovers(source: &str) -> Vec<String> {
    let in_code = mentions(&lexer::tokens(source))
        .into_iter()
        .filter(|m| MACROS.iter().any(|name| m.path.rsplit("::").next() == Some(name)))
        .map(|m| format!("{}: {}", m.line, m.path));
    in_code.chain(notes(source)).collect()
}

fn notes(text: &str) -> impl Iterator<Item = String> {
    text.lines().enumerate().filter_map(|(i, line)| {
        let note =
            NOTES.iter().find(|note| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == **note))?;
        Some(format!("{}: {note}", i + 1))
    })
}

#[test]
fn nothing_is_left_for_later() {
    let rust = files::rust();
    let documents = files::documents();
    let in_rust = rust.iter().flat_map(|f| leftovers(&f.text).into_iter().map(|l| format!("{}:{l}", f.path)));
    let in_documents = documents.iter().flat_map(|f| notes(&f.text).map(|l| format!("{}:{l}", f.path)));
    files::assert_none(
        "finish it, or write down what is missing",
        &in_rust.chain(in_documents).collect::<Vec<_>>(),
    );
}

#[test]
fn it_fires() {
    for sample in
        ["fn f() { todo!() }", "unimplemented!(\"x\")", "std::dbg!(x)", concat!("// FIX", "ME: broken")]
    {
        assert_eq!(leftovers(sample).len(), 1, "{sample}");
    }
    assert!(leftovers("// todo!() stands in a comment\nlet dbg = \"dbg!(x)\"; f(todo);").is_empty());
}
