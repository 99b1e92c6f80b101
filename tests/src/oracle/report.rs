//! The verdict, readable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, bail};

/// How many offences of a kind are shown.
const SHOWN: usize = 10;

/// Kinds of offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A line neither arrived nor is in the ledger.
    Lost,
    /// The ledger gives up what was not deleted or truncated behind the agent's back.
    Unjustified,
    /// Two contents at one offset of one stream.
    TwoContents,
    /// One line under two ids.
    TwoIds,
    /// A record came again although no kill explains it.
    Repeat,
    /// `seq` or offset go back.
    Order,
    /// `seq` skips what the ledger does not explain.
    Gap,
    /// One stream holds lines of two incarnations.
    Mixed,
    /// A record says another offset than its line was written at.
    WrongOffset,
    /// A record that no one wrote.
    Alien,
    /// Fragments that can't be joined.
    Torn,
    /// A piece of a split line that is not marked as partial.
    Unmarked,
    /// A line of the sink that is no record.
    Malformed,
}

/// One offence.
#[derive(Debug, Clone)]
pub struct Offence {
    /// Its kind.
    pub kind: Kind,
    /// What and where.
    pub what: String,
}

/// Numbers of a case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines written.
    pub lines: u64,
    /// Of them, arrived.
    pub delivered: u64,
    /// Lines that arrived and are in the ledger all the same: their acknowledgement did not reach the state.
    pub doubtful: u64,
    /// Of them, missing and in the ledger.
    pub entered: u64,
    /// Of them, in content that came and went while the agent was away.
    pub unseen: u64,
    /// Split lines that came joined.
    pub joined: u64,
    /// Split lines that came in pieces, marked.
    pub in_pieces: u64,
    /// Long lines put together from their fragments.
    pub rejoined: u64,
    /// Records in the output.
    pub records: u64,
    /// Records that came again.
    pub repeats: u64,
    /// Streams in the output.
    pub streams: u64,
    /// Losses in the ledger.
    pub losses: u64,
    /// Bytes that they give up for certain.
    pub lost_bytes: u64,
    /// Kills.
    pub kills: usize,
}

/// What the oracle found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The numbers.
    pub totals: Totals,
    /// Content that came and went so fast that the agent could not know of it.
    pub unseen: BTreeSet<String>,
    /// Everything that is wrong.
    pub offences: Vec<Offence>,
}

impl Verdict {
    pub(super) fn add(&mut self, kind: Kind, what: String) {
        self.offences.push(Offence { kind, what });
    }

    /// How many offences of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.offences.iter().filter(|offence| offence.kind == kind).count()
    }

    /// Prints the totals; an error with the offences if there are any.
    pub fn check(&self) -> Result<Totals> {
        println!("{}", self.totals);
        self.unseen.iter().take(SHOWN).for_each(|what| println!("  unseen: {what}"));
        if !self.offences.is_empty() {
            bail!("{self}");
        }
        Ok(self.totals)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lines,
            delivered,
            doubtful,
            entered,
            unseen,
            joined,
            in_pieces,
            rejoined,
            records,
            repeats,
            streams,
            losses,
            lost_bytes,
            kills,
        } = self;
        write!(
            f,
            "lines {lines}: {delivered} delivered ({doubtful} of them uncertain), {entered} in the ledger, {unseen} gone unseen; split lines {joined} joined, {in_pieces} in pieces; \
             {rejoined} long lines rejoined; records {records}, {repeats} repeats, {streams} streams; {losses} losses, {lost_bytes} bytes; {kills} kills"
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Kind, Vec<&str>> = BTreeMap::new();
        for offence in &self.offences {
            kinds.entry(offence.kind).or_default().push(&offence.what);
        }
        for (kind, list) in kinds {
            writeln!(f, "{kind:?}: {}", list.len())?;
            // Of each file the first, or one that lost much would hide the others.
            let mut files: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
            for what in list {
                let file = what.split_once(" of ").map_or(what, |(_, file)| file);
                files.entry(file).or_insert((0, what)).0 += 1;
            }
            for (count, what) in files.values().take(SHOWN) {
                writeln!(
                    f,
                    "  {what}{}",
                    if *count > 1 { format!(", and {} more of it", count - 1) } else { String::new() }
                )?;
            }
        }
        write!(f, "{}", self.totals)
    }
}
