//! The Basic scheme of `Authorization` (RFC 7617).

use base64ct::{Base64, Encoding};

/// Nobody has longer ones, and decoding takes memory.
const CREDENTIALS_BYTES_MAX: usize = 4096;

/// A name and a password as the client sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

/// What `value`, the content of `Authorization` or `Proxy-Authorization`, says. `None`: another scheme, or broken.
pub fn basic(value: &[u8]) -> Option<Credentials> {
    let value = str::from_utf8(value.get(..CREDENTIALS_BYTES_MAX).unwrap_or(value)).ok()?;
    let (scheme, credentials) = value.trim_ascii().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = Base64::decode_vec(credentials.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some(Credentials { user, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        let check = |value: &str, expected: Option<(&str, &str)>| {
            let expected =
                expected.map(|(user, password)| Credentials { user: user.into(), password: password.into() });
            assert_eq!(basic(value.as_bytes()), expected, "{value}");
        };
        // RFC 7617 section 2.
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame")));
        check("bAsIc  dGVzdDoxMjPCow== ", Some(("test", "123£")));
        check("Basic Og==", Some(("", "")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic YWJj", None);
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", None);
        check("Basic !!!!", None);
        check("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", None);
        check("Basic", None);
        check("", None);
    }
}
