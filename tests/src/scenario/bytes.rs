//! Bytes as lines of text: a line stands for itself and CRLF, or without CRLF when it ends in a backslash.
//!
//! `\n`, `\r`, `\t`, `\\` and `\x00` stand for bytes that a line cannot show.

/// The bytes that these lines stand for.
pub(super) fn read(lines: &[String]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for line in lines {
        let mut rest = line.as_bytes();
        let mut ended = false;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            match rest.first() {
                None => ended = true,
                Some(b'n') => out.push(b'\n'),
                Some(b'r') => out.push(b'\r'),
                Some(b't') => out.push(b'\t'),
                Some(b'\\') => out.push(b'\\'),
                Some(b'x') => {
                    let digits = rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
                    let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    out.push(byte.ok_or_else(|| format!("'\\x' without two digits in '{line}'"))?);
                    rest = &rest[2..];
                }
                Some(_) => return Err(format!("an unknown escape in '{line}'")),
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        if !ended {
            out.extend(b"\r\n");
        }
    }
    Ok(out)
}

/// The lines that stand for these bytes.
pub(super) fn show(bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let mut line = String::new();
        for &byte in &rest[..end.unwrap_or(rest.len())] {
            match byte {
                b'\n' => line.push_str("\\n"),
                b'\r' => line.push_str("\\r"),
                b'\t' => line.push_str("\\t"),
                b'\\' => line.push_str("\\\\"),
                b' '..=b'~' => line.push(char::from(byte)),
                byte => line.push_str(&format!("\\x{byte:02x}")),
            }
        }
        match end {
            Some(end) => rest = &rest[end + 2..],
            None => {
                line.push('\\');
                rest = &[];
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], lines: &[&str]) {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(show(bytes), lines);
        assert_eq!(read(&lines).expect("bytes"), bytes);
    }

    #[test]
    fn there_and_back() {
        check(b"", &[]);
        check(b"GET / HTTP/1.1\r\n\r\n", &["GET / HTTP/1.1", ""]);
        check(b"a\r\nbody", &["a", "body\\"]);
        check(b"a\n\xff\\\r\t", &["a\\n\\xff\\\\\\r\\t\\"]);
    }

    #[test]
    fn wrong_escapes() {
        assert!(read(&["\\x1".to_owned()]).is_err());
        assert!(read(&["\\q".to_owned()]).is_err());
    }
}
