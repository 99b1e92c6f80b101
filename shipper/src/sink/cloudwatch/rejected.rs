//! What `rejectedLogEventsInfo` says of each event of a request.

/// The three indices of an answer, as the service gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Index of the first event that is too new; it is one itself.
    pub too_new_from: Option<i32>,
    /// Index behind the last event that is too old.
    pub too_old_to: Option<i32>,
    /// Index behind the last event that is older than what the group keeps.
    pub expired_to: Option<i32>,
}

impl Rejected {
    /// Why the event of that index was rejected; `None`: the service has it.
    pub fn reason(&self, index: usize) -> Option<&'static str> {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        if self.expired_to.is_some_and(|end| index < i64::from(end)) {
            Some("CloudWatch Logs: older than what the log group keeps")
        } else if self.too_old_to.is_some_and(|end| index < i64::from(end)) {
            Some("CloudWatch Logs: too old")
        } else if self.too_new_from.is_some_and(|start| index >= i64::from(start)) {
            Some("CloudWatch Logs: too new; look at this node's clock")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(answer: Rejected, count: usize) -> Vec<usize> {
        (0..count).filter(|index| answer.reason(*index).is_some()).collect()
    }

    #[test]
    fn the_end_is_exclusive_and_the_start_inclusive() {
        assert_eq!(rejected(Rejected::default(), 5), [0_usize; 0]);
        assert_eq!(rejected(Rejected { too_old_to: Some(2), ..Rejected::default() }, 5), [0, 1]);
        assert_eq!(rejected(Rejected { too_new_from: Some(3), ..Rejected::default() }, 5), [3, 4]);
        let all = Rejected { too_old_to: Some(1), expired_to: Some(2), too_new_from: Some(4) };
        assert_eq!(rejected(all, 5), [0, 1, 4]);
        assert!(all.reason(1).unwrap().contains("keeps"));
        assert_eq!(rejected(Rejected { too_old_to: Some(0), ..Rejected::default() }, 2), [0_usize; 0]);
    }
}
