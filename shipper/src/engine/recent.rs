//! Which streams were used last: only those keep what costs memory and can be made anew.

use std::collections::VecDeque;

use crate::state::StreamId;

/// Streams that keep something, the one that was used last at the end.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<StreamId>);

impl Recent {
    /// Notes a use. Answers the stream whose last use is the longest ago, if there is one more than `most`: it keeps nothing from now on.
    pub(super) fn note(&mut self, id: StreamId, most: usize) -> Option<StreamId> {
        if self.0.back() == Some(&id) {
            return None;
        }
        self.0.retain(|other| *other != id);
        self.0.push_back(id);
        if self.0.len() > most { self.0.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_longest_ago_goes() {
        let [a, b, c] = [1, 2, 3].map(|n| StreamId([n; 16]));
        let mut recent = Recent::default();
        let gone: Vec<_> = [a, b, a, a, c, b, c].into_iter().map(|id| recent.note(id, 2)).collect();
        assert_eq!(gone, [None, None, None, None, Some(b), Some(a), None]);
    }
}
