//! What is measured, in each of its modes.

use std::net::UdpSocket;
use std::time::Duration;

use media::relay::{Beginning, Keeping, OpenEnd, Recorder, Relay, Remembers, Security};
use model::{Codec, Keys, Suite};
use relay::{Keep, NewCall, RelayConfig, Relays, Sockets};

use crate::bare::Bare;
use crate::keeping::{Disk, Segment};
use crate::traffic::Traffic;
use crate::{Failure, machine};

/// What is done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Bare,
    Relay,
    /// And two seconds are remembered, and a copy goes to a recorder elsewhere.
    Tee,
    /// And a recorder in the same process writes files.
    Record,
    /// The same, and one side is encrypted.
    OpenAndRecord,
}

impl Mode {
    pub(crate) const ALL: [Self; 5] = [Self::Bare, Self::Relay, Self::Tee, Self::Record, Self::OpenAndRecord];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare forwarder",
            Self::Relay => "relay",
            Self::Tee => "relay, remember, tee",
            Self::Record => "relay, record",
            Self::OpenAndRecord => "SRTP one side, record",
        }
    }
}

/// What runs on the other core.
pub(crate) enum Measured {
    Bare(#[expect(dead_code, reason = "it ends when it is dropped")] Bare),
    Relay(Relays, #[expect(dead_code, reason = "it ends when it is dropped")] Option<Disk>),
}

impl Measured {
    pub(crate) fn threads(&self) -> Vec<&'static str> {
        match self {
            Self::Bare(_) => vec!["bare"],
            Self::Relay(..) => vec!["relay", "writer"],
        }
    }

    /// The mean delay since the start, and the longest since it was asked last.
    pub(crate) fn delay(&mut self) -> Option<(Duration, Duration)> {
        match self {
            Self::Bare(_) => None,
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
    let measured = if mode == Mode::Bare { bare(calls, traffic) } else { relays(mode, calls, traffic) };
    machine::pin_to(machine::SENDER_CORE);
    // Segments begin and files are made before it is measured.
    std::thread::sleep(Duration::from_secs(1));
    measured
}

fn bare(calls: u64, traffic: &mut Traffic) -> Result<Measured, Failure> {
    let mut pairs = Vec::new();
    for _ in 0..calls {
        let mut own = |side: usize| -> Result<_, Failure> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            traffic.add(side, socket.local_addr()?);
            Ok((socket, traffic.address(side)?))
        };
        pairs.push([own(0)?, own(1)?]);
    }
    Ok(Measured::Bare(Bare::start(pairs)?))
}

fn relays(mode: Mode, calls: u64, traffic: &mut Traffic) -> Result<Measured, Failure> {
    let records = matches!(mode, Mode::Record | Mode::OpenAndRecord);
    let disk = if records { Some(Disk::start()?) } else { None };
    let relays = Relays::start(&RelayConfig::default())?;
    // Nobody listens there: what is measured is the sending.
    let elsewhere = UdpSocket::bind("127.0.0.1:0")?;
    for call in 0..calls {
        let mut relay = Relay::default();
        let mut sockets = Vec::new();
        for side in 0..2_u8 {
            let (socket, place) = (UdpSocket::bind("127.0.0.1:0")?, usize::from(side));
            traffic.add(place, socket.local_addr()?);
            let security = match (mode, side) {
                (Mode::OpenAndRecord, 0) => Security::Keys { inbound: keys(), outbound: keys() },
                _ => Security::Clear,
            };
            let end = relay.open(&OpenEnd {
                codecs: vec![(0, Codec::new("PCMU", 8_000, 1))],
                rtcp_mux: true,
                security,
                remembers: if mode == Mode::Tee { Remembers::TwoSeconds } else { Remembers::Nothing },
                keeping: if records { Keeping::Everything } else { Keeping::Nothing },
                ours: [Some(socket.local_addr()?), None],
                ..OpenEnd::audio(side, Some(traffic.address(place)?))
            })?;
            if mode == Mode::Tee {
                let recorder = Recorder { rtp: elsewhere.local_addr()?, rtcp: None, keys: None };
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
