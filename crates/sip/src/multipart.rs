//! Bodies of several parts (RFC 2046 section 5.1), as SIPREC clients send them.
//!
//! ```text
//! Content-Type: multipart/mixed;boundary=uniqueBoundary
//!
//! --uniqueBoundary CRLF Content-Type: application/sdp CRLF CRLF v=0 … CRLF
//! --uniqueBoundary CRLF Content-Type: application/rs-metadata+xml CRLF CRLF <?xml … CRLF
//! --uniqueBoundary-- CRLF
//! ```
//!
//! Reading is tolerant, because a call must not be lost for its wrapping: line ends may be LF, the closing
//! delimiter, the blank line or the boundary parameter may be missing or wrong, a delimiter may stand at the end of a
//! line, the type may be that of a part, parts may nest. A body in which SDP is not found that way is searched for it. The
//! bytes of a part are kept as they came; nothing is decoded.

use bytes::Bytes;

use crate::event::Body;
use crate::request::Part;

/// No client sends more than four parts (SDP, metadata, GTD, ISUP); what lies beyond is dropped with the rest.
const PARTS_MAX: usize = 16;
/// A part within a part within a part: deeper has no use.
const DEPTH_MAX: usize = 3;
/// Content-Type, -Disposition, -ID, -Length, -Transfer-Encoding, and some of the vendor's own.
const PART_HEADERS_MAX: usize = 16;
/// RFC 2046 section 5.1.1 allows 70, and some write more. What is longer delimits nothing.
const BOUNDARY_BYTES_MAX: usize = 256;

/// Splits a body into its parts; a body of another type is one part. Never fails: what cannot be split is one
/// part too. Nested multiparts are flattened.
#[must_use]
pub fn split(content_type: &str, body: &Bytes) -> Vec<Part> {
    let parts = split_by(Delimiters::AtLineStart, content_type, body);
    if parts.iter().any(is_sdp) || find(body, b"v=0", 0).is_none() {
        return parts;
    }
    // The offer is the call: better a part too many than none.
    let again = split_by(Delimiters::Anywhere, content_type, body);
    if again.iter().any(is_sdp) { again } else { parts }
}

fn split_by(delimiters: Delimiters, content_type: &str, body: &Bytes) -> Vec<Part> {
    let mut parts = Vec::new();
    split_into(delimiters, content_type, None, Vec::new(), body, 0, &mut parts);
    parts
}

fn is_sdp(part: &Part) -> bool {
    part.bytes.trim_ascii_start().starts_with(b"v=0")
}

/// Where a delimiter counts as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiters {
    /// As RFC 2046 has it.
    AtLineStart,
    /// Also behind what should have ended with a line end.
    Anywhere,
}

/// Makes one `multipart/mixed` body of several. The boundary must not occur in any of them; if it does, it is
/// lengthened until it does not.
#[must_use]
pub fn join(bodies: &[Body], boundary: &str) -> Body {
    let mut boundary = boundary.to_owned();
    while bodies.iter().any(|body| find(&body.bytes, boundary.as_bytes(), 0).is_some()) {
        boundary.push('x');
    }
    let mut bytes = Vec::with_capacity(bodies.iter().map(|b| b.bytes.len() + 128).sum());
    for body in bodies {
        bytes.extend_from_slice(
            format!("--{boundary}\r\nContent-Type: {}\r\n\r\n", body.content_type).as_bytes(),
        );
        bytes.extend_from_slice(&body.bytes);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Body { content_type: format!("multipart/mixed;boundary={boundary}"), bytes: bytes.into() }
}

fn split_into(
    delimiters: Delimiters,
    content_type: &str,
    disposition: Option<String>,
    headers: Vec<(String, String)>,
    body: &Bytes,
    depth: usize,
    parts: &mut Vec<Part>,
) {
    // A body of several parts may have the type of one of them.
    let is_multipart =
        content_type.trim_start().get(..10).is_some_and(|t| t.eq_ignore_ascii_case("multipart/"))
            || body.trim_ascii_start().starts_with(b"--");
    let found = if is_multipart && depth < DEPTH_MAX {
        split_once(delimiters, content_type, body)
    } else {
        Vec::new()
    };
    if found.is_empty() {
        let unsplit = if is_multipart { sdp_within(body) } else { None };
        let body = unsplit.as_ref().unwrap_or(body);
        if !body.is_empty() && parts.len() < PARTS_MAX {
            parts.push(Part {
                content_type: named_or_guessed(content_type, is_multipart, body),
                disposition,
                headers,
                bytes: body.clone(),
            });
        }
        return;
    }
    for section in found.into_iter().take(PARTS_MAX) {
        let (headers, content) = part_head(&section);
        let value = |name: &str| {
            headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        let content_type = value("Content-Type").unwrap_or_default();
        let disposition = value("Content-Disposition");
        split_into(delimiters, &content_type, disposition, headers, &content, depth + 1, parts);
    }
}

/// The parts of one level: by the boundary that is named, else by the one that is written.
fn split_once(delimiters: Delimiters, content_type: &str, body: &Bytes) -> Vec<Bytes> {
    let split = |boundary: Vec<u8>| sections(delimiters, body, &boundary);
    let by_name = named_boundary(content_type).map(split).unwrap_or_default();
    if !by_name.is_empty() {
        return by_name;
    }
    let mut by_look = written_boundary(body).map(split).unwrap_or_default();
    by_look.retain(|section| !section.is_empty());
    by_look
}

/// SDP in a body that has no delimiters to be seen: from its first line on, up to what is none of its lines.
fn sdp_within(body: &Bytes) -> Option<Bytes> {
    let begin = match body.starts_with(b"v=0") {
        true => 0,
        false => find(body, b"\nv=0", 0)? + 1,
    };
    let mut end = begin;
    while let Some(rest) = body.get(end..).filter(|rest| rest.get(1) == Some(&b'=')) {
        end += rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |i| i + 1);
    }
    Some(body.slice(begin..end))
}

/// The type as it stands, or what the bytes look like where it is missing or cannot be true.
fn named_or_guessed(content_type: &str, is_multipart: bool, body: &[u8]) -> String {
    let named = content_type.trim();
    if !named.is_empty() && !is_multipart {
        return named.to_owned();
    }
    let start = body.trim_ascii_start();
    if start.starts_with(b"v=0") {
        "application/sdp".to_owned()
    } else if start.starts_with(b"<?xml") || start.starts_with(b"<recording") {
        "application/rs-metadata+xml".to_owned()
    } else if named.is_empty() {
        "text/plain".to_owned()
    } else {
        named.to_owned()
    }
}

/// The boundary parameter. Quoted, it may hold what else would end it.
fn named_boundary(content_type: &str) -> Option<Vec<u8>> {
    let boundary = parameters(content_type).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| unquoted(value.trim()))
    })?;
    Some(boundary.into_bytes()).filter(|b| is_boundary(b))
}

/// The parameters behind a media type: a semicolon between quotation marks belongs to its value.
fn parameters(content_type: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = content_type.split(move |c: char| {
        let cuts = c == ';' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        cuts
    });
    pieces.skip(1)
}

/// Without quotation marks and what escapes between them; a value of which only one is left is taken as it is meant.
fn unquoted(value: &str) -> String {
    if !value.starts_with('"') {
        return value.trim_end_matches('"').to_owned();
    }
    let (mut out, mut escaped) = (String::with_capacity(value.len()), false);
    for c in value.chars().skip(1) {
        match c {
            '"' if !escaped => break,
            '\\' if !escaped => escaped = true,
            c => {
                out.push(c);
                escaped = false;
            }
        }
    }
    out
}

/// The first line that looks like a delimiter, for a body whose boundary is not named or not that.
fn written_boundary(body: &[u8]) -> Option<Vec<u8>> {
    body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).find_map(|line| {
        let boundary = line.strip_prefix(b"--")?;
        is_boundary(boundary).then(|| boundary.to_vec())
    })
}

fn is_boundary(boundary: &[u8]) -> bool {
    !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX
}

/// What lies between the delimiters, line ends that belong to a delimiter taken off.
fn sections(delimiters: Delimiters, body: &Bytes, boundary: &[u8]) -> Vec<Bytes> {
    let delimiter = [b"--", boundary].concat();
    let mut sections = Vec::new();
    let mut begin = None;
    let mut from = 0;
    while let Some(at) = find(body, &delimiter, from) {
        from = at + delimiter.len();
        let is_placed = delimiters == Delimiters::Anywhere || at == 0 || body.get(at - 1) == Some(&b'\n');
        let Some(kind) = delimiter_end(body, from).filter(|_| is_placed) else { continue };
        if let Some(begin) = begin.take() {
            sections.push(without_line_end(body.slice(begin..at.max(begin))));
        }
        match kind {
            DelimiterEnd::Close => return sections,
            DelimiterEnd::Next(next) => {
                begin = Some(next);
                // The part may be empty: its delimiter's line end is also the next one's.
                from = next;
            }
        }
    }
    // The closing delimiter is missing: what came is better than nothing.
    if let Some(begin) = begin {
        sections.push(without_line_end(body.slice(begin..)));
    }
    sections
}

enum DelimiterEnd {
    Close,
    Next(usize),
}

/// What follows the boundary: `--` or nothing, then blanks and a line end. Anything else is a longer boundary.
fn delimiter_end(body: &[u8], from: usize) -> Option<DelimiterEnd> {
    let rest = body.get(from..)?;
    let after = rest.strip_prefix(b"--");
    let line = after.unwrap_or(rest);
    let blanks = line.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
    match (after, line.get(blanks)) {
        (Some(_), Some(b'\n') | None) => Some(DelimiterEnd::Close),
        (None, Some(b'\n')) => Some(DelimiterEnd::Next(from + blanks + 1)),
        (None, None) => Some(DelimiterEnd::Next(body.len())),
        (_, Some(_)) => None,
    }
}

fn without_line_end(section: Bytes) -> Bytes {
    let cut = if section.ends_with(b"\r\n") { 2 } else { usize::from(section.ends_with(b"\n")) };
    section.slice(..section.len() - cut)
}

/// Splits a part into its headers and its content at the first empty line. Where the first line is no header
/// there is no head: all of it is content.
fn part_head(section: &Bytes) -> (Vec<(String, String)>, Bytes) {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    while let Some(rest) = section.get(at..).filter(|rest| !rest.is_empty()) {
        let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |i| i + 1);
        let line = String::from_utf8_lossy(rest.get(..end).unwrap_or(rest)).into_owned();
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            at += end;
            break;
        }
        if text.starts_with([' ', '\t']) && !headers.is_empty() {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(text.trim());
            }
        } else if let Some((name, value)) = text.split_once(':').filter(|(name, _)| is_header_name(name)) {
            if headers.len() < PART_HEADERS_MAX {
                headers.push((name.trim_end().to_owned(), value.trim().to_owned()));
            }
        } else {
            break;
        }
        at += end;
    }
    (headers, section.slice(at.min(section.len())..))
}

fn is_header_name(name: &str) -> bool {
    let name = name.trim_end();
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    // Linear, whatever is in both: who sends a body chooses its boundary too.
    memchr::memmem::find(haystack.get(from..)?, needle).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(content_type: &str, body: &str, expect: &[(&str, &str)]) {
        let parts = split(content_type, &Bytes::copy_from_slice(body.as_bytes()));
        let seen: Vec<(String, String)> = parts
            .iter()
            .map(|p| (p.content_type.clone(), String::from_utf8_lossy(&p.bytes).into_owned()))
            .collect();
        let seen: Vec<(&str, &str)> = seen.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(seen, expect, "{content_type}: {body:?}");
    }

    #[test]
    fn what_clients_send_is_split() {
        let sdp = ("application/sdp", "v=0\r\no=-");
        let xml = ("application/rs-metadata+xml", "<r/>");
        // As it should be.
        check(
            "multipart/mixed;boundary=uniqueBoundary",
            "--uniqueBoundary\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n--uniqueBoundary\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n<r/>\r\n--uniqueBoundary--\r\n",
            &[sdp, xml],
        );
        // Preamble, quoted boundary, no space, metadata first, blanks after the delimiter, epilogue.
        check(
            "multipart/mixed; charset=x; Boundary=\"a b\"",
            "preamble\r\n--a b  \r\nContent-Type:application/rs-metadata+xml\r\n\r\n<r/>\r\n--a b\r\nContent-Type:application/sdp\r\n\r\nv=0\r\no=-\r\n--a b--\r\n--a b\r\n\r\nepilogue",
            &[xml, sdp],
        );
        // The delimiter stands behind the metadata, not below them; the type is that of a part.
        let glued = "--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<r/>--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n--b--";
        check("multipart/mixed;boundary=b", glued, &[xml, sdp]);
        check("multipart/mixed;boundary=other", glued, &[xml, sdp]);
        check("application/rs-metadata+xml", &glued.replace("<r/>--", "<r/>\r\n--"), &[xml, sdp]);
        // LF only, no closing delimiter.
        check("multipart/mixed;boundary=b", "--b\nContent-Type: application/sdp\n\nv=0\r\no=-\n", &[sdp]);
        // No boundary parameter; no header at all in the part.
        check("multipart/mixed", "--xyz\r\n\r\nv=0\r\no=-\r\n--xyz--", &[sdp]);
        check("multipart/mixed", "--xyz\r\nv=0\r\no=-\r\n--xyz--", &[sdp]);
        // A folded header; a boundary that begins another one.
        check(
            "multipart/mixed;boundary=b",
            "--b\r\nContent-Type:\r\n application/sdp\r\n\r\nv=0\r\n--bb\r\n--b--",
            &[("application/sdp", "v=0\r\n--bb")],
        );
        // Nested.
        check(
            "multipart/mixed;boundary=o",
            "--o\r\nContent-Type: multipart/alternative;boundary=i\r\n\r\n--i\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n--i--\r\n--o\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<r/>\r\n--o--",
            &[sdp, xml],
        );
        // No multipart, no body, no type, nothing to split.
        check("application/sdp", "v=0\r\no=-", &[sdp]);
        check("application/sdp", "", &[]);
        check("", "v=0\r\no=-", &[sdp]);
        check("multipart/mixed;boundary=b", "v=0\r\no=-", &[sdp]);
        check("multipart/mixed;boundary=b", "--b--", &[("multipart/mixed;boundary=b", "--b--")]);
    }

    #[test]
    fn odd_boundaries_are_boundaries() {
        let sdp = ("application/sdp", "v=0\r\no=-");
        let xml = ("application/rs-metadata+xml", "<r/>");
        // What the header says, what is written in the body.
        for (named, written) in [
            ("b--", "b--"),
            ("\"b--\"", "b--"),
            ("\"a;b\"", "a;b"),
            ("\"a b ;boundary=c\"", "a b ;boundary=c"),
            ("\"a\\\"b\"", "a\"b"),
            ("'()+_,-./:=?", "'()+_,-./:=?"),
            ("b;charset=utf-8", "b"),
            ("\"b", "b"),
            ("b\"", "b"),
            (" b ", "b"),
            ("----=_Part_1.2", "----=_Part_1.2"),
            // Named wrongly, or not at all.
            ("other", "b"),
            ("\"\"", "b"),
        ] {
            let body = format!(
                "--{written}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n--{written}\r\nContent-Type:application/rs-metadata+xml\r\n\r\n<r/>\r\n--{written}--\r\n"
            );
            check(&format!("multipart/mixed;boundary={named}"), &body, &[sdp, xml]);
            check(
                &format!("multipart/mixed;boundary={named}"),
                &format!("\r\npreamble\r\n{body}epilogue"),
                &[sdp, xml],
            );
            check(
                &format!("multipart/mixed ; Boundary ={named}"),
                &body.replace("\r\n--", "\n--"),
                &[sdp, xml],
            );
        }
    }

    #[test]
    fn a_boundary_that_begins_another_is_not_it() {
        let inner = "--b--i\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n--b--i--";
        check(
            "multipart/mixed;boundary=b",
            &format!(
                "--b\r\nContent-Type: multipart/related;boundary=\"b--i\"\r\n\r\n{inner}\r\n--b\r\nContent-Type: application/gtd\r\n\r\nIAM,\r\n\r\n--b--"
            ),
            &[("application/sdp", "v=0\r\no=-"), ("application/gtd", "IAM,\r\n")],
        );
    }

    #[test]
    fn what_is_wrapped_wrongly_still_has_its_sdp() {
        let sdp = ("application/sdp", "v=0\r\no=-\r\n");
        // No delimiter at all; one that is not at the beginning of a line.
        check(
            "multipart/mixed;boundary=b",
            "Content-Type: application/sdp\r\n\r\nv=0\r\no=-\r\n\r\n<r/>",
            &[sdp],
        );
        check("multipart/mixed;boundary=b", " --b\r\n\r\nv=0\r\no=-\r\n --b--", &[sdp]);
        // Parts without a type are what they look like.
        check(
            "multipart/mixed;boundary=b",
            "--b\r\n\r\n<?xml version=\"1.0\"?><r/>\r\n--b\r\n\r\nv=0\r\n--b--",
            &[("application/rs-metadata+xml", "<?xml version=\"1.0\"?><r/>"), ("application/sdp", "v=0")],
        );
    }

    #[test]
    fn there_is_a_limit_to_parts_and_depth() {
        let many = "--b\r\n\r\nx\r\n".repeat(1000);
        assert_eq!(split("multipart/mixed;boundary=b", &Bytes::from(many)).len(), PARTS_MAX);
        let deep = "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n".repeat(100);
        assert!(split("multipart/mixed;boundary=b", &Bytes::from(deep)).len() <= PARTS_MAX);
    }

    /// A search costs by the length of what is searched for too, and where the parameter is missing the boundary is
    /// whatever line begins like one, however long.
    #[test]
    fn what_is_too_long_for_a_boundary_is_none() {
        for length in [70, 5_000] {
            let boundary = "-".repeat(length);
            let body =
                format!("--{boundary}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--{boundary}--\r\n");
            for content_type in [format!("multipart/mixed;boundary={boundary}"), "multipart/mixed".to_owned()]
            {
                let parts = split(&content_type, &Bytes::from(body.clone()));
                let is_split = parts.len() == 1 && parts[0].bytes.as_ref() == b"v=0";
                assert_eq!(is_split, length == 70, "{length}: {parts:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_comes_out_again(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..6), boundary in "[a-z]{1,4}") {
            let bodies: Vec<Body> = bodies.into_iter()
                .map(|b| Body { content_type: "application/x-test".into(), bytes: b.into() }).collect();
            let joined = join(&bodies, &boundary);
            let parts = split(&joined.content_type, &joined.bytes);
            prop_assert_eq!(parts.len(), bodies.len());
            for (part, body) in parts.iter().zip(&bodies) {
                prop_assert_eq!(&part.bytes, &body.bytes);
                prop_assert_eq!(&part.content_type, &body.content_type);
            }
        }

        #[test]
        fn nothing_panics_and_nothing_grows(content_type in "(multipart/mixed;boundary=)?[ -~]{0,12}", body in "([-b\r\n: ]|Content-Type){0,200}") {
            let body = Bytes::from(body);
            let parts = split(&content_type, &body);
            prop_assert!(parts.len() <= PARTS_MAX);
            prop_assert!(parts.iter().all(|p| p.bytes.len() <= body.len()));
        }
    }
}
