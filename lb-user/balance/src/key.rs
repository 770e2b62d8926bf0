//! What a hash algorithm hashes: cuts the key out of a request's parts. The cuts are HAProxy's to the byte.

/// `balance uri`: the part of the request target that `len`, `depth`, `whole` and `path-only` leave.
/// 0 for `len` and `depth` is no limit.
pub fn uri(target: &[u8], whole: bool, len: u32, depth: u32, path_only: bool) -> &[u8] {
    let target = if path_only { path(target) } else { target };
    let limit = if len == 0 { target.len() } else { target.len().min(len as usize) };
    let mut slashes = 0;
    let end = target[..limit].iter().position(|byte| match byte {
        b'/' => {
            slashes += 1;
            depth > 0 && slashes > depth
        }
        b'?' => !whole,
        _ => false,
    });
    &target[..end.unwrap_or(limit)]
}

/// The path and query of a target: all of it unless it is in absolute form.
fn path(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme) = target.windows(3).position(|window| window == b"://") else { return target };
    let authority = &target[scheme + 3..];
    match authority.iter().position(|byte| *byte == b'/') {
        Some(slash) => &authority[slash..],
        None => b"/",
    }
}

/// `balance url_param`: the value of the first parameter of this name in the target's query. `None` without one
/// that has an equals sign.
pub fn url_param<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let question = target.iter().position(|byte| *byte == b'?')?;
    form_param(&target[question + 1..], name)
}

/// The same in a form body, for `check_post`.
pub fn form_param<'a>(form: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    form.split(|byte| *byte == b'&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="))
}

/// `balance hdr()`: the first element of a header field's value. `None` if that is empty.
pub fn header(value: &[u8], domain_only: bool) -> Option<&[u8]> {
    let element = first_element(value).trim_ascii();
    if element.is_empty() {
        return None;
    }
    Some(if domain_only { domain(element) } else { element })
}

/// What stands before the first comma outside quotes.
fn first_element(value: &[u8]) -> &[u8] {
    let mut quoted = false;
    let mut escaped = false;
    let comma = value.iter().position(|byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    });
    &value[..comma.unwrap_or(value.len())]
}

/// `use_domain_only`: the label before the last dot, of at least one byte; the whole name without a dot.
fn domain(name: &[u8]) -> &[u8] {
    let Some(end) = name.iter().rposition(|byte| *byte == b'.') else { return name };
    let Some(last) = end.checked_sub(1) else { return &name[..end] };
    let start = name[..last].iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
    &name[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cut: impl Fn(&[u8]) -> Option<&[u8]>, cases: &[(&str, Option<&str>)]) {
        for (input, expected) in cases {
            let key = cut(input.as_bytes()).map(|key| std::str::from_utf8(key).unwrap());
            assert_eq!(key, *expected, "{input:?}");
        }
    }

    #[test]
    fn uri_parts() {
        #[expect(
            clippy::type_complexity,
            reason = "a table: whole, len, depth, path-only, targets and their parts"
        )]
        let cases: &[(bool, u32, u32, bool, &[(&str, Option<&str>)])] = &[
            (
                false,
                0,
                0,
                false,
                &[
                    ("/a/b/c/d?x=1/2", Some("/a/b/c/d")),
                    ("/", Some("/")),
                    ("//a//b", Some("//a//b")),
                    ("http://h.com/a/b/c?q", Some("http://h.com/a/b/c")),
                    ("*", Some("*")),
                ],
            ),
            (true, 0, 0, false, &[("/a?/b/c/d", Some("/a?/b/c/d"))]),
            (false, 4, 0, false, &[("/a/b/c/d?x=1/2", Some("/a/b")), ("/a", Some("/a"))]),
            (
                false,
                0,
                1,
                false,
                &[("/a/b/c", Some("/a")), ("//a//b", Some("/")), ("http://h.com/a", Some("http:/"))],
            ),
            (
                false,
                0,
                2,
                false,
                &[("/abc/def/", Some("/abc/def")), ("http://h.com/a", Some("http://h.com"))],
            ),
            (false, 5, 3, false, &[("/a/b/c/d", Some("/a/b/"))]),
            (true, 9, 0, false, &[("/a/b/c/d?x=1/2", Some("/a/b/c/d?"))]),
            (false, 0, 0, true, &[("http://h.com/a/b/c?q", Some("/a/b/c")), ("/a?b", Some("/a"))]),
            (true, 0, 2, true, &[("http://h.com/a/b/c?q", Some("/a/b")), ("/a?/b/c/d", Some("/a?/b"))]),
            (false, 0, 0, true, &[("http://h.com", Some("/")), ("h.com:443", Some("h.com:443"))]),
        ];
        for (whole, len, depth, path_only, cases) in cases {
            check(|target| Some(uri(target, *whole, *len, *depth, *path_only)), cases);
        }
    }

    #[test]
    fn parameters() {
        check(
            |target| url_param(target, b"u"),
            &[
                ("/?u=abc", Some("abc")),
                ("/?xu=abc&u=d", Some("d")),
                ("/?u", None),
                ("/?u=", Some("")),
                ("/?a=1&u=zz&u=yy", Some("zz")),
                ("/?u=a;u=b", Some("a;u=b")),
                ("/?U=abc", None),
                ("/x;u=5", None),
                ("/?u&u=q", Some("q")),
                ("/?a=u=7", None),
                ("/?&u=k", Some("k")),
                ("/?u=a/b?u=c", Some("a/b?u=c")),
            ],
        );
    }

    #[test]
    fn headers() {
        check(
            |value| header(value, false),
            &[
                ("haproxy.1wt.eu", Some("haproxy.1wt.eu")),
                ("a, b", Some("a")),
                ("  sp aced  ", Some("sp aced")),
                ("", None),
                ("\"q,r\", z", Some("\"q,r\"")),
                (", b", None),
            ],
        );
    }

    #[test]
    fn domains() {
        check(
            |value| header(value, true),
            &[
                ("haproxy.1wt.eu", Some("1wt")),
                ("1wt.eu", Some("1wt")),
                ("eu", Some("eu")),
                ("www.example.com:8080", Some("example")),
                ("localhost:80", Some("localhost:80")),
                ("a.b.", Some("b")),
                (".a.b", Some("a")),
                ("192.168.1.2", Some("1")),
                ("[::1]:80", Some("[::1]:80")),
                ("a..b", Some("a.")),
                ("co.uk.", Some("uk")),
                ("x.example.co.uk", Some("co")),
            ],
        );
    }
}
