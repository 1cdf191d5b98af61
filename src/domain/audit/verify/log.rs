//! The second half: the Merkle tree over all events, leaf by leaf, and the checkpoints that speak of it.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use super::{Broken, Fault};
use crate::domain::{
    checkpoint::TreeHead,
    tree::{Digest, Edge},
};

/// Takes all leaves, and holds what checkpoints say against the tree that they come to.
pub struct TreeWalk {
    edge: Edge,
    /// By their size.
    checkpoints: VecDeque<TreeHead>,
}

impl TreeWalk {
    /// With checkpoints that were kept elsewhere.
    #[must_use]
    pub fn new(checkpoints: &[TreeHead]) -> Self {
        let mut checkpoints = checkpoints.to_vec();
        checkpoints.sort_by_key(|checkpoint| checkpoint.size);
        Self { edge: Edge::default(), checkpoints: checkpoints.into() }
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Takes the next leaf; `hashes` is what is kept with it, where anything is: its own hash, and those of the complete
    /// subtrees that it ends.
    ///
    /// # Errors
    /// When it is not the next one, or what is kept is not what the leaves come to.
    pub fn leaf(&mut self, index: u64, leaf: Digest, hashes: Option<&[u8]>) -> Result<(), Broken> {
        self.reached()?;
        let size = self.size();
        if index != size {
            return Err(Broken::leaf(size, Fault::LeafGap));
        }
        let mut kept = hashes.map(|hashes| hashes.as_chunks::<32>());
        let mut agree = kept.is_none_or(|(_, rest)| rest.is_empty());
        self.edge.grow(leaf, |hash| {
            if let Some((kept, _)) = &mut kept {
                agree &= kept.split_off_first() == Some(hash);
            }
        });
        match kept {
            Some((rest, _)) if !agree || !rest.is_empty() => Err(Broken::leaf(index, Fault::TreeMismatch)),
            _ => Ok(()),
        }
    }

    /// Holds a checkpoint against the tree, which has its size now.
    ///
    /// # Errors
    /// When it speaks of another tree.
    pub fn agrees_with(&self, checkpoint: &TreeHead) -> Result<(), Broken> {
        let size = self.size();
        if checkpoint.size > size {
            return Err(Broken::leaf(size, Fault::LogCut));
        }
        if checkpoint.size < size {
            return Err(Broken::leaf(checkpoint.size, Fault::CheckpointGap));
        }
        match checkpoint.root == self.edge.root() {
            true => Ok(()),
            false => Err(Broken::leaf(size, Fault::LogRewritten)),
        }
    }

    /// The checkpoints that speak of the tree as it is now.
    fn reached(&mut self) -> Result<(), Broken> {
        while let Some(checkpoint) = self.checkpoints.pop_front_if(|next| next.size == self.edge.size()) {
            self.agrees_with(&checkpoint)?;
        }
        Ok(())
    }

    /// The end of the tree.
    ///
    /// # Errors
    /// When a checkpoint that was kept elsewhere speaks of it as of another one, or of a larger one.
    pub fn finish(mut self) -> Result<TreeHead, Broken> {
        self.reached()?;
        if let Some(larger) = self.checkpoints.front() {
            self.agrees_with(larger)?;
        }
        Ok(TreeHead { size: self.size(), root: self.edge.root() })
    }
}

/// Which leaf each event has, whatever their order: two of these of the same [`key`](Self::alike) are equal when they were
/// given the same pairs, and otherwise with a probability of 2^-64, because nobody knows the key before.
pub struct Places {
    key: RandomState,
    sum: u64,
}

impl Places {
    #[must_use]
    pub fn new() -> Self {
        Self { key: RandomState::new(), sum: 0 }
    }

    /// An empty one that can be compared with this one.
    #[must_use]
    pub fn alike(&self) -> Self {
        Self { key: self.key.clone(), sum: 0 }
    }

    pub fn add(&mut self, event_id: &[u8], leaf: &[u8]) {
        self.sum = self.sum.wrapping_add(self.key.hash_one((event_id, leaf)));
    }

    #[must_use]
    pub fn are_those_of(&self, other: &Self) -> bool {
        self.sum == other.sum
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tree::leaf;

    /// A log of so many entries: what is kept with each.
    fn log(size: u64) -> (Edge, Vec<Vec<u8>>) {
        let mut edge = Edge::default();
        let kept = (0..size).map(|i| edge.append(&i.to_be_bytes()).concat()).collect();
        (edge, kept)
    }

    fn walk(kept: &[Vec<u8>], checkpoints: &[TreeHead]) -> Result<TreeHead, Broken> {
        let mut walk = TreeWalk::new(checkpoints);
        for (index, hashes) in (0..).zip(kept) {
            walk.leaf(index, hashes[..32].try_into().unwrap(), Some(hashes))?;
        }
        walk.finish()
    }

    #[test]
    fn an_untouched_tree_agrees_with_all_its_checkpoints() {
        let (edge, kept) = log(21);
        let heads: Vec<TreeHead> = (0..=21)
            .rev()
            .map(|size| TreeHead { size, root: log(size).0.root() })
            .flat_map(|head| [head, head])
            .collect();
        assert_eq!(walk(&kept, &heads), Ok(TreeHead { size: 21, root: edge.root() }));
        assert_eq!(walk(&[], &heads[heads.len() - 1..]).unwrap().size, 0);
    }

    #[test]
    fn every_kind_of_damage_is_found_where_it_is() {
        type Damage = fn(&mut Vec<Vec<u8>>);
        let table: [(Damage, u64, Fault); 6] = [
            (|kept| kept[4][3] ^= 1, 5, Fault::TreeMismatch),
            (|kept| kept[7][32 * 3] ^= 1, 7, Fault::TreeMismatch),
            (|kept| kept[7].truncate(32), 7, Fault::TreeMismatch),
            (|kept| kept[4].extend([0; 32]), 4, Fault::TreeMismatch),
            (|kept| kept[4].push(0), 4, Fault::TreeMismatch),
            (|kept| kept.truncate(20), 20, Fault::LogCut),
        ];
        let whole = TreeHead { size: 21, root: log(21).0.root() };
        for (damage, index, reason) in table {
            let mut kept = log(21).1;
            damage(&mut kept);
            assert_eq!(walk(&kept, &[whole]), Err(Broken::leaf(index, reason)));
        }
        let mut other = log(21);
        other.0.append(b"x");
        assert_eq!(
            walk(&log(21).1, &[TreeHead { size: 21, root: other.0.root() }]),
            Err(Broken::leaf(21, Fault::LogRewritten))
        );
        let mut gap = TreeWalk::new(&[]);
        assert_eq!(gap.leaf(1, leaf(b""), None), Err(Broken::leaf(0, Fault::LeafGap)));
    }

    #[test]
    fn places_are_compared_without_their_order() {
        let sum = |empty: &Places, pairs: &[(&[u8], &[u8])]| {
            let mut places = empty.alike();
            pairs.iter().for_each(|(id, leaf)| places.add(id, leaf));
            places
        };
        let key = Places::new();
        let both = sum(&key, &[(b"a", b"1"), (b"b", b"2")]);
        assert!(both.are_those_of(&sum(&key, &[(b"b", b"2"), (b"a", b"1")])));
        for other in [
            &[(b"a".as_slice(), b"2".as_slice()), (b"b", b"1")][..],
            &[(b"a", b"1")],
            &[],
            &[(b"a1", b""), (b"b", b"2")],
        ] {
            assert!(!both.are_those_of(&sum(&key, other)));
        }
    }
}
