//! HTTP/2 frame by frame, for tests that break its rules: nothing is checked, nothing is answered by itself but the
//! peer's settings.

use crate::Peer;

/// What opens a client's connection.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap_or_default())
    }

    /// The status of HEADERS, when it is one that HPACK has a number for.
    pub fn status(&self) -> Option<u16> {
        // A change of the table's size may come first.
        let first = self.payload.iter().find(|byte| **byte & 0xe0 != 0x20)?;
        match first {
            0x88 => Some(200),
            0x89 => Some(204),
            0x8b => Some(304),
            0x8c => Some(400),
            0x8d => Some(404),
            0x8e => Some(500),
            _ => None,
        }
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A field block without compression.
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            // Seven bits of a length, the rest in sevens.
            if text.len() < 127 {
                out.push(u8::try_from(text.len()).unwrap_or(0));
            } else {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
                    rest /= 128;
                }
                out.push(u8::try_from(rest).unwrap_or(0));
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// The field block of a request for `path`.
pub fn request(path: &str) -> Vec<u8> {
    fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", path)])
}

/// A connection on which both sides have exchanged settings.
pub struct Frames {
    pub peer: Peer,
}

impl Frames {
    /// As a client, with these settings.
    pub async fn client(mut peer: Peer, settings: &[(u16, u32)]) -> Self {
        peer.send([PREFACE, &frame(SETTINGS, 0, 0, &encode(settings))].concat()).await;
        Self::open(peer).await
    }

    /// As a server, with these settings.
    pub async fn server(mut peer: Peer, settings: &[(u16, u32)]) -> Self {
        peer.expect(PREFACE).await;
        peer.send(frame(SETTINGS, 0, 0, &encode(settings))).await;
        Self::open(peer).await
    }

    async fn open(peer: Peer) -> Self {
        let mut frames = Self { peer };
        let settings = frames.next().await;
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0), "{settings:?}");
        frames.send(SETTINGS, ACK, 0, &[]).await;
        frames
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.peer.send(frame(kind, flags, stream, payload)).await;
    }

    /// A request without body.
    pub async fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &request(path)).await;
    }

    /// The next frame.
    pub async fn next(&mut self) -> Frame {
        let head = self.peer.take(9).await;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap_or_default()) & 0x7fff_ffff;
        let payload = if length == 0 { Vec::new() } else { self.peer.take(length).await };
        Frame { kind: head[3], flags: head[4], stream, payload }
    }

    /// The next frame of this kind, whatever comes before it.
    pub async fn wait(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await;
            if frame.kind == kind {
                return frame;
            }
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        }
    }
}

fn encode(settings: &[(u16, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}
