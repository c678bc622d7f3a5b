//! Phones, recorders and a relay between them, over loopback.
#![allow(dead_code, unreachable_pub)]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use media::relay::{EndId, OpenEnd, Relay};
use relay::{Keep, NewCall, RelayConfig, Relays, Report, Said, Sockets, Ways};

/// What is waited for is there long before, on the busiest machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tries a test over each way to read and send. One that the machine does not allow is said.
pub fn each_way(test: impl Fn(Ways)) {
    test(Ways::Sockets);
    match rings::Sending::new() {
        Ok(_) => test(Ways::IoUring),
        Err(e) => println!("NOT TRIED: io_uring is not to be had here: {e}"),
    }
}

pub fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

/// Who speaks at one side.
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    /// The ports of the relay that it speaks to.
    pub to: [SocketAddr; 2],
}

impl Phone {
    pub fn says(&self, packet: &[u8]) {
        self.rtp.send_to(packet, self.to[0]).unwrap();
    }

    pub fn reports(&self, packet: &[u8]) {
        self.rtcp.send_to(packet, self.to[1]).unwrap();
    }
}

/// The next datagram.
pub fn hears(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let (length, _) = socket.recv_from(&mut buffer).expect("nothing comes");
    buffer[..length].to_vec()
}

/// Nothing has come, and what is sent from now on is the next.
pub fn hears_nothing(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2_048];
    assert!(socket.recv_from(&mut buffer).is_err(), "something came");
    socket.set_nonblocking(false).unwrap();
}

/// Two phones and a relay.
pub struct World {
    pub relays: Relays,
    pub phones: Vec<Phone>,
    pub ends: Vec<EndId>,
    pub opened: Vec<OpenEnd>,
}

impl World {
    /// A call of these ends, each of whose peers is a phone.
    pub fn new(ways: Ways, ends: Vec<OpenEnd>, keep: Option<Box<dyn Keep>>) -> Self {
        let mut relay = Relay::default();
        let (mut phones, mut ids, mut sockets, mut opened) = (vec![], vec![], vec![], vec![]);
        for mut end in ends {
            let (rtp, rtcp) = (bind(), bind());
            let (own_rtp, own_rtcp) = (bind(), bind());
            end.remote = Some(address(&rtp));
            end.remote_rtcp = Some(address(&rtcp));
            end.ours = [Some(address(&own_rtp)), Some(address(&own_rtcp))];
            let id = relay.open(&end).unwrap();
            phones.push(Phone { rtp, rtcp, to: [address(&own_rtp), address(&own_rtcp)] });
            sockets.push((id, Sockets { rtp: own_rtp, rtcp: Some(own_rtcp) }));
            ids.push(id);
            opened.push(end);
        }
        let relays = Relays::start(&RelayConfig { ways, ..RelayConfig::default() }).unwrap();
        assert_eq!(relays.instead(), None);
        relays.add(7, NewCall { relay, sockets, keep }).unwrap();
        Self { relays, phones, ends: ids, opened }
    }

    /// The next report that is wanted.
    pub fn told<T>(&self, mut wanted: impl FnMut(Said) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let Report { call, said } = self.relays.reports().recv_deadline(until).expect("nothing is told");
            assert_eq!(call, 7);
            if let Some(found) = wanted(said) {
                return found;
            }
        }
    }
}

pub fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

pub fn rtcp(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

pub fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}
