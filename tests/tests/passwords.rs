//! Passwords whose hashes take long: who waits for one, and who does not.

use std::time::Instant;

use lb_tests::{Rig, get, is_haproxy, ok};

/// Half a million rounds of SHA-512 take hundreds of milliseconds.
const USERS: &str = "userlist slow\n  user ann password \
    $6$rounds=500000$saltsaltsalt$hdBTyzfwZaZiv0Eed5PP01kDW4l9At.jGRhqcLDl/3poyv2yp/C36j0Xrku.ul/T.z1VoAP8p5mOiXx//dnuE0\n  \
    user eve insecure-password open\n";

const AUTH: &str = "http-request auth realm r if { path_beg /ann } !{ http_auth(slow) }\n\
                    http-request set-header x-user yes if { http_auth(slow) }";

fn with_password(path: &str, credentials: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: Basic {credentials}\r\n\r\n")
}

#[tokio::test]
async fn others_are_served_while_a_hash_is_computed() {
    if is_haproxy() {
        return; // It computes on the thread of everybody else.
    }
    let mut rig = Rig::http().global(&format!("nbthread 1\n{USERS}")).frontend(AUTH).start();
    let mut guesser = rig.client().await;
    // ann:guess
    guesser.send(with_password("/ann", "YW5uOmd1ZXNz")).await;
    let refused = async {
        let answer = guesser.head().await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        Instant::now()
    };
    let others = async {
        let (mut client, mut origin) = rig.asked(get("/")).await;
        origin.expect(get("/")).await;
        origin.send(ok("other")).await;
        client.expect(ok("other")).await;
        let served = Instant::now();
        // eve:open
        client.send(with_password("/ann/eve", "ZXZlOm9wZW4=")).await;
        let request = origin.head().await;
        assert!(request.contains("x-user: yes"), "{request}");
        origin.send(ok("eve")).await;
        client.expect(ok("eve")).await;
        served
    };
    let (refused, served) = tokio::join!(refused, others);
    assert!(served < refused, "the hash took less than another client's request, or the other waited for it");
    // What is right is asked for anew with each rule and request, and computed once: ann:password
    for path in ["/ann/1", "/ann/2"] {
        let mut client = rig.client().await;
        client.send(with_password(path, "YW5uOnBhc3N3b3Jk")).await;
        let mut origin = rig.origin.accept().await;
        let request = origin.head().await;
        assert!(request.contains("x-user: yes"), "{request}");
    }
}
