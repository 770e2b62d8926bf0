//! Strings of JSON: pure printable ASCII, or with valid UTF-8 let through (manual 8.2.6, flags `json` and `utf8`).

use super::number;

/// Appends `text` without the quotes around it.
pub(super) fn push(out: &mut Vec<u8>, text: &[u8], utf8: bool) {
    if !utf8 {
        return push_bytes(out, text);
    }
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                // The C1 controls.
                '\u{80}'..='\u{9f}' => push_code(out, u32::from(char)),
                _ if char.is_ascii() => push_bytes(out, &[char as u8]),
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_bytes(out, chunk.invalid());
    }
}

/// Byte by byte.
fn push_bytes(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|byte| is_special(*byte)) {
        out.extend_from_slice(&text[..at]);
        match text[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\x08' => out.extend_from_slice(b"\\b"),
            b'\x0c' => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => push_code(out, u32::from(byte)),
        }
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

fn push_code(out: &mut Vec<u8>, code: u32) {
    out.extend_from_slice(b"\\u");
    number::push_hex(out, u64::from(code), 4);
}

fn is_special(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], bytes: &str, utf8: &str) {
        for (flag, expected) in [(false, bytes), (true, utf8)] {
            let mut out = Vec::new();
            push(&mut out, text, flag);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    /// Recorded from HAProxy 3.2.
    #[test]
    fn strings() {
        check(b"plain /", "plain /", "plain /");
        check(b"a\"b\\c\n\t\x08\x7f", "a\\\"b\\\\c\\n\\t\\b\\u007F", "a\\\"b\\\\c\\n\\t\\b\\u007F");
        check(b"\xc3\xa9\xff", "\\u00C3\\u00A9\\u00FF", "\u{e9}\\u00FF");
        check(b"\xc2\x85\xe2\x82\xac", "\\u00C2\\u0085\\u00E2\\u0082\\u00AC", "\\u0085\u{20ac}");
    }
}
