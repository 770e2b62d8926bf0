//! Numbers as text, without an allocation.

/// Digits of the largest `u64`.
const DIGITS_MAX: usize = 20;

/// Appends a decimal number.
pub fn push(out: &mut Vec<u8>, number: u64) {
    push_padded(out, number, 1);
}

/// Appends a decimal number, with a minus if it has one.
pub fn push_signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push(out, number.unsigned_abs());
}

/// Appends a decimal number of at least `width` digits.
pub fn push_padded(out: &mut Vec<u8>, number: u64, width: usize) {
    push_digits(out, number, 10, width);
}

/// Appends an upper-case hexadecimal number of at least `width` digits.
pub fn push_hex(out: &mut Vec<u8>, number: u64, width: usize) {
    push_digits(out, number, 16, width);
}

fn push_digits(out: &mut Vec<u8>, mut number: u64, base: u64, width: usize) {
    let mut digits = [b'0'; DIGITS_MAX];
    let mut start = DIGITS_MAX;
    while number > 0 {
        start -= 1;
        let digit = u8::try_from(number % base).unwrap_or(0);
        digits[start] = if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
        number /= base;
    }
    let start = start.min(DIGITS_MAX.saturating_sub(width));
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn digits() {
        check(|out| push(out, 0), "0");
        check(|out| push(out, u64::MAX), "18446744073709551615");
        check(|out| push_padded(out, 7, 3), "007");
        check(|out| push_padded(out, 1234, 3), "1234");
        check(|out| push_hex(out, 0x7f00_0001, 4), "7F000001");
        check(|out| push_hex(out, 1, 4), "0001");
    }
}
