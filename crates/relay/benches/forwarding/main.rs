//! What a relayed packet costs, beside a forwarder that does nothing else.
//!
//! ```text
//!  core 1   generator ──► N calls × 2 legs, 50 packets a second each ──► core 0   what is measured
//!                     ◄────────────────────────── forwarded ◄──────────
//! ```
//!
//! In turns on core 0, by sockets and then by io_uring: a *bare* forwarder (`epoll`, `recvmmsg` with kernel times, `sendto`
//! by the other port, in the same rounds), against which all are held, and a relay that forwards only, that tees too, that records too, and that opens what it records. CPU is that of
//! all its threads by `/proc/self/task/*/schedstat`, for each packet that was sent to it; the first second of a turn does
//! not count. What is recorded is written to files, by a thread of its own on the same core.
//!
//! Where it is installed, the distribution's rtpengine too, which forwards, and forwards and records.
//!
//! `cargo bench --package callspool-relay -- --calls 500 --turns 3 --seconds 4 [--only rtpengine|sockets]`

mod bare;
mod keeping;
mod machine;
mod peer;
mod setup;
mod traffic;

use std::io::Write;
use std::time::Duration;

use peer::Task;
use relay::Ways;
use setup::Mode;

/// Octets that a recording of rtpengine's has of each packet at least: its payload, less what it has not written yet.
const LEAST_RECORDED: u64 = 100;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// What a turn showed.
struct Turn {
    mode: Mode,
    cpu_ns: f64,
    sent: u64,
    late: u64,
    lost: u64,
    delay: Option<(Duration, Duration)>,
}

fn main() -> Result<(), Failure> {
    let (calls, turns, seconds) = (option("--calls", 500), option("--turns", 3), option("--seconds", 4));
    machine::raise_descriptor_limit();
    println!("{calls} calls, {} packets a second, load {}", calls * 100, machine::load());
    let modes = modes()?;
    let mut all = Vec::new();
    for _ in 0..turns {
        let mut bare = None;
        for mode in modes.iter().copied() {
            let turn = run(mode, calls, Duration::from_secs(seconds))?;
            if mode == Mode::Bare(Ways::Sockets) {
                bare = Some(turn.cpu_ns);
            }
            let ratio = bare.map_or(0.0, |bare| turn.cpu_ns / bare);
            print!("{:<32}{:>8.2} µs{ratio:>8.2} ×", mode.name(), turn.cpu_ns / 1e3);
            print!("   sent {} (late {}), lost {}", turn.sent, turn.late, turn.lost);
            if let Some((mean, most)) = turn.delay {
                print!("   delay {mean:.0?}, {most:.0?} at most");
            }
            println!();
            std::io::stdout().flush()?;
            all.push((turn, ratio));
        }
    }
    let _ = std::fs::remove_dir_all(keeping::directory());
    println!("medians");
    for mode in modes {
        let of = |value: fn(&(Turn, f64)) -> f64| {
            let mut values: Vec<f64> = all.iter().filter(|(t, _)| t.mode == mode).map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        let (cpu, ratio) = (of(|(turn, _)| turn.cpu_ns), of(|(_, ratio)| *ratio));
        println!("{:<32}{:>8.2} µs{ratio:>8.2} ×", mode.name(), cpu / 1e3);
    }
    Ok(())
}

fn run(mode: Mode, calls: u64, length: Duration) -> Result<Turn, Failure> {
    machine::pin_to(machine::SENDER_CORE);
    let mut traffic = traffic::Traffic::new(mode)?;
    let mut measured = setup::start(mode, calls, &mut traffic)?;
    traffic.run(Duration::from_secs(1))?;
    let (before, sent) = (measured.cpu(), traffic.sent);
    measured.delay();
    traffic.run(length)?;
    let cpu = measured.cpu().saturating_sub(before);
    let delay = measured.delay();
    traffic.drain(Duration::from_millis(300))?;
    if let setup::Measured::Peer(peer) = &measured
        && mode == Mode::Peer(Task::Record)
        && peer.recorded() < traffic.sent * LEAST_RECORDED
    {
        return Err(
            format!("rtpengine recorded {} octets of {} packets", peer.recorded(), traffic.sent).into()
        );
    }
    let during = traffic.sent - sent;
    Ok(Turn {
        mode,
        cpu_ns: cpu.as_nanos() as f64 / during.max(1) as f64,
        sent: traffic.sent,
        late: traffic.late,
        lost: traffic.sent.saturating_sub(traffic.came),
        delay,
    })
}

/// What is measured, in its order.
fn modes() -> Result<Vec<Mode>, Failure> {
    let version = peer::version();
    match &version {
        Some(version) => println!("rtpengine {version}, in user space, one thread"),
        None => println!("rtpengine is not installed: apt install rtpengine-daemon"),
    }
    let only = value("--only");
    let wanted = |mode: &Mode| match only.as_deref() {
        None => Ok(true),
        Some("rtpengine") => Ok(mode.is_beside_peer()),
        Some("sockets") => Ok(mode.is_by_sockets()),
        Some(other) => Err(format!("there is no part {other}: rtpengine, sockets")),
    };
    let is_there = |mode: &Mode| version.is_some() || !matches!(mode, Mode::Peer(_));
    let chosen =
        Mode::all().filter(is_there).filter_map(|mode| wanted(&mode).map(|w| w.then_some(mode)).transpose());
    Ok(chosen.collect::<Result<_, _>>()?)
}

/// What is behind an option, where it was given last.
fn value(option: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().rposition(|argument| argument == option)?;
    arguments.get(at + 1).cloned()
}

/// The number behind an option, or this one.
fn option(name: &str, otherwise: u64) -> u64 {
    value(name).and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}
