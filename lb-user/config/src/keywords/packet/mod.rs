//! `mode packet`: its own words of a section, and what it makes of the words of the other modes.
//!
//! Packets are forwarded inside the kernel and no connection ends here. A word that would decide about connections
//! is refused, because a file that seems to protect something must not be obeyed halfway; one that would only tune
//! them is read with a warning where the section itself has it, and in silence where it is inherited.

pub(crate) mod refused;

use sockeye_balance::HashSource;
use sockeye_syntax::words::Words;

use super::balance;
use crate::draft::{DraftAlgorithm, Kind};
use crate::model::{Forward, TABLE_SIZE, TABLE_SIZE_MAX};
use crate::scope::{Negation, ProxyScope};

/// Warns about one of our words in a section that forwards no packets.
fn check_mode(words: &mut Words<'_>, scope: &ProxyScope<'_>) {
    if !scope.packet && scope.proxy.kind != Kind::Defaults {
        let message = format!("'{}' has no effect without 'mode packet'.", words.keyword());
        words.warning(message);
    }
}

/// `ebpf.forward nat|dsr|ipip`.
pub(super) fn forward(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    check_mode(words, scope);
    let choices = [("nat", Forward::Nat), ("dsr", Forward::Dsr), ("ipip", Forward::Ipip)];
    if let Some(value) = words.choice(&choices).filter(|_| words.end()) {
        scope.proxy.settings.packet.forward = value;
    }
}

/// `[no|default] ebpf.stateless`.
pub(super) fn stateless(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    check_mode(words, scope);
    if words.end() {
        scope.proxy.settings.packet.stateless = scope.negation == Negation::None;
    }
}

/// `[no|default] ebpf.clamp-mss`.
pub(super) fn clamp_mss(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    check_mode(words, scope);
    if words.end() {
        scope.proxy.settings.packet.clamp_mss = scope.negation == Negation::None;
    }
}

/// `ebpf.table-size N`, a prime: else some servers could never be reached from some entries of the table.
pub(super) fn table_size(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    check_mode(words, scope);
    let Some(value) = words.number(TABLE_SIZE..=TABLE_SIZE_MAX).filter(|_| words.end()) else { return };
    if is_prime(value) {
        scope.proxy.settings.packet.table_size = value;
    } else {
        words.alert(format!(
            "'ebpf.table-size' needs a prime number, which {value} is not: the next one is {}.",
            next_prime(value)
        ));
    }
}

/// `balance` in `mode packet`: the Maglev table spreads flows, or all flows of a client's address.
pub(super) fn algorithm(words: &mut Words<'_>) -> Result<DraftAlgorithm, String> {
    let (start, name) = (words.position(), words.peek().unwrap_or_default());
    if name == "hash" {
        words.next();
        let expression = words.take_rest();
        return if expression == "src" {
            Ok(DraftAlgorithm::Hash(HashSource::Source))
        } else {
            Err(format!("'balance hash {expression}' needs a connection. {BALANCE_REMEDY}"))
        };
    }
    let algorithm = balance::algorithm(words)?;
    if is_packet_algorithm(&algorithm) {
        return Ok(algorithm);
    }
    words.seek(start);
    Err(format!("'balance {}' needs a connection. {BALANCE_REMEDY}", words.take_rest()))
}

/// What to write instead of the other algorithms.
const BALANCE_REMEDY: &str = "'mode packet' has none: use 'balance roundrobin' to spread flows by the servers' weights, or 'balance source' to keep each client on its server.";

/// Whether `mode packet` has such an algorithm.
pub(crate) fn is_packet_algorithm(algorithm: &DraftAlgorithm) -> bool {
    matches!(
        algorithm,
        DraftAlgorithm::RoundRobin
            | DraftAlgorithm::StaticRoundRobin
            | DraftAlgorithm::Hash(HashSource::Source)
    )
}

/// By trial division: the largest number asked for has a root of about two thousand.
fn is_prime(number: u32) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

/// The first prime from `number` on; [`TABLE_SIZE_MAX`] is one.
fn next_prime(number: u32) -> u32 {
    (number..=TABLE_SIZE_MAX).find(|number| is_prime(*number)).unwrap_or(TABLE_SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes() {
        let check = |number: u32, expected: u32| {
            assert_eq!(next_prime(number), expected, "{number}");
            assert_eq!(is_prime(number), number == expected, "{number}");
        };
        check(0, 2);
        check(1, 2);
        check(2, 2);
        check(4, 5);
        check(65_536, 65_537);
        check(TABLE_SIZE, TABLE_SIZE);
        check(65_538, 65_539);
        check(100_000, 100_003);
        check(1_000_000, 1_000_003);
        check(4_194_300, TABLE_SIZE_MAX);
        check(TABLE_SIZE_MAX, TABLE_SIZE_MAX);
    }
}
