//! Byte ranges (RFC 9110 section 14): one range, from the front or the back.
//!
//! Several ranges, other units and what cannot be read are ignored, as section 14.2 allows: the answer is then
//! the whole file. A range beyond the file is refused with 416.

use std::ops::Range;

/// What a Range header asks of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// These octets: never empty, never beyond the file.
    Part(Range<u64>),
    /// Nothing that the file has.
    Beyond,
}

/// Reads a Range header for a file of `len` octets.
pub(crate) fn wanted(header: Option<&str>, len: u64) -> Wanted {
    let Some(spec) = header.and_then(single) else { return Wanted::Whole };
    let range = match spec {
        (Some(first), last) => {
            let end = last.map_or(len, |last| last.saturating_add(1).min(len));
            if last.is_some_and(|last| last < first) {
                // Not a range at all (section 14.1.1), so as if it were not there.
                return Wanted::Whole;
            }
            first..end
        }
        (None, Some(suffix)) => len.saturating_sub(suffix)..len,
        (None, None) => return Wanted::Whole,
    };
    if range.is_empty() { Wanted::Beyond } else { Wanted::Part(range) }
}

fn single(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| -> Option<Option<u64>> {
        match text.trim() {
            "" => Some(None),
            digits if digits.bytes().all(|c| c.is_ascii_digit()) => {
                // Too large for 64 bits is beyond every file.
                Some(Some(digits.parse().unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    };
    if unit.trim().eq_ignore_ascii_case("bytes") { Some((number(first)?, number(last)?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (header, expected) in [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), Wanted::Part(0..1)),
            (Some("bytes=0-"), Wanted::Part(0..100)),
            (Some("Bytes = 10-19"), Wanted::Part(10..20)),
            (Some("bytes=90-200"), Wanted::Part(90..100)),
            (Some("bytes=-5"), Wanted::Part(95..100)),
            (Some("bytes=-500"), Wanted::Part(0..100)),
            (Some("bytes=99-"), Wanted::Part(99..100)),
            (Some("bytes=100-"), Wanted::Beyond),
            (Some("bytes=-0"), Wanted::Beyond),
            (Some("bytes=99999999999999999999-"), Wanted::Beyond),
            (Some("bytes=0-99999999999999999999"), Wanted::Part(0..100)),
            (Some("bytes=20-10"), Wanted::Whole),
            (Some("bytes=0-1,5-6"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("items=0-5"), Wanted::Whole),
            (Some("bytes"), Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 100), expected, "{header:?}");
        }
    }

    #[test]
    fn of_an_empty_file_there_is_no_part() {
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Beyond);
        assert_eq!(wanted(None, 0), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond(header in "bytes=[0-9]{0,21}-[0-9]{0,21}|\\PC{0,20}", len in any::<u64>()) {
            if let Wanted::Part(range) = wanted(Some(&header), len) {
                prop_assert!(range.start < range.end && range.end <= len);
            }
        }
    }
}
