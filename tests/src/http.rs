//! The little HTTP that the harness itself needs: reading a whole message, writing a plain one.
//!
//! Deliberately dumb: what the daemon emits is compared byte for byte by the tests, not judged by this reader.

/// A response, or a request, as read from a peer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Start line and headers with the empty line, exactly as received.
    pub head: String,
    /// Content with the chunked encoding taken off.
    pub body: Vec<u8>,
}

impl Reply {
    /// The number after `HTTP/1.x `, 0 in a request.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The start line without its end.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The second word of a request line.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The value of the first header of this name in a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A GET without frills.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// A POST with a content-length.
pub fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A 200 with a content-length.
pub fn ok(body: &str) -> String {
    status(200, "OK", body)
}

/// A response with a content-length.
pub fn status(code: u16, reason: &str, body: &str) -> String {
    format!("HTTP/1.1 {code} {reason}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The bytes of a chunked body in chunks of `size`, last chunk included.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}
