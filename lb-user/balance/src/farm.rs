//! Who is in turn: actives while one takes traffic, then the first backup or, with `option allbackups`, all of
//! them (manual 4.2 "option allbackups", 5.2 "backup").

/// One server of the backend, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// `id`: orders `first`, and places the nodes of a consistent hash.
    pub numeric_id: u32,
    /// `weight`, 0 to [`WEIGHT_MAX`](crate::WEIGHT_MAX).
    pub weight: u32,
    pub backup: bool,
}

/// The servers and their weights.
#[derive(Debug)]
pub(crate) struct Farm {
    servers: Vec<Server>,
    all_backups: bool,
    /// Steps per unit of configured weight; 1 makes weights static: as configured, or 0.
    scale: u32,
    active: u32,
    backups: u32,
    total: u32,
    /// Servers whose share changed and whom the algorithm was not told about yet.
    changed: Vec<usize>,
}

#[derive(Debug)]
struct Server {
    configured: u32,
    backup: bool,
    /// What it could take if it were in turn.
    weight: u32,
    /// What it takes: `weight` if it is in turn, else 0.
    share: u32,
}

impl Farm {
    pub(crate) fn new(entries: &[Entry], all_backups: bool, scale: u32) -> Self {
        let servers: Vec<Server> = entries
            .iter()
            .map(|entry| Server {
                configured: entry.weight.min(crate::WEIGHT_MAX),
                backup: entry.backup,
                weight: entry.weight.min(crate::WEIGHT_MAX) * scale,
                share: 0,
            })
            .collect();
        let usable = |backup: bool| servers.iter().filter(|s| s.backup == backup && s.weight > 0).count();
        let count = |backup| u32::try_from(usable(backup)).unwrap_or(u32::MAX);
        let (active, backups) = (count(false), count(true));
        let changed = Vec::with_capacity(servers.len());
        Self { servers, all_backups, scale, active, backups, total: 0, changed }
    }

    /// Takes the weight in, and lets servers join or leave the turn as it demands.
    pub(crate) fn set_weight(&mut self, index: usize, effective: u32) {
        let Some(server) = self.servers.get_mut(index) else {
            debug_assert!(false, "server {index} of {}", self.servers.len());
            return;
        };
        let effective = effective.min(crate::WEIGHT_MAX * crate::WEIGHT_SCALE);
        // A static algorithm knows "takes traffic" alone. A server configured with weight 0 has no place in its
        // tables whatever its weight becomes.
        let weight = match self.scale {
            1 if effective > 0 => server.configured,
            1 => 0,
            _ => effective,
        };
        let before = std::mem::replace(&mut server.weight, weight);
        if before == weight {
            return;
        }
        let backup = server.backup;
        let actives_had_turn = self.active > 0;
        let usable = if backup { &mut self.backups } else { &mut self.active };
        match (before, weight) {
            (0, _) => *usable += 1,
            (_, 0) => *usable -= 1,
            _ => {}
        }
        let turn_passes = actives_had_turn != (self.active > 0);
        if turn_passes || backup {
            self.settle();
        } else {
            self.set_share(index, weight);
        }
    }

    /// Gives every server the share that its group's turn makes it.
    pub(crate) fn settle(&mut self) {
        let actives_turn = self.active > 0;
        let mut backup_found = false;
        for index in 0..self.servers.len() {
            let server = &self.servers[index];
            let in_turn = if server.backup {
                let first = !backup_found;
                backup_found |= server.weight > 0;
                !actives_turn && (first || self.all_backups)
            } else {
                actives_turn
            };
            let share = if in_turn { server.weight } else { 0 };
            self.set_share(index, share);
        }
    }

    fn set_share(&mut self, index: usize, share: u32) {
        let server = &mut self.servers[index];
        if server.share != share {
            self.total = self.total - server.share + share;
            server.share = share;
            self.changed.push(index);
        }
    }

    /// Calls `tell` with the server and the new share of each change since the last call.
    pub(crate) fn drain_changes(&mut self, mut tell: impl FnMut(usize, u32)) {
        for index in self.changed.drain(..) {
            tell(index, self.servers[index].share);
        }
    }

    /// The server's effective weight while it is in turn, 0 while it is not.
    pub(crate) fn share(&self, index: usize) -> u32 {
        self.servers[index].share
    }

    /// All servers in turn, with their shares.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, u32)> {
        self.servers
            .iter()
            .enumerate()
            .map(|(index, server)| (index, server.share))
            .filter(|(_, share)| *share > 0)
    }

    /// How many servers there are, in turn or not.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The sum of the shares.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn active(&self) -> u32 {
        self.active
    }

    pub(crate) fn backups(&self) -> u32 {
        self.backups
    }
}
