//! A matching of two sides that leaves out as few as possible.

/// Gives each on the left at most one on the right, and none twice. `edges` says which on the right each on the left may have.
///
/// Those on the right in `first` get one if there is any matching in which they do; then as many on the left as possible.
pub(super) fn matching(edges: &[Vec<usize>], right: usize, first: &[usize]) -> Vec<Option<usize>> {
    let mut back = vec![Vec::new(); right];
    for (left, rights) in edges.iter().enumerate() {
        rights.iter().for_each(|at| back[*at].push(left));
    }
    let (mut of_left, mut of_right) = (vec![None; edges.len()], vec![None; right]);
    for at in first {
        if of_right[*at].is_none() {
            augment(*at, &back, &mut of_right, &mut of_left, &mut vec![false; edges.len()]);
        }
    }
    for at in 0..edges.len() {
        if of_left[at].is_none() {
            augment(at, edges, &mut of_left, &mut of_right, &mut vec![false; right]);
        }
    }
    of_left
}

/// Finds one on the other side for `at`, moving others if need be; all that had one keep one. `seen` is of the other side.
fn augment(
    at: usize,
    edges: &[Vec<usize>],
    mine: &mut [Option<usize>],
    theirs: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for other in &edges[at] {
        if std::mem::replace(&mut seen[*other], true) {
            continue;
        }
        if theirs[*other].is_none_or(|had| augment(had, edges, mine, theirs, seen)) {
            theirs[*other] = Some(at);
            mine[at] = Some(*other);
            return true;
        }
    }
    false
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
