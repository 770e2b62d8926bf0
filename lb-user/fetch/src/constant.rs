//! Values that stand in the expression itself: constants and variables.

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use crate::arguments;

/// Constants (manual 7.3.2) and `var`.
pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("always_false", |_, _| Some(Value::Bool(false))),
    Fetch::new("always_true", |_, _| Some(Value::Bool(true))),
    Fetch::new("bin", |_, args| Some(Value::bin(arguments::text(args, 0)))).prepare(prepare_bin),
    Fetch::new("bool", |_, args| Some(Value::Bool(arguments::int(args, 0) == Some(1)))).prepare(prepare_bool),
    Fetch::new("int", |_, args| arguments::int(args, 0).map(Value::Int)),
    Fetch::new("ipv4", |_, args| match args.first() {
        Some(Arg::Ipv4(addr)) => Some(Value::Ipv4(*addr)),
        _ => None,
    }),
    Fetch::new("ipv6", |_, args| match args.first() {
        Some(Arg::Ipv6(addr)) => Some(Value::Ipv6(*addr)),
        _ => None,
    }),
    Fetch::new("meth", |_, args| Some(Value::Method(arguments::text(args, 0).into()))),
    Fetch::new("str", |_, args| Some(Value::str(arguments::text(args, 0)))),
    Fetch::new("var", variable).prepare(prepare_variable),
];

/// `var(name[,default])`: a copy of the value, or the default as text.
fn variable<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let Some(Arg::Var(id)) = args.first() else { return None };
    scene.variables.get(*id).or_else(|| args.get(1).and_then(Arg::str).map(Value::str))
}

fn prepare_variable(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    let id = compiler.variables.intern(arguments::word(args, 0)?.unwrap_or_default())?;
    if let Some(arg) = args.get_mut(0) {
        *arg = Arg::Var(id);
    }
    Ok(())
}

fn prepare_bool(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let value = match arguments::word(args, 0)?.unwrap_or_default() {
        word if word.eq_ignore_ascii_case("true") || word == "1" => 1,
        word if word.eq_ignore_ascii_case("false") || word == "0" => 0,
        _ => return Err("Expects 'true', 'false', '0' or '1'".to_owned()),
    };
    if let Some(arg) = args.get_mut(0) {
        *arg = Arg::Int(value);
    }
    Ok(())
}

fn prepare_bin(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let bytes = unhex(arguments::text(args, 0))?;
    if let Some(arg) = args.get_mut(0) {
        *arg = Arg::Str(bytes.into());
    }
    Ok(())
}

/// Bytes from pairs of hexadecimal digits.
fn unhex(text: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |byte: u8| {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| {
            format!("an hex digit is expected (found '{}')", char::from(byte).escape_default())
        })
    };
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("an even number of hex digit is expected".to_owned());
    }
    pairs.iter().map(|[high, low]| Ok(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    #[test]
    fn constants() {
        check(
            &Case::default(),
            &[
                ("always_true", Some("1")),
                ("always_false", Some("0")),
                ("bool(TRUE)", Some("1")),
                ("bool(1)", Some("1")),
                ("bool(false)", Some("0")),
                ("bool(0)", Some("0")),
                ("bin(00fF61)", Some("\\x00\\xffa")),
                ("int(-3)", Some("-3")),
                ("str(a b)", Some("a b")),
                ("str('a,b')", Some("a,b")),
                ("ipv4(192.0.2.1)", Some("192.0.2.1")),
                ("ipv6(2001:db8::1)", Some("2001:db8::1")),
                ("meth(GET)", Some("GET")),
                ("var(txn.none)", None),
                ("var(txn.none,def)", Some("def")),
                // A scope that does not exist here.
                ("var(sess.none)", None),
            ],
        );
        check_refused(&[
            ("bool(2)", "invalid args in fetch method 'bool' : Expects 'true', 'false', '0' or '1'"),
            ("bin(6)", "an even number of hex digit is expected"),
            ("bin(zz)", "an hex digit is expected (found 'z')"),
            ("var(foo)", "invalid variable name 'foo'"),
            ("ipv4(1)", "failed to parse '1' as type 'IPv4 address' at position 1"),
        ]);
    }
}
