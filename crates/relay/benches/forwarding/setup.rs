//! What is measured, in each of its modes.

use std::net::UdpSocket;
use std::time::Duration;

use media::relay::{Beginning, Keeping, OpenEnd, Recorder, Relay, Remembers, Security};
use model::{Codec, Keys, Suite};
use relay::{Keep, NewCall, RelayConfig, Relays, Sockets, Ways};

use crate::bare::Bare;
use crate::keeping::{Disk, Segment};
use crate::peer::{Peer, Task};
use crate::traffic::Traffic;
use crate::{Failure, machine};

/// What is done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Bare(Ways),
    Relay(Ways),
    /// And two seconds are remembered, and a copy goes to a recorder elsewhere.
    Tee(Ways),
    /// And a recorder in the same process writes files.
    Record(Ways),
    /// The same, and one side is encrypted.
    OpenAndRecord(Ways),
    /// The distribution's rtpengine.
    Peer(Task),
}

impl Mode {
    /// Sockets first: what the others are held against.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of = |ways| {
            [
                Self::Bare(ways),
                Self::Relay(ways),
                Self::Tee(ways),
                Self::Record(ways),
                Self::OpenAndRecord(ways),
            ]
        };
        let peers = [Self::Peer(Task::Forward), Self::Peer(Task::Record)];
        [Ways::Sockets, Ways::IoUring].into_iter().flat_map(of).chain(peers)
    }

    /// What is held against rtpengine by sockets, as that one works too.
    pub(crate) const fn is_beside_peer(self) -> bool {
        matches!(
            self,
            Self::Peer(_)
                | Self::Bare(Ways::Sockets)
                | Self::Relay(Ways::Sockets)
                | Self::Record(Ways::Sockets)
        )
    }

    pub(crate) const fn is_by_sockets(self) -> bool {
        !matches!(
            self,
            Self::Peer(_)
                | Self::Bare(Ways::IoUring)
                | Self::Relay(Ways::IoUring)
                | Self::Tee(Ways::IoUring)
                | Self::Record(Ways::IoUring)
                | Self::OpenAndRecord(Ways::IoUring)
        )
    }

    pub(crate) fn name(self) -> String {
        let (what, ways) = match self {
            Self::Peer(Task::Forward) => ("rtpengine", Ways::Sockets),
            Self::Peer(Task::Record) => ("rtpengine, record (pcap)", Ways::Sockets),
            Self::Bare(ways) => ("bare forwarder", ways),
            Self::Relay(ways) => ("relay", ways),
            Self::Tee(ways) => ("relay, remember, tee", ways),
            Self::Record(ways) => ("relay, record", ways),
            Self::OpenAndRecord(ways) => ("SRTP one side, record", ways),
        };
        let ways = if ways == Ways::IoUring { ", io_uring" } else { "" };
        format!("{what}{ways}")
    }
}

/// What runs on the other core.
pub(crate) enum Measured {
    Bare(#[expect(dead_code, reason = "it ends when it is dropped")] Bare),
    Relay(Relays, #[expect(dead_code, reason = "it ends when it is dropped")] Option<Disk>),
    Peer(Peer),
}

impl Measured {
    /// The time that all that belongs to it was on a core.
    pub(crate) fn cpu(&self) -> Duration {
        match self {
            Self::Bare(_) => machine::cpu_of(&["bare"]),
            Self::Relay(..) => machine::cpu_of(&["relay", "writer", "sync"]),
            Self::Peer(peer) => machine::cpu_of_process(peer.pid()),
        }
    }

    /// The mean delay since the start, and the longest since it was asked last.
    pub(crate) fn delay(&mut self) -> Option<(Duration, Duration)> {
        match self {
            Self::Bare(_) | Self::Peer(_) => None,
            Self::Relay(relays, _) => Some(relays.figures().delay()),
        }
    }
}

/// The key of the side that is encrypted.
pub(crate) fn keys() -> Keys {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let masters =
        vec![model::MasterKey { secret: model::Secret::new(vec![7; suite.secret_len()]), mki: Vec::new() }];
    Keys { suite, masters, plain_rtp: false, plain_rtcp: false, rollovers: None }
}

pub(crate) fn start(mode: Mode, calls: u64, traffic: &mut Traffic) -> Result<Measured, Failure> {
    machine::pin_to(machine::MEASURED_CORE);
    let measured = match mode {
        Mode::Bare(ways) => bare(ways, calls, traffic),
        Mode::Peer(task) => peer(task, calls, traffic),
        Mode::Relay(ways) | Mode::Tee(ways) | Mode::Record(ways) | Mode::OpenAndRecord(ways) => {
            relays(mode, ways, calls, traffic)
        }
    };
    machine::pin_to(machine::SENDER_CORE);
    // Segments begin and files are made before it is measured.
    std::thread::sleep(Duration::from_secs(1));
    measured
}

fn bare(ways: Ways, calls: u64, traffic: &mut Traffic) -> Result<Measured, Failure> {
    let mut pairs = Vec::new();
    for _ in 0..calls {
        let mut own = |side: usize| -> Result<_, Failure> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            traffic.add(side, socket.local_addr()?);
            Ok((socket, traffic.address(side)?))
        };
        pairs.push([own(0)?, own(1)?]);
    }
    Ok(Measured::Bare(Bare::start(ways, pairs)?))
}

fn peer(task: Task, calls: u64, traffic: &mut Traffic) -> Result<Measured, Failure> {
    let peer = Peer::start(task)?;
    let sides = [traffic.address(0)?, traffic.address(1)?];
    for call in 0..calls {
        for (side, to) in peer.call(call, sides)?.into_iter().enumerate() {
            traffic.add(side, to);
        }
    }
    Ok(Measured::Peer(peer))
}

fn relays(mode: Mode, ways: Ways, calls: u64, traffic: &mut Traffic) -> Result<Measured, Failure> {
    let records = matches!(mode, Mode::Record(_) | Mode::OpenAndRecord(_));
    let disk = if records { Some(Disk::start()?) } else { None };
    let relays = Relays::start(&RelayConfig { ways, ..RelayConfig::default() })?;
    if let Some(why) = relays.instead() {
        return Err(why.into());
    }
    let tees = matches!(mode, Mode::Tee(_));
    // Nobody listens there: what is measured is the sending.
    let elsewhere = UdpSocket::bind("127.0.0.1:0")?;
    for call in 0..calls {
        let mut relay = Relay::default();
        let mut sockets = Vec::new();
        for side in 0..2_u8 {
            let (socket, place) = (UdpSocket::bind("127.0.0.1:0")?, usize::from(side));
            traffic.add(place, socket.local_addr()?);
            let security = match (mode, side) {
                (Mode::OpenAndRecord(_), 0) => Security::Keys { inbound: keys(), outbound: keys() },
                _ => Security::Clear,
            };
            let end = relay.open(&OpenEnd {
                codecs: vec![(0, Codec::new("PCMU", 8_000, 1))],
                rtcp_mux: true,
                security,
                remembers: if tees { Remembers::TwoSeconds } else { Remembers::Nothing },
                keeping: if records { Keeping::Everything } else { Keeping::Nothing },
                ours: [Some(socket.local_addr()?), None],
                ..OpenEnd::audio(side, Some(traffic.address(place)?))
            })?;
            if tees {
                let recorder = Recorder { rtp: elsewhere.local_addr()?, rtcp: None, keys: None, mark: None };
                relay.tee(model::WallTime(0), end, 0, Some((&recorder, Beginning::Now)))?;
            }
            sockets.push((end, Sockets { rtp: socket, rtcp: None }));
        }
        let segment = disk.as_ref().map(|disk| Segment::begin(call, disk)).transpose()?;
        let keep = segment.map(|segment| Box::new(segment) as Box<dyn Keep>);
        relays.add(call, NewCall { relay, sockets, keep })?;
    }
    Ok(Measured::Relay(relays, disk))
}
