//! One call through the whole crate, for the fuzz targets `config` and `expressions`.

use std::io;
use std::time::UNIX_EPOCH;

use sockeye_fetch::fuzz::Nothing as NoWorld;
use sockeye_http::RequestHead;
use sockeye_http::h1::{self, Limits, Strictness};
use sockeye_rules::{Action, Rule};
use sockeye_sample::{Body, Bytes, Scene, Stage};
use sockeye_syntax::condition::Facts;
use sockeye_syntax::source::{Environment, Loader};

use crate::{NoNames, Options, Surroundings, dump, read_text};

/// Reads `text` as a configuration.
///
/// Panics when a promise is broken: a configuration exists if and only if there is no alert, and it can be dumped.
pub fn read_anything(text: &[u8]) {
    let around = Surroundings { loader: &Nothing, resolver: &NoNames, facts: &Nothing };
    let (config, diags) = read_text("fuzz", text, &around, &mut Environment::new(), &Options::default());
    assert_eq!(config.is_none(), diags.has_alerts());
    if let Some(config) = config {
        dump::dump(&config);
    }
}

/// The places in a proxy where text of the rule language may stand.
const PLACES: [&str; 9] = [
    "http-request set-var(txn.a) ",
    "http-request set-header a ",
    "http-request deny if ",
    "http-request ",
    "http-response ",
    "http-after-response ",
    "tcp-request content ",
    "tcp-response content ",
    "acl a ",
];

/// Reads the first line of `data`, up to a NUL, in every place for rules; what follows the NUL is a request that the
/// rules see, as a head and as bytes in a buffer.
pub fn rules(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, request) = data.split_at(end);
    let request = request.get(1..).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    for place in PLACES {
        let mut file = b"defaults\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n\
            listen l\n bind :1\n server s :2\n "
            .to_vec();
        file.extend_from_slice(place.as_bytes());
        file.extend_from_slice(line);
        if place == "acl a " {
            file.extend_from_slice(b"\n http-request deny if a");
        }
        file.push(b'\n');
        let around = Surroundings { loader: &Nothing, resolver: &NoNames, facts: &Nothing };
        let (config, _) = read_text("fuzz", &file, &around, &mut Environment::new(), &Options::default());
        for frontend in config.iter().flat_map(|config| &config.frontends) {
            let sets = &frontend.rules;
            evaluate(sets.http_request.iter().chain(&sets.tcp_content).map(|rule| &**rule), request);
        }
    }
}

/// Every condition and every value of a variable, once with the head and once with the buffer.
fn evaluate<'a>(rules: impl Iterator<Item = &'a Rule> + Clone, request: &[u8]) {
    let mut buffer = Scene::new(Stage::FrontendRequestContent, UNIX_EPOCH, &NoWorld);
    buffer.buffer = Some(Bytes { bytes: request, closed: false, waited: false });
    let mut head = RequestHead::new();
    let mut message = Scene::new(Stage::FrontendRequestHeader, UNIX_EPOCH, &NoWorld);
    if let Ok(Some(length)) = h1::parse_request(request, &mut head, &Limits::default(), Strictness::Relaxed) {
        message.request = Some(&head);
        message.request_body = Body { bytes: &request[length..], whole: true, length: None };
    }
    for scene in [&buffer, &message] {
        for rule in rules.clone() {
            rule.applies(scene);
            if let Action::SetVar { value, .. } = &rule.action {
                value.eval(scene);
            }
        }
    }
}

/// One small file under every name, and no facts.
struct Nothing;

impl Loader for Nothing {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(b"HTTP/1.0 503 x\r\n\r\n".to_vec())
    }
    fn list(&self, _: &str) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }
}

impl Facts for Nothing {
    fn version(&self) -> &str {
        "3.4.0"
    }
    fn feature(&self, _: &str) -> bool {
        false
    }
    fn enabled(&self, _: &str) -> bool {
        false
    }
    fn tls_library(&self) -> Option<(&str, &str)> {
        None
    }
    fn awslc_api(&self) -> Option<u32> {
        None
    }
}
