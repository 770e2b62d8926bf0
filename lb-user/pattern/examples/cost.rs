//! What lists of patterns cost: `cost [LINES]` prints the time to load them, memory, and the time of one lookup for each
//! method, for ten entries and for LINES.

use std::hint::black_box;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use sockeye_pattern::{Flags, Key, Library, Matcher, Method, Regex};

const LOOKUPS: u32 = 200_000;

fn main() -> io::Result<()> {
    let lines: u32 = std::env::args().nth(1).and_then(|lines| lines.parse().ok()).unwrap_or(500_000);
    let mut out = io::stdout().lock();
    for method in [
        Method::Str,
        Method::Beg,
        Method::End,
        Method::Dom,
        Method::Ip,
        Method::Int,
        Method::Sub,
        Method::Reg,
    ] {
        for ignore_case in [false, true] {
            if ignore_case && matches!(method, Method::Ip | Method::Int | Method::Reg) {
                continue;
            }
            for lines in [10, if method == Method::Reg { lines.min(1000) } else { lines }] {
                measure(&mut out, method, ignore_case, lines)?;
            }
        }
    }
    let slow = Regex::new(r"^(a+)+\1$", false).map_err(io::Error::other)?;
    let subject = [b"a".repeat(2000), b"b".to_vec()].concat();
    let start = Instant::now();
    black_box(slow.is_match(&subject));
    writeln!(out, "an expression at its limit of steps: {:.1} ms", start.elapsed().as_secs_f64() * 1e3)
}

fn measure(out: &mut impl Write, method: Method, ignore_case: bool, lines: u32) -> io::Result<()> {
    let pattern = |number: u32| {
        // Spread over all numbers, so that neighbours are no neighbours.
        let number = number.wrapping_mul(2_654_435_761);
        match method {
            Method::Ip => {
                Ipv4Addr::from_bits(number).to_string() + ["/32", "/24", "/20"][number as usize % 3]
            }
            Method::Int => number.to_string(),
            Method::Beg => format!("/shop/{}/{}/item", number % 1000, number),
            Method::Reg => format!("^/x{number}/.*[0-9]$"),
            _ => format!("host{number}.example.com"),
        }
    };
    let text: String =
        (0..lines).map(|number| format!("{} backend{}\n", pattern(number), number % 10)).collect();
    let text = Arc::new(text.into_bytes());
    let memory = resident();
    let start = Instant::now();
    let mut library = Library::new(Box::new(move |_| Ok(text.to_vec())), Box::new(|_| None));
    let flags = Flags { ignore_case, no_names: true };
    let matcher =
        Matcher::build(&mut library, method, flags, &[], &["list"], true, None).map_err(io::Error::other)?;
    let loaded = start.elapsed();
    let memory = resident().saturating_sub(memory);
    let keys: Vec<(String, u32)> = (0..1000)
        .map(|number| {
            let number = number * (lines / 10).max(1) % lines;
            let text = match method {
                Method::Ip => pattern(number).split('/').next().unwrap_or_default().to_owned(),
                Method::Beg => pattern(number) + "?x=1",
                Method::Reg => pattern(number).replace("/.*[0-9]$", "/12").replace('^', ""),
                _ => pattern(number),
            };
            (text, number)
        })
        .collect();
    let lookups = if method == Method::Reg { LOOKUPS / 100 } else { LOOKUPS };
    let mut found = 0;
    let addresses: Vec<Ipv4Addr> = keys.iter().filter_map(|(text, _)| text.parse().ok()).collect();
    let start = Instant::now();
    for at in 0..lookups as usize {
        let text = &keys[at % keys.len()].0;
        let key = match method {
            Method::Ip => Key::Ip(addresses[at % keys.len()].into()),
            Method::Int => Key::Int(i64::from(keys[at % keys.len()].1.wrapping_mul(2_654_435_761))),
            _ => Key::Bytes(text.as_bytes()),
        };
        found += u32::from(matcher.find(black_box(key)).is_some());
    }
    let each = start.elapsed() / lookups;
    let list = library.open("list", true).map_err(io::Error::other)?;
    let start = Instant::now();
    for number in 0..1000_u32 {
        list.upsert(pattern(lines + number).as_bytes(), b"v").map_err(io::Error::other)?;
    }
    let added = start.elapsed() / 1000;
    writeln!(
        out,
        "{:4} {} {lines:7} lines: loaded in {loaded:.1?}, {memory} KiB, a lookup {each:.0?}, an addition {added:.1?}, found {found} of {lookups}",
        method.name(),
        if ignore_case { "-i" } else { "  " },
    )
}

/// Memory of the process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
