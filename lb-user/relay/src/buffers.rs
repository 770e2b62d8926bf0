//! Buffers larger than `tune.bufsize`, for directions whose reads come back full.
//!
//! They belong to the thread and are lent for the moment of a copy: a direction keeps one only while its
//! receiver does not take what it holds. Their number is limited; past it a direction goes on with the
//! ordinary buffer.

use std::cell::RefCell;

use sockeye_conn::Buffer;

use crate::counters;

/// The first step up: what one read of a socket with default buffers typically has.
pub(crate) const MEDIUM_BYTES: usize = 64 * 1024;
/// The last step up: beyond it the second-level cache is left and throughput falls again.
pub(crate) const LARGE_BYTES: usize = 256 * 1024;
/// Bytes of larger buffers that the directions of one thread may hold at once; 256 stalled bulk flows.
const LENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Spare larger buffers a thread keeps per size. One is in use at a time except while receivers stall.
const SPARE_BUFFERS_MAX: usize = 4;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { lent_bytes: 0, spare: [Vec::new(), Vec::new()] }) };
}

struct Pool {
    lent_bytes: usize,
    /// Medium, large.
    spare: [Vec<Box<[u8]>>; 2],
}

/// How much a direction reads at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// `tune.bufsize`, from the pool that everything else uses.
    Small,
    Medium,
    Large,
}

impl Size {
    pub(crate) fn larger(self) -> Self {
        match self {
            Self::Small => Self::Medium,
            Self::Medium | Self::Large => Self::Large,
        }
    }

    pub(crate) fn smaller(self) -> Self {
        match self {
            Self::Small | Self::Medium => Self::Small,
            Self::Large => Self::Medium,
        }
    }
}

/// Bytes read and not yet written.
#[derive(Debug)]
pub(crate) enum Held {
    Nothing,
    Small(Buffer),
    Large(Lent),
}

impl Held {
    /// An empty buffer of `size`, or the ordinary one when the thread has lent all it may.
    pub(crate) fn take(size: Size) -> Self {
        let bytes = match size {
            Size::Small => return Self::Small(Buffer::take()),
            Size::Medium => MEDIUM_BYTES,
            Size::Large => LARGE_BYTES,
        };
        match Lent::take(bytes) {
            Some(lent) => Self::Large(lent),
            None => {
                counters::add_buffer_refused();
                Self::Small(Buffer::take())
            }
        }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Small(buffer) => buffer.filled(),
            Self::Large(lent) => &lent.storage[lent.start..lent.end],
        }
    }

    pub(crate) fn space(&mut self) -> &mut [u8] {
        match self {
            Self::Nothing => &mut [],
            Self::Small(buffer) => buffer.space(),
            Self::Large(lent) => &mut lent.storage[lent.end..],
        }
    }

    pub(crate) fn advance(&mut self, n: usize) {
        match self {
            Self::Nothing => {}
            Self::Small(buffer) => buffer.advance(n),
            Self::Large(lent) => lent.end = (lent.end + n).min(lent.storage.len()),
        }
    }

    pub(crate) fn consume(&mut self, n: usize) {
        match self {
            Self::Nothing => {}
            Self::Small(buffer) => buffer.consume(n),
            Self::Large(lent) => lent.start = (lent.start + n).min(lent.end),
        }
    }
}

/// A larger buffer on loan from this thread's pool.
#[derive(Debug)]
pub(crate) struct Lent {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Lent {
    fn take(bytes: usize) -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            if pool.lent_bytes + bytes > LENT_BYTES_MAX {
                return None;
            }
            pool.lent_bytes += bytes;
            let spare = pool.spare[usize::from(bytes == LARGE_BYTES)].pop();
            let storage = spare.unwrap_or_else(|| vec![0; bytes].into_boxed_slice());
            Some(Self { storage, start: 0, end: 0 })
        })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        // The pool may be gone already while its thread ends; then the storage is simply freed.
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut() {
                pool.lent_bytes = pool.lent_bytes.saturating_sub(storage.len());
                let spare = &mut pool.spare[usize::from(storage.len() == LARGE_BYTES)];
                if spare.len() < SPARE_BUFFERS_MAX {
                    spare.push(storage);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_up_to_its_limit_and_again_after_a_return() {
        let lent: Vec<_> = std::iter::from_fn(|| Lent::take(LARGE_BYTES)).take(10_000).collect();
        assert_eq!(lent.len(), LENT_BYTES_MAX / LARGE_BYTES);
        assert!(matches!(Held::take(Size::Medium), Held::Small(_)));
        drop(lent);
        assert!(matches!(Held::take(Size::Medium), Held::Large(_)));
        POOL.with_borrow(|pool| {
            assert_eq!(pool.lent_bytes, 0);
            assert_eq!(pool.spare[1].len(), SPARE_BUFFERS_MAX);
        });
    }
}
