//! Text for a terminal: hostile names made harmless, numbers made readable, columns made even.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// A name or a message as it may be shown: what could steer a terminal, break a line or turn the reading direction is spelt out.
pub(super) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.extend(char.escape_unicode());
            }
            _ if char.is_control() => out.extend(char.escape_default()),
            _ => out.push(char),
        }
    }
    out
}

/// A whole number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size with one digit behind the point.
pub(super) fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    // What would be rounded to 1000 is one of the next unit.
    while amount >= 999.95 && unit + 1 < units.len() {
        amount /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {}", units[unit]) }
}

/// A span of time in its largest unit.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole / 60),
        7200..172_800 => format!("{} h", whole / 3600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// A moment in UTC, from nanoseconds since 1970.
pub(super) fn moment(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_or_else(|_| nanoseconds.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// "1 record", "2 records".
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", self::number(number), if number == 1 { one } else { many })
}

/// Even columns: the first ones flush left, those after `left` flush right.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    left: usize,
}

impl Table {
    /// A table with these heads; the first `left` columns hold words, the others numbers.
    pub(super) fn new(left: usize, heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()], left }
    }

    /// Adds a row. Cells are made [`safe`] here.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| safe(&cell)).collect());
    }

    /// Writes it, indented.
    pub(super) fn write(&self, out: &mut String) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if column < self.left { ("", pad.as_str()) } else { (pad.as_str(), "") };
                // Writing to a string cannot fail.
                let _written = write!(line, "  {before}{cell}{after}");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("waybill: failed to write: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        assert_eq!(safe("plain – ünïcode"), "plain – ünïcode");
        assert_eq!(safe("a\x1b[2Jb\nc\td\u{9b}e\x7f"), "a\\u{1b}[2Jb\\nc\\td\\u{9b}e\\u{7f}");
        assert_eq!(safe("x\u{202e}y\u{2028}z"), "x\\u{202e}y\\u{2028}z");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1000, 999_999, 1_500_000].map(size), ["0 B", "999 B", "1.0 kB", "1.0 MB", "1.5 MB"]);
        assert_eq!([-1.0, 61.9, 150.0, 7200.0, 200_000.0].map(span), ["0 s", "61 s", "2 min", "2 h", "2 d"]);
        assert_eq!(moment(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(count(1, "file", "files"), "1 file");
    }

    #[test]
    fn columns_are_even() {
        let mut table = Table::new(1, &["NAME", "N"]);
        table.row(["a\n".to_owned(), "10".to_owned()]);
        table.row(["longer".to_owned(), "1".to_owned()]);
        let mut out = String::new();
        table.write(&mut out);
        assert_eq!(out, "   NAME     N\n   a\\n     10\n   longer   1\n");
    }
}
