//! What a process and its children have cost: CPU time and memory, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time of the process and all that it has started, all threads.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for pid in tree(pid)? {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")?;
        for task in tasks.filter_map(Result::ok) {
            // A thread that ended meanwhile had nothing left to do.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += run_time(&text).unwrap_or_default();
        }
    }
    Ok(total)
}

/// Memory of the process and all that it has started, in bytes: shared pages count by their share.
pub(super) fn memory(pid: u32) -> Result<u64> {
    let mut total = 0;
    for pid in tree(pid)? {
        let text =
            fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("cannot read smaps_rollup")?;
        total += proportional_bytes(&text).context("smaps_rollup has no Pss")?;
    }
    Ok(total)
}

/// CPU time that the whole machine has spent on anything but waiting: what the kernel does with packets belongs to no
/// process.
pub(super) fn machine() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat has no line of all CPUs")?;
    Ok(Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64))
}

/// All columns of the first line but idle, iowait and the guests', which are in user time already (proc_stat(5)).
#[allow(clippy::cast_precision_loss)] // a machine does not run for 2^53 ticks
fn busy_ticks(stat: &str) -> Option<f64> {
    let columns: Vec<u64> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let busy: u64 = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|column| columns.get(column)).sum();
    Some(busy as f64)
}

/// Nanoseconds on a CPU are the first of the three numbers.
fn run_time(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn proportional_bytes(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The process and its descendants.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        parents.insert(pid, parent(&stat).unwrap_or_default());
    }
    Ok(descendants(root, &parents))
}

/// The name of the program may hold anything, so the fields are counted from its last parenthesis.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = parents.iter().filter(|(_, parent)| **parent == found[next]).map(|(pid, _)| *pid);
        let children: Vec<u32> = children.collect();
        found.extend(children);
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        assert_eq!(run_time("1500000 41231 1\n"), Some(Duration::from_micros(1500)));
        assert_eq!(proportional_bytes("Rss:    9 kB\nPss:     120 kB\nPss_Dirty: 1 kB\n"), Some(120 * 1024));
        assert_eq!(busy_ticks("cpu  10 2 30 400 50 6 7 8 900 1000\ncpu0 1\n"), Some(63.0));
        assert_eq!(parent("77 (a (b) c) S 12 77 77 0"), Some(12));
    }

    #[test]
    fn children_of_children_count() {
        let parents = BTreeMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 1)]);
        assert_eq!(descendants(10, &parents), [10, 11, 12]);
    }

    #[test]
    fn our_own_usage_can_be_read() {
        assert!(cpu(std::process::id()).is_ok());
        assert!(memory(std::process::id()).unwrap() > 0);
    }
}
