//! Hours of the day in which something may be done, as a setting: `22:00-05:00`. They are those of UTC.

use model::WallTime;

use super::declare::{Setting, quoted};

/// Seconds of a day.
const DAY: u32 = 86_400;

/// A span of each day. One that ends before it begins goes over midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hours {
    /// Seconds after midnight.
    from: u32,
    until: u32,
}

impl Hours {
    /// Whether it is that time.
    pub(crate) fn are_now(self, now: WallTime) -> bool {
        let second = u32::try_from(now.millis().div_euclid(1_000).rem_euclid(i64::from(DAY))).unwrap_or(0);
        match self.from <= self.until {
            true => (self.from..self.until).contains(&second),
            false => second >= self.from || second < self.until,
        }
    }
}

impl Setting for Option<Hours> {
    const EXPECTED: &'static str = "hours of a day, such as \"22:00-05:00\", or nothing for all of it";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let (from, until) = text.split_once('-').ok_or_else(|| format!("'{text}' has no end"))?;
        let hours = Hours { from: time(from)?, until: time(until)? };
        if hours.from == hours.until {
            return Err(format!("'{text}' ends as it begins"));
        }
        Ok(Some(hours))
    }

    fn to_toml(&self) -> String {
        let shown = |second: u32| format!("{:02}:{:02}", second / 3_600, second / 60 % 60);
        quoted(&self.map(|hours| format!("{}-{}", shown(hours.from), shown(hours.until))).unwrap_or_default())
    }
}

/// Seconds after midnight; the end of a day is 24:00.
fn time(text: &str) -> Result<u32, String> {
    let wrong = || format!("'{text}' is no time of a day");
    let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| match text.len() {
        2 if text.bytes().all(|c| c.is_ascii_digit()) => text.parse::<u32>().map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    match (hour, minute) {
        (0..=23, 0..=59) | (24, 0) => Ok(hour * 3_600 + minute * 60),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_go_over_midnight() {
        let at = |text: &str| text.parse::<WallTime>().unwrap();
        for (hours, now, are_now) in [
            ("22:00-05:00", "2026-11-28T21:59:59Z", false),
            ("22:00-05:00", "2026-11-28T22:00:00Z", true),
            ("22:00-05:00", "2026-11-29T04:59:59Z", true),
            ("22:00-05:00", "2026-11-29T05:00:00Z", false),
            ("09:30-12:00", "2026-11-29T09:30:00Z", true),
            ("09:30-12:00", "2026-11-29T12:00:00Z", false),
            ("00:00-24:00", "2026-11-29T23:59:59Z", true),
        ] {
            let read = Option::<Hours>::from_text(hours).unwrap();
            assert_eq!(read.unwrap().are_now(at(now)), are_now, "{hours} {now}");
            assert_eq!(read.to_toml(), quoted(hours));
        }
        assert_eq!(Option::<Hours>::from_text(""), Ok(None));
        for text in ["22:00", "22-05", "24:01-05:00", "22:00-22:00", "1:00-2:00", "a:bb-05:00", "+1:00-02:00"]
        {
            assert!(Option::<Hours>::from_text(text).is_err(), "{text}");
        }
    }
}
