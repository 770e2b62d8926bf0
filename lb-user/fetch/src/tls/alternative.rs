//! Subject alternative names (RFC 5280 §4.2.1.6) as OpenSSL prints them.

use std::net::Ipv4Addr;

use super::der::{Element, OID, Reader, dotted};
use super::name;

// Kinds of names: context-specific tags, constructed where they hold more values.
const OTHER: u8 = 0xa0;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const X400: u8 = 0xa3;
const DIRECTORY: u8 = 0xa4;
const EDI_PARTY: u8 = 0xa5;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;
const REGISTERED_ID: u8 = 0x88;

/// The names one after the other; `None` if there are none.
pub(crate) fn print(names: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for element in Reader(names) {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        print_one(&mut text, element);
    }
    (!text.is_empty()).then_some(text)
}

fn print_one(text: &mut Vec<u8>, element: Element<'_>) {
    let body = element.body;
    match element.tag {
        EMAIL => print_string(text, "email:", body),
        DNS => print_string(text, "DNS:", body),
        URI => print_string(text, "URI:", body),
        DIRECTORY => {
            text.extend_from_slice(b"DirName:");
            text.extend(name::one_line(body).unwrap_or_default());
        }
        ADDRESS => text.extend_from_slice(address(body).as_bytes()),
        REGISTERED_ID => {
            text.extend_from_slice(b"Registered ID:");
            text.extend(dotted(body).unwrap_or_default().into_bytes());
        }
        X400 => text.extend_from_slice(b"X400Name:<unsupported>"),
        EDI_PARTY => text.extend_from_slice(b"EdiPartyName:<unsupported>"),
        OTHER => print_other(text, body),
        _ => {}
    }
}

/// What is not printable becomes a dot.
fn print_string(text: &mut Vec<u8>, kind: &str, value: &[u8]) {
    text.extend_from_slice(kind.as_bytes());
    text.extend(value.iter().map(|byte| match byte {
        b' '..=b'~' | b'\r' | b'\n' => *byte,
        _ => b'.',
    }));
}

fn address(bytes: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return format!("IP Address:{}", Ipv4Addr::from(bytes));
    }
    if bytes.len() == 16 {
        let groups =
            bytes.chunks(2).map(|group| format!(":{:X}", u16::from(group[0]) << 8 | u16::from(group[1])));
        return format!("IP Address{}", groups.collect::<String>());
    }
    "IP Address:<invalid>".to_owned()
}

/// The few other names that OpenSSL knows; their values are text.
fn print_other(text: &mut Vec<u8>, body: &[u8]) {
    let mut fields = Reader(body);
    let kind = match fields.expect(OID) {
        Some(b"\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03") => "UPN:",
        Some(b"\x2b\x06\x01\x05\x05\x07\x08\x05") => "XmppAddr:",
        Some(b"\x2b\x06\x01\x05\x05\x07\x08\x07") => "SRVName:",
        Some(b"\x2b\x06\x01\x05\x05\x07\x08\x08") => "NAIRealm:",
        Some(b"\x2b\x06\x01\x05\x05\x07\x08\x09") => "SmtpUTF8Mailbox:",
        _ => return text.extend_from_slice(b"othername:<unsupported>"),
    };
    text.extend_from_slice(b"othername:");
    let value = fields.expect(OTHER).and_then(|value| Reader(value).any());
    print_string(text, kind, value.map(|value| value.body).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::print;

    #[test]
    fn names() {
        let rows: &[(&[u8], Option<&str>)] = &[
            (b"", None),
            (b"\x82\x03a.b", Some("DNS:a.b")),
            (b"\x82\x01\x01\x81\x03a@b", Some("DNS:., email:a@b")),
            (b"\x87\x04\x7f\0\0\x01", Some("IP Address:127.0.0.1")),
            (b"\x87\x03\x7f\0\0", Some("IP Address:<invalid>")),
            (b"\xa0\x05\x06\x03\x2a\x03\x04", Some("othername:<unsupported>")),
            (b"\xa5\x00\xa3\x00", Some("EdiPartyName:<unsupported>, X400Name:<unsupported>")),
            (b"\x88\x03\x2a\x03\x04", Some("Registered ID:1.2.3.4")),
        ];
        for (bytes, expected) in rows {
            assert_eq!(print(bytes).map(|text| String::from_utf8(text).unwrap()).as_deref(), *expected);
        }
    }
}
