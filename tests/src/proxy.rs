//! A TCP proxy that misbehaves on demand.
//!
//! What passes is seen as exchanges: one begins with the first bytes of a client after an answer, or after it connected. At its beginning
//! the plan says what happens to it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

/// What happens to an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fault {
    /// It passes.
    #[default]
    None,
    /// The connection is cut after that many bytes of the request.
    CutRequest(usize),
    /// The connection is cut after that many bytes of the answer; the server has had the whole request.
    CutAnswer(usize),
    /// The answer is held back for so long.
    Delay(Duration),
    /// The server gets the request, and the client no answer; the connection stays open.
    Silence,
    /// The connection is closed at once.
    Close,
    /// The server gets nothing: the proxy reads an HTTP request to its end and answers with this status and body.
    Answer(u16, String),
}

type Plan = Box<dyn FnMut(usize, &[u8]) -> Fault + Send>;

/// A proxy; ended when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Plan>,
    exchanges: AtomicUsize,
    faults: AtomicUsize,
    stop: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy on a free port of the loopback, that lets everything pass to `upstream`.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, upstream)
    }

    /// The same at another address of this machine.
    pub fn start_at(host: Ipv4Addr, upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((host, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new(Box::new(|_, _| Fault::None)),
            exchanges: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    // A server that is not there looks to the client like one that hangs up.
                    if let Err(error) = shared.carry(client) {
                        println!("proxy: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens from now on, by the number of the exchange since the proxy began and by its first bytes.
    pub fn plan(&self, plan: impl FnMut(usize, &[u8]) -> Fault + Send + 'static) {
        *lock(&self.shared.plan) = Box::new(plan);
    }

    /// The next exchanges suffer these faults, one each; all others pass.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut faults: Vec<Fault> = faults.into_iter().collect();
        faults.reverse();
        self.plan(move |_, _| faults.pop().unwrap_or_default());
    }

    /// Everything passes from now on.
    pub fn pass(&self) {
        self.plan(|_, _| Fault::None);
    }

    /// Exchanges so far.
    pub fn exchanges(&self) -> usize {
        self.shared.exchanges.load(Ordering::Relaxed)
    }

    /// Exchanges that suffered a fault so far.
    pub fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        for peer in lock(&self.shared.open).drain(..) {
            cut(&peer);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the listener.
        let woken = TcpStream::connect(self.address);
        if woken.is_ok() && self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            println!("the proxy panicked");
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// One exchange as both directions see it.
#[derive(Debug, Default)]
struct Exchange {
    fault: Fault,
    requested: usize,
    answered: usize,
}

impl Shared {
    fn carry(self: Arc<Self>, client: TcpStream) -> Result<()> {
        let Ok(server) = TcpStream::connect(self.upstream) else {
            cut(&client);
            return Ok(());
        };
        for peer in [&client, &server] {
            peer.set_nodelay(true)?;
        }
        {
            let mut open = lock(&self.open);
            open.retain(|peer| peer.peer_addr().is_ok());
            open.extend([client.try_clone()?, server.try_clone()?]);
        }
        let exchange = Arc::new(Mutex::new(Exchange::default()));
        let back = (server.try_clone()?, client.try_clone()?, Arc::clone(&exchange));
        let answers = thread::spawn(move || answers(back.0, back.1, &back.2));
        let requests = self.requests(client.try_clone()?, server.try_clone()?, &exchange);
        if requests.is_err() {
            cut(&client);
            cut(&server);
        }
        if answers.join().is_err() {
            println!("the proxy panicked");
        }
        Ok(())
    }

    /// Client to server. An error is the end of both directions.
    fn requests(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        exchange: &Mutex<Exchange>,
    ) -> std::io::Result<()> {
        let mut block = vec![0; 1 << 16];
        loop {
            let read = client.read(&mut block)?;
            if read == 0 {
                return server.shutdown(Shutdown::Write);
            }
            let bytes = &block[..read];
            let mut now = lock(exchange);
            if now.requested == 0 || now.answered > 0 {
                let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
                let fault = (lock(&self.plan))(number, bytes);
                self.faults.fetch_add(usize::from(fault != Fault::None), Ordering::Relaxed);
                *now = Exchange { fault, ..Exchange::default() };
            }
            let before = now.requested;
            now.requested += read;
            match now.fault.clone() {
                Fault::CutRequest(at) if before + read >= at => {
                    server.write_all(&bytes[..at.saturating_sub(before).min(read)])?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                Fault::Close => return Err(std::io::ErrorKind::ConnectionAborted.into()),
                Fault::Answer(status, body) => {
                    drop(now);
                    answer(&mut client, bytes.to_vec(), status, &body)?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                _ => {
                    drop(now);
                    server.write_all(bytes)?;
                }
            }
        }
    }
}

/// Server to client.
fn answers(mut server: TcpStream, mut client: TcpStream, exchange: &Mutex<Exchange>) {
    let mut block = vec![0; 1 << 16];
    let mut copy = || -> std::io::Result<()> {
        loop {
            let read = server.read(&mut block)?;
            if read == 0 {
                return client.shutdown(Shutdown::Write);
            }
            let (fault, before) = {
                let mut now = lock(exchange);
                let before = now.answered;
                now.answered += read;
                (now.fault.clone(), before)
            };
            match fault {
                Fault::Silence => continue,
                // The time is the fault.
                Fault::Delay(span) if before == 0 => thread::sleep(span),
                Fault::CutAnswer(at) if before + read >= at => {
                    client.write_all(&block[..at.saturating_sub(before).min(read)])?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                _ => {}
            }
            client.write_all(&block[..read])?;
        }
    };
    if copy().is_err() {
        cut(&server);
        cut(&client);
    }
}

/// Reads an HTTP request to its end, and answers it.
fn answer(client: &mut TcpStream, mut request: Vec<u8>, status: u16, body: &str) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut block = vec![0; 1 << 16];
    let length = |request: &[u8]| {
        let head = request.windows(4).position(|w| w == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
        let field = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        Some(head + 4 + field.and_then(|n| n.trim().parse().ok()).unwrap_or(0))
    };
    while length(&request).is_none_or(|whole| request.len() < whole) {
        let read = client.read(&mut block)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&block[..read]);
    }
    let head = format!(
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())?;
    client.shutdown(Shutdown::Write)
}

fn cut(peer: &TcpStream) {
    // It may have been cut from the other side already.
    let _done = peer.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each line with itself.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for peer in listener.incoming() {
                let mut peer = peer.unwrap();
                let mut block = [0; 64];
                while let Ok(read @ 1..) = peer.read(&mut block) {
                    peer.write_all(&block[..read]).unwrap();
                }
            }
        });
        address
    }

    fn ask(proxy: &Proxy, text: &str) -> String {
        let mut peer = TcpStream::connect(proxy.address()).unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let _written = peer.write_all(text.as_bytes());
        let mut got = Vec::new();
        let mut block = [0; 256];
        while got.len() < text.len() {
            match peer.read(&mut block) {
                Ok(read @ 1..) => got.extend_from_slice(&block[..read]),
                _ => break,
            }
        }
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn each_exchange_suffers_its_fault() {
        let proxy = Proxy::start(echo()).unwrap();
        proxy.next([Fault::None, Fault::CutRequest(2), Fault::CutAnswer(3), Fault::Close, Fault::Silence]);
        let got: Vec<String> = (0..6).map(|_| ask(&proxy, "hello")).collect();
        assert_eq!(got[0], "hello");
        assert!(got[1].len() <= 2, "{got:?}");
        assert_eq!(got[2..], ["hel", "", "", "hello"]);
        assert_eq!((proxy.exchanges(), proxy.faults()), (6, 4));
    }

    #[test]
    fn it_answers_by_itself() {
        let proxy = Proxy::start(echo()).unwrap();
        proxy.next([Fault::Answer(429, "{}".into())]);
        let request = format!("POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(100));
        assert!(ask(&proxy, &request).starts_with("HTTP/1.1 429 "));
    }
}
