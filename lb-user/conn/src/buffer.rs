//! Buffers of `tune.bufsize` bytes, lent by a pool that each worker thread has for itself.
//!
//! A buffer is a window over fixed storage: bytes are appended at the end and consumed at the start. Dropping
//! it gives the storage back to the pool of the thread it is dropped on.

use std::cell::RefCell;

/// Spare buffers a thread keeps; more are given back to the allocator.
const POOL_BUFFERS_MAX: usize = 1_024;
/// `tune.bufsize` when nothing was configured.
const DEFAULT_BYTES: usize = 16_384;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: DEFAULT_BYTES, spare: Vec::new() }) };
}

struct Pool {
    bytes: usize,
    spare: Vec<Box<[u8]>>,
}

/// What the pool of a thread lends.
#[derive(Debug, Clone, Copy)]
pub struct BufferLimits {
    /// `tune.bufsize`.
    pub bytes: usize,
}

impl BufferLimits {
    /// Makes the calling thread's pool lend buffers of this size. Called once, before the thread serves.
    pub fn apply(self) {
        POOL.with_borrow_mut(|pool| {
            pool.bytes = self.bytes;
            pool.spare.clear();
        });
    }
}

/// A pooled buffer.
#[derive(Debug)]
pub struct Buffer {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer from this thread's pool.
    pub fn take() -> Self {
        let storage = POOL.with_borrow_mut(|pool| match pool.spare.pop() {
            Some(storage) => storage,
            None => vec![0; pool.bytes].into_boxed_slice(),
        });
        Self { storage, start: 0, end: 0 }
    }

    /// A buffer without storage: always empty and full. For a direction that has nothing left over.
    pub fn none() -> Self {
        Self { storage: Box::default(), start: 0, end: 0 }
    }

    /// The bytes not yet consumed.
    pub fn filled(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes the buffer can hold in all.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Room at the end; moves what is left to the front first when that is all the room there is.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.storage.len() && self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.storage[self.end..]
    }

    /// Whether nothing can be appended even after moving.
    pub fn is_full(&self) -> bool {
        self.len() == self.storage.len()
    }

    /// Makes the first `n` bytes of [`space`](Self::space) part of the content.
    pub fn advance(&mut self, n: usize) {
        self.end = (self.end + n).min(self.storage.len());
    }

    /// Drops the first `n` bytes.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Appends as much of `bytes` as fits and says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.storage.is_empty() {
            return;
        }
        let storage = std::mem::take(&mut self.storage);
        // The pool may be gone already while its thread ends; then the storage is simply freed.
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && storage.len() == pool.bytes
                && pool.spare.len() < POOL_BUFFERS_MAX
            {
                pool.spare.push(storage);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_moves_only_when_it_must() {
        BufferLimits { bytes: 8 }.apply();
        let mut buffer = Buffer::take();
        assert_eq!(buffer.append(b"abcdefgh!"), 8);
        assert!(buffer.is_full());
        buffer.consume(6);
        assert_eq!(buffer.filled(), b"gh");
        assert_eq!(buffer.append(b"12345678"), 6);
        assert_eq!(buffer.filled(), b"gh123456");
        buffer.consume(100);
        assert!(buffer.is_empty());
        assert_eq!(buffer.space().len(), 8);
    }

    #[test]
    fn storage_is_lent_again() {
        BufferLimits { bytes: 32 }.apply();
        let first = Buffer::take();
        let address = first.storage.as_ptr();
        drop(first);
        assert_eq!(Buffer::take().storage.as_ptr(), address);
    }
}
