//! Life of the process: identity, privileges, descriptors, the background.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use rustix::thread::CapabilitySet;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};

/// Bytes a passwd or group entry may take; glibc's own suggestion is 1 KiB.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// The uid and primary gid of a user name, `None` if there is no such user.
pub fn user(name: &str) -> io::Result<Option<(u32, u32)>> {
    let name = CString::new(name)?;
    let mut text = vec![0; ENTRY_BYTES_MAX];
    // SAFETY: all zeroes is a valid passwd; it is only read after getpwnam_r filled it.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer outlives the call and `text.len()` is the true size of the scratch space.
    let status =
        unsafe { libc::getpwnam_r(name.as_ptr(), &mut entry, text.as_mut_ptr(), text.len(), &mut found) };
    match status {
        0 if found.is_null() => Ok(None),
        0 => Ok(Some((entry.pw_uid, entry.pw_gid))),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The gid of a group name, `None` if there is no such group.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    let mut text = vec![0; ENTRY_BYTES_MAX];
    // SAFETY: all zeroes is a valid group; it is only read after getgrnam_r filled it.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer outlives the call and `text.len()` is the true size of the scratch space.
    let status =
        unsafe { libc::getgrnam_r(name.as_ptr(), &mut entry, text.as_mut_ptr(), text.len(), &mut found) };
    match status {
        0 if found.is_null() => Ok(None),
        0 => Ok(Some(entry.gr_gid)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Drops supplementary groups, then becomes `gid` and `uid`, for all threads of the process. Of the capabilities that
/// the process has and loses with root, the calling thread and those it starts later keep those in `keep`.
///
/// # Errors
/// The first call that is refused; the process may then have part of its old identity and must not go on.
pub fn become_user(uid: Option<u32>, gid: Option<u32>, keep: CapabilitySet) -> io::Result<()> {
    let keep = keep & capabilities(None)?.permitted;
    let keeps = uid.is_some() && !keep.is_empty();
    if keeps {
        set_keep_capabilities(true)?;
    }
    // SAFETY: the calls take plain integers; a null list with length 0 is the documented way to drop groups.
    unsafe {
        if (uid.is_some() || gid.is_some()) && libc::getuid() == 0 {
            check(libc::setgroups(0, std::ptr::null()))?;
        }
        if let Some(gid) = gid {
            check(libc::setgid(gid))?;
        }
        if let Some(uid) = uid {
            check(libc::setuid(uid))?;
        }
    }
    if keeps {
        let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets)?;
        set_keep_capabilities(false)?;
        KEPT.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether [`become_user`] kept anything.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Has the calling thread, and those that it starts, lose what [`become_user`] kept: for threads that read what
/// strangers send.
///
/// # Errors
/// When the kernel refuses, which it does not for less than there is.
pub fn drop_kept() -> io::Result<()> {
    if KEPT.load(Ordering::Relaxed) {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    }
    Ok(())
}

/// `chroot` followed by `chdir("/")`.
pub fn chroot(root: &Path) -> io::Result<()> {
    rustix::process::chroot(root)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Which side of a fork this is.
pub enum Fork {
    Parent { child: i32 },
    Child,
}

/// Forks the process.
///
/// # Errors
/// When the kernel refuses, or when the process already has other threads: only the calling one would survive.
pub fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(io::Error::other("fork with running threads"));
    }
    // SAFETY: checked above that no other thread exists, so no lock can be held across the fork.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent { child }),
    }
}

/// Makes the process leader of a new session and points standard input, output and error at /dev/null.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: dup2 onto the standard descriptors; whoever held them sees /dev/null from now on.
        check(unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), standard) })?;
    }
    Ok(())
}

/// Takes over a descriptor that the parent process left open.
///
/// # Errors
/// When no such descriptor is open.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only asks; it fails with EBADF when the number is not an open descriptor.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: the descriptor is open, as just checked; a private duplicate leaves the original to its owner.
    let copy = check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Duplicates a descriptor, for a second owner on another thread.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// Moves the calling thread into the network namespace called `name` (`/run/netns/NAME`); returns a handle to
/// the one it was in.
pub fn enter_network_namespace(name: &str) -> io::Result<OwnedFd> {
    let before = std::fs::File::open("/proc/thread-self/ns/net")?;
    let there = std::fs::File::open(format!("/run/netns/{name}"))?;
    return_to_network_namespace(&there)?;
    Ok(before.into())
}

/// Moves the calling thread back into a namespace that [`enter_network_namespace`] returned.
pub fn return_to_network_namespace(namespace: impl AsFd) -> io::Result<()> {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&namespace.as_fd());
    // SAFETY: setns on an open namespace descriptor changes only the calling thread.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) })?;
    Ok(())
}

/// Names the calling process or thread, as `/proc/PID/comm` shows it (15 bytes are kept).
pub fn set_name(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    rustix::thread::set_name(&name)?;
    Ok(())
}

/// Holds back, for the calling thread and those it starts, the signals that would end or confuse a process which
/// has not installed its handlers yet. They wait until [`release_signals`].
pub fn hold_signals() {
    mask_signals(libc::SIG_BLOCK);
}

/// Lets the held signals come.
pub fn release_signals() {
    mask_signals(libc::SIG_UNBLOCK);
}

fn mask_signals(how: libc::c_int) {
    // SAFETY: the set is initialized by sigemptyset before use; the calls take valid signal numbers and a null old set.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGQUIT]
        {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

/// Ends the process by a signal's default action, so that whoever waits for it sees which one it was.
pub fn die_by_signal(signal: i32) -> ! {
    // SAFETY: SIG_DFL is a valid disposition and raise takes any number; both are async-signal-safe.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    // Reached only for signals whose default is not to end the process.
    std::process::exit(128 + signal)
}

fn check(status: libc::c_int) -> io::Result<libc::c_int> {
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up() {
        assert_eq!(user("root").unwrap(), Some((0, 0)));
        assert_eq!(user("no such user here").unwrap(), None);
        assert_eq!(group("root").unwrap(), Some(0));
        assert!(user("nul\0").is_err());
    }

    #[test]
    fn a_closed_descriptor_is_not_inherited() {
        assert_eq!(inherited(19_999).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
