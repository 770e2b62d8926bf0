//! `errorfile CODE FILE` (manual 4.2): a whole reply, read when the configuration is.

use std::sync::Arc;

use sockeye_syntax::words::Words;

use crate::model::{ErrorFiles, Global};
use crate::scope::{ProxyScope, Surroundings};

/// The statuses that the proxy itself may answer with.
const STATUSES: [u16; 20] =
    [200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 500, 501, 502, 503, 504];

pub(crate) fn parse(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    one(words, &mut scope.proxy.settings.errorfiles, scope.around, scope.global);
}

/// `errorloc CODE URL`, `errorloc302`, `errorloc303`: a redirection instead of an error (manual 4.2).
pub(crate) fn location(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let keyword = words.keyword().to_owned();
    let (Some(status), Some(url)) = (words.next(), words.next()) else {
        words.alert(format!("{keyword} : expects <status_code> and <url> as arguments."));
        return words.skip_rest();
    };
    if !words.end() {
        return;
    }
    let Some(code) = status.parse().ok().filter(|code| STATUSES.contains(code)) else {
        return words.alert(format!("{keyword} : status code '{status}' not handled."));
    };
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return words.alert(format!("{keyword} : '{url}' cannot stand in a header."));
    }
    let line = if keyword == "errorloc303" { "303 See Other" } else { "302 Found" };
    let reply =
        format!("HTTP/1.1 {line}\r\nCache-Control: no-cache\r\nContent-length: 0\r\nLocation: {url}\r\n\r\n");
    let files = &mut scope.proxy.settings.errorfiles.0;
    files.retain(|(known, _)| *known != code);
    files.push((code, reply.into_bytes().into()));
}

/// `errorfiles SECTION [CODE]…`: the replies of an `http-errors` section.
pub(crate) fn files(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(name) = words.expect("the name of an http-errors section") else { return words.skip_rest() };
    let Some(replies) = scope.errors.get(name) else {
        words.alert(format!("errorfiles: unknown http-errors section '{name}'."));
        return words.skip_rest();
    };
    let mut wanted = Vec::new();
    while let Some(text) = words.next() {
        match text.parse::<u16>().ok().and_then(|code| replies.reply(code).map(|reply| (code, reply.clone())))
        {
            Some(one) => wanted.push(one),
            None => words.alert(format!("errorfiles: '{name}' has no reply for status '{text}'.")),
        }
    }
    if wanted.is_empty() {
        wanted.clone_from(&replies.0);
    }
    let files = &mut scope.proxy.settings.errorfiles.0;
    files.retain(|(known, _)| !wanted.iter().any(|(code, _)| code == known));
    files.extend(wanted);
}

/// One statement into `files`.
pub(crate) fn one(words: &mut Words<'_>, files: &mut ErrorFiles, around: &Surroundings<'_>, global: &Global) {
    let (Some(status), Some(path)) = (words.next(), words.next()) else {
        words.alert("errorfile : expects <status_code> and <file> as arguments.");
        return words.skip_rest();
    };
    if !words.end() {
        return;
    }
    match read(status, path, around, global) {
        Ok((status, text)) => {
            files.0.retain(|(known, _)| *known != status);
            files.0.push((status, text));
        }
        Err(message) => words.alert(format!("errorfile : {message}")),
    }
}

fn read(
    status: &str,
    path: &str,
    around: &Surroundings<'_>,
    global: &Global,
) -> Result<(u16, Arc<[u8]>), String> {
    let text = around.loader.read(path).map_err(|_| format!("error opening file '{path}'."))?;
    let bufsize = global.tune.bufsize;
    if text.len() > bufsize {
        return Err(format!("custom error message file '{path}' larger than {bufsize} bytes."));
    }
    let code = status.parse().ok().filter(|code| STATUSES.contains(code));
    let code = code.ok_or_else(|| format!("status code '{status}' not handled."))?;
    if !text.is_empty() {
        plausible(&text).map_err(|fault| format!("'{path}': {fault}"))?;
    }
    Ok((code, text.into()))
}

/// Whether it is an HTTP reply: a status line, fields, an empty line, and as much body as announced.
fn plausible(text: &[u8]) -> Result<(), String> {
    let headers = |offset: usize| format!("unable to parse headers (error offset: {offset})");
    let head_end = find(text, b"\r\n\r\n")
        .map(|at| at + 4)
        .or_else(|| find(text, b"\n\n").map(|at| at + 2))
        .ok_or_else(|| headers(0))?;
    let mut lines = text[..head_end].split(|byte| *byte == b'\n');
    let status_line = lines.next().unwrap_or_default();
    let digits = status_line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let is_status = digits.trim_ascii().len() == 3 && digits.trim_ascii().iter().all(u8::is_ascii_digit);
    if !status_line.starts_with(b"HTTP/") || !is_status {
        return Err(headers(0));
    }
    let mut offset = status_line.len() + 1;
    let mut announced = None;
    for line in lines {
        let field = line.trim_ascii_end();
        if !field.is_empty() {
            let colon = field.iter().position(|byte| *byte == b':').ok_or_else(|| headers(offset))?;
            let name = std::str::from_utf8(&field[..colon]).unwrap_or_default();
            if !super::option::is_token(name) {
                return Err(headers(offset));
            }
            if name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(field[colon + 1..].trim_ascii()).unwrap_or_default();
                announced = Some(value.parse::<usize>().map_err(|_| headers(offset))?);
            }
        }
        offset += line.len() + 1;
    }
    let body = text.len() - head_end;
    match announced {
        Some(length) if length != body => {
            Err(format!("payload size does not match the announced content-length ({body} != {length})"))
        }
        _ => Ok(()),
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let check = |text: &str, expected: Result<(), &str>| {
            assert_eq!(plausible(text.as_bytes()), expected.map_err(str::to_owned), "{text:?}");
        };
        check("HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<html>", Ok(()));
        check("HTTP/1.1 503 x\nContent-Length: 3\n\nfoo", Ok(()));
        check("HTTP/1.1 200 \r\n\r\n", Ok(()));
        check(
            "HTTP/1.1 503 x\r\nContent-Length: 50\r\n\r\nfoo",
            Err("payload size does not match the announced content-length (3 != 50)"),
        );
        check("HTTP/1.1 503 x\r\nno colon\r\n\r\n", Err("unable to parse headers (error offset: 16)"));
        for wrong in ["root:x:0", "HTTP/1.1\r\n\r\n", "HTTP/1.1 5 x\r\n\r\n", "HTTP/1.1 503 x\r\nA: b\r\n"] {
            check(wrong, Err("unable to parse headers (error offset: 0)"));
        }
    }
}
