//! Looks at a broker's port to learn why a connection fails. The client library says only that TLS did not work.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use waybill_crds::{Kafka, Tls};

use crate::sink::{Failure, Secrets, tls as connection};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// What an answer must carry that belongs to our request.
const CORRELATION: [u8; 4] = *b"wayb";

/// What a port turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// It answers Kafka's requests as they are.
    Kafka,
    /// It begins a TLS handshake.
    Tls,
    /// Neither.
    Silent,
}

/// Looks at each broker that a policy names for what the client library does not tell: a listener that closes the connection because
/// it speaks TLS, or because it wants a login, or that is not there. What a person has to mend comes before what may pass. `None`:
/// nothing of that kind was found.
pub(super) fn brokers(settings: &Kafka, secrets: &Secrets) -> Option<Failure> {
    let mut found: Vec<Failure> =
        settings.brokers.iter().filter_map(|address| broker(address, settings, secrets)).collect();
    found.sort_by_key(|failure| !failure.is_held());
    found.into_iter().next()
}

fn broker(address: &str, settings: &Kafka, secrets: &Secrets) -> Option<Failure> {
    match reach(address) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Some(nobody(address)),
        // The library tells of names that are not known, and of connections that take too long.
        Err(_) => return None,
    }
    match &settings.tls {
        None if port(address) == Port::Tls => return Some(speaks_tls(address)),
        None => {}
        Some(wanted) => {
            if let Some(failure) = tls(address, Some(wanted), secrets) {
                return Some(failure);
            }
        }
    }
    if settings.sasl.is_some() {
        return None;
    }
    let mechanisms = logins(address, settings.tls.as_ref(), secrets)?;
    let what = format!("{address}: it wants a login by one of {}", mechanisms.join(", "));
    Some(Failure::held(what, "write sasl into sink.kafka"))
}

/// What is said of a port that nobody listens on.
pub(super) fn nobody(address: &str) -> Failure {
    Failure::again(format!(
        "{address}: nothing listens there; correct the port in sink.kafka.brokers, or start the broker"
    ))
}

/// What is said of a port that speaks TLS where the policy has none.
pub(super) fn speaks_tls(address: &str) -> Failure {
    Failure::held(
        format!("{address}: it speaks TLS on this port"),
        "write tls: {} into sink.kafka, with the authority in tls.ca if it is your own, or name a plain port",
    )
}

/// The mechanisms by which a listener wants a login. `None`: it wants none, or does not answer.
fn logins(address: &str, tls: Option<&Tls>, secrets: &Secrets) -> Option<Vec<String>> {
    let stream = connect(address)?;
    let Some(tls) = tls else { return offered(stream).ok()? };
    let config = connection::client_config(Some(tls), secrets).ok()?;
    let session = ClientConnection::new(Arc::new(config), server_name(address)?).ok()?;
    offered(StreamOwned::new(session, stream)).ok()?
}

/// Begins a login (`SaslHandshake`, version 1), which a listener without logins refuses, and which costs nothing if it is not gone on with.
fn offered(mut stream: impl Read + Write) -> io::Result<Option<Vec<String>>> {
    const REFUSED: [u8; 2] = 34_i16.to_be_bytes();
    const MOST: u32 = 4096;
    let mut request = vec![0, 0, 0, 24, 0, 17, 0, 1];
    request.extend_from_slice(&CORRELATION);
    request.extend_from_slice(b"\0\x07waybill\0\x05PLAIN");
    stream.write_all(&request)?;
    stream.flush()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = u32::from_be_bytes(size);
    if !(10..=MOST).contains(&size) {
        return Ok(None);
    }
    let mut answer = vec![0; size as usize];
    stream.read_exact(&mut answer)?;
    let [a, b, c, d, high, low, list @ ..] = answer.as_slice() else { return Ok(None) };
    if [*a, *b, *c, *d] != CORRELATION || [*high, *low] == REFUSED {
        return Ok(None);
    }
    Ok(names(list).filter(|names| !names.is_empty()))
}

/// An array of strings as Kafka writes it.
fn names(mut bytes: &[u8]) -> Option<Vec<String>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    bytes = rest;
    let mut found = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        found.push(String::from_utf8_lossy(name).into_owned());
        bytes = rest;
    }
    Some(found)
}

fn server_name(address: &str) -> Option<ServerName<'static>> {
    let host = address.rsplit_once(':')?.0.trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned()).ok()
}

/// Makes the handshake once more. `None`: it works, or something else is in the way.
pub(super) fn tls(address: &str, tls: Option<&Tls>, secrets: &Secrets) -> Option<Failure> {
    let config = match connection::client_config(tls, secrets) {
        Ok(config) => config,
        Err(failure) => return Some(failure),
    };
    match handshake(address, config)? {
        Ok(()) => None,
        Err(error) => Some(connection::explain(&error, address)),
    }
}

/// Finds out what a port speaks.
pub(super) fn port(address: &str) -> Port {
    if answers_kafka(address).unwrap_or(false) {
        return Port::Kafka;
    }
    // Trusting no one: how far the handshake gets is all that is asked.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|b| b.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
    match config.ok().and_then(|config| handshake(address, config)) {
        Some(Err(rustls::Error::InvalidMessage(_))) | None => Port::Silent,
        Some(_) => Port::Tls,
    }
}

/// `None` if the connection failed before the peer said anything of TLS.
fn handshake(address: &str, config: ClientConfig) -> Option<Result<(), rustls::Error>> {
    let name = server_name(address)?;
    let mut stream = connect(address)?;
    let mut session = match ClientConnection::new(Arc::new(config), name) {
        Ok(session) => session,
        Err(error) => return Some(Err(error)),
    };
    while session.is_handshaking() {
        if let Err(error) = session.complete_io(&mut stream) {
            return connection::find(&error).map(|e| Err(e.clone()));
        }
    }
    Some(Ok(()))
}

/// Asks for the versions of requests, which every broker answers before any login.
fn answers_kafka(address: &str) -> std::io::Result<bool> {
    let Some(mut stream) = connect(address) else { return Ok(false) };
    let mut request = vec![0, 0, 0, 17, 0, 18, 0, 0];
    request.extend_from_slice(&CORRELATION);
    request.extend_from_slice(&[0, 7]);
    request.extend_from_slice(b"waybill");
    stream.write_all(&request)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(answer.ends_with(&CORRELATION))
}

fn connect(address: &str) -> Option<TcpStream> {
    reach(address).ok()
}

/// Connects to the first address of a name that takes a connection; the error is the last one's.
fn reach(address: &str) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for found in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&found, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers once with these bytes, whatever is asked.
    struct Peer(io::Cursor<Vec<u8>>);

    impl Read for Peer {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.0.read(to)
        }
    }

    impl Write for Peer {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            Ok(from.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(error: i16, list: &[u8]) -> Option<Vec<String>> {
        let mut body = [CORRELATION.as_slice(), &error.to_be_bytes(), list].concat();
        body.splice(0..0, (body.len() as u32).to_be_bytes());
        offered(Peer(io::Cursor::new(body))).ok().flatten()
    }

    #[test]
    fn a_listener_says_by_what_it_wants_a_login() {
        let list = b"\0\0\0\x02\0\x05PLAIN\0\x0dSCRAM-SHA-256";
        assert_eq!(ask(0, list), Some(vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()]));
        assert_eq!(ask(33, &list[..11]), None);
        assert_eq!(ask(34, b"\0\0\0\0"), None);
        assert_eq!(ask(0, b"\xff\xff\xff\xff"), None);
        assert_eq!(offered(Peer(io::Cursor::new(b"HTTP/1.1 400 Bad Request".to_vec()))).ok().flatten(), None);
    }
}
