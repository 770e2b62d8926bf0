//! Distributed compilation (manual 7.3.5; protocol 1 of distcc): tokens of four letters with a number, some with a
//! body of that length.

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use crate::arguments;
use crate::http::Side;
use crate::payload::{buffer, wait_for_more};

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("distcc_body", |scene, args| {
        let (_, body) = find(scene, args)?;
        let bytes = scene.buffer?;
        let found = bytes.bytes.get(body.0..body.1);
        if found.is_none() {
            wait_for_more(scene, &bytes);
        }
        found.map(Value::bin)
    })
    .prepare(prepare),
    Fetch::new("distcc_param", |scene, args| find(scene, args).map(|(number, _)| Value::Int(number.into())))
        .prepare(prepare),
];

/// Tokens in one buffer that are looked through.
const TOKENS_MAX: usize = 4096;

/// These have a number and no body.
const WITHOUT_BODY: [&[u8; 4]; 5] = [b"ARGC", b"DIST", b"DONE", b"NFIL", b"STAT"];

/// The number of the token that is asked for, and where its body begins and ends.
fn find(scene: &Scene<'_>, args: &[Arg]) -> Option<(u32, (usize, usize))> {
    let buffer = buffer(scene, side(scene))?;
    let mut left = arguments::int(args, 1).unwrap_or(1).max(1);
    let mut at = 0;
    for _ in 0..TOKENS_MAX {
        let Some((token, rest)) = buffer.bytes.get(at..).and_then(|rest| rest.split_first_chunk::<4>())
        else {
            break;
        };
        let Some(digits) = rest.first_chunk::<8>() else { break };
        let number = parse_hex(digits)?;
        at += 12;
        let length = if WITHOUT_BODY.contains(&token) { 0 } else { usize::try_from(number).ok()? };
        let end = at.checked_add(length)?;
        if token == arguments::text(args, 0) {
            left -= 1;
            if left == 0 {
                return Some((number, (at, end)));
            }
        }
        at = end;
    }
    wait_for_more(scene, &buffer);
    None
}

/// Both directions speak it.
fn side(scene: &Scene<'_>) -> Side {
    Side::of_stage(scene.stage)
}

fn parse_hex(digits: &[u8; 8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

fn prepare(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    if arguments::text(args, 0).len() != 4 {
        return Err("token name must be exactly 4 characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    const MESSAGE: &str = "DIST00000001ARGC00000002ARGV00000003gccARGV00000002-cDOTI0000000a0123456789";

    /// Values from HAProxy 3.2.
    #[test]
    fn tokens() {
        let heads: &[_] = &[
            ("distcc_param(DIST)", Some("1")),
            ("distcc_param(ARGC)", Some("2")),
            ("distcc_param(ARGV)", Some("3")),
            ("distcc_param(DOTI)", Some("10")),
            ("distcc_param(XXXX)", None),
            ("distcc_param(ARGV,2)", Some("2")),
            ("distcc_param(ARGV,3)", None),
            ("distcc_body(ARGV)", Some("gcc")),
            ("distcc_body(ARGV,2)", Some("-c")),
            ("distcc_body(DIST)", Some("")),
            ("distcc_body(ARGC)", Some("")),
        ];
        check(&Case::buffer(MESSAGE, true), heads);
        check(&Case::buffer(MESSAGE, true), &[("distcc_body(DOTI)", Some("0123456789"))]);
        let part = &MESSAGE[..MESSAGE.len() - 1];
        check(&Case::buffer(part, true), heads);
        let open = Case::buffer(part, false);
        let body = open.eval("distcc_body(DOTI)");
        assert_eq!((body.value, body.unfinished), (None, true));
        assert!(!open.eval("distcc_param(DOTI)").unfinished);
        assert!(open.eval("distcc_param(XXXX)").unfinished);
        check(&Case::buffer("DISTzzzzzzzz", true), &[("distcc_param(DIST)", None)]);
        check(
            &Case::buffer("NAMEffffffffabc", true),
            &[("distcc_param(NAME)", Some("4294967295")), ("distcc_body(NAME)", None)],
        );
    }

    #[test]
    fn refused() {
        check_refused(&[("distcc_param(ABC)", "token name must be exactly 4 characters")]);
    }
}
