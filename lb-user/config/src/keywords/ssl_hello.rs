//! `option ssl-hello-chk` (manual 4.2): the hello that asks a server whether it speaks any SSL, and what counts as yes.

use std::sync::Arc;

use crate::model::{CheckExpect, CheckStep, ExpectWhat};

/// Suites from all ages of SSL, so that a server of any of them finds one.
const SUITES: [u16; 16] = [
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009c, 0x009d, 0x002f,
    0x0035, 0x000a, 0x0005,
];

/// SSLv3 (RFC 6101 §5.2.1).
const SSL3: [u8; 2] = [3, 0];

/// Nobody shakes hands to the end, so that nothing need be random.
const RANDOM: [u8; 32] = *b"Is this a server that knows SSL?";

/// The hello, and the beginning of an answer: a handshake, or an alert, as from servers too new for SSLv3.
pub(crate) fn steps() -> Vec<CheckStep> {
    let expect = CheckExpect {
        negate: false,
        what: ExpectWhat::RegexBinary("^1[56]".into()),
        min_recv: Some(5),
        comment: None,
        ok_status: Some("L6OK".into()),
        error_status: Some("L6RSP".into()),
        tout_status: Some("L6TOUT".into()),
    };
    vec![CheckStep::Send { data: hello(), comment: None }, CheckStep::Expect(expect)]
}

/// A record with one ClientHello.
fn hello() -> Arc<[u8]> {
    let suites: Vec<u8> = SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = Vec::new();
    body.extend(SSL3);
    body.extend(RANDOM);
    // No session to resume.
    body.push(0);
    body.extend(length(suites.len()));
    body.extend(suites);
    // One way to compress: not at all.
    body.extend([1, 0]);
    let mut record = vec![22, SSL3[0], SSL3[1]];
    record.extend(length(body.len() + 4));
    record.extend([1, 0]);
    record.extend(length(body.len()));
    record.extend(body);
    record.into()
}

/// The two bytes of a length; everything here is shorter than they can say.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the record, the message and the list of suites must agree.
    #[test]
    fn the_hello_is_well_formed() {
        let hello = hello();
        let number = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
        assert_eq!(hello[..3], [22, 3, 0]);
        assert_eq!(number(3), hello.len() - 5);
        assert_eq!(hello[5], 1);
        assert_eq!(number(7), hello.len() - 9);
        assert_eq!(hello[43], 0, "no session");
        assert_eq!(number(44), SUITES.len() * 2);
        assert_eq!(hello[46 + SUITES.len() * 2..], [1, 0]);
    }
}
