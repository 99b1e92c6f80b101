//! How much of what a TCP socket was given its peer has not confirmed yet, asked of the kernel.
//!
//! tcp(7): `SIOCOUTQ` returns the bytes in the send queue, those that were sent and not acknowledged included. Nothing left means that
//! the peer's kernel has all of it, which is the most that a protocol without answers can say.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

/// Bytes that the peer's kernel has not confirmed.
#[expect(unsafe_code, reason = "neither rustix nor the standard library wraps SIOCOUTQ")]
pub fn unsent(socket: &TcpStream) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int; `bytes` is one, and the descriptor is borrowed, so it is open.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    u64::try_from(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn counts_what_the_peer_has_no_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        assert_eq!(unsent(&socket).unwrap(), 0);
        let mut written = 0_u64;
        while let Ok(count) = socket.write(&[7; 1 << 14]) {
            written += count as u64;
        }
        assert!((1..=written).contains(&unsent(&socket).unwrap()));
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // The end of the connection takes a place in the queue as well.
        while unsent(&socket).unwrap() > 1 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(unsent(&socket).unwrap() <= 1);
        assert_eq!(all.len() as u64, written);
    }
}
