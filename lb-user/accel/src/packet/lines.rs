//! What the packet program says of packets that it drops or cannot read (`ebpf.debug on`), as lines of text.
//!
//! The program itself keeps to [`DEBUG_LINES`](lb_common::limits::DEBUG_LINES) per second and CPU, so that reading
//! all there is takes microseconds.

use std::fmt;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use aya_log::EbpfLogger;
use lb_common::counters::PACKET_NAMES;
use lb_common::packet::{TCP, UDP};
use log::{Log, Metadata, Record};

use crate::loader::LoadError;

/// The lines of a loaded program. Its descriptor is readable when there are some.
pub struct PacketLines {
    logger: EbpfLogger<Collector>,
    said: Arc<Mutex<Vec<String>>>,
}

impl PacketLines {
    pub(super) fn new(object: &mut aya::Ebpf) -> Result<Self, LoadError> {
        let said = Arc::default();
        let collector = Collector(Arc::clone(&said));
        let logger =
            EbpfLogger::init_with_logger(object, collector).map_err(|_| LoadError::Missing("AYA_LOGS"))?;
        Ok(Self { logger, said })
    }

    /// What was said since the last call.
    pub fn read(&mut self) -> Vec<String> {
        self.logger.flush();
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for PacketLines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.logger.as_fd()
    }
}

impl fmt::Debug for PacketLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketLines").finish_non_exhaustive()
    }
}

/// Takes what aya-log reads.
struct Collector(Arc<Mutex<Vec<String>>>);

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = line(&record.args().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// The program's numbers in words: why, the interface, and if the packet could be read so far its protocol and both
/// ends.
fn line(said: &str) -> String {
    let words: Vec<&str> = said.split(' ').collect();
    let name = |number: &str| number.parse().ok().and_then(|number: usize| PACKET_NAMES.get(number)).copied();
    match words[..] {
        [why, interface] => format!("{} on interface {interface}", name(why).unwrap_or(why)),
        [why, interface, protocol, source, source_port, destination, destination_port] => {
            let why = name(why).unwrap_or(why);
            let protocol = match protocol.parse() {
                Ok(TCP) => "TCP".to_owned(),
                Ok(UDP) => "UDP".to_owned(),
                _ => format!("protocol {protocol}"),
            };
            let (source, destination) = (end(source, source_port), end(destination, destination_port));
            format!("{why} on interface {interface}: {protocol} from {source} to {destination}")
        }
        _ => said.to_owned(),
    }
}

fn end(address: &str, port: &str) -> String {
    let Ok(v6) = address.parse::<Ipv6Addr>() else { return format!("{address} port {port}") };
    match (v6.to_ipv4_mapped(), port) {
        (Some(v4), "0") => v4.to_string(),
        (Some(v4), port) => format!("{v4}:{port}"),
        (None, "0") => v6.to_string(),
        (None, port) => format!("[{v6}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use lb_common::counters::PacketExit;

    fn check(said: &str, expected: &str) {
        assert_eq!(super::line(said), expected);
    }

    #[test]
    fn numbers_become_words() {
        let why = PacketExit::NoRoute as u32;
        check(
            &format!("{why} 2 6 ::ffff:192.0.2.7 40000 ::ffff:198.51.100.1 80"),
            "no_route on interface 2: TCP from 192.0.2.7:40000 to 198.51.100.1:80",
        );
        check(
            &format!("{why} 2 17 2001:db8::7 53 2001:db8::1 0"),
            "no_route on interface 2: UDP from [2001:db8::7]:53 to 2001:db8::1",
        );
        check(
            &format!("{why} 2 1 ::ffff:192.0.2.7 0 ::ffff:198.51.100.1 0"),
            "no_route on interface 2: protocol 1 from 192.0.2.7 to 198.51.100.1",
        );
        check(&format!("{} 3", PacketExit::Malformed as u32), "malformed on interface 3");
        check("99999 3", "99999 on interface 3");
        check("something else", "something on interface else");
        check("", "");
    }
}
