//! Makes a program open its log file anew after it was renamed: by a signal, or by the logger API of V2Ray and Xray.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How the writer of a renamed file is made to open a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopen {
    /// A signal to every process of an executable.
    Signal {
        /// Which.
        signal: Signal,
        /// The executable's absolute path.
        executable: PathBuf,
    },
    /// `RestartLogger` of the proxy's API, a gRPC call over plain HTTP/2 on this machine.
    V2RayApi {
        /// Host and port.
        address: String,
    },
}

/// How long the API may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The service's name in V2Ray and in Xray.
const SERVICES: [&str; 2] = ["v2ray.core.app.log.command.LoggerService", "xray.app.log.command.LoggerService"];

/// Asks the writer to open its file anew. The answer says nothing about whether it did: the file does.
pub fn reopen(how: &Reopen) -> Result<(), String> {
    match how {
        Reopen::Signal { signal, executable } => signal_all(*signal, executable),
        Reopen::V2RayApi { address } => restart_logger(address),
    }
}

fn signal_all(signal: Signal, executable: &Path) -> Result<(), String> {
    let mut told = 0;
    let mut refused = None;
    for entry in std::fs::read_dir("/proc").map_err(|e| format!("/proc cannot be read: {e}"))?.flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|_| runs(&entry.path(), executable)) else { continue };
        // A descriptor of the process, so that the signal cannot reach another that got its number meanwhile.
        let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|fd| {
            if runs(&entry.path(), executable) { pidfd_send_signal(&fd, signal).map(|()| true) } else { Ok(false) }
        });
        match sent {
            Ok(sent) => told += u32::from(sent),
            Err(error) => refused = Some(error),
        }
    }
    match (told, refused) {
        (0, Some(error)) => Err(format!("{} cannot be signalled: {error}", executable.display())),
        (0, None) => Err(format!("no process runs {}", executable.display())),
        _ => Ok(()),
    }
}

/// Whether a process runs an executable, also if that was replaced since.
fn runs(process: &Path, executable: &Path) -> bool {
    let Ok(target) = std::fs::read_link(process.join("exe")) else { return false };
    let name = target.as_os_str().as_bytes();
    name.strip_suffix(b" (deleted)").unwrap_or(name) == executable.as_os_str().as_bytes()
}

fn restart_logger(address: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the API cannot be called: {e}"))?;
    runtime.block_on(async {
        let mut answer = Err("it was not asked".to_owned());
        for service in SERVICES {
            answer = call(address, service).await;
            if answer.is_ok() {
                break;
            }
        }
        answer
    })
}

/// One call with an empty message. gRPC answers errors in `grpc-status` of the headers, and success with a message and a trailer.
async fn call(address: &str, service: &str) -> Result<(), String> {
    let failed = |e: reqwest::Error| format!("the API at {address} does not answer: {}", root_cause(&e));
    // Of no use for plain HTTP, but the client wants one. Another part of the agent may have chosen it before.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest::Client::builder().http2_prior_knowledge().no_proxy().timeout(PATIENCE).build().map_err(failed)?;
    let response = client
        .post(format!("http://{address}/{service}/RestartLogger"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(vec![0_u8; 5])
        .send()
        .await
        .map_err(failed)?;
    let status = response.headers().get("grpc-status").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let code = response.status();
    let message = response.bytes().await.map_err(failed)?;
    match status.as_deref() {
        None | Some("0") if code.is_success() && (status.is_some() || message.len() >= 5) => Ok(()),
        Some("12") => {
            Err(format!("the API at {address} has no {service}: switch LoggerService on in its configuration"))
        }
        status => Err(format!("the API at {address} refused: HTTP {code}, gRPC status {}", status.unwrap_or("none"))),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn signals_the_processes_of_an_executable_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("writer");
        // By another process: a test that forks meanwhile would hold the copy open for writing, and it could not be executed.
        assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        let mut other = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !runs(Path::new(&format!("/proc/{}", child.id())), &program) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        reopen(&Reopen::Signal { signal: Signal::USR1, executable: program.clone() }).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(10));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        let none = reopen(&Reopen::Signal { signal: Signal::USR1, executable: program }).unwrap_err();
        assert!(none.contains("no process runs"), "{none}");
    }

    #[test]
    fn an_api_that_is_not_there_is_an_error() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = reopen(&Reopen::V2RayApi { address: free.to_string() }).unwrap_err();
        assert!(error.contains("does not answer"), "{error}");
    }
}
