//! Text of which an XML reader can make something: characters decoded, and `<`, `>` and quotes escaped that
//! stand where they mean themselves.
//!
//! Clients put names and addresses into their documents as they are (OpenSIPS does), and cut documents short.
//! A reader stops at the first of these; here each is mended by itself, so that what follows is read all the
//! same. Ampersands are none of this: the reader takes them as they come.

use std::borrow::Cow;

use memchr::memmem;

/// Places that are mended: beyond it the text is noise, and its reader may stop where it likes. It also bounds the
/// work, for each place costs at most two searches as long as the next two limits say.
const MENDS_MAX: usize = 256;
/// Octets of one tag: as many attributes as are read, of a kilobyte each.
pub(super) const TAG_BYTES_MAX: usize = 32 * 1024;
/// Octets of a name or an address in which `<` is looked for.
const LEAF_BYTES_MAX: usize = 512;
/// Elements of RFC 7865 that hold nothing but the text of a person.
const LEAVES: [&str; 2] = ["name", "aor"];

/// Octets as text: UTF-8, UTF-16 with a byte order mark, and Latin-1 where the document says so and is no UTF-8.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xFE, 0xFF, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        [0xFF, 0xFE, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if says_latin(bytes) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
            Err(_) => String::from_utf8_lossy(bytes),
        },
    }
}

fn utf16(bytes: &[u8], of: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(of);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn says_latin(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'>').next().unwrap_or_default().to_ascii_lowercase();
    [&b"8859-1"[..], b"latin", b"1252"].iter().any(|name| memmem::find(&line, name).is_some())
}

/// The text with what means itself escaped, and whether something of it may be lost by that: markup that is none.
pub(super) fn mend(text: &str) -> (Cow<'_, str>, bool) {
    let mut mender =
        Mender { text, done: 0, out: String::new(), mends: 0, loses: false, ends: Ends::default() };
    mender.run();
    if mender.mends == 0 {
        return (Cow::Borrowed(text), false);
    }
    mender.copy_to(text.len());
    (Cow::Owned(mender.out), mender.loses)
}

struct Mender<'a> {
    text: &'a str,
    /// So much of the text is in `out`.
    done: usize,
    out: String,
    mends: usize,
    /// Something that was mended may have been markup.
    loses: bool,
    ends: Ends,
}

/// Ends of constructs that were looked for and are not in the rest of the text.
#[derive(Default)]
struct Ends {
    no_comment: bool,
    no_cdata: bool,
    no_instruction: bool,
}

/// What begins at a `<`.
enum Markup {
    /// Something that ends here, and whose inside is nobody's business.
    Opaque(usize),
    /// A tag, its inside mended; it ends here.
    Tag(usize),
    /// Nothing: it means itself.
    Text,
}

impl Mender<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while self.mends < MENDS_MAX {
            let rest = self.text.as_bytes().get(at..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'<', rest) else { break };
            at += found;
            at = match self.markup(at) {
                Markup::Opaque(end) => end,
                Markup::Tag(end) => self.leaf(at, end).unwrap_or(end),
                Markup::Text => {
                    self.escape(at, "&lt;");
                    self.loses = true;
                    at + 1
                }
            };
        }
    }

    fn copy_to(&mut self, at: usize) {
        self.out.push_str(self.text.get(self.done..at).unwrap_or_default());
        self.done = at;
    }

    /// Puts `escaped` in the place of the one octet at `at`.
    fn escape(&mut self, at: usize, escaped: &str) {
        self.copy_to(at);
        self.out.push_str(escaped);
        self.done = at + 1;
        self.mends += 1;
    }

    fn markup(&mut self, at: usize) -> Markup {
        let opaque = |rest: &str, end: &str, missing: &mut bool| {
            let found = if *missing { None } else { rest.find(end) };
            *missing |= found.is_none();
            found.map_or(Markup::Text, |found| Markup::Opaque(at + found + end.len()))
        };
        let rest = self.text.get(at..).unwrap_or_default();
        let mut chars = rest.chars().skip(1);
        match chars.next() {
            Some('!') if rest.starts_with("<!--") => opaque(rest, "-->", &mut self.ends.no_comment),
            Some('!') if rest.starts_with("<![CDATA[") => opaque(rest, "]]>", &mut self.ends.no_cdata),
            Some('?') => opaque(rest, "?>", &mut self.ends.no_instruction),
            Some('!') if rest.starts_with("<!DOCTYPE") => self.tag(at),
            Some('/') if chars.next().is_some_and(begins_name) => self.tag(at),
            Some(first) if begins_name(first) => self.tag(at),
            _ => Markup::Text,
        }
    }

    /// Where the tag that begins at `at` ends. A quote that no space and no end follows closes nothing: it belongs
    /// to the value.
    fn tag(&mut self, at: usize) -> Markup {
        let text = self.text;
        let bytes = text.as_bytes();
        let limit = bytes.len().min(at + TAG_BYTES_MAX);
        let mut inner = Vec::new();
        let mut at = at + 1;
        loop {
            let rest = bytes.get(at..limit).unwrap_or_default();
            let Some(found) = rest.iter().position(|b| matches!(b, b'>' | b'<' | b'"' | b'\'')) else {
                return Markup::Text;
            };
            at += found + 1;
            match rest.get(found).copied() {
                Some(b'>') => break,
                Some(quote @ (b'"' | b'\'')) => match end_of_value(bytes, at, limit, quote, &mut inner) {
                    Some(end) => at = end,
                    None => return Markup::Text,
                },
                _ => return Markup::Text,
            }
        }
        for quote in inner {
            let escaped = if bytes.get(quote) == Some(&b'"') { "&quot;" } else { "&apos;" };
            self.escape(quote, escaped);
        }
        Markup::Tag(at)
    }

    /// Where an element ends that holds the text of a person, if `start..end` is the tag that begins one: until
    /// there each `<` means itself, unless it begins what XML has for text.
    fn leaf(&mut self, start: usize, end: usize) -> Option<usize> {
        let tag = self.text.get(start + 1..end)?;
        let end_of_name = tag.bytes().position(|b| b.is_ascii_whitespace() || b == b'>').unwrap_or(tag.len());
        let name = tag.get(..end_of_name)?;
        let is_leaf = LEAVES.iter().any(|leaf| local(name).eq_ignore_ascii_case(leaf));
        if !is_leaf || tag.ends_with("/>") {
            return None;
        }
        let mut limit = self.text.len().min(end + LEAF_BYTES_MAX);
        while !self.text.is_char_boundary(limit) {
            limit -= 1;
        }
        let content = self.text.get(end..limit)?;
        let length = content.find(&format!("</{name}"))?;
        let content = content.get(..length)?;
        let is_well = content.contains("<!") || !content.contains('<');
        // Another element of its kind inside: its end is missing, and the one that was found is the other's.
        if is_well || content.contains(&format!("<{name}")) || content.contains("</") {
            return None;
        }
        for (i, _) in content.match_indices('<') {
            self.escape(end + i, "&lt;");
        }
        Some(end + length)
    }
}

/// What stands behind the quote that ends the value which begins at `at`. Quotes like it that end nothing are noted.
fn end_of_value(bytes: &[u8], at: usize, limit: usize, quote: u8, inner: &mut Vec<usize>) -> Option<usize> {
    let mut at = at;
    loop {
        let found = at + memchr::memchr(quote, bytes.get(at..limit)?)?;
        at = found + 1;
        if matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>' | b'?')) {
            return Some(at);
        }
        if inner.len() < MENDS_MAX {
            inner.push(found);
        }
    }
}

/// The part of a name behind its prefix.
fn local(name: &str) -> &str {
    let colon = name.bytes().rposition(|b| b == b':');
    colon.and_then(|at| name.get(at + 1..)).unwrap_or(name)
}

/// XML 1.0 section 2.3, all of Unicode taken as letters.
pub(super) fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_itself_is_escaped() {
        for (text, expected) in [
            ("<a><b c='d'/>e &amp; f</a>", "<a><b c='d'/>e &amp; f</a>"),
            ("<name>A < B</name>", "<name>A &lt; B</name>"),
            ("<name>Bob <bob@h> Smith</name>", "<name>Bob &lt;bob@h> Smith</name>"),
            ("<t:name>a<b</t:name><c/>", "<t:name>a&lt;b</t:name><c/>"),
            ("<name><![CDATA[a<b]]></name>", "<name><![CDATA[a<b]]></name>"),
            ("<n aor=\"sip:\"x\"@h\">", "<n aor=\"sip:&quot;x&quot;@h\">"),
            ("<n aor='sip:o'neill@h' b=\"1\"/>", "<n aor='sip:o&apos;neill@h' b=\"1\"/>"),
            ("<n aor=\"<sip:x@h>\"/>", "<n aor=\"<sip:x@h>\"/>"),
            ("a <!-- never ends <b/>", "a &lt;!-- never ends <b/>"),
            ("<b/><stream stream_id=\"x", "<b/>&lt;stream stream_id=\"x"),
            ("1 < 2 <3 <", "1 &lt; 2 &lt;3 &lt;"),
            ("<name>Al<name>Bo</name>", "<name>Al<name>Bo</name>"),
            ("", ""),
        ] {
            assert_eq!(mend(text).0, expected, "{text}");
        }
    }

    #[test]
    fn what_may_have_been_markup_is_told() {
        for (text, loses) in [
            ("<name>A < B</name>", false),
            ("<n aor='o'neill'/>", false),
            ("<a><stream <b/></a>", true),
            ("<a>1 < 2</a>", true),
        ] {
            assert_eq!(mend(text).1, loses, "{text}");
        }
    }

    #[test]
    fn the_work_is_bounded() {
        for piece in ["<", "<a=\"", "<!--", "<name>", "<![CDATA[", "<?", "<name><", "<a b='c'd'>"] {
            let text = piece.repeat(256 * 1024 / piece.len());
            assert!(mend(&text).0.len() < 2 * text.len(), "{piece}");
        }
    }

    #[test]
    fn characters_of_other_kinds() {
        assert_eq!(
            decode(b"<?xml encoding='ISO-8859-1'?><a>M\xfcller</a>"),
            "<?xml encoding='ISO-8859-1'?><a>M\u{fc}ller</a>"
        );
        assert_eq!(decode(b"<a>M\xfcller</a>"), "<a>M\u{fffd}ller</a>");
        assert_eq!(decode(&[0xFF, 0xFE, b'<', 0, b'a', 0, b'/', 0, b'>', 0]), "<a/>");
        assert_eq!(decode(&[0xFE, 0xFF, 0, b'<', 0, b'a', 0xD8, 0]), "<a\u{fffd}");
    }
}
