//! A document as a tree of elements, whatever is wrong with it.
//!
//! Names are local and in one form, for dialects differ in prefixes, cases and hyphens: `tns:dataMode`,
//! `datamode` and `data-mode` are one. Elements are made as they begin, so that a document that is cut short
//! gives what it had.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::mend::mend;

/// RFC 7865 nests four deep; vendors' extensions some more.
const DEPTH_MAX: usize = 24;
/// A conference of 256 with all its associations has some 5,000.
const ELEMENTS_MAX: usize = 8_192;
/// Attributes of one element: RFC 7865 has two at most, vendors put a dozen key-values there.
const ATTRIBUTES_MAX: usize = 32;
/// Names and ids are short; what is longer is cut.
const TEXT_BYTES_MAX: usize = 1_024;
/// Names of elements and attributes: the longest that is known has 23 octets.
const NAME_BYTES_MAX: usize = 64;
/// An error of the reader is passed over; beyond so many the rest is noise.
const ERRORS_MAX: usize = 16;
/// `&` and `;` of an entity are at most so far apart: `&#x10FFFF;`.
const ENTITY_BYTES_MAX: usize = 10;

/// An element, its names in one form.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Its place among all elements of the document, from 1.
    number: usize,
    /// The local name in lower case.
    pub(super) written: String,
    /// The same without hyphens and underscores: what it is known by.
    pub(super) name: String,
    /// Those of namespaces left out.
    pub(super) attributes: Vec<Attribute>,
    /// Its own text, trimmed.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

/// An attribute, its names as those of elements.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) written: String,
    pub(super) name: String,
    pub(super) value: String,
}

/// A document.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The outermost elements; a document that is cut in front may have several.
    pub(super) roots: Vec<Element>,
    /// Something is not well-formed, or a limit was met.
    pub(super) is_damaged: bool,
}

impl Element {
    /// The first attribute, or else child, of one of these names that has a value.
    pub(super) fn field(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.values(name).next())
    }

    /// The values of the attributes and children of this name that have one.
    pub(super) fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let attributes = self.attributes.iter().filter(move |a| a.name == name).map(|a| a.value.as_str());
        let children = self.named(name).map(|child| child.text.as_str());
        attributes.chain(children).filter(|value| !value.is_empty())
    }

    /// The children of this name.
    pub(super) fn named<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Self> + use<'a, 'n> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Whether an attribute or child of one of these names is there, with or without a value.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names
            .iter()
            .any(|name| self.attributes.iter().any(|a| a.name == *name) || self.named(name).next().is_some())
    }
}

/// Reads what can be read.
pub(super) fn grow(text: &str) -> Tree {
    let (mended, is_damaged) = mend(text);
    let mut grower = Grower::default();
    grower.tree.is_damaged = is_damaged;
    let mut rest = mended.as_ref();
    for _ in 0..ERRORS_MAX {
        let Some(at) = grower.read(rest) else { break };
        grower.tree.is_damaged = true;
        // Behind the markup that could not be read.
        let Some(behind) = rest.get(at..).and_then(|behind| Some(at + 1 + behind.get(1..)?.find('<')?))
        else {
            break;
        };
        rest = rest.get(behind..).unwrap_or_default();
    }
    grower.tree.is_damaged |= !grower.open.is_empty();
    grower.close_to(0);
    grower.tree
}

#[derive(Default)]
struct Grower {
    tree: Tree,
    /// The elements that are open, outermost first.
    open: Vec<Element>,
    elements: usize,
}

impl Grower {
    /// Reads up to the end, or to an error: where that is.
    fn read(&mut self, text: &str) -> Option<usize> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => self.open(&start),
                Ok(Event::Empty(start)) => {
                    self.open(&start);
                    self.close();
                }
                Ok(Event::End(end)) => self.close_written(end.name().as_ref()),
                Ok(Event::Text(text)) => self.text(&text),
                Ok(Event::CData(text)) => self.text(&text),
                Ok(Event::GeneralRef(reference)) => self.text(&resolve(&format!("&{};", &*reference))),
                Ok(Event::Eof) => return None,
                Ok(_) => {}
                Err(_) => return usize::try_from(reader.error_position()).ok(),
            }
        }
    }

    fn text(&mut self, text: &str) {
        let Some(element) = self.open.last_mut() else { return };
        // What stands between elements is no text, and what text begins with is trimmed anyway.
        let text = if element.text.is_empty() { text.trim_start() } else { text };
        if element.text.len() + text.len() <= TEXT_BYTES_MAX {
            element.text.push_str(text);
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) {
        let written = local(start.name().as_ref());
        let mut attributes = Vec::new();
        let mut read = start.attributes();
        for attribute in read.with_checks(false).take(ATTRIBUTES_MAX) {
            let Ok(attribute) = attribute else {
                self.tree.is_damaged = true;
                continue;
            };
            let key: &str = attribute.key.as_ref();
            // Of namespaces, schemas and languages.
            if !["xmlns", "xsi:", "xml:"].iter().any(|prefix| key.starts_with(prefix)) {
                let written = local(key);
                let value = match attribute.value.contains('&') {
                    true => trim(&resolve(&attribute.value)),
                    false => trim(&attribute.value),
                };
                attributes.push(Attribute { name: known_by(&written), written, value });
            }
        }
        let name = known_by(&written);
        // An end is missing.
        if let Some(at) = self.open.iter().position(|outer| !may_hold(&outer.name, &name)) {
            self.tree.is_damaged = true;
            self.close_to(at);
        }
        if self.open.len() >= DEPTH_MAX {
            self.tree.is_damaged = true;
            // Its end would close another: it takes the innermost place.
            self.close();
        }
        self.elements += 1;
        self.open.push(Element { number: self.elements, name, written, attributes, ..Element::default() });
    }

    /// Closes the innermost element if it is of this name, as in all documents that are well-formed; else that of it.
    fn close_written(&mut self, raw: &str) {
        let is_innermost =
            |e: &Element| !e.written.is_empty() && e.written.eq_ignore_ascii_case(unprefixed(raw));
        match self.open.last() {
            Some(innermost) if is_innermost(innermost) => self.close(),
            _ => self.close_named(&local(raw)),
        }
    }

    /// Closes the innermost element of this name, and what was left open in it.
    fn close_named(&mut self, written: &str) {
        let name = known_by(written);
        let Some(at) = self.open.iter().rposition(|element| element.name == name) else {
            self.tree.is_damaged = true;
            // `<nam>Bob</name>`: the begin was misspelled, or the end.
            if let Some(innermost) = self.open.last_mut()
                && innermost.children.is_empty()
                && !innermost.text.trim().is_empty()
            {
                if LEAVES.contains(&name.as_str()) {
                    innermost.name = name;
                }
                self.close();
            }
            return;
        };
        self.tree.is_damaged |= at + 1 < self.open.len();
        self.close_to(at);
    }

    /// Closes all from this depth on.
    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(mut element) = self.open.pop() else { return };
        if !is_trimmed(&element.text) {
            element.text = trim(&element.text);
        }
        if element.number > ELEMENTS_MAX {
            self.tree.is_damaged = true;
            return;
        }
        let siblings = self.open.last_mut().map_or(&mut self.tree.roots, |parent| &mut parent.children);
        siblings.push(element);
    }
}

/// Whether an element of RFC 7865 can stand in another one, at any depth; of those that it does not know, anything
/// can.
fn may_hold(outer: &str, inner: &str) -> bool {
    let is_entry = ["participant", "stream"].contains(&inner);
    let is_structure = is_entry
        || ["session", "group", "nameid"].contains(&inner)
        || ["participantsessionassoc", "participantstreamassoc", "sessionrecordingassoc"].contains(&inner);
    let is_leaf = |name| LEAVES.contains(&name) || ["associatetime", "disassociatetime"].contains(&name);
    match outer {
        "nameid" => !is_structure && (!is_leaf(inner) || ["name", "aor"].contains(&inner)),
        "participant" | "stream" => !is_entry,
        outer if is_leaf(outer) => !is_structure && !is_leaf(inner),
        _ => true,
    }
}

/// Elements of RFC 7865 that hold text: the end of one says what its misspelled begin meant.
const LEAVES: [&str; 8] = ["name", "aor", "label", "send", "recv", "datamode", "sipsessionid", "starttime"];

/// Text with its entities resolved, each by itself: what is none stays as it is.
fn resolve(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('&');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let end = piece.bytes().take(ENTITY_BYTES_MAX).position(|b| b == b';');
        let entity = end.and_then(|end| unescape(&format!("&{}", piece.get(..=end)?)).map(String::from).ok());
        match (entity, end) {
            (Some(entity), Some(end)) => {
                out.push_str(&entity);
                out.push_str(piece.get(end + 1..).unwrap_or_default());
            }
            _ => {
                out.push('&');
                out.push_str(piece);
            }
        }
    }
    out
}

/// The part of a name behind its prefix, in lower case.
fn local(name: &str) -> String {
    cut(unprefixed(name), NAME_BYTES_MAX).to_ascii_lowercase()
}

/// The part of a name behind its prefix.
fn unprefixed(name: &str) -> &str {
    let colon = name.bytes().rposition(|b| b == b':');
    colon.and_then(|at| name.get(at + 1..)).unwrap_or(name)
}

fn known_by(written: &str) -> String {
    if !written.bytes().any(|b| matches!(b, b'-' | b'_')) {
        return written.to_owned();
    }
    written.chars().filter(|c| !matches!(c, '-' | '_')).collect()
}

/// Whether a text is what [`trim`] would make of it.
fn is_trimmed(text: &str) -> bool {
    let is_edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_whitespace() || !b.is_ascii());
    let bytes = text.as_bytes();
    bytes.len() <= TEXT_BYTES_MAX
        && !is_edge(bytes.first())
        && !is_edge(bytes.last())
        && !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | b'\t' | 0x0b))
}

/// Without what surrounds it, and white space of folded lines as one space each.
fn trim(text: &str) -> String {
    let text = text.trim();
    if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | b'\t')) {
        let folded = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        return cut(&folded, TEXT_BYTES_MAX).to_owned();
    }
    cut(text, TEXT_BYTES_MAX).to_owned()
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
