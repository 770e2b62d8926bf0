//! What `mode packet` needs across sections.

use sockeye_balance::{Algorithm, Hash, HashSource};

use crate::draft::DraftAlgorithm;

/// `balance`: one that packets cannot have was inherited, and is round robin.
pub(super) fn algorithm(written: Option<&DraftAlgorithm>) -> Algorithm {
    match written {
        Some(DraftAlgorithm::StaticRoundRobin) => Algorithm::StaticRoundRobin,
        Some(DraftAlgorithm::Hash(HashSource::Source)) => Algorithm::Hash(Hash::new(HashSource::Source)),
        _ => Algorithm::RoundRobin,
    }
}
