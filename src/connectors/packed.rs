//! Row addresses in one text: a cursor holds a quarter of a million of them, and is cloned before every batch so that
//! a batch that failed can be repeated. The text goes with its last item, before the next one comes.

use std::sync::Arc;

/// Items with a comma between them, worked off from the front; what was taken stays until all is, so that a clone shares
/// the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed {
    content: Arc<Content>,
    next: usize,
}

#[derive(Debug, Clone, Default)]
struct Content {
    joined: String,
    /// Where each item ends in the text.
    ends: Vec<usize>,
    /// Numbers of items at which a chunk ends too, ascending.
    stops: Vec<usize>,
}

impl Packed {
    /// In groups that no chunk mixes.
    pub(crate) fn groups<'a>(groups: impl IntoIterator<Item = Vec<&'a str>>) -> Self {
        let mut content = Content::default();
        for group in groups {
            for item in group {
                content.push(item);
            }
            content.stops.push(content.ends.len());
        }
        Self { content: Arc::new(content), next: 0 }
    }

    /// From items that the database has joined already; a comma followed by `start` stands between two of them.
    pub(crate) fn joined(joined: String, start: &str) -> Self {
        let between = format!(",{start}");
        let mut ends = Vec::with_capacity(joined.matches(&between).count() + 1);
        ends.extend(joined.match_indices(&between).map(|(at, _)| at));
        if !joined.is_empty() {
            ends.push(joined.len());
        }
        Self { content: Arc::new(Content { joined, ends, stops: Vec::new() }), next: 0 }
    }

    /// Adds items behind the last one.
    pub(crate) fn extend<'a>(&mut self, items: impl IntoIterator<Item = &'a str>) {
        let content = Arc::make_mut(&mut self.content);
        items.into_iter().for_each(|item| content.push(item));
    }

    /// Items that were not taken yet.
    pub(crate) fn left(&self) -> usize {
        self.content.ends.len() - self.next
    }

    /// The next items, at most `limit`, with a comma between them.
    pub(crate) fn take(&mut self, limit: usize) -> String {
        let content = &*self.content;
        let stop = content.stops.get(content.stops.partition_point(|stop| *stop <= self.next)).copied();
        let until = self.next.saturating_add(limit).min(stop.unwrap_or(usize::MAX)).min(content.ends.len());
        let (from, to) = (content.start(self.next), content.start(until));
        let items = content.joined.get(from..to).map(|items| items.trim_end_matches(',').to_owned());
        self.next = until;
        if self.left() == 0 {
            *self = Self::default();
        }
        items.unwrap_or_default()
    }
}

impl Content {
    fn push(&mut self, item: &str) {
        if !self.ends.is_empty() {
            self.joined.push(',');
        }
        self.joined.push_str(item);
        self.ends.push(self.joined.len());
    }

    /// Where an item begins; for the number after the last one, where the text ends.
    fn start(&self, item: usize) -> usize {
        match item.checked_sub(1).and_then(|before| self.ends.get(before)) {
            None => 0,
            Some(end) => (end + 1).min(self.joined.len()),
        }
    }
}

impl<'a> FromIterator<&'a str> for Packed {
    fn from_iter<I: IntoIterator<Item = &'a str>>(items: I) -> Self {
        let mut packed = Self::default();
        packed.extend(items);
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Packed};

    fn worked_off(mut packed: Packed, limit: usize) -> Vec<String> {
        let mut chunks = Vec::new();
        while packed.left() > 0 {
            chunks.push(packed.take(limit));
        }
        assert_eq!(packed.take(limit), "");
        chunks
    }

    #[test]
    fn chunks_are_of_whole_items_and_a_clone_goes_on_by_itself() {
        let joined = Packed::joined("\"(0,1)\",\"(0,2)\",\"(7,3)\"".to_owned(), "\"");
        assert_eq!(joined.left(), 3);
        let mut ahead = joined.clone();
        ahead.take(2);
        assert_eq!((ahead.left(), joined.left()), (1, 3));
        assert_eq!(worked_off(joined, 2), ["\"(0,1)\",\"(0,2)\"", "\"(7,3)\""]);
        assert_eq!(worked_off(["1", "22", "3"].into_iter().collect(), 2), ["1,22", "3"]);
        assert_eq!(Packed::joined(String::new(), "").left(), 0);
        let mut slices = Packed::default();
        slices.extend(["1", "22"]);
        slices.extend(["3"]);
        assert_eq!(worked_off(slices, 2), ["1,22", "3"]);
    }

    #[test]
    fn the_text_goes_with_its_last_item() {
        let mut packed: Packed = ["1", "2"].into_iter().collect();
        let content = Arc::downgrade(&packed.content);
        packed.take(1);
        assert!(content.upgrade().is_some());
        packed.take(1);
        assert!(content.upgrade().is_none());
    }

    #[test]
    fn a_chunk_stays_within_its_group() {
        let levels = Packed::groups([vec!["1", "2", "3"], vec![], vec!["4"]]);
        assert_eq!(worked_off(levels.clone(), 2), ["1,2", "3", "4"]);
        assert_eq!(worked_off(levels, usize::MAX), ["1,2,3", "4"]);
    }
}
