//! What the XDP program has to know of VLAN interfaces: routes name them, frames leave through what is below.

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use lb_common::packet::VlanDevice;

use super::{Packet, PacketError};

/// A VLAN interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketVlan {
    /// Index of the interface below it.
    pub parent: u32,
    /// Number of the VLAN.
    pub id: u16,
    /// Ethernet type of its tag: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub protocol: u16,
}

impl Packet {
    /// Says what the interface with this index stands for; `None`: it is no VLAN. The tc program does without.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_vlan(&mut self, ifindex: u32, vlan: Option<PacketVlan>) -> Result<(), PacketError> {
        let map = self.object.map_mut("VLANS").ok_or(MapError::KeyNotFound)?;
        let mut vlans: BpfHashMap<&mut MapData, u32, VlanDevice> = map.try_into()?;
        match vlan {
            Some(PacketVlan { parent, id, protocol }) => {
                let value = VlanDevice { parent, protocol: protocol.to_be(), control: id.to_be() };
                Ok(vlans.insert(ifindex, value, 0)?)
            }
            None => match vlans.remove(&ifindex) {
                Err(MapError::KeyNotFound) => Ok(()),
                other => Ok(other?),
            },
        }
    }
}
