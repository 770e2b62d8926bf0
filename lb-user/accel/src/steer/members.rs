//! The members of a group in the order in which the program looks for them: pure.

use lb_common::steer::Member;

/// CPUs, and the workers that stay on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cpus {
    /// All that the machine may have: a number that the kernel names is below it.
    pub(super) count: usize,
    /// Those that the process may use: worker `n` stays on the one at `n`, and starts again at their end.
    pub(super) allowed: Vec<usize>,
}

impl Cpus {
    /// The CPU that a worker stays on.
    pub(super) fn of(&self, worker: usize) -> Option<usize> {
        self.allowed.get(worker.checked_rem(self.allowed.len())?).copied()
    }

    /// Layers of one member per CPU. With more workers than CPUs a hash chooses the layer; a CPU none of whose workers
    /// serves the bind has others in turn.
    pub(super) fn layers(&self, members: &[Member]) -> Vec<Member> {
        let allowed = self.allowed.len().max(1);
        let layers = members.len().div_ceil(allowed);
        let place = |cpu| self.allowed.iter().position(|one| *one == cpu).unwrap_or(cpu % allowed);
        let at = |layer: usize, cpu: usize| {
            let place = place(cpu);
            let own: Vec<_> = members.iter().filter(|one| one.worker as usize % allowed == place).collect();
            match own.len() {
                0 => members[(place + layer) % members.len()],
                count => *own[layer % count],
            }
        };
        (0..layers)
            .flat_map(|layer| (0..self.count).map(move |cpu| (layer, cpu)))
            .map(|(l, c)| at(l, c))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(count: usize, allowed: &[usize], workers: &[u32], expected: &[u32]) {
        let cpus = Cpus { count, allowed: allowed.to_vec() };
        let members: Vec<_> = workers.iter().map(|worker| Member { socket: 0, worker: *worker }).collect();
        let layers: Vec<_> = cpus.layers(&members).iter().map(|member| member.worker).collect();
        assert_eq!(layers, expected, "{count} CPUs, {allowed:?} allowed, workers {workers:?}");
    }

    #[test]
    fn a_worker_for_every_cpu() {
        check(2, &[0, 1], &[0, 1], &[0, 1]);
        check(4, &[0, 1], &[0, 1], &[0, 1, 0, 1]);
        check(4, &[2, 3], &[0, 1], &[0, 1, 0, 1]);
        check(2, &[0, 1], &[0, 1, 2, 3], &[0, 1, 2, 3]);
        check(2, &[0, 1], &[1], &[1, 1]);
        check(4, &[0, 1, 2, 3], &[1, 3], &[1, 1, 1, 3]);
        check(2, &[0, 1], &[0], &[0, 0]);
    }

    #[test]
    fn workers_stay_on_their_cpus() {
        let cpus = Cpus { count: 8, allowed: vec![2, 5] };
        assert_eq!([0, 1, 2].map(|worker| cpus.of(worker)), [Some(2), Some(5), Some(2)]);
        assert_eq!(Cpus { count: 8, allowed: Vec::new() }.of(1), None);
    }
}
