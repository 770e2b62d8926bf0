//! The same program for tc: what runs at the ingress hook of interfaces that have no XDP of their own.

use aya::programs::{SchedClassifier, TestRun, TestRunOptions};

use super::{Packet, PacketError, PacketRun};
use crate::loader::LoadError;

/// Name of the program in its object.
pub(super) const CLASSIFIER: &str = "packet_tc";

/// Bytes of `struct __sk_buff` up to and with the field that test runs may set last (include/uapi/linux/bpf.h).
const CONTEXT: usize = 192;
/// Where `gso_size` is in it.
const CONTEXT_SEGMENT: usize = 176;

impl Packet {
    /// Runs the tc program upon a packet, as [`run`](Self::run) does the XDP program. `segment` is not 0 for a packet
    /// that stands for several with this many bytes of payload each. The action is one of tc's.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_tc(&self, packet: &[u8], segment: u32, repeat: u32) -> Result<PacketRun, PacketError> {
        let mut out = vec![0; packet.len() + 256];
        let mut context = [0; CONTEXT];
        context[CONTEXT_SEGMENT..CONTEXT_SEGMENT + 4].copy_from_slice(&segment.to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ctx_in: (segment != 0).then_some(&context),
            repeat,
            ..TestRunOptions::new()
        };
        let result = self.classifier()?.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        let nanoseconds = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(PacketRun { action: result.return_value, packet: out, nanoseconds })
    }

    /// As [`verified_instructions`](Self::verified_instructions), for the tc program.
    ///
    /// # Errors
    /// When the program's description cannot be read.
    pub fn verified_instructions_tc(&self) -> Result<Option<u32>, PacketError> {
        Ok(self.classifier()?.info()?.verified_instruction_count())
    }

    fn classifier(&self) -> Result<&SchedClassifier, PacketError> {
        let program = self.object.program(CLASSIFIER).ok_or(aya::programs::ProgramError::NotLoaded)?;
        Ok(program.try_into()?)
    }
}

/// Gives the kernel the tc program.
pub(super) fn load(object: &mut aya::Ebpf) -> Result<(), LoadError> {
    let program = object.program_mut(CLASSIFIER).ok_or(LoadError::Missing(CLASSIFIER))?;
    let program: &mut SchedClassifier = program.try_into()?;
    Ok(program.load()?)
}
