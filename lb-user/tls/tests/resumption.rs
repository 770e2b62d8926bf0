//! Sessions that are resumed, and those that must not be.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use base64ct::{Base64, Encoding};
use common::*;
use rustls::HandshakeKind;
use sockeye_tls::settings::{Profile, Version};
use sockeye_tls::{Acceptor, Connector, acceptor};

fn kinds(acceptors: &[&Acceptor], connector: &Connector) -> String {
    let kind = |acceptor: &&Acceptor| match meet(acceptor, connector, Some("a.test")).unwrap().kind {
        HandshakeKind::Resumed => 'r',
        HandshakeKind::Full => 'f',
        _ => '?',
    };
    acceptors.iter().map(kind).collect()
}

struct Case {
    files: Files,
    global: Global,
}

impl Case {
    fn new() -> Self {
        let files = Files::new();
        let authority = Authority::new("ca");
        files.write("ca.pem", authority.pem());
        files.write("a.pem", authority.leaf(&["a.test"]).pem());
        files.write("client.pem", authority.leaf(&["client.test"]).pem());
        Self { files, global: Global::default() }
    }

    fn bind(&self) -> Bind {
        Bind { certificates: vec![self.files.path("a.pem")], ..Bind::default() }
    }

    fn load(&self, bind: &Bind) -> Acceptor {
        acceptor(bind, &self.global, &sockeye_tls::Stores::new(&self.global, std::time::SystemTime::now()))
            .unwrap()
            .value
    }

    fn client(&self, version: Version) -> Server {
        Server {
            ca_file: Some(self.files.path("ca.pem")),
            profile: Profile { min: Some(version), max: Some(version), ..Profile::default() },
            ..Server::default()
        }
    }
}

#[test]
fn tickets_and_the_cache() {
    for version in [Version::Tls12, Version::Tls13] {
        let case = Case::new();
        let server = case.client(version);
        let check = |bind: &Bind, global: &Global, server: &Server, expected: &str| {
            let case = Case { files: Files::new(), global: global.clone() };
            let acceptor = case.load(bind);
            let connector = sockeye_tls::connector(server, global, &stores()).unwrap().value;
            assert_eq!(
                kinds(&[&acceptor, &acceptor, &acceptor], &connector),
                expected,
                "{version:?} {bind:?}"
            );
        };
        let no_tickets =
            Bind { profile: Profile { tickets: Some(false), ..Profile::default() }, ..case.bind() };
        let no_cache = Global { cache_size: 0, ..Global::default() };
        let global = Global::default();
        check(&case.bind(), &global, &server, "frr");
        check(&case.bind(), &no_cache, &server, "frr");
        check(&no_tickets, &global, &server, "frr");
        check(&no_tickets, &no_cache, &server, "fff");
        check(&case.bind(), &global, &Server { no_reuse: true, ..server.clone() }, "fff");
        let no_early = Bind { allow_0rtt: true, ..case.bind() };
        check(&no_early, &global, &server, "frr");
    }
}

#[test]
fn machines_share_a_file_of_keys() {
    let case = Case::new();
    let key = |fill: u8| Base64::encode_string(&[fill; 80]) + "\n";
    let one = Bind { ticket_keys: Some(case.files.write("1", key(1) + &key(2) + &key(3))), ..case.bind() };
    let two = Bind {
        ticket_keys: Some(case.files.write("2", key(1) + &key(2) + &key(3) + &key(4))),
        ..case.bind()
    };
    let other = Bind { ticket_keys: Some(case.files.write("3", key(7) + &key(8) + &key(9))), ..case.bind() };
    let [one, two, other] = [one, two, other].map(|bind| case.load(&bind));
    let connector = load_server(&case.client(Version::Tls13));
    assert_eq!(kinds(&[&one, &two, &one, &other], &connector), "frrf");
    let bad = Bind { ticket_keys: Some(case.files.write("4", key(1))), ..case.bind() };
    let errors = acceptor(&bad, &case.global, &stores()).unwrap_err();
    assert!(errors[0].ends_with("please supply at least 3 keys in the tls-tickets-file"), "{errors:?}");
}

#[test]
fn who_was_not_checked_is_not_resumed_as_if() {
    let case = Case::new();
    let key = |fill: u8| Base64::encode_string(&[fill; 48]) + "\n";
    let keys = case.files.write("keys", key(1) + &key(2) + &key(3));
    let client = ClientAuth {
        verify: Verify::Optional,
        ca_file: Some(case.files.path("ca.pem")),
        ..ClientAuth::default()
    };
    for tickets in [true, false] {
        let profile = Profile { tickets: Some(tickets), ..Profile::default() };
        let open = Bind { ticket_keys: Some(keys.clone()), profile, ..case.bind() };
        let checked = Bind { client: client.clone(), ..open.clone() };
        // One store, thus one cache.
        let stores = stores();
        let load = |bind: &Bind| acceptor(bind, &case.global, &stores).unwrap().value;
        let (open, checked) = (load(&open), load(&checked));
        for version in [Version::Tls12, Version::Tls13] {
            let server = Server { certificate: Some(case.files.path("client.pem")), ..case.client(version) };
            let connector = load_server(&server);
            assert_eq!(
                kinds(&[&open, &open, &checked, &checked, &open], &connector),
                "frfrf",
                "{tickets} {version:?}"
            );
        }
    }
}

#[test]
fn a_resumed_session_knows_its_client() {
    let case = Case::new();
    let stranger = Authority::new("stranger").leaf(&["stranger.test"]);
    let certificate = case.files.write("stranger.pem", stranger.pem());
    let client = ClientAuth {
        verify: Verify::Required,
        ca_file: Some(case.files.path("ca.pem")),
        crt_ignore_err: sockeye_tls::settings::Ignored::All,
        ca_ignore_err: sockeye_tls::settings::Ignored::All,
        ..ClientAuth::default()
    };
    let acceptor = case.load(&Bind { client, ..case.bind() });
    for version in [Version::Tls12, Version::Tls13] {
        let connector =
            load_server(&Server { certificate: Some(certificate.clone()), ..case.client(version) });
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let done = meet(&acceptor, &connector, Some("a.test")).unwrap();
            assert_eq!(done.kind, expected);
            assert_eq!((done.verdict.error, done.verdict.verify), (20, 21), "{version:?} {expected:?}");
            assert_eq!(names(&done.server.peer_certificates().unwrap()[0]), ["stranger.test"]);
        }
    }
}

#[test]
fn early_data() {
    use std::io::{Read, Write};
    let case = Case::new();
    let send = |allowed: bool, offered: bool| {
        let acceptor = case.load(&Bind { allow_0rtt: allowed, ..case.bind() });
        let connector = load_server(&case.client(Version::Tls13));
        meet(&acceptor, &connector, Some("a.test")).unwrap();
        let connection = connector.connection(Some("a.test"), "127.0.0.1".parse().unwrap());
        // Ours never sends any; other clients do.
        let mut config = rustls::ClientConfig::clone(&connection.config);
        config.enable_early_data = offered;
        let mut client = rustls::ClientConnection::new(config.into(), connection.name).unwrap();
        let sent = client.early_data().is_some_and(|mut early| early.write_all(b"early").is_ok());
        let mut done = meet_client(&acceptor, client).unwrap();
        assert_eq!(done.kind, HandshakeKind::Resumed);
        let mut received = String::new();
        if let Some(mut early) = done.server.early_data() {
            early.read_to_string(&mut received).unwrap();
        }
        (sent, received)
    };
    assert_eq!(send(true, true), (true, "early".to_owned()));
    assert_eq!(send(true, false), (false, String::new()));
    assert_eq!(send(false, true), (false, String::new()));
}
