//! The embedded objects, and how each gets into the kernel.

use std::fs;
use std::io;
use std::path::PathBuf;

use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};

use crate::btf::Btf;
use crate::{BtfError, PacketLoad};

/// Where the kernel describes its types.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The object of `lb-ebpf/src/sockmap.rs`; empty when it was not built.
pub(crate) static SOCKMAP: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sockmap"));

/// The object of `lb-ebpf/src/packet`; empty when it was not built.
pub(crate) static PACKET: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/packet"));

/// The kernel did not take a program or a map.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {KERNEL_BTF}: {0}")]
    ReadBtf(#[source] io::Error),
    #[error("{0}")]
    Btf(#[from] BtfError),
    #[error("cannot load: {}", chain(.0))]
    Object(#[from] EbpfError),
    #[error("cannot load the program: {}", chain(.0))]
    Program(#[from] aya::programs::ProgramError),
    #[error("cannot use a map: {}", chain(.0))]
    Map(#[from] aya::maps::MapError),
    #[error("cannot map an array into memory: {0}")]
    Flows(#[source] io::Error),
    #[error("cannot keep maps: {0}")]
    Pins(#[source] io::Error),
    #[error("the object has no {0}")]
    Missing(&'static str),
}

/// Creates the maps of the sockmap object, with the offsets that its program needs.
pub(crate) fn sockmap_object() -> Result<Ebpf, LoadError> {
    let data = fs::read(KERNEL_BTF).map_err(LoadError::ReadBtf)?;
    let btf = Btf::parse(&data)?;
    let cookie = btf.offset("tcp_sock", &["inet_conn", "icsk_inet", "sk", "__sk_common", "skc_cookie"])?;
    let write_seq = btf.offset("tcp_sock", &["write_seq"])?;
    Ok(EbpfLoader::new()
        // The objects have no relocations against kernel types.
        .btf(None)
        .override_global("TCP_SOCK_COOKIE", &cookie, true)
        .override_global("TCP_SOCK_WRITE_SEQ", &write_seq, true)
        .load(SOCKMAP)?)
}

/// Creates the maps of the packet object, but for those that are pinned already: their names and paths.
pub(crate) fn packet_object(
    load: &PacketLoad,
    table_elements: u32,
    pinned: &[(&'static str, PathBuf)],
) -> Result<Ebpf, LoadError> {
    let [services, shield, debug] = [load.services, load.shield != 0, load.debug].map(u8::from);
    let mut loader = EbpfLoader::new();
    // As above.
    loader
        .btf(None)
        .override_global("WITH_SERVICES", &services, true)
        .override_global("WITH_SHIELD", &shield, true)
        .override_global("WITH_DEBUG", &debug, true)
        .map_max_entries("CONNECTIONS", load.sizes.connections)
        .map_max_entries("REVERSE", load.sizes.nat.max(1))
        .map_max_entries("TABLES", table_elements)
        .map_max_entries("SHIELD_PREFIXES", load.shield.max(1))
        .map_max_entries("SHIELD_HITS", load.shield.max(1))
        .map_max_entries("AYA_LOGS", if load.debug { LINES_BYTES } else { page() });
    for (name, path) in pinned {
        loader.map_pin_path(name, path.as_path());
    }
    Ok(loader.load(PACKET)?)
}

/// Bytes of the ring buffer of lines: some hundred, more than all CPUs say in a second.
const LINES_BYTES: u32 = 128 * 1024;

/// Bytes of a page, the smallest ring buffer.
fn page() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(LINES_BYTES)
}

/// An error with its causes on one line; aya names the system call only in the cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // The verifier's log has many lines; the last one says what it did not like.
        let cause = cause.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        text.push_str(": ");
        text.push_str(cause);
        source = error.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
