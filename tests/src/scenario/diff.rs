//! What differs between two texts, line by line.

/// Lines around a difference that are shown.
const CONTEXT: usize = 3;

/// Lines only in `old` with `-`, only in `new` with `+`, some of those around; empty when the texts are equal.
pub(super) fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // Length of the longest common subsequence of what is left from each pair of places on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a][b] = if old[a] == new[b] {
                common[a + 1][b + 1] + 1
            } else {
                common[a + 1][b].max(common[a][b + 1])
            };
        }
    }
    let mut marked = Vec::new();
    let (mut a, mut b) = (0, 0);
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            marked.push((' ', old[a]));
            a += 1;
            b += 1;
        } else if b == new.len() || (a < old.len() && common[a + 1][b] >= common[a][b + 1]) {
            marked.push(('-', old[a]));
            a += 1;
        } else {
            marked.push(('+', new[b]));
            b += 1;
        }
    }
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        let to = (at + CONTEXT + 1).min(marked.len());
        marked[from..to].iter().any(|(mark, _)| *mark != ' ')
    };
    let shown = marked.iter().enumerate().filter(|(at, _)| near(*at));
    shown.map(|(_, (mark, line))| format!("{mark} {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_differs_and_its_surroundings() {
        assert_eq!(super::lines("a\nb\n", "a\nb\n"), "");
        assert_eq!(super::lines("1\n2\n3\n4\n5\n", "1\n2\n3\n4\nx\n"), "  2\n  3\n  4\n- 5\n+ x\n");
    }
}
