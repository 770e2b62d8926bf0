//! Steering of new connections: which bind owns an address and port, and which worker of the bind is next.
//!
//! Two programs in one object, because they share the map of listening sockets: `lookup`, attached to the network
//! namespace, and `reuseport`, attached to the sockets of each bind. Whatever they cannot decide is left to the kernel.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod lookup;
mod maps;
mod reuseport;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As the other programs'.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
