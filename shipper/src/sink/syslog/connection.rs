//! A connection to a syslog server over TCP or TLS. It never blocks once it is open.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use waybill_crds::{SyslogSink, SyslogTransport};

use super::unsent::unsent;
use crate::sink::{Context, Failure, tls};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long each step of a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a server has to object to the client's certificate. With TLS 1.3 the client is through before the server has looked.
const OBJECTION: Duration = Duration::from_secs(1);
/// A server that confirms nothing for this long, in milliseconds, is connected to anew.
const SILENT_MS: u32 = 120_000;
/// When an idle connection is first asked whether it still is one.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Plain text that goes into one TLS record.
const RECORD: usize = 16 << 10;

/// An open connection.
pub struct Connection {
    server: String,
    socket: Counted,
    tls: Option<Box<ClientConnection>>,
}

/// A socket that counts what it was given.
struct Counted {
    socket: TcpStream,
    written: u64,
}

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.socket.read(to)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.socket.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    /// Connects, and with TLS shakes hands. Certificates and keys are read anew.
    pub fn open(plan: &SyslogSink, context: &Context) -> Result<Self, Failure> {
        let server = plan.address.clone();
        let tls = match plan.transport {
            SyslogTransport::Tls => {
                let config = tls::client_config(plan.tls.as_ref(), &context.secrets)?;
                let name = ServerName::try_from(host(&plan.address).to_owned()).map_err(|_| {
                    Failure::held(format!("{server}: no certificate can be for this name"), "correct the host name")
                })?;
                let client = ClientConnection::new(Arc::new(config), name).map_err(|e| tls::explain(&e, &server))?;
                Some(Box::new(client))
            }
            SyslogTransport::Tcp | SyslogTransport::Udp => None,
        };
        let socket = connect(&plan.address)?;
        let mut new = Self { server, socket: Counted { socket, written: 0 }, tls };
        new.shake_hands()?;
        new.prepare().map_err(|e| new.broken(&e))?;
        Ok(new)
    }

    fn prepare(&self) -> io::Result<()> {
        let socket = &self.socket.socket;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        sockopt::set_tcp_user_timeout(socket, SILENT_MS)?;
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, KEEP_ALIVE)?;
        sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE / 4)?;
        Ok(())
    }

    fn shake_hands(&mut self) -> Result<(), Failure> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let timeouts = |d| {
            self.socket.socket.set_read_timeout(Some(d)).and_then(|()| self.socket.socket.set_write_timeout(Some(d)))
        };
        let done = timeouts(HANDSHAKE).and_then(|()| {
            while tls.is_handshaking() {
                tls.complete_io(&mut self.socket)?;
            }
            Ok(())
        });
        if let Err(error) = done {
            return Err(in_handshake(&error, &self.server));
        }
        let objection =
            self.socket.socket.set_read_timeout(Some(OBJECTION)).and_then(|()| tls.read_tls(&mut self.socket));
        match objection {
            Ok(0) => Err(refused_silently(&self.server)),
            Ok(_) => tls.process_new_packets().map(drop).map_err(|e| tls::explain(&e, &self.server)),
            Err(e) if is_patience(&e) => Ok(()),
            Err(_) => Err(refused_silently(&self.server)),
        }
    }

    /// What the connection is protected by, for people.
    pub fn protection(&self) -> &'static str {
        match self.tls.as_ref().and_then(|t| t.protocol_version()) {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(_) => "TLS 1.2",
            None => "no encryption",
        }
    }

    /// Hands bytes to the kernel from `offset` on, as many as it takes now. `true`: all of them are there.
    pub fn advance(&mut self, bytes: &[u8], offset: &mut usize) -> Result<bool, Failure> {
        let done = match &mut self.tls {
            None => plain(&mut self.socket, bytes, offset),
            Some(tls) => encrypted(&mut self.socket, tls, bytes, offset),
        };
        done.or_else(|error| {
            // What the peer said before it closed explains more than the broken pipe.
            self.look()?;
            Err(self.broken(&error))
        })
    }

    /// All bytes that the kernel was given on this connection, those of TLS included.
    pub fn written(&self) -> u64 {
        self.socket.written
    }

    /// How many of these the peer's kernel has.
    pub fn confirmed(&mut self) -> Result<u64, Failure> {
        let left = unsent(&self.socket.socket).map_err(|e| self.broken(&e))?;
        // A reset empties the queue as well: only without an error an empty queue means that all of it arrived.
        match self.socket.socket.take_error() {
            Ok(None) => Ok(self.socket.written.saturating_sub(left)),
            Ok(Some(error)) | Err(error) => {
                self.look()?;
                Err(self.broken(&error))
            }
        }
    }

    /// Takes in what the peer says, which has nothing to say but that it closes.
    pub fn look(&mut self) -> Result<(), Failure> {
        let mut scratch = [0; 512];
        loop {
            let read = match &mut self.tls {
                None => self.socket.read(&mut scratch),
                Some(tls) => tls.read_tls(&mut self.socket),
            };
            match read {
                Ok(0) => return Err(Failure::again(format!("{}: the server closed the connection", self.server))),
                Ok(count) => match &mut self.tls {
                    None if is_tls(&scratch[..count]) => {
                        return Err(Failure::held(
                            format!("{}: it speaks TLS on this port", self.server),
                            "write transport: Tls, or the port for plain TCP",
                        ));
                    }
                    None => {}
                    Some(tls) => {
                        let state = tls.process_new_packets().map_err(|e| tls::explain(&e, &self.server))?;
                        let mut left = state.plaintext_bytes_to_read();
                        while left > 0 {
                            match tls.reader().read(&mut scratch) {
                                Ok(count) if count > 0 => left = left.saturating_sub(count),
                                _ => break,
                            }
                        }
                    }
                },
                Err(e) if is_patience(&e) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
    }

    /// Waits until the kernel takes bytes again, the peer says something, or the time is over.
    pub fn wait(&self, patience: Duration) {
        let mut fds = [PollFd::from_borrowed_fd(self.socket.socket.as_fd(), PollFlags::OUT | PollFlags::IN)];
        let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        // An interrupted wait is a short one.
        let _ready = poll(&mut fds, Some(&patience));
    }

    /// Says good-bye. What the kernel has still arrives.
    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Nobody waits for it to arrive.
            let _sent = tls.write_tls(&mut self.socket);
        }
        let _shut = self.socket.socket.shutdown(Shutdown::Write);
    }

    /// Sends the beginning of a message and takes it back by closing. A server of TLS answers it with an alert, one of syslog drops it.
    pub(super) fn provoke(&mut self) -> Result<(), Failure> {
        let mut offset = 0;
        self.advance(b"1000 <110>1 - - ", &mut offset)?;
        let began = std::time::Instant::now();
        while let Some(left) = OBJECTION.checked_sub(began.elapsed()) {
            let mut fds = [PollFd::from_borrowed_fd(self.socket.socket.as_fd(), PollFlags::IN)];
            let patience = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let _ready = poll(&mut fds, Some(&patience));
            self.look().map_err(|failure| {
                let what = match failure {
                    Failure::Again { what } => what,
                    held => return held,
                };
                let what = format!("{what} at the first bytes of a message; most likely it speaks TLS on this port");
                Failure::held(what, "write transport: Tls, or the port for plain TCP")
            })?;
        }
        Ok(())
    }

    fn broken(&self, error: &io::Error) -> Failure {
        match tls::find(error) {
            Some(error) => tls::explain(error, &self.server),
            None => Failure::again(format!("{}: the connection broke: {error}", self.server)),
        }
    }
}

fn plain(socket: &mut Counted, bytes: &[u8], offset: &mut usize) -> io::Result<bool> {
    while let Some(rest) = bytes.get(*offset..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(count) => *offset += count,
            Err(e) if is_patience(&e) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn encrypted(socket: &mut Counted, tls: &mut ClientConnection, bytes: &[u8], offset: &mut usize) -> io::Result<bool> {
    loop {
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(e) if is_patience(&e) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let rest = bytes.get(*offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(true);
        }
        *offset += tls.writer().write(&rest[..rest.len().min(RECORD)])?;
    }
}

/// Time ran out, or the kernel has no room.
fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An alert or a message of a handshake: what a server of TLS answers to plain text.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, ..])
}

/// The host of host:port, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The addresses of a server.
pub(super) fn addresses(server: &str) -> Result<Vec<SocketAddr>, Failure> {
    match server.to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(e) => {
            Err(Failure::again(format!("{server}: the name cannot be resolved: {e}; correct it, or look at DNS")))
        }
    }
}

fn connect(server: &str) -> Result<TcpStream, Failure> {
    let mut last = Failure::again(format!("{server}: the name has no address"));
    for address in addresses(server)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => return Ok(socket),
            Err(e) => last = unreachable(&e, server),
        }
    }
    Err(last)
}

/// Why a server cannot be reached.
pub(super) fn unreachable(error: &io::Error, server: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Failure::again(format!("{server}: nothing listens there; start the receiver, or correct the port"))
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::again(format!(
            "{server}: no answer within {} s; look at the address, and at firewalls between",
            CONNECT.as_secs()
        )),
        _ => Failure::again(format!("{server}: cannot be connected to: {error}")),
    }
}

fn in_handshake(error: &io::Error, server: &str) -> Failure {
    match tls::find(error) {
        Some(error) => tls::explain(error, server),
        None if is_patience(error) => Failure::again(format!(
            "{server}: no answer to TLS within {} s; if this port is for plain TCP, write transport: Tcp or its TLS port",
            HANDSHAKE.as_secs()
        )),
        None => Failure::again(format!(
            "{server}: the server ended the handshake of TLS ({error}); it may not speak TLS on this port, or ask for a client \
             certificate: look at the port and at tls.certificate"
        )),
    }
}

fn refused_silently(server: &str) -> Failure {
    Failure::again(format!(
        "{server}: the server closed the connection right after the handshake of TLS; if it asks for a client certificate, name \
         one in tls.certificate and tls.privateKey that its authority signed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_addresses() {
        for (address, name) in [("siem:6514", "siem"), ("[::1]:514", "::1"), ("127.0.0.1:1", "127.0.0.1")] {
            assert_eq!(host(address), name);
        }
    }
}
