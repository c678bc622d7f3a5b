//! How things are shown to people: times, durations, sizes, and text that came from outside.

use std::time::Duration;

use model::{CallData, Party, PartyRole, WallTime};

/// Text from the network, made harmless for a terminal: no control characters, no reversed writing.
pub(super) fn clean(text: &str) -> String {
    let reorders =
        |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}');
    text.chars().map(|c| if c.is_control() || reorders(c) { '\u{FFFD}' } else { c }).collect()
}

/// `2026-11-20 09:15:00`, in UTC.
pub(super) fn time(at: WallTime) -> String {
    let text = at.to_string();
    let seconds = text.get(..19).unwrap_or(&text);
    seconds.replacen('T', " ", 1)
}

/// `2026-11-20 09:15:00.123`, in UTC.
pub(super) fn time_ms(at: WallTime) -> String {
    let text = at.to_string();
    text.get(..23).unwrap_or(&text).replacen('T', " ", 1)
}

/// `1:02:03`, or `0:07`.
pub(super) fn length(duration: Duration) -> String {
    let s = duration.as_secs();
    if s >= 3_600 {
        format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}

/// Microseconds as seconds: `1.250 s`.
pub(super) fn seconds(us: i64) -> String {
    format!(
        "{}{}.{:03} s",
        if us < 0 { "-" } else { "" },
        us.unsigned_abs() / 1_000_000,
        us.unsigned_abs() / 1_000 % 1_000
    )
}

/// `12.3 MiB`
pub(super) fn octets(n: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut whole, mut rest) = (0, n, 0);
    while whole >= 1_024 && unit + 1 < UNITS.len() {
        rest = whole % 1_024;
        whole /= 1_024;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{whole} {unit_name}")
    } else {
        format!("{whole}.{} {unit_name}", rest * 10 / 1_024)
    }
}

/// Who takes part, in short: `1001 → 2002` where it is known who called whom, else `1001, 2002`.
pub(super) fn parties_in_short(parties: &[Party]) -> String {
    let of_role = |role| parties.iter().find(|p| p.role == role).map(party_in_short);
    match (of_role(PartyRole::Caller), of_role(PartyRole::Called)) {
        (Some(caller), Some(called)) => format!("{caller} → {called}"),
        _ => parties.iter().map(party_in_short).collect::<Vec<_>>().join(", "),
    }
}

/// The number, else the URI, else the name.
fn party_in_short(party: &Party) -> String {
    let text = party.number.as_ref().or(party.uri.as_ref()).or(party.name.as_ref());
    text.map(|t| clean(t.strip_prefix("sip:").unwrap_or(t))).unwrap_or_default()
}

/// Who is in a role, in full: `1001 "Alice" <sip:1001@pbx>`.
pub(super) fn party_in_full(party: &Party) -> String {
    let number = party.number.as_deref().map(clean);
    let name = party.name.as_deref().map(|n| format!("\"{}\"", clean(n)));
    let uri = party.uri.as_deref().map(|u| format!("<{}>", clean(u)));
    [number, name, uri].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The key-values that correlate a call, and the vendor's.
pub(super) fn key_values(data: &CallData) -> Vec<(String, String)> {
    data.correlation.iter().chain(&data.extra).map(|(k, v)| (clean(k), clean(v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_that_it_would_obey() {
        assert_eq!(clean("a\u{1b}[31mb\n\u{202E}c"), "a\u{FFFD}[31mb\u{FFFD}\u{FFFD}c");
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(
            (length(Duration::from_secs(7)), length(Duration::from_secs(3_723))),
            ("0:07".into(), "1:02:03".into())
        );
        assert_eq!(
            (octets(999), octets(1_536), octets(12_900_000)),
            ("999 bytes".into(), "1.5 KiB".into(), "12.3 MiB".into())
        );
        assert_eq!((seconds(1_250_000), seconds(-500)), ("1.250 s".into(), "-0.000 s".into()));
        assert_eq!(time(WallTime(1_795_166_100_123_456_000)), "2026-11-20 09:15:00");
        assert_eq!(time_ms(WallTime(1_795_166_100_123_456_000)), "2026-11-20 09:15:00.123");
    }
}
