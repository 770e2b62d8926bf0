//! `crt-ignore-err`, `ca-ignore-err`: errors of verification that do not count, by number or by OpenSSL's name.

use sockeye_tls::settings::Ignored;
use sockeye_tls::verify_error;

/// The most that an error number may be: no library has more.
const NUMBER_MAX: u32 = 1_000;

/// `all`, or numbers and names with commas.
pub(super) fn parse(text: &str) -> Result<Ignored, String> {
    if text == "all" {
        return Ok(Ignored::All);
    }
    let one = |part: &str| {
        let number = part.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        number
            .or_else(|| verify_error(part))
            .ok_or_else(|| format!("error constant '{part}' unknown in error IDs list '{text}'"))
    };
    let mut numbers = text.split(',').map(one).collect::<Result<Vec<u32>, String>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Ignored::These(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |text: &str, expected: Option<Ignored>| {
            assert_eq!(parse(text).ok(), expected, "{text}");
        };
        check("all", Some(Ignored::All));
        check("10", Some(Ignored::These(vec![10])));
        check("X509_V_ERR_CERT_HAS_EXPIRED,23,10", Some(Ignored::These(vec![10, 23])));
        for wrong in ["", "x", "10,", "0", "9999", "CERT_HAS_EXPIRED", "X509_V_ERR_NOPE", "10,all"] {
            check(wrong, None);
        }
    }
}
