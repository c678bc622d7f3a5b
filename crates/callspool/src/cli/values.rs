//! Values on the command line that are more than text or a number, read once: `2s@3s`, `2%`, `5/s`, `1h`.

use std::time::Duration;

use model::WallTime;

use crate::config::values::parse_duration;

/// A hold of a test call: `2s@3s` is two seconds that begin three seconds after the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HoldSpec {
    /// When it begins, after the answer.
    pub(crate) start: Duration,
    /// How long it lasts.
    pub(crate) length: Duration,
}

/// Reads `20s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
}

/// A day. What is to stay unrecorded for longer is stopped, not paused.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// Reads how long a pause may last, in whole seconds.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    let fits = time >= Duration::from_secs(1) && time <= PAUSE_MAX && time.subsec_nanos() == 0;
    if fits { Ok(time) } else { Err("a pause lasts from 1s to 24h, in whole seconds".to_owned()) }
}

/// Reads `2s@3s`.
pub(crate) fn hold(text: &str) -> Result<HoldSpec, String> {
    let (length, start) = text.split_once('@').ok_or("it is written LENGTH@START, such as 2s@3s")?;
    Ok(HoldSpec { start: parse_duration(start)?, length: parse_duration(length)? })
}

/// Reads `2%` or `2`: a share from 0 to 1.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.strip_suffix('%').unwrap_or(text).trim().parse().map_err(|_| not_percent(text))?;
    if (0.0..=100.0).contains(&number) { Ok(number / 100.0) } else { Err(not_percent(text)) }
}

fn not_percent(text: &str) -> String {
    format!("'{text}' is no share from 0% to 100%")
}

/// Reads `5/s` or `5`: events a second, at most 10,000.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is no rate such as 5/s, above 0 and up to 10000/s");
    let number: f64 = text.strip_suffix("/s").unwrap_or(text).trim().parse().map_err(|_| wrong())?;
    if number > 0.0 && number <= 10_000.0 { Ok(number) } else { Err(wrong()) }
}

/// A tone of a test call, in Hz: what 8 kHz can carry.
pub(crate) fn tone(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is no frequency from 20 to 3800 Hz");
    let number: f64 = text.strip_suffix("Hz").unwrap_or(text).trim().parse().map_err(|_| wrong())?;
    if (20.0..=3_800.0).contains(&number) { Ok(number) } else { Err(wrong()) }
}

/// A time on the command line: a point (RFC 3339, or a date in UTC), or so long ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    /// That point.
    At(WallTime),
    /// So long before now.
    Ago(Duration),
}

impl Since {
    /// The point, seen from now.
    pub(crate) fn at(self, now: WallTime) -> WallTime {
        match self {
            Self::At(t) => t,
            Self::Ago(d) => now - d,
        }
    }
}

/// Reads `2026-11-20T09:15:00Z`, `2026-11-20` or `2h`.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(Since::Ago(ago));
    }
    let date = format!("{text}T00:00:00Z");
    let at = text.parse().or_else(|_| date.parse());
    at.map(Since::At)
        .map_err(|_| format!("'{text}' is no time such as 2h, 2026-11-20 or 2026-11-20T09:15:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let s = Duration::from_secs;
        assert_eq!(hold("2s@3s"), Ok(HoldSpec { start: s(3), length: s(2) }));
        assert_eq!(
            (percent("2%"), percent("100"), rate("5/s"), rate("0.5")),
            (Ok(0.02), Ok(1.0), Ok(5.0), Ok(0.5))
        );
        assert_eq!((since("2h"), tone("440")), (Ok(Since::Ago(s(7_200))), Ok(440.0)));
        assert_eq!(since("2026-11-20"), since("2026-11-20T00:00:00Z"));
        assert_eq!(Since::Ago(s(1)).at(WallTime::from_millis(5_000)), WallTime::from_millis(4_000));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "-1", "NaN", "inf", "101%", "x"] {
            assert!(
                percent(text).is_err() && rate(text.trim_end_matches('%')).is_err() || text == "101%",
                "{text}"
            );
        }
        for text in ["2s", "@", "2@3", "2s@"] {
            assert!(hold(text).is_err(), "{text}");
        }
        for text in ["5000", "0", "NaN"] {
            assert!(tone(text).is_err(), "{text}");
        }
        assert!(since("yesterday").is_err() && rate("0/s").is_err() && percent("101%").is_err());
    }
}
