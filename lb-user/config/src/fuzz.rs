//! One call through the whole crate, for the fuzz target `config`.

use std::io;

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
