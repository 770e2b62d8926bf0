//! For measurements: the program behind another one.

use aya::programs::ProgramFd;

use super::{Packet, PacketError};

impl Packet {
    /// The loaded XDP program, for a program that calls it.
    ///
    /// # Errors
    /// When it is not loaded.
    pub fn program_fd(&self) -> Result<&ProgramFd, PacketError> {
        Ok(self.program()?.fd()?)
    }
}
