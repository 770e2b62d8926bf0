//! Log formats: every alias, flag and encoding over one and the same request, byte for byte as HAProxy prints them.

use lb_tests::pattern::matches;
use lb_tests::{Daemon, Origin, Reply, Served, Setup, is_haproxy};

/// What every row of a table is asked.
const REQUEST: &str = "GET /p/a?x=1 HTTP/1.1\r\nhost: h.example\r\nuser-agent: ua/1 {x|y}\r\nx-q: a\"b\\c]d\r\n\
                       cookie: t=1; sid=abc\r\n\r\n";

/// What the server answers.
const RESPONSE: &str =
    "HTTP/1.1 200 OK\r\nserver: srv\r\nset-cookie: sid=new; path=/\r\ncontent-length: 2\r\n\r\nok";

/// What each frontend keeps of both.
const CAPTURES: &str = "capture request header User-Agent len 20\n    capture request header Nope len 5\n    \
                        capture request header X-Q len 20\n    capture response header Server len 10\n    \
                        capture cookie sid= len 10";

/// A frontend for each list of statements, all with one backend.
fn frontends(captures: &str, statements: &[&str]) -> (Setup, Served) {
    let origin = Origin::bind().serve(|_: &Reply| RESPONSE);
    let mut cfg = "global\n    nbthread 1\n    log stdout len 8192 format raw local0\n\
         defaults\n    mode http\n    log global\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n\
         backend be\n    server s1 <s1>\n"
        .to_owned();
    for (index, statements) in statements.iter().enumerate() {
        cfg += &format!(
            "frontend f{index}\n    bind <f{index}>\n    {captures}\n    {statements}\n    default_backend be\n"
        );
    }
    (Setup::new(cfg).at("s1", origin.addr()), origin)
}

/// Asks each frontend and compares the line it logs; all mistakes are told at once.
async fn check_statements(captures: &str, rows: &[(&str, &str)]) {
    let statements: Vec<_> = rows.iter().map(|(statements, _)| *statements).collect();
    let (setup, _origin) = frontends(captures, &statements);
    let mut daemon = setup.start();
    let mut wrong = Vec::new();
    for (index, (statements, expected)) in rows.iter().enumerate() {
        let line = line_of(&mut daemon, &format!("f{index}")).await;
        let expected = expected.replace("FE", &format!("f{index}"));
        if !matches(&expected, &line) {
            wrong.push(format!("{statements}\n   expected {expected}\n   logged   {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn line_of(daemon: &mut Daemon, frontend: &str) -> String {
    let mut client = daemon.connect(frontend).await;
    assert_eq!(client.ask(REQUEST).await.status(), 200);
    daemon.stdout.next().await
}

/// Rows of a `log-format` and its line.
async fn check(captures: &str, rows: &[(&str, &str)]) {
    let statements: Vec<_> = rows.iter().map(|(format, _)| format!("log-format '{format}'")).collect();
    let rows: Vec<_> =
        statements.iter().zip(rows).map(|(format, (_, line))| (format.as_str(), *line)).collect();
    check_statements(captures, &rows).await;
}

#[tokio::test]
async fn options() {
    let common = "127.0.0.1:<n> [<date>] FE be/s1";
    let http = format!(
        "{common} <n>/<n>/<n>/<n>/<n> 200 <n> sid=abc sid=new ---- <n>/<n>/0/0/0 0/0 {{ua/1 #7Bx#7Cy#7D||a#22b\\c]d}} {{srv}} \
         \"GET /p/a?x=1 HTTP/1.1\""
    );
    let clf = "127.0.0.1 - - [<n>/<*> +<n>]";
    let clf_end = "\"FE\" \"be\" \"s1\" <n> <n> <n> <n> <n> ---- <n> <n> 0 0 0 0 0";
    check_statements(
        CAPTURES,
        &[
            ("option httplog", &http),
            ("option httpslog", &format!("{http} 0/-/-/-/0 -/-/-")),
            ("option tcplog", &format!("{common} <n>/<n>/<n> <n> -- <n>/<n>/0/0/0 0/0")),
            (
                "option httplog clf",
                &format!(
                    "{clf} \"GET /p/a?x=1 HTTP/1.1\" 200 <n> \"\" \"\" <n> <n> {clf_end} \"sid=abc\" \"sid=new\" \
                     \"ua/1 #7Bx#7Cy#7D\" \"\" \"a#22b\\c]d\" \"srv\""
                ),
            ),
            ("option tcplog clf", &format!("{clf} \"TCP \" 000 <n> \"\" \"\" <n> <n> {clf_end} \"\" \"\" ")),
            // The last one counts.
            ("option httplog\n    log-format '%HM %b'", "GET be"),
            ("log-format '%HM %b'\n    option tcplog", &format!("{common} <n>/<n>/<n> <n> -- <n>/<n>/0/0/0 0/0")),
        ],
    )
    .await;
}

#[tokio::test]
async fn aliases() {
    check(
        CAPTURES,
        &[
            ("%ci:%cp %fi:%fp %bi:%bp %si:%sp", "127.0.0.1:<n> 127.0.0.1:<n> 127.0.0.1:<n> 127.0.0.1:<n>"),
            ("%T|%Tl|%Ts|%t|%ms", "<n>/<*> +<n>|<n>/<*> <*>|<n>|<date>|<n>"),
            ("%tr|%trg|%trl", "<date>|<n>/<*> +<n>|<n>/<*> <*>"),
            ("%Ta %Tc %Td %Th %Ti %Tq %TR %Tr %Tt %Tu %Tw", "<n> <n> <n> 0 <n> <n> <n> <n> <n> <n> <n>"),
            ("%B %U %ST %ts %tsc %rc %sq %bq", "<n> <n> 200 -- ---- 0 0 0"),
            ("%ac %fc %bc %sc", "<n> <n> 0 0"),
            ("%f %ft %b %s %OG", "FE FE be s1 txn_<*>"),
            ("%HM %HP %HPO %HQ %HU %HV", "GET /p/a /p/a ?x=1 /p/a?x=1 HTTP/1.1"),
            ("%r|%{+Q}r", "GET /p/a?x=1 HTTP/1.1|\"GET /p/a?x=1 HTTP/1.1\""),
            ("%CC %CS %ID %sslv %sslc", "sid=abc sid=new - - -"),
            ("%hr %hs", "{ua/1 #7Bx#7Cy#7D||a#22b\\c]d} {srv}"),
            ("%hrl|%hsl", "ua/1 #7Bx#7Cy#7D - a#22b\\c]d|srv"),
            ("%lc|%{+X}lc", "0|0000"),
        ],
    )
    .await;
    check("", &[("%hr|%{+Q}hr|%hrl|%hs|%CC|%{+Q}CS", "||||-|\"\"")]).await;
}

#[tokio::test]
async fn counters() {
    let (setup, _origin) = frontends("", &["log-format '%lc %rt %pid'", "log-format '%lc %rt'"]);
    let mut daemon = setup.start();
    let first = line_of(&mut daemon, "f0").await;
    let pid = daemon.pid().as_raw_nonzero();
    // HAProxy's numbers also count connections that the test did not make for a line.
    assert!(is_haproxy() || first == format!("0 0 {pid}"), "{first} with {pid}");
    let number = |line: &str| -> u64 { line.split(' ').nth(1).unwrap().parse().unwrap() };
    let second = line_of(&mut daemon, "f0").await;
    assert!(
        second.starts_with("1 ") && (is_haproxy() || number(&second) > number(&first)),
        "{first} then {second}"
    );
    let other = line_of(&mut daemon, "f1").await;
    assert!(
        is_haproxy() || other.starts_with("0 ") && number(&other) > number(&second),
        "{second} then {other}"
    );
}

#[tokio::test]
async fn flags_and_blanks() {
    check(
        CAPTURES,
        &[
            ("  a   b  %b   c  ", "a b be c "),
            ("a\t%b%%%s \t ", "a\tbe%s1 \t "),
            ("%{+Q}o%b %{-Q}b %b %ST %t %ts %cp", "\"be\" be \"be\" 200 <date> -- <n>"),
            ("%{Q}b %{-Q}b %{+Q,-Q}b %{+Q, +E}b", "be be be \"be\""),
            ("%{+X}ci %{+X}fi %{+X}B %{+X}ST", "7F000001 7F000001 <n> 200"),
            ("%{+E}r|%{+E}hr", "GET /p/a?x=1 HTTP/1.1|{ua/1 #7Bx#7Cy#7D||a#22b\\\\c\\]d}"),
            ("%{+Q,+E}hrl", "\"ua/1 #7Bx#7Cy#7D\" \"\" \"a#22b\\\\c\\]d\""),
            ("%(name)b %(n:str){+Q}b %()b", "be \"be\" be"),
        ],
    )
    .await;
}

#[tokio::test]
async fn expressions() {
    check(
        CAPTURES,
        &[
            ("<%[capture.req.hdr(1)]> <%{+Q}[capture.req.hdr(1)]> <%{+E}[capture.req.hdr(1)]>", "<-> <\"\"> <->"),
            ("a %[str()] b %{+Q}[str()] c", "a - b \"\" c"),
            (
                "%[capture.req.hdr(2)] %{+Q}[capture.req.hdr(2)] %{+E}[capture.req.hdr(2)] %{+Q,+E}[capture.req.hdr(2)]",
                "a\"b\\c]d \"a\"b\\c]d\" a\\\"b\\\\c\\]d \"a\\\"b\\\\c\\]d\"",
            ),
            ("%[int(255)] %{+X}[int(255)] %{+Q}[int(5)]", "255 255 \"5\""),
            ("%[src] %{+Q}[src] %[bool(true)] %{+Q}[bool(true)] %[ipv6(::1)]", "127.0.0.1 \"127.0.0.1\" 1 \"1\" ::1"),
            ("%[method] %{+Q}[method] %[capture.req.method]", "GET \"GET\" GET"),
            ("a%[int(1)]b %[int(1)]%[int(2)] %%[int(1)] %%", "a1b 12 %[int(1)] %"),
            ("%[str(a),upper]%b%[str(  x  )]|%[str( )] | %[str()]", "Abe  x  |  | -"),
            ("  %[str()]  x", "- x"),
            ("%[bin(410042)]|%{+Q}[bin(4100)]", "A|\"A\""),
            ("%{+bin,+Q}o%[str(x)]|%b|%[str()]|%[int(4)]", "\"x\"|\"be\"|\"\"|\"4\""),
            ("%{+bin,+E}o%[str(a]b)]|%[bin(5d)]", "a\\]b|\\]"),
            (
                "%[txn.status] %[fe_name] %[be_name] %[srv_name] %[bytes_out] %[fc_err] %[capture.res.hdr(0)]",
                "200 FE be s1 <n> 0 srv",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn json() {
    check(
        CAPTURES,
        &[
            (
                "%{+json}o %(a)r %(b)[str(custom)] %b text %(c)B %(d)[int(5)] %(e)[bool(true)] %(f)[src]",
                r#"{"a": "GET /p/a?x=1 HTTP/1.1", "b": "custom", "c": <n>, "d": 5, "e": true, "f": "127.0.0.1"}"#,
            ),
            (
                "%{+json}o %(g)[capture.req.hdr(1)] %(h:sint)[str(7)] %(i:str)[int(7)] %(j:bool)[int(1)] %(k)ci %(l)cp",
                r#"{"g": "", "h": 7, "i": "7", "j": true, "k": "127.0.0.1", "l": <n>}"#,
            ),
            (
                "%{+json}o %(a)T %(b)t %(c)Ts %(d)ms %(e)Ta %(g)hr %(h)hs %(i)hrl %(j)hsl %(k)ID %(l)sslv %(n)ts %(o)tsc %(p)rc",
                r#"{"a": "<n>/<*> +<n>", "b": "<date>", "c": <n>, "d": <n>, "e": <n>, "g": "{ua/1 #7Bx#7Cy#7D||a#22b\\c]d}", "h": "{srv}", "i": ["ua/1 #7Bx#7Cy#7D", "-", "a#22b\\c]d"], "j": ["srv"], "k": "", "l": "", "n": "--", "o": "----", "p": 0}"#,
            ),
            (
                "%{+json}o %(q)pid %(s)lc %(t)ST %(v)CC %(w)CS %(y)HM %(z)OG",
                r#"{"q": <n>, "s": 0, "t": 200, "v": "sid=abc", "w": "sid=new", "y": "GET", "z": "txn_<*>"}"#,
            ),
            (
                "x %{+json}r %{+json}[int(5)] %{+json}[capture.req.hdr(1)] %{+json}[bool(true)] %(name){+json}b %(:str){+json}[int(5)]",
                r#"x "GET /p/a?x=1 HTTP/1.1" 5 "" true "be" "5""#,
            ),
            (
                "x %(:bool){+json}[int(5)] %(:sint){+json}[str(5x)] %(:sint){+json}[str(x)] %{+json}hrl %{+json}[method] %{+json}[bin(00ff)]",
                r#"x true 5 0 ["ua/1 #7Bx#7Cy#7D", "-", "a#22b\\c]d"] "GET" """#,
            ),
            ("%{+json}o %b", "{}"),
            ("a %{+json}o b %(x)b c %{-json}o %(y)b %{+json}[int(5)]", r#"a b "be" c be 5"#),
            ("%(q)b %{+json}o %(x)b", r#"{"q": "be", "x": "be"}"#),
            ("%{+json,+cbor}o %(x)b", r#"{"x": "be"}"#),
            (
                "%{+json,+Q,+X}o %(x)b %(y)ci %(z)cp %(m)ms %(i)[int(5)]",
                r#"{"x": "be", "y": "7F000001", "z": "<hex>", "m": "<hex>", "i": 5}"#,
            ),
            (
                "%{+json}o %(x)[capture.req.hdr(2)] %(y)[bin(c3a922410a09ff5c2f08)] %(z){+E}[capture.req.hdr(2)] %(e)[str()]",
                r#"{"x": "a\"b\\c]d", "y": "\u00C3\u00A9\"A\n\t\u00FF\\/\b", "z": "a\"b\\c]d", "e": ""}"#,
            ),
            (
                "%{+json,+utf8}o %(y)[bin(c3a922410a09ff5c2f7fc285e282ac)]",
                "{\"y\": \"\u{e9}\\\"A\\n\\t\\u00FF\\\\/\\u007F\\u0085\u{20ac}\"}",
            ),
            (
                "%{+json}o %(a:sint)b %(b:bool)b %(c:str)B %(d:bool)B %(e:sint)ci %(f:sint)[str(x)] %(g:bool)[str(true)] %(h:bool)[int(0)]",
                r#"{"a": "be", "b": "be", "c": "<n>", "d": true, "e": "127.0.0.1", "f": 0, "g": false, "h": false}"#,
            ),
        ],
    )
    .await;
    check("", &[("%{+json}o %(a)hr %(b)hrl %(c)b", r#"{"a": null, "b": null, "c": "be"}"#)]).await;
}

#[tokio::test]
async fn cbor() {
    check(
        CAPTURES,
        &[
            (
                "%{+cbor}o %(a)r %(b)[str(custom)] %b text %(d)[int(5)] %(e)[bool(true)] %(f)[src] %(g)[capture.req.hdr(1)]",
                "BF61617F75474554202F702F613F783D3120485454502F312E31FF616266637573746F6D6164056165F56166693132372E302E302E316167F6FF",
            ),
            ("%{+cbor}o %(h:sint)[str(7)] %(i:str)[int(7)] %(j:bool)[int(1)] %(t)ST", "BF61680761696137616AF5617418C8FF"),
            (
                "%{+cbor}o %(g)hr %(i)hrl %(j)hsl %(k)ID",
                "BF61677F617B6575612F312063233742617863233743617963233744617C617C61616323323265625C635D64617DFF61699F7F6575612F312063233742617863233743617963233744FF7F612DFF7F61616323323265625C635D64FFFF616A9F7F63737276FFFF616BF6FF",
            ),
            (
                "x %{+cbor}r %{+cbor}[int(5)] %{+cbor}[capture.req.hdr(1)] %{+cbor}[bool(true)] %(name){+cbor}b %(:str){+cbor}[int(5)]",
                "x 7F75474554202F702F613F783D3120485454502F312E31FF 05 F6 F5 626265 6135",
            ),
            (
                "x %(:bool){+cbor}[int(5)] %(:sint){+cbor}[str(5x)] %{+cbor}[method] %{+cbor}[src] %{+cbor}[bin(00ff)] %{+cbor}[int(-500)] %{+cbor}f",
                "x F5 05 63474554 693132372E302E302E31 5F4200FFFF 3901F3 62<hex>",
            ),
            ("%{+cbor,+json}o %(x)b", "BF6178626265FF"),
            ("%{+cbor}o %b", "BFFF"),
        ],
    )
    .await;
}

#[tokio::test]
async fn structured_data() {
    let sd = |format: &str, more: &str| {
        format!(
            "no log\n    log stdout len 8192 format rfc5424 local0\n    log-format '%HM'\n    log-format-sd '{format}'{more}"
        )
    };
    let rows = [
        (
            sd("[sd@1 h=\"%{+E}hr\"][b@1   x=\"%HU\"]", ""),
            "[sd@1 h=\"{ua/1 #7Bx#7Cy#7D||a#22b\\\\c\\]d}\"][b@1 x=\"/p/a?x=1\"] GET",
        ),
        (sd(" ", ""), "- GET"),
        // The other wire formats have no place for it.
        (sd("[x]", "\n    log stdout format raw local0"), "[x] GET"),
    ];
    let rows: Vec<_> = rows
        .iter()
        .map(|(statements, line)| (statements.as_str(), format!("<134>1 <n>-<n>-<n>T<*> - <*> <n> - {line}")))
        .collect();
    let rows: Vec<_> = rows.iter().map(|(statements, line)| (*statements, line.as_str())).collect();
    check_statements(CAPTURES, &rows).await;
}

#[tokio::test]
async fn unique_ids() {
    let origin = Origin::bind().serve(|_: &Reply| RESPONSE);
    let mut daemon = Setup::new(
        "global\n    log stdout format raw local0\n\
         defaults\n    mode http\n    log global\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n    \
         unique-id-format '%{+X}o  %ci:%cp_%fi:%fp_%Ts_%rt:%pid%bi   %HM'\n    unique-id-header X-Unique-ID\n\
         frontend fe\n    bind <fe>\n    log-format '%ID'\n    default_backend be\n\
         frontend none\n    bind <none>\n    unique-id-format '%bi%ID'\n    log-format '<%ID>'\n    default_backend be\n\
         backend be\n    server s1 <s1>\n",
    )
    .at("s1", origin.addr())
    .start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(REQUEST).await.status(), 200);
    let line = daemon.stdout.next().await;
    assert!(matches("7F000001:<hex>_7F000001:<hex>_<hex>_<hex>:<hex> GET", &line), "{line}");
    let requests = origin.requests();
    assert_eq!(requests[0].header("x-unique-id"), Some(line.as_str()), "{}", requests[0].head);
    let mut client = daemon.connect("none").await;
    assert_eq!(client.ask(REQUEST).await.status(), 200);
    assert_eq!(daemon.stdout.next().await, "<->");
}

#[tokio::test]
async fn lengths_of_captures() {
    let captures = "capture request header user-agent len 4\n    declare capture request len 3\n    \
                    capture request header x-q len 1\n    capture cookie si len 5";
    check(captures, &[("%hr %CC %CS", "{ua/1||a} sid=a sid=n")]).await;
    // The last of several, and what a server does not send.
    let origin = Origin::bind()
        .serve(|_: &Reply| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-r: 1\r\nx-r: 2,3\r\n\r\n");
    let mut daemon = Setup::new(
        "global\n    log stdout format raw local0\n\
         defaults\n    mode http\n    log global\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n\
         frontend fe\n    bind <fe>\n    capture request header x-a len 20\n    capture response header x-r len 20\n    \
         capture response header x-n len 20\n    capture cookie b= len 20\n    log-format '%hr %hs %CC %CS'\n    default_backend be\n\
         backend be\n    server s1 <s1>\n",
    )
    .at("s1", origin.addr())
    .start();
    let mut client = daemon.connect("fe").await;
    let request =
        "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1, 2\r\nX-A: 3, 4\r\ncookie: a=1;b=2\r\ncookie: b=3\r\n\r\n";
    assert_eq!(client.ask(request).await.status(), 200);
    assert_eq!(daemon.stdout.next().await, "{3, 4} {2,3|} b=2 -");
}

#[tokio::test]
async fn tcp_mode() {
    let rows = [
        ("option httplog", "127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> <n> -- <n>/<n>/0/0/0 0/0"),
        (
            "option httplog clf",
            "127.0.0.1 - - [<*>] \"TCP \" 000 <n> \"\" \"\" <n> <n> \"fe\" \"be\" \"s1\" 0 <n> <n> <n> <n> ---- <n> <n> 0 0 0 0 0 \"\" \"\" ",
        ),
        (
            "log-format '%ci:%cp %fi:%fp %bi:%bp %si:%sp %ID'\n    unique-id-format '%ci'",
            "127.0.0.1:<n> 127.0.0.1:<n> 127.0.0.1:<n> 127.0.0.1:<n> 127.0.0.1",
        ),
        ("log-format '%B %U %ts %f %b %s'", "82 102 -- fe be s1"),
    ];
    for (statements, expected) in rows {
        let origin = Origin::bind().serve(|_: &Reply| RESPONSE);
        let mut daemon = Setup::new(format!(
            "global\n    log stdout format raw local0\n\
             defaults\n    mode tcp\n    log global\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n\
             frontend fe\n    bind <fe>\n    {statements}\n    default_backend be\n\
             backend be\n    server s1 <s1>\n"
        ))
        .at("s1", origin.addr())
        .start();
        let mut client = daemon.connect("fe").await;
        assert_eq!(client.ask(REQUEST).await.status(), 200);
        client.close();
        let line = daemon.stdout.next().await;
        assert!(matches(expected, &line), "{statements}\n   expected {expected}\n   logged   {line}");
    }
}

/// What is wrong with a format, said with its place.
#[tokio::test]
async fn mistakes() {
    let rows = [
        (
            "log-format '%zz'",
            "failed to parse log-format : no such format alias 'zz'. If you wanted to emit the '%' character verbatim, you need to use '%%'.",
        ),
        ("log-format '50%'", "failed to parse log-format : truncated line after '%'."),
        (
            "log-format '% b'",
            "failed to parse log-format : unexpected alias name near ' ' at position 1 line : '% b'. Maybe you want to write a single '%', use the syntax '%%'.",
        ),
        ("log-format '%{+Qb'", "failed to parse log-format : truncated line after '+Qb'."),
        (
            "log-format '%{+Q}'",
            "failed to parse log-format : parse argument modifier without alias name near '%{+Q}'.",
        ),
        (
            "log-format '%(x:zzz)b'",
            "failed to parse log-format : unexpected output type 'zzz' at position 4 line : '%(x:zzz)b'. Supported types are: str, sint, bool, raw.",
        ),
        (
            "log-format '%(x b'",
            "failed to parse log-format : invalid character in custom name near ' ' at position 3 line : '%(x b'.",
        ),
        ("log-format '%[src'", "failed to parse log-format : missing ']' after 'src'."),
        ("log-format '%[src ]'", "failed to parse log-format : expected ']' after 'src', but found ' '."),
        (
            "log-format '%[zz]'",
            "failed to parse log-format : failed to parse sample expression <zz]> : unknown fetch method 'zz'.",
        ),
        (
            "log-format '%[src,zz]'",
            "failed to parse log-format : failed to parse sample expression <src,zz]> : unknown converter 'zz'.",
        ),
        (
            "log-format '%[req.hdr(x)]'",
            "failed to parse log-format : sample fetch <req.hdr> may not be reliably used here because it needs 'HTTP request headers' which is not available here.",
        ),
        (
            "log-format-sd '%[res.hdr(x)]'",
            "failed to parse log-format-sd : sample fetch <res.hdr> may not be reliably used here because it needs 'HTTP response headers' which is not available here.",
        ),
        (
            "error-log-format '%[req.len]'",
            "failed to parse error-log-format : sample fetch <req.len> may not be reliably used here because it needs 'request buffer' which is not available here.",
        ),
        (
            "unique-id-format '%[status]'",
            "failed to parse unique-id : sample fetch <status> may not be reliably used here because it needs 'HTTP response' which is not available here.",
        ),
    ];
    for (statement, expected) in rows {
        let exit = Setup::new(format!(
            "defaults\n    mode http\n    log stdout local0\n    timeout client 5s\nfrontend fe\n    bind <fe>\n    {statement}\n"
        ))
        .arg("-c")
        .run()
        .await;
        assert_eq!(exit.code, Some(1), "{statement}");
        let expected = format!(":7]: {expected}");
        assert!(
            exit.stderr.contains(&expected),
            "{statement}\n   expected {expected}\n   said {}",
            exit.stderr
        );
    }
}
