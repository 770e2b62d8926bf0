//! The bpf(2) calls that aya has no way to: links held by their descriptors alone, and what the kernel knows of them.
//!
//! Descriptors and names relative to an open folder, so that all of this still works once the process has changed its
//! user or its root.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

/// Commands of bpf(2), as in `linux/bpf.h`.
mod command {
    pub(super) const OBJ_PIN: u32 = 6;
    pub(super) const OBJ_GET: u32 = 7;
    pub(super) const PROG_GET_FD_BY_ID: u32 = 13;
    pub(super) const OBJ_GET_INFO_BY_FD: u32 = 15;
    pub(super) const LINK_CREATE: u32 = 28;
    pub(super) const LINK_UPDATE: u32 = 29;
    pub(super) const LINK_DETACH: u32 = 34;
}

/// `BPF_TCX_INGRESS`, an attach type.
pub(crate) const TCX_INGRESS: u32 = 46;
/// `BPF_XDP`, an attach type.
pub(crate) const XDP: u32 = 37;
/// `BPF_LINK_TYPE_XDP`.
const LINK_TYPE_XDP: u32 = 6;
/// `BPF_LINK_TYPE_TCX`.
const LINK_TYPE_TCX: u32 = 11;
/// `BPF_F_PATH_FD`: the name is relative to a descriptor. Kernels before 6.5 refuse it with EINVAL.
const PATH_FD: u32 = 1 << 14;

/// What a link is and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The interface; 0 once that is gone.
    pub(crate) interface: u32,
    /// The program that runs there.
    pub(crate) program: u32,
}

/// Attaches a program to an interface.
pub(crate) fn link_create(
    program: impl AsFd,
    interface: u32,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: i32,
        interface: u32,
        attach_type: u32,
        flags: u32,
        // tcx: the program that this one goes before or after, and the expected revision; none.
        relative: u32,
        padding: u32,
        revision: u64,
    }
    let program = program.as_fd().as_raw_fd();
    let mut attributes =
        Attributes { program, interface, attach_type, flags, relative: 0, padding: 0, revision: 0 };
    descriptor(call(command::LINK_CREATE, &mut attributes)?)
}

/// Puts another program in the place of a link's, without a moment in between.
pub(crate) fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: i32,
        program: i32,
        flags: u32,
        old_program: i32,
    }
    let (link, program) = (link.as_fd().as_raw_fd(), program.as_fd().as_raw_fd());
    call(command::LINK_UPDATE, &mut Attributes { link, program, flags: 0, old_program: 0 })?;
    Ok(())
}

/// Takes a link's program off its interface, whoever else holds the link.
pub(crate) fn link_detach(link: impl AsFd) -> io::Result<()> {
    call(command::LINK_DETACH, &mut link.as_fd().as_raw_fd())?;
    Ok(())
}

/// Where a link is attached; `None` if it is neither XDP nor tcx.
pub(crate) fn link_info(link: impl AsFd) -> io::Result<Option<LinkInfo>> {
    /// The start of `struct bpf_link_info`; XDP and tcx both have the interface first in their part.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        interface: u32,
        rest: [u32; 11],
    }
    let mut info = Info::default();
    object_info(link, &mut info)?;
    let known = matches!(info.kind, LINK_TYPE_XDP | LINK_TYPE_TCX);
    Ok(known.then_some(LinkInfo { interface: info.interface, program: info.program }))
}

/// The program that a link has now.
pub(crate) fn link_program(link: impl AsFd) -> io::Result<OwnedFd> {
    let info = link_info(link)?.ok_or(io::ErrorKind::InvalidInput)?;
    program(info.program)
}

fn program(id: u32) -> io::Result<OwnedFd> {
    descriptor(call(command::PROG_GET_FD_BY_ID, &mut [id, 0, 0])?)
}

/// The start of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    user: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

/// The kernel's number of a program.
pub(crate) fn program_id(program: impl AsFd) -> io::Result<u32> {
    let mut info = ProgramInfo::default();
    object_info(program, &mut info)?;
    Ok(info.id)
}

/// The name of the program with this number; empty if it has none.
pub(crate) fn program_name(id: u32) -> io::Result<String> {
    let program = program(id)?;
    let mut info = ProgramInfo::default();
    object_info(program, &mut info)?;
    let name = CStr::from_bytes_until_nul(&info.name).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

fn object_info<T>(object: impl AsFd, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        object: i32,
        length: u32,
        info: u64,
    }
    let length = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let info = std::ptr::from_mut(info) as u64;
    call(command::OBJ_GET_INFO_BY_FD, &mut Attributes { object: object.as_fd().as_raw_fd(), length, info })?;
    Ok(())
}

/// Opens what is pinned by this name in a folder.
pub(crate) fn object_get(folder: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    descriptor(at(command::OBJ_GET, 0, folder, name)?)
}

/// Pins an object by this name in a folder.
pub(crate) fn object_pin(object: impl AsFd, folder: impl AsFd, name: &str) -> io::Result<()> {
    at(command::OBJ_PIN, object.as_fd().as_raw_fd(), folder, name)?;
    Ok(())
}

/// A call that takes a name: relative to the folder's descriptor, or through `/proc` where the kernel cannot do that.
fn at(number: u32, object: i32, folder: impl AsFd, name: &str) -> io::Result<i32> {
    #[repr(C)]
    struct Attributes {
        name: u64,
        object: i32,
        flags: u32,
        folder: i32,
        padding: u32,
    }
    let folder = folder.as_fd().as_raw_fd();
    let relative = CString::new(name)?;
    let mut attributes =
        Attributes { name: relative.as_ptr() as u64, object, flags: PATH_FD, folder, padding: 0 };
    match call(number, &mut attributes) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        other => return other,
    }
    let absolute = CString::new(format!("/proc/self/fd/{folder}/{name}"))?;
    attributes = Attributes { name: absolute.as_ptr() as u64, object, flags: 0, folder: 0, padding: 0 };
    call(number, &mut attributes)
}

/// One bpf(2) call. `T` is the start of `union bpf_attr` for this command; the kernel takes the rest to be zero.
pub(crate) fn call<T>(command: u32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads, and for some commands writes, at most `size_of::<T>()` bytes behind the pointer, which
    // are borrowed for as long as the call takes. Pointers inside the attributes come from the callers above, which
    // keep what they point to alive, with its true length, until the call is over.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

fn descriptor(raw: i32) -> io::Result<OwnedFd> {
    if raw < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: commands that give out a descriptor make a new one (close-on-exec), which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
