//! The plane while the process runs: servers change, interfaces go and come back, and at the end nothing is left.
//!
//! A soft stop (SIGUSR1) takes no new flows: their packets are dropped, so that clients try again until another process
//! or another node takes them. Established flows go on until none has sent a packet for [`QUIET_TIME`], or
//! `hard-stop-after`. When a successor has taken over there is nothing left to do. After kill -9 everything goes on as
//! it is, until the next start of the instance or `sockeye --unload`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use sockeye_accel::{PacketError, PacketLines};
use sockeye_config::model::Level;
use sockeye_log::Logger;
use sockeye_syntax::diag::Severity;
use sockeye_sys::{netlink, readiness};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::interfaces::Network;
use super::{Done, Plane, ways};
use crate::process::run;

/// How long reports of changes to the network are gathered before it is looked at: a change seldom comes alone, and
/// routes of a busy router change all the time.
const SETTLE_TIME: Duration = Duration::from_millis(100);
/// How often an interface that did not take the program is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is seen to that the program is where it was put: nobody tells when another one takes its place.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long no flow may have sent a packet before a soft stop ends.
pub const QUIET_TIME: Duration = Duration::from_secs(5);

/// Keeps the program's maps and places up to date; ends with the process.
pub async fn keep(plane: Rc<RefCell<Plane>>) {
    let changes = plane.borrow().changes.clone();
    let watched = netlink::changes().and_then(readiness::watch);
    if let Err(error) = &watched {
        plane.borrow().tell(
            Severity::Warning,
            &format!("packet: changes of interfaces will not be seen: cannot watch them: {error}"),
        );
    }
    let mut check = interval(CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let retry = plane.borrow().retry.then(|| Instant::now() + RETRY_INTERVAL);
        tokio::select! {
            () = changes.notified() => follow(&plane).await,
            () = changed(watched.as_ref().ok()) => {
                sleep(SETTLE_TIME).await;
                if let Ok(watched) = &watched {
                    netlink::drain(watched.get_ref());
                }
                look(&plane).await;
            }
            () = until(retry) => look(&plane).await,
            _ = check.tick() => {
                if plane.borrow_mut().has_lost() {
                    look(&plane).await;
                }
            }
        }
    }
}

async fn changed(watched: Option<&tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>) {
    match watched {
        // The runtime is going away when this fails.
        Some(watched) => match watched.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Servers' states, weights or addresses have changed.
async fn follow(plane: &Rc<RefCell<Plane>>) {
    let moved = plane.borrow().has_moved();
    if moved {
        // Where the new addresses are decides where tunnels come from and answers come in.
        look(plane).await;
    } else {
        plane.borrow_mut().revive();
        tables(plane).await;
    }
}

/// Computes tables that are needed, on a thread of their own, and hands them to the program; then ends what has to end.
async fn tables(plane: &Rc<RefCell<Plane>>) {
    let jobs = plane.borrow().jobs();
    for job in jobs {
        // The thread pool is gone only when the process ends.
        let Ok(done) = spawn_blocking(move || job.run()).await else { return };
        plane.borrow_mut().take_table(done);
    }
    plane.borrow_mut().end();
}

/// Hands what the program says to the log and to standard error, for as long as the process lives.
pub async fn debug(mut lines: PacketLines, logger: Logger) {
    let Ok(watched) = lines.as_fd().try_clone_to_owned().and_then(readiness::watch) else { return };
    loop {
        // The runtime is going away when this fails.
        let Ok(mut ready) = watched.readable().await else { return };
        ready.clear_ready();
        for line in lines.read() {
            let text = format!("packet: {line}.");
            run::say(Severity::Diag, &text);
            logger.event(Level::Debug, &text);
        }
    }
}

/// Looks at the machine's network, and puts the program where it belongs now.
async fn look(plane: &Rc<RefCell<Plane>>) {
    let servers = plane.borrow().addresses();
    let Ok(network) = spawn_blocking(move || Network::read(servers.into_iter())).await else { return };
    plane.borrow_mut().looked(network);
    tables(plane).await;
}

impl Plane {
    /// Before tables lead to servers that are up again.
    fn revive(&mut self) {
        let written = self.write_servers(false);
        self.note(written);
    }

    fn take_table(&mut self, done: Done) {
        let written = self.write_table(done);
        self.note(written);
    }

    /// When no table leads any more to servers that are down or have moved.
    fn end(&mut self) {
        let written = self.write_servers(true).and_then(|()| self.free_places());
        self.note(written);
    }

    fn looked(&mut self, network: io::Result<Network>) {
        match network {
            Ok(network) => self.adapt(network),
            Err(error) => self.tell_once(format!("the network cannot be looked at: {error}")),
        }
    }

    /// Obeys what the network is now.
    fn adapt(&mut self, network: Network) {
        self.network = network;
        let written = self.obey();
        self.note(written);
        let findings = self.wanted_interfaces();
        let now: BTreeSet<String> = findings.problems.iter().map(Self::sentence).collect();
        for text in now.difference(&self.problems) {
            self.tell(Severity::Warning, text);
        }
        for text in self.problems.difference(&now) {
            self.tell(Severity::Notice, &format!("no longer so: {text}"));
        }
        self.problems = now;
        self.retry = false;
        let gone: Vec<String> = self
            .attached
            .iter()
            .filter(|(name, number)| self.network.named(name).is_none_or(|now| now.index != **number))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            // The kernel has taken the program off with the interface; this forgets the pin.
            let _ = self.packet.detach(&name);
            self.attached.remove(&name);
            let effect = if self.is_guarded_only(&name) { "" } else { ", its packets are not forwarded" };
            self.tell(Severity::Warning, &format!("packet: interface {name} is gone{effect}"));
        }
        let lost = if self.stopping { Vec::new() } else { self.packet.lost() };
        for name in &lost {
            self.attached.remove(name);
            self.tell(Severity::Warning, &format!("packet: interface {name} has lost the program"));
        }
        for (name, number) in &findings.attach {
            if !self.attached.contains_key(name) {
                self.attach_again(name, *number);
            }
        }
        if !lost.is_empty()
            && let Err(error) = self.packet.publish()
        {
            self.tell_once(format!("cannot take back what another process had: {error}"));
        }
        for name in findings.superfluous(self.attached.keys(), &self.network) {
            match self.packet.detach(&name) {
                Ok(()) => {
                    self.tell(Severity::Notice, &format!("packet: interface {name} is no longer needed"))
                }
                Err(error) => self.tell_once(format!("cannot detach: {error}")),
            }
            self.attached.remove(&name);
        }
        if !self.retry {
            self.failures.clear();
        }
    }

    /// Whether the program is missing where it was put. At a soft stop whoever took its place may keep it.
    fn has_lost(&mut self) -> bool {
        !self.stopping && !self.packet.lost().is_empty()
    }

    fn obey(&mut self) -> Result<(), PacketError> {
        self.place_servers()?;
        self.write_servers(false)?;
        self.write_backward()?;
        self.write_vlans()
    }

    fn attach_again(&mut self, name: &str, number: u32) {
        match self.packet.attach(name, self.attach) {
            Ok(kind) => {
                self.attached.insert(name.to_owned(), number);
                self.tell(Severity::Notice, &format!("packet: attached to interface {name} ({kind})"));
                self.check_forwarding(name);
            }
            Err(error) => {
                self.retry = true;
                self.tell_once(format!("cannot attach: {error}"));
            }
        }
    }

    /// Where servers are.
    fn addresses(&self) -> Vec<IpAddr> {
        ways(&self.farms).into_iter().map(|way| way.address).collect()
    }

    /// Whether a server's address is not the one that the program has.
    fn has_moved(&self) -> bool {
        self.farms.iter().any(|farm| farm.slots.iter().any(|slot| slot.has_moved(farm.forward)))
    }

    /// Lets a user that the process is about to become change what is pinned.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn give_to(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        self.instance.give_to(user, group)
    }

    /// No new flows from now on.
    pub fn stop_taking(&mut self) {
        self.stopping = true;
        for service in &self.services {
            let written = self.packet.set_table(&service.key(), None);
            if let Err(error) = written {
                self.tell(Severity::Warning, &format!("packet: cannot stop taking flows: {error}"));
                return;
            }
        }
    }

    /// Whether another process has taken over what is attached.
    pub fn is_superseded(&self) -> bool {
        self.instance.is_superseded()
    }

    /// Whether a soft stop may end: a successor has taken over, or no packet has come since the last look at them.
    pub fn is_quiet(&mut self) -> bool {
        let before = self.packets;
        self.refresh();
        self.packets == before || self.is_superseded()
    }

    /// Takes the program off all interfaces and forgets all flows, unless a successor has taken over.
    pub fn withdraw(&mut self) {
        self.packet.unpin_all();
    }

    /// Says on standard error and in the logs of the frontends in `mode packet`.
    pub(super) fn tell(&self, severity: Severity, text: &str) {
        run::say(severity, &format!("{text}."));
        let level = if severity == Severity::Notice { Level::Notice } else { Level::Warning };
        for farm in &self.farms {
            farm.frontend.logger.event(level, &format!("{text}."));
        }
    }

    /// Warns of something that may come again and again, once until the network is looked at with success.
    pub(super) fn tell_once(&mut self, text: String) {
        let text = format!("packet: {text}");
        if !self.failures.contains(&text) {
            self.tell(Severity::Warning, &text);
            self.failures.insert(text);
        }
    }

    fn note(&mut self, written: Result<(), PacketError>) {
        if let Err(error) = written {
            self.tell_once(format!("cannot write the program's maps: {error}"));
        }
    }
}
