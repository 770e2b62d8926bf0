//! Replies that rules make: `return`, `deny`, `tarpit` (manual 4.4 "return").

use std::sync::Arc;

use sockeye_sample::Format;

/// A reply of a rule.
#[derive(Debug)]
pub struct ReplyRule {
    pub status: u16,
    pub content: Content,
    /// Only sent with what is not a file that holds a whole response.
    pub headers: Vec<(Box<[u8]>, Format)>,
}

/// Where the reply comes from.
#[derive(Debug)]
pub enum Content {
    /// Neither a payload nor a file: an empty body.
    Empty,
    /// The proxy's own reply of that status (`errorfile`, `http-error`, or the built-in one).
    Default,
    /// A whole response, read from a file when the configuration was.
    Whole(Arc<[u8]>),
    /// A payload as it is, and its type.
    Raw { content_type: Option<Box<[u8]>>, body: Arc<[u8]> },
    /// A payload made per reply.
    Formatted { content_type: Option<Box<[u8]>>, body: Format },
}

/// Statuses for which a proxy has replies of its own.
pub const STATUSES: [u16; 20] =
    [200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 431, 500, 501, 502, 503];

/// Whether a proxy has a reply of its own for `status`.
pub fn has_default(status: u16) -> bool {
    STATUSES.contains(&status) || status == 504
}
