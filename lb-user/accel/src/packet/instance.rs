//! An instance: the folder of the BPF filesystem that holds what outlives a process, and who owns it.
//!
//! Every process that claims the instance makes a folder `owner-<epoch>-<pid>` in it and locks that with flock(2),
//! so that the kernel takes the mark away with the process. The owner with the highest epoch is the one that counts.
//! The instance's own lock is held only while the folder is looked at or changed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, CWD, Dir, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::filter;
use super::pins::{self, Pin};
use crate::bpf;
use crate::netlink::Interface;

/// Where the BPF filesystem is mounted, by convention.
pub(crate) const BPF_ROOT: &str = "/sys/fs/bpf";
/// The folder of all instances.
pub(super) const ALL: &str = "/sys/fs/bpf/sockeye";
/// `BPF_FS_MAGIC`.
const BPF_MAGIC: i64 = 0xcafe_4a11;
/// Longest name: every pin's path then stays far below the kernel's limits.
const NAME_MAX: usize = 64;
/// How folders are opened: they, and nothing that stands for them.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How often a folder that another process removes meanwhile is made again.
const TRIES: usize = 16;

/// Why an instance cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    #[error("instance '{0}': a name has 1 to {NAME_MAX} letters, digits, '-' and '_'")]
    Name(String),
    #[error(
        "instance '{name}' belongs to process {pid}, which is running: take it over with '-sf {pid}', end it first, or \
         give this one another name by 'ebpf.instance'"
    )]
    Owned { name: String, pid: u32 },
    #[error("instance '{0}' holds nothing")]
    Nothing(String),
    #[error("cannot mount the BPF filesystem at {BPF_ROOT}: {0}")]
    Mount(#[source] io::Error),
    #[error("{ALL} can be changed by others than root: remove it")]
    Foreign,
    #[error("cannot use {path}: {error}")]
    Folder { path: PathBuf, error: io::Error },
}

/// A claimed instance; the claim ends when this and every [`Packet`](super::Packet) loaded with it are gone, or with
/// the process. What is pinned stays.
#[derive(Debug, Clone)]
pub struct Instance {
    pub(super) folder: Arc<Folder>,
}

/// The folder with our mark in it.
#[derive(Debug)]
pub(super) struct Folder {
    name: String,
    path: PathBuf,
    directory: OwnedFd,
    epoch: u64,
    /// Name of our mark, and the lock upon it.
    mark: String,
    lock: OwnedFd,
    /// The network namespace, by its inode.
    network: u64,
    /// What we found of a process that is gone.
    orphaned: bool,
    /// The filesystem was mounted by us, in a mount namespace of our own.
    transient: bool,
}

impl Instance {
    /// Makes this process the owner. Mounts the BPF filesystem if it is not; pins that a dead process left are
    /// adopted by the next [`Packet::load`](super::Packet::load).
    ///
    /// `replaced`: processes that will go (`-sf`, `-st`); one of them may own the instance, and leaves to us what is
    /// pinned.
    ///
    /// # Errors
    /// When the name is not one, any other process owns the instance, or the filesystem cannot be used.
    pub fn claim(name: &str, replaced: &[u32]) -> Result<Self, InstanceError> {
        validate(name)?;
        let transient = mount()? && private_mounts();
        let path = Path::new(ALL).join(name);
        let failed = |error: Errno| InstanceError::Folder { path: path.clone(), error: error.into() };
        let (directory, locked) = open_locked(name, true)?;
        let owners = owners(&directory).map_err(failed)?;
        if let Some(owner) = owners.iter().rev().find(|owner| owner.live)
            && !replaced.contains(&owner.pid)
        {
            return Err(InstanceError::Owned { name: name.to_owned(), pid: owner.pid });
        }
        for owner in owners.iter().filter(|owner| !owner.live) {
            pins::remove_folder(&directory, &owner.name()).map_err(failed)?;
        }
        let attached = |pin: &Pin| matches!(pin, Pin::Link { .. } | Pin::Filter { .. });
        let orphaned = !owners.iter().any(|owner| owner.live)
            && pins::list(&directory).map_err(failed)?.iter().any(attached);
        let epoch = owners.last().map_or(1, |owner| owner.epoch + 1);
        let mark = Pin::Owner { epoch, pid: std::process::id() }.to_string();
        fs::mkdirat(&directory, &mark, Mode::RWXU).map_err(failed)?;
        let lock = open_folder(&directory, &mark).map_err(failed)?;
        fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(failed)?;
        drop(locked);
        let network = network_namespace().map_err(failed)?;
        let folder = Folder {
            name: name.to_owned(),
            path,
            directory,
            epoch,
            mark,
            lock,
            network,
            orphaned,
            transient,
        };
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Detaches and removes everything that an instance without a running owner left. Says what was removed, a line
    /// each.
    ///
    /// # Errors
    /// [`InstanceError::Nothing`] if there is nothing, [`InstanceError::Owned`] if a process has it.
    pub fn unload(name: &str) -> Result<Vec<String>, InstanceError> {
        validate(name)?;
        let path = Path::new(ALL).join(name);
        let failed = |error: Errno| InstanceError::Folder { path: path.clone(), error: error.into() };
        let (directory, locked) = open_locked(name, false)?;
        if let Some(owner) = owners(&directory).map_err(failed)?.iter().rev().find(|owner| owner.live) {
            return Err(InstanceError::Owned { name: name.to_owned(), pid: owner.pid });
        }
        let removed = pins::remove_all(&directory).map_err(failed)?;
        fs::rmdir(&path).map_err(failed)?;
        drop(locked);
        // Only the last instance's removal empties it.
        let _ = fs::rmdir(ALL);
        // A process that has changed its user leaves the empty folder.
        if removed.is_empty() { Err(InstanceError::Nothing(name.to_owned())) } else { Ok(removed) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.folder.name
    }

    /// Whether a process that did not end cleanly left something, and no other one is using it.
    pub fn is_orphaned(&self) -> bool {
        self.folder.orphaned
    }

    /// Whether the BPF filesystem ends with this process's mount namespace, and with it what was pinned.
    pub fn is_transient(&self) -> bool {
        self.folder.transient
    }

    /// Lets a user change what is pinned; to be called before the process becomes that user. It needs `CAP_NET_ADMIN`,
    /// `CAP_BPF` and `CAP_PERFMON` to attach again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn give_to(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        let folder = &self.folder;
        fs::chownat(&folder.directory, &folder.mark, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(fs::fchown(&folder.directory, user, group)?)
    }

    /// Whether a later process has claimed the instance and is running: what is pinned is its affair now.
    pub fn is_superseded(&self) -> bool {
        let Ok(_lock) = self.folder.lock() else { return false };
        self.folder.superseded()
    }
}

impl Folder {
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where pins wait until they take the place of others: the folder that is our mark.
    pub(super) fn staging(&self) -> &OwnedFd {
        &self.lock
    }

    pub(super) fn network(&self) -> u64 {
        self.network
    }

    /// Keeps other processes from looking at the folder or changing it, until the result is dropped.
    pub(super) fn lock(&self) -> rustix::io::Result<OwnedFd> {
        // A lock belongs to what open(2) made, so that each holder needs its own.
        let locked = open_folder(&self.directory, ".")?;
        fs::flock(&locked, FlockOperation::LockExclusive)?;
        Ok(locked)
    }

    /// As [`Instance::is_superseded`], with the lock held.
    pub(super) fn superseded(&self) -> bool {
        owners(&self.directory)
            .is_ok_and(|owners| owners.iter().any(|owner| owner.epoch > self.epoch && owner.live))
    }

    /// Removes our mark, and the folder if nothing is pinned in it; with the lock held.
    pub(super) fn leave(&self) {
        // What cannot be removed is harmless: the next claim finds a mark without a holder.
        let _ = pins::remove_folder(&self.directory, &self.mark);
        // A folder that is removed already may have a successor by the same name.
        if fs::fstat(&self.directory).is_ok_and(|status| status.st_nlink > 0) && fs::rmdir(&self.path).is_ok()
        {
            let _ = fs::rmdir(ALL);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Ok(_lock) = self.lock() {
            self.leave();
        }
    }
}

/// One process's mark.
struct Owner {
    epoch: u64,
    pid: u32,
    live: bool,
}

impl Owner {
    fn name(&self) -> String {
        Pin::Owner { epoch: self.epoch, pid: self.pid }.to_string()
    }
}

/// All marks, the oldest first; with the lock held.
fn owners(directory: &OwnedFd) -> rustix::io::Result<Vec<Owner>> {
    let mut owners = Vec::new();
    for pin in pins::list(directory)? {
        let Pin::Owner { epoch, pid } = pin else { continue };
        let live = match open_folder(directory, &pin.to_string()) {
            Ok(mark) => fs::flock(&mark, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK),
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        owners.push(Owner { epoch, pid, live });
    }
    owners.sort_by_key(|owner| owner.epoch);
    Ok(owners)
}

fn validate(name: &str) -> Result<(), InstanceError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) {
        return Err(InstanceError::Name(name.to_owned()));
    }
    Ok(())
}

/// Whether a BPF filesystem is where we expect it.
pub(crate) fn is_mounted() -> bool {
    fs::statfs(BPF_ROOT).is_ok_and(|found| is_bpf(&found))
}

fn is_bpf(found: &fs::StatFs) -> bool {
    #[allow(clippy::useless_conversion, reason = "the type differs between architectures")]
    let kind = i64::from(found.f_type);
    kind == BPF_MAGIC
}

/// Mounts the BPF filesystem, says whether it had to.
fn mount() -> Result<bool, InstanceError> {
    if is_mounted() {
        return Ok(false);
    }
    // As systemd does it.
    let options = Some(c"mode=0700");
    rustix::mount::mount("bpf", BPF_ROOT, "bpf", rustix::mount::MountFlags::empty(), options)
        .map_err(|error| InstanceError::Mount(error.into()))?;
    Ok(true)
}

/// Whether our mounts are not those of the first process: where we cannot tell, they are.
fn private_mounts() -> bool {
    let of = |process: &str| fs::readlink(format!("/proc/{process}/ns/mnt"), Vec::new()).ok();
    matches!((of("1"), of("self")), (Some(first), Some(ours)) if first != ours)
}

pub(crate) fn network_namespace() -> rustix::io::Result<u64> {
    Ok(fs::stat("/proc/thread-self/ns/net")?.st_ino)
}

pub(super) fn open_folder(at: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    fs::openat(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The instance's folder, and its lock; [`InstanceError::Nothing`] if it is not there and shall not be made.
fn open_locked(name: &str, create: bool) -> Result<(OwnedFd, OwnedFd), InstanceError> {
    let failed =
        |error: Errno| InstanceError::Folder { path: Path::new(ALL).join(name), error: error.into() };
    for _ in 0..TRIES {
        match try_open_locked(name, create) {
            // Another process removed what was empty.
            Err(Errno::NOENT) if create => {}
            Err(Errno::NOENT) => return Err(InstanceError::Nothing(name.to_owned())),
            Err(Errno::PERM) => return Err(InstanceError::Foreign),
            other => return other.map_err(failed),
        }
    }
    Err(failed(Errno::BUSY))
}

fn try_open_locked(name: &str, create: bool) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    if create {
        exists_now(fs::mkdir(ALL, Mode::from_raw_mode(0o755)))?;
    }
    let all = fs::openat(CWD, ALL, FOLDER, Mode::empty())?;
    if !is_trusted(&all)? {
        return Err(Errno::PERM);
    }
    if create {
        exists_now(fs::mkdirat(&all, name, Mode::RWXU))?;
    }
    let directory = open_folder(&all, name)?;
    let locked = open_folder(&directory, ".")?;
    fs::flock(&locked, FlockOperation::LockExclusive)?;
    // Whoever held the lock may have removed the folder.
    if fs::fstat(&directory)?.st_nlink == 0 {
        return Err(Errno::NOENT);
    }
    Ok((directory, locked))
}

/// Whether only we can change what is in a folder: anybody may make one where the BPF filesystem is mounted as it is by
/// default.
fn is_trusted(folder: &OwnedFd) -> rustix::io::Result<bool> {
    let status = fs::fstat(folder)?;
    let owner = status.st_uid == 0 || status.st_uid == rustix::process::geteuid().as_raw();
    Ok(owner && status.st_mode & 0o022 == 0 && is_bpf(&fs::fstatfs(folder)?))
}

fn exists_now(made: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if made == Err(Errno::EXIST) { Ok(()) } else { made }
}

/// The instance, other than `but`, that has its program on an interface of the network namespace.
pub(crate) fn holder(interface: &Interface, network: u64, but: Option<&str>) -> Option<String> {
    for (instance, directory) in others(but) {
        for pin in pins::list(&directory).unwrap_or_default() {
            let holds = match &pin {
                Pin::Link { network: of, .. } if *of == network => {
                    bpf::object_get(&directory, &pin.to_string())
                        .and_then(bpf::link_info)
                        .is_ok_and(|info| info.is_some_and(|info| info.interface == interface.index))
                }
                // The name may be that of another interface, of a namespace with a number that was used before.
                Pin::Filter { interface: name, network: of } => {
                    *of == network
                        && *name == interface.name
                        && filter::program(interface.index).is_some_and(|id| {
                            bpf::object_get(&directory, &pin.to_string())
                                .and_then(bpf::program_id)
                                .is_ok_and(|ours| ours == id)
                        })
                }
                _ => false,
            };
            if holds {
                return Some(instance);
            }
        }
    }
    None
}

/// All instances but one: their names and folders, of those that we may look into.
fn others(but: Option<&str>) -> Vec<(String, OwnedFd)> {
    let names = all().into_iter().filter(|name| Some(name.as_str()) != but);
    let opened = names.map(|name| (fs::open(Path::new(ALL).join(&name), FOLDER, Mode::empty()), name));
    opened.filter_map(|(folder, name)| Some((name, folder.ok()?))).collect()
}

/// Names of all instances.
fn all() -> Vec<String> {
    let Ok(directory) = fs::open(ALL, FOLDER, Mode::empty()) else { return Vec::new() };
    let Ok(entries) = Dir::read_from(&directory) else { return Vec::new() };
    let names = entries.flatten().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
    names.filter_map(|name| name.into_string().ok()).filter(|name| validate(name).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_paths() {
        let check = |name: &str, expected: bool| assert_eq!(validate(name).is_ok(), expected, "{name}");
        check("default", true);
        check("Edge-2_b", true);
        check(&"a".repeat(64), true);
        for name in ["", ".", "..", "a.b", "a/b", "/", "é", "a b", "a\0", &"a".repeat(65)] {
            check(name, false);
        }
    }
    #[test]
    fn folders_that_others_can_change_are_not_trusted() {
        for path in ["/", "/tmp", "/proc/self", BPF_ROOT] {
            let Ok(folder) = fs::open(path, FOLDER, Mode::empty()) else { continue };
            let ours = path == BPF_ROOT && is_mounted() && fs::fstat(&folder).unwrap().st_mode & 0o022 == 0;
            assert_eq!(is_trusted(&folder).unwrap(), ours, "{path}");
        }
    }
}
