//! A document as a tree of elements, whatever is wrong with it.
//!
//! Names are local and in one form, for dialects differ in prefixes, cases and hyphens: `tns:dataMode`,
//! `datamode` and `data-mode` are one. Elements are made as they begin, so that a document that is cut short
//! gives what it had. What stands in the document as it is meant, which is nearly all of it, is not copied: elements
//! are views into its text.

use std::borrow::Cow;
use std::ops::{Deref, Range};

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesStart, Event};

use super::mend::{TAG_BYTES_MAX, begins_name};

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
#[derive(Debug)]
pub(super) struct Element<'t> {
    /// The local name in lower case.
    pub(super) written: Cow<'t, str>,
    /// The same without hyphens and underscores: what it is known by.
    pub(super) name: Cow<'t, str>,
    kind: Kind,
    /// Which of all attributes are its own, those of namespaces left out.
    attributes: Range<usize>,
    /// Its own text, trimmed.
    pub(super) text: Cow<'t, str>,
    /// The place behind the last element that stands in it.
    end: usize,
}

/// An attribute, its names as those of elements.
#[derive(Debug)]
pub(super) struct Attribute<'t> {
    pub(super) written: Cow<'t, str>,
    pub(super) name: Cow<'t, str>,
    pub(super) value: Cow<'t, str>,
}

/// What an element is, as far as it matters to what can stand in it and in what it can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A participant or a stream.
    Entry,
    /// Whatever else RFC 7865 has that holds elements.
    Structure,
    NameId,
    /// What holds text and stands in a `nameID`.
    LeafOfNameId,
    /// What holds text.
    Leaf,
    /// RFC 7865 does not know it.
    Other,
}

/// A document: its elements and attributes in the order in which they begin, so that what stands in an element stands
/// behind it. A document that is cut in front may have several that stand in no other.
#[derive(Debug, Default)]
pub(super) struct Tree<'t> {
    elements: Vec<Element<'t>>,
    attributes: Vec<Attribute<'t>>,
    /// Something is not well-formed, or a limit was met.
    pub(super) is_damaged: bool,
    /// Something may be meant otherwise than it is written: [mending](super::mend) decides.
    pub(super) is_odd: bool,
}

impl Tree<'_> {
    /// The outermost elements.
    pub(super) fn roots(&self) -> Siblings<'_> {
        Siblings { tree: self, at: 0, end: self.elements.len() }
    }
}

/// An element in its document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    tree: &'a Tree<'a>,
    at: usize,
    element: &'a Element<'a>,
}

/// Elements that stand side by side, in order.
#[derive(Debug, Clone)]
pub(super) struct Siblings<'a> {
    tree: &'a Tree<'a>,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Siblings<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let (tree, at) = (self.tree, self.at);
        let element = tree.elements.get(at).filter(|_| at < self.end)?;
        self.at = element.end.max(at + 1);
        Some(Node { tree, at, element })
    }
}

impl<'a> Deref for Node<'a> {
    type Target = Element<'a>;

    fn deref(&self) -> &Element<'a> {
        self.element
    }
}

impl<'a> Node<'a> {
    /// What stands in it.
    pub(super) fn children(self) -> Siblings<'a> {
        Siblings { tree: self.tree, at: self.at + 1, end: self.element.end }
    }

    /// The element without those beside it.
    pub(super) fn alone(self) -> Siblings<'a> {
        Siblings { tree: self.tree, at: self.at, end: self.at + 1 }
    }

    /// Whether nothing stands in it.
    pub(super) fn is_childless(self) -> bool {
        self.element.end <= self.at + 1
    }

    /// Its own text, for as long as the document lives.
    pub(super) fn text(self) -> &'a str {
        &self.element.text
    }

    /// Its attributes.
    pub(super) fn attributes(self) -> &'a [Attribute<'a>] {
        self.tree.attributes.get(self.element.attributes.clone()).unwrap_or_default()
    }

    /// The first attribute, or else child, of one of these names that has a value.
    pub(super) fn field(self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.values(name).next())
    }

    /// The values of the attributes and children of this name that have one.
    pub(super) fn values<'n>(self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let attributes = self.attributes().iter().filter(move |a| a.name == name).map(|a| &*a.value);
        let children = self.named(name).map(|child| &*child.element.text);
        attributes.chain(children).filter(|value| !value.is_empty())
    }

    /// The children of this name.
    pub(super) fn named<'n>(self, name: &'n str) -> impl Iterator<Item = Self> + use<'a, 'n> {
        self.children().filter(move |child| child.name == name)
    }

    /// Whether an attribute or child of one of these names is there, with or without a value.
    pub(super) fn has(self, names: &[&str]) -> bool {
        let has = |name: &str| {
            self.attributes().iter().any(|a| a.name == name) || self.named(name).next().is_some()
        };
        names.iter().any(|name| has(name))
    }
}

/// Reads what can be read of a text. Where nothing of it is damaged or odd, mending it would change nothing.
pub(super) fn grow(text: &str) -> Tree<'_> {
    let mut grower = Grower::default();
    let mut rest = text;
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
struct Grower<'t> {
    tree: Tree<'t>,
    /// The places of the elements that are open, outermost first.
    open: Vec<usize>,
}

impl<'t> Grower<'t> {
    /// Reads up to the end, or to an error: where that is.
    fn read(&mut self, text: &'t str) -> Option<usize> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => self.open(text, &start),
                Ok(Event::Empty(start)) => {
                    self.open(text, &start);
                    self.close();
                }
                Ok(Event::End(end)) => {
                    self.tree.is_odd |= !is_plain_name(end.name().0);
                    self.close_written(end.name().0);
                }
                Ok(Event::Text(piece)) => self.text(piece.into_inner()),
                Ok(Event::CData(piece)) => self.text(piece.into_inner()),
                Ok(Event::GeneralRef(reference)) => {
                    self.text(Cow::Owned(resolve(&format!("&{};", &*reference))));
                }
                Ok(Event::Eof) => return None,
                // `<!-->` is whole for who only looks for the end.
                Ok(Event::Comment(inside)) => self.tree.is_odd |= inside.starts_with(['>', '-']),
                // `<?>` too; and what an instruction in a name is, is a person's matter.
                Ok(Event::PI(inside)) => self.tree.is_odd |= inside.starts_with('>') || self.is_in_leaf(),
                Ok(Event::Decl(inside)) => self.tree.is_odd |= inside.starts_with('>') || self.is_in_leaf(),
                Ok(Event::DocType(_)) => self.tree.is_odd = true,
                Err(_) => return usize::try_from(reader.error_position()).ok(),
            }
        }
    }

    fn text(&mut self, piece: Cow<'t, str>) {
        let Some(element) = self.innermost() else { return };
        if element.text.is_empty() {
            // What stands between elements is no text, and what text begins with is trimmed anyway.
            let piece = match piece {
                Cow::Borrowed(piece) => Cow::Borrowed(piece.trim_start()),
                Cow::Owned(piece) => Cow::Owned(piece.trim_start().to_owned()),
            };
            if piece.len() <= TEXT_BYTES_MAX {
                element.text = piece;
            }
        } else if element.text.len() + piece.len() <= TEXT_BYTES_MAX {
            element.text.to_mut().push_str(&piece);
        }
    }

    fn open(&mut self, text: &'t str, start: &BytesStart<'_>) {
        // The reader lends what it read for as long as its event lives; it is a piece of the text.
        let tag = piece_of(text, start).unwrap_or_default();
        let written_whole = start.name().0.len();
        let whole = tag.get(..written_whole).unwrap_or_default();
        self.tree.is_odd |= !is_plain_name(whole) || tag.len() >= TAG_BYTES_MAX || self.is_in_leaf();
        let written = local(whole);
        let name = known_by(&written);
        let kind = Kind::of(&name);
        // An end is missing.
        let unfit = self.opened().position(|outer| !outer.kind.may_hold(kind));
        if let Some(depth) = unfit {
            self.tree.is_damaged = true;
            self.close_to(depth);
        }
        if self.open.len() >= DEPTH_MAX {
            self.tree.is_damaged = true;
            // Its end would close another: it takes the innermost place.
            self.close();
        }
        let attributes = self.attributes(tag, written_whole);
        let at = self.tree.elements.len();
        self.open.push(at);
        let (text, end) = (Cow::Borrowed(""), at + 1);
        self.tree.elements.push(Element { written, name, kind, attributes, text, end });
    }

    /// Takes the attributes of a tag; their places.
    fn attributes(&mut self, tag: &'t str, end_of_name: usize) -> Range<usize> {
        let tree = &mut self.tree;
        let first = tree.attributes.len();
        let mut read = Attributes::new(tag, end_of_name);
        let read = read.with_checks(false);
        for attribute in read.by_ref().take(ATTRIBUTES_MAX) {
            let Ok(attribute) = attribute else {
                tree.is_damaged = true;
                continue;
            };
            let key = attribute.key.0;
            tree.is_odd |= !is_plain_name(key) || !ends_as_meant(tag, &attribute.value);
            // Of namespaces, schemas and languages.
            if !["xmlns", "xsi:", "xml:"].iter().any(|prefix| key.starts_with(prefix)) {
                let written = local(key);
                let value = match attribute.value {
                    value if value.contains('&') => trim(Cow::Owned(resolve(&value))),
                    value => trim(value),
                };
                tree.attributes.push(Attribute { name: known_by(&written), written, value });
            }
        }
        tree.is_odd |= read.next().is_some();
        first..tree.attributes.len()
    }

    /// The elements that are open, outermost first.
    fn opened(&self) -> impl DoubleEndedIterator<Item = &Element<'t>> {
        self.open.iter().filter_map(|at| self.tree.elements.get(*at))
    }

    fn innermost(&mut self) -> Option<&mut Element<'t>> {
        self.open.last().and_then(|at| self.tree.elements.get_mut(*at))
    }

    /// Whether an element is open that holds the text of a person.
    fn is_in_leaf(&self) -> bool {
        self.opened().any(|outer| outer.kind == Kind::LeafOfNameId)
    }

    /// Closes the innermost element if it is of this name, as in all documents that are well-formed; else that of it.
    fn close_written(&mut self, raw: &str) {
        let is_innermost =
            |e: &Element<'_>| !e.written.is_empty() && e.written.eq_ignore_ascii_case(unprefixed(raw));
        if self.opened().next_back().is_some_and(is_innermost) {
            self.close();
        } else {
            self.close_named(&known_by(&local(raw)));
        }
    }

    /// Closes the innermost element of this name, and what was left open in it.
    fn close_named(&mut self, name: &str) {
        let place = self.opened().enumerate().filter(|(_, element)| element.name == name).last();
        let Some(depth) = place.map(|(depth, _)| depth) else {
            self.tree.is_damaged = true;
            // `<nam>Bob</name>`: the begin was misspelled, or the end.
            let count = self.tree.elements.len();
            if let Some(innermost) = self.innermost()
                && innermost.end == count
                && !innermost.text.trim().is_empty()
            {
                if LEAVES.contains(&name) {
                    innermost.name = Cow::Owned(name.to_owned());
                }
                self.close();
            }
            return;
        };
        self.tree.is_damaged |= depth + 1 < self.open.len();
        self.close_to(depth);
    }

    /// Closes all from this depth on.
    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(at) = self.open.pop() else { return };
        let tree = &mut self.tree;
        let end = tree.elements.len();
        let Some(element) = tree.elements.get_mut(at) else { return };
        element.text = trim(std::mem::take(&mut element.text));
        element.end = end;
        if at >= ELEMENTS_MAX {
            // All behind it stand in it.
            tree.is_damaged = true;
            tree.attributes.truncate(element.attributes.start);
            tree.elements.truncate(at);
        }
    }
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "participant" | "stream" => Self::Entry,
            "session"
            | "group"
            | "participantsessionassoc"
            | "participantstreamassoc"
            | "sessionrecordingassoc" => Self::Structure,
            "nameid" => Self::NameId,
            "name" | "aor" => Self::LeafOfNameId,
            "associatetime" | "disassociatetime" => Self::Leaf,
            name if LEAVES.contains(&name) => Self::Leaf,
            _ => Self::Other,
        }
    }

    /// Whether an element of RFC 7865 can stand in another one, at any depth; of those that it does not know, anything
    /// can.
    const fn may_hold(self, inner: Self) -> bool {
        match self {
            Self::Structure | Self::Other => true,
            Self::Entry => !matches!(inner, Self::Entry),
            Self::NameId => matches!(inner, Self::LeafOfNameId | Self::Other),
            Self::Leaf | Self::LeafOfNameId => matches!(inner, Self::Other),
        }
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

/// Whether a name is one for who looks for tags: it begins as names do, and nothing in it begins something else.
fn is_plain_name(name: &str) -> bool {
    name.chars().next().is_some_and(begins_name) && !name.bytes().any(|b| matches!(b, b'<' | b'"' | b'\''))
}

/// Whether the quote behind a value ends it for who looks for tags, too: then something else begins, or the tag ends.
fn ends_as_meant(tag: &str, value: &str) -> bool {
    let begin = value.as_ptr().addr().checked_sub(tag.as_ptr().addr());
    let behind = begin.and_then(|begin| tag.as_bytes().get(begin.checked_add(value.len())? + 1));
    matches!(behind, None | Some(b' ' | b'\t' | b'\r' | b'\n'))
}

/// Where a piece that was read out of a text stands in it, which the text lends for longer.
fn piece_of<'t>(text: &'t str, piece: &str) -> Option<&'t str> {
    let at = piece.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    text.get(at..at.checked_add(piece.len())?)
}

/// The part of a name behind its prefix, in lower case.
fn local(name: &str) -> Cow<'_, str> {
    let name = cut(unprefixed(name), NAME_BYTES_MAX);
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// The part of a name behind its prefix.
fn unprefixed(name: &str) -> &str {
    let colon = name.bytes().rposition(|b| b == b':');
    colon.and_then(|at| name.get(at + 1..)).unwrap_or(name)
}

fn known_by<'t>(written: &Cow<'t, str>) -> Cow<'t, str> {
    if !written.bytes().any(|b| matches!(b, b'-' | b'_')) {
        return written.clone();
    }
    Cow::Owned(written.chars().filter(|c| !matches!(c, '-' | '_')).collect())
}

/// Without what surrounds it, and white space of folded lines as one space each.
fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | b'\t')) {
        let trimmed = text.trim();
        if trimmed.bytes().any(|b| matches!(b, b'\r' | b'\n' | b'\t')) {
            let folded = trimmed.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            return Cow::Owned(cut(&folded, TEXT_BYTES_MAX).to_owned());
        }
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text.trim(), TEXT_BYTES_MAX)),
        Cow::Owned(text) => Cow::Owned(cut(text.trim(), TEXT_BYTES_MAX).to_owned()),
    }
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mend::mend;
    use super::*;

    const SOUND: [&str; 3] = [
        "<?xml version=\"1.0\"?><r:recording xmlns:r='urn:x'><!-- a - b --><participant participant_id=\"1\"><nameID aor='sip:a@b'>\
         <name xml:lang=\"de\">Bo</name></nameID></participant></r:recording>",
        "<recording>\r\n<stream stream_id=\"s\" ><label>1</label></stream><ac:data key=\"K-1\">v &amp; w</ac:data><a b = 'c' d=\"e\"/></recording>",
        "<a><![CDATA[<b>]]><name>x</name><aor>y<!-- z --></aor></a>",
    ];
    const PIECES: [&str; 24] = [
        "<",
        ">",
        "\"",
        "'",
        "/",
        "=",
        " ",
        "<!--",
        "-->",
        "<!-->",
        "<?",
        "?>",
        "<?>",
        "<!DOCTYPE a>",
        "<![CDATA[",
        "]]>",
        "<b>",
        "</b>",
        "<b/>",
        "<name>",
        "</name>",
        "x=\"y\"",
        "<3 >",
        "&",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]
        #[test]
        fn what_is_neither_damaged_nor_odd_needs_no_mending(
            of in 0..SOUND.len(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len(), any::<bool>()), 0..3),
        ) {
            let mut text = SOUND[of].to_owned();
            for (at, piece, replaces) in changes {
                let at = at.index(text.len());
                let end = if replaces { at + 1 } else { at };
                text = [&text[..at], PIECES[piece], &text[end..]].concat();
            }
            let tree = grow(&text);
            if !tree.is_damaged && !tree.is_odd {
                let (mended, is_mended) = mend(&text);
                let again = grow(&mended);
                prop_assert!(!is_mended && !again.is_damaged, "{text}");
                prop_assert_eq!(format!("{:?}", tree.elements), format!("{:?}", again.elements), "{}", text);
            }
        }
    }

    #[test]
    fn sound_documents_are_not_odd() {
        for text in SOUND {
            let tree = grow(text);
            assert!(!tree.is_damaged && !tree.is_odd, "{text}");
        }
    }
}
