//! Readiness of descriptors that tokio has no type for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the calling thread's runtime.
///
/// # Errors
/// When the runtime's epoll instance refuses it: a regular file, or no descriptors left.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open, and stays the same description, for as long as it exists; the AsyncFd owns it
    // and deregisters it before it is closed.
    unsafe { AsyncFd::register(fd) }.map_err(|error| error.into_parts().1)
}
