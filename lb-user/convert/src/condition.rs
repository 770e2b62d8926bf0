//! `when` and `debug`: converters that hand on what they are given, or say what it was.

use std::sync::Arc;

use sockeye_sample::{
    Acl, AclScope, Arg, Compiler, Console, Converter, Number, ProcessNumber, Scene, Value, Verdict,
};

use crate::operand::OUTPUT_MAX;

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("debug", debug).prepare(prepare_debug),
    Converter::new("when", |value, args, scene| {
        args.first()?.prepared::<When>()?.holds(scene).then_some(value)
    })
    .prepare(prepare_when),
];

/// The argument of `when` (manual 7.3.1).
#[derive(Debug)]
struct When {
    negated: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Stopping,
    Normal,
    Error,
    /// A server got the request; nothing else processes one.
    Forwarded,
    /// Statistics, caches and services are applets; without one no request goes there.
    ToApplet,
    Acl(Arc<Acl>),
}

impl When {
    fn holds(&self, scene: &Scene<'_>) -> bool {
        let is = |number: Option<i64>| number.is_some_and(|number| number != 0);
        let holds = match &self.what {
            What::Stopping => is(scene.world.process(ProcessNumber::Stopping)),
            What::Normal => !is(scene.number(Number::Failed)),
            What::Error => is(scene.number(Number::Failed)),
            What::Forwarded => is(scene.number(Number::Forwarded)),
            What::ToApplet => false,
            What::Acl(acl) => acl.eval(scene) == Verdict::Pass,
        };
        holds != self.negated
    }
}

fn prepare_when(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    let word = args.first().and_then(Arg::str).and_then(|word| str::from_utf8(word).ok()).unwrap_or_default();
    let (word, negated) = word.strip_prefix('!').map_or((word, false), |word| (word, true));
    let what = match word {
        "stopping" => What::Stopping,
        "normal" => What::Normal,
        "error" => What::Error,
        "forwarded" | "processed" => What::Forwarded,
        "toapplet" => What::ToApplet,
        "acl" => {
            let name = args.get(1).and_then(Arg::str).and_then(|name| str::from_utf8(name).ok());
            let name = name.ok_or("'acl' needs the name of an ACL behind it")?;
            What::Acl(AclScope::named(name, compiler)?)
        }
        _ => {
            return Err(format!(
                "expects stopping, normal, error, forwarded, toapplet, processed or acl, not '{word}'"
            ));
        }
    };
    args[0] = Arg::Prepared(Arc::new(When { negated, what }));
    Ok(())
}

/// The second argument of `debug`, where it leads somewhere.
#[derive(Debug)]
struct Destination(Console);

fn prepare_debug(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    let name = args.get(1).and_then(Arg::str).unwrap_or(b"buf0");
    let console = match name {
        b"stdout" => Console::Output,
        b"stderr" => Console::Error,
        other => {
            let name = String::from_utf8_lossy(other);
            compiler.warnings.push(format!(
                "'debug' shows nothing: nobody can look at '{name}' yet, only at 'stdout' and 'stderr'."
            ));
            return Ok(());
        }
    };
    args[1] = Arg::Prepared(Arc::new(Destination(console)));
    Ok(())
}

fn debug<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    if let Some(Destination(console)) = args.get(1).and_then(Arg::prepared) {
        let prefix = args.first().and_then(Arg::str).unwrap_or_default();
        let mut line = b"[debug] ".to_vec();
        line.extend_from_slice(prefix);
        line.extend_from_slice(b": type=");
        line.extend_from_slice(value.type_of().name().as_bytes());
        line.extend_from_slice(b" <");
        let text = value.clone().into_text().unwrap_or_default();
        let shown = &text[..text.len().min(OUTPUT_MAX)];
        line.extend(shown.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }));
        line.extend_from_slice(b">\n");
        scene.world.show(*console, &line);
    }
    Some(value)
}
