//! Metadata bodies, kept to the octet whatever they are.

use model::{Metadata, Now};

/// Octets of metadata kept of one body: the largest seen are 20 kB. Longer ones are cut, and say so.
const METADATA_BYTES_MAX: usize = 256 * 1024;

/// A metadata body as it came.
pub(super) fn keep(
    now: Now,
    method: &str,
    content_type: &str,
    bytes: &[u8],
    problem: Option<String>,
) -> Metadata {
    let cut = bytes.len() > METADATA_BYTES_MAX;
    let bytes = bytes.get(..METADATA_BYTES_MAX).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let changed = matches!(text, std::borrow::Cow::Owned(_));
    let problem = match (problem, cut) {
        (Some(problem), _) => Some(problem),
        (None, true) => Some(format!("cut at {METADATA_BYTES_MAX} octets")),
        (None, false) => None,
    };
    Metadata {
        at: now.wall,
        method: method.to_owned(),
        content_type: content_type.to_owned(),
        text: text.into_owned(),
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
    fn a_huge_body_is_cut_and_says_so() {
        let kept = keep(Now::default(), "INVITE", "x", &vec![b'a'; METADATA_BYTES_MAX + 1], None);
        assert_eq!(kept.text.len(), METADATA_BYTES_MAX);
        assert!(kept.problem.is_some());
    }
}
