//! Health checks: what each step sends and expects.

use super::{Text, quoted, tls};
use crate::model::{Check, CheckConnect, CheckExpect, CheckStep, ExpectWhat, HttpSend, TextMatch};

pub(super) fn steps(out: &mut Text, check: &Check) {
    let (family, steps) = match check {
        Check::Connect => return,
        Check::SslHello(_) => return out.flag("option ssl-hello-chk", true),
        Check::Tcp(steps) => ("tcp-check", steps),
        Check::Http(steps) => ("http-check", steps),
    };
    out.flag(&format!("option {}", if family == "tcp-check" { family } else { "httpchk" }), true);
    for step in steps {
        match step {
            CheckStep::Comment(text) => out.line(family, format_args!("comment {text:?}")),
            CheckStep::Connect(step) => out.line(family, connect(step)),
            CheckStep::Send { data, .. } => out.blob(&format!("{family} send"), data),
            CheckStep::HttpSend(send) => http_send(out, send),
            CheckStep::Expect(step) => out.line(family, expect(step)),
        }
    }
}

fn connect(connect: &CheckConnect) -> String {
    let mut text = "connect".to_owned();
    text.push_str(&connect.addr.map(|addr| format!(" addr {addr}")).unwrap_or_default());
    text.push_str(&connect.port.map(|port| format!(" port {port}")).unwrap_or_default());
    text.push_str(if connect.linger { " linger" } else { "" });
    text.push_str(if connect.default { " default" } else { "" });
    text.push_str(if connect.ssl { " ssl" } else { "" });
    text.push_str(&connect.sni.as_ref().map(|sni| format!(" sni {sni}")).unwrap_or_default());
    text.push_str(
        &connect.alpn.as_ref().map(|names| format!(" alpn {}", tls::alpn(names))).unwrap_or_default(),
    );
    text.push_str(&connect.proto.map(|proto| format!(" proto {}", tls::proto(proto))).unwrap_or_default());
    text.push_str(&connect.comment.as_ref().map(|text| format!(" comment {text:?}")).unwrap_or_default());
    text
}

fn http_send(out: &mut Text, send: &HttpSend) {
    let mut text = format!("send meth {} uri {} ver {}", send.method, send.uri, send.version);
    for (name, value) in &send.headers {
        text.push_str(&format!(" hdr {name} {value:?}"));
    }
    if let Some(body) = &send.body {
        text.push_str(&format!(" body {}", quoted(body)));
    }
    text.push_str(&send.comment.as_ref().map(|text| format!(" comment {text:?}")).unwrap_or_default());
    out.line("http-check", text);
}

fn expect(expect: &CheckExpect) -> String {
    let text_match = |text: &TextMatch| format!("{:?} {:?}", text.how, text.text).to_lowercase();
    let what = match &expect.what {
        ExpectWhat::String(text) => format!("string {}", quoted(text)),
        ExpectWhat::Binary(bytes) => format!("binary {}", quoted(bytes)),
        ExpectWhat::Regex(text) => format!("rstring {text:?}"),
        ExpectWhat::RegexBinary(text) => format!("rbinary {text:?}"),
        ExpectWhat::Status(ranges) => {
            let ranges: Vec<String> = ranges.iter().map(|(low, high)| format!("{low}-{high}")).collect();
            format!("status {}", ranges.join(","))
        }
        ExpectWhat::RegexStatus(text) => format!("rstatus {text:?}"),
        ExpectWhat::Header { name, value, full } => {
            let value = value.as_ref().map(|value| format!(" value {}", text_match(value)));
            let word = if *full { "fhdr" } else { "hdr" };
            format!("{word} name {}{}", text_match(name), value.unwrap_or_default())
        }
    };
    let mut text = format!("expect {}{what}", if expect.negate { "! " } else { "" });
    text.push_str(&expect.min_recv.map(|bytes| format!(" min-recv {bytes}")).unwrap_or_default());
    for (name, value) in [
        ("comment", &expect.comment),
        ("ok-status", &expect.ok_status),
        ("error-status", &expect.error_status),
        ("tout-status", &expect.tout_status),
    ] {
        text.push_str(&value.as_ref().map(|value| format!(" {name} {value:?}")).unwrap_or_default());
    }
    text
}
