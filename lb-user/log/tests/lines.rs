//! Lines as HAProxy 3.2 wrote them for the same streams: recorded from the real one through a UDP receiver, with
//! ports, dates and pids as they were.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use sockeye_config::model::Mode;
use sockeye_log::{
    Captures, Connections, Dates, Format, Origin, Peer, Process, Queues, Record, Request, Retries, Timers,
    Tls, connect_line, connection_error_line, write_alias,
};
use sockeye_sample::Purpose;
use sockeye_syntax::source::LOG_FORMATS;

/// 2026-11-21 07:10:07.136 UTC.
fn date() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_245_007_136)
}

fn process() -> Process {
    Process { hostname: "vm".into(), pid: 3902, header_hostname: None, zone: TimeZone::UTC }
}

fn inet(address: &str) -> Peer {
    Peer::Inet(address.parse().unwrap())
}

fn request(target: &str) -> Request<'_> {
    Request { method: b"GET", target: target.as_bytes(), version: b"HTTP/1.1", limit: 1024 }
}

fn at_once() -> Timers {
    Timers {
        handshake: 0,
        idle: Some(0),
        request: Some(0),
        queue: Some(0),
        connect: Some(0),
        response: Some(0),
        total: 0,
    }
}

/// A request that was answered.
fn http() -> Record<'static> {
    Record {
        client: Some(inet("127.0.0.1:37464")),
        destination: Some(inet("127.0.0.1:35937")),
        server_source: Some("127.0.0.1:34202".parse().unwrap()),
        server_address: Some(inet("127.0.0.1:46285")),
        backend: "be",
        server: Some("s1"),
        timers: at_once(),
        status: Some(200),
        bytes_read: 95,
        bytes_uploaded: 102,
        connections: Connections { process: 2, frontend: 1, backend: 0, server: 0 },
        request: Some(request("/a")),
        log_counter: 1,
        request_counter: 1,
        ..Record::new(Mode::Http, "fe", date())
    }
}

/// A request that was not understood.
fn bad() -> Record<'static> {
    Record {
        client: Some(inet("127.0.0.1:37450")),
        destination: Some(inet("127.0.0.1:35937")),
        timers: Timers { idle: Some(0), ..Timers::default() },
        status: Some(400),
        termination: *b"PR--",
        connections: Connections { process: 1, frontend: 1, backend: 0, server: 0 },
        origin: Origin::SessError,
        ..Record::new(Mode::Http, "fe", date())
    }
}

/// A connection that was relayed.
fn tcp() -> Record<'static> {
    Record {
        client: Some(inet("127.0.0.1:35368")),
        backend: "bt",
        server: Some("s2"),
        timers: Timers { queue: Some(1), connect: Some(0), ..Timers::default() },
        bytes_read: 105,
        bytes_uploaded: 47,
        connections: Connections { process: 2, frontend: 1, backend: 0, server: 0 },
        ..Record::new(Mode::Tcp, "ft", date())
    }
}

fn parse(format: &str) -> Result<Format, sockeye_sample::FormatError> {
    Format::of_aliases(format, Purpose::Log)
}

fn render(format: &Format, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    let (process, mut dates) = (process(), Dates::new(TimeZone::UTC));
    format.write_aliases(&mut out, &mut |alias, flags, out| {
        write_alias(alias, flags, record, &process, &mut dates, out);
    });
    String::from_utf8(out).unwrap()
}

fn check(format: &str, record: &Record<'_>, expected: &str) {
    assert_eq!(render(&parse(format).unwrap(), record), expected, "{format}");
}

/// The format that an option stands for.
fn check_option(option: &str, record: &Record<'_>, expected: &str) {
    let variable = format!("HAPROXY_{option}_LOG_FMT");
    let (_, format) = LOG_FORMATS.iter().find(|(name, _)| *name == variable).unwrap();
    check(format, record, expected);
}

#[test]
fn httplog() {
    check_option(
        "HTTP",
        &http(),
        r#"127.0.0.1:37464 [21/Nov/2026:07:10:07.136] fe be/s1 0/0/0/0/0 200 95 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#,
    );
    check_option(
        "HTTP",
        &bad(),
        r#"127.0.0.1:37450 [21/Nov/2026:07:10:07.136] fe fe/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>""#,
    );
    let asap = Record { asap: true, ..http() };
    check_option(
        "HTTP",
        &asap,
        r#"127.0.0.1:37464 [21/Nov/2026:07:10:07.136] fe be/s1 0/0/0/0/+0 200 +95 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#,
    );
    let unix = Record { client: Some(Peer::Unix { id: 3 }), ..http() };
    check_option(
        "HTTP",
        &unix,
        r#"unix:3 [21/Nov/2026:07:10:07.136] fe be/s1 0/0/0/0/0 200 95 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#,
    );
    let ipv6 = Record { client: Some(inet("[::1]:49090")), ..http() };
    check_option(
        "HTTP",
        &ipv6,
        r#"::1:49090 [21/Nov/2026:07:10:07.136] fe be/s1 0/0/0/0/0 200 95 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#,
    );
}

/// The example of manual 8.2.3, with every field set.
#[test]
fn httplog_in_full() {
    let accepted = UNIX_EPOCH + Duration::from_millis(1_233_922_454_655);
    let record = Record {
        client: Some(inet("10.0.1.2:33317")),
        backend: "static",
        server: Some("srv1"),
        timers: Timers {
            handshake: 0,
            idle: Some(0),
            request: Some(10),
            queue: Some(0),
            connect: Some(30),
            response: Some(69),
            total: 109,
        },
        status: Some(200),
        bytes_read: 2750,
        captures: Captures {
            request_headers: &[Some(b"1wt.eu")],
            response_headers: &[None],
            request_cookie: Some(b"ck=12"),
            ..Captures::default()
        },
        connections: Connections { process: 1, frontend: 1, backend: 1, server: 1 },
        retries: Retries { count: 2, redispatched: true },
        queues: Queues { server: 3, backend: 4 },
        request: Some(request("/index.html")),
        tls: Some(Tls { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" }),
        ..Record::new(Mode::Http, "http-in", accepted)
    };
    check_option(
        "HTTP",
        &record,
        r#"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ static/srv1 10/0/30/69/109 200 2750 ck=12 - ---- 1/1/1/1/+2 3/4 {1wt.eu} {} "GET /index.html HTTP/1.1""#,
    );
    check("%sslv %sslc %{+Q}sslv", &record, r#"TLSv1.3 TLS_AES_256_GCM_SHA384 "TLSv1.3""#);
}

#[test]
fn tcplog() {
    check_option(
        "TCP",
        &tcp(),
        "127.0.0.1:35368 [21/Nov/2026:07:10:07.136] ft bt/s2 1/0/0 105 -- 2/1/0/0/0 0/0",
    );
    let asap = Record { asap: true, bytes_read: 0, ..tcp() };
    check_option(
        "TCP",
        &asap,
        "127.0.0.1:35368 [21/Nov/2026:07:10:07.136] ft bt/s2 1/0/+0 +0 -- 2/1/0/0/0 0/0",
    );
}

#[test]
fn clf() {
    check_option(
        "HTTP_CLF",
        &http(),
        r#"127.0.0.1 - - [21/Nov/2026:07:10:07 +0000] "GET /a HTTP/1.1" 200 95 "" "" 37464 136 "fe" "be" "s1" 0 0 0 0 0 ---- 2 1 0 0 0 0 0 "" "" "#,
    );
    check_option(
        "HTTP_CLF",
        &bad(),
        r#"127.0.0.1 - - [21/Nov/2026:07:10:07 +0000] "<BADREQ>" 400 0 "" "" 37450 136 "fe" "fe" "<NOSRV>" -1 -1 -1 -1 0 PR-- 1 1 0 0 0 0 0 "" "" "#,
    );
    check_option(
        "TCP_CLF",
        &tcp(),
        r#"127.0.0.1 - - [21/Nov/2026:07:10:07 +0000] "TCP " 000 105 "" "" 35368 136 "ft" "bt" "s2" 0 1 0 0 47 ---- 2 1 0 0 0 0 0 "" "" "#,
    );
}

#[test]
fn lines_without_a_format() {
    let line = |frontend, mode, client, destination| {
        let mut out = Vec::new();
        connect_line(frontend, mode, client, destination, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        line("fe", Mode::Http, Some(inet("1.2.3.4:11")), Some(inet("5.6.7.8:22"))),
        "Connect from 1.2.3.4:11 to 5.6.7.8:22 (fe/HTTP)"
    );
    assert_eq!(
        line("ft", Mode::Tcp, Some(inet("[::1]:56852")), Some(inet("[::1]:54655"))),
        "Connect from ::1:56852 to ::1:54655 (ft/TCP)"
    );
    assert_eq!(line("ft", Mode::Tcp, Some(Peer::Unix { id: 2 }), None), "Connect to unix:2 (ft/TCP)");

    let mut out = Vec::new();
    connection_error_line(
        Some(inet("127.0.0.1:56430")),
        date(),
        "fe",
        "pp",
        "Truncated PROXY protocol header received",
        &mut Dates::new(TimeZone::UTC),
        &mut out,
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "127.0.0.1:56430 [21/Nov/2026:07:10:07.136] fe/pp: Truncated PROXY protocol header received"
    );
}

/// Every alias but those of captures, first of an answered request, then of one that was not understood.
#[test]
fn aliases() {
    let dates = "%T|%Tl|%Ts|%t|%ms|%tr|%trg|%trl";
    let date = "21/Nov/2026:07:10:07 +0000|21/Nov/2026:07:10:07 +0000|1795245007|21/Nov/2026:07:10:07.136|136|\
                21/Nov/2026:07:10:07.136|21/Nov/2026:07:10:07 +0000|21/Nov/2026:07:10:07 +0000";
    check(dates, &http(), date);

    let others = "Ta=%Ta Tc=%Tc Td=%Td Th=%Th Ti=%Ti Tq=%Tq TR=%TR Tr=%Tr Tt=%Tt Tu=%Tu Tw=%Tw B=%B CC=%CC CS=%CS \
                  H=%H HM=%HM HP=%HP HPO=%HPO HQ=%HQ HU=%HU HV=%HV ID=%ID ST=%ST U=%U ac=%ac b=%b bc=%bc bi=%bi \
                  bp=%bp bq=%bq ci=%ci cp=%cp f=%f fc=%fc fi=%fi fp=%fp ft=%ft lc=%lc OG=%OG pid=%pid r=%r rc=%rc \
                  rt=%rt s=%s sc=%sc si=%si sp=%sp sq=%sq sslc=%sslc sslv=%sslv ts=%ts tsc=%tsc";
    let answered = Record { request: Some(request(r"http://h.com/p/q?x=%22&y=[]{}|\")), ..http() };
    check(
        others,
        &answered,
        r"Ta=0 Tc=0 Td=0 Th=0 Ti=0 Tq=0 TR=0 Tr=0 Tt=0 Tu=0 Tw=0 B=95 CC=- CS=- H=vm HM=GET HP=http://h.com/p/q HPO=/p/q HQ=?x=%22&y=[]{}|\ HU=http://h.com/p/q?x=%22&y=[]{}|\ HV=HTTP/1.1 ID=- ST=200 U=102 ac=2 b=be bc=0 bi=127.0.0.1 bp=34202 bq=0 ci=127.0.0.1 cp=37464 f=fe fc=1 fi=127.0.0.1 fp=35937 ft=fe lc=1 OG=txn_close pid=3902 r=GET http://h.com/p/q?x=%22&y=[]{}|\ HTTP/1.1 rc=0 rt=1 s=s1 sc=0 si=127.0.0.1 sp=46285 sq=0 sslc=- sslv=- ts=-- tsc=----",
    );
    check(
        others,
        &bad(),
        "Ta=0 Tc=-1 Td=-1 Th=0 Ti=0 Tq=-1 TR=-1 Tr=-1 Tt=0 Tu=0 Tw=-1 B=0 CC=- CS=- H=vm HM=<BADREQ> HP=<BADREQ> HPO=<BADREQ> HQ=<BADREQ> HU=<BADREQ> HV=<BADREQ> ID=- ST=400 U=0 ac=1 b=fe bc=0 bi=- bp=- bq=0 ci=127.0.0.1 cp=37450 f=fe fc=1 fi=127.0.0.1 fp=35937 ft=fe lc=0 OG=sess_error pid=3902 r=<BADREQ> rc=0 rt=0 s=<NOSRV> sc=0 si=- sp=- sq=0 sslc=- sslv=- ts=PR tsc=PR--",
    );
}

#[test]
fn flags() {
    let quoted = "%{+Q}o CC=%CC H=%H HQ=%HQ ID=%ID ST=%ST bi=%bi bp=%bp ci=%ci cp=%cp ft=%ft pid=%pid r=%r s=%s ts=%ts";
    check(
        quoted,
        &bad(),
        r#"CC="" H="vm" HQ="<BADREQ>" ID="" ST=400 bi="" bp="" ci="127.0.0.1" cp=37450 ft="fe" pid=3902 r="<BADREQ>" s="<NOSRV>" ts=PR"#,
    );
    check("%{+Q}HQ %HQ %{+Q}HPO", &http(), r#""" "/a""#);
    check(
        "%{+X}o %Ts %ms %ci %cp %fi %pid %lc %rt %ST %B %si",
        &Record { server_address: None, ..http() },
        "6B0143CF 88 7F000001 9258 7F000001 0F3E 0001 0001 200 95 -",
    );
    let ipv6 = Record { client: Some(inet("[2001:db8::1]:49074")), ..http() };
    check("%{+X}ci %{+X}cp", &ipv6, "20010DB8000000000000000000000001 BFB2");
    let odd = Record { unique_id: Some(br#"u[]"%pid"#), request: Some(request(r"/x[]\")), ..http() };
    check("%{+E}ID %{+E}r", &odd, r#"u[\]\"%pid GET /x[\]\\ HTTP/1.1"#);
}

#[test]
fn captures() {
    let record = Record {
        captures: Captures {
            request_cookie: Some(b"ck=1\"2#3{4}\xe9\x7f]\\"),
            response_cookie: Some(b"ck2=vv"),
            request_headers: &[Some(b"h.com"), Some(b"a\"b|c}d\\\xe9\t#{"), None],
            response_headers: &[Some(b"b\"c")],
        },
        ..http()
    };
    check("%hr %hs", &record, r"{h.com|a#22b#7Cc#7Dd\#E9#09#23#7B|} {b#22c}");
    check("%{+Q}hr %{+Q}hs", &record, r#""{h.com|a#22b#7Cc#7Dd\#E9#09#23#7B|}" "{b#22c}""#);
    check("%hrl %hsl", &record, r"h.com a#22b#7Cc#7Dd\#E9#09#23#7B - b#22c");
    check("%{+Q}hrl", &record, r#""h.com" "a#22b#7Cc#7Dd\#E9#09#23#7B" """#);
    check("%{+E}hr", &record, r"{h.com|a#22b#7Cc#7Dd\\#E9#09#23#7B|}");
    // HAProxy leaves the two last bytes of this cookie as they are; the manual says they are encoded (8.6).
    check("%CC %CS", &record, r#"ck=1"2#3{4}#E9#7F]\ ck2=vv"#);
}

#[test]
fn uris_are_encoded_and_cut() {
    let line = |target: &[u8], limit| {
        let request = Request { method: b"GET", target, version: b"HTTP/1.1", limit };
        render(&parse("%{+Q}r").unwrap(), &Record { request: Some(request), ..http() })
    };
    assert_eq!(line(b"/\"#\xe9|{}", 1024), r#""GET /#22#23#E9|{} HTTP/1.1""#);
    assert_eq!(line(b"/0123456789abcdefghij", 20), r#""GET /0123456789abcde""#);
    assert_eq!(line(b"/012345", 20), r#""GET /012345 HTTP/1.1""#);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever client, server and file say, a line is one line of printable ASCII, and no format panics.
    #[test]
    fn lines_are_printable(
        format in "[ -$&-~]{0,20}(%([{][+-][QXE][}])?(r|hr|hsl|HU|HPO|HQ|CC|ID|tr|ci|cp|B|o)[ /]?){0,6}",
        wild in "\\PC{0,20}%\\PC{0,4}",
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        limit in 0..60_usize,
    ) {
        let _ = parse(&wild);
        if let Ok(format) = parse(&format) {
            let headers = [Some(&bytes[..]), None];
            let record = Record {
                request: Some(Request { method: &bytes, target: &bytes, version: &bytes, limit }),
                captures: Captures {
                    request_cookie: Some(&bytes),
                    response_cookie: None,
                    request_headers: &headers,
                    response_headers: &headers,
                },
                unique_id: Some(&bytes),
                ..http()
            };
            let line = render(&format, &record);
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        }
    }
}
