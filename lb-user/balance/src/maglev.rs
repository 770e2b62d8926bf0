//! Maglev tables: for each hash a server, evenly, by weight, and with little change when servers come and go.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4: servers
//! take turns to claim the next free entry of their own permutation of the table. The permutation follows from a
//! server's identity alone, so every balancer that knows the same servers makes the same table.

/// An entry of a table without servers.
pub const MAGLEV_NONE: u32 = u32::MAX;

/// The smallest size that is allowed: the paper's, prime, and uneven by a few percent for some hundred servers.
pub const MAGLEV_SIZE_MIN: u32 = 65_537;

/// The largest size that is allowed, also prime: the paper's own large one is 655,373; 16 million entries are 64 MiB.
pub const MAGLEV_SIZE_MAX: u32 = 16_777_213;

/// A server as the table sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaglevServer {
    /// What stands in the table for it.
    pub index: u32,
    /// What its permutation follows from: the same on every balancer, and different for each server. A hash of its
    /// name or address.
    pub identity: u64,
    /// Its share, relative to the others'; 0 takes nothing.
    pub weight: u32,
    /// Whether it takes new flows now. The entries of one that does not are shared out among the others, and come
    /// back to it; nobody else's move.
    pub in_turn: bool,
}

/// Whether a table may have this size: a prime number, from [`MAGLEV_SIZE_MIN`] to [`MAGLEV_SIZE_MAX`].
pub fn is_maglev_size(size: u32) -> bool {
    let odd_divisor =
        || (3..).step_by(2).take_while(|divisor| divisor * divisor <= size).any(|d| size.is_multiple_of(d));
    (MAGLEV_SIZE_MIN..=MAGLEV_SIZE_MAX).contains(&size) && size % 2 == 1 && !odd_divisor()
}

/// The table of these servers. Takes time in proportion to `size`, times its logarithm by chance.
///
/// It is filled twice: by all servers, as if all were in turn, and then by those in turn where the others' entries
/// are. So a server that fails or returns moves its own flows only, where the paper's way moves some of everybody's;
/// that remains when servers or weights are configured anew.
///
/// `size` must be [allowed](is_maglev_size): with another number a permutation might not reach every entry, and the
/// table is empty. The order of `servers` plays no part.
pub fn maglev(servers: &[MaglevServer], size: u32) -> Vec<u32> {
    let mut table = vec![MAGLEV_NONE; size as usize];
    if !is_maglev_size(size) {
        return table;
    }
    fill(servers.iter().collect(), &mut table, size);
    let mut absent: Vec<u32> = servers.iter().filter(|server| !server.in_turn).map(|srv| srv.index).collect();
    if absent.is_empty() {
        return table;
    }
    absent.sort_unstable();
    for entry in &mut table {
        if absent.binary_search(entry).is_ok() {
            *entry = MAGLEV_NONE;
        }
    }
    fill(servers.iter().filter(|server| server.in_turn).collect(), &mut table, size);
    table
}

/// Gives every free entry to one of these servers.
fn fill(servers: Vec<&MaglevServer>, table: &mut [u32], size: u32) {
    let heaviest = servers.iter().map(|server| server.weight).max().unwrap_or(0);
    if heaviest == 0 {
        return;
    }
    let mut turns: Vec<_> = servers
        .into_iter()
        .filter(|server| server.weight > 0)
        .map(|server| Turn::new(server, size))
        .collect();
    // Whoever comes first wins what two want, so the order must not follow from that of the file.
    turns.sort_unstable_by_key(|turn| (turn.identity, turn.index));
    let mut left = table.iter().filter(|entry| **entry == MAGLEV_NONE).count();
    loop {
        for turn in &mut turns {
            if left == 0 {
                return;
            }
            // The heaviest server has a turn in each round, one of half its weight in every other.
            turn.credit += u64::from(turn.weight);
            if turn.credit < u64::from(heaviest) {
                continue;
            }
            turn.credit -= u64::from(heaviest);
            let entry = turn.claim(table, size);
            table[entry as usize] = turn.index;
            left -= 1;
        }
    }
}

/// One server while the table is filled.
struct Turn {
    index: u32,
    identity: u64,
    weight: u32,
    credit: u64,
    /// The next entry of its permutation, and the step to the one after.
    next: u32,
    skip: u32,
}

impl Turn {
    fn new(server: &MaglevServer, size: u32) -> Self {
        Self {
            index: server.index,
            identity: server.identity,
            weight: server.weight,
            credit: 0,
            next: below(mix(server.identity), size),
            skip: below(mix(server.identity ^ 0x9e37_79b9_7f4a_7c15), size - 1) + 1,
        }
    }

    /// The next entry of its permutation that is free. There is one: the size is prime, so that any step leads
    /// through all entries, and the caller stops when none is left.
    fn claim(&mut self, table: &[u32], size: u32) -> u32 {
        loop {
            let entry = self.next;
            self.next += self.skip;
            if self.next >= size {
                self.next -= size;
            }
            if table[entry as usize] == MAGLEV_NONE {
                return entry;
            }
        }
    }
}

/// The finalizer of SplitMix64: every bit of the input changes half of the output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn below(hash: u64, limit: u32) -> u32 {
    // A remainder is smaller than the limit, which has 32 bits.
    #[allow(clippy::cast_possible_truncation)]
    let remainder = (hash % u64::from(limit)) as u32;
    remainder
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = MAGLEV_SIZE_MIN;

    fn servers(weights: &[u32]) -> Vec<MaglevServer> {
        let server = |(index, &weight): (u32, &u32)| MaglevServer {
            index,
            identity: u64::from(index) + 1_000,
            weight,
            in_turn: true,
        };
        (0..).zip(weights).map(server).collect()
    }

    /// Entries of each server, and that each has its share within `percent`.
    fn check(weights: &[u32], size: u32, percent: f64) -> Vec<u32> {
        let table = maglev(&servers(weights), size);
        let mut counts = vec![0_u32; weights.len()];
        for &index in &table {
            counts[index as usize] += 1;
        }
        let total: u32 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let share = f64::from(size) * f64::from(*weight) / f64::from(total);
            let off = (f64::from(*count) - share).abs();
            assert!(off <= share * percent / 100.0 + 1.0, "{count} instead of {share}");
        }
        table
    }

    #[test]
    fn shares_follow_weights() {
        check(&[1], SIZE, 0.0);
        check(&[1; 10], SIZE, 0.1);
        check(&[256, 128, 1, 0, 64], SIZE, 1.0);
        check(&[100, 100, 100, 1], SIZE, 1.0);
        check(&[1; 1_000], SIZE, 3.0);
    }

    /// How many entries of servers that stay are another server's afterwards, in percent of theirs.
    fn moved(before: &[u32], after: &[u32], gone: u32) -> f64 {
        let kept = before.iter().zip(after).filter(|(before, _)| **before != gone);
        let moved = kept.clone().filter(|(before, after)| before != after).count();
        100.0 * moved as f64 / kept.count() as f64
    }

    #[test]
    fn one_of_ten_that_fails_moves_nobody_else() {
        let all = servers(&[1; 10]);
        let before = maglev(&all, SIZE);
        for gone in 0..10 {
            let mut rest = all.clone();
            rest[gone as usize].in_turn = false;
            let after = maglev(&rest, SIZE);
            assert_eq!(moved(&before, &after, gone), 0.0);
            let mut counts = [0_u32; 10];
            after.iter().for_each(|&index| counts[index as usize] += 1);
            assert_eq!(counts[gone as usize], 0);
            for (index, count) in (0..).zip(counts) {
                let off = (f64::from(count) - f64::from(SIZE) / 9.0).abs();
                assert!(index == gone || off < 20.0, "{counts:?}");
            }
        }
    }

    #[test]
    fn one_of_ten_that_leaves_the_file_moves_few() {
        for (size, limit) in [(SIZE, 1.0), (655_373, 0.2)] {
            let all = servers(&[1; 10]);
            let before = maglev(&all, size);
            for gone in 0..10 {
                let rest: Vec<_> = all.iter().copied().filter(|server| server.index != gone).collect();
                let percent = moved(&before, &maglev(&rest, size), gone);
                assert!(percent <= limit, "{percent} % with {size} entries");
            }
        }
    }

    /// What the failure of a server costs the daemon with 10,000 of them.
    #[test]
    #[ignore = "a measurement"]
    fn time_for_ten_thousand_servers() {
        for size in [SIZE, 655_373] {
            let mut all = servers(&[1; 10_000]);
            all[17].in_turn = false;
            let begun = std::time::Instant::now();
            let table = maglev(&all, size);
            eprintln!("{size} entries: {:?}", begun.elapsed());
            assert!(!table.contains(&17));
        }
    }

    #[test]
    fn order_plays_no_part() {
        let mut all = servers(&[3, 1, 4, 1, 5, 9, 2, 6]);
        let table = maglev(&all, SIZE);
        all.reverse();
        assert_eq!(maglev(&all, SIZE), table);
    }

    #[test]
    fn sizes_are_prime_and_large() {
        for size in [65_537, 655_373, 131_071, MAGLEV_SIZE_MAX] {
            assert!(is_maglev_size(size), "{size}");
        }
        for size in [0, 1, 2, 65_521, 65_539 * 3, 65_536, 65_541, u32::MAX] {
            assert!(!is_maglev_size(size), "{size}");
        }
        assert!(maglev(&servers(&[1, 1]), 65_536).iter().all(|&index| index == MAGLEV_NONE));
        assert!(maglev(&servers(&[0, 0]), SIZE).iter().all(|&index| index == MAGLEV_NONE));
        assert!(maglev(&[], SIZE).iter().all(|&index| index == MAGLEV_NONE));
    }
}
