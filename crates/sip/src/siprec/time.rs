//! Times as clients write them: RFC 3339 (RFC 7865 section 6), and what is sent in its place.

use model::WallTime;

/// Digits of a fraction that are read: nanoseconds.
const FRACTION_DIGITS_MAX: usize = 9;
/// Digits of a time in seconds since 1970, and in milliseconds.
const EPOCH_DIGITS: (usize, usize) = (10, 13);

/// RFC 3339; also without a zone (taken as UTC), with a zone that lacks its colon or its minutes, with `UTC`,
/// with a space between date and time, with a comma before the fraction; seconds or milliseconds since 1970.
pub(super) fn time(text: &str) -> Option<WallTime> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return since_epoch(text);
    }
    let (head, zone) = split_zone(text)?;
    let mut head = head.trim_end().replacen(' ', "T", 1).replacen('t', "T", 1).replacen(',', ".", 1);
    if let Some(short) = head.find('.').and_then(|point| head.get(..=point + FRACTION_DIGITS_MAX)) {
        head = short.to_owned();
    }
    format!("{head}{}", offset(zone)?).parse().ok()
}

fn since_epoch(digits: &str) -> Option<WallTime> {
    let number: i64 = digits.parse().ok()?;
    match digits.len() {
        n if n == EPOCH_DIGITS.0 => Some(WallTime::from_millis(number.checked_mul(1_000)?)),
        n if n == EPOCH_DIGITS.1 => Some(WallTime::from_millis(number)),
        _ => None,
    }
}

/// The time of day ends where anything but digits, points and colons begins.
fn split_zone(text: &str) -> Option<(&str, &str)> {
    // The date: `2026-11-20` and what separates it from the time.
    let of_day = text.get(11..)?;
    let length = of_day.find(|c: char| !matches!(c, '0'..='9' | ':' | '.' | ',')).unwrap_or(of_day.len());
    text.split_at_checked(11 + length)
}

fn offset(zone: &str) -> Option<String> {
    let zone = zone.trim();
    if ["", "z", "utc", "gmt"].iter().any(|utc| zone.eq_ignore_ascii_case(utc)) {
        return Some("Z".to_owned());
    }
    let (sign, digits) = zone.split_at_checked(1).filter(|(sign, _)| matches!(*sign, "+" | "-"))?;
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match digits.len() {
        2 => Some(format!("{sign}{digits}:00")),
        4 => digits.split_at_checked(2).map(|(hours, minutes)| format!("{sign}{hours}:{minutes}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_in_any_zone() {
        let moment = time("2026-05-06T07:08:09Z").unwrap();
        for text in [
            "2026-05-06T07:08:09",
            "2026-05-06T07:08:09+00:00",
            "2026-05-06T07:08:09+0000",
            "2026-05-06T07:08:09-0000",
            "2026-05-06T07:08:09.000Z",
            "2026-05-06T07:08:09.0",
            "2026-05-06T07:08:09.000000000000+0000",
            "2026-05-06t07:08:09z",
            "2026-05-06 07:08:09",
            "2026-05-06 07:08:09 UTC",
            "2026-05-06T07:08:09,000+00",
            "2026-05-06T09:08:09+0200",
            "2026-05-06T09:08:09+02",
            "2026-05-06T01:38:09-05:30",
            "1778051289",
            "1778051289000",
            " 2026-05-06T07:08:09Z\n",
        ] {
            assert_eq!(time(text), Some(moment), "{text}");
        }
        assert_eq!(time("2026-05-06T07:08:09.526").unwrap().millis() - moment.millis(), 526);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "never",
            "0",
            "2026",
            "2026-05-06",
            "2026-05-06T07:08:09+xx",
            "2026-13-06T07:08:09",
            "é".repeat(20).as_str(),
            // A fraction that ends within a character.
            ",026-éééééé0T",
            "2026-05-06T07:08:09.12345678é",
            "é026-05-06T07:08:09.123456789",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
