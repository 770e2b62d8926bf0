//! What the program counts, in the same numbers as other modes: a flow is a stream of its server and a connection of
//! its frontend.

use std::collections::HashMap;

use lb_common::packet::Statistics;
use sockeye_accel::{Packet, PacketError};

use super::services::Index;
use super::{Plane, Slot};
use crate::backend::Server;

/// A server's numbers beside those of its place now: they stay with the place when the server leaves it, and a process
/// finds what those before it have counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// Counted at places that it had before.
    sum: Statistics,
    /// What its place had counted when it came.
    found: Statistics,
}

impl Carried {
    /// The server gets this place.
    pub(super) fn enter(&mut self, packet: &Packet, index: Index) -> Result<(), PacketError> {
        self.found = packet.statistics(index.number)?;
        Ok(())
    }

    /// The server loses this place.
    pub(super) fn leave(&mut self, packet: &Packet, index: Index) -> Result<(), PacketError> {
        self.sum = self.total(&packet.statistics(index.number)?);
        self.found = Statistics::default();
        Ok(())
    }

    /// All together, when its place has counted so much.
    fn total(&self, now: &Statistics) -> Statistics {
        combine(&self.sum, &combine(now, &self.found, u64::saturating_sub), u64::saturating_add)
    }
}

fn combine(left: &Statistics, right: &Statistics, with: fn(u64, u64) -> u64) -> Statistics {
    Statistics {
        flows: with(left.flows, right.flows),
        packets_in: with(left.packets_in, right.packets_in),
        bytes_in: with(left.bytes_in, right.bytes_in),
        packets_out: with(left.packets_out, right.packets_out),
        bytes_out: with(left.bytes_out, right.bytes_out),
    }
}

impl Plane {
    /// Brings the counters of servers and frontends up to date. Called by whoever is about to show them; a few
    /// microseconds per server.
    pub fn refresh(&mut self) {
        let mut servers: HashMap<usize, (&'static Server, Statistics)> = HashMap::new();
        for farm in &self.farms {
            let mut flows = 0_u64;
            for slot in &farm.slots {
                let total = slot.total(&self.packet);
                flows = flows.saturating_add(total.flows);
                let (_, sum) = servers
                    .entry(slot.server.ordinal)
                    .or_insert_with(|| (slot.server, Statistics::default()));
                *sum = combine(sum, &total, u64::saturating_add);
            }
            farm.frontend.accepted.set(flows);
        }
        self.packets = 0;
        for (server, total) in servers.into_values() {
            self.packets = self.packets.saturating_add(total.packets_in).saturating_add(total.packets_out);
            server.streams.set(total.flows);
            server.packets.packets_in.set(total.packets_in);
            server.packets.bytes_in.set(total.bytes_in);
            server.packets.packets_out.set(total.packets_out);
            server.packets.bytes_out.set(total.bytes_out);
        }
    }

    /// The line of `-d` at the end: how often each way out of the program was taken.
    pub fn summary(&self) -> Option<String> {
        let counters = self.packet.counters().ok()?;
        let taken = counters.iter().filter(|(_, count)| *count > 0);
        let exits: Vec<String> = taken.map(|(name, count)| format!("{name} {count}")).collect();
        Some(format!("packet: {}", if exits.is_empty() { "no packets".to_owned() } else { exits.join(", ") }))
    }
}

impl Slot {
    fn total(&self, packet: &Packet) -> Statistics {
        let now = self.placed.and_then(|placed| packet.statistics(placed.index.number).ok());
        self.counted.total(&now.unwrap_or(self.counted.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(flows: u64) -> Statistics {
        Statistics { flows, ..Statistics::default() }
    }

    #[test]
    fn numbers_of_others_do_not_count() {
        let check = |sum, found, now, expected| {
            let carried = Carried { sum: flows(sum), found: flows(found) };
            assert_eq!(carried.total(&flows(now)).flows, expected);
        };
        check(0, 0, 5, 5);
        check(0, 3, 5, 2);
        check(7, 3, 5, 9);
        // Somebody has emptied the map.
        check(7, 9, 5, 7);
    }
}
