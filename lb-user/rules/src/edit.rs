//! Changes of a message's head: targets, headers, values (manual 4.4).

use sockeye_http::{FieldName, Headers, RequestHead, is_valid_name, is_valid_value};
use sockeye_pattern::Regex;

use crate::action::NameMatch;

/// A rewrite that could not be done: too long, or not valid in a message. With `strict-mode on` the reply is 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewriteFailed;

/// Room for rewrites, in bytes of values: a head grows by no more than this.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Where the path begins: after `scheme://authority`; the end of the target if there is no path.
pub fn path_start(target: &[u8]) -> usize {
    match target.first() {
        None | Some(b'/') => 0,
        Some(b'*') if target.len() == 1 => 0,
        _ => {
            let Some(colon) = memchr::memmem::find(target, b"://") else {
                // Authority form (CONNECT) has no path; anything else is taken whole.
                return memchr::memchr(b'/', target).unwrap_or(target.len());
            };
            let authority = colon + 3;
            memchr::memchr2(b'/', b'?', &target[authority..]).map_or(target.len(), |at| authority + at)
        }
    }
}

/// The path with its query.
pub fn path_of(target: &[u8]) -> &[u8] {
    &target[path_start(target)..]
}

/// What is before the first question mark, and what after it.
pub fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', path) {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// Which part of the target a rule replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Without the query.
    Path,
    PathAndQuery,
    /// What follows the question mark.
    Query,
    Uri,
}

impl Part {
    /// The part of `target`.
    pub fn of(self, target: &[u8]) -> &[u8] {
        let path = path_of(target);
        match self {
            Self::Path => split_query(path).0,
            Self::PathAndQuery => path,
            Self::Query => split_query(path).1.unwrap_or_default(),
            Self::Uri => target,
        }
    }
}

/// Replaces a part of the target.
///
/// # Errors
/// When the result cannot stand in a request line.
pub fn set_part(request: &mut RequestHead, part: Part, value: &[u8]) -> Result<(), RewriteFailed> {
    let target = request.target();
    let start = path_start(target);
    let (path, query) = split_query(&target[start..]);
    let mut out = Vec::with_capacity(target.len() + value.len() + 1);
    match part {
        Part::Uri => {
            out.extend_from_slice(value);
            set_target(request, &out)?;
            // Host says what an absolute target says (RFC 9112 §3.2.2).
            if let Some(colon) = memchr::memmem::find(&out, b"://").filter(|_| !out.starts_with(b"/")) {
                let authority = &out[colon + 3..path_start(&out).max(colon + 3)];
                let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or(authority);
                if !host.is_empty() {
                    replace_host(request, host);
                }
            }
            return Ok(());
        }
        Part::PathAndQuery => {
            out.extend_from_slice(&target[..start]);
            out.extend_from_slice(value);
        }
        Part::Path => {
            out.extend_from_slice(&target[..start]);
            out.extend_from_slice(value);
            if let Some(query) = query {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        }
        Part::Query => {
            out.extend_from_slice(&target[..start]);
            out.extend_from_slice(path);
            out.push(b'?');
            out.extend_from_slice(value);
        }
    }
    set_target(request, &out)
}

/// Makes an absolute target name the host that a rule has put into Host, so that nobody behind can be of two minds
/// about it (RFC 9112 §3.2.2).
///
/// # Errors
/// When the host cannot stand in a request line.
pub fn follow_host(request: &mut RequestHead) -> Result<(), RewriteFailed> {
    let target = request.target();
    if target.starts_with(b"/") {
        return Ok(());
    }
    let (Some(colon), Some(host)) = (memchr::memmem::find(target, b"://"), request.host()) else {
        return Ok(());
    };
    let (start, end) = (colon + 3, path_start(target));
    if target.get(start..end).is_none_or(|authority| authority == host) {
        return Ok(());
    }
    let out = [&target[..start], host, &target[end..]].concat();
    set_target(request, &out)
}

/// Replaces the value of Host where it stands, or adds the field.
fn replace_host(request: &mut RequestHead, host: &[u8]) {
    let headers = request.headers_mut();
    let at = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    match at {
        Some(index) => headers.replace_at(index, host),
        None => headers.append(b"host", host),
    }
}

/// Replaces the whole target.
///
/// # Errors
/// When it is empty, too long, or holds a byte that ends a request line or a word of it.
pub fn set_target(request: &mut RequestHead, target: &[u8]) -> Result<(), RewriteFailed> {
    let valid = !target.is_empty()
        && target.len() <= VALUE_BYTES_MAX
        && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    if !valid {
        return Err(RewriteFailed);
    }
    request.set_target(target);
    Ok(())
}

/// Replaces the method.
///
/// # Errors
/// When it is not a token.
pub fn set_method(request: &mut RequestHead, method: &[u8]) -> Result<(), RewriteFailed> {
    if !is_valid_name(method) {
        return Err(RewriteFailed);
    }
    request.set_method(method);
    Ok(())
}

/// `add-header`.
///
/// # Errors
/// When the value cannot stand in a header.
pub fn add_header(headers: &mut Headers, name: &FieldName, value: &[u8]) -> Result<(), RewriteFailed> {
    check_value(value)?;
    headers.append_named(name, value);
    Ok(())
}

/// `set-header`.
///
/// # Errors
/// When the value cannot stand in a header.
pub fn set_header(headers: &mut Headers, name: &FieldName, value: &[u8]) -> Result<(), RewriteFailed> {
    check_value(value)?;
    headers.set_named(name, value);
    Ok(())
}

/// `del-header`.
pub fn del_header(headers: &mut Headers, names: &NameMatch) {
    match names {
        NameMatch::Str(name) => {
            headers.remove_named(name);
        }
        names => headers.retain(|name, _| !names.matches(name)),
    }
}

/// `replace-header`: every field of the name whose value matches gets the template, filled.
///
/// # Errors
/// When a value cannot stand in a header, or all would grow by more than `free` bytes; fields before it are replaced
/// already.
pub fn replace_header(
    headers: &mut Headers,
    name: &FieldName,
    regex: &Regex,
    template: &[u8],
    mut free: usize,
) -> Result<(), RewriteFailed> {
    let mut start = 0;
    while let Some((index, value)) = headers.next_named(name, start) {
        start = index + 1;
        let Some(replaced) = replace(regex, value, template)? else { continue };
        free = grow(free, value.len(), replaced.len())?;
        check_value(&replaced)?;
        headers.replace_at(index, &replaced);
    }
    Ok(())
}

/// `replace-value`: the same for each element of the comma-separated lists.
///
/// # Errors
/// As for [`replace_header`].
pub fn replace_value(
    headers: &mut Headers,
    name: &FieldName,
    regex: &Regex,
    template: &[u8],
    mut free: usize,
) -> Result<(), RewriteFailed> {
    let mut start = 0;
    while let Some((index, value)) = headers.next_named(name, start) {
        start = index + 1;
        let mut out = Vec::with_capacity(value.len());
        let mut changed = false;
        for (position, element) in value.split(|byte| *byte == b',').enumerate() {
            if out.len() > VALUE_BYTES_MAX {
                return Err(RewriteFailed);
            }
            if position > 0 {
                out.push(b',');
            }
            let trimmed = element.trim_ascii();
            match replace(regex, trimmed, template)? {
                Some(replaced) => {
                    out.extend_from_slice(&replaced);
                    changed = true;
                }
                None => out.extend_from_slice(element),
            }
        }
        if changed {
            free = grow(free, value.len(), out.len())?;
            check_value(&out)?;
            headers.replace_at(index, &out);
        }
    }
    Ok(())
}

/// What is free after a value has been replaced.
fn grow(free: usize, before: usize, after: usize) -> Result<usize, RewriteFailed> {
    (free + before).checked_sub(after).ok_or(RewriteFailed)
}

/// The template with what the expression found in `subject`, or `None` where it does not match.
///
/// # Errors
/// When the result is too long.
pub fn replace(regex: &Regex, subject: &[u8], template: &[u8]) -> Result<Option<Vec<u8>>, RewriteFailed> {
    let Some(captures) = regex.captures(subject) else { return Ok(None) };
    let mut out = Vec::with_capacity(template.len() + subject.len());
    let mut bytes = template.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                out.extend_from_slice(captures.get(usize::from(digit - b'0')).unwrap_or_default());
            }
            Some(b'x') => {
                let digits = [bytes.next(), bytes.next()];
                let value = digits
                    .iter()
                    .try_fold(0, |value: u32, digit| Some(value * 16 + char::from((*digit)?).to_digit(16)?));
                out.push(u8::try_from(value.ok_or(RewriteFailed)?).map_err(|_| RewriteFailed)?);
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
        if out.len() > VALUE_BYTES_MAX {
            return Err(RewriteFailed);
        }
    }
    Ok(Some(out))
}

/// Blanks around a value are no part of it (RFC 9110 §5.5); they are sent as the rule wrote them.
fn check_value(value: &[u8]) -> Result<(), RewriteFailed> {
    if value.len() <= VALUE_BYTES_MAX && is_valid_value(value) { Ok(()) } else { Err(RewriteFailed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new();
        head.set_target(target.as_bytes());
        for (name, value) in fields {
            head.headers_mut().append(name.as_bytes(), value.as_bytes());
        }
        head
    }

    #[test]
    fn an_absolute_target_follows_the_host() {
        let check = |target: &str, host: &str, expected: Result<&str, RewriteFailed>| {
            let mut head = request(target, &[("host", host)]);
            let done = follow_host(&mut head);
            assert_eq!(
                done.map(|()| String::from_utf8_lossy(head.target()).into_owned()),
                expected.map(str::to_owned)
            );
        };
        check("/a?b=http://c/", "other", Ok("/a?b=http://c/"));
        check("http://t/a", "other", Ok("http://other/a"));
        check("http://t", "other:8", Ok("http://other:8"));
        check("http://t?q", "other", Ok("http://other?q"));
        check("http://t/a", "t", Ok("http://t/a"));
        check("http://t/a", "o p", Err(RewriteFailed));
        check("*", "other", Ok("*"));
    }

    #[test]
    fn replacements_of_many_fields_share_the_room() {
        let regex = Regex::new("(.*)", false).unwrap();
        let name = FieldName::new(b"x");
        let check = |free: usize,
                     values: &[&str],
                     template: &str,
                     expected: Result<&[&str], RewriteFailed>| {
            let fields: Vec<_> = values.iter().map(|value| ("x", *value)).collect();
            for in_lists in [false, true] {
                let mut head = request("/", &fields);
                let headers = head.headers_mut();
                let done = match in_lists {
                    false => replace_header(headers, &name, &regex, template.as_bytes(), free),
                    true => replace_value(headers, &name, &regex, template.as_bytes(), free),
                };
                let values: Vec<_> =
                    headers.get_all(b"x").map(|value| String::from_utf8_lossy(value).into_owned()).collect();
                assert_eq!(
                    done.map(|()| values),
                    expected.map(|values| values.iter().map(|v| v.to_string()).collect())
                );
            }
        };
        check(2, &["a", "b"], r"\1\1", Ok(&["aa", "bb"]));
        check(1, &["a", "b"], r"\1\1", Err(RewriteFailed));
        check(0, &["aa", "bb"], "c", Ok(&["c", "c"]));
        check(3, &["aa", "b"], "12345", Err(RewriteFailed));
    }

    #[test]
    fn a_list_of_many_elements_ends_early() {
        let regex = Regex::new(".*", false).unwrap();
        let mut head = request("/", &[("x", &",".repeat(10_000))]);
        let template = [b'b'; 1000];
        assert_eq!(
            replace_value(head.headers_mut(), &FieldName::new(b"x"), &regex, &template, usize::MAX / 2),
            Err(RewriteFailed)
        );
    }
}
