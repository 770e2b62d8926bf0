//! `set-var` and `set-var-fmt` of `global`: variables of the process and what they start with (manual 3.1).

use std::sync::Arc;

use sockeye_sample::{Compiler, Expr, Format, Purpose, Scope, Stage, Stages};
use sockeye_syntax::words::Words;

use crate::model::{StartValue, StartVariable};
use crate::scope::GlobalScope;

/// There is neither a connection nor a message yet.
const STAGES: Stages = Stages::of(Stage::ConfigurationFile);

/// `set-var NAME EXPRESSION`.
pub(super) fn set_var(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    variable(words, scope, |text, compiler| {
        let expr = Expr::parse(text, compiler).map_err(|error| error.message)?;
        if !expr.stages().intersects(STAGES) {
            return Err(format!("'{text}' is not known while the configuration is read"));
        }
        Ok(StartValue::Expr(expr))
    });
}

/// `set-var-fmt NAME FORMAT`.
pub(super) fn set_var_fmt(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    variable(words, scope, |text, compiler| {
        let format = Format::parse(text, Purpose::Text, STAGES, compiler);
        format.map(StartValue::Format).map_err(|error| error.to_string())
    });
}

fn variable(
    words: &mut Words<'_>,
    scope: &mut GlobalScope<'_>,
    value: impl FnOnce(&str, &mut Compiler<'_>) -> Result<StartValue, String>,
) {
    let keyword = words.keyword().to_owned();
    let (Some(name), Some(text)) = (words.next(), words.next()) else {
        words.alert(format!("'{keyword}' expects a variable name and a value."));
        return words.skip_rest();
    };
    if !words.end() {
        return;
    }
    let location = words.location().clone();
    let mut warnings = Vec::new();
    let mut compiler = scope.expressions.compiler(&location.file, location.line, "", &mut warnings);
    let read = compiler.variables.intern(name).and_then(|var| match var.scope {
        Scope::Proc => Ok(StartVariable { var, value: value(text, &mut compiler)? }),
        _ => Err(format!("variable '{name}' is not of the scope 'proc'")),
    });
    for warning in warnings {
        words.warning(warning);
    }
    match read {
        Ok(variable) => scope.start.push(Arc::new(variable)),
        Err(message) => words.alert(format!("'{keyword}' : {message}.")),
    }
}
