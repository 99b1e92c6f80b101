//! A matching of two sides that leaves out as few as possible.

/// Gives each on the left at most one on the right, and none twice. `edges` says which on the right each on the left may have.
///
/// Those on the right in `first` get one if there is any matching in which they do; then as many on the left as possible.
pub(super) fn matching(edges: &[Vec<usize>], right: usize, first: &[usize]) -> Vec<Option<usize>> {
    let mut back = vec![Vec::new(); right];
    for (left, rights) in edges.iter().enumerate() {
        rights.iter().for_each(|at| back[*at].push(left));
    }
    let mut pairs = Pairs { of_left: vec![None; edges.len()], of_right: vec![None; right] };
    for at in first {
        let mut seen = vec![false; edges.len()];
        if pairs.of_right[*at].is_none() {
            pairs.augment_right(*at, &back, &mut seen);
        }
    }
    for at in 0..edges.len() {
        let mut seen = vec![false; right];
        if pairs.of_left[at].is_none() {
            pairs.augment_left(at, edges, &mut seen);
        }
    }
    pairs.of_left
}

struct Pairs {
    of_left: Vec<Option<usize>>,
    of_right: Vec<Option<usize>>,
}

impl Pairs {
    /// Finds one on the left for `at`, moving others if need be; all that had one keep one.
    fn augment_right(&mut self, at: usize, back: &[Vec<usize>], seen: &mut [bool]) -> bool {
        for left in &back[at] {
            if std::mem::replace(&mut seen[*left], true) {
                continue;
            }
            let free = match self.of_left[*left] {
                None => true,
                Some(other) => self.augment_right(other, back, seen),
            };
            if free {
                self.of_left[*left] = Some(at);
                self.of_right[at] = Some(*left);
                return true;
            }
        }
        false
    }

    fn augment_left(&mut self, at: usize, edges: &[Vec<usize>], seen: &mut [bool]) -> bool {
        for right in &edges[at] {
            if std::mem::replace(&mut seen[*right], true) {
                continue;
            }
            let free = match self.of_right[*right] {
                None => true,
                Some(other) => self.augment_left(other, edges, seen),
            };
            if free {
                self.of_right[*right] = Some(at);
                self.of_left[at] = Some(*right);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_move_to_make_room() {
        assert_eq!(matching(&[vec![0, 1], vec![0]], 2, &[]), [Some(1), Some(0)]);
        assert_eq!(matching(&[vec![0, 1], vec![0]], 3, &[0]), [Some(1), Some(0)]);
        assert_eq!(matching(&[vec![0], vec![0]], 1, &[0]).iter().flatten().count(), 1);
    }

    #[test]
    fn those_that_come_first_are_not_left_out() {
        assert_eq!(matching(&[vec![0, 1, 2]], 3, &[2]), [Some(2)]);
        // One for the second is there only if the first takes the third.
        assert_eq!(matching(&[vec![0, 2], vec![0, 1]], 3, &[1, 2]), [Some(2), Some(1)]);
    }
}
