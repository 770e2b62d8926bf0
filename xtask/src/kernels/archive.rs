//! The archive that a kernel unpacks as its first file system: cpio's "newc" format, described in the kernel's own
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Write};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes an archive entry by entry.
pub(super) struct Archive<W> {
    out: W,
    number: u32,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, number: 0 }
    }

    pub(super) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, FOLDER, &[], [0; 2])
    }

    pub(super) fn program(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, PROGRAM, content, [0; 2])
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, FILE, content, [0; 2])
    }

    /// A character device by its two numbers.
    pub(super) fn device(&mut self, name: &str, numbers: [u32; 2]) -> io::Result<()> {
        self.entry(name, CHARACTER_DEVICE, &[], numbers)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[], [0; 2])?;
        self.out.flush()
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], device: [u32; 2]) -> io::Result<()> {
        self.number += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        self.out.write_all(b"070701")?;
        // Inode, mode, owner, group, links, time, size, device, device of a node, length of the name, checksum.
        let fields = [self.number, mode, 0, 0, 1, 0, size, 0, 0, device[0], device[1], name_size, 0];
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Names and contents end at multiples of four bytes.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_a_head_a_name_and_a_content_each_padded() {
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out);
        archive.file("abc", b"hello").unwrap();
        archive.finish().unwrap();
        let first = "0707010000000100008\u{31}a4"; // mode 0100644 in hexadecimal
        assert_eq!(&out[..first.len()], first.as_bytes());
        assert_eq!(&out[110..124], b"abc\0\0\0hello\0\0\0"[..14].as_ref());
        assert_eq!(out.len() % 4, 0);
        assert!(String::from_utf8_lossy(&out).contains("TRAILER!!!"));
    }
}
