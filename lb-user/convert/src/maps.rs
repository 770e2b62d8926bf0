//! The `map` family: the value that a map has for the input (manual 7.3.1).
//!
//! A map is found when the file is read and looked through by an index of its match method; values of type `int` and
//! `ip` are checked then, so that a lookup fails only for what was set wrongly since.

use std::net::IpAddr;
use std::sync::Arc;

use sockeye_pattern::{Key, Matcher, Method};
use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::operand::made;
use crate::substitute::expand;

/// One converter per match method and output.
macro_rules! table {
    ($($name:literal $method:ident $output:ident)*) => {
        &[$(Converter::new($name, run).prepare(|args, compiler| {
            prepare(args, compiler, Method::$method, Output::$output)
        }),)*]
    };
}

pub(crate) static TABLE: &[Converter] = table! {
    "map" Str Str
    "map_str" Str Str
    "map_str_int" Str Int
    "map_str_ip" Str Ip
    "map_str_key" Str Key
    "map_beg" Beg Str
    "map_beg_int" Beg Int
    "map_beg_ip" Beg Ip
    "map_beg_key" Beg Key
    "map_end" End Str
    "map_end_int" End Int
    "map_end_ip" End Ip
    "map_end_key" End Key
    "map_sub" Sub Str
    "map_sub_int" Sub Int
    "map_sub_ip" Sub Ip
    "map_sub_key" Sub Key
    "map_dir" Dir Str
    "map_dir_int" Dir Int
    "map_dir_ip" Dir Ip
    "map_dir_key" Dir Key
    "map_dom" Dom Str
    "map_dom_int" Dom Int
    "map_dom_ip" Dom Ip
    "map_dom_key" Dom Key
    "map_reg" Reg Str
    "map_reg_int" Reg Int
    "map_reg_ip" Reg Ip
    "map_reg_key" Reg Key
    "map_regm" Reg Substitution
    "map_int" Int Str
    "map_int_int" Int Int
    "map_int_ip" Int Ip
    "map_int_key" Int Key
    "map_ip" Ip Str
    "map_ip_int" Ip Int
    "map_ip_ip" Ip Ip
    "map_ip_key" Ip Key
};

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Str,
    Int,
    Ip,
    /// The key as the file has it.
    Key,
    /// The value, with `\1` and its like replaced by what the expression's groups matched.
    Substitution,
}

/// Arguments of all of them.
#[derive(Debug)]
struct Map {
    matcher: Matcher,
    method: Method,
    output: Output,
    /// For inputs that the map does not have.
    default: Option<Value<'static>>,
}

fn prepare(
    args: &mut [Arg],
    compiler: &mut Compiler<'_>,
    method: Method,
    output: Output,
) -> Result<(), String> {
    let default = match args.get(1) {
        Some(Arg::Int(number)) => Some(Value::Int(*number)),
        Some(Arg::Str(text)) if output == Output::Ip => {
            let address = address(text);
            let refusal = || format!("map: cannot parse default ip <{}>.", String::from_utf8_lossy(text));
            Some(Value::ip(address.ok_or_else(refusal)?))
        }
        Some(Arg::Str(text)) => Some(Value::string(text.as_ref())),
        _ => None,
    };
    let Some(file) = args.first().and_then(Arg::str).and_then(|file| str::from_utf8(file).ok()) else {
        return Err("failed to open pattern file <>.".to_owned());
    };
    let matcher = Matcher::of_map(compiler.patterns, method, file)?;
    if matches!(output, Output::Int | Output::Ip) {
        for entry in matcher.references().flat_map(|reference| reference.entries()) {
            let text = entry.value.as_deref().unwrap_or_default();
            if of_text(text, output).is_none() {
                let text = String::from_utf8_lossy(text);
                return Err(format!("unable to parse '{text}' at line {} of file '{file}'.", entry.line));
            }
        }
    }
    args[0] = Arg::Prepared(Arc::new(Map { matcher, method, output, default }));
    Ok(())
}

fn run<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let map: &Map = args.first()?.prepared()?;
    if map.output == Output::Substitution {
        let substituted = map.matcher.captures(value.bytes()?, |entry, captures| {
            let mut out = Vec::new();
            expand(entry.value.as_deref().unwrap_or_default(), captures, &mut out).map(|()| out)
        });
        // What matches but cannot be written is not what the default is for.
        return match substituted {
            Some(out) => made(out?),
            None => map.default.clone(),
        };
    }
    let key = match map.method {
        Method::Int => Key::Int(value.to_int()?),
        Method::Ip => Key::Ip(value.to_ip()?),
        _ => Key::Bytes(value.bytes()?),
    };
    match map.matcher.find(key) {
        Some(entry) if map.output == Output::Key => Some(Value::string(entry.pattern.as_ref())),
        Some(entry) => of_text(entry.value.as_deref().unwrap_or_default(), map.output),
        None => map.default.clone(),
    }
}

/// A value of the map. An integer is all of the text; none is 0.
fn of_text<'a>(text: &[u8], output: Output) -> Option<Value<'a>> {
    match output {
        Output::Int => {
            let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
            let is_number = digits.iter().all(u8::is_ascii_digit);
            is_number.then(|| Value::str(text).to_int().map(Value::Int)).flatten()
        }
        Output::Ip => address(text).map(Value::ip),
        Output::Str | Output::Key | Output::Substitution => Some(Value::string(text)),
    }
}

/// An address; of a network, the one that it is written with.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let is_network = mask.is_none_or(|mask| mask.parse::<u8>().is_ok_and(|length| length <= bits));
    is_network.then_some(address)
}
