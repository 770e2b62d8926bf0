//! The process (manual 7.3.2): its clock, its numbers, its names.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use sockeye_sample::{Arg, Compiler, Fetch, ProcessNumber, ProcessText, Scene, Value};

use crate::arguments;

/// What does not depend on any client.
pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("act_conn", |scene, _| number(scene, ProcessNumber::ActiveConnections)),
    Fetch::new("cpu_calls", |scene, _| number(scene, ProcessNumber::CpuCalls)),
    Fetch::new("cpu_ns_avg", |scene, _| number(scene, ProcessNumber::CpuNsAverage)),
    Fetch::new("cpu_ns_tot", |scene, _| number(scene, ProcessNumber::CpuNsTotal)),
    Fetch::new("date", date).prepare(|args, _| arguments::unit(args, 1)),
    Fetch::new("date_us", |scene, _| Some(Value::Int(since_epoch(scene).subsec_micros().into()))),
    Fetch::new("env", |scene, args| scene.world.environment(arguments::text(args, 0)).map(Value::str)),
    Fetch::new("hostname", |scene, _| scene.world.text(ProcessText::Hostname).map(Value::str)),
    Fetch::new("lat_ns_avg", |scene, _| number(scene, ProcessNumber::LatencyNsAverage)),
    Fetch::new("lat_ns_tot", |scene, _| number(scene, ProcessNumber::LatencyNsTotal)),
    // There is one process; what was its number and how many there were is always 1.
    Fetch::new("nbproc", |_, _| Some(Value::Int(1))),
    Fetch::new("pid", |scene, _| number(scene, ProcessNumber::Pid)),
    Fetch::new("proc", |_, _| Some(Value::Int(1))),
    Fetch::new("quic_enabled", |_, _| Some(Value::Bool(false))),
    Fetch::new("rand", random),
    Fetch::new("stopping", |scene, _| {
        Some(Value::Bool(scene.world.process(ProcessNumber::Stopping).is_some_and(|stopping| stopping != 0)))
    }),
    Fetch::new("tgroup", |scene, _| number(scene, ProcessNumber::ThreadGroup)),
    Fetch::new("thread", |scene, _| number(scene, ProcessNumber::Thread)),
    Fetch::new("uptime", |scene, _| number(scene, ProcessNumber::UptimeSeconds)),
    Fetch::new("uuid", uuid).prepare(prepare_uuid),
];

fn number<'a>(scene: &Scene<'a>, what: ProcessNumber) -> Option<Value<'a>> {
    scene.world.process(what).map(Value::Int)
}

/// A clock before 1970 counts as 1970.
fn since_epoch(scene: &Scene<'_>) -> Duration {
    scene.now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `date([offset[,unit]])`; the offset is in the unit.
fn date<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let now = in_units(since_epoch(scene), arguments::int(args, 1));
    Some(Value::Int(now.wrapping_add(arguments::int(args, 0).unwrap_or(0))))
}

/// A duration in parts of a second, of which `per_second` make one.
pub(crate) fn in_units(duration: Duration, per_second: Option<i64>) -> i64 {
    let whole = match per_second {
        Some(1000) => duration.as_millis(),
        Some(1_000_000) => duration.as_micros(),
        _ => duration.as_secs().into(),
    };
    i64::try_from(whole).unwrap_or(i64::MAX)
}

/// `rand([range])`; a range of one or none has one value.
fn random<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let number = match arguments::int(args, 0) {
        None => scene.world.random(None),
        Some(..=1) => 0,
        Some(range) => scene.world.random(Some(u32::try_from(range).unwrap_or(u32::MAX))),
    };
    Some(Value::Int(number.into()))
}

/// `uuid([version])`, RFC 9562: 4 is random, 7 begins with the milliseconds of the clock.
fn uuid<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let random = || u128::from(scene.world.random(None));
    let mut bits = random() << 96 | random() << 64 | random() << 32 | random();
    let version = arguments::int(args, 0).unwrap_or(4);
    if version == 7 {
        bits = bits & (u128::MAX >> 48) | since_epoch(scene).as_millis() << 80;
    }
    bits = bits & !(0xf << 76) | u128::from(version.unsigned_abs()) << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    let mut text = Vec::with_capacity(36);
    write!(
        text,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        bits >> 80 & 0xffff,
        bits >> 64 & 0xffff,
        bits >> 48 & 0xffff,
        bits & 0xffff_ffff_ffff
    )
    .ok()?;
    Some(Value::string(text))
}

fn prepare_uuid(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match arguments::int(args, 0) {
        None | Some(4 | 7) => Ok(()),
        Some(version) => Err(format!("Unsupported UUID version: '{version}'")),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    #[test]
    fn the_process() {
        check(
            &Case::default(),
            &[
                ("act_conn", Some("11")),
                ("uptime", Some("12")),
                ("pid", Some("13")),
                ("thread", Some("1")),
                ("proc", Some("1")),
                ("nbproc", Some("1")),
                ("stopping", Some("0")),
                ("quic_enabled", Some("0")),
                ("cpu_calls", None),
                ("hostname", Some("lb1")),
                ("env(HOME)", Some("/root")),
                ("env(NOPE)", None),
            ],
        );
    }

    #[test]
    fn clock_and_chance() {
        check(
            &Case::default(),
            &[
                ("date", Some("1700000000")),
                ("date(3600)", Some("1700003600")),
                ("date(-1,s)", Some("1699999999")),
                ("date(1,ms)", Some("1700000000501")),
                ("date(0,us)", Some("1700000000500250")),
                ("date_us", Some("500250")),
                ("rand", Some("3735928559")),
                ("rand(10)", Some("9")),
                ("rand(1)", Some("0")),
                ("rand(0)", Some("0")),
                ("uuid", Some("deadbeef-dead-4eef-9ead-beefdeadbeef")),
                ("uuid(4)", Some("deadbeef-dead-4eef-9ead-beefdeadbeef")),
                ("uuid(7)", Some("018bcfe5-69f4-7eef-9ead-beefdeadbeef")),
            ],
        );
        check_refused(&[
            ("date(1,h)", "invalid args in fetch method 'date' : expects 's', 'ms' or 'us', got 'h'"),
            ("uuid(5)", "invalid args in fetch method 'uuid' : Unsupported UUID version: '5'"),
        ]);
    }
}
