//! Durations, sizes and counts as people read and write them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Reads a duration with its unit, such as `2s`, `500ms`, `10m` or `1h30m`. A bare number is refused: nobody can
/// tell seconds from milliseconds by looking at it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "{:?} is not a duration: write a number with a unit, such as 500ms, 2s, 10m or 1h",
            crate::name::shown(text)
        )
    };
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(wrong());
    }
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// Reads a size in bytes with its unit: `1MiB`, `512KiB`, `100B`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{:?} is not a size: write a whole number with B, KiB, MiB or GiB, such as 1MiB",
            crate::name::shown(text)
        )
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let unit: u64 = match text[split..].trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// A size in the largest unit that divides it: `1MiB`, `1536KiB`.
pub fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// A duration in its two largest units: `3m 12s`, `2d 4h`, `450ms`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match duration.subsec_millis() {
            0 => "0s".to_owned(),
            ms => format!("{ms}ms"),
        };
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let (size, unit) = units[first];
    let rest = units.get(first + 1).map(|(small, name)| (seconds % size / small, name));
    match rest {
        Some((count, name)) if count > 0 => format!("{}{unit} {count}{name}", seconds / size),
        _ => format!("{}{unit}", seconds / size),
    }
}

/// How long ago `then` was, never negative: clocks jump.
pub fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// `1 block`, `2 blocks`.
pub fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        for bad in ["", "2", "-2s", "2 parsecs", "s", "PT2S", "2s ago", "1e9999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_need_units() {
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("100B"), Ok(100));
        for bad in ["", "1", "1MB", "-1B", "99999999999999999999B", "18446744073709551615GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_shown_in_two_units() {
        for (seconds, shown) in [(0, "0s"), (59, "59s"), (192, "3m 12s"), (180, "3m"), (100_000, "1d 3h")] {
            assert_eq!(show_duration(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(show_duration(Duration::from_millis(450)), "450ms");
    }

    #[test]
    fn long_numbers_are_grouped() {
        for (count, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (30_000_000, "30,000,000")] {
            assert_eq!(grouped(count), shown);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }
}
