//! CPU for each packet, loss, and memory for each call, at a number of calls.
//!
//! Calls are set up over SIP and stay. Then recorder and bare receiver are fed in turns from the same thread, and between
//! them a second recorder whose media are protected, where one is wanted; at the end all calls hang up, and what the
//! manifests count is held against what was sent.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::bare::{Bare, Source};
use crate::invites::{METADATA, client_of, place};
use crate::machine::Cores;
use crate::options::Options;
use crate::procfs::{Cpu, Memory};
use crate::recordings::{self, Recorded};
use crate::report::median;
use crate::server::{Place, Server};
use crate::traffic::generator::{Generator, PAUSE, sockets};
use crate::traffic::{Client, Offer, Protection, Sent};
use crate::{Failure, procfs};

/// Of each call.
const STREAMS: usize = 2;
/// New calls per second while setting up: no hurry.
const SET_UP_RATE: u32 = 250;
/// Not counted at the beginning of a turn: caches, first parts, the silence of the pause before.
const WARM_UP: Duration = Duration::from_secs(1);
/// For what is still on its way.
const SETTLE: Duration = Duration::from_millis(300);

/// What came out at a number of calls. Costs in microseconds.
#[derive(Debug)]
pub(crate) struct Packets {
    pub(crate) calls: usize,
    pub(crate) source: Source,
    /// Of a recorder whose media were protected, beside the one whose were not.
    pub(crate) protected: Option<Protected>,
    /// Packets a second that were asked for and that were sent.
    pub(crate) wanted: f64,
    pub(crate) reached: f64,
    /// CPU of the whole process for each packet, median of the turns.
    pub(crate) recorder_us: f64,
    pub(crate) bare_us: f64,
    /// Medians over pairs of turns that follow each other.
    pub(crate) ratio: f64,
    pub(crate) difference_us: f64,
    /// By thread of the recorder.
    pub(crate) threads_us: Vec<(String, f64)>,
    pub(crate) sent: u64,
    pub(crate) recorded: Recorded,
    pub(crate) kernel_drops: u64,
    pub(crate) bare_lost: u64,
    /// KiB for each call, PSS: without media, with media; and RSS with media.
    pub(crate) idle_kib: f64,
    pub(crate) busy_kib: f64,
    pub(crate) busy_rss_kib: f64,
}

/// What protected media cost, turn for turn beside those in the clear.
#[derive(Debug)]
pub(crate) struct Protected {
    pub(crate) suite: &'static str,
    pub(crate) ratio: f64,
    pub(crate) difference_us: f64,
}

struct Turn {
    sent: Sent,
    took: Duration,
    cpu: Cpu,
}

/// A recorder with its calls, and what sends their media.
struct Recorder {
    server: Server,
    client: Client,
    generator: Generator,
    media: Vec<SocketAddr>,
    protection: Option<Protection>,
    memory: Grown,
    turns: Vec<Turn>,
}

/// Memory without calls, and with calls that have no media yet. PSS divides what processes share among them, so all is
/// measured while as many callspools run.
struct Grown {
    empty: Memory,
    idle: Memory,
}

impl Recorder {
    /// Sets up the calls of one that runs.
    fn begin(
        server: Server,
        protection: Option<Protection>,
        rtp: &UdpSocket,
        calls: usize,
        options: &Options,
    ) -> Result<Self, Failure> {
        let empty = procfs::memory(server.pid())?;
        let offer = Offer { protection: protection.clone(), ..options.rtcp.offer() };
        let mut client = client_of(server.sip()?, METADATA, offer)?;
        set_up(&mut client, rtp.local_addr()?.port(), calls)?;
        let memory = Grown { empty, idle: procfs::memory(server.pid())? };
        let media: Vec<SocketAddr> = client.calls.iter().flat_map(|c| c.media.clone()).collect();
        let mut generator = Generator::new(rtp.try_clone()?).protected_by(protection.clone());
        generator.add(0, &media);
        Ok(Self { server, client, generator, media, protection, memory, turns: Vec::new() })
    }

    fn costs(&self) -> Vec<f64> {
        self.turns.iter().map(Turn::packet_us).collect()
    }
}

/// A row for each recorder: the first is that of media in the clear.
pub(crate) fn measure(calls: usize, source: Source, options: &Options) -> Result<Vec<Packets>, Failure> {
    let local = [127, 0, 0, 1].into();
    let (rtp, _rtcp) = sockets(local)?;
    // All run before the first has calls: see `Grown`.
    let start = |place| Server::start_over(place, Cores::One, source);
    let mut servers = vec![(start(Place::FIRST)?, None)];
    if options.srtp.is_some() {
        servers.push((start(Place::SECOND)?, options.srtp.clone()));
    }
    let begin = |(server, protection)| Recorder::begin(server, protection, &rtp, calls, options);
    let mut recorders = servers.into_iter().map(begin).collect::<Result<Vec<_>, _>>()?;
    let mut bare = Bare::start(source, calls * STREAMS, options.rtcp)?;
    let mut to_bare = Generator::new(rtp);
    to_bare.add(0, &bare.ports.iter().map(|p| SocketAddr::new(local, *p)).collect::<Vec<_>>());
    let mut bare_turns = Vec::new();
    for _ in 0..options.repeats.max(1) {
        for recorder in &mut recorders {
            let turn = turn(&mut recorder.generator, recorder.server.pid(), options.turn)?;
            recorder.turns.push(turn);
        }
        bare_turns.push(turn(&mut to_bare, bare.pid(), options.turn)?);
    }
    let bare = BareTurns {
        source,
        us: bare_turns.iter().map(Turn::packet_us).collect(),
        lost: to_bare.sent.packets.saturating_sub(bare.received()?),
    };
    let clear_us = recorders.first().map(Recorder::costs).unwrap_or_default();
    let busy = recorders.iter().map(|r| procfs::memory(r.server.pid())).collect::<Result<Vec<_>, _>>()?;
    let ends = recorders.into_iter().zip(busy);
    ends.map(|(recorder, busy)| sum_up(recorder, busy, &clear_us, &bare)).collect()
}

/// What the bare receiver over the same source cost in each turn, and lost in all.
struct BareTurns {
    source: Source,
    us: Vec<f64>,
    lost: u64,
}

/// Ends it, and puts together what it showed.
fn sum_up(mut of: Recorder, busy: Memory, clear_us: &[f64], bare: &BareTurns) -> Result<Packets, Failure> {
    let calls = of.client.calls.len();
    let watched: BTreeSet<u16> = of.media.iter().map(SocketAddr::port).collect();
    let kernel_drops = procfs::kernel_drops(&watched)?;
    tear_down(&mut of.client);
    let recorded = recordings::sum_when_sealed(&of.server.repository())?;
    let us = of.costs();
    of.server.stop()?;
    let ratios = |to: &[f64]| median(&us.iter().zip(to).map(|(r, b)| r / b).collect::<Vec<_>>());
    let differences = |to: &[f64]| median(&us.iter().zip(to).map(|(r, b)| r - b).collect::<Vec<_>>());
    let Grown { empty, idle } = of.memory;
    let per_call = |m: Memory, kib: fn(Memory) -> f64| (kib(m) - kib(empty)) / calls as f64;
    Ok(Packets {
        calls,
        source: bare.source,
        protected: of.protection.map(|by| Protected {
            suite: by.name(),
            ratio: ratios(clear_us),
            difference_us: differences(clear_us),
        }),
        wanted: of.media.len() as f64 * 50.0,
        reached: median(&of.turns.iter().map(Turn::rate).collect::<Vec<_>>()),
        recorder_us: median(&us),
        bare_us: median(&bare.us),
        ratio: ratios(&bare.us),
        difference_us: differences(&bare.us),
        threads_us: threads(&of.turns),
        sent: of.generator.sent.packets,
        recorded,
        kernel_drops,
        bare_lost: bare.lost,
        idle_kib: per_call(idle, |m| m.pss),
        busy_kib: per_call(busy, |m| m.pss),
        busy_rss_kib: per_call(busy, |m| m.rss),
    })
}

fn set_up(client: &mut Client, media_port: u16, calls: usize) -> Result<(), Failure> {
    place(client, media_port, SET_UP_RATE, calls, Duration::MAX);
    while client.is_calling() {
        client.work();
        std::thread::sleep(Duration::from_millis(1));
    }
    let up = client.calls.iter().filter(|c| c.media.len() == STREAMS).count();
    if up == calls { Ok(()) } else { Err(format!("only {up} of {calls} calls were answered").into()) }
}

fn tear_down(client: &mut Client) {
    let mut oldest = 0;
    while oldest < client.calls.len() {
        client.hang_up_after(Duration::ZERO, oldest, 5);
        for _ in 0..10 {
            client.work();
            std::thread::sleep(Duration::from_millis(1));
        }
        oldest = client.oldest(oldest);
    }
}

/// What a process needs for what it is sent in that time.
fn turn(generator: &mut Generator, pid: u32, length: Duration) -> Result<Turn, Failure> {
    feed(generator, WARM_UP)?;
    let (before, sent_before, began) = (procfs::cpu(pid)?, generator.sent.clone(), Instant::now());
    feed(generator, length)?;
    let (cpu, took) = (procfs::cpu(pid)?.since(&before), began.elapsed());
    std::thread::sleep(SETTLE);
    Ok(Turn { sent: generator.sent.since(&sent_before), took, cpu })
}

/// Sends for that long, from this thread.
fn feed(generator: &mut Generator, length: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    generator.resume();
    while began.elapsed() < length {
        if !generator.step()? {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

impl Turn {
    fn packet_us(&self) -> f64 {
        self.cpu.exact_us() / self.sent.packets.max(1) as f64
    }

    fn rate(&self) -> f64 {
        self.sent.packets as f64 / self.took.as_secs_f64()
    }
}

/// The share of each thread, the greatest first.
fn threads(turns: &[Turn]) -> Vec<(String, f64)> {
    let names: BTreeSet<&String> = turns.iter().flat_map(|t| t.cpu.threads_us.keys()).collect();
    let of = |name: &String, turn: &Turn| {
        turn.cpu.threads_us.get(name).copied().unwrap_or(0.0) / turn.sent.packets.max(1) as f64
    };
    let share = |name: &String| median(&turns.iter().map(|t| of(name, t)).collect::<Vec<_>>());
    let mut shares: Vec<(String, f64)> = names.into_iter().map(|n| (n.clone(), share(n))).collect();
    shares.retain(|(_, us)| *us >= 0.005);
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}
