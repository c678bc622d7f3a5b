//! CPU for each packet, loss, and memory for each call, at a number of calls.
//!
//! Calls are set up over SIP and stay. Then recorder and bare receiver are fed in turns from the same generator; at
//! the end all calls hang up, and what the manifests count is held against what was sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bare::{Bare, Source};
use crate::invites::{METADATA, client, place};
use crate::machine::Cores;
use crate::options::Options;
use crate::procfs::{Cpu, Memory};
use crate::recordings::{self, Recorded};
use crate::report::median;
use crate::server::Server;
use crate::traffic::generator::{Generator, PAUSE, sockets};
use crate::traffic::{Client, Sent};
use crate::{Failure, procfs};

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

pub(crate) struct Turn {
    sent: Sent,
    took: Duration,
    cpu: Cpu,
}

pub(crate) fn measure(calls: usize, source: Source, options: &Options) -> Result<Packets, Failure> {
    let server = Server::start_over(Cores::One, source)?;
    let local = [127, 0, 0, 1].into();
    let (rtp, _rtcp) = sockets(local)?;
    let empty = procfs::memory(server.pid())?;
    let mut client = client(METADATA, options.rtcp)?;
    set_up(&mut client, rtp.local_addr()?.port(), calls)?;
    let idle = procfs::memory(server.pid())?;

    let media: Vec<SocketAddr> = client.calls.iter().flat_map(|c| c.media.clone()).collect();
    let watched: BTreeSet<u16> = media.iter().map(SocketAddr::port).collect();
    let mut bare = Bare::start(source, media.len(), options.rtcp)?;
    let mut to_recorder = Generator::new(rtp.try_clone()?);
    to_recorder.add(0, &media);
    let mut to_bare = Generator::new(rtp);
    to_bare.add(0, &bare.ports.iter().map(|p| SocketAddr::new(local, *p)).collect::<Vec<_>>());
    let (mut recorder_turns, mut bare_turns) = (Vec::new(), Vec::new());
    for _ in 0..options.repeats.max(1) {
        recorder_turns.push(turn(&mut to_recorder, server.pid(), options.turn)?);
        bare_turns.push(turn(&mut to_bare, bare.pid(), options.turn)?);
    }
    let busy = procfs::memory(server.pid())?;
    let kernel_drops = procfs::kernel_drops(&watched)?;
    let bare_lost = to_bare.sent.packets.saturating_sub(bare.received()?);
    tear_down(&mut client);
    let recorded = recordings::sum_when_sealed(&server.repository())?;
    server.stop()?;

    let us = |turns: &[Turn]| turns.iter().map(Turn::packet_us).collect::<Vec<f64>>();
    let (recorder, bare) = (us(&recorder_turns), us(&bare_turns));
    let pairs = || recorder.iter().zip(&bare);
    let per_call = |m: Memory, kib: fn(Memory) -> f64| (kib(m) - kib(empty)) / calls as f64;
    Ok(Packets {
        calls,
        source,
        wanted: media.len() as f64 * 50.0,
        reached: median(&recorder_turns.iter().map(Turn::rate).collect::<Vec<_>>()),
        recorder_us: median(&recorder),
        bare_us: median(&bare),
        ratio: median(&pairs().map(|(r, b)| r / b).collect::<Vec<_>>()),
        difference_us: median(&pairs().map(|(r, b)| r - b).collect::<Vec<_>>()),
        threads_us: threads(&recorder_turns),
        sent: to_recorder.sent.packets,
        recorded,
        kernel_drops,
        bare_lost,
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
    let up = client.calls.iter().filter(|c| c.media.len() == 2).count();
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
pub(crate) fn turn(generator: &mut Generator, pid: u32, length: Duration) -> Result<Turn, Failure> {
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
    pub(crate) fn packet_us(&self) -> f64 {
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
