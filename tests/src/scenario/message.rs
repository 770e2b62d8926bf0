//! Whole HTTP/1 messages as raw bytes, framing included.

use crate::Peer;
use crate::http::header;

/// The next request on this connection; nothing when it ends before one is complete.
pub(super) async fn request(peer: &mut Peer) -> Option<Vec<u8>> {
    let mut raw = peer.try_until(b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&raw).into_owned();
    body(peer, &head, &mut raw).await?;
    Some(raw)
}

/// The next response with the interim ones before it. The bytes so far are the error when the stream ends too early.
pub(super) async fn response(peer: &mut Peer, to_head: bool) -> Result<Vec<u8>, Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        let Some(head) = peer.try_until(b"\r\n\r\n").await else {
            raw.extend(peer.take_pending());
            return Err(raw);
        };
        raw.extend(&head);
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if status.starts_with('1') && status != "101" {
            continue;
        }
        if to_head || ["101", "204", "304"].contains(&status.as_str()) {
            return Ok(raw);
        }
        let framed =
            header(&head, "content-length").is_some() || header(&head, "transfer-encoding").is_some();
        if !framed {
            raw.extend(peer.rest().await);
            return Ok(raw);
        }
        return match body(peer, &head, &mut raw).await {
            Some(()) => Ok(raw),
            None => Err(raw),
        };
    }
}

async fn body(peer: &mut Peer, head: &str, raw: &mut Vec<u8>) -> Option<()> {
    if header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = peer.try_until(b"\r\n").await?;
            let digits = String::from_utf8_lossy(&line).into_owned();
            raw.extend(line);
            let size = usize::from_str_radix(digits.trim_end().split(';').next()?, 16).ok()?;
            if size == 0 {
                loop {
                    let trailer = peer.try_until(b"\r\n").await?;
                    raw.extend(&trailer);
                    if trailer == b"\r\n" {
                        return Some(());
                    }
                }
            }
            raw.extend(peer.try_take(size + 2).await?);
        }
    }
    if let Some(length) = header(head, "content-length") {
        raw.extend(peer.try_take(length.parse().ok()?).await?);
    }
    Some(())
}
