//! The ledger: what an auditor needs to know, in the order in which it happened.
//!
//! Entries live in the state log and leave through every lane as `control` records. The ledger is bounded: what every lane has
//! is kept for [`KEEP`] entries more, and above [`BOUND`] the oldest become one summary with their count and digest.

use std::fmt;

use super::entry::LedgerRecord;

/// Entries that every lane has, kept for `waybill inspect`.
pub const KEEP: usize = 1000;
/// Entries altogether; above it the oldest half is summarised.
pub const BOUND: usize = 8192;

/// What an entry is about; the name is `event.action` of the control record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The agent started.
    Started,
    /// The agent stopped in order.
    Stopped,
    /// A policy is in force.
    PolicyApplied,
    /// A policy was broken and is not in force.
    PolicyRefused,
    /// A stream was met.
    StreamBegun,
    /// A stream's last byte is known, and every lane has settled it.
    StreamEnded,
    /// A stream goes on in another file.
    StreamContinued,
    /// A file holds what another stream has already; it is not read twice.
    Copy,
    /// Bytes are gone before they were delivered.
    Loss,
    /// Bytes are no longer read because the policy no longer names them.
    Abandoned,
    /// Existing content was left out because the policy says `startAt: Now`.
    SkippedBacklog,
    /// A sink refused records.
    Refusals,
    /// A kill switch was thrown, changed or lifted.
    KillSwitch,
    /// A kill switch in `Discard` left out these bytes.
    Discarded,
    /// A path was refused: a link out of its root, or not a regular file.
    PathRefused,
    /// A line that its writer split over two files was joined.
    Joined,
    /// The state of another machine was set aside.
    StateSetAside,
    /// The state began empty although there were files with content.
    StateEmpty,
    /// The state was repaired; what was left out is named.
    StateRepaired,
    /// An archive is complete, and the bytes that it holds may leave the live file.
    ArchiveMade,
    /// An archive or a rotated file is about to be removed.
    ArchiveRemoved,
    /// The clock was set by more than an hour.
    ClockStepped,
    /// Someone said that the clock is right, so that files go for their age again.
    ClockConfirmed,
    /// A file system has less free than the policy asks for, and nothing that may be removed.
    Pressure,
    /// A protected file is about to lose its attribute for as long as a cut takes.
    ProtectionLifted,
    /// A file cannot be rotated, protected or pruned as the policy says.
    RotationRefused,
    /// Older entries were summarised.
    Summary,
}

impl Action {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::PolicyApplied => "policy_applied",
            Self::PolicyRefused => "policy_refused",
            Self::StreamBegun => "stream_begun",
            Self::StreamEnded => "stream_ended",
            Self::StreamContinued => "stream_continued",
            Self::Copy => "copy",
            Self::Loss => "loss",
            Self::Abandoned => "abandoned",
            Self::SkippedBacklog => "skipped_backlog",
            Self::Refusals => "refusals",
            Self::KillSwitch => "kill_switch",
            Self::Discarded => "discarded",
            Self::PathRefused => "path_refused",
            Self::Joined => "joined",
            Self::StateSetAside => "state_set_aside",
            Self::StateEmpty => "state_empty",
            Self::StateRepaired => "state_repaired",
            Self::ArchiveMade => "archive_made",
            Self::ArchiveRemoved => "archive_removed",
            Self::ClockStepped => "clock_stepped",
            Self::ClockConfirmed => "clock_confirmed",
            Self::Pressure => "pressure",
            Self::ProtectionLifted => "protection_lifted",
            Self::RotationRefused => "rotation_refused",
            Self::Summary => "summary",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The bytes that stand for an entry in the control stream: what its offset counts and its id hashes.
pub fn bytes(record: &LedgerRecord) -> Vec<u8> {
    format!("{} {} {} {}\n", record.number, record.action, record.time, record.fields).into_bytes()
}
