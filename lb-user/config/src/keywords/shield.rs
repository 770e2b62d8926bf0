//! `ebpf.shield deny|allow FILE|PREFIX [expires TIME]`: which addresses may send packets at all.

use std::net::IpAddr;
use std::sync::Arc;

use sockeye_syntax::diag::Location;
use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use crate::model::{SHIELD_PREFIXES_MAX, ShieldPrefix, ShieldRule};
use crate::scope::GlobalScope;
use crate::section::place;

/// Wrong lines of one file that are shown; more say no more.
const WRONG_LINES_MAX: usize = 10;

/// What a line of a file, or a word, should be.
const EXPECTED: &str = "expected an address or a prefix such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32";

pub(crate) fn parse(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(allow) = words.choice(&[("deny", false), ("allow", true)]) else { return words.skip_rest() };
    let Some(what) = words.expect("an address, a prefix or a file") else { return };
    let mut expires = None;
    if words.take("expires") {
        let Some(time) = words.duration(TimeUnit::Milliseconds) else { return words.skip_rest() };
        if time.is_zero() {
            return words.alert("'ebpf.shield' : 'expires' needs a time above 0.");
        }
        expires = Some(time);
    }
    if !words.end() {
        return;
    }
    let (file, prefixes) = match prefix(what) {
        Ok((prefix, said)) => {
            if let Some(said) = said {
                words.warning(format!("'ebpf.shield' : {said}."));
            }
            (None, vec![prefix])
        }
        Err(message) if looks_like_prefix(what) => {
            return words.alert(format!("'ebpf.shield' : {message}."));
        }
        Err(_) => match scope.around.loader.read(what) {
            Ok(text) => (Some(Arc::from(what)), lines(what, &text, words)),
            Err(error) => {
                return words.alert(format!(
                    "'ebpf.shield' : '{what}' is no address and cannot be read as a file: {error}; {EXPECTED}, or a file of such lines."
                ));
            }
        },
    };
    let rules = &mut scope.global.ebpf.shield;
    let known: usize = rules.iter().map(|rule| rule.prefixes.len()).sum();
    if known + prefixes.len() > SHIELD_PREFIXES_MAX {
        return words.alert(format!(
            "'ebpf.shield' : {} prefixes are too many, the shield holds at most {SHIELD_PREFIXES_MAX}.",
            known + prefixes.len()
        ));
    }
    rules.push(ShieldRule { place: place(words.location()), allow, file, prefixes, expires });
}

/// The prefixes of a file, one a line; what is wrong is said with the file's own lines.
fn lines(path: &str, text: &[u8], words: &mut Words<'_>) -> Vec<ShieldPrefix> {
    let name: Arc<str> = Arc::from(path);
    let mut prefixes = Vec::new();
    let mut wrong = 0;
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if line.is_empty() {
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let location = Location::new(name.clone(), number);
        match prefix(&line) {
            Ok((prefix, said)) => {
                if let Some(said) = said {
                    words.diags().warning(&location, format!("'ebpf.shield' : {said}."));
                }
                prefixes.push(prefix);
            }
            Err(message) => {
                wrong += 1;
                if wrong <= WRONG_LINES_MAX {
                    words.diags().alert(&location, format!("'ebpf.shield' : {message}."));
                }
            }
        }
    }
    if wrong > WRONG_LINES_MAX {
        let more = wrong - WRONG_LINES_MAX;
        words.alert(format!("'ebpf.shield' : {more} more wrong lines in '{path}'."));
    }
    if wrong == 0 && prefixes.is_empty() {
        words.warning(format!("'ebpf.shield' : '{path}' names no address."));
    }
    prefixes
}

/// Whether a word that is no prefix was meant as one.
fn looks_like_prefix(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok())
}

/// An address or `ADDRESS/BITS`, with what is to be said about it. A mapped IPv4 address is an IPv4 one.
fn prefix(text: &str) -> Result<(ShieldPrefix, Option<String>), String> {
    let shown = || text.chars().take(80).collect::<String>();
    let (address, bits) = match text.split_once('/') {
        None => (text, None),
        Some((address, bits)) => (address, Some(bits)),
    };
    let address: IpAddr = address.parse().map_err(|_| format!("'{}' is no address, {EXPECTED}", shown()))?;
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => {
            let number = bits.parse().ok().filter(|number| *number <= most);
            let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
            number.filter(|_| digits).ok_or_else(|| {
                format!("'{}' has no length of 0 to {most} behind its '/', {EXPECTED}", shown())
            })?
        }
    };
    let (address, bits) = match address {
        IpAddr::V6(v6) if bits >= 96 => match v6.to_ipv4_mapped() {
            Some(v4) => (IpAddr::V4(v4), bits - 96),
            None => (address, bits),
        },
        _ => (address, bits),
    };
    let prefix = ShieldPrefix::new(address, bits);
    let said = (prefix.address != address)
        .then(|| format!("'{}' has bits set behind its prefix, it is taken as {prefix}", shown()));
    Ok((prefix, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let read = prefix(text);
        let read =
            read.as_ref().map(|(prefix, said)| format!("{prefix}{}", if said.is_some() { " !" } else { "" }));
        match expected {
            Ok(expected) => assert_eq!(read, Ok(expected.to_owned()), "{text}"),
            Err(expected) => assert!(read.is_err_and(|message| message.contains(expected)), "{text}"),
        }
    }

    #[test]
    fn prefixes() {
        check("192.0.2.7", Ok("192.0.2.7/32"));
        check("192.0.2.0/24", Ok("192.0.2.0/24"));
        check("192.0.2.7/24", Ok("192.0.2.0/24 !"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("2001:db8::/32", Ok("2001:db8::/32"));
        check("2001:db8::1", Ok("2001:db8::1/128"));
        check("2001:db8::1/32", Ok("2001:db8::/32 !"));
        check("::/0", Ok("::/0"));
        check("::ffff:192.0.2.7/120", Ok("192.0.2.0/24 !"));
        check("::ffff:0:0/95", Ok("::fffe:0:0/95 !"));
        check("192.0.2.0/33", Err("no length of 0 to 32"));
        check("192.0.2.0/", Err("no length of 0 to 32"));
        check("192.0.2.0/+8", Err("no length of 0 to 32"));
        check("2001:db8::/129", Err("no length of 0 to 128"));
        check("10.0.0.0/255.0.0.0", Err("no length"));
        check("10.0.0", Err("is no address"));
        check("example.org", Err("is no address"));
        check("192.0.2.1 60s", Err("is no address"));
    }
}
