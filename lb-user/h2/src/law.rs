//! What the head of a frame, or a setting, proves wrong before the frame layer sees it: where that layer is laxer than
//! RFC 9113 or ends the connection with another code than the RFC names.

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;

const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

const ENABLE_PUSH: u16 = 0x2;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// RFC 9113 §6.9.1: the largest window.
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// A violation of the connection, which ends it with this code (RFC 9113 §7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Violation {
    Protocol = 1,
    FlowControl = 3,
    FrameSize = 6,
}

impl Violation {
    /// The code that GOAWAY carries.
    pub const fn code(self) -> u32 {
        self as u32
    }
}

/// What must hold for the frames that one side sends.
#[derive(Debug)]
pub struct Law {
    of_server: bool,
    started: bool,
    /// The setting that is being read, and how much of it is there.
    entry: [u8; 6],
    entry_length: usize,
    connect_protocol: bool,
}

impl Law {
    pub fn new(of_server: bool) -> Self {
        Self { of_server, started: false, entry: [0; 6], entry_length: 0, connect_protocol: false }
    }

    /// Looks at the head of a frame: its type, its flags and the length of its payload.
    ///
    /// # Errors
    /// When the connection must end.
    pub fn frame(&mut self, kind: u8, flags: u8, length: u32) -> Result<(), Violation> {
        let has = |flag: u8| flags & flag != 0;
        // RFC 9113 §3.4: settings come first.
        if !self.started && (kind != SETTINGS || has(ACK)) {
            return Err(Violation::Protocol);
        }
        self.started = true;
        self.entry_length = 0;
        // §4.2: sizes are defined, or too small for what must be there.
        let padding = u32::from(has(PADDED));
        let sound = match kind {
            DATA => length >= padding,
            HEADERS => length >= padding + if has(WITH_PRIORITY) { 5 } else { 0 },
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if has(ACK) => length == 0,
            SETTINGS => length.is_multiple_of(6),
            PUSH_PROMISE => length >= padding + 4,
            PING => length == 8,
            GOAWAY => length >= 8,
            _ => true,
        };
        if sound { Ok(()) } else { Err(Violation::FrameSize) }
    }

    /// Looks at the next bytes of the payload of SETTINGS, which may come in any pieces.
    ///
    /// # Errors
    /// When the connection must end.
    pub fn settings(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        for &byte in bytes {
            self.entry[self.entry_length] = byte;
            self.entry_length += 1;
            if self.entry_length == self.entry.len() {
                self.entry_length = 0;
                let [a, b, value @ ..] = self.entry;
                self.setting(u16::from_be_bytes([a, b]), u32::from_be_bytes(value))?;
            }
        }
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Violation> {
        match id {
            // RFC 9113 §6.5.2: a server allows no push.
            ENABLE_PUSH if self.of_server && value != 0 => Err(Violation::Protocol),
            INITIAL_WINDOW_SIZE if value > WINDOW_MAX => Err(Violation::FlowControl),
            // RFC 8441 §3: not taken back.
            ENABLE_CONNECT_PROTOCOL if value == 0 && self.connect_protocol => Err(Violation::Protocol),
            ENABLE_CONNECT_PROTOCOL => {
                self.connect_protocol = value != 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first violation of a server, or of a client, in frames behind their settings.
    fn check(of_server: bool, frames: &[(u8, u8, &[u8])], expected: Option<Violation>) {
        let mut law = Law::new(of_server);
        let first = law.frame(SETTINGS, 0, 0).err();
        let found = frames.iter().find_map(|&(kind, flags, payload)| {
            let length = u32::try_from(payload.len()).unwrap();
            let head = law.frame(kind, flags, length);
            let all = if kind == SETTINGS { head.and_then(|()| law.settings(payload)) } else { head };
            all.err()
        });
        assert_eq!((first, found), (None, expected), "{frames:?}");
    }

    #[test]
    fn sizes() {
        let size = Some(Violation::FrameSize);
        for (kind, flags, lengths, wrong) in [
            (DATA, 0, &[0, 1, 30][..], &[][..]),
            (DATA, PADDED, &[1, 9], &[0]),
            (HEADERS, 0, &[0, 9], &[]),
            (HEADERS, PADDED, &[1], &[0]),
            (HEADERS, WITH_PRIORITY, &[5, 9], &[0, 4]),
            (HEADERS, WITH_PRIORITY | PADDED, &[6], &[5]),
            (PRIORITY, 0, &[5], &[0, 4, 6]),
            (RST_STREAM, 0, &[4], &[0, 3, 5]),
            (SETTINGS, 0, &[0, 6, 12], &[1, 5, 7]),
            (SETTINGS, ACK, &[0], &[1, 6]),
            (PUSH_PROMISE, 0, &[4], &[3]),
            (PING, ACK, &[8], &[0, 7, 9]),
            (GOAWAY, 0, &[8, 30], &[0, 7]),
            (WINDOW_UPDATE, 0, &[4], &[0, 3, 5]),
            (0x9, 0, &[0, 1], &[]),
            (0x42, 0xff, &[0, 1], &[]),
        ] {
            for &length in lengths {
                check(false, &[(kind, flags, &[0; 30][..length])], None);
            }
            for &length in wrong {
                check(false, &[(kind, flags, &[0; 30][..length])], size);
            }
        }
    }

    #[test]
    fn settings() {
        let protocol = Some(Violation::Protocol);
        check(false, &[(SETTINGS, 0, &[0, 2, 0, 0, 0, 1])], None);
        check(true, &[(SETTINGS, 0, &[0, 2, 0, 0, 0, 1])], protocol);
        check(true, &[(SETTINGS, 0, &[0, 2, 0, 0, 0, 0])], None);
        check(false, &[(SETTINGS, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])], None);
        check(
            false,
            &[(SETTINGS, 0, &[0, 3, 0, 0, 0, 1, 0, 4, 0x80, 0, 0, 0])],
            Some(Violation::FlowControl),
        );
        let (on, off) = ((SETTINGS, 0, &[0, 8, 0, 0, 0, 1][..]), (SETTINGS, 0, &[0, 8, 0, 0, 0, 0][..]));
        check(true, &[off, on, on], None);
        check(true, &[on, off], protocol);
    }

    #[test]
    fn settings_come_first() {
        for (kind, flags) in [(PING, 0), (SETTINGS, ACK), (HEADERS, 5), (0x42, 0), (WINDOW_UPDATE, 0)] {
            assert_eq!(Law::new(true).frame(kind, flags, 0), Err(Violation::Protocol));
        }
    }
}
