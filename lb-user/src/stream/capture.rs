//! What a stream keeps of its messages for its log line and for `capture.req.hdr` and its kin (manual 4.2 "capture").

use sockeye_config::model;
use sockeye_config::model::{CaptureSlot, CookieCapture};
use sockeye_http::{Headers, RequestHead, ResponseHead};

/// The values of a frontend's slots; a slot that nothing filled is `None`.
#[derive(Debug)]
pub struct Captured {
    request: Box<[Option<Box<[u8]>>]>,
    response: Box<[Option<Box<[u8]>>]>,
    request_cookie: Option<Box<[u8]>>,
    response_cookie: Option<Box<[u8]>>,
}

impl Captured {
    /// Empty slots, for rules to fill. `None` for a frontend that captures nothing.
    pub fn empty(frontend: &model::Captures) -> Option<Box<Self>> {
        Self::of_request(frontend, &RequestHead::new())
    }

    /// Keeps what the request has, before rules change it. `None` for a frontend that captures nothing.
    pub fn of_request(frontend: &model::Captures, head: &RequestHead) -> Option<Box<Self>> {
        if *frontend == model::Captures::default() {
            return None;
        }
        let cookies =
            || head.headers().get_all(b"cookie").flat_map(|field| field.split(|byte| *byte == b';'));
        Some(Box::new(Self {
            request: headers(&frontend.request, head.headers()),
            response: frontend.response.iter().map(|_| None).collect(),
            request_cookie: frontend.cookie.as_ref().and_then(|kept| cookie(kept, cookies())),
            response_cookie: None,
        }))
    }

    /// Keeps what a server's response has.
    pub fn add_response(&mut self, frontend: &model::Captures, head: &ResponseHead) {
        for (kept, new) in self.response.iter_mut().zip(headers(&frontend.response, head.headers())) {
            if new.is_some() {
                *kept = new;
            }
        }
        let cookies = head.headers().get_all(b"set-cookie");
        let cookies = cookies.filter_map(|field| field.split(|byte| *byte == b';').next());
        self.response_cookie = frontend.cookie.as_ref().and_then(|kept| cookie(kept, cookies));
    }

    /// Keeps what a rule captured.
    pub fn set(&mut self, frontend: &model::Captures, of_request: bool, slot: usize, text: &[u8]) {
        let (slots, declared) = match of_request {
            true => (&mut self.request, &frontend.request),
            false => (&mut self.response, &frontend.response),
        };
        if let (Some(kept), Some(declared)) = (slots.get_mut(slot), declared.get(slot)) {
            *kept = Some(text[..text.len().min(declared.length)].into());
        }
    }

    /// The slots of requests or of responses, in file order.
    pub fn slots(&self, of_request: bool) -> impl Iterator<Item = Option<&[u8]>> {
        let slots = if of_request { &self.request } else { &self.response };
        slots.iter().map(Option::as_deref)
    }

    /// The cookie of the request or of the response, `name=value`.
    pub fn cookie(&self, of_request: bool) -> Option<&[u8]> {
        if of_request { self.request_cookie.as_deref() } else { self.response_cookie.as_deref() }
    }
}

/// The last field of each name, cut to its slot.
fn headers(slots: &[CaptureSlot], headers: &Headers) -> Box<[Option<Box<[u8]>>]> {
    let last = |slot: &CaptureSlot| {
        let value = headers.get_all(slot.header.as_ref()?.as_bytes()).last()?;
        Some(value[..value.len().min(slot.length)].into())
    };
    slots.iter().map(last).collect()
}

/// The first cookie that begins as asked for.
fn cookie<'h>(kept: &CookieCapture, mut cookies: impl Iterator<Item = &'h [u8]>) -> Option<Box<[u8]>> {
    let found = cookies.find_map(|cookie| {
        let cookie = cookie.trim_ascii();
        cookie.starts_with(kept.prefix.as_bytes()).then_some(cookie)
    })?;
    Some(found[..found.len().min(kept.length)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: &str, length: usize, field: &str, expected: Option<&str>) {
        let mut head = RequestHead::new();
        head.headers_mut().append(b"cookie", field.as_bytes());
        let frontend = model::Captures {
            cookie: Some(CookieCapture { prefix: prefix.into(), length }),
            request: vec![CaptureSlot { header: Some("Cookie".into()), length: 3 }],
            response: Vec::new(),
        };
        let captured = Captured::of_request(&frontend, &head).unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        assert_eq!(text(captured.cookie(true)).as_deref(), expected, "{prefix} {field}");
        assert_eq!(captured.slots(true).map(text).collect::<Vec<_>>(), [Some(field[..3].to_owned())]);
    }

    #[test]
    fn cookies() {
        check("sid=", 10, "a=b; sid=1;sid=2", Some("sid=1"));
        check("sid=", 5, "sid=123456", Some("sid=1"));
        check("si", 10, "xsid=0; side=3", Some("side=3"));
        check("sid=", 10, "side=3", None);
    }
}
