//! HTTP (manual 7.3.6): which message a fetch looks at.

mod authorization;
mod body;
mod captured;
mod cookies;
mod fields;
mod headers;
mod parameters;
mod start_line;

use sockeye_http::h1::{self, Limits, Strictness};
use sockeye_http::{Headers, RequestHead, ResponseHead};
use sockeye_sample::{Fetch, Scene, Stage};

/// The tables of this chapter.
pub(crate) fn all() -> [&'static [Fetch]; 7] {
    [
        authorization::FETCHES,
        body::FETCHES,
        captured::FETCHES,
        cookies::FETCHES,
        headers::FETCHES,
        parameters::FETCHES,
        start_line::FETCHES,
    ]
}

/// Whose fields a word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

impl Side {
    /// For the words that take the direction from where they stand: `hdr`, `cookie`, `payload`.
    pub(crate) fn of_stage(stage: Stage) -> Self {
        match stage {
            Stage::BackendResponseContent
            | Stage::BackendResponseHeader
            | Stage::BackendResponseBody
            | Stage::BackendStickStore
            | Stage::FrontendResponseContent
            | Stage::FrontendResponseHeader
            | Stage::FrontendResponseBody
            | Stage::TcpCheck => Self::Response,
            _ => Self::Request,
        }
    }

    /// The fields of the message.
    pub(crate) fn headers<'a>(self, scene: &Scene<'a>) -> Option<&'a Headers> {
        match self {
            Self::Request => request(scene).map(RequestHead::headers),
            Self::Response => scene.response.map(ResponseHead::headers),
        }
    }
}

/// The request: the stream's own, or what the bytes of a TCP client parse as. Says so when those are incomplete.
#[inline]
pub(crate) fn request<'a>(scene: &Scene<'a>) -> Option<&'a RequestHead> {
    scene.request.or_else(|| sniffed(scene))
}

#[inline(never)]
fn sniffed<'a>(scene: &Scene<'a>) -> Option<&'a RequestHead> {
    let (buffer, sniffed) = (scene.buffer?, scene.sniffed?);
    if Side::of_stage(scene.stage) == Side::Response {
        return None;
    }
    if let Some(head) = sniffed.get() {
        return Some(head);
    }
    let mut head = RequestHead::new();
    match h1::parse_request(buffer.bytes, &mut head, &Limits::default(), Strictness::Strict) {
        Ok(Some(_)) => Some(sniffed.get_or_init(|| head)),
        Ok(None) => {
            if !buffer.closed {
                scene.wait();
            }
            None
        }
        Err(_) => None,
    }
}
