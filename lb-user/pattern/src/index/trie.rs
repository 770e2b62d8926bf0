//! A tree of texts by their bytes, from the beginning or from the end: finding costs the length of what is looked for.

use super::Id;
use super::ids::Ids;

/// A radix tree. Entries that are taken out leave their nodes; the owner builds it anew when many have gone.
#[derive(Debug)]
pub(super) struct Trie {
    /// The first is the root; an index of it is a node's number.
    nodes: Vec<Node>,
    /// From the last byte to the first.
    backward: bool,
    /// Upper and lower case are the same.
    folded: bool,
}

#[derive(Debug, Default)]
struct Node {
    /// The bytes between the parent and this node.
    label: Box<[u8]>,
    /// By the first byte of their labels, in order.
    children: Vec<(u8, u32)>,
    ids: Ids,
}

impl Trie {
    pub(super) fn new(backward: bool, folded: bool) -> Self {
        Self { nodes: vec![Node::default()], backward, folded }
    }

    pub(super) fn put(&mut self, text: &[u8], id: Id) {
        let text = self.spelled(text);
        let mut rest = &text[..];
        let mut at = 0;
        while let Some(first) = rest.first() {
            match self.nodes[at].children.binary_search_by_key(first, |(byte, _)| *byte) {
                Err(place) => {
                    let leaf = self.push(Node { label: rest.into(), ..Node::default() });
                    self.nodes[at].children.insert(place, (*first, leaf));
                    at = leaf as usize;
                    rest = &[];
                }
                Ok(place) => {
                    at = self.nodes[at].children[place].1 as usize;
                    let label = &self.nodes[at].label;
                    let same = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
                    if same < label.len() {
                        self.split(at, same);
                    }
                    rest = &rest[same..];
                }
            }
        }
        self.nodes[at].ids.push(id);
    }

    pub(super) fn remove(&mut self, text: &[u8], id: Id) {
        let mut end = None;
        self.walk(text, |depth, node, _| {
            if depth == text.len() {
                end = Some(node);
            }
        });
        if let Some(node) = end {
            self.nodes[node].ids.remove(id);
        }
    }

    /// Shows the first entry of every text that `text` begins with (ends with, for a backward tree), and its length;
    /// shorter ones first.
    pub(super) fn each(&self, text: &[u8], mut show: impl FnMut(usize, Id)) {
        self.walk(text, |depth, _, ids| {
            if let Some(id) = ids.first() {
                show(depth, id);
            }
        });
    }

    fn walk(&self, text: &[u8], mut show: impl FnMut(usize, usize, &Ids)) {
        let byte = |index: usize| {
            let byte = if self.backward { text[text.len() - 1 - index] } else { text[index] };
            if self.folded { byte.to_ascii_lowercase() } else { byte }
        };
        let (mut at, mut depth) = (0, 0);
        loop {
            let node = &self.nodes[at];
            show(depth, at, &node.ids);
            if depth == text.len() {
                return;
            }
            let first = byte(depth);
            let Ok(place) = node.children.binary_search_by_key(&first, |(byte, _)| *byte) else { return };
            at = node.children[place].1 as usize;
            let label = &self.nodes[at].label;
            if label.len() > text.len() - depth
                || !label.iter().enumerate().skip(1).all(|(index, known)| byte(depth + index) == *known)
            {
                return;
            }
            depth += label.len();
        }
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        // A node takes more than 32 bytes: memory ends before the numbers do.
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    /// Puts a node in the middle of the label of `at`, which moves below it.
    fn split(&mut self, at: usize, length: usize) {
        let below = std::mem::take(&mut self.nodes[at]);
        let (upper, lower) = below.label.split_at(length);
        let (upper, lower) = (Box::from(upper), Box::<[u8]>::from(lower));
        let first = lower.first().copied().unwrap_or(0);
        let number = self.push(Node { label: lower, ..below });
        self.nodes[at] = Node { label: upper, children: vec![(first, number)], ids: Ids::None };
    }

    fn spelled(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        if self.folded {
            text.make_ascii_lowercase();
        }
        if self.backward {
            text.reverse();
        }
        text
    }
}
