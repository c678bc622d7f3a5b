//! INVITE to 200 at a steady rate of new calls, each of which stays for a second.

use std::time::{Duration, Instant};

use crate::machine::Cores;
use crate::report::median_p99_worst;
use crate::server::Server;
use crate::uac::Uac;
use crate::{Failure, generator, procfs};

/// How long a call is up: files are opened for new calls, and sealed of old ones, at once.
const STAYS: Duration = Duration::from_secs(1);
/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sleeps when nothing came and nothing is due.
const PAUSE: Duration = Duration::from_micros(100);

/// What came out at a rate.
#[derive(Debug)]
pub(crate) struct Invites {
    pub(crate) rate: u32,
    /// The rate that was reached.
    pub(crate) reached: f64,
    pub(crate) calls: usize,
    pub(crate) failed: usize,
    pub(crate) resent: u64,
    /// INVITE to 200 in milliseconds: median, 99 of 100, worst.
    pub(crate) setup_ms: [f64; 3],
    /// CPU of callspool for a call from INVITE to sealed files, in microseconds.
    pub(crate) cpu_us: f64,
    /// The same by thread.
    pub(crate) threads_us: Vec<(String, f64)>,
}

pub(crate) fn measure(rate: u32, seconds: u32) -> Result<Invites, Failure> {
    let server = Server::start(Cores::All)?;
    let (rtp, _rtcp) = generator::sockets()?;
    let mut uac = Uac::new(rtp.local_addr()?.port())?;
    let before = procfs::cpu(server.pid())?;
    let took = place(&mut uac, rate, (rate * seconds) as usize, STAYS);
    let until = Instant::now() + PATIENCE;
    let mut oldest = 0;
    while Instant::now() < until && oldest < uac.calls.len() {
        uac.work();
        uac.hang_up(STAYS, oldest, usize::MAX);
        oldest = uac.oldest(oldest);
        std::thread::sleep(PAUSE);
    }
    let cpu = procfs::cpu(server.pid())?.since(&before);
    server.stop()?;
    let each = uac.calls.len() as f64;
    let mut threads_us: Vec<_> = cpu.threads_us.iter().map(|(n, us)| (n.clone(), us / each)).collect();
    threads_us.retain(|(_, us)| *us >= 1.0);
    threads_us.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut setups: Vec<f64> = uac.calls.iter().filter_map(|c| c.setup_ms()).collect();
    Ok(Invites {
        rate,
        reached: each / took.as_secs_f64(),
        calls: uac.calls.len(),
        failed: uac.calls.len() - setups.len(),
        resent: uac.resent,
        setup_ms: median_p99_worst(&mut setups),
        cpu_us: cpu.exact_us() / each,
        threads_us,
    })
}

/// Begins so many calls at that rate, hangs up after `stays`; how long the beginning took.
pub(crate) fn place(uac: &mut Uac, rate: u32, calls: usize, stays: Duration) -> Duration {
    let began = Instant::now();
    let (mut oldest, mut looked) = (0, began);
    for number in 0..calls {
        let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
        while began.elapsed() < due {
            if !uac.work() {
                std::thread::sleep(PAUSE.min(due.saturating_sub(began.elapsed())));
            }
            // Looking through the calls costs time: each 10 ms is enough.
            if looked.elapsed() > Duration::from_millis(10) {
                looked = Instant::now();
                oldest = uac.oldest(oldest);
                uac.hang_up(stays, oldest, usize::MAX);
            }
        }
        uac.invite();
    }
    began.elapsed()
}
