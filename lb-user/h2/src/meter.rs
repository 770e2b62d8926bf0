//! What a peer makes us do for nothing: frames that cost us work and bring no message on.
//!
//! The meter reads frame headers out of the bytes received, beside the frame layer. Useless frames add to a balance,
//! useful traffic takes from it; a balance past the limit is a flood and ends the connection with
//! `ENHANCE_YOUR_CALM` (RFC 9113 §10.5).

use crate::law::{Law, Violation};

/// Useless frames that a connection may be ahead of its useful ones.
pub const BALANCE_MAX: u32 = 1_000;
/// Streams that a peer may have reset, beyond those that ran to their end. A page that is left in a browser resets as
/// many as it had under way, 100 by default.
pub const RESETS_MAX: u32 = 400;
/// Bytes of content, sent or received, that make up for a useless frame: peers may update two windows for each frame of
/// data, and small frames are what some of them send.
const BYTES_PER_FRAME: u64 = 256;
/// A new stream makes up for so many: settings, pings and updates come with it.
const FRAMES_PER_STREAM: u32 = 4;

/// Length of the preface that opens a client's connection.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Counts the frames of one connection.
#[derive(Debug)]
pub struct Meter {
    /// Bytes of the preface or of a payload still to be skipped.
    skip: u64,
    header: [u8; 9],
    header_length: usize,
    balance: u32,
    resets: u32,
    /// Bytes not yet turned into a frame's worth.
    content: u64,
    glitches: u32,
    settings: bool,
    law: Law,
    /// What is being skipped are settings.
    in_settings: bool,
    violation: Option<Violation>,
}

impl Meter {
    /// For the bytes that a client sends, preface included.
    pub fn of_client() -> Self {
        Self { skip: PREFACE.len() as u64, ..Self::new(Law::new(false)) }
    }

    /// For the bytes that a server sends.
    pub fn of_server() -> Self {
        Self::new(Law::new(true))
    }

    fn new(law: Law) -> Self {
        Self {
            skip: 0,
            header: [0; 9],
            header_length: 0,
            balance: 0,
            resets: 0,
            content: 0,
            glitches: 0,
            settings: false,
            law,
            in_settings: false,
            violation: None,
        }
    }

    /// Takes note of bytes received. Returns how many the frame layer may see: all of them, unless a frame among them
    /// is a [violation](Self::violation).
    pub fn received(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.violation.is_none() {
            let rest = &bytes[at..];
            if self.skip > 0 {
                let n = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
                if self.in_settings {
                    self.violation = self.law.settings(&rest[..n]).err();
                    if self.violation.is_some() {
                        // The frame stays incomplete.
                        break;
                    }
                }
                self.skip -= n as u64;
                at += n;
                continue;
            }
            let n = (self.header.len() - self.header_length).min(rest.len());
            self.header[self.header_length..][..n].copy_from_slice(&rest[..n]);
            self.header_length += n;
            if self.header_length == self.header.len() {
                self.header_length = 0;
                self.frame();
                if self.violation.is_some() {
                    break;
                }
            }
            at += n;
        }
        at
    }

    /// Why the connection must end at once, if the peer has broken a rule that the frame layer does not look at.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Takes note of bytes sent.
    pub fn sent(&mut self, bytes: usize) {
        self.credit_bytes(bytes as u64);
    }

    /// Takes note of a stream that ran to its end.
    pub fn completed(&mut self) {
        self.resets = self.resets.saturating_sub(1);
    }

    /// Takes note of something that no well-behaved peer does.
    pub fn glitch(&mut self) {
        self.glitches = self.glitches.saturating_add(1);
    }

    /// What HAProxy calls glitches: violations, and frames for nothing.
    pub fn glitches(&self) -> u32 {
        self.glitches.saturating_add(self.balance)
    }

    /// Whether the peer must be sent away. `threshold` is the configuration's number of glitches, 0 for none.
    pub fn is_flooded(&self, threshold: u32) -> bool {
        self.balance > BALANCE_MAX
            || self.resets > RESETS_MAX
            || (threshold > 0 && self.glitches() >= threshold)
    }

    /// Whether the peer's settings have come.
    pub fn has_settings(&self) -> bool {
        self.settings
    }

    fn frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.settings |= kind == 0x4;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.violation = self.law.frame(kind, flags, length).err();
        self.in_settings = kind == 0x4;
        self.skip = u64::from(length);
        match (kind, length) {
            // DATA: padding is not content, but it is paid for in windows.
            (0x0, 0) if flags & 0x1 == 0 => self.debit(),
            (0x0, length) => self.credit_bytes(u64::from(length)),
            (0x1, 0) => self.debit(),
            (0x1, _) => self.balance = self.balance.saturating_sub(FRAMES_PER_STREAM),
            (0x3, _) => {
                self.resets = self.resets.saturating_add(1);
                self.debit();
            }
            // An acknowledgement of settings or of a ping answers what we sent.
            (0x4 | 0x6, _) if flags & 0x1 != 0 => {}
            // CONTINUATION frames carry a head if they carry much.
            (0x9, length) if length >= 1_024 => {}
            _ => self.debit(),
        }
    }

    fn debit(&mut self) {
        self.balance = self.balance.saturating_add(1);
    }

    fn credit_bytes(&mut self, bytes: u64) {
        if self.balance == 0 {
            return;
        }
        self.content += bytes;
        let frames = self.content / BYTES_PER_FRAME;
        self.content %= BYTES_PER_FRAME;
        self.balance = self.balance.saturating_sub(u32::try_from(frames).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u32) -> Vec<u8> {
        let [_, a, b, c] = length.to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.resize(9 + length as usize, 0);
        frame
    }

    /// Whether so many rounds of these frames are a flood.
    fn check(rounds: usize, frames: &[(u8, u8, u32)], sent: usize, flooded: bool) {
        for piece in [1, 13, 100_000] {
            let mut meter = Meter::of_client();
            meter.received(PREFACE);
            meter.received(&frame(4, 0, 0));
            for _ in 0..rounds {
                let bytes: Vec<u8> =
                    frames.iter().flat_map(|&(kind, flags, length)| frame(kind, flags, length)).collect();
                for part in bytes.chunks(piece) {
                    meter.received(part);
                }
                meter.sent(sent);
            }
            assert_eq!(meter.is_flooded(0), flooded, "{rounds} of {frames:?}");
        }
    }

    #[test]
    fn floods() {
        let many = 1_500;
        check(many, &[(6, 0, 8)], 17, true);
        check(many, &[(4, 0, 0)], 9, true);
        check(many, &[(0, 0, 0)], 0, true);
        check(many, &[(2, 0, 5)], 0, true);
        check(many, &[(8, 0, 4)], 0, true);
        check(many, &[(9, 0, 0)], 0, true);
        check(500, &[(1, 5, 20), (3, 0, 4)], 0, true);
    }

    #[test]
    fn what_clients_do() {
        let many = 20_000;
        // An upload in frames of 16 KiB, one in small ones, a download with two updates each 16 KiB.
        check(30, &[(0, 0, 16_384)], 26, false);
        check(many, &[(0, 0, 300)], 0, false);
        check(many, &[(8, 0, 4), (8, 0, 4)], 16_384, false);
        check(many, &[(1, 5, 20), (8, 0, 4), (6, 0, 8)], 100, false);
        check(many, &[(4, 1, 0), (6, 1, 8)], 0, false);
        check(900, &[(6, 0, 8)], 0, false);
    }

    /// What the frame layer sees of these bytes behind a client's settings.
    fn check_seen(bytes: &[u8], seen: usize, violation: Option<Violation>) {
        for piece in [1, 4, 100_000] {
            let mut meter = Meter::of_client();
            meter.received(PREFACE);
            meter.received(&frame(4, 0, 0));
            let passed: usize = bytes.chunks(piece).map(|part| meter.received(part)).sum();
            assert_eq!(meter.violation(), violation);
            // Never the whole of a wrong frame, always what comes before it.
            let room = if violation.is_some() { 14 } else { 0 };
            assert!((seen..=seen + room).contains(&passed), "{passed} of {bytes:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_not_seen() {
        let ping = frame(6, 0, 8);
        check_seen(&[&ping[..], &frame(4, 0, 6), &ping].concat(), 17 + 15 + 17, None);
        check_seen(&[&ping[..], &frame(6, 0, 7), &ping].concat(), 17, Some(Violation::FrameSize));
        let window = [&[0, 0, 6, 4, 0, 0, 0, 0, 0][..], &[0, 4, 255, 0, 0, 0]].concat();
        check_seen(&[&ping[..], &window, &ping].concat(), 17, Some(Violation::FlowControl));
    }

    #[test]
    fn resets_are_forgiven_by_streams_that_end() {
        let mut meter = Meter::of_server();
        meter.received(&frame(4, 0, 0));
        for _ in 0..10 * RESETS_MAX {
            meter.received(&frame(1, 5, 20));
            meter.received(&frame(3, 0, 4));
            meter.completed();
        }
        assert!(!meter.is_flooded(0));
        assert!(!meter.is_flooded(3));
        meter.glitch();
        meter.glitch();
        meter.glitch();
        assert!(meter.is_flooded(3));
    }
}
