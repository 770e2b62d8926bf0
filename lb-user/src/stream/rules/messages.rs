//! The messages that the rules of one pass look at and change.

use std::cell::OnceCell;

use sockeye_http::{RequestHead, ResponseHead};
use sockeye_sample::{Scene, Stage};

use super::scene::View;

/// The messages that rules may look at and change.
#[derive(Debug)]
pub struct Messages<'a> {
    pub request: Option<&'a mut RequestHead>,
    pub response: Option<&'a mut ResponseHead>,
    pub request_body: sockeye_sample::Body<'a>,
    pub response_body: sockeye_sample::Body<'a>,
    pub buffer: Option<sockeye_sample::Bytes<'a>>,
    /// The request that a TCP stream begins with, parsed when an expression asks for it.
    pub sniffed: Option<&'a OnceCell<RequestHead>>,
    /// The time that rules may wait is not over.
    pub waiting: bool,
    /// Whether header actions are about the response.
    pub about_response: bool,
}

impl Messages<'_> {
    pub(super) fn scene<'s>(&'s self, view: &'s View<'s>, stage: Stage) -> Scene<'s> {
        let mut scene = view.scene(stage);
        scene.request = self.request.as_deref();
        scene.response = self.response.as_deref();
        scene.request_body = self.request_body;
        scene.response_body = self.response_body;
        scene.buffer = self.buffer;
        scene.sniffed = self.sniffed;
        scene.waiting = self.waiting;
        scene
    }

    /// The fields that header actions are about, and the bytes of the start line that count with them.
    pub(super) fn edited(&self) -> Option<(&sockeye_http::Headers, usize)> {
        if self.about_response {
            self.response.as_deref().map(|response| (response.headers(), response.reason().len()))
        } else {
            self.request.as_deref().map(|request| (request.headers(), request.target().len()))
        }
    }

    pub(super) fn headers_mut(&mut self) -> Option<&mut sockeye_http::Headers> {
        if self.about_response {
            self.response.as_mut().map(|response| response.headers_mut())
        } else {
            self.request.as_mut().map(|request| request.headers_mut())
        }
    }
}
