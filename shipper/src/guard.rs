//! A filter of system calls of the agent's own.
//!
//! `CAP_DAC_READ_SEARCH`, which lets the agent read what root reads, also lets a process open any file of a mounted file system by its
//! handle, past every mount of its container, and the runtimes' own profiles allow that call to whoever has the capability. The agent
//! never makes it: with the filter in place, neither can code that an attacker got into it.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// On x86-64 a system call has a second number, of the x32 interface.
const X32: i64 = 0x4000_0000;

/// Shuts the calls off for this process, for ever. A call that is shut off fails as on a kernel that lacks it.
pub fn shut() -> Result<(), seccompiler::Error> {
    seccompiler::apply_filter_all_threads(&filter()?)
}

fn filter() -> Result<BpfProgram, seccompiler::Error> {
    let calls = [libc::SYS_open_by_handle_at, libc::SYS_open_by_handle_at | X32];
    let target = TargetArch::try_from(std::env::consts::ARCH)?;
    let fail = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, fail, target)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn no_handle_is_opened() {
        // A filter belongs to a thread and to what it starts; perl makes the call with a handle that is none.
        let call = format!("syscall({}, -1, 0, 0); print $! + 0", libc::SYS_open_by_handle_at);
        let answer = |shut: bool| {
            let call = call.clone();
            let run = move || {
                if shut {
                    seccompiler::apply_filter(&filter().unwrap()).unwrap();
                }
                Command::new("perl").args(["-e", &call]).output().unwrap().stdout
            };
            let said = std::thread::spawn(run).join().unwrap();
            String::from_utf8(said).unwrap().parse::<i32>().unwrap()
        };
        assert_ne!(answer(false), libc::ENOSYS);
        assert_eq!(answer(true), libc::ENOSYS);
    }
}
