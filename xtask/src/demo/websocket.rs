//! The least of RFC 6455 that echoes: the handshake's key, and whole frames sent back as they came.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest frame that is echoed; a longer one ends the conversation.
const FRAME_BYTES_MAX: u64 = 1 << 20;
/// RFC 6455 section 5.2.
const OPCODE_CLOSE: u8 = 8;
const OPCODE_PING: u8 = 9;
const OPCODE_PONG: u8 = 10;

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub(super) fn accept_key(key: &[u8]) -> String {
    base64(&sha1(&[key, GUID].concat()))
}

/// Sends every frame back unmasked, answers pings, and ends after the peer's close.
pub(super) async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let [first, second] = read(&mut stream).await?;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(read(&mut stream).await?)),
            127 => u64::from_be_bytes(read(&mut stream).await?),
            short => u64::from(short),
        };
        let masked = second & 0x80 != 0;
        if length > FRAME_BYTES_MAX || !masked {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mask: [u8; 4] = read(&mut stream).await?;
        let mut payload = Vec::new();
        (&mut stream).take(length).read_to_end(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);

        let opcode = first & 0x0f;
        let reply = if opcode == OPCODE_PING { (first & 0xf0) | OPCODE_PONG } else { first };
        let mut frame = vec![reply];
        match u16::try_from(payload.len()) {
            Ok(short @ 0..126) => frame.push(short.to_be_bytes()[1]),
            Ok(medium) => {
                frame.push(126);
                frame.extend(medium.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(payload);
        stream.write_all(&frame).await?;
        if opcode == OPCODE_CLOSE {
            return stream.shutdown().await;
        }
    }
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// SHA-1, FIPS 180-4: only the WebSocket handshake still asks for it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let bits = (message.len() as u64) * 8;
    let end = padded.len();
    padded[end - 8..].copy_from_slice(&bits.to_be_bytes());

    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for i in 16..80 {
            words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in words.iter().enumerate() {
            let (mix, constant) = match i / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6u32),
            };
            let sum =
                a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *total = total.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            (0..3).fold(0usize, |group, i| group << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = char::from(DIGITS[group >> (18 - 6 * i) & 63]);
            text.push(if i > chunk.len() { '=' } else { digit });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_is_the_one_of_rfc_6455() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_pads() {
        for (input, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(input.as_bytes()), expected);
        }
    }

    #[tokio::test]
    async fn frames_come_back_and_close_ends() {
        let (mut client, server) = tokio::io::duplex(64);
        let server = tokio::spawn(echo(server));
        client.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.unwrap();
        assert_eq!(read::<4>(&mut client).await.unwrap(), [0x81, 2, b'h', b'i']);
        client.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(read::<2>(&mut client).await.unwrap(), [0x8a, 0]);
        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(read::<2>(&mut client).await.unwrap(), [0x88, 0]);
        server.await.unwrap().unwrap();
    }
}
