//! What the agent itself takes, as the kernel counts it.

use std::fs;

/// Clock ticks in a second, as Linux shows them to programs on every machine that it runs on today.
const TICKS: f64 = 100.0;

/// Numbers of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Processor time of user and system, in seconds.
    pub cpu_seconds: f64,
    /// When it started, in seconds since 1970 UTC.
    pub started: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many may be open; 0 = no bound.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// This process. What the kernel does not tell is 0.
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::parse(&text("/proc/self/status"), &text("/proc/self/stat"), &text("/proc/stat"));
        process.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64);
        process.max_fds = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0);
        process
    }

    /// From the texts of `/proc/self/status`, `/proc/self/stat` and `/proc/stat`.
    fn parse(status: &str, stat: &str, system: &str) -> Self {
        let after = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        // The second field is the program's name in parentheses, which may hold anything; the third is the first one here.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let seconds = |field: usize| {
            let ticks = fields.get(field - 3).and_then(|f| f.trim().parse::<u64>().ok()).unwrap_or(0);
            ticks as f64 / TICKS
        };
        let boot = after(system, "btime ");
        Self {
            resident_bytes: after(status, "VmRSS:") * 1024,
            virtual_bytes: after(status, "VmSize:") * 1024,
            threads: after(status, "Threads:"),
            cpu_seconds: seconds(14) + seconds(15),
            started: if boot == 0 { 0.0 } else { boot as f64 + seconds(22) },
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_shift_the_fields() {
        let status = "Name:\tway) bill\nVmSize:\t    8000 kB\nVmRSS:\t    1200 kB\nThreads:\t5\n";
        let stat = "7 (way) bill) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 5 0 1000 8192000 300 1\n";
        let process = Process::parse(status, stat, "cpu 1\nbtime 1700000000\n");
        assert_eq!((process.cpu_seconds.to_bits(), process.threads), (4.0_f64.to_bits(), 5));
        assert_eq!((process.virtual_bytes, process.resident_bytes), (8000 * 1024, 1200 * 1024));
        assert_eq!(process.started.to_bits(), 1_700_000_010.0_f64.to_bits());
        assert_eq!(Process::parse("", "", ""), Process::default());
    }

    #[test]
    fn this_process_has_numbers() {
        let process = Process::read();
        assert!(process.resident_bytes > 0 && process.open_fds > 2 && process.threads > 0 && process.started > 1e9);
    }
}
