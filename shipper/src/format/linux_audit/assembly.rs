//! Puts the records of an event together, so that its last one can say who did what.
//!
//! The kernel writes an event as several records, each a line of its own, which may interleave with those of other events. Every
//! line is shipped at once, as its own record; nothing waits here. What is kept is the text that the closing record is to repeat:
//! per open event, and per process the command that it was last seen to execute, because an event of a later call names the process
//! and not its command.
//!
//! Bounds: [`EVENTS`] open events that are at most [`OPEN`] of event time old, [`PROCESSES`] processes at most [`REMEMBERED`] of it,
//! [`ROOM`] bytes of text each: about 1 MiB in a log that fills all of it. What is oldest leaves. Reading that goes back forgets
//! everything, so that no line counts twice.

use super::flood::Flood;

/// Open events that are kept.
const EVENTS: usize = 64;
/// Processes whose last command is kept.
const PROCESSES: usize = 128;
/// Bytes of text that an event or a process keeps.
const ROOM: usize = 6 * 1024;
/// Event time, in nanoseconds, after which an event is not completed any more.
const OPEN: i64 = 10 * 1_000_000_000;
/// Event time, in nanoseconds, after which a process is forgotten.
const REMEMBERED: i64 = 24 * 3600 * 1_000_000_000;

/// What identifies an event: the machine (a hash of its name), its time, its serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Id {
    pub(super) node: u64,
    pub(super) time: i64,
    pub(super) serial: u64,
}

/// A text that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Slot {
    Pid,
    ParentPid,
    LoginId,
    LoginName,
    UserId,
    EffectiveId,
    Name,
    Executable,
    Folder,
    Key,
    Call,
    /// Arguments, divided by NUL. Grows as long as it is the last.
    Arguments,
}

impl Slot {
    pub(super) const ALL: [Self; 12] = [
        Self::Pid,
        Self::ParentPid,
        Self::LoginId,
        Self::LoginName,
        Self::UserId,
        Self::EffectiveId,
        Self::Name,
        Self::Executable,
        Self::Folder,
        Self::Key,
        Self::Call,
        Self::Arguments,
    ];
}

/// Texts in one buffer, which is kept for the next user.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    places: [Option<(u32, u32)>; Slot::ALL.len()],
    /// There was no room for all of it.
    pub(super) truncated: bool,
}

impl Texts {
    fn clear(&mut self) {
        self.bytes.clear();
        self.places = [None; Slot::ALL.len()];
        self.truncated = false;
    }

    /// Keeps a text, unless there is one already. Arguments are added to.
    pub(super) fn put(&mut self, slot: Slot, text: &[u8]) {
        let room = ROOM.saturating_sub(self.bytes.len());
        let text = if text.len() > room {
            self.truncated = true;
            &text[..room]
        } else {
            text
        };
        let start = self.bytes.len() as u32;
        let end = start + text.len() as u32;
        match &mut self.places[slot as usize] {
            Some((_, last)) if slot == Slot::Arguments && *last == start => *last = end,
            Some(_) => return,
            place => *place = Some((start, end)),
        }
        self.bytes.extend_from_slice(text);
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&[u8]> {
        self.places[slot as usize].map(|(start, end)| &self.bytes[start as usize..end as usize])
    }

    fn copy_from(&mut self, other: &Self) {
        self.clear();
        self.bytes.extend_from_slice(&other.bytes);
        (self.places, self.truncated) = (other.places, other.truncated);
    }
}

/// An event that is not closed yet.
#[derive(Debug, Default)]
pub(super) struct Event {
    id: Id,
    used: u64,
    pub(super) texts: Texts,
    /// Records so far.
    pub(super) records: u32,
    /// Changes of the firewall so far.
    pub(super) firewall: u32,
    /// What the call came to.
    pub(super) success: Option<bool>,
    /// The call was refused.
    pub(super) denied: bool,
    /// The record of the call was seen.
    pub(super) call: bool,
}

/// What a process was last seen to execute.
#[derive(Debug, Default)]
struct Process {
    node: u64,
    pid: u64,
    time: i64,
    used: u64,
    texts: Texts,
}

/// The state of one stream.
#[derive(Debug, Default)]
pub(in crate::format) struct Assembly {
    events: Vec<Event>,
    processes: Vec<Process>,
    uses: u64,
    /// Offset of the last line.
    last: Option<u64>,
    /// Changes of the firewall that come by the hundred.
    pub(super) flood: Flood,
}

impl Assembly {
    /// Begins a line. If it is not behind the last one, everything is forgotten.
    pub(super) fn begin(&mut self, offset: u64) {
        if self.last.is_some_and(|last| offset <= last) {
            self.events.iter_mut().for_each(|event| event.id = Id::default());
            self.processes.iter_mut().for_each(|process| process.pid = 0);
            self.flood.forget();
        }
        self.last = Some(offset);
    }

    /// The open event of this id; a new one takes the place of a closed or of the oldest one.
    pub(super) fn event(&mut self, id: Id) -> &mut Event {
        self.uses += 1;
        let found = self.events.iter().position(|event| event.id == id);
        let index = found.unwrap_or_else(|| {
            let closed = self.events.iter().position(|event| event.id == Id::default());
            let index = if let Some(closed) = closed {
                closed
            } else if self.events.len() < EVENTS {
                self.events.push(Event::default());
                self.events.len() - 1
            } else {
                oldest(self.events.iter().map(|event| if is_over(event.id, id.time) { 0 } else { event.used }))
            };
            let event = &mut self.events[index];
            event.texts.clear();
            (event.id, event.records, event.firewall) = (id, 0, 0);
            (event.success, event.denied, event.call) = (None, false, false);
            index
        });
        let event = &mut self.events[index];
        event.used = self.uses;
        event
    }

    /// Closes an event. What was executed in it is remembered for its process.
    pub(super) fn close(&mut self, id: Id) -> Option<&Event> {
        let index = self.events.iter().position(|event| event.id == id)?;
        self.uses += 1;
        let event = &mut self.events[index];
        event.id = Id::default();
        let executed = event.call && event.success == Some(true) && event.texts.get(Slot::Arguments).is_some();
        if let Some(pid) = event.texts.get(Slot::Pid).and_then(number).filter(|_| executed) {
            let found = self.processes.iter().position(|process| process.pid == pid && process.node == id.node);
            let place =
                found.or_else(|| self.processes.iter().position(|process| process.pid == 0)).unwrap_or_else(|| {
                    if self.processes.len() < PROCESSES {
                        self.processes.push(Process::default());
                        self.processes.len() - 1
                    } else {
                        oldest(self.processes.iter().map(|process| process.used))
                    }
                });
            let process = &mut self.processes[place];
            (process.node, process.pid, process.time, process.used) = (id.node, pid, id.time, self.uses);
            process.texts.copy_from(&event.texts);
        }
        Some(&self.events[index])
    }

    /// What a process was last seen to execute, if it is still called so.
    pub(super) fn process(&self, id: Id, pid: &[u8], name: &[u8]) -> Option<&Texts> {
        let pid = number(pid).filter(|pid| *pid > 0)?;
        let process = self.processes.iter().find(|process| process.pid == pid && process.node == id.node)?;
        let recent = (0..=REMEMBERED).contains(&id.time.saturating_sub(process.time));
        (recent && process.texts.get(Slot::Name) == Some(name)).then_some(&process.texts)
    }
}

fn is_over(event: Id, now: i64) -> bool {
    event == Id::default() || now.saturating_sub(event.time) > OPEN
}

/// The place of the smallest number.
fn oldest(used: impl Iterator<Item = u64>) -> usize {
    used.enumerate().min_by_key(|(_, used)| *used).map_or(0, |(index, _)| index)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(serial: u64) -> Id {
        Id { node: 1, time: 5, serial }
    }

    #[test]
    fn memory_is_bounded() {
        let mut assembly = Assembly::default();
        for serial in 0..10_000 {
            assembly.begin(serial);
            let event = assembly.event(id(serial + 1));
            event.texts.put(Slot::Pid, serial.to_string().as_bytes());
            (event.call, event.success) = (true, Some(true));
            for _ in 0..10 {
                event.texts.put(Slot::Arguments, &[b'x'; 1024]);
            }
            assert!(event.texts.truncated);
            if serial % 2 == 0 {
                assembly.close(id(serial + 1));
            }
        }
        assert!(assembly.events.len() <= EVENTS && assembly.processes.len() <= PROCESSES);
        let kept = assembly.events.iter().map(|event| event.texts.bytes.len());
        assert!(
            kept.chain(assembly.processes.iter().map(|process| process.texts.bytes.len())).all(|length| length <= ROOM)
        );
    }

    #[test]
    fn going_back_forgets() {
        let mut assembly = Assembly::default();
        assembly.begin(1);
        assembly.event(id(7)).records = 3;
        assembly.begin(2);
        assert_eq!(assembly.event(id(7)).records, 3);
        assembly.begin(2);
        assert_eq!(assembly.event(id(7)).records, 0);
    }

    #[test]
    fn a_process_must_still_be_called_so() {
        let mut assembly = Assembly::default();
        let event = assembly.event(id(7));
        (event.call, event.success) = (true, Some(true));
        for (slot, text) in [(Slot::Pid, "42"), (Slot::Name, "nft"), (Slot::Arguments, "nft\0list\0")] {
            event.texts.put(slot, text.as_bytes());
        }
        assert!(assembly.close(id(7)).is_some() && assembly.close(id(7)).is_none());
        assert_eq!(assembly.process(id(8), b"42", b"nft").unwrap().get(Slot::Arguments), Some(&b"nft\0list\0"[..]));
        assert!(assembly.process(id(8), b"42", b"sh").is_none());
        assert!(assembly.process(Id { node: 2, ..id(8) }, b"42", b"nft").is_none());
        assert!(assembly.process(Id { time: 5 + REMEMBERED + 1, ..id(8) }, b"42", b"nft").is_none());
    }
}
