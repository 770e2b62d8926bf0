//! Converters that keep what passes them: in a variable, or in a slot of the captures.

use aws_lc_rs::constant_time;
use sockeye_sample::{Arg, Compiler, Converter, Scene, Type, Value, VarId};

use crate::operand::{self, bytes};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("capture-req", |value, args, scene| capture(value, args, scene, true)),
    Converter::new("capture-res", |value, args, scene| capture(value, args, scene, false)),
    Converter::new("secure_memcmp", |value, args, scene| {
        let secret = bytes(scene.variables.get(variable(args)?)?.cast(Type::Bin)?)?;
        Some(Value::Bool(constant_time::verify_slices_are_equal(&bytes(value)?, &secret).is_ok()))
    })
    .prepare(|args, compiler| operand::prepare_variable(args, 0, compiler)),
    Converter::new("set-var", set_variable).prepare(prepare_set_variable),
    Converter::new("unset-var", |value, args, scene| {
        scene.variables.unset(variable(args)?);
        Some(value)
    })
    .prepare(|args, compiler| operand::prepare_variable(args, 0, compiler)),
];

fn variable(args: &[Arg]) -> Option<VarId> {
    match args.first() {
        Some(Arg::Var(variable)) => Some(*variable),
        _ => None,
    }
}

/// No value if there is no such slot.
fn capture<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>, request: bool) -> Option<Value<'a>> {
    let slot = usize::try_from(operand::int(args, 0)?).ok()?;
    scene.facts?.keep_capture(request, slot, value.bytes()?).then_some(value)
}

/// When a variable is set (manual, `set-var`).
#[derive(Clone, Copy)]
enum Condition {
    Exists,
    NotExists,
    Empty,
    NotEmpty,
    Set,
    NotSet,
    Greater,
    Less,
}

impl Condition {
    const ALL: [(&'static str, Self); 8] = [
        ("ifexists", Self::Exists),
        ("ifnotexists", Self::NotExists),
        ("ifempty", Self::Empty),
        ("ifnotempty", Self::NotEmpty),
        ("ifset", Self::Set),
        ("ifnotset", Self::NotSet),
        ("ifgt", Self::Greater),
        ("iflt", Self::Less),
    ];

    fn holds(self, variable: Option<&Value<'_>>, value: &Value<'_>) -> bool {
        let is_empty = value.bytes().is_some_and(<[u8]>::is_empty);
        match self {
            // A variable exists here while it is set.
            Self::Exists | Self::Set => variable.is_some(),
            Self::NotExists | Self::NotSet => variable.is_none(),
            Self::Empty => is_empty,
            Self::NotEmpty => !is_empty,
            Self::Greater | Self::Less => match (variable, value) {
                (Some(Value::Int(variable)), Value::Int(value)) => match self {
                    Self::Greater => variable > value,
                    _ => variable < value,
                },
                _ => true,
            },
        }
    }
}

fn prepare_set_variable(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    operand::prepare_variable(args, 0, compiler)?;
    for arg in args.iter_mut().skip(1) {
        let Some(word) = arg.str() else { continue };
        let known = Condition::ALL.iter().position(|(name, _)| name.as_bytes() == word);
        *arg = match known.and_then(|index| i64::try_from(index).ok()) {
            Some(index) => Arg::Int(index),
            None => {
                let word = String::from_utf8_lossy(word);
                return Err(format!("unknown condition \"{word}\""));
            }
        };
    }
    Ok(())
}

/// No value if a condition does not hold, or the scope does not exist here.
fn set_variable<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let id = variable(args)?;
    let mut conditions = args.iter().skip(1).filter_map(Arg::int).peekable();
    if conditions.peek().is_some() {
        let current = scene.variables.get(id);
        let mut conditions = conditions.filter_map(|index| Condition::ALL.get(usize::try_from(index).ok()?));
        if !conditions.all(|(_, condition)| condition.holds(current.as_ref(), &value)) {
            return None;
        }
    }
    scene.variables.set(id, value.clone()).then_some(value)
}
