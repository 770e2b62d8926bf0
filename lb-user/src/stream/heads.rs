//! Heads and encoder output, lent per thread: a request allocates none of them once the thread is warm.

use std::cell::RefCell;

use sockeye_http::{RequestHead, ResponseHead};

use super::rules::decided::Decided;

/// Sets of storage a thread keeps.
const SPARE_MAX: usize = 256;
/// A set whose storage grew beyond this is not kept: one large request must not cost memory forever.
const KEPT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    #[allow(clippy::vec_box, reason = "a set is some hundred bytes and moves with every request")]
    static SPARE: RefCell<Vec<Box<Storage>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub struct Storage {
    pub request: RequestHead,
    pub response: ResponseHead,
    /// What rules decided; only touched where a proxy has rules.
    pub decided: Decided,
    /// Whether `decided` or `body` were touched.
    pub ruled: bool,
    /// The decoded part of a chunked body that is at hand, for expressions.
    pub body: Vec<u8>,
    pub body_whole: bool,
    /// What was waited for of the response's content, decoded, and whether that is all of it.
    pub response_body: Vec<u8>,
    pub response_whole: bool,
    request_bytes: Vec<u8>,
    response_bytes: Vec<u8>,
}

/// The two heads of an exchange and the storage to encode them.
#[derive(Debug)]
pub struct Heads(Option<Box<Storage>>);

impl Heads {
    pub fn take() -> Self {
        Self(Some(SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()))
    }
}

impl Storage {
    /// Empty storage for the encoded request.
    pub fn take_request_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.request_bytes)
    }

    pub fn give_request_bytes(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.request_bytes = bytes;
    }

    /// Empty storage for the encoded response.
    pub fn take_response_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.response_bytes)
    }

    pub fn give_response_bytes(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.response_bytes = bytes;
    }

    fn bytes(&self) -> usize {
        self.request.headers().text_bytes()
            + self.response.headers().text_bytes()
            + self.request_bytes.capacity()
            + self.response_bytes.capacity()
            + self.body.capacity()
            + self.response_body.capacity()
    }
}

impl std::ops::Deref for Heads {
    type Target = Storage;

    fn deref(&self) -> &Storage {
        self.0.as_deref().expect("taken only by drop")
    }
}

impl std::ops::DerefMut for Heads {
    fn deref_mut(&mut self) -> &mut Storage {
        self.0.as_deref_mut().expect("taken only by drop")
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        let Some(mut storage) = self.0.take() else { return };
        if storage.bytes() > KEPT_BYTES_MAX {
            return;
        }
        storage.request.clear();
        storage.response.clear();
        // Expressions of a log line may set variables where no rule runs.
        if std::mem::take(&mut storage.ruled) || storage.decided.is_touched() {
            storage.decided = Decided::default();
            storage.body.clear();
            storage.body_whole = false;
            storage.response_body.clear();
            storage.response_whole = false;
        }
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(storage);
            }
        });
    }
}
