//! `redirect location|prefix|scheme` (manual 4.2 "redirect"): what the response says.

use sockeye_http::RequestHead;
use sockeye_sample::Format;

use crate::edit::{path_of, split_query};

/// A redirection.
#[derive(Debug)]
pub struct Redirect {
    pub kind: RedirectKind,
    pub target: Format,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// What `set-cookie NAME[=value]` or `clear-cookie NAME[=]` puts into Set-Cookie.
    pub cookie: Option<Cookie>,
    pub drop_query: bool,
    pub keep_query: bool,
    /// A slash at the very end, unless there is one; meant for `drop-query`, where that is the end of the path.
    pub append_slash: bool,
    /// An empty target makes the rule not match.
    pub ignore_empty: bool,
}

/// What Set-Cookie says.
#[derive(Debug)]
pub enum Cookie {
    Fixed(Box<[u8]>),
    Formatted(Format),
}

/// What the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    /// The whole of Location.
    Location,
    /// What is put before the request's path.
    Prefix,
    /// The scheme; host and path are the request's.
    Scheme,
}

/// What Location says. `target` is the format already written; `request` is absent for responses, where only
/// whole locations exist.
pub fn location(redirect: &Redirect, target: &[u8], request: Option<&RequestHead>) -> Vec<u8> {
    let (path, query) = match request {
        Some(request) => split_query(path_of(request.target())),
        None => (&b""[..], None),
    };
    let mut out = Vec::with_capacity(target.len() + path.len() + 64);
    match redirect.kind {
        RedirectKind::Location => {
            out.extend_from_slice(target);
            if redirect.keep_query
                && let Some(query) = query
                && !query.is_empty()
            {
                out.push(if target.contains(&b'?') { b'&' } else { b'?' });
                out.extend_from_slice(query);
            }
            return out;
        }
        RedirectKind::Prefix => {
            // A prefix of "/" alone would make a location without a host of its own: "//path".
            if target != b"/" {
                out.extend_from_slice(target);
            }
        }
        RedirectKind::Scheme => {
            out.extend_from_slice(target);
            out.extend_from_slice(b"://");
            let host = request.and_then(RequestHead::host).unwrap_or_default();
            out.extend_from_slice(host);
            if path.is_empty() || path == b"*" {
                out.push(b'/');
                return out;
            }
        }
    }
    out.extend_from_slice(path);
    if !redirect.drop_query
        && let Some(query) = query
    {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    if redirect.append_slash && !out.ends_with(b"/") {
        out.push(b'/');
    }
    out
}
