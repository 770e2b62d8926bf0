//! Memory for records, lent by a pool of the thread.

use std::cell::RefCell;

use sockeye_record::RECORD_BYTES_MAX;

/// Two records: one being taken while the next arrives, or so much of a long write at a time.
const BUFFER_BYTES: usize = 2 * RECORD_BYTES_MAX;
/// Spare buffers a thread keeps.
const POOL_BUFFERS_MAX: usize = 256;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A piece of memory for records, or none.
#[derive(Default)]
pub(super) struct Records {
    pub(super) storage: Box<[u8]>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn filled(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Room behind what is left, which moves to the front.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage =
                POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        }
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.storage[self.end..]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.is_empty() {
            self.give_back();
        }
    }

    pub(super) fn give_back(&mut self) {
        self.start = 0;
        self.end = 0;
        let storage = std::mem::take(&mut self.storage);
        if storage.is_empty() {
            return;
        }
        // While the thread ends the pool may be gone already.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_BUFFERS_MAX {
                pool.push(storage);
            }
        });
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.give_back();
    }
}
