//! A server of HTTP/1.1, as much of it as doubles need: with or without TLS, cut off and brought back on demand.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request, its body decompressed.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// With the query.
    pub path: String,
    /// Their names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beside the content's length.
    pub headers: &'static [(&'static str, &'static str)],
    /// The content.
    pub body: String,
    /// What goes before the answer.
    pub delay: Duration,
    /// The connection is cut in the middle of the answer.
    pub cut: bool,
}

/// What a server answers.
pub trait Service: Send + Sync + 'static {
    /// Whether the connection is cut in the middle of a request: what was sent of it has no effect.
    fn cuts(&self) -> bool {
        false
    }

    /// Answers a request.
    fn answer(&self, request: &Request) -> Reply;
}

/// A server; ended when dropped.
pub struct Server {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    service: Arc<dyn Service>,
    serving: Option<Serving>,
}

struct Serving {
    over: Arc<AtomicBool>,
    peers: Arc<Mutex<Vec<TcpStream>>>,
    thread: JoinHandle<()>,
}

impl Server {
    /// A server on a free port of the loopback.
    pub fn start(tls: Option<Arc<ServerConfig>>, service: Arc<dyn Service>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut new = Self { address: listener.local_addr()?, tls, service, serving: None };
        new.serve(listener);
        Ok(new)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, by the name `localhost`.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", if self.tls.is_some() { "https" } else { "http" }, self.address.port())
    }

    /// All connections break, and nobody listens any more.
    pub fn kill(&mut self) -> Result<()> {
        let serving = self.serving.take().context("the server does not serve")?;
        serving.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        serving.thread.join().map_err(|_| anyhow::anyhow!("the server panicked"))?;
        for peer in lock(&serving.peers).drain(..) {
            // It may be closed already.
            let _closed = peer.shutdown(Shutdown::Both);
        }
        Ok(())
    }

    /// Serves again, at the same address.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.serving.is_none(), "the server serves already");
        let listener = crate::wait::await_condition("the port is free again", Duration::from_secs(10), || {
            Ok(TcpListener::bind(self.address).ok())
        })?;
        self.serve(listener);
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener) {
        let (over, peers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ended, connected) = (Arc::clone(&over), Arc::clone(&peers));
        let (tls, service) = (self.tls.clone(), Arc::clone(&self.service));
        let thread = thread::spawn(move || {
            for peer in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(peer) = peer else { continue };
                let (tls, service) = (tls.clone(), Arc::clone(&service));
                if let Ok(copy) = peer.try_clone() {
                    let mut open = lock(&connected);
                    open.retain(|peer: &TcpStream| peer.peer_addr().is_ok());
                    open.push(copy);
                }
                thread::spawn(move || {
                    // A peer that hangs up, or that does not want this certificate, is the client's affair.
                    let _ended = converse(&peer, tls, service.as_ref());
                    let _closed = peer.shutdown(Shutdown::Both);
                });
            }
        });
        self.serving = Some(Serving { over, peers, thread });
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.serving.is_some()
            && let Err(error) = self.kill()
        {
            println!("failed to end a server: {error}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(peer: &TcpStream, tls: Option<Arc<ServerConfig>>, service: &dyn Service) -> Result<()> {
    peer.set_read_timeout(Some(Duration::from_secs(60)))?;
    peer.set_nodelay(true)?;
    match tls {
        Some(tls) => exchanges(StreamOwned::new(ServerConnection::new(tls)?, peer), service),
        None => exchanges(peer, service),
    }
}

fn exchanges(mut peer: impl Read + Write, service: &dyn Service) -> Result<()> {
    let mut held = Vec::new();
    loop {
        let request = match read(&mut peer, &mut held, service) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                peer.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                return Err(error);
            }
        };
        let reply = service.answer(&request);
        // The time is the fault.
        thread::sleep(reply.delay);
        let headers = reply.headers.iter().fold(String::new(), |all, (name, value)| all + name + ": " + value + "\r\n");
        let (status, length) = (reply.status, reply.body.len());
        let head = format!("HTTP/1.1 {status} Answer\r\n{headers}Content-Length: {length}\r\n\r\n");
        let answer = [head.as_bytes(), reply.body.as_bytes()].concat();
        let upto = if reply.cut { answer.len() / 2 } else { answer.len() };
        peer.write_all(&answer[..upto])?;
        peer.flush()?;
        if reply.cut || request.header("connection").eq_ignore_ascii_case("close") {
            return Ok(());
        }
    }
}

/// Reads a request; what follows it stays in `held`. `None`: it ended, or is cut here.
fn read(peer: &mut impl Read, held: &mut Vec<u8>, service: &dyn Service) -> Result<Option<Request>> {
    let end = loop {
        if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(peer, held)? {
            return Ok(None);
        }
        // What speaks TLS here, or anything else, is told at once.
        ensure!(held.first().is_some_and(u8::is_ascii_uppercase), "no HTTP");
    };
    if service.cuts() {
        return Ok(None);
    }
    let head = String::from_utf8(held[..end].to_vec())?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().context("no method")?.to_owned(), words.next().context("no path")?.to_owned());
    let mut headers = HashMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(Ok(0), |n| n.parse())?;
    while held.len() < end + length {
        ensure!(more(peer, held)?, "the request was cut");
    }
    let mut body: Vec<u8> = held.drain(..end + length).skip(end).collect();
    if headers.get("content-encoding").is_some_and(|how| how == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
        body = plain;
    }
    Ok(Some(Request { method, path, headers, body }))
}

fn more(peer: &mut impl Read, held: &mut Vec<u8>) -> Result<bool> {
    let mut block = vec![0; 1 << 16];
    let read = peer.read(&mut block)?;
    held.extend_from_slice(&block[..read]);
    Ok(read > 0)
}
