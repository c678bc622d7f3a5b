//! A receiver that does nothing: the least that so many ports cost over a source of media.
//!
//! The recorder's own readers (the crates `datagrams` and `rings`) by the same tick, with nothing behind them, in a process
//! of its own, which is this program started with [`ARGUMENT`]. It holds the same ports for each stream and looks at no
//! octet of what it reads. On its standard input it is asked how many packets came; the end of the input ends it.

use std::fmt;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datagrams::Polled;
use nix::sys::socket::{setsockopt, sockopt};
use rings::{Multishot, PacketRing, Ports};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::invites::Rtcp;
use crate::machine::Cores;
use crate::{Failure, machine};

/// What makes this program the receiver.
pub(crate) const ARGUMENT: &str = "bare-receiver";
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The ports tried, the first even: between those of the two callspools, as many as each of them has.
const PORTS: RangeInclusive<u16> = 32_768..=49_151;

// As the recorder's defaults.
const TICK: Duration = Duration::from_millis(5);
const RECEIVE_BUFFER: usize = 208 << 10;
const RING: usize = 64 << 20;
/// As the recorder's.
const BUFFERS: u16 = 2_048;
/// A program of the packet filter that lets nothing through: `BPF_RET | BPF_K`, as for ports that are only held.
const NOTHING: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// A source of media, as the setting `media.source` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Sockets,
    IoUring,
    PacketRing,
}

impl Source {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::IoUring => "io_uring",
            Self::PacketRing => "packet_ring",
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Sockets, Self::IoUring, Self::PacketRing];
        let found = all.into_iter().find(|source| source.name() == text);
        found.ok_or_else(|| format!("{text} is no source: sockets, io_uring or packet_ring"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The receiver, seen from the measuring process.
pub(crate) struct Bare {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    pub(crate) ports: Vec<u16>,
}

impl Bare {
    pub(crate) fn start(source: Source, streams: usize, rtcp: Rtcp) -> Result<Self, Failure> {
        let start = || {
            Command::new(std::env::current_exe()?)
                .args([ARGUMENT, source.name(), &streams.to_string(), rtcp.name()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        };
        let mut child = machine::on(Cores::One, start)?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output of the bare receiver")?);
        let mut bare = Self { child, answers, ports: Vec::new() };
        let line = bare.line()?;
        bare.ports = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        match bare.ports.len() {
            had if had == streams => Ok(bare),
            had => Err(format!("the bare receiver has {had} ports over {source}, not {streams}").into()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Packets received since the start.
    pub(crate) fn received(&mut self) -> Result<u64, Failure> {
        self.child.stdin.as_mut().ok_or("no input of the bare receiver")?.write_all(b"?\n")?;
        Ok(self.line()?.trim().parse()?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The receiver itself.
pub(crate) fn serve(arguments: &[String]) -> Result<(), Failure> {
    let [source, streams, rtcp] = arguments else { return Err("no receiver is asked for like this".into()) };
    let (source, streams, rtcp): (Source, usize, Rtcp) = (source.parse()?, streams.parse()?, rtcp.parse()?);
    machine::raise_descriptor_limit();
    let held = hold(source, streams, rtcp)?;
    let ports: Vec<u16> =
        held.iter().flatten().map(|s| s.local_addr().map(|a| a.port())).collect::<Result<_, _>>()?;
    let mut reader =
        Reader::new(source, held.iter().flatten(), ports.iter().max().copied().unwrap_or(*PORTS.end()))?;
    let of_rtp: Vec<String> = ports.iter().filter(|p| p.is_multiple_of(2)).map(u16::to_string).collect();
    println!("{}", of_rtp.join(" "));
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", counted.load(Ordering::Relaxed));
        }
        std::process::exit(0);
    });
    loop {
        let began = Instant::now();
        received.fetch_add(reader.take()?, Ordering::Relaxed);
        std::thread::sleep(TICK.saturating_sub(began.elapsed()));
    }
}

/// The ports of so many streams: an even one each, and the next where RTCP has its own.
fn hold(source: Source, streams: usize, rtcp: Rtcp) -> Result<Vec<Vec<Arc<UdpSocket>>>, Failure> {
    let pair = |port: u16| {
        let last = if rtcp == Rtcp::Own { port + 1 } else { port };
        (port..=last).map(|port| bind(source, port).map(Arc::new)).collect::<Result<Vec<_>, _>>()
    };
    // What somebody else has is passed over.
    let held: Vec<_> = PORTS.step_by(2).filter_map(|port| pair(port).ok()).take(streams).collect();
    if held.len() == streams {
        Ok(held)
    } else {
        Err(format!("only {} of {streams} ports", held.len()).into())
    }
}

/// As the recorder binds them.
fn bind(source: Source, port: u16) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if source == Source::PacketRing {
        socket.attach_filter(&NOTHING)?;
    } else {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    }
    socket.bind(&SocketAddr::new(LOCAL, port).into())?;
    Ok(socket.into())
}

/// A source with nothing behind it.
enum Reader {
    Sockets(Box<Polled>),
    IoUring(Box<Multishot>),
    Packets(PacketRing),
}

impl Reader {
    fn new<'a>(
        source: Source,
        sockets: impl Iterator<Item = &'a Arc<UdpSocket>>,
        last: u16,
    ) -> Result<Self, Failure> {
        let mut keyed = (0..).zip(sockets);
        match source {
            Source::Sockets => {
                let mut polled = datagrams::Prepared::new()?.begin();
                keyed.try_for_each(|(key, socket)| polled.watch(key, socket, 1))?;
                Ok(Self::Sockets(Box::new(polled)))
            }
            Source::IoUring => {
                let mut ring = Multishot::new(BUFFERS)?.begin()?;
                keyed.try_for_each(|(key, socket)| ring.watch(key, socket))?;
                Ok(Self::IoUring(ring))
            }
            Source::PacketRing => {
                let ports = Ports { address: LOCAL, min: *PORTS.start(), max: last, parts: 1, part: 0 };
                Ok(Self::Packets(PacketRing::new(&ports, RING)?))
            }
        }
    }

    /// Takes what has come; how many datagrams that were. All of a datagram is made ready, though nobody wants it.
    fn take(&mut self) -> std::io::Result<u64> {
        Ok(match self {
            Self::Sockets(polled) => polled.take(&mut |key, datagram| _ = black_box((key, datagram))).count,
            Self::IoUring(ring) => ring.take(|key, received| _ = black_box((key, received)))?.count,
            Self::Packets(ring) => ring.take(|sent| _ = black_box(sent)).count,
        })
    }
}
