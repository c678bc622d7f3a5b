//! Time as an argument: a monotonic clock for deciding, a wall clock for telling.
//!
//! The two never mix: timers and intervals are [`Mono`], what people and files see is [`WallTime`].
//! Media time (RTP timestamps) is a third thing and lives in `media`.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reading of a monotonic clock: nanoseconds since an origin that is fixed for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Mono(pub u64);

impl Mono {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The time since `earlier`, or zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }
}

/// A reading of the wall clock: nanoseconds since 1970-01-01T00:00:00Z.
///
/// Its text form is RFC 3339 in UTC with microseconds: `2026-11-20T09:15:00.000000Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

impl WallTime {
    /// From whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Signed nanoseconds from `earlier` to this.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time since `earlier`, or zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos_since(earlier)).unwrap_or(0))
    }

    /// The same to the microsecond, as its text form has it: what is compared with what was written must not have more.
    #[must_use]
    pub const fn to_micros(self) -> Self {
        Self(self.0.div_euclid(1_000) * 1_000)
    }

    /// The UTC date, `2026-11-20`: the name of a directory in a repository.
    #[must_use]
    pub fn utc_date(self) -> String {
        self.timestamp().strftime("%Y-%m-%d").to_string()
    }

    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default()
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for WallTime {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.timestamp())
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an RFC 3339 time with a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no RFC 3339 time with a zone, such as 2026-11-20T09:15:00Z")]
pub struct TimeParseError(String);

impl std::str::FromStr for WallTime {
    type Err = TimeParseError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let t: jiff::Timestamp = s.parse().map_err(|_| TimeParseError(s.to_owned()))?;
        // Beyond what 64 bits hold (1677 to 2262) is before or after all there is. No more than is written is read, so
        // that what is read and written again stays the same.
        let micros = t.as_microsecond().clamp(i64::MIN / 1_000, i64::MAX / 1_000);
        Ok(Self(micros * 1_000))
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Both clocks, read together: the argument of everything that decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For timers and intervals.
    pub mono: Mono,
    /// For files, rows and people.
    pub wall: WallTime,
}

impl Add<Duration> for Now {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self { mono: self.mono + d, wall: self.wall + d }
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_round_trips_through_text_at_microseconds() {
        let t = WallTime(1_795_166_100_123_456_000);
        assert_eq!(t.to_string(), "2026-11-20T09:15:00.123456Z");
        assert_eq!(t.to_string().parse(), Ok(t));
        assert_eq!(t.utc_date(), "2026-11-20");
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        let texts = [
            "4052-11-20T09:15:00Z",
            "0100-01-01T00:00:00Z",
            "2026-11-20T09:15:00.1234567Z",
            "1960-01-01T00:00:00.0000001Z",
        ];
        for text in texts {
            let read: WallTime = text.parse().unwrap();
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn text_without_zone_is_refused_by_name() {
        let error = "2026-11-20T09:15:00".parse::<WallTime>().unwrap_err();
        assert!(error.to_string().contains("RFC 3339"), "{error}");
    }

    #[test]
    fn intervals_saturate_instead_of_wrapping() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(u64::MAX) + Duration::from_secs(1), Mono(u64::MAX));
        assert_eq!(WallTime::from_millis(-1).millis(), -1);
    }
}
