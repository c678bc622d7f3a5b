//! From figures to what is seen: bad, good, or between the thresholds. No clock, no files.

use std::time::Duration;

use model::alarm::Seen;

use crate::certificates::EXPIRES_SOON;

/// Descriptors and ports: what is left above it is seconds' worth of new calls at the highest rate; below the second
/// figure there is room again, far enough apart that one call does not flip it.
const NEARLY_ALL: u64 = 90;
const ROOM_AGAIN: u64 = 80;
/// Of the journal, in percent: at the highest rate it fills in an hour and a half, so that a tenth are ten minutes.
const JOURNAL_BAD: u64 = 10;
const JOURNAL_GOOD: u64 = 5;
/// Of what may wait for a disk, in percent: beyond a quarter its volume takes no new segments.
const BACKLOG_BAD: u64 = 25;
const BACKLOG_GOOD: u64 = 10;
/// Refusals between two looks. Each call is told by an incident as well; several at once are no chance.
const REFUSALS_BAD: u64 = 3;

/// Bad above `bad` percent of `max`, good below `good` percent.
fn share(is: u64, max: u64, (bad, good): (u64, u64), text: impl FnOnce() -> String) -> Seen {
    let percent = |p: u64| u128::from(max) * u128::from(p);
    let is = u128::from(is) * 100;
    if is > percent(bad) {
        Seen::Bad(text())
    } else if is < percent(good) || is == 0 {
        Seen::Good
    } else {
        Seen::Between
    }
}

/// Descriptors that segments take, of those that they may.
pub(super) fn descriptors(taken: u64, max: u64) -> Seen {
    share(taken, max, (NEARLY_ALL, ROOM_AGAIN), || {
        format!(
            "segments take {taken} of {max} descriptors, and without any calls are refused: raise LimitNOFILE \
             (ulimit -Hn)"
        )
    })
}

/// Pairs of media ports in use, of those in the range.
pub(super) fn ports(used: u64, all: u64) -> Seen {
    share(used, all, (NEARLY_ALL, ROOM_AGAIN), || {
        format!(
            "{used} of {all} pairs of media ports are in use, and without any calls are refused: widen \
             media.port_min to media.port_max"
        )
    })
}

/// Calls in progress, of those that may be. It is over when a tenth is free again.
pub(super) fn call_limit(calls: u64, max: u64) -> Seen {
    if calls >= max {
        Seen::Bad(format!(
            "{calls} calls go on, as many as recording.max_calls allows; further ones are refused: raise it if the \
             machine can do more, or add a recorder"
        ))
    } else if calls.saturating_mul(10) <= max.saturating_mul(9) {
        Seen::Good
    } else {
        Seen::Between
    }
}

/// Calls refused, or not opened by the record server, within `window`.
pub(super) fn refusals(count: u64, window: Duration) -> Seen {
    match count {
        0 => Seen::Good,
        REFUSALS_BAD.. => Seen::Bad(format!(
            "{count} calls were refused or not recorded within {} s: the alarms not-recorded tell why",
            window.as_secs()
        )),
        _ => Seen::Between,
    }
}

/// Octets in the journal of the catalog, of those that may be.
pub(super) fn journal(octets: u64, max: u64) -> Seen {
    share(octets, max, (JOURNAL_BAD, JOURNAL_GOOD), || {
        format!(
            "changes that the catalog cannot take fill its journal: {} of {} KiB; let it answer again before the \
             journal is full",
            octets >> 10,
            max >> 10
        )
    })
}

/// Octets of media that wait for a disk, of those that may.
pub(super) fn backlog(octets: u64, max: u64) -> Seen {
    share(octets, max, (BACKLOG_BAD, BACKLOG_GOOD), || {
        format!(
            "{} of {} KiB that may wait for this disk do, and beyond it packets are dropped: the disk is too slow \
             or hangs",
            octets >> 10,
            max >> 10
        )
    })
}

/// How long a certificate is valid yet.
pub(super) fn certificate(what: &str, left: Duration) -> Seen {
    match left.as_secs() / 86_400 {
        _ if left > EXPIRES_SOON => Seen::Good,
        _ if left.is_zero() => Seen::Bad(format!("{what} has expired: renew it; peers refuse it")),
        days => Seen::Bad(format!("{what} expires in {days} days: see why it is not renewed")),
    }
}

/// Why the files of a certificate cannot be read again.
pub(super) fn certificate_files(what: &str, unusable: Option<String>) -> Seen {
    unusable.map_or(Seen::Good, |why| {
        Seen::Bad(format!("{what} stays as it was: {why}; connections go on with the old one"))
    })
}

/// Of several of one kind, for the one condition that they have: the first that is bad.
pub(super) fn worst(seen: impl IntoIterator<Item = Seen>) -> Seen {
    seen.into_iter().find(|seen| matches!(seen, Seen::Bad(_))).unwrap_or(Seen::Good)
}

/// Datagrams that the kernel dropped between two looks. The first is bad: the buffer of a stream holds seconds of it,
/// so nobody read it for that long, or it is too small for SIP.
pub(super) fn receive_drops(count: u64) -> Seen {
    match count {
        0 => Seen::Good,
        _ => Seen::Bad(format!(
            "the kernel dropped {count} datagrams because nobody read them in time: fewer calls, more cores or \
             media.threads, or larger buffers (media.recv_buffer, sip.recv_buffer, net.core.rmem_max)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first letter of what is seen.
    fn letter(seen: &Seen) -> char {
        match seen {
            Seen::Bad(text) => {
                assert!(text.contains(':') || text.contains(';'), "it says nothing to do: {text}");
                'b'
            }
            Seen::Between => '-',
            Seen::Good => 'g',
        }
    }

    fn letters<T: Copy>(of: impl Fn(T) -> Seen, figures: &[T]) -> String {
        figures.iter().map(|f| letter(&of(*f))).collect()
    }

    #[test]
    fn descriptors_are_bad_above_nine_tenths_and_good_below_eight() {
        assert_eq!(letters(|n| descriptors(n, 1_000), &[0, 799, 800, 900, 901, 1_000]), "gg--bb");
    }

    #[test]
    fn ports_are_bad_above_nine_tenths_and_good_below_eight() {
        assert_eq!(letters(|n| ports(n, 10), &[0, 7, 8, 9, 10]), "gg--b");
        assert_eq!(letters(|n| ports(n, 1), &[0, 1]), "gb", "a range of one pair");
    }

    #[test]
    fn the_limit_of_calls_is_bad_when_reached_and_good_with_a_tenth_free() {
        assert_eq!(letters(|n| call_limit(n, 100), &[0, 90, 91, 99, 100, 101]), "gg--bb");
        assert_eq!(letters(|n| call_limit(n, 1), &[0, 1]), "gb", "one call");
    }

    #[test]
    fn a_refusal_is_nothing_and_three_are_bad() {
        assert_eq!(letters(|n| refusals(n, Duration::from_secs(10)), &[0, 1, 2, 3, 9]), "g--bb");
    }

    #[test]
    fn a_journal_is_bad_above_a_tenth_and_good_below_a_twentieth() {
        assert_eq!(letters(|n| journal(n, 1_000), &[0, 49, 50, 100, 101]), "gg--b");
        assert_eq!(letters(|n| journal(n, u64::MAX), &[0, u64::MAX]), "gb", "no overflow");
    }

    #[test]
    fn media_that_wait_are_bad_above_a_quarter_and_good_below_a_tenth() {
        assert_eq!(letters(|n| backlog(n, 1_000), &[0, 99, 100, 250, 251]), "gg--b");
    }

    #[test]
    fn a_certificate_is_bad_two_weeks_before_it_expires() {
        let day = Duration::from_secs(86_400);
        assert_eq!(
            letters(
                |left| certificate("the TLS certificate", left),
                &[30 * day, 14 * day + day / 2, 14 * day, day, Duration::ZERO]
            ),
            "ggbbb"
        );
    }

    #[test]
    fn files_that_cannot_be_used_are_bad() {
        assert_eq!(letter(&certificate_files("the TLS certificate", None)), 'g');
        let bad = certificate_files("the TLS certificate", Some("no key".to_owned()));
        assert_eq!(letter(&bad), 'b');
        assert_eq!(worst([Seen::Good, bad.clone(), Seen::Good]), bad);
        assert_eq!(worst([Seen::Good, Seen::Good]), Seen::Good);
    }

    #[test]
    fn one_datagram_that_the_kernel_dropped_is_bad() {
        assert_eq!(letters(receive_drops, &[0, 1]), "gb");
    }
}
