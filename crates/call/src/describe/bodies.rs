//! Metadata bodies, kept to the octet whatever they are, but for keys of media: a body that was split wrongly may hold
//! a session description, and keys are in no file.

use model::{Metadata, Now};

/// Octets of metadata kept of one body: the largest seen are 20 kB. Longer ones are cut, and say so.
const METADATA_BYTES_MAX: usize = 256 * 1024;

/// What begins a line of a session description that holds a secret: keys of media (RFC 4568, RFC 4567, RFC 8866
/// section 5.12) and the password of ICE (RFC 8839).
const SECRET_LINES: [&[u8]; 6] =
    [b"a=crypto:", b"a=key-mgmt:", b"a=ice-pwd:", b"k=clear:", b"k=base64:", b"k=uri:"];

/// The body without lines that hold secrets; none when it has none.
fn without_secrets(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.match_indices('=').any(|(at, _)| is_in_secret(bytes, at))
    {
        return None;
    }
    let is_secret = |line: &[u8]| begins_secret(line.trim_ascii_start());
    // A carriage return alone ends a line too for many a reader.
    let lines = || bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r'));
    lines().any(is_secret).then(|| lines().filter(|line| !is_secret(line)).flatten().copied().collect())
}

fn begins_secret(line: &[u8]) -> bool {
    let begins = |with: &[u8]| line.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    SECRET_LINES.iter().any(|with| begins(with))
}

/// Whether the equals sign at `at` is the first of a line that holds a secret: bodies have few of them, so that most
/// lines need not be looked at.
fn is_in_secret(bytes: &[u8], at: usize) -> bool {
    let Some(letter) = at.checked_sub(1) else { return false };
    let line = bytes.get(letter..).unwrap_or_default();
    if !matches!(line.first(), Some(b'a' | b'A' | b'k' | b'K')) || !begins_secret(line) {
        return false;
    }
    let before = bytes.get(..letter).unwrap_or_default();
    let before = before.iter().rev().find(|b| !matches!(b, b' ' | b'\t' | b'\x0c'));
    before.is_none_or(|b| matches!(b, b'\n' | b'\r'))
}

/// A metadata body as it came.
pub(super) fn keep(
    now: Now,
    method: &str,
    content_type: &str,
    bytes: &[u8],
    problem: Option<String>,
) -> Metadata {
    let parted = without_secrets(bytes);
    let problem = match &parted {
        Some(_) => Some("it holds a session description, whose keys are left out".to_owned()),
        None => problem,
    };
    let bytes = parted.as_deref().unwrap_or(bytes);
    let cut = bytes.len() > METADATA_BYTES_MAX;
    let bytes = bytes.get(..METADATA_BYTES_MAX).unwrap_or(bytes);
    let (text, changed) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), true),
    };
    let problem = match (problem, cut) {
        (Some(problem), _) => Some(problem),
        (None, true) => Some(format!("cut at {METADATA_BYTES_MAX} octets")),
        (None, false) => None,
    };
    Metadata {
        at: now.wall,
        method: method.to_owned(),
        content_type: content_type.to_owned(),
        text,
        base64: changed.then(|| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_are_no_text_are_kept_to_the_byte() {
        let kept = keep(Now::default(), "INVITE", "application/rs-metadata+xml", b"<a>\xff</a>", None);
        assert_eq!(kept.base64.as_deref(), Some("PGE+/zwvYT4="));
        assert!(kept.text.contains('\u{fffd}'));
    }

    #[test]
    fn keys_are_left_out() {
        let body = "<a/>\r\nv=0\r\nA=Crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\n a=ice-pwd:secret\rk=clear:secret\na=label:1\r\n";
        let kept = keep(Now::default(), "INVITE", "application/rs-metadata+xml", body.as_bytes(), None);
        assert!(
            !kept.text.contains("secret") && kept.text.contains("a=label:1") && kept.problem.is_some(),
            "{kept:?}"
        );
        let plain = keep(Now::default(), "INVITE", "x", b"<a>v=0\r\nk=prompt</a>", None);
        assert_eq!((plain.text.as_str(), plain.problem), ("<a>v=0\r\nk=prompt</a>", None));
    }

    #[test]
    fn a_huge_body_is_cut_and_says_so() {
        let kept = keep(Now::default(), "INVITE", "x", &vec![b'a'; METADATA_BYTES_MAX + 1], None);
        assert_eq!(kept.text.len(), METADATA_BYTES_MAX);
        assert!(kept.problem.is_some());
    }
}
