//! The pauses of a stream that are over, for what comes after them and was said in them.
//!
//! ```text
//!               pause                      what is dropped after it
//!  ────────┬──────────────┬──────────►     whatever arrived in it,
//!          from         until              and whatever was said in it, even in part
//! ```
//!
//! Times are microseconds of arrival from the segment's start. When a packet was said is estimated from its RTP
//! time: when it would have arrived had it been delayed as little as any, less what it plays. While a pause
//! goes on nothing is asked here: nothing passes then.

/// 16 pauses. Of more within [`REMEMBERED_US`] the oldest two become one: what was said between them may be
/// dropped if it comes late, and nothing that was said in them is kept.
const LISTED_MAX: usize = 16;
/// 60 s: longer than any network delays a packet. Then a pause is forgotten.
const REMEMBERED_US: i64 = 60_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    over: Vec<(i64, i64)>,
    since: Option<i64>,
}

impl Pauses {
    /// A pause begins; a second beginning is none.
    pub(super) fn begin(&mut self, now_us: i64) {
        self.since.get_or_insert(now_us);
    }

    /// The pause is over.
    pub(super) fn end(&mut self, now_us: i64) {
        let Some(from) = self.since.take() else { return };
        self.over.retain(|(_, until)| now_us - until <= REMEMBERED_US);
        if self.over.len() >= LISTED_MAX {
            let first = self.over.remove(0);
            if let Some(second) = self.over.first_mut() {
                second.0 = second.0.min(first.0);
            }
        }
        self.over.push((from, now_us.max(from)));
    }

    /// Whether anything of what was said from one time up to another was said in a pause.
    #[inline]
    pub(super) fn hold(&self, from_us: i64, until_us: i64) -> bool {
        // Nearly always there is none.
        !self.over.is_empty() && self.over.iter().any(|(from, until)| from_us < *until && until_us >= *from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_a_pause_is_held() {
        let mut pauses = Pauses::default();
        assert!(!pauses.hold(i64::MIN, i64::MAX));
        pauses.begin(1_000);
        pauses.begin(1_500);
        assert!(!pauses.hold(1_200, 1_300), "while it goes on nobody asks");
        pauses.end(2_000);
        for (from, until, held) in [
            (0, 999, false),
            (0, 1_000, true),
            (1_200, 1_300, true),
            (1_999, 2_019, true),
            (2_000, 2_020, false),
        ] {
            assert_eq!(pauses.hold(from, until), held, "{from} to {until}");
        }
    }

    #[test]
    fn of_many_pauses_none_is_forgotten_before_its_time() {
        let mut pauses = Pauses::default();
        for n in 0..100 {
            pauses.begin(n * 100);
            pauses.end(n * 100 + 50);
        }
        assert!(pauses.over.len() <= LISTED_MAX);
        assert!((0..100).all(|n| pauses.hold(n * 100 + 10, n * 100 + 20)));
        pauses.begin(REMEMBERED_US + 20_000);
        pauses.end(REMEMBERED_US + 20_010);
        assert_eq!(pauses.over.len(), 1);
    }
}
