//! What rules may not do: split a message, leak from one request to the next, grow without end, or wait for nothing.

use lb_tests::{Daemon, Origin, Rig, Setup, get, is_haproxy, ok};

const NOTHING: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Two requests on one connection: what the client gets, and that the second one is a request of its own.
#[track_caller]
fn dialogue(
    rules: &'static str,
    request: String,
    answer: &'static str,
    expected: &'static str,
) -> impl Future<Output = ()> {
    let mut rig = Rig::http().frontend(rules).start();
    async move {
        let (mut client, mut origin) = rig.asked(request).await;
        origin.head().await;
        origin.send(answer).await;
        client.expect(expected).await;
        client.send(get("/next")).await;
        // The server's connection goes with a body that nobody wants; HAProxy reads it.
        let kept = is_haproxy() || rules.contains("set-method HEAD");
        let mut origin = if kept { origin } else { rig.origin.accept().await };
        origin.head().await;
        origin.send(ok("next")).await;
        client.expect(ok("next")).await;
    }
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const HELLO_CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

#[tokio::test]
async fn a_client_gets_a_body_only_where_it_expects_one() {
    let get_for_head = "http-request set-method GET if { method HEAD }";
    dialogue(get_for_head, request("HEAD", "/a"), HELLO, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        .await;
    let no_content = "http-request set-var(txn.path) path\n\
                      http-response set-status 204 if { var(txn.path) -m str /a }";
    let expected = "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n";
    dialogue(no_content, request("GET", "/a"), HELLO, expected).await;
    let not_modified = "http-request set-var(txn.path) path\n\
                        http-after-response set-status 304 if { var(txn.path) -m str /a }";
    let expected = "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n";
    dialogue(not_modified, request("GET", "/a"), HELLO_CHUNKED, expected).await;
}

#[tokio::test]
async fn a_response_without_body_says_so_to_a_client_that_expects_one() {
    if is_haproxy() {
        return; // It announces a body that does not come.
    }
    let head_for_get = "http-request set-method HEAD if { path /a }";
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    dialogue(head_for_get, get("/a"), announced, NOTHING).await;
    for answer in
        ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"]
    {
        let mut rig = Rig::http().frontend("http-response set-status 200 unless { status 200 }").start();
        let (mut client, mut origin) = rig.asked([get("/a"), get("/b")].concat()).await;
        origin.expect(get("/a")).await;
        origin.send(answer).await;
        client.expect(NOTHING).await;
        origin.expect(get("/b")).await;
        origin.send(ok("b")).await;
        client.expect(ok("b")).await;
    }
}

#[tokio::test]
async fn replies_of_rules_follow_the_method_that_the_client_sent() {
    let mut daemon = Daemon::start(
        "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 30s\nfrontend fe\n    bind <fe>\n\
         \x20   http-request set-method %[req.hdr(as)]\n\
         \x20   http-request return status 200 content-type text/plain string hi\n",
    );
    let mut client = daemon.connect("fe").await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\n";
    client.send("HEAD / HTTP/1.1\r\nhost: test\r\nas: GET\r\n\r\n").await;
    client.expect(head).await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\nas: HEAD\r\n\r\n").await;
    client.expect(format!("{head}hi")).await;
}

#[tokio::test]
async fn a_reply_whose_status_rules_change_has_no_body_where_none_may_be() {
    let mut daemon = Daemon::start(
        "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 30s\nfrontend fe\n    bind <fe>\n\
         \x20   http-request set-var(txn.path) path\n\
         \x20   http-request return status 200 content-type text/plain string hi\n\
         \x20   http-after-response set-status 204 if { var(txn.path) -m str /a }\n",
    );
    let mut client = daemon.connect("fe").await;
    client.send([get("/a"), get("/b")].concat()).await;
    if !is_haproxy() {
        client
            .expect("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\n")
            .await;
        client.expect("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nhi").await;
    }
}

#[tokio::test]
async fn replies_of_rules_frame_themselves() {
    let mut daemon = Daemon::start(
        "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 30s\nfrontend fe\n    bind <fe>\n\
         \x20   http-request return status 200 hdr connection close if { path /close }\n\
         \x20   http-request return status 200 hdr content-length 7 hdr transfer-encoding chunked hdr x-none %[req.hdr(none)]\n",
    );
    let mut client = daemon.connect("fe").await;
    client.send([get("/"), get("/close"), get("/never")].concat()).await;
    client.expect(NOTHING).await;
    client.expect_last("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
}

#[tokio::test]
async fn rules_may_close_connections() {
    for rule in
        ["http-response set-header Connection close", "http-after-response add-header connection close"]
    {
        let mut rig = Rig::http().frontend(rule).start();
        let (mut client, mut origin) = rig.asked([get("/1"), get("/2")].concat()).await;
        origin.expect(get("/1")).await;
        origin.send(ok("a")).await;
        client.expect_last("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na").await;
        rig.origin.expect_quiet().await;
    }
    let mut rig = Rig::http().frontend("http-request set-header connection close").start();
    let (mut client, mut origin) = rig.asked(get("/1")).await;
    origin.expect("GET /1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    origin.send(ok("a")).await;
    client.expect(ok("a")).await;
    origin.expect_closed().await;
}

#[tokio::test]
async fn rules_do_not_see_what_is_said_of_the_connection() {
    let mut rig = Rig::http().frontend("http-request set-header x-seen [%[req.hdr(connection)]]").start();
    let (_client, mut origin) =
        rig.asked("GET / HTTP/1.1\r\nhost: test\r\nconnection: Keep-Alive\r\n\r\n").await;
    origin.expect("GET / HTTP/1.1\r\nhost: test\r\nx-seen: []\r\n\r\n").await;
}

#[tokio::test]
async fn an_absolute_target_follows_the_host_that_a_rule_sets() {
    let mut rig = Rig::http().frontend("http-request set-header host other").start();
    let (_client, mut origin) = rig.asked("GET http://test/a HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.expect("GET http://other/a HTTP/1.1\r\nhost: other\r\n\r\n").await;
}

#[tokio::test]
async fn unique_ids_are_valid_in_headers() {
    let mut rig =
        Rig::http().frontend("unique-id-format %[url_param(x),url_dec]\nunique-id-header x-id").start();
    let request = "GET /?x=a%0d%0ab:c HTTP/1.1\r\nhost: test\r\n";
    let (_client, mut origin) = rig.asked(format!("{request}\r\n")).await;
    origin.expect(format!("{request}x-id: a%0D%0Ab:c\r\n\r\n")).await;
}

#[tokio::test]
async fn a_unique_id_is_missing_in_its_own_format() {
    let mut rig = Rig::http().frontend("unique-id-format %[unique-id]x%ID\nunique-id-header x-id").start();
    let (_client, mut origin) = rig.asked(get("/")).await;
    origin.expect("GET / HTTP/1.1\r\nhost: test\r\nx-id: x\r\n\r\n").await;
}

#[tokio::test]
async fn variables_of_a_request_end_with_it() {
    let mut daemon = Daemon::start(
        "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 30s\nfrontend fe\n    bind <fe>\n\
         \x20   mode tcp\n    tcp-request content switch-mode http\n\
         \x20   http-request set-header x-old [%[var(txn.a)]]\n\
         \x20   http-request set-var(txn.a) path\n\
         \x20   http-request return status 200 hdr x-old %[req.hdr(x-old)]\n",
    );
    for _ in 0..2 {
        let mut client = daemon.connect("fe").await;
        for _ in 0..2 {
            client.send(get("/a")).await;
            client.expect("HTTP/1.1 200 OK\r\nx-old: []\r\ncontent-length: 0\r\n\r\n").await;
        }
    }
}

#[tokio::test]
async fn variables_set_by_a_line_of_the_log_end_with_it() {
    let mut rig = Rig::http().defaults("log-format seen:%[var(txn.a)]:%[str(a),set-var(txn.a)]").start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    for _ in 0..2 {
        origin.expect(get("/")).await;
        origin.send(ok("a")).await;
        client.expect(ok("a")).await;
        rig.log().wait("seen:-:a").await;
        client.send(get("/")).await;
    }
}

#[tokio::test]
async fn addresses_that_a_backend_sets_are_for_one_request() {
    let mut rig = Rig::http()
        .backend("http-request set-src req.hdr(ip) if { req.hdr(ip) -m found }\nhttp-request set-header x-src %[src]")
        .start();
    let (mut client, mut origin) = rig.asked("GET /1 HTTP/1.1\r\nhost: test\r\nip: 192.0.2.1\r\n\r\n").await;
    origin.expect("GET /1 HTTP/1.1\r\nhost: test\r\nip: 192.0.2.1\r\nx-src: 192.0.2.1\r\n\r\n").await;
    origin.send(ok("a")).await;
    client.expect(ok("a")).await;
    client.send(get("/2")).await;
    origin.expect("GET /2 HTTP/1.1\r\nhost: test\r\nx-src: 127.0.0.1\r\n\r\n").await;
}

#[tokio::test]
async fn texts_that_rules_write_end_where_a_buffer_does() {
    let mut daemon = Daemon::start(
        "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 30s\nfrontend fe\n    bind <fe>\n\
         \x20   http-request set-var(sess.x) str(0123456789abcdef) if ! { var(sess.x) -m found }\n\
         \x20   http-request set-var-fmt(sess.x) %[var(sess.x)]%[var(sess.x)]\n\
         \x20   http-request return status 200 hdr x-size %[var(sess.x),length] if { path /size }\n\
         \x20   http-request return status 200 content-type text/plain lf-string %[var(sess.x)]\n",
    );
    let mut client = daemon.connect("fe").await;
    for doubled in 1..20 {
        client.send(get("/size")).await;
        let size = (16 << doubled).min(16_383);
        client.expect(format!("HTTP/1.1 200 OK\r\nx-size: {size}\r\ncontent-length: 0\r\n\r\n")).await;
    }
    // Such a payload does not fit into a buffer with its head.
    client.send(get("/body")).await;
    assert_eq!(client.reply().await.status(), 500);
}

#[tokio::test]
async fn edits_of_a_head_share_a_buffer() {
    let long = "a".repeat(9000);
    let fields = |count: usize| {
        let fields = format!("x: {}\r\n", "a".repeat(100)).repeat(count);
        format!("GET / HTTP/1.1\r\nhost: test\r\n{fields}\r\n")
    };
    for (rule, request, fits) in [
        ("http-request set-path %[path]", get(&format!("/{long}")), true),
        (
            "http-request set-header x %[req.hdr(x)]",
            format!("GET / HTTP/1.1\r\nhost: test\r\nx: {long}\r\n\r\n"),
            true,
        ),
        (
            "http-request add-header x %[req.hdr(x)]",
            format!("GET / HTTP/1.1\r\nhost: test\r\nx: {long}\r\n\r\n"),
            false,
        ),
        ("http-request replace-path (.*) \\1\\1", get(&format!("/{long}")), false),
        ("http-request replace-header x (.*) \\1", fields(50), true),
        ("http-request replace-header x (.*) \\1\\1\\1\\1", fields(50), false),
        ("http-request replace-value x (.*) \\1\\1\\1\\1", fields(50), false),
    ] {
        println!("{rule}");
        let mut rig = Rig::http().frontend(rule).start();
        if fits {
            let (_client, mut origin) = rig.asked(&request).await;
            origin.expect(request).await;
        } else {
            let mut client = rig.client().await;
            client.send(request).await;
            assert_eq!(client.reply().await.status(), 500);
            rig.origin.expect_quiet().await;
        }
    }
}

#[tokio::test]
async fn what_cannot_stand_in_a_request_line_is_encoded() {
    for rule in ["set-path /%[url_param(x),url_dec]", "replace-pathq .* /%[url_param(x),url_dec]?"] {
        let mut rig = Rig::http().frontend(&format!("http-request {rule}\nhttp-request set-query q")).start();
        let (_client, mut origin) = rig.asked(get("/?x=a%0d%0a%7fb")).await;
        origin.expect(get("/a%0D%0A%7Fb?q")).await;
    }
}

#[tokio::test]
async fn no_body_may_be_given_to_a_204() {
    let setup = Setup::new(
        "defaults\n    mode http\n    timeout client 30s\nfrontend fe\n    bind <fe>\n\
         \x20   http-request return status 204 content-type text/plain string hi\n",
    );
    let exit = setup.arg("-c").run().await;
    assert!(exit.stderr.contains("No body expected for 204 responses"), "{}", exit.stderr);
}

#[tokio::test]
async fn a_pause_leaves_the_time_of_a_request_as_it_was() {
    let mut rig = Rig::http().frontend("option http-buffer-request\nhttp-request pause 20").start();
    let mut client = rig.client().await;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n").await;
    // Longer than the pause.
    client.expect_quiet().await;
    client.send("hello").await;
    let mut origin = rig.origin.accept().await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello").await;
}

#[tokio::test]
async fn a_client_that_ends_its_direction_still_gets_what_a_rule_delays() {
    for rule in ["http-request pause 50", "http-response pause 50"] {
        let mut rig = Rig::http().frontend(rule).start();
        let mut client = rig.client().await;
        client.send(get("/")).await;
        client.finish();
        let mut origin = rig.origin.accept().await;
        origin.expect(get("/")).await;
        origin.send(ok("a")).await;
        assert_eq!(client.reply().await.text(), "a", "{rule}");
    }
    let mut rig = Rig::http().frontend("timeout tarpit 1h\nhttp-request tarpit").start();
    let mut client = rig.client().await;
    client.send(get("/")).await;
    client.finish();
    assert_eq!(client.reply().await.status(), 500);
    rig.log().wait("<*> 500 <*> PT-- <*>").await;
}

#[tokio::test]
async fn chunks_are_counted_by_their_content() {
    let rules = "http-request wait-for-body time 10s at-least 5\nhttp-request set-header x-body %[req.body]";
    let mut rig = Rig::http().frontend(rules).start();
    let mut client = rig.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
        .await;
    rig.origin.expect_quiet().await;
    client.send("3\r\ncde\r\n").await;
    let mut origin = rig.origin.accept().await;
    assert!(origin.head().await.contains("x-body: abcde\r\n"));
}

#[tokio::test]
async fn a_timeout_of_zero_is_the_configured_one() {
    let rules = "http-request set-timeout server int(1)\nhttp-request set-timeout server int(0)";
    let mut rig = Rig::http().backend(rules).start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    client.expect_quiet().await;
    origin.send(ok("a")).await;
    client.expect(ok("a")).await;
    let cfg = Rig::http().backend("http-request set-timeout server 0").cfg();
    let exit = Setup::new(cfg).at("s1", "127.0.0.1:1").arg("-c").run().await;
    assert!(
        exit.stderr.contains("null value is not valid for a 'set-timeout server' rule"),
        "{}",
        exit.stderr
    );
}

#[tokio::test]
async fn a_client_may_not_be_silent_for_all_of_an_inspection() {
    let rules =
        "timeout client 50ms\ntcp-request inspect-delay 1h\ntcp-request content accept if { req.len gt 10 }";
    let mut rig = Rig::tcp().frontend(rules).start();
    let mut client = rig.client().await;
    client.send("abc").await;
    client.expect_end().await;
    rig.log().wait("<*> cR <*>").await;
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn a_refused_response_gives_its_place_on_the_server_back_first() {
    let mut rig = Rig::http().frontend("http-response deny if { status 200 }").start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    origin.send(ok("a")).await;
    assert_eq!(client.reply().await.status(), 502);
    rig.log().wait("<*> 502 <*> PH-- 1/1/0/0/0 <*>").await;
}

#[tokio::test]
async fn only_a_client_that_knows_of_a_tunnel_gets_one() {
    if is_haproxy() {
        return; // It sends the tunnel's bytes as a body.
    }
    let upgrade = "GET /a HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw";
    for (rule, request, answer) in [
        ("http-response set-status 200 if { status 101 }", upgrade.to_owned(), switch),
        ("http-request set-method CONNECT if { path /a }", get("/a"), "HTTP/1.1 200 OK\r\n\r\nraw"),
    ] {
        println!("{rule}");
        let mut rig = Rig::http().frontend(rule).start();
        let (mut client, mut origin) = rig.asked(request).await;
        origin.head().await;
        origin.send(answer).await;
        client.expect(NOTHING).await;
        origin.expect_closed().await;
        client.send(get("/next")).await;
        let mut origin = rig.origin.accept().await;
        origin.expect(get("/next")).await;
        origin.send(ok("next")).await;
        client.expect(ok("next")).await;
    }
}

#[tokio::test]
async fn a_rejected_response_leaves_no_word() {
    if is_haproxy() {
        return; // The same, if it looks when all of the response has come.
    }
    for (rule, status, code) in
        [("reject", None, " -1 <n> - - PD--"), ("close", Some(502), " 502 <n> - - SH--")]
    {
        let mut rig = Rig::http().backend(&format!("tcp-response content {rule}")).start();
        let (mut client, mut origin) = rig.asked(get("/")).await;
        origin.head().await;
        origin.send(ok("a")).await;
        match status {
            None => client.expect_end().await,
            Some(status) => assert_eq!(client.reply().await.status(), status),
        }
        rig.log().wait(&format!("<*>/-1/<n>{code}<*>")).await;
    }
}

#[tokio::test]
async fn a_transaction_keeps_its_number() {
    let rules = "http-request set-header id %[txn.id32]\nhttp-response set-header id %[txn.id32]";
    let mut rig = Rig::http().frontend(rules).start();
    let (mut first, mut origin) = rig.asked(get("/")).await;
    let sent = origin.head().await;
    let id = lb_tests::http::header(&sent, "id").expect("the request's id");
    let (_second, mut other) = rig.asked(get("/")).await;
    assert!(!other.head().await.contains(&format!("id: {id}\r\n")));
    origin.send(ok("a")).await;
    assert_eq!(first.reply().await.header("id"), Some(id));
}

#[tokio::test]
async fn the_rest_of_a_denied_request_is_taken_before_the_next_one() {
    let head = "POST /no HTTP/1.1\r\nhost: test\r\n";
    for (start, rest) in [
        (format!("{head}content-length: 7\r\n\r\nGET"), "smug".to_owned()),
        (format!("{head}content-length: 500000\r\n\r\n"), "x".repeat(500_000)),
        (
            format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nGET\r\n"),
            "4\r\nsmug\r\n0\r\n\r\n".to_owned(),
        ),
    ] {
        let mut rig = Rig::http().frontend("http-request deny if { path /no }").start();
        let mut client = rig.client().await;
        client.send(start).await;
        assert_eq!(client.reply().await.status(), 403);
        client.send(rest + &get("/next")).await;
        let mut origin = rig.origin.accept().await;
        origin.expect(get("/next")).await;
        origin.send(ok("next")).await;
        client.expect(ok("next")).await;
    }
}

#[tokio::test]
async fn a_denied_request_that_does_not_end_ends_the_connection() {
    let mut rig = Rig::http().frontend("http-request deny if { path /no }").start();
    let mut client = rig.client().await;
    client.send("POST /no HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nGET\r\n").await;
    assert_eq!(client.reply().await.status(), 403);
    client.send("zz\r\n").await;
    client.expect_end().await;
    let mut client = rig.client().await;
    let expects = "POST /no HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    client.send(expects).await;
    assert_eq!(client.reply().await.status(), 403);
    if !is_haproxy() {
        client.expect_end().await;
    }
}

#[tokio::test]
async fn a_request_goes_where_its_own_rules_say() {
    let (first, second) = (Origin::bind(), Origin::bind());
    let cfg = "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 30s\n    timeout server 30s\n\
               \x20   timeout connect 5s\nfrontend fe\n    bind <fe>\n    default_backend be\nbackend be\n\
               \x20   http-request set-dst str(127.0.0.1)\n    http-request set-dst-port req.hdr(port)\n\
               \x20   server s1 0.0.0.0:0\n";
    let mut daemon = Daemon::start(cfg);
    let mut client = daemon.connect("fe").await;
    let ask =
        |origin: &Origin| format!("GET / HTTP/1.1\r\nhost: test\r\nport: {}\r\n\r\n", origin.addr().port());
    client.send(ask(&first)).await;
    let mut peer = first.accept().await;
    for _ in 0..2 {
        peer.expect(ask(&first)).await;
        peer.send(ok("first")).await;
        client.expect(ok("first")).await;
        // The same way again, on the same connection.
        client.send(ask(&first)).await;
    }
    peer.expect(ask(&first)).await;
    peer.send(ok("first")).await;
    client.expect(ok("first")).await;
    client.send(ask(&second)).await;
    let mut peer = second.accept().await;
    peer.expect(ask(&second)).await;
    peer.send(ok("second")).await;
    client.expect(ok("second")).await;
}

#[tokio::test]
async fn a_response_that_rules_cannot_finish_is_not_sent() {
    let long = "a".repeat(9000);
    let rules = "http-request set-var(txn.x) req.hdr(x)\n\
                 http-request return status 200 hdr secret 1 if { path /own }\n\
                 http-after-response set-header a %[var(txn.x)]\n\
                 http-after-response set-header b %[var(txn.x)]\n\
                 http-after-response del-header secret";
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nx: {long}\r\n\r\n");
    let mut rig = Rig::http().frontend(rules).start();
    let (mut client, mut origin) = rig.asked(ask("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nsecret: 1\r\ncontent-length: 0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.header("secret")), (500, None));
    rig.log().wait("<*> 500 <*> PH-- <*>").await;
    client.send(ask("/own")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.header("secret")), (500, None));
}
