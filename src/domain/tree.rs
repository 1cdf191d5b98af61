//! The Merkle tree over the audit log (RFC 6962 §2.1): an entry is the 32 bytes of an event's `hash`, which anybody who
//! has the event can compute. Complete subtrees never change; whatever else a root or a proof needs is put together
//! from those, a few for each power of two.

use std::ops::Range;

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256.
pub type Digest = [u8; 32];

/// The hash of a leaf.
#[must_use]
pub fn leaf(entry: &[u8]) -> Digest {
    sha256(&[&[0], entry].concat())
}

/// As [`leaf`], of an entry as this log has them.
#[must_use]
pub fn leaf_of(hash: &Digest) -> Digest {
    let mut bytes = [0; 33];
    bytes[1..].copy_from_slice(hash);
    sha256(&bytes)
}

/// The hash over two subtrees.
#[must_use]
pub fn parent(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&bytes)
}

/// Of all bytes at once: to hand them over in parts takes longer than to hash so few.
fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Digest::default();
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The `index`-th of the complete subtrees of 2^`level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    pub level: u32,
    pub index: u64,
}

impl Subtree {
    /// The leaf that it ends with.
    #[must_use]
    pub fn last_leaf(self) -> u64 {
        ((self.index + 1) << self.level) - 1
    }
}

/// Leaves whose common hash a root or a proof consists of; they begin where such a subtree may begin.
pub type Leaves = Range<u64>;

/// The complete subtrees of these leaves, from left to right: at most one of each size.
#[must_use]
pub fn subtrees(leaves: &Leaves) -> Vec<Subtree> {
    let mut from = leaves.start;
    let mut all = Vec::new();
    while from < leaves.end {
        let level = (leaves.end - from).ilog2();
        all.push(Subtree { level, index: from >> level });
        from += 1 << level;
    }
    all
}

/// The hash of a tree that consists of these complete subtrees, from left to right; without any, that of the empty tree.
#[must_use]
pub fn joined(subtrees: &[Digest]) -> Digest {
    let mut from_right = subtrees.iter().rev();
    let Some(last) = from_right.next() else { return sha256(&[]) };
    from_right.fold(*last, |right, left| parent(left, &right))
}

/// What the inclusion proof of a leaf in the tree of that size consists of (RFC 6962 §2.1.1), from the leaf up. `None`
/// where the tree has no such leaf.
#[must_use]
pub fn inclusion(leaf: u64, size: u64) -> Option<Vec<Leaves>> {
    if leaf >= size {
        return None;
    }
    let (mut within, mut proof) = (0..size, Vec::new());
    while within.end - within.start > 1 {
        let middle = within.start + left_half(&within);
        let (left, right) = (within.start..middle, middle..within.end);
        let (inside, beside) = if leaf < middle { (left, right) } else { (right, left) };
        proof.push(beside);
        within = inside;
    }
    proof.reverse();
    Some(proof)
}

/// The root that a leaf's inclusion proof leads to (RFC 9162 §2.1.3.2), to be compared with that of a checkpoint. `None` where
/// a tree of that size has no such leaf, or its proof another length.
#[must_use]
pub fn root_by(leaf_hash: &Digest, leaf: u64, size: u64, proof: &[Digest]) -> Option<Digest> {
    let beside = inclusion(leaf, size)?;
    if beside.len() != proof.len() {
        return None;
    }
    let join = |inside: Digest, (leaves, hash): (&Leaves, &Digest)| {
        if leaves.end <= leaf { parent(hash, &inside) } else { parent(&inside, hash) }
    };
    Some(beside.iter().zip(proof).fold(*leaf_hash, join))
}

/// What the proof consists of that the tree of the size `old` is the beginning of that of the size `new` (RFC 6962
/// §2.1.2). `None` where it is not smaller or equal.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Leaves>> {
    if old > new {
        return None;
    }
    let mut proof = Vec::new();
    // The empty tree is the beginning of every tree.
    if old == 0 {
        return Some(proof);
    }
    let mut within = 0..new;
    while old != within.end {
        let middle = within.start + left_half(&within);
        if old <= middle {
            proof.push(middle..within.end);
            within.end = middle;
        } else {
            proof.push(within.start..middle);
            within.start = middle;
        }
    }
    // Whoever verifies has the old root already where it is a subtree on its own.
    if within.start != 0 {
        proof.push(within);
    }
    proof.reverse();
    Some(proof)
}

/// The largest power of two below the number of these leaves, which are two or more.
fn left_half(leaves: &Leaves) -> u64 {
    1 << (leaves.end - leaves.start - 1).ilog2()
}

/// The right edge of a tree: what it takes to add leaves to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// The hashes of its complete subtrees, from left to right.
    subtrees: Vec<Digest>,
}

impl Edge {
    /// Of a tree of that size, with the hashes of [`subtrees`]`(&(0..size))`.
    #[must_use]
    pub fn new(size: u64, subtrees: Vec<Digest>) -> Self {
        Self { size, subtrees }
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn root(&self) -> Digest {
        joined(&self.subtrees)
    }

    /// Adds a leaf; its hash, and behind it those of the complete subtrees that it ends, by their level.
    pub fn append(&mut self, entry: &[u8]) -> Vec<Digest> {
        let mut hashes = Vec::new();
        self.grow(leaf(entry), |hash| hashes.push(*hash));
        hashes
    }

    /// Adds a leaf by its hash, and tells that and those of the complete subtrees that it ends, by their level.
    pub fn grow(&mut self, leaf: Digest, mut tell: impl FnMut(&Digest)) {
        let mut hash = leaf;
        tell(&hash);
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = parent(&left, &hash);
                tell(&hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::hex;

    /// The entries and roots that the Certificate Transparency project tests its implementations of RFC 6962 with.
    const ENTRIES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_the_reference() {
        let mut edge = Edge::default();
        assert_eq!(hex(&edge.root()), ROOTS[0]);
        for (entry, root) in ENTRIES.iter().zip(&ROOTS[1..]) {
            edge.append(entry);
            assert_eq!(hex(&edge.root()), *root);
        }
    }

    #[test]
    fn an_entry_holds_the_subtrees_that_it_ends() {
        let mut edge = Edge::default();
        let stored: Vec<Vec<Digest>> = ENTRIES.iter().map(|entry| edge.append(entry)).collect();
        assert_eq!(stored.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1, 3, 1, 2, 1, 4]);
        for size in 0..=8 {
            let own: Vec<Digest> = subtrees(&(0..size))
                .iter()
                .map(|subtree| stored[usize::try_from(subtree.last_leaf()).unwrap()][subtree.level as usize])
                .collect();
            assert_eq!(hex(&joined(&own)), ROOTS[usize::try_from(size).unwrap()]);
        }
    }

    #[test]
    fn a_proof_leads_to_the_root_from_its_own_leaf_only() {
        let mut edge = Edge::default();
        let stored: Vec<Vec<Digest>> = ENTRIES.iter().map(|entry| edge.append(entry)).collect();
        let hash = |leaves: &Leaves| {
            let own = subtrees(leaves);
            let of = |tree: &Subtree| stored[usize::try_from(tree.last_leaf()).unwrap()][tree.level as usize];
            joined(&own.iter().map(of).collect::<Vec<_>>())
        };
        for size in 1..=8 {
            for index in 0..size {
                let proof: Vec<Digest> = inclusion(index, size).unwrap().iter().map(hash).collect();
                for (other, entry) in (0..size).zip(ENTRIES) {
                    let root = root_by(&leaf(entry), index, size, &proof).map(|root| hex(&root));
                    let expected = ROOTS[usize::try_from(size).unwrap()];
                    assert_eq!(root.unwrap() == expected, other == index, "{size} {index} {other}");
                }
                let longer = [proof.as_slice(), &[[0; 32]]].concat();
                assert_eq!(root_by(&leaf(b""), index, size, &longer), None);
            }
            assert_eq!(root_by(&leaf(b""), size, size, &[]), None);
        }
    }

    /// The examples of RFC 6962 §2.1.3, with seven leaves.
    #[test]
    fn proofs_are_those_of_the_standard() {
        assert_eq!(inclusion(0, 7).unwrap(), [1..2, 2..4, 4..7]);
        assert_eq!(inclusion(3, 7).unwrap(), [2..3, 0..2, 4..7]);
        assert_eq!(inclusion(4, 7).unwrap(), [5..6, 6..7, 0..4]);
        assert_eq!(inclusion(6, 7).unwrap(), [4..6, 0..4]);
        assert_eq!(consistency(3, 7).unwrap(), [2..3, 3..4, 0..2, 4..7]);
        assert_eq!(consistency(4, 7).unwrap(), std::iter::once(4..7).collect::<Vec<_>>());
        assert_eq!(consistency(6, 7).unwrap(), [4..6, 6..7, 0..4]);
        assert_eq!((inclusion(7, 7), consistency(8, 7)), (None, None));
        assert_eq!((consistency(0, 7), consistency(7, 7)), (Some(Vec::new()), Some(Vec::new())));
    }
}
