//! The arguments of `return`, `deny` and `tarpit`.

use std::sync::Arc;

use sockeye_sample::{Purpose, Stages};
use sockeye_syntax::words::Words;

use super::{Context, argument};
use crate::reply::{Content, ReplyRule, has_default};

/// Which action the reply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyOf {
    Return,
    Deny,
    /// In responses: 502 by default.
    DenyResponse,
    Tarpit,
    /// `http-error`: the status is required.
    HttpError,
}

/// What was named as content.
enum Source<'w> {
    Errorfile(&'w str),
    Errorfiles(&'w str),
    File(&'w str),
    FormatFile(&'w str),
    String(&'w str),
    FormatString(&'w str),
    Default,
}

/// Reads up to the condition or the end.
pub fn reply(
    words: &mut Words<'_>,
    of: ReplyOf,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<ReplyRule, String> {
    let mut status = None;
    let mut named = false;
    let mut content_type: Option<Box<[u8]>> = None;
    let mut source = None;
    let mut headers = Vec::new();
    while let Some(word) = words.peek() {
        if matches!(word, "if" | "unless") {
            break;
        }
        words.next();
        match word {
            "status" | "deny_status" if word == "status" || of != ReplyOf::Return => {
                let text = argument(words, "a status code")?;
                let code = text.parse().ok().filter(|code| (200..=599).contains(code));
                status = Some(code.ok_or_else(|| {
                    format!("'{word}' expects a status code between 200 and 599, not '{text}'")
                })?);
                // `deny_status` is older than replies of one's own and means the section's.
                named |= word == "status";
            }
            "content-type" => content_type = Some(argument(words, "a content type")?.as_bytes().into()),
            "hdr" => {
                let name = argument(words, "a header name")?;
                if !sockeye_http::is_valid_name(name.as_bytes()) {
                    return Err(format!("'{name}' is no name of a header"));
                }
                let text = argument(words, "a header value")?;
                let value = context.format(words, text, Purpose::Header, stages)?;
                if ["content-length", "transfer-encoding"].contains(&&*name.to_ascii_lowercase()) {
                    // The payload says how long it is.
                    words.warning(format!("header '{name}' always ignored by the http reply."));
                    continue;
                }
                headers.push((name.to_ascii_lowercase().into_bytes().into(), value));
            }
            "errorfile" | "errorfiles" | "file" | "lf-file" | "string" | "lf-string"
            | "default-errorfiles" => {
                if source.is_some() {
                    return Err(format!("'{word}': the content was chosen already"));
                }
                let mut text = || argument(words, "an argument");
                source = Some(match word {
                    "errorfile" => Source::Errorfile(text()?),
                    "errorfiles" => Source::Errorfiles(text()?),
                    "file" => Source::File(text()?),
                    "lf-file" => Source::FormatFile(text()?),
                    "string" => Source::String(text()?),
                    "lf-string" => Source::FormatString(text()?),
                    _ => Source::Default,
                });
            }
            other => {
                return Err(format!(
                    "expects 'status', 'content-type', 'hdr', a kind of content, 'if' or 'unless', but found '{other}'"
                ));
            }
        }
    }
    let status: u16 = match (status, of) {
        (Some(status), _) => status,
        (None, ReplyOf::Return) => 200,
        (None, ReplyOf::Deny) => 403,
        (None, ReplyOf::DenyResponse) => 502,
        (None, ReplyOf::Tarpit) => 500,
        (None, ReplyOf::HttpError) => return Err("expects 'status' followed by a status code".to_owned()),
    };
    let content = content(words, source, status, content_type, (of, named), context, stages)?;
    Ok(ReplyRule { status, content, headers })
}

fn content(
    words: &mut Words<'_>,
    source: Option<Source<'_>>,
    status: u16,
    content_type: Option<Box<[u8]>>,
    (of, named): (ReplyOf, bool),
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Content, String> {
    let own = |status: u16| match has_default(status) {
        true => Ok(()),
        false => Err(format!("status code '{status}' is not one that the proxy answers with itself")),
    };
    let read = |context: &Context<'_>, path: &str| -> Result<Vec<u8>, String> {
        let bytes =
            context.loader.read(path).map_err(|error| format!("failed to open file '{path}' ({error})"))?;
        if bytes.len() > context.bufsize {
            return Err(format!("file '{path}' is larger than {} bytes ('tune.bufsize')", context.bufsize));
        }
        Ok(bytes)
    };
    let typed = |content_type: &Option<Box<[u8]>>, empty: bool| match (content_type, empty) {
        (None, false) => Err("a payload needs 'content-type'".to_owned()),
        _ => Ok(()),
    };
    if matches!(status, 204 | 304)
        && let Some(Source::File(_) | Source::FormatFile(_) | Source::String(_) | Source::FormatString(_)) =
            source
        && content_type.is_some()
    {
        return Err(format!("No body expected for {status} responses"));
    }
    Ok(match source {
        None if named || matches!(of, ReplyOf::Return | ReplyOf::HttpError) => Content::Empty,
        None | Some(Source::Default) => {
            own(status)?;
            Content::Default
        }
        Some(Source::Errorfile(path)) => {
            own(status)?;
            let bytes = read(context, path)?;
            if !bytes.is_empty() && !bytes.starts_with(b"HTTP/") {
                return Err(format!("'{path}' does not begin with an HTTP status line"));
            }
            Content::Whole(bytes.into())
        }
        Some(Source::Errorfiles(name)) => {
            own(status)?;
            match (context.http_errors)(name, status) {
                Some(Some(reply)) => Content::Whole(reply),
                // HAProxy answers with an empty body where the section has no file.
                Some(None) => Content::Empty,
                None => return Err(format!("unknown http-errors section '{name}'")),
            }
        }
        Some(Source::File(path)) => {
            let body: Arc<[u8]> = read(context, path)?.into();
            typed(&content_type, body.is_empty())?;
            Content::Raw { content_type, body }
        }
        Some(Source::String(text)) => {
            typed(&content_type, text.is_empty())?;
            Content::Raw { content_type, body: text.as_bytes().into() }
        }
        Some(Source::FormatFile(path)) => {
            let bytes = read(context, path)?;
            typed(&content_type, bytes.is_empty())?;
            let text = String::from_utf8(bytes).map_err(|_| format!("'{path}' is not UTF-8 text"))?;
            Content::Formatted { content_type, body: context.format(words, &text, Purpose::Text, stages)? }
        }
        Some(Source::FormatString(text)) => {
            typed(&content_type, text.is_empty())?;
            Content::Formatted { content_type, body: context.format(words, text, Purpose::Text, stages)? }
        }
    })
}
