//! What was told of a source lately, so that one that tries again and again does not fill the log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::source::Source;

/// Once in so long is each source told of.
const INTERVAL: Duration = Duration::from_secs(600);
/// Sources remembered. Beyond it nothing more is told until some are forgotten; it is all counted.
const SOURCES_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Told {
    at: HashMap<Source, Instant>,
}

impl Told {
    /// Whether to tell of this source now.
    pub(super) fn is_new(&mut self, ip: IpAddr, now: Instant) -> bool {
        let source = Source::of(ip);
        if self.at.get(&source).is_some_and(|at| now.duration_since(*at) < INTERVAL) {
            return false;
        }
        if self.at.len() >= SOURCES_MAX {
            self.at.retain(|_, at| now.duration_since(*at) < INTERVAL);
        }
        if self.at.len() >= SOURCES_MAX {
            return false;
        }
        self.at.insert(source, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_is_told_of_once_in_an_interval_and_the_table_is_bounded() {
        let (mut told, now) = (Told::default(), Instant::now());
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!(told.is_new(ip(1), now) && !told.is_new(ip(1), now) && told.is_new(ip(2), now));
        assert!(told.is_new(ip(1), now + INTERVAL));
        (0..5_000).for_each(|n| _ = told.is_new(ip(n), now));
        assert_eq!(told.at.len(), SOURCES_MAX);
        assert!(told.is_new(ip(9_999), now + 3 * INTERVAL));
    }
}
