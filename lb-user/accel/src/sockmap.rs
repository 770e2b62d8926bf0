//! User side of the sockmap program: pairs of sockets in, their progress out.
//!
//! The caller keeps the protocol's promises about its sockets (nothing unread in the source, nothing unwritten
//! for the destination); this side keeps the order of map operations. Flows are shared memory, so asking how a
//! flow is doing costs no system call.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray, RingBuf, SockMap};
use aya::programs::SkSkb;
use lb_common::counters::{SOCKMAP_NAMES, sockmap as counter};
use lb_common::limits::{SOCKMAP_BACKLOG_BYTES, SOCKMAP_FLOWS};
use lb_common::sockmap::{Event, FRESH, Flow, GATED};
use sockeye_sys::sockopt;

use crate::loader::{self, LoadError};

/// No flow has this index.
const NO_LEADER: u32 = u32::MAX;
/// Name of the program in its object.
const PROGRAM: &str = "sockmap";

/// The loaded program with its maps. Shared by all worker threads.
pub struct Sockmap {
    flows: FlowTable,
    state: Mutex<State>,
    wakers: Mutex<HashMap<u32, Waker>>,
    events: Mutex<RingBuf<MapData>>,
    /// A second descriptor of the ring buffer, so that waiting needs no lock.
    events_fd: OwnedFd,
    /// The flow whose task waits for the ring buffer, for all of them; [`NO_LEADER`] while there is none.
    leader: AtomicU32,
    counters: PerCpuArray<MapData, u64>,
    backlog_bytes_max: AtomicU32,
    /// The program stays loaded and attached as long as this lives.
    _program: aya::Ebpf,
}

/// What changes when a flow comes or goes. The lock is held for a few map operations of microseconds.
struct State {
    sources: SockMap<MapData>,
    destinations: SockMap<MapData>,
    slots: BpfHashMap<MapData, u64, u32>,
    /// Oldest first, so that a program still running for a flow that is gone does not meet its successor.
    free: VecDeque<u32>,
    /// Cookies of all sockets that are in a map; one socket takes part in one direction only.
    busy: HashSet<u64>,
}

/// Why a pair stays in userspace.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// All flows of the map are in use.
    #[error("all {SOCKMAP_FLOWS} flows are in use")]
    Full,
    /// One of the sockets is part of another direction.
    #[error("one of the sockets is forwarded already")]
    Busy,
    /// A system call on one of the sockets failed.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refuses the sockets: not TCP, or not established any more.
    #[error("map: {0}")]
    Refused(#[from] MapError),
}

impl Sockmap {
    /// Loads and attaches the program.
    pub(crate) fn load() -> Result<Self, LoadError> {
        let mut object = loader::sockmap_object()?;
        let sources: SockMap<MapData> = take(&mut object, "SOURCES")?.try_into()?;
        let destinations: SockMap<MapData> = take(&mut object, "DESTINATIONS")?.try_into()?;
        let slots = take(&mut object, "SLOTS")?.try_into()?;
        let counters = take(&mut object, "COUNTERS")?.try_into()?;
        let Map::Array(flows) = take(&mut object, "FLOWS")? else { return Err(LoadError::Missing("FLOWS")) };
        let flows = FlowTable::new(&flows).map_err(LoadError::Flows)?;
        let events: RingBuf<MapData> = take(&mut object, "EVENTS")?.try_into()?;
        let events_fd = events.as_fd().try_clone_to_owned().map_err(LoadError::Flows)?;
        let program: &mut SkSkb =
            object.program_mut(PROGRAM).ok_or(LoadError::Missing(PROGRAM))?.try_into()?;
        program.load()?;
        program.attach(sources.fd())?;
        let free = (0..SOCKMAP_FLOWS).collect();
        let state = State { sources, destinations, slots, free, busy: HashSet::new() };
        Ok(Self {
            flows,
            state: Mutex::new(state),
            wakers: Mutex::default(),
            events: Mutex::new(events),
            events_fd,
            leader: AtomicU32::new(NO_LEADER),
            counters,
            backlog_bytes_max: AtomicU32::new(SOCKMAP_BACKLOG_BYTES),
            _program: object,
        })
    }

    /// Starts forwarding what `source` receives to `destination`.
    ///
    /// The caller promises that everything `source` received before was read and written to `destination`,
    /// which nobody else writes to. Once more bytes are redirected than the limit and not yet taken by
    /// `destination`, the flow is gated.
    ///
    /// # Errors
    /// Any error leaves the sockets as they were.
    pub fn insert(self: &Arc<Self>, source: impl AsFd, destination: impl AsFd) -> Result<Link, InsertError> {
        let (source, destination) = (source.as_fd(), destination.as_fd());
        let cookies = [sockopt::cookie(source)?, sockopt::cookie(destination)?];
        let mut state = lock(&self.state);
        if cookies.iter().any(|cookie| state.busy.contains(cookie)) {
            return Err(InsertError::Busy);
        }
        let slot = state.free.pop_front().ok_or(InsertError::Full)?;
        self.flows.reset(slot, self.backlog_bytes_max.load(Ordering::Relaxed));
        // The destination first: a redirect that finds none would lose what the source has acknowledged.
        let inserted = state
            .slots
            .insert(cookies[0], slot, 0)
            .and_then(|()| state.destinations.set(slot, &destination.as_raw_fd(), 0))
            .and_then(|()| state.sources.set(slot, &source.as_raw_fd(), 0));
        if let Err(error) = inserted {
            state.remove(slot, cookies[0]);
            return Err(error.into());
        }
        state.busy.extend(cookies);
        drop(state);
        let link = Link { sockmap: Arc::clone(self), slot, cookies };
        // The program runs for what arrives; this makes it run for what arrived while we were busy here.
        sockopt::set_receive_low_water(source, 1)?;
        Ok(link)
    }

    /// Changes the limit of flows to come from [`SOCKMAP_BACKLOG_BYTES`].
    pub fn limit_backlog(&self, bytes: u32) {
        self.backlog_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Becomes readable when flows were gated; [`dispatch`](Self::dispatch) then wakes their tasks.
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.events_fd.as_fd()
    }

    /// Wakes the task of every flow that was gated since the last call.
    pub fn dispatch(&self) {
        let mut events = lock(&self.events);
        while let Some(item) = events.next() {
            let mut slot = [0; 4];
            if item.len() < size_of::<Event>() {
                continue;
            }
            slot.copy_from_slice(&item[..4]);
            if let Some(waker) = lock(&self.wakers).get(&u32::from_ne_bytes(slot)) {
                waker.wake_by_ref();
            }
        }
    }

    /// The program's counters, summed over the CPUs, with their names.
    ///
    /// # Errors
    /// When the kernel does not let the map be read.
    pub fn counters(&self) -> io::Result<[(&'static str, u64); counter::COUNT as usize]> {
        let mut counters = SOCKMAP_NAMES.map(|name| (name, 0));
        for (index, counter) in (0..).zip(&mut counters) {
            let values = self.counters.get(&index, 0).map_err(io::Error::other)?;
            counter.1 = values.iter().sum();
        }
        Ok(counters)
    }

    /// Flows at this moment.
    pub fn active(&self) -> usize {
        lock(&self.state).busy.len() / 2
    }
}

impl fmt::Debug for Sockmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockmap").field("active", &self.active()).finish_non_exhaustive()
    }
}

impl State {
    /// Takes a flow out of all maps; missing entries are those of sockets that are gone already.
    fn remove(&mut self, slot: u32, source: u64) {
        let _ = self.sources.clear_index(&slot);
        let _ = self.destinations.clear_index(&slot);
        let _ = self.slots.remove(&source);
        self.free.push_back(slot);
    }
}

/// One direction that the kernel forwards. Dropping it ends that; what the destination has not taken yet is
/// then lost, so a flow that goes on must be drained first.
#[derive(Debug)]
pub struct Link {
    sockmap: Arc<Sockmap>,
    slot: u32,
    cookies: [u64; 2],
}

impl Link {
    /// Bytes handed to the destination socket since the insertion.
    pub fn redirected(&self) -> u64 {
        self.flow().redirected.load(Ordering::Acquire)
    }

    /// Bytes left to userspace since the insertion, to be read from the source.
    pub fn passed(&self) -> u64 {
        self.flow().passed.load(Ordering::Acquire)
    }

    /// Whether packets go to userspace now.
    pub fn is_gated(&self) -> bool {
        self.flow().state.load(Ordering::Acquire) == GATED
    }

    /// How often the flow was gated.
    pub fn gates(&self) -> u32 {
        self.flow().gates.load(Ordering::Acquire)
    }

    /// Says that `consumed` of the bytes left to userspace were written to the destination, and that the gate
    /// may open once that is all of them.
    pub fn resume(&self, consumed: u64) {
        self.flow().consumed.store(consumed, Ordering::Release);
        self.flow().resume.store(1, Ordering::Release);
    }

    /// The task to wake when the flow is gated, from now on until [`clear_waker`](Self::clear_waker).
    pub fn set_waker(&self, waker: &Waker) {
        let mut wakers = lock(&self.sockmap.wakers);
        match wakers.get_mut(&self.slot) {
            Some(known) => known.clone_from(waker),
            None => {
                wakers.insert(self.slot, waker.clone());
            }
        }
    }

    /// The flow looks after itself from now on. If its task was the one that waits for the ring buffer, or
    /// nobody does, another task is woken to do it.
    pub fn clear_waker(&self) {
        let mut wakers = lock(&self.sockmap.wakers);
        wakers.remove(&self.slot);
        let leader = &self.sockmap.leader;
        // Fails when another flow leads, or none.
        let _ = leader.compare_exchange(self.slot, NO_LEADER, Ordering::AcqRel, Ordering::Relaxed);
        if leader.load(Ordering::Acquire) == NO_LEADER
            && let Some(next) = wakers.values().next()
        {
            next.wake_by_ref();
        }
    }

    /// Whether this flow's task has just become the one that waits for [`Sockmap::events_fd`], for all flows.
    /// Asked at every poll, after [`set_waker`](Self::set_waker).
    pub fn takes_lead(&self) -> bool {
        let leader = &self.sockmap.leader;
        leader.load(Ordering::Relaxed) == NO_LEADER
            && leader.compare_exchange(NO_LEADER, self.slot, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The program that forwards this flow.
    pub fn sockmap(&self) -> &Arc<Sockmap> {
        &self.sockmap
    }

    fn flow(&self) -> &SharedFlow {
        self.sockmap.flows.flow(self.slot)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.clear_waker();
        let mut state = lock(&self.sockmap.state);
        state.remove(self.slot, self.cookies[0]);
        for cookie in &self.cookies {
            state.busy.remove(cookie);
        }
    }
}

/// [`Flow`] as two writers see it.
#[repr(C)]
struct SharedFlow {
    redirected: AtomicU64,
    passed: AtomicU64,
    consumed: AtomicU64,
    state: AtomicU32,
    expected_seq: AtomicU32,
    backlog_bytes_max: AtomicU32,
    resume: AtomicU32,
    gates: AtomicU32,
    _padding: [u32; 5],
}

const _: () = assert!(size_of::<SharedFlow>() == size_of::<Flow>());

/// The array of flows, mapped into this process.
struct FlowTable {
    first: NonNull<SharedFlow>,
}

const FLOW_TABLE_BYTES: usize = SOCKMAP_FLOWS as usize * size_of::<SharedFlow>();

// SAFETY: the mapping lives until drop, holds only atomics, and belongs to no thread.
unsafe impl Send for FlowTable {}
// SAFETY: as above.
unsafe impl Sync for FlowTable {}

impl FlowTable {
    fn new(map: &MapData) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the map has exactly this size.
        let address = unsafe {
            mmap(std::ptr::null_mut(), FLOW_TABLE_BYTES, protection, MapFlags::SHARED, map.fd().as_fd(), 0)?
        };
        let first = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first })
    }

    fn flow(&self, slot: u32) -> &SharedFlow {
        assert!(slot < SOCKMAP_FLOWS, "slots come from the free list");
        // SAFETY: checked above to be inside the mapping, which lives as long as `self`.
        unsafe { self.first.add(slot as usize).as_ref() }
    }

    /// Prepares a flow that no program can see yet.
    fn reset(&self, slot: u32, backlog_bytes_max: u32) {
        let flow = self.flow(slot);
        for counter in [&flow.redirected, &flow.passed, &flow.consumed] {
            counter.store(0, Ordering::Relaxed);
        }
        for field in [&flow.expected_seq, &flow.resume, &flow.gates] {
            field.store(0, Ordering::Relaxed);
        }
        flow.backlog_bytes_max.store(backlog_bytes_max, Ordering::Relaxed);
        flow.state.store(FRESH, Ordering::Release);
    }
}

impl Drop for FlowTable {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference to it outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.first.as_ptr().cast(), FLOW_TABLE_BYTES) };
    }
}

fn take(object: &mut aya::Ebpf, name: &'static str) -> Result<Map, LoadError> {
    object.take_map(name).ok_or(LoadError::Missing(name))
}

/// A panic elsewhere does not make the maps unusable: every operation leaves them consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
