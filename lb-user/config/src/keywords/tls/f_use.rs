//! `ssl-f-use` (manual 4.2): certificates for every `ssl` bind line of a frontend, as lines of a list of its own.

use sockeye_syntax::words::Words;

use crate::scope::ProxyScope;

/// Words with one argument: those of bind lines that a crt-list knows, and those of `load`.
const VALUES: [&str; 18] = [
    "alpn",
    "ca-file",
    "ca-verify-file",
    "ciphers",
    "ciphersuites",
    "client-sigalgs",
    "crl-file",
    "curves",
    "ecdhe",
    "sigalgs",
    "ssl-min-ver",
    "ssl-max-ver",
    "verify",
    "key",
    "ocsp",
    "issuer",
    "sctl",
    "ocsp-update",
];
const FLAGS: [&str; 3] = ["allow-0rtt", "no-alpn", "no-ca-names"];

/// Lines of one frontend: more belong into a file.
const LINES_MAX: usize = 10_000;

/// `ssl-f-use crt FILE [WORD …]`.
pub(crate) fn parse(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    match line(words) {
        Ok(_) if scope.proxy.list_lines.len() >= LINES_MAX => {
            words.alert(format!("'ssl-f-use' : a frontend has at most {LINES_MAX} lines: use 'crt-list'."));
        }
        Ok(line) => scope.proxy.list_lines.push(line),
        Err(message) => {
            words.alert(format!("'ssl-f-use' : {message}."));
            words.skip_rest();
        }
    }
}

/// The line that a crt-list would have.
fn line(words: &mut Words<'_>) -> Result<String, String> {
    let (mut certificate, mut options) = (None, Vec::new());
    while let Some(word) = words.next() {
        if FLAGS.contains(&word) {
            options.push(word);
            continue;
        }
        if word != "crt" && !VALUES.contains(&word) {
            return Err(format!("unknown keyword '{word}'"));
        }
        let value = words.next().ok_or_else(|| format!("'{word}' expects an argument"))?;
        if value.is_empty() || value.contains(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '#')) {
            return Err(format!("'{word}' : '{value}' cannot stand in a list"));
        }
        if word == "crt" {
            certificate = Some(value);
        } else {
            options.extend([word, value]);
        }
    }
    let certificate = certificate.ok_or("mandatory 'crt' parameter not found")?;
    Ok(if options.is_empty() {
        certificate.to_owned()
    } else {
        format!("{certificate} [{}]", options.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use sockeye_syntax::ast::{Statement, Word};
    use sockeye_syntax::diag::{Diagnostics, Location};

    use super::*;

    #[test]
    fn lines_of_a_list() {
        let check = |text: &str, expected: Option<&str>| {
            let words = std::iter::once("ssl-f-use").chain(text.split_whitespace()).map(Word::from).collect();
            let statement = Statement { words, location: Location::new("f", 1) };
            let found = line(&mut Words::new(&statement, &mut Diagnostics::new()));
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        };
        check("crt a.pem", Some("a.pem"));
        check("crt a.pem sigalgs RSA-PSS+SHA256 no-alpn", Some("a.pem [sigalgs RSA-PSS+SHA256 no-alpn]"));
        check("key k crt a.pem ocsp-update on", Some("a.pem [key k ocsp-update on]"));
        check("crt a.pem key", None);
        check("crt a].pem", None);
        check("key k", None);
        check("crt a.pem strict-sni", None);
        check("", None);
    }
}
