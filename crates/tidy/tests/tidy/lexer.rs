//! A small lexer for Rust: enough to look at code without being misled by comments and strings.
//!
//! It knows comments (nested too), strings, raw strings, characters against lifetimes, raw identifiers, and
//! it can take `#[cfg(test)]` items out. It never fails: of text that is no Rust it makes some tokens.

/// An identifier, number, `::` or a single punctuation character. A literal string or character is `""`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// What is left of a file without its `#[cfg(test)]` items.
pub(crate) struct Shipped {
    pub(crate) tokens: Vec<Token>,
    /// The names of `#[cfg(test)] mod name;`, whose files are tests as a whole.
    pub(crate) test_files: Vec<String>,
}

/// The tokens of a file, comments left out.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { text: source.chars().collect(), at: 0, line: 1, out: Vec::new() };
    while lexer.at < lexer.text.len() {
        lexer.step();
    }
    lexer.out
}

/// The tokens that are compiled when nothing is tested.
pub(crate) fn shipped(tokens: &[Token]) -> Shipped {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut test_files = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens.len() - at > MARK.len() && tokens[at..].iter().zip(MARK).all(|(t, m)| t.is(m));
        if marked {
            let end = item_end(tokens, at + MARK.len());
            if let [.., module, name, semicolon] = &tokens[at..end]
                && module.is("mod")
                && semicolon.is(";")
            {
                test_files.push(name.text.clone());
            }
            at = end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    Shipped { tokens: kept, test_files }
}

/// Behind the item that begins at `at`, its further attributes included.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    let mut in_attribute = false;
    while at < tokens.len() {
        let token = &tokens[at];
        at += 1;
        match token.text.as_str() {
            "#" if depth == 0 => in_attribute = true,
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                if depth == 0 {
                    return at - 1; // the enclosing block ended: a field or a match arm was marked
                }
                depth -= 1;
                if depth == 0 && in_attribute {
                    in_attribute = false;
                } else if depth == 0 && token.is("}") {
                    return at + usize::from(tokens.get(at).is_some_and(|next| next.is(";")));
                }
            }
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Lexer {
    fn step(&mut self) {
        let c = self.text[self.at];
        match c {
            '/' if self.peek(1) == Some('/') => self.skip_while(|c| c != '\n'),
            '/' if self.peek(1) == Some('*') => self.block_comment(),
            '"' => self.string(),
            '\'' => self.quote(),
            _ if c.is_alphanumeric() || c == '_' => self.word(),
            ':' if self.peek(1) == Some(':') => {
                self.emit("::".to_owned());
                self.at += 2;
            }
            _ => {
                if !c.is_whitespace() {
                    self.emit(c.to_string());
                }
                self.advance();
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn advance(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_while(&mut self, go_on: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&go_on) {
            self.advance();
        }
    }

    fn emit(&mut self, text: String) {
        self.out.push(Token { line: self.line, text });
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.advance(),
            }
        }
    }

    /// At a double quote.
    fn string(&mut self) {
        self.emit("\"\"".to_owned());
        self.advance();
        while let Some(c) = self.peek(0) {
            if c == '\\' {
                self.advance();
            }
            self.advance();
            if c == '"' {
                return;
            }
        }
    }

    /// At the hashes or the quote of a raw string.
    fn raw_string(&mut self) {
        self.emit("\"\"".to_owned());
        let start = self.at;
        self.skip_while(|c| c == '#');
        let hashes = self.at - start;
        self.advance();
        while self.at < self.text.len() {
            let ends = self.peek(0) == Some('"') && (1..=hashes).all(|i| self.peek(i) == Some('#'));
            self.advance();
            if ends {
                self.at += hashes;
                return;
            }
        }
    }

    /// A character (`'x'`, `'\n'`) or a lifetime (`'a`), which is dropped.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.emit("\"\"".to_owned());
            self.at += 3; // the quote, the backslash and what it escapes
            self.skip_while(|c| c != '\'');
            self.advance();
        } else if self.peek(2) == Some('\'') {
            self.emit("\"\"".to_owned());
            self.advance();
            self.advance();
            self.advance();
        } else {
            self.advance();
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
        }
    }

    /// An identifier or a number, unless it is the prefix of a literal.
    fn word(&mut self) {
        let start = self.at;
        let line = self.line;
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let word: String = self.text[start..self.at].iter().collect();
        match (word.as_str(), self.peek(0)) {
            ("b" | "c", Some('"')) => self.string(),
            ("r" | "br" | "cr", Some('"')) => self.raw_string(),
            ("br" | "cr", Some('#')) => self.raw_string(),
            ("r", Some('#')) if matches!(self.peek(1), Some('#' | '"')) => self.raw_string(),
            ("r", Some('#')) => self.advance(), // a raw identifier: its word comes next
            ("b", Some('\'')) => self.quote(),
            _ => self.out.push(Token { line, text: word }),
        }
    }
}

fn check(source: &str, expected: &str) {
    let texts = |tokens: Vec<Token>| tokens.into_iter().map(|t| t.text).collect::<Vec<_>>().join(" ");
    assert_eq!(texts(shipped(&tokens(source)).tokens), expected, "{source}");
}

#[test]
fn comments_and_literals_are_no_code() {
    check("a // fs\nb", "a b");
    check("a /* x /* y */ fs */ b", "a b");
    check(r#"f("std::fs \" still", x)"#, r#"f ( "" , x )"#);
    check(r##"f(r"a\", r#"say "fs" now"#, b"x", br"y")"##, r#"f ( "" , "" , "" , "" )"#);
    check(r"['x', '\'', '\u{1F600}', b'\n', '/', '/']", r#"[ "" , "" , "" , "" , "" , "" ]"#);
    check("fn f<'a>(x: &'a str, r#type: u8)", "fn f < > ( x : & str , type : u8 )");
}

#[test]
fn lines_are_counted_through_everything() {
    let source = "/* one\ntwo */ \"three\nfour\" r#\"\n\"# here";
    assert_eq!(tokens(source).last().unwrap(), &Token { line: 4, text: "here".to_owned() });
}

#[test]
fn test_items_are_taken_out_and_nothing_else() {
    check("a; #[cfg(test)] mod tests { fn f() { fs } } b", "a ; b");
    check("#[cfg(test)] #[allow(x)] use std::{fs, io}; b", "b");
    check("#[cfg(test)] fn f(x: [u8; 3]) -> T { x } b", "b");
    check("#[cfg(test)] const X: T = T { a: 1 }; b", "b");
    check("struct S { #[cfg(test)] x: u8 } b", "struct S { } b");
    check("#[cfg(any(test, unix))] fn f() {}", "# [ cfg ( any ( test , unix ) ) ] fn f ( ) { }");
}

#[test]
fn test_modules_in_files_of_their_own_are_named() {
    let shipped = shipped(&tokens("mod a; #[cfg(test)] mod tests; #[cfg(test)] mod here { } b"));
    assert_eq!(shipped.test_files, ["tests"]);
}
