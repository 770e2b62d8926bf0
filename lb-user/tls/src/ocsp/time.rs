//! GeneralizedTime.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `YYYYMMDDHHMMSSZ`, the only form that RFC 5280 §4.1.2.5.2 allows.
pub(super) fn time(text: &[u8]) -> Option<SystemTime> {
    let (digits, b"Z") = text.split_at_checked(14)? else {
        return None;
    };
    let number = |from: usize, to: usize| -> Option<u64> {
        digits[from..to].iter().try_fold(0, |sum, digit| match digit {
            b'0'..=b'9' => Some(sum * 10 + u64::from(digit - b'0')),
            _ => None,
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Years begin in March, so that the leap day is the last; 719,468 days are between 0000-03-01 and 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    UNIX_EPOCH
        .checked_add(Duration::from_secs((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(
                time(text.as_bytes()),
                expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
                "{text}"
            );
        };
        check("19700101000000Z", Some(0));
        check("20000229235959Z", Some(951_868_799));
        check("20260101120000Z", Some(1_767_268_800));
        check("99991231235959Z", Some(253_402_300_799));
        check("20261301000000Z", None);
        check("20260100000000Z", None);
        check("202601010000Z", None);
        check("20260101000000+", None);
        check("2026010100000\u{0}Z", None);
        check("19691231235959Z", None);
    }
}
