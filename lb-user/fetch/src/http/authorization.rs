//! `Authorization`: the Basic and Bearer schemes.

use sockeye_sample::{Arg, Fetch, Scene, Target, Value};

use super::fields::{Elements, trim};
use super::request;
use crate::arguments;

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("http_auth", |scene, args| {
        let Target::UserList(list) = args.first()?.target()? else { return None };
        let Basic { user, password } = basic(scene)?;
        Some(Value::Bool(scene.world.authenticate(list, &user, &password)))
    }),
    Fetch::new("http_auth_bearer", bearer),
    Fetch::new("http_auth_group", |scene, args| valid_user(scene, args).map(|(_, user)| Value::string(user)))
        .each(each_group),
    Fetch::new("http_auth_pass", |scene, _| basic(scene).map(|basic| Value::string(basic.password))),
    Fetch::new("http_auth_type", |scene, _| match authorization(scene)? {
        (scheme, _) if scheme.eq_ignore_ascii_case(b"bearer") => Some(Value::str(b"Bearer")),
        _ => basic(scene).map(|_| Value::str(b"Basic")),
    }),
    Fetch::new("http_auth_user", |scene, _| basic(scene).map(|basic| Value::string(basic.user))),
];

/// Scheme and credentials of the request.
fn authorization<'a>(scene: &Scene<'a>) -> Option<(&'a [u8], &'a [u8])> {
    split_scheme(request(scene)?.headers().get(b"authorization")?)
}

/// Up to a comma: neither base64 nor a token has one.
fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let value = Elements::list(value).next()?;
    let space = memchr::memchr(b' ', value)?;
    Some((&value[..space], trim(&value[space..])))
}

/// A name and a password as received.
struct Basic {
    user: Vec<u8>,
    password: Vec<u8>,
}

fn basic(scene: &Scene<'_>) -> Option<Basic> {
    let (scheme, credentials) = authorization(scene)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut user = decode_base64(credentials)?;
    let colon = memchr::memchr(b':', &user)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some(Basic { user, password })
}

/// `http_auth_bearer([header])`
fn bearer<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let (scheme, token) = match arguments::text(args, 0) {
        b"" => authorization(scene)?,
        name => split_scheme(request(scene)?.headers().get(name)?)?,
    };
    scheme.eq_ignore_ascii_case(b"bearer").then(|| Value::str(token))
}

fn valid_user(scene: &Scene<'_>, args: &[Arg]) -> Option<(usize, Vec<u8>)> {
    let Target::UserList(list) = args.first()?.target()? else { return None };
    let Basic { user, password } = basic(scene)?;
    scene.world.authenticate(list, &user, &password).then_some((list, user))
}

/// Conditions compare the groups of the user, not its name.
fn each_group<'a>(scene: &Scene<'a>, args: &'a [Arg], visit: &mut dyn FnMut(Value<'a>) -> bool) {
    if let Some((list, user)) = valid_user(scene, args) {
        scene.world.groups_of(list, &user, &mut |group| visit(Value::string(group)));
    }
}

/// Standard base64 with its padding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in &text[..text.len() - padding] {
        bits = bits << 6 | u32::from(sextet(*byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
        bits &= (1 << count) - 1;
    }
    Some(decoded)
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_each};

    fn case(fields: &str) -> Case {
        Case::request(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    }

    /// Values from HAProxy 3.2.
    #[test]
    fn basic() {
        let alice = case("Authorization: Basic YWxpY2U6c2VjcmV0\r\n");
        check(
            &alice,
            &[
                ("http_auth_type", Some("Basic")),
                ("http_auth_user", Some("alice")),
                ("http_auth_pass", Some("secret")),
                ("http_auth_bearer", None),
                ("http_auth_bearer(authorization)", None),
                ("http_auth(users)", Some("1")),
                ("http_auth_group(users)", Some("alice")),
            ],
        );
        check_each(&alice, &[("http_auth_group(users)", &["g1", "g2"])]);
        check(
            &case("Authorization: bAsIc   YWxpY2U6c2VjcmV0\r\n"),
            &[("http_auth_type", Some("Basic")), ("http_auth(users)", Some("1"))],
        );
        let wrong = case("Authorization: Basic Ym9iOndyb25n\r\n");
        check(
            &wrong,
            &[
                ("http_auth_user", Some("bob")),
                ("http_auth_pass", Some("wrong")),
                ("http_auth(users)", Some("0")),
                ("http_auth_group(users)", None),
            ],
        );
        check_each(&wrong, &[("http_auth_group(users)", &[])]);
        check(&case("Authorization: Basic Ym9iOmE6Yg==\r\n"), &[("http_auth_pass", Some("a:b"))]);
        check(&case("Authorization: Basic Ym9iOg==\r\n"), &[("http_auth_pass", Some(""))]);
        // No colon, no padding, no base64, nothing, another scheme, no field.
        let rest =
            ["Basic Ym9i", "Basic Ym9iOnA", "Basic @@@@", "Basic =", "Basic", "Digest username=\"x\"", ""];
        for value in rest {
            let fields = if value.is_empty() { String::new() } else { format!("Authorization: {value}\r\n") };
            check(
                &case(&fields),
                &[
                    ("http_auth_type", None),
                    ("http_auth_user", None),
                    ("http_auth_pass", None),
                    ("http_auth_bearer", None),
                    ("http_auth(users)", None),
                ],
            );
        }
    }

    #[test]
    fn bearer() {
        check(
            &case("Authorization: Bearer abc.def-g=\r\nX-T: Bearer tok\r\nX-U: tok\r\n"),
            &[
                ("http_auth_type", Some("Bearer")),
                ("http_auth_user", None),
                ("http_auth_bearer", Some("abc.def-g=")),
                ("http_auth_bearer(x-t)", Some("tok")),
                ("http_auth_bearer(X-U)", None),
                ("http_auth_bearer(none)", None),
                ("http_auth(users)", None),
            ],
        );
        check(
            &case("Authorization: bearer  abc def , x\r\nX-U: Bearer\r\n"),
            &[
                ("http_auth_type", Some("Bearer")),
                ("http_auth_bearer", Some("abc def")),
                ("http_auth_bearer(x-u)", None),
            ],
        );
    }
}
