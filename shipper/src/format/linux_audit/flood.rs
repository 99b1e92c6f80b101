//! Changes of the firewall by the hundred, as a CNI or kube-proxy makes them: told with their count instead of one by one.
//!
//! Records of one program, table, family and operation are counted in each minute of their own time. The first [`EACH`] of a minute
//! ship as they are; of the others those whose number is 1, 2 or 5 times a power of ten, with `repeats`, how many there have been
//! in the minute. The rest is left out, and counted as every record that a rule leaves out. The first one of a later minute says how
//! many the last one had, so that no number stays unsaid while the program goes on. Nothing else of an event is left out: who did
//! it, and with which command, is in its other records.

use xxhash_rust::xxh3::Xxh3;

/// So many of a minute ship as they are.
const EACH: u32 = 100;
/// Programs, tables and operations that are counted at once; what is beyond them ships as it is.
const KEYS: usize = 256;
const MINUTE: i64 = 60_000_000_000;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It ships as it is.
    Ships,
    /// It ships, and says how many there have been in its minute.
    Tells(u32),
    /// It ships, and says how many the minute before had.
    TellsLast(u32),
    /// It is left out.
    Repeats,
}

/// What is counted of one key.
#[derive(Debug)]
struct Count {
    key: u64,
    minute: i64,
    number: u32,
}

/// The counts of one stream.
#[derive(Debug, Default)]
pub(super) struct Flood {
    counts: Vec<Count>,
}

impl Flood {
    /// Begins anew, in the same memory.
    pub(super) fn forget(&mut self) {
        self.counts.clear();
    }

    /// Counts a record of these texts.
    pub(super) fn count(&mut self, texts: [&[u8]; 4], time: i64) -> Fate {
        let mut hash = Xxh3::new();
        for text in texts {
            hash.update(text);
            hash.update(b"\0");
        }
        let (key, minute) = (hash.digest(), time.div_euclid(MINUTE));
        let Some(count) = self.counts.iter_mut().find(|count| count.key == key) else {
            if self.counts.len() == KEYS {
                // A number that is not told yet stays.
                self.counts.retain(|count| count.minute == minute || count.number > EACH);
            }
            if self.counts.len() < KEYS {
                self.counts.push(Count { key, minute, number: 1 });
            }
            return Fate::Ships;
        };
        if count.minute != minute {
            let last = count.number;
            (count.minute, count.number) = (minute, 1);
            return if last > EACH { Fate::TellsLast(last) } else { Fate::Ships };
        }
        count.number = count.number.saturating_add(1);
        match count.number {
            0..=EACH => Fate::Ships,
            number if is_round(number) => Fate::Tells(number),
            _ => Fate::Repeats,
        }
    }
}

/// 1, 2 or 5 times a power of ten.
fn is_round(mut number: u32) -> bool {
    while number.is_multiple_of(10) && number > 0 {
        number /= 10;
    }
    matches!(number, 1 | 2 | 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_with_its_count() {
        let mut flood = Flood::default();
        let texts: [&[u8]; 4] = [b"kube-proxy", b"nat", b"2", b"xt_replace"];
        let fates: Vec<Fate> = (0..1_234).map(|number| flood.count(texts, number * 1_000_000)).collect();
        assert!(fates[..100].iter().all(|fate| *fate == Fate::Ships));
        let told: Vec<Fate> = fates[100..].iter().copied().filter(|fate| *fate != Fate::Repeats).collect();
        assert_eq!(told, [Fate::Tells(200), Fate::Tells(500), Fate::Tells(1000)]);
        assert_eq!(flood.count([b"nft", b"nat", b"2", b"xt_replace"], 0), Fate::Ships);
        assert_eq!(flood.count(texts, MINUTE), Fate::TellsLast(1_234));
        assert_eq!(flood.count(texts, 2 * MINUTE), Fate::Ships);
    }

    #[test]
    fn every_change_ships_or_is_told() {
        let mut flood = Flood::default();
        let texts: [&[u8]; 4] = [b"kube-proxy", b"nat", b"2", b"xt_replace"];
        let mut told = 0;
        for minute in 0..20_i64 {
            let number = 37 * minute * minute;
            for index in 0..number {
                if let Fate::TellsLast(last) = flood.count(texts, minute * MINUTE + index) {
                    told += i64::from(last) - 100;
                }
            }
            // Other programs push it out of no memory.
            for other in 0..300_u32 {
                flood.count([&other.to_be_bytes(), b"", b"", b""], minute * MINUTE);
            }
        }
        let all: i64 = (0..19).map(|minute| (37 * minute * minute - 100).max(0)).sum();
        assert_eq!(told, all);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let mut flood = Flood::default();
        for number in 0..10_000_u32 {
            flood.count([&number.to_be_bytes(), b"", b"", b""], i64::from(number) * MINUTE / 1000);
        }
        assert!(flood.counts.len() <= KEYS);
    }
}
