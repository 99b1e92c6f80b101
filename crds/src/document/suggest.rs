//! What a misspelt name may have been meant for.

/// Longer names are not compared: a distance costs the product of the lengths.
const LONGEST: usize = 40;

/// The known name that is nearest to `name`, if it is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let bound = 1 + name.len() / 6;
    let lower = name.to_lowercase();
    known
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= bound && *distance < candidate.len().min(name.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be changed, added or removed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_new_name_is_not() {
        let known = ["killSwitch", "sources", "timeZone", "V2RayAccess", "file"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("killswitch"), Some("killSwitch"));
        assert_eq!(nearest("source"), Some("sources"));
        assert_eq!(nearest("timezone"), Some("timeZone"));
        assert_eq!(nearest("v2rayacess"), Some("V2RayAccess"));
        assert_eq!(nearest("shard"), None);
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest(""), None);
    }
}
