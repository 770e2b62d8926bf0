//! Many elements of a map in one system call, which aya has no way to say.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::Pod;

use crate::bpf;

/// Elements that go into the kernel at once: some 100 KB, so that neither side holds much.
pub(crate) const BATCH: usize = 4_096;

/// `enum bpf_cmd` of linux/bpf.h.
const BPF_MAP_LOOKUP_BATCH: u32 = 24;
const BPF_MAP_UPDATE_BATCH: u32 = 26;

/// The part of `union bpf_attr` that these commands read.
#[repr(C)]
#[derive(Default)]
struct Attribute {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Writes `values` under `keys`, in that order. Each element is replaced whole.
///
/// # Errors
/// What the kernel says to the first element that it refuses; those before it are written.
pub(crate) fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
        assert_eq!(keys.len(), values.len(), "a value for each key");
        let mut attribute = Attribute {
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count: count(keys.len()),
            map: number(map),
            ..Attribute::default()
        };
        // Both pointers are to `count` elements, of the sizes that the map was found to have when it was opened.
        bpf::call(BPF_MAP_UPDATE_BATCH, &mut attribute)?;
    }
    Ok(())
}

/// The elements of an array with a value per CPU, from the first on: `values` is called with each index and the
/// values of all `cpus`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn per_cpu<V: Pod + Default>(
    map: BorrowedFd<'_>,
    elements: u32,
    cpus: usize,
    mut each: impl FnMut(u32, &[V]),
) -> io::Result<()> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel gives each CPU a multiple of 8 bytes") };
    let mut keys = vec![0_u32; BATCH];
    let mut values = vec![V::default(); BATCH * cpus];
    let (mut done, mut place) = (0, 0_u32);
    while done < elements {
        let last = place;
        let mut attribute = Attribute {
            in_batch: if done == 0 { 0 } else { (&raw const last) as u64 },
            out_batch: (&raw mut place) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: count(BATCH),
            map: number(map),
            ..Attribute::default()
        };
        // The pointers are to `count` keys and `count` times `cpus` values, and to two variables.
        let end = match bpf::call(BPF_MAP_LOOKUP_BATCH, &mut attribute) {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let found = (attribute.count as usize).min(BATCH);
        for (key, values) in keys.iter().zip(values.chunks(cpus)).take(found) {
            each(*key, values);
        }
        done += attribute.count;
        if end || found == 0 {
            break;
        }
    }
    Ok(())
}

fn count(length: usize) -> u32 {
    u32::try_from(length.min(BATCH)).unwrap_or(0)
}

fn number(map: BorrowedFd<'_>) -> u32 {
    // A descriptor that is borrowed is open, so it is not negative.
    u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX)
}
