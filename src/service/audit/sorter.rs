//! Sorts more records than memory holds: in runs that lie in temporary files, and then in one pass over all of them.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write},
};

/// Bytes of records that are sorted in memory.
const RUN: usize = 32 << 20;
/// Runs that are read side by side; more are made one before.
const RUNS: usize = 64;
/// What is read of each run at a time.
const READ: usize = 64 << 10;

/// Sorts records by their bytes.
pub struct Sorter<const N: usize> {
    records: Vec<[u8; N]>,
    runs: Vec<File>,
    /// Records in a run.
    capacity: usize,
}

impl<const N: usize> Sorter<N> {
    pub fn new() -> Self {
        Self::with_capacity(RUN / N)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { records: Vec::new(), runs: Vec::new(), capacity }
    }

    /// # Errors
    /// When a temporary file cannot be written.
    pub fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        if self.records.len() == self.capacity {
            self.spill()?;
        }
        self.records.push(record);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.runs.len() == RUNS {
            let mut merged = BufWriter::new(tempfile::tempfile()?);
            for record in Sorted::<N>::new(std::mem::take(&mut self.runs), Vec::new())? {
                merged.write_all(&record?)?;
            }
            self.runs.push(merged.into_inner()?);
        }
        self.records.sort_unstable();
        let mut run = tempfile::tempfile()?;
        run.write_all(self.records.as_flattened())?;
        self.records.clear();
        self.runs.push(run);
        Ok(())
    }

    /// All records, the least first.
    ///
    /// # Errors
    /// When a temporary file cannot be read.
    pub fn sorted(mut self) -> io::Result<Sorted<N>> {
        self.records.sort_unstable();
        Sorted::new(self.runs, self.records)
    }
}

enum Source<const N: usize> {
    File(BufReader<File>),
    Memory(std::vec::IntoIter<[u8; N]>),
}

impl<const N: usize> Source<N> {
    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match self {
            Self::Memory(records) => Ok(records.next()),
            Self::File(file) => {
                let mut record = [0; N];
                match file.read_exact(&mut record) {
                    Ok(()) => Ok(Some(record)),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Records in their order.
pub struct Sorted<const N: usize> {
    sources: Vec<Source<N>>,
    /// The next record of each source.
    next: BinaryHeap<Reverse<([u8; N], usize)>>,
}

impl<const N: usize> Sorted<N> {
    fn new(runs: Vec<File>, records: Vec<[u8; N]>) -> io::Result<Self> {
        let mut sources = vec![Source::Memory(records.into_iter())];
        for mut run in runs {
            run.rewind()?;
            sources.push(Source::File(BufReader::with_capacity(READ, run)));
        }
        let mut next = BinaryHeap::with_capacity(sources.len());
        for (number, source) in sources.iter_mut().enumerate() {
            next.extend(source.next()?.map(|record| Reverse((record, number))));
        }
        Ok(Self { sources, next })
    }

    fn take(&mut self) -> io::Result<Option<[u8; N]>> {
        let Some(mut least) = self.next.peek_mut() else { return Ok(None) };
        let Reverse((record, number)) = *least;
        match self.sources[number].next()? {
            // In its place, which is cheaper than to take one away and to add another.
            Some(after) => *least = Reverse((after, number)),
            None => drop(std::collections::binary_heap::PeekMut::pop(least)),
        }
        Ok(Some(record))
    }
}

impl<const N: usize> Iterator for Sorted<N> {
    type Item = io::Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_sorted_however_many_runs_it_takes() {
        for count in [0, 1, 9, 10, 11, 25, 1000, 1501] {
            let mut sorter = Sorter::<8>::with_capacity(10);
            let mut number = 1_u64;
            let mut expected = Vec::new();
            for _ in 0..count {
                number =
                    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // With some that stand twice.
                let record = (number >> 54).to_be_bytes();
                expected.push(record);
                sorter.push(record).unwrap();
            }
            expected.sort_unstable();
            let sorted: Vec<_> = sorter.sorted().unwrap().map(Result::unwrap).collect();
            assert!(sorted == expected, "{count}");
        }
    }
}
