//! Which flows go where: the Maglev table of a backend, from its servers' weights now.

use sockeye_balance::{MAGLEV_NONE, MaglevServer, maglev};

/// What a server brings along at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its place among the program's servers.
    pub index: u32,
    /// What its entries follow from: the same on every balancer.
    pub identity: u64,
    /// Its weight when all is well.
    pub full_weight: u32,
    /// Its weight now; 0 takes no new flows.
    pub weight: u32,
    pub backup: bool,
}

/// Those whom the table is shared out to, in file order: actives, or, while none of them takes flows, the first
/// backup that does, or all of them (`option allbackups`).
///
/// A server that takes none has its share and gives it away, so that nobody else's flows move when it returns.
pub fn sharers(members: &[Member], all_backups: bool) -> Vec<MaglevServer> {
    let backups = !members.iter().any(|member| !member.backup && member.weight > 0);
    let group = || members.iter().filter(|member| member.backup == backups);
    let only = if backups && !all_backups { group().find(|member| member.weight > 0) } else { None };
    let sharer = |member: &Member| {
        let in_turn = member.weight > 0 && only.is_none_or(|only| only.index == member.index);
        let weight = if in_turn { member.weight } else { member.full_weight };
        MaglevServer { index: member.index, identity: member.identity, weight, in_turn }
    };
    group().map(sharer).collect()
}

/// The table of these servers; `None` when none of them takes new flows.
pub fn table(sharers: &[MaglevServer], size: u32) -> Option<Vec<u32>> {
    if !sharers.iter().any(|server| server.in_turn) {
        return None;
    }
    let table = maglev(sharers, size);
    // The size is checked when the file is read; a table with holes would drop packets.
    (!table.contains(&MAGLEV_NONE)).then_some(table)
}

/// What a server's entries follow from: its name, which the nodes in front of the same servers agree upon.
/// FNV-1a, 64 bits.
pub fn identity(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 65_537;

    fn member(index: u32, weight: u32, backup: bool) -> Member {
        let identity = identity(&format!("srv{index}"));
        Member { index, identity, full_weight: 16, weight, backup }
    }

    /// How many entries each of four servers has, in percent.
    fn check(members: &[Member], all_backups: bool, expected: Option<[u32; 4]>) {
        let counts = table(&sharers(members, all_backups), SIZE).map(|table| {
            let mut counts = [0_u32; 4];
            table.iter().for_each(|&index| counts[index as usize] += 1);
            counts.map(|count| (count * 100 + SIZE / 2) / SIZE)
        });
        assert_eq!(counts, expected, "{members:?}");
    }

    #[test]
    fn shares_follow_weights() {
        let active = |index, weight| member(index, weight, false);
        check(&[active(0, 16), active(1, 16), active(2, 16), active(3, 16)], false, Some([25, 25, 25, 25]));
        check(&[active(0, 16), active(1, 16), active(2, 0), active(3, 0)], false, Some([50, 50, 0, 0]));
        check(&[active(0, 48), active(1, 16)], false, Some([75, 25, 0, 0]));
        check(&[active(0, 0), active(1, 0)], false, None);
        check(&[], false, None);
    }

    #[test]
    fn backups_take_over_when_no_active_is_left() {
        let (up, down, backup) = (member(0, 16, false), member(0, 0, false), |index| member(index, 16, true));
        check(&[up, backup(1)], true, Some([100, 0, 0, 0]));
        check(&[down, backup(1), backup(2)], false, Some([0, 100, 0, 0]));
        check(&[down, backup(1), backup(2)], true, Some([0, 50, 50, 0]));
        check(&[down, member(1, 0, true), backup(2)], false, Some([0, 0, 100, 0]));
        check(&[down, member(1, 0, true)], true, None);
    }

    #[test]
    fn a_failure_moves_nobody_else() {
        let mut members: Vec<Member> = (0..4).map(|index| member(index, 16, false)).collect();
        let before = table(&sharers(&members, false), SIZE).unwrap();
        members[2].weight = 0;
        let after = table(&sharers(&members, false), SIZE).unwrap();
        assert!(before.iter().zip(&after).all(|(before, after)| *before == 2 || before == after));
    }
}
