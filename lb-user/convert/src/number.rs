//! Arithmetic and bits. Results that do not fit 64 bits are the nearest that do.

use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::operand;

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("add", |value, args, scene| binary(value, args, scene, i64::saturating_add))
        .prepare(prepare),
    Converter::new("sub", |value, args, scene| binary(value, args, scene, i64::saturating_sub))
        .prepare(prepare),
    Converter::new("mul", |value, args, scene| binary(value, args, scene, i64::saturating_mul))
        .prepare(prepare),
    Converter::new("div", |value, args, scene| binary(value, args, scene, divide)).prepare(prepare),
    Converter::new("mod", |value, args, scene| binary(value, args, scene, remainder)).prepare(prepare),
    Converter::new("and", |value, args, scene| binary(value, args, scene, |a, b| a & b)).prepare(prepare),
    Converter::new("or", |value, args, scene| binary(value, args, scene, |a, b| a | b)).prepare(prepare),
    Converter::new("xor", |value, args, scene| binary(value, args, scene, |a, b| a ^ b)).prepare(prepare),
    Converter::new("neg", |value, _, _| Some(Value::Int(value.to_int()?.saturating_neg()))),
    Converter::new("cpl", |value, _, _| Some(Value::Int(!value.to_int()?))),
    Converter::new("bool", |value, _, _| Some(Value::Bool(value.to_int()? != 0))),
    Converter::new("not", |value, _, _| Some(Value::Bool(value.to_int()? == 0))),
    Converter::new("odd", |value, _, _| Some(Value::Bool(value.to_int()? & 1 == 1))),
    Converter::new("even", |value, _, _| Some(Value::Bool(value.to_int()? & 1 == 0))),
    Converter::new("htonl", |value, _, _| {
        // The low 32 bits.
        Some(Value::binary(&value.to_int()?.to_be_bytes()[4..]))
    }),
    Converter::new("iif", |value, args, _| {
        Some(Value::str(operand::text(args, usize::from(!value.is_true()))))
    }),
];

fn prepare(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    operand::prepare_number(args, 0, compiler)
}

fn binary<'a>(
    value: Value<'a>,
    args: &'a [Arg],
    scene: &Scene<'a>,
    apply: fn(i64, i64) -> i64,
) -> Option<Value<'a>> {
    Some(Value::Int(apply(value.to_int()?, operand::number(args, 0, 0, scene)?)))
}

/// By zero: the largest number (manual, `div`).
fn divide(value: i64, by: i64) -> i64 {
    if by == 0 { i64::MAX } else { value.saturating_div(by) }
}

/// By zero: zero (manual, `mod`).
fn remainder(value: i64, by: i64) -> i64 {
    if by == 0 { 0 } else { value.wrapping_rem(by) }
}
