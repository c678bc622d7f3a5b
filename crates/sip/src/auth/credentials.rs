//! The value of an `Authorization` header (RFC 7616 section 3.4, RFC 3261 section 25.1), read.
//!
//! What is not Digest with an algorithm of ours and `qop=auth` is none: its sender is challenged again.

use super::Algorithm;

/// Parameters looked at: clients send eleven.
const PARAMS_MAX: usize = 32;

pub(super) struct Credentials {
    /// The user's name, or its hash.
    pub(super) user: String,
    /// `userhash=true` (RFC 7616 section 3.4.4).
    pub(super) is_hashed: bool,
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) uri: String,
    pub(super) response: String,
    pub(super) algorithm: Algorithm,
    /// The nonce count, and as it was written.
    pub(super) count: u32,
    pub(super) count_text: String,
    pub(super) cnonce: String,
}

impl Credentials {
    pub(super) fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(|c: char| c.is_ascii_whitespace())?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let params = params(rest)?;
        let get = |name: &str| {
            let found = params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let user = match get("username*") {
            Some(extended) => unextended(&extended)?,
            None => get("username")?,
        };
        let algorithm = get("algorithm").map_or(Some(Algorithm::Md5), |name| Algorithm::of_token(&name))?;
        let count_text = get("nc").filter(|nc| nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit()))?;
        get("qop").filter(|qop| qop.eq_ignore_ascii_case("auth"))?;
        Some(Self {
            user,
            is_hashed: get("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            realm: get("realm")?,
            nonce: get("nonce")?,
            uri: get("uri")?,
            response: get("response")?,
            algorithm,
            count: u32::from_str_radix(&count_text, 16).ok()?,
            count_text,
            cnonce: get("cnonce")?,
        })
    }
}

/// `name=value` with commas between; a value is a token or a quoted string.
fn params(text: &str) -> Option<Vec<(String, String)>> {
    let mut params = Vec::new();
    let mut rest = text.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_ascii_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (token, after) = after.split_at_checked(end)?;
                (token.trim_ascii().to_owned(), after)
            }
        };
        let after = after.trim_ascii_start();
        if params.len() == PARAMS_MAX || !(after.is_empty() || after.starts_with(',')) {
            return None;
        }
        params.push((name.trim_ascii().to_owned(), value));
        rest = after.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
    }
    Some(params)
}

/// What stands before the closing quote, without its backslashes, and what comes after.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// `UTF-8''J%C3%A4s` (RFC 8187).
fn unextended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let charset = parts.next()?;
    let encoded = parts.nth(1)?;
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = r#"Digest username="sbc", realm="callspool", nonce="n1",uri="sip:rec@192.0.2.1", response="0f",algorithm=MD5, cnonce="c\"1", qop=auth , nc=0000000a"#;

    #[test]
    fn what_clients_send_is_read() {
        let read = Credentials::read(USUAL).unwrap();
        assert_eq!(
            (read.user.as_str(), read.realm.as_str(), read.nonce.as_str()),
            ("sbc", "callspool", "n1")
        );
        assert_eq!((read.uri.as_str(), read.response.as_str()), ("sip:rec@192.0.2.1", "0f"));
        assert_eq!((read.algorithm, read.count, read.cnonce.as_str()), (Algorithm::Md5, 10, "c\"1"));
        assert!(!read.is_hashed);
        let quoted = USUAL.replace("qop=auth", "qop=\"auth\"").replace("algorithm=MD5", "algorithm=sha-256");
        assert_eq!(Credentials::read(&quoted).unwrap().algorithm, Algorithm::Sha256);
        let extended = USUAL.replace(r#"username="sbc""#, "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe");
        assert_eq!(Credentials::read(&extended).unwrap().user, "J\u{e4}s\u{f8}n Doe");
        let hashed = format!("{USUAL}, userhash=true");
        assert!(Credentials::read(&hashed).unwrap().is_hashed);
    }

    #[test]
    fn what_is_no_digest_of_ours_is_none() {
        for (from, to) in [
            ("Digest", "Basic"),
            ("qop=auth", "qop=auth-int"),
            (", qop=auth , nc=0000000a", ""),
            ("algorithm=MD5", "algorithm=MD5-sess"),
            ("nc=0000000a", "nc=a"),
            ("nc=0000000a", "nc=0000000g"),
            ("nonce=\"n1\"", "nonce=\"n1"),
            ("nonce=\"n1\"", "nonce=\"n1\" x"),
            ("username", "user"),
            ("cnonce", "xnonce"),
        ] {
            assert!(Credentials::read(&USUAL.replace(from, to)).is_none(), "{from} → {to}");
        }
        let many = format!("{USUAL}{}", ", x=y".repeat(PARAMS_MAX));
        assert!(Credentials::read(&many).is_none());
    }
}
