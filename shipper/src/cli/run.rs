//! `waybill run`: ship.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::agent::{Agent, Error, Options};

/// Ship what the policy names, until SIGTERM.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The AuditPolicy, as it would be given to Kubernetes.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Where cursors and the ledger are kept [default: /var/lib/waybill/<policy name>].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where secrets are mounted: <DIR>/<secret>/<key>.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Kill switches beside the policy's, such as from a pod's annotation: those of the higher generation count.
    #[arg(long, value_name = "FILE")]
    pub switch_file: Option<PathBuf>,
    /// Where metrics, health and status are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: String,
    /// A folder from which paths are opened; links may not lead out of it. Can be repeated.
    #[arg(long, value_name = "DIR", default_value = "/var/log")]
    pub read_root: Vec<PathBuf>,
}

/// Exit code for a policy that cannot be used.
const CONFIGURATION: u8 = 3;

impl RunArgs {
    /// Runs until SIGTERM or SIGINT.
    pub fn run(self) -> ExitCode {
        init_log();
        let options = Options {
            file: self.file,
            state_dir: self.state_dir,
            secrets_dir: self.secrets_dir,
            switch_file: self.switch_file,
            read_roots: self.read_root,
            disabled: std::env::var("WAYBILL_ENABLED")
                .is_ok_and(|v| matches!(v.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "off")),
            archive: std::env::var_os("WAYBILL_FILE").filter(|v| !v.is_empty()).map(PathBuf::from),
            inotify: !std::env::var("WAYBILL_INOTIFY").is_ok_and(|v| v.eq_ignore_ascii_case("off")),
        };
        match start(options, &self.listen) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }
}

fn fail(error: &Error) -> ExitCode {
    // Both to the collector of JSON lines and to who started it by hand: each must say all of it.
    match error {
        Error::Policy { findings, .. } => {
            findings.iter().for_each(|f| tracing::error!(path = f.path, line = f.line, "{}; {}", f.message, f.remedy));
            tracing::error!(%error, "waybill ends");
            eprintln!("waybill: {error}");
            findings.iter().for_each(|f| eprintln!("  {f}"));
            return ExitCode::from(CONFIGURATION);
        }
        Error::Unreadable { path, source } => {
            let remedy = crate::input::remedy(path, source);
            tracing::error!(%error, %remedy, "waybill ends");
            eprintln!("waybill: {error}; {remedy}");
        }
        Error::State(_) | Error::Io { .. } => {
            tracing::error!(%error, "waybill ends");
            eprintln!("waybill: {error}");
        }
    }
    ExitCode::FAILURE
}

fn start(options: Options, listen: &str) -> Result<(), Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::start("the runtime"))?;
    // First of all: the kernel drops a signal that the first process of a container does not handle yet.
    let signals = {
        let _entered = runtime.enter();
        Signals::listen().map_err(Error::start("listening to signals"))?
    };
    if let Err(error) = crate::guard::shut() {
        tracing::warn!(%error, "the kernel takes no filter of system calls: files could be opened by their handles");
    }
    let listener = runtime.block_on(tokio::net::TcpListener::bind(listen)).map_err(Error::io(
        format!("listen on {listen}"),
        "give an address of this machine with a port that is free: --listen",
    ))?;
    let main = std::thread::current();
    let signalled = Arc::clone(&stop);
    let (ready, handle) = tokio::sync::oneshot::channel();
    let server = std::thread::Builder::new()
        .name("server".into())
        .spawn(move || runtime.block_on(serve(listener, handle, signals, &signalled, &main)))
        .map_err(Error::start("the server"))?;
    let Some(agent) = Agent::prepare(options, &stop)? else { return Ok(()) };
    let _told = ready.send(agent.handle());
    let result = agent.run(&stop);
    stop.store(true, Ordering::Relaxed);
    drop(server);
    result
}

/// The signals that end the agent.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on; inside of a runtime.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    async fn came(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for the signals that end the agent, and serves meanwhile.
async fn serve(
    listener: tokio::net::TcpListener,
    handle: tokio::sync::oneshot::Receiver<crate::agent::Handle>,
    mut signals: Signals,
    stop: &AtomicBool,
    main: &std::thread::Thread,
) {
    let ended = signals.came();
    tokio::pin!(ended);
    let end = || {
        stop.store(true, Ordering::Relaxed);
        main.unpark();
    };
    // Until the state is taken over there is nothing to serve, but a signal counts.
    let handle = tokio::select! {
        handle = handle => handle,
        () = &mut ended => return end(),
    };
    let Ok(handle) = handle else { return };
    let source: crate::observe::server::Source = Arc::new(move || handle.report());
    let served = crate::observe::server::serve(listener, source, std::future::pending());
    tokio::pin!(served);
    tokio::select! {
        () = &mut ended => end(),
        () = &mut served => {}
    }
    // The pages stay up while the lanes are drained; the process ends them.
    served.await;
}

fn init_log() {
    use tracing_subscriber::EnvFilter;
    let mut filter = EnvFilter::try_from_env("WAYBILL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Below that the library shows requests and answers whole, records and what a refused login repeats included.
    if let Ok(quiet) = "aws=info".parse() {
        filter = filter.add_directive(quiet);
    }
    // A second call, as tests make it, changes nothing.
    let _set = tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).try_init();
}
