//! `option httpslog` and the manual's `error-log-format`, with lines that HAProxy 3.2 wrote for the same connections.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use sockeye_config::model::Mode;
use sockeye_fetch::fuzz::Nothing;
use sockeye_http::RequestHead;
use sockeye_log::{Connections, Format, Logger, Peer, Process, Record, Request, Timers, Tls};
use sockeye_pattern::Library;
use sockeye_sample::tls::{OpenSslError, TlsFacts, TlsSide, Verification};
use sockeye_sample::{
    Address, Date, Expressions, Facts, Language, Number, Purpose, Scene, Stage, Stages, Text,
};
use sockeye_syntax::source::LOG_FORMATS;

/// A client's connection, and why it failed.
struct Client {
    tls: Option<TlsFacts>,
    error: i64,
}

impl Facts for Client {
    fn number(&self, what: Number) -> Option<i64> {
        (what == Number::FrontError).then_some(self.error)
    }

    fn text(&self, _: Text) -> Option<&[u8]> {
        None
    }

    fn address(&self, _: Address) -> Option<SocketAddr> {
        None
    }

    fn date(&self, _: Date) -> Option<SystemTime> {
        None
    }

    fn capture(&self, _: bool, _: usize) -> Option<Vec<u8>> {
        None
    }

    fn keep_capture(&self, _: bool, _: usize, _: &[u8]) -> bool {
        false
    }

    fn unique_id(&self, _: Option<&RequestHead>) -> Option<&[u8]> {
        None
    }

    fn tls(&self, side: TlsSide) -> Option<&TlsFacts> {
        self.tls.as_ref().filter(|_| side == TlsSide::Front)
    }
}

/// Writes the line of a client's request, from a frontend that answers by itself.
fn check(format: &str, client: &Client, expected: &str) {
    static LANGUAGE: LazyLock<Language> =
        LazyLock::new(|| Language::new(&sockeye_fetch::all(), &sockeye_convert::all()));
    let mut expressions = Expressions::new(&LANGUAGE, Library::default());
    let mut warnings = Vec::new();
    let mut compiler = expressions.compiler("test.cfg", 1, "f", &mut warnings);
    let format = Format::parse(format, Purpose::Log, Stages::of(Stage::Log), &mut compiler).unwrap();

    let date = UNIX_EPOCH + Duration::from_millis(1_795_265_977_268);
    let record = Record {
        client: Some(Peer::Inet("127.0.0.1:46718".parse().unwrap())),
        tls: client.tls.as_ref().map(Tls::from),
        timers: Timers { request: Some(0), ..Timers::default() },
        status: Some(200),
        bytes_read: 7695,
        termination: *b"LR--",
        connections: Connections { process: 1, frontend: 1, backend: 0, server: 0 },
        request: Some(Request { method: b"GET", target: b"/", version: b"HTTP/1.1", limit: 1024 }),
        ..Record::new(Mode::Http, "f", date)
    };
    let process = Process { hostname: "vm".into(), pid: 1, header_hostname: None, zone: TimeZone::UTC };
    let logger = Logger::new(Vec::new(), "haproxy", Arc::new(process));
    let mut scene = Scene::new(Stage::Log, date, &Nothing);
    scene.facts = Some(client);
    let mut out = Vec::new();
    logger.text(&format, &record, Some(&scene), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

fn agreed() -> TlsFacts {
    TlsFacts {
        established: true,
        version: Some(0x304),
        cipher: Some(0x1302),
        sni: Some(b"localhost".as_slice().into()),
        ..TlsFacts::default()
    }
}

#[test]
fn httpslog() {
    let (_, format) = LOG_FORMATS.iter().find(|(name, _)| *name == "HAPROXY_HTTPS_LOG_FMT").unwrap();
    let expired = Verification { result: 10, leaf_error: 10, ..Verification::default() };
    let rows = [
        (None, "f f", "0/-/-/-/0 -/-/-"),
        (Some(agreed()), "f~ f", "0/0000000000000000/0/0/0 localhost/TLSv1.3/TLS_AES_256_GCM_SHA384"),
        (
            Some(TlsFacts { verification: expired, sni: None, ..agreed() }),
            "f~ f",
            "0/0000000000000000/10/0/0 -/TLSv1.3/TLS_AES_256_GCM_SHA384",
        ),
        (
            Some(TlsFacts { version: Some(0x303), cipher: Some(0xc02c), resumed: true, ..agreed() }),
            "f~ f",
            "0/0000000000000000/0/0/1 localhost/TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ];
    for (tls, names, end) in rows {
        let expected = format!(
            "127.0.0.1:46718 [21/Nov/2026:12:59:37.268] {names}/<NOSRV> 0/-1/-1/-1/0 200 7695 - - LR-- 1/1/0/0/0 0/0 \
             \"GET / HTTP/1.1\" {end}"
        );
        check(format, &Client { tls, error: 0 }, &expected);
    }
}

/// The example of manual 8.2.5.
#[test]
fn error_log_format() {
    let format = "%ci:%cp [%tr] %ft %ac/%fc %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/\
                  %[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc";
    let facts =
        TlsFacts { version: Some(0x303), error: Some(OpenSslError::of_reason(193)), ..TlsFacts::default() };
    check(
        format,
        &Client { tls: Some(facts), error: 34 },
        "127.0.0.1:46718 [21/Nov/2026:12:59:37.268] f~ 1/1 34/000000000A0000C1/0/0/0 -/TLSv1.2/(NONE)",
    );
}
