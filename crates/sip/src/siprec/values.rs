//! Values of which clients write the same in several ways: ids, states, modes.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::{SessionState, StreamMode};

/// What is compared of an id: base64 (RFC 7865 section 6.10) as it is, without padding; a UUID in any of its forms
/// as its 32 digits. Numbers, hexadecimal and whatever else stay as they are.
pub(super) fn key(id: &str) -> String {
    let mut rest = id.trim().trim_start_matches('{').trim_end_matches('}');
    for prefix in ["urn:", "uuid:"] {
        if rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            rest = rest.get(prefix.len()..).unwrap_or_default();
        }
    }
    let rest: String = rest.trim_end_matches('=').split_ascii_whitespace().collect();
    let digits: String = rest.chars().filter(|c| *c != '-').collect();
    if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        digits.to_ascii_lowercase()
    } else {
        rest
    }
}

/// Ids that are known, by all their forms: made once for a list, so that each reference costs a look-up.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// With their places in the list.
    exact: BTreeMap<String, usize>,
    /// By what is compared of them, once one is referred to in another form, which few clients do.
    by_key: OnceCell<BTreeMap<String, String>>,
}

impl Ids {
    pub(super) fn of<'a>(known: impl Iterator<Item = &'a str>) -> Self {
        let mut ids = Self::default();
        for (place, id) in known.enumerate() {
            ids.exact.entry(id.to_owned()).or_insert(place);
        }
        ids
    }

    /// The id that is meant: the same, else the same in another form.
    pub(super) fn find(&self, id: &str) -> Option<&str> {
        match self.exact.get_key_value(id) {
            Some((known, _)) => Some(known),
            None => self.by_key.get_or_init(|| self.by_key()).get(&key(id)).map(String::as_str),
        }
    }

    /// Of several that are the same, the first counts.
    fn by_key(&self) -> BTreeMap<String, String> {
        let mut in_order: Vec<(&String, &usize)> = self.exact.iter().collect();
        in_order.sort_by_key(|(_, place)| **place);
        let mut by_key = BTreeMap::new();
        for (id, _) in in_order {
            by_key.entry(key(id)).or_insert_with(|| id.clone());
        }
        by_key
    }

    /// Gives an id the form in which it is known; says whether it is.
    pub(super) fn rename(&self, id: &mut String) -> bool {
        let Some(known) = self.find(id) else { return false };
        if known != id.as_str() {
            *id = known.to_owned();
        }
        true
    }
}

/// Names of what says whether a recording goes on, on the document, its group, its session, or in an extension.
pub(super) const STATES: [&str; 7] = [
    "state",
    "recordingstate",
    "sessionstate",
    "callstate",
    "recordingstatus",
    "recordingaction",
    "recordingtype",
];

/// An explicit state. What is not known, or could mean several things (`inactive`, `on`), says nothing.
pub(super) fn state(text: &str) -> Option<SessionState> {
    let word: String = text.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Some(match word.to_ascii_lowercase().as_str() {
        "active" | "resume" | "resumed" | "unhold" | "unheld" | "retrieved" | "recording" => {
            SessionState::Active
        }
        "hold" | "held" | "onhold" | "holding" | "callhold" => SessionState::Held,
        "pause" | "paused" | "suspend" | "suspended" => SessionState::Paused,
        _ => return None,
    })
}

/// A stream's `mode` (drafts of RFC 7865).
pub(super) fn mode(text: &str) -> Option<StreamMode> {
    match text.to_ascii_lowercase().as_str() {
        "mixed" => Some(StreamMode::Mixed),
        "separate" | "separated" | "unmixed" => Some(StreamMode::Separate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_their_forms() {
        let same = [
            "urn:uuid:79B2FCD8-5C7F-455C-783F-DB334E5D57D0",
            "79b2fcd8-5c7f-455c-783f-db334e5d57d0",
            "{79b2fcd8-5c7f-455c-783f-db334e5d57d0}",
            "UUID:79b2fcd85c7f455c783fdb334e5d57d0",
            "79B2FCD85C7F455C783FDB334E5D57D0",
        ];
        for id in same {
            assert_eq!(key(id), "79b2fcd85c7f455c783fdb334e5d57d0", "{id}");
        }
        assert_eq!(key("CWNlYVQgEeaT0cTgMY5IzQ=="), key("CWNlYVQg EeaT0cTgMY5IzQ"));
        assert_ne!(key("CWNlYVQgEeaT0cTgMY5IzQ=="), key("cwnlyvqgeeat0ctgmy5izq=="));
        assert_eq!(
            (key("1001"), key("00FA0800"), key("")),
            ("1001".into(), "00FA0800".into(), String::new())
        );
        assert_eq!(Ids::of(["1", "urn:uuid:1"].into_iter()).find("urn:uuid:1"), Some("urn:uuid:1"));
        assert_eq!(Ids::of(["2", "urn:uuid:1"].into_iter()).find("1"), Some("urn:uuid:1"));
    }

    #[test]
    fn states_that_say_something() {
        for (text, expected) in [
            ("active", Some(SessionState::Active)),
            ("On-Hold", Some(SessionState::Held)),
            ("PAUSED", Some(SessionState::Paused)),
            ("inactive", None),
            ("on", None),
            ("", None),
        ] {
            assert_eq!(state(text), expected, "{text}");
        }
    }
}
