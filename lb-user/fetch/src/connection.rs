//! Connections (manual 7.3.3): addresses, what the kernel measured, what a PROXY header said.

use sockeye_sample::{Address, Arg, Compiler, Fetch, Number, Scene, Value};

use crate::arguments;

/// `src`, `dst` and what begins with `fc_` or `bc_`.
pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("src", |scene, _| ip(scene, Address::Source)),
    Fetch::new("src_port", |scene, _| port(scene, Address::Source)),
    Fetch::new("src_is_local", |scene, _| flag(scene, Number::SourceIsLocal)),
    Fetch::new("dst", |scene, _| ip(scene, Address::Destination)),
    Fetch::new("dst_port", |scene, _| port(scene, Address::Destination)),
    Fetch::new("dst_is_local", |scene, _| flag(scene, Number::DestinationIsLocal)),
    Fetch::new("fc_src", |scene, _| ip(scene, Address::FrontSource)),
    Fetch::new("fc_src_port", |scene, _| port(scene, Address::FrontSource)),
    Fetch::new("fc_src_is_local", |scene, _| flag(scene, Number::FrontSourceIsLocal)),
    Fetch::new("fc_dst", |scene, _| ip(scene, Address::FrontDestination)),
    Fetch::new("fc_dst_port", |scene, _| port(scene, Address::FrontDestination)),
    Fetch::new("fc_dst_is_local", |scene, _| flag(scene, Number::FrontDestinationIsLocal)),
    Fetch::new("bc_src", |scene, _| ip(scene, Address::BackSource)),
    Fetch::new("bc_src_port", |scene, _| port(scene, Address::BackSource)),
    Fetch::new("bc_dst", |scene, _| ip(scene, Address::BackDestination)),
    Fetch::new("bc_dst_port", |scene, _| port(scene, Address::BackDestination)),
    // HTTP versions on the wire, streams, anomalies.
    Fetch::new("fc_http_major", |scene, _| number(scene, Number::FrontHttpMajor)),
    Fetch::new("bc_http_major", |scene, _| number(scene, Number::BackHttpMajor)),
    Fetch::new("fc_nb_streams", |scene, _| number(scene, Number::FrontStreams)),
    Fetch::new("bc_nb_streams", |scene, _| number(scene, Number::BackStreams)),
    Fetch::new("fc_settings_streams_limit", |scene, _| number(scene, Number::FrontStreamsLimit)),
    Fetch::new("bc_settings_streams_limit", |scene, _| number(scene, Number::BackStreamsLimit)),
    Fetch::new("fc_glitches", |scene, _| number(scene, Number::FrontGlitches)),
    Fetch::new("bc_glitches", |scene, _| number(scene, Number::BackGlitches)),
    Fetch::new("bc_reused", |scene, _| flag(scene, Number::BackReused)),
    // TCP_INFO.
    Fetch::new("fc_rtt", |scene, args| time(scene, args, Number::FrontRtt)).prepare(prepare_time),
    Fetch::new("fc_rttvar", |scene, args| time(scene, args, Number::FrontRttVariance)).prepare(prepare_time),
    Fetch::new("bc_rtt", |scene, args| time(scene, args, Number::BackRtt)).prepare(prepare_time),
    Fetch::new("bc_rttvar", |scene, args| time(scene, args, Number::BackRttVariance)).prepare(prepare_time),
    Fetch::new("fc_unacked", |scene, _| number(scene, Number::FrontUnacked)),
    Fetch::new("fc_sacked", |scene, _| number(scene, Number::FrontSacked)),
    Fetch::new("fc_retrans", |scene, _| number(scene, Number::FrontRetransmissions)),
    Fetch::new("fc_fackets", |scene, _| number(scene, Number::FrontFackets)),
    Fetch::new("fc_lost", |scene, _| number(scene, Number::FrontLost)),
    Fetch::new("fc_reordering", |scene, _| number(scene, Number::FrontReordering)),
    // The PROXY header.
    Fetch::new("fc_rcvd_proxy", |scene, _| flag(scene, Number::ReceivedProxy)),
    Fetch::new("fc_pp_authority", |scene, _| scene.facts?.tlv(TLV_AUTHORITY, 0).map(Value::str)),
    Fetch::new("fc_pp_unique_id", |scene, _| scene.facts?.tlv(TLV_UNIQUE_ID, 0).map(Value::str)),
    Fetch::new("fc_pp_tlv", first_tlv).each(each_tlv).prepare(prepare_tlv),
];

const TLV_AUTHORITY: u8 = 0x02;
const TLV_UNIQUE_ID: u8 = 0x05;

fn ip<'a>(scene: &Scene<'a>, what: Address) -> Option<Value<'a>> {
    scene.address(what).map(|addr| Value::ip(addr.ip()))
}

fn port<'a>(scene: &Scene<'a>, what: Address) -> Option<Value<'a>> {
    scene.address(what).map(|addr| Value::Int(addr.port().into()))
}

fn number<'a>(scene: &Scene<'a>, what: Number) -> Option<Value<'a>> {
    scene.number(what).map(Value::Int)
}

fn flag<'a>(scene: &Scene<'a>, what: Number) -> Option<Value<'a>> {
    scene.number(what).map(|value| Value::Bool(value != 0))
}

/// The kernel counts microseconds; the default unit is the millisecond.
fn time<'a>(scene: &Scene<'a>, args: &[Arg], what: Number) -> Option<Value<'a>> {
    let micros = scene.number(what)?;
    Some(Value::Int(if arguments::int(args, 0) == Some(1_000_000) { micros } else { micros / 1000 }))
}

fn prepare_time(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let per_second = match arguments::word(args, 0)? {
        None | Some("ms") => 1000,
        Some("us") => 1_000_000,
        Some(other) => return Err(format!("expects 'us' or 'ms', got '{other}'")),
    };
    if let Some(arg) = args.get_mut(0) {
        *arg = Arg::Int(per_second);
    }
    Ok(())
}

/// `fc_pp_tlv(id)`
fn first_tlv<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let kind = u8::try_from(arguments::int(args, 0)?).ok()?;
    scene.facts?.tlv(kind, 0).map(Value::str)
}

fn each_tlv<'a>(scene: &Scene<'a>, args: &'a [Arg], visit: &mut dyn FnMut(Value<'a>) -> bool) {
    let kind = arguments::int(args, 0).and_then(|kind| u8::try_from(kind).ok());
    let (Some(facts), Some(kind)) = (scene.facts, kind) else { return };
    for index in 0.. {
        match facts.tlv(kind, index) {
            Some(value) if !visit(Value::str(value)) => {}
            _ => return,
        }
    }
}

/// The identifier of a TLV by number or by the name that the PROXY protocol's specification gives it.
fn prepare_tlv(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let kind = match arguments::word(args, 0)?.unwrap_or_default() {
        "ALPN" => 0x01,
        "AUTHORITY" => TLV_AUTHORITY,
        "CRC32C" => 0x03,
        "NOOP" => 0x04,
        "UNIQUE_ID" => TLV_UNIQUE_ID,
        "SSL" => 0x20,
        "SSL_VERSION" => 0x21,
        "SSL_CN" => 0x22,
        "SSL_CIPHER" => 0x23,
        "SSL_SIG_ALG" => 0x24,
        "SSL_KEY_ALG" => 0x25,
        "NETNS" => 0x30,
        other => {
            let number = match other.strip_prefix("0x").or_else(|| other.strip_prefix("0X")) {
                Some(digits) => i64::from_str_radix(digits, 16),
                None => other.parse(),
            };
            let number = number.map_err(|_| format!("Could not convert type '{other}'"))?;
            u8::try_from(number).map_err(|_| format!("Invalid TLV Type '{other}'"))?
        }
    };
    if let Some(arg) = args.get_mut(0) {
        *arg = Arg::Int(kind.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_each, check_refused};

    #[test]
    fn connections() {
        let case = Case::default();
        check(
            &case,
            &[
                ("src", Some("127.0.0.1")),
                ("src_port", Some("4000")),
                ("dst", Some("2001:db8::1")),
                ("dst_port", Some("443")),
                ("fc_src", None),
                ("bc_dst_port", None),
                ("bc_reused", Some("0")),
                ("fc_rtt", Some("12")),
                ("fc_rtt(ms)", Some("12")),
                ("fc_rtt(us)", Some("12345")),
                ("bc_rtt", None),
                ("fc_pp_authority", Some("authority")),
                ("fc_pp_tlv(AUTHORITY)", Some("authority")),
                ("fc_pp_tlv(234)", Some("one")),
                ("fc_pp_tlv(0xEA)", Some("one")),
                ("fc_pp_unique_id", None),
            ],
        );
        check_each(&case, &[("fc_pp_tlv(234)", &["one", "two"]), ("fc_pp_tlv(5)", &[])]);
        check_refused(&[
            ("fc_rtt(s)", "invalid args in fetch method 'fc_rtt' : expects 'us' or 'ms', got 's'"),
            ("fc_pp_tlv(300)", "Invalid TLV Type '300'"),
            ("fc_pp_tlv(FOO)", "Could not convert type 'FOO'"),
        ]);
    }
}
