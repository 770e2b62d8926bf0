//! Values that several keywords take, with the messages HAProxy gives for each.

use std::time::Duration;

use sockeye_syntax::address::{self, Address, Host, ParseOptions};
use sockeye_syntax::units::{self, SizeError, TimeError, TimeUnit};
use sockeye_syntax::words::Words;

use crate::scope::Resolver;

/// A size, or the message for one that is none.
pub(crate) fn size(words: &mut Words<'_>) -> Option<u64> {
    let Some(word) = words.next() else {
        let message = format!("'{}' expects a positive integer argument.", words.keyword());
        words.alert(message);
        return None;
    };
    let rest = match units::parse_size(word) {
        Ok(size) => return Some(size),
        Err(SizeError::Overflow) => {
            let message = format!("size overflow in argument '{word}' to '{}'", words.keyword());
            words.alert(message);
            return None;
        }
        Err(SizeError::Unexpected(_)) => {
            word.trim_start_matches(|character: char| character.is_ascii_digit())
        }
    };
    let rest = if rest.is_empty() { word } else { rest };
    let message = format!("unexpected '{rest}' after size passed to '{}'", words.keyword());
    words.alert(message);
    None
}

/// A size within `1..=max` (0 refused).
pub(crate) fn size_within(words: &mut Words<'_>, max: u64) -> Option<u64> {
    let size = size(words)?;
    if size == 0 {
        let message = format!("'{}' expects a positive integer argument.", words.keyword());
        words.alert(message);
        return None;
    }
    if size > max {
        let message = format!("'{}' value must be at most {max} (was {size})", words.keyword());
        words.alert(message);
        return None;
    }
    Some(size)
}

/// Why a time is none, in the words of most keywords.
pub(crate) enum TimeFault {
    Missing,
    Unexpected(char),
    Overflow(String),
}

/// A time without any message. `trailing` characters are refused like unexpected ones.
pub(crate) fn time(words: &mut Words<'_>, unit: TimeUnit) -> Result<Duration, TimeFault> {
    let word = words.next().ok_or(TimeFault::Missing)?;
    match units::parse_time(word, unit) {
        Ok(units::Time { value, trailing: None }) => Ok(value),
        Ok(units::Time { trailing: Some(character), .. }) | Err(TimeError::Unexpected(character)) => {
            Err(TimeFault::Unexpected(character))
        }
        Err(TimeError::Overflow) => Err(TimeFault::Overflow(word.to_owned())),
    }
}

/// A time of a keyword that stands for itself: `expects <time> as argument`.
pub(crate) fn timer(words: &mut Words<'_>, unit: TimeUnit) -> Option<Duration> {
    let keyword = words.keyword().to_owned();
    let message = match time(words, unit) {
        Ok(value) => return Some(value),
        Err(TimeFault::Missing) => format!("'{keyword}' expects <time> as argument."),
        Err(TimeFault::Unexpected(character)) => {
            format!("unexpected character '{character}' in argument to <{keyword}>.")
        }
        Err(TimeFault::Overflow(word)) => format!(
            "timer overflow in argument <{word}> to <{keyword}>, maximum value is 2147483647 ms (~24.8 days)."
        ),
    };
    words.alert(message);
    None
}

/// An address whose host name, if it has one, is resolved now. The error is the text behind `'KEYWORD' : `.
pub(crate) fn resolved(
    text: &str,
    options: ParseOptions,
    resolver: &dyn Resolver,
) -> Result<Address, String> {
    let address = address::parse_address(text, options).map_err(|error| error.to_string())?;
    resolve_host(address, text, resolver)
}

/// Puts the address of a host name in its place.
pub(crate) fn resolve_host(
    mut address: Address,
    text: &str,
    resolver: &dyn Resolver,
) -> Result<Address, String> {
    if let Host::Name { name, family } = &address.host {
        match resolver.resolve(name, *family) {
            Some(ip) => address.host = Host::Ip(ip),
            None => return Err(format!("invalid address: '{name}' in '{text}'")),
        }
    }
    Ok(address)
}
