//! Our own words, `ebpf.…`, and the addresses of `mode packet`.

use std::net::SocketAddr;

use super::Text;
use crate::model::{Ebpf, PORT_ALL, PacketOptions, Transport};

pub(super) fn global(out: &mut Text, ebpf: &Ebpf) {
    let default = Ebpf::default();
    out.flag("ebpf.accel off", !ebpf.accel);
    out.unless("ebpf.splice", &ebpf.splice, &default.splice);
    if ebpf.instance != default.instance {
        out.line("ebpf.instance", &ebpf.instance);
    }
    out.unless("ebpf.attach", &ebpf.attach, &default.attach);
    out.option("ebpf.connections", ebpf.connections);
    out.unless("ebpf.steer", &ebpf.steer, &default.steer);
    out.flag("ebpf.debug on", ebpf.debug);
}

/// Also in sections of other modes, where they have no effect.
pub(super) fn backend(out: &mut Text, options: &PacketOptions) {
    let default = PacketOptions::default();
    out.unless("ebpf.forward", &options.forward, &default.forward);
    out.flag("ebpf.stateless", options.stateless);
    out.unless("ebpf.table-size", &options.table_size, &default.table_size);
    out.flag("ebpf.clamp-mss", options.clamp_mss);
}

/// The address of a bind line.
pub(super) fn address(address: &SocketAddr, transport: Transport) -> String {
    let mut text = address.to_string();
    if address.port() == PORT_ALL {
        text.truncate(text.len() - 1);
        text.push_str("1-65535");
    }
    match transport {
        Transport::Tcp => text,
        Transport::Udp => format!("udp@{text}"),
    }
}
