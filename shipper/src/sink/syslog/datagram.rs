//! Over UDP: one datagram a record, and no word of what became of it. A record that is too long for one is cut, and counted.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use waybill_crds::SyslogSink;

use super::connection::{addresses, unreachable};
use super::message::{self, Writer};
use crate::sink::{Answer, Backoff, Context, Failure, PATIENCE, Parcel, Queue};

/// Bytes of records taken at a time.
const TAKE: usize = 1 << 20;
/// What a datagram holds over IPv4 and over IPv6: 65,535 without the headers.
const MOST_V4: usize = 65_507;
const MOST_V6: usize = 65_527;
/// What every receiver takes (RFC 5426, section 3.2).
const LEAST: usize = 480;
/// How long a refusal may take to come back.
const REFUSAL: Duration = Duration::from_millis(300);

struct Sender {
    socket: UdpSocket,
    most: usize,
}

/// Runs until the engine lets go of the sink.
pub fn run(mut queue: Queue, plan: &SyslogSink, context: &Context) {
    let writer = Writer::new(plan, &context.host);
    let mut backoff = Backoff::default();
    let mut sender = None;
    while let Some(batch) = queue.take(TAKE, PATIENCE) {
        for delivery in batch {
            let mut parcel = [Parcel::new(delivery)];
            loop {
                match send(&mut sender, &mut queue, plan, context, &writer, &mut parcel) {
                    Ok(()) => break,
                    Err(failure) => {
                        sender = None;
                        if !queue.wait(backoff.next(), &failure) {
                            return;
                        }
                    }
                }
            }
            backoff.reset();
        }
    }
}

/// Sends what is open of a parcel, and answers it: sent, or recalled because it may not go out any more.
fn send(
    sender: &mut Option<Sender>,
    queue: &mut Queue,
    plan: &SyslogSink,
    context: &Context,
    writer: &Writer,
    parcel: &mut [Parcel; 1],
) -> Result<(), Failure> {
    let [open] = &*parcel;
    let delivery = open.delivery.clone();
    if open.is_done() {
        queue.acknowledge(&[delivery]);
        return Ok(());
    }
    let (mut sent, mut text, mut cut) = (Vec::new(), Vec::new(), 0);
    let mut trouble = None;
    for index in open.open() {
        if !delivery.may_pass() {
            break;
        }
        text.clear();
        writer.write(&mut text, delivery.chunk.encoded(index), delivery.chunk.payload(index, context.encoding));
        match send_one(sender, plan, &mut text) {
            Ok(was_cut) => {
                cut += u64::from(was_cut);
                sent.push((0, index as u32, Answer::Acknowledged));
            }
            Err(failure) => {
                trouble = Some(failure);
                break;
            }
        }
    }
    queue.count_cut(cut);
    let any = !sent.is_empty();
    queue.settle(parcel, sent)?;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    if any {
        queue.healthy();
    }
    if !parcel[0].is_done() {
        queue.recall(&delivery);
    }
    Ok(())
}

/// Sends a message; says whether it was cut.
fn send_one(sender: &mut Option<Sender>, plan: &SyslogSink, text: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut open = match sender.take() {
        Some(open) => open,
        None => connect(plan)?,
    };
    let mut was_cut = false;
    loop {
        was_cut |= message::cut(text, open.most);
        match open.socket.send(text) {
            Ok(_) => {
                *sender = Some(open);
                return Ok(was_cut);
            }
            Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) && open.most > LEAST => {
                open.most = (open.most / 2).max(LEAST);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreachable(&e, &plan.address)),
        }
    }
}

fn connect(plan: &SyslogSink) -> Result<Sender, Failure> {
    let mut last = Failure::again(format!("{}: the name has no address", plan.address));
    for address in addresses(&plan.address)? {
        let (any, most) = match address {
            SocketAddr::V4(_) => ("0.0.0.0:0", MOST_V4),
            SocketAddr::V6(_) => ("[::]:0", MOST_V6),
        };
        let made = UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket));
        match made {
            Ok(socket) => return Ok(Sender { socket, most }),
            Err(e) => last = unreachable(&e, &plan.address),
        }
    }
    Err(last)
}

/// Sends an empty datagram, which is no message, and waits for a refusal.
pub fn probe(plan: &SyslogSink) -> Result<String, Failure> {
    let open = connect(plan)?;
    let asked = open.socket.set_read_timeout(Some(REFUSAL)).and_then(|()| open.socket.send(&[]));
    let answer = asked.and_then(|_| open.socket.recv(&mut [0; 16]));
    match answer {
        Err(e) if !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(unreachable(&e, &plan.address))
        }
        _ => {
            Ok(format!("{} refuses no datagram; look there whether records arrive, for UDP tells nobody", plan.address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_to_what_a_datagram_holds() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = serde_json::json!({"address": receiver.local_addr().unwrap().to_string(), "transport": "Udp"});
        let plan: SyslogSink = serde_json::from_value(plan).unwrap();
        let mut sender = None;
        let mut long = "\u{20ac}".repeat(30_000).into_bytes();
        assert!(send_one(&mut sender, &plan, &mut long).unwrap());
        let mut got = vec![0; 70_000];
        let count = receiver.recv(&mut got).unwrap();
        assert_eq!(count, MOST_V4 / 3 * 3);
        assert!(std::str::from_utf8(&got[..count]).is_ok());
        assert!(!send_one(&mut sender, &plan, &mut b"short".to_vec()).unwrap());
    }
}
