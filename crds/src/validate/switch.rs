//! Kill switches.

use crate::finding::Finding;
use crate::kill_switch::KillSwitch;

pub(super) fn judge(found: &mut Vec<Finding>, switch: &KillSwitch, at: &str) {
    if !switch.engaged {
        return;
    }
    if switch.reason.trim().is_empty() {
        found.push(Finding::error(
            format!("{at}.reason"),
            "an engaged kill switch needs a reason",
            "write in a few words why it is thrown",
        ));
    }
    if switch.requested_by.trim().is_empty() {
        found.push(Finding::error(
            format!("{at}.requestedBy"),
            "an engaged kill switch needs the name of whoever threw it",
            "write your user name",
        ));
    }
}
