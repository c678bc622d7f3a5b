//! The clocks of the process, read in this one place.
//!
//! Everything that decides is given a [`Now`]; only the shell reads one. The monotonic origin is the first
//! reading, so a [`Mono`] means nothing in another process and is never stored.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Mono, Now, WallTime};

static ORIGIN: OnceLock<(Instant, WallTime)> = OnceLock::new();

fn origin() -> Instant {
    first().0
}

/// Both clocks at the first reading.
fn first() -> (Instant, WallTime) {
    *ORIGIN.get_or_init(|| (Instant::now(), wall()))
}

/// Both clocks, now.
#[must_use]
pub(crate) fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// The monotonic clock.
#[must_use]
pub(crate) fn mono() -> Mono {
    Mono(u64::try_from(origin().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The wall clock, `CLOCK_REALTIME`. A clock before 1970 reads as 1970.
#[must_use]
pub(crate) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    stepped(WallTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)))
}

/// What the wall clock would be if it had not been set since the first reading. It never goes back: what must not
/// come twice while the process lives, and not in the next one either, is counted from it.
#[must_use]
pub(crate) fn unset() -> WallTime {
    first().1 + Duration::from_nanos(mono().0)
}

/// A reading of the system's clock as this process takes it: as it is.
#[cfg(not(debug_assertions))]
#[must_use]
pub(crate) fn stepped(at: WallTime) -> WallTime {
    at
}

/// A reading of the system's clock as this process takes it. A test cannot step the clock of its machine, so in debug
/// builds `CALLSPOOL_DEBUG_CLOCK` may name a file of seconds by which it is off, read anew at each look.
#[cfg(debug_assertions)]
#[must_use]
pub(crate) fn stepped(at: WallTime) -> WallTime {
    static FILE: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("CALLSPOOL_DEBUG_CLOCK").map(Into::into));
    let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let seconds: i64 = text.and_then(|t| t.trim().parse().ok()).unwrap_or(0);
    WallTime(at.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
}

/// The instant of a monotonic reading, for sleeping until it.
#[must_use]
pub(crate) fn instant(at: Mono) -> Instant {
    origin().checked_add(Duration::from_nanos(at.0)).unwrap_or_else(far_future)
}

/// A year: a timer that is farther away than that is as good as none.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_goes_on_and_has_instants() {
        let first = mono();
        let second = mono();
        assert!(second >= first);
        assert_eq!(instant(second) - instant(first), second.since(first));
        assert!(instant(Mono(u64::MAX)) > Instant::now());
    }
}
