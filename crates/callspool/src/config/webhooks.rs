//! The types of values that `[webhook.NAME]` has: where to, and which events.

use api::EVENT_KINDS;
use hyper::Uri;
use model::AlarmKind;

use super::declare::{Setting, quoted};

/// 2 KiB: what servers take at least (RFC 9110 section 4.1 asks for 8,000 octets), and more than anybody writes.
const URL_MAX: usize = 2_048;

/// Where events are posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WebhookUrl(Uri);

impl WebhookUrl {
    /// The whole.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is spoken to with TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The name or address of the host, without brackets.
    pub(crate) fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port, that of the scheme when none is named.
    pub(crate) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Scheme, host and port: what may stand in a log. The path of a webhook is often its password.
    pub(crate) fn origin(&self) -> String {
        let authority = self.0.authority().map_or("", |a| a.as_str());
        format!("{}://{authority}", self.0.scheme_str().unwrap_or("http"))
    }
}

impl Setting for Option<WebhookUrl> {
    const EXPECTED: &'static str = "an address such as \"https://alerts.example.com/callspool\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let uri: Uri = match text.parse() {
            Ok(uri) if text.len() <= URL_MAX => uri,
            Ok(_) => return Err(format!("it is longer than {URL_MAX} octets")),
            Err(e) => return Err(format!("it is no URL: {e}")),
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it begins with neither http:// nor https://".to_owned());
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err("it names no host".to_owned());
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err("user and password stand in it; put them into authorization_file".to_owned());
        }
        if text.contains('#') {
            return Err("what stands behind '#' is never sent".to_owned());
        }
        Ok(Some(WebhookUrl(uri)))
    }

    fn to_toml(&self) -> String {
        quoted(&self.as_ref().map(|url| url.0.to_string()).unwrap_or_default())
    }
}

/// A name, or with `*` all that begin so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct NamePattern(String);

impl NamePattern {
    fn takes(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => self.0 == name,
        }
    }

    /// One that takes something of what there is: a misspelled one would be silence.
    fn of(text: &str, mut known: impl Iterator<Item = &'static str>) -> Option<Self> {
        let pattern = Self(text.to_owned());
        known.any(|name| pattern.takes(name)).then_some(pattern)
    }
}

/// Which events are told: a kind of event, and of alarms which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EventPattern {
    kind: NamePattern,
    alarm: Option<NamePattern>,
}

impl EventPattern {
    /// Whether an event of this kind, with this kind of alarm when it is one, is told.
    pub(crate) fn takes(&self, kind: &str, alarm: Option<&str>) -> bool {
        self.kind.takes(kind)
            && self.alarm.as_ref().is_none_or(|pattern| alarm.is_some_and(|alarm| pattern.takes(alarm)))
    }
}

impl Setting for EventPattern {
    const EXPECTED: &'static str = "call, segment, copy, tag, metadata, joined, sides, alarm, \"alarm:disk-*\" for some of them, or \"*\" for all";

    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (kind, alarm) = match text.split_once(':') {
            Some(("alarm", alarm)) => ("alarm", Some(alarm)),
            Some(_) => return Err(format!("'{text}': only alarms are told apart further")),
            None => (text, None),
        };
        let kind = NamePattern::of(kind, EVENT_KINDS.into_iter())
            .ok_or_else(|| format!("'{text}' is no kind of event"))?;
        let alarm = alarm.map(|alarm| {
            NamePattern::of(alarm, AlarmKind::all().map(AlarmKind::name))
                .ok_or_else(|| format!("'{alarm}' is no kind of alarm; alarms.md lists them"))
        });
        Ok(Self { kind, alarm: alarm.transpose()? })
    }

    fn to_toml(&self) -> String {
        match &self.alarm {
            Some(alarm) => quoted(&format!("{}:{}", self.kind.0, alarm.0)),
            None => quoted(&self.kind.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<Option<WebhookUrl>, String> {
        Option::<WebhookUrl>::from_text(text)
    }

    #[test]
    fn an_address_is_taken_apart() {
        for (text, host, port, origin) in [
            ("https://a.example/x?y=1", "a.example", 443, "https://a.example"),
            ("http://a.example", "a.example", 80, "http://a.example"),
            ("http://[::1]:8081/", "::1", 8_081, "http://[::1]:8081"),
            ("https://192.0.2.7:8443/hook", "192.0.2.7", 8_443, "https://192.0.2.7:8443"),
        ] {
            let url = url(text).unwrap().unwrap();
            assert_eq!((url.host(), url.port(), url.origin().as_str()), (host, port, origin), "{text}");
            let again = Option::<WebhookUrl>::from_text(Some(url.clone()).to_toml().trim_matches('"'));
            assert_eq!(again, Ok(Some(url)));
        }
        assert_eq!(url(""), Ok(None));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (text, why) in [
            ("alerts.example.com", "neither http"),
            ("ftp://a.example/", "neither http"),
            ("https://", "no URL"),
            ("https://u:p@a.example/", "authorization_file"),
            ("https://a.example/#x", "'#'"),
            ("https://a example/", "no URL"),
        ] {
            let told = url(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
        assert!(url(&format!("https://a.example/{}", "x".repeat(URL_MAX))).unwrap_err().contains("longer"));
    }

    #[test]
    fn patterns_take_what_they_name() {
        let takes = |pattern: &str, kind, alarm| EventPattern::from_text(pattern).unwrap().takes(kind, alarm);
        assert!(takes("*", "call", None) && takes("*", "alarm", Some("loss")));
        assert!(takes("alarm", "alarm", Some("loss")) && !takes("alarm", "call", None));
        assert!(takes("alarm:disk-*", "alarm", Some("disk-days")));
        assert!(!takes("alarm:disk-*", "alarm", Some("loss")));
        assert!(
            takes("alarm:loss", "alarm", Some("loss")) && !takes("alarm:loss", "alarm", Some("no-media"))
        );
        for bad in ["", "calls", "alarm:", "alarm:disk", "alarm:lost*", "call:disk-*", "x*"] {
            assert!(EventPattern::from_text(bad).is_err(), "{bad}");
        }
        for good in ["*", "alarm", "alarm:disk-*", "ca*"] {
            assert_eq!(EventPattern::from_text(good).unwrap().to_toml(), quoted(good));
        }
    }
}
