//! New calls at a rate while others go on with media: what the new ones get, and what the running ones lose.
//!
//! ```text
//!  setup      5,000 calls in 10 s, which stay
//!  overload   twice the rate that was sustained before; then a rate that is easy, at once
//!  catalog    500 calls a second that end after a second
//! ```
//!
//! The running calls are fed by threads of their own all the time, so that a pause of this program is none of theirs.
//! What they lost is what was sent to them less what their manifests have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::invites::{client, place};
use crate::machine::Cores;
use crate::report::median_p99_worst;
use crate::server::Server;
use crate::traffic::{Client, Senders};
use crate::{Failure, recordings};

/// Calls that go on meanwhile, two streams each.
const RUNNING: usize = 200;
/// New calls per second while they are placed.
const SET_UP_RATE: u32 = 100;
/// How long a call of `catalog` and `overload` stays.
const STAYS: Duration = Duration::from_secs(1);
/// For what is still on its way.
const SETTLE: Duration = Duration::from_millis(500);
/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the catalog to take what waits.
const CATALOG: Duration = Duration::from_secs(60);
/// A rate that is easy, after one that was not.
const EASY_RATE: u32 = 50;
const EASY_SECONDS: u32 = 3;
/// Octets of metadata in each INVITE.
const METADATA: usize = 6_000;

/// A kind of pressure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    pub(crate) name: &'static str,
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    /// How long the new calls stay.
    stays: Duration,
    /// Whether it is seen how it goes on with an easy rate.
    recovers: bool,
}

impl Pressure {
    /// 5,000 calls in 10 s.
    pub(crate) const SETUP: Self =
        Self { name: "setup", rate: 500, seconds: 10, stays: Duration::MAX, recovers: false };
    /// What the catalog is to take.
    pub(crate) const CATALOG: Self =
        Self { name: "catalog", rate: 500, seconds: 10, stays: STAYS, recovers: false };

    /// Twice what was sustained.
    pub(crate) const fn overload(sustained: u32) -> Self {
        Self { name: "overload", rate: sustained * 2, seconds: 10, stays: STAYS, recovers: true }
    }
}

/// What came out. Times in milliseconds.
#[derive(Debug)]
pub(crate) struct Pressed {
    pub(crate) of: Pressure,
    pub(crate) new: Answers,
    /// With the easy rate afterwards.
    pub(crate) after: Option<Answers>,
    /// Packets to the running calls, and those of them that no manifest has.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Packets that this process left out, for it was late.
    pub(crate) left_out: u64,
    /// From the kernel to the buffer, 99 of 100.
    pub(crate) delay_p99_ms: Option<f64>,
    /// Changes that the catalog took per second, and how long it took for the rest when no more came.
    pub(crate) catalog_per_s: f64,
    pub(crate) catalog_rest_s: f64,
}

/// What new calls got.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) calls: usize,
    pub(crate) failed: usize,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) setup_ms: Option<[f64; 3]>,
}

pub(crate) fn measure(of: Pressure) -> Result<Pressed, Failure> {
    let server = Server::start(Cores::All)?;
    let senders = Senders::start([127, 0, 0, 1].into(), 1)?;
    let mut running = client(0)?;
    place(&mut running, senders.port(0), SET_UP_RATE, RUNNING, Duration::MAX);
    wait_for_answers(&mut running);
    for (number, call) in running.calls.iter().enumerate() {
        senders.add(number, &call.media);
    }
    std::thread::sleep(SETTLE);

    let before = server.figures()?;
    let mut new = client(METADATA)?;
    let number = usize::try_from(of.rate * of.seconds)?;
    let took = place(&mut new, senders.port(0), of.rate, number, of.stays).as_secs_f64();
    let loaded = server.figures()?;
    let catalog_per_s = (loaded.catalog_written - before.catalog_written) as f64 / took;
    let rest = Instant::now();
    wait_for_answers(&mut new);
    let answers = Answers::of(&mut new);
    let after = of.recovers.then(|| recover(&senders)).transpose()?;
    let delay = loaded.delay.as_ref().zip(before.delay.as_ref()).map(|(l, b)| l.since(b));
    hang_up(&mut new);
    while server.figures()?.catalog_queued > 0 && rest.elapsed() < CATALOG {
        std::thread::sleep(Duration::from_millis(50));
    }
    let catalog_rest_s = rest.elapsed().as_secs_f64();
    senders.pause();
    std::thread::sleep(SETTLE);
    hang_up(&mut running);
    let (sent, recorded) = (senders.sent(), recordings::sum_when_sealed(&server.repository())?);
    server.stop()?;
    Ok(Pressed {
        of,
        new: answers,
        after,
        sent: sent.packets,
        lost: sent.packets.saturating_sub(recorded.received),
        left_out: sent.late,
        delay_p99_ms: delay.and_then(|d| d.quantile_ms(0.99)),
        catalog_per_s,
        catalog_rest_s,
    })
}

/// Whether it is all over when less comes.
fn recover(senders: &Senders) -> Result<Answers, Failure> {
    let mut easy = client(METADATA)?;
    place(&mut easy, senders.port(0), EASY_RATE, usize::try_from(EASY_RATE * EASY_SECONDS)?, STAYS);
    wait_for_answers(&mut easy);
    let answers = Answers::of(&mut easy);
    hang_up(&mut easy);
    Ok(answers)
}

impl Answers {
    fn of(client: &mut Client) -> Self {
        let mut times: Vec<f64> = client.calls.iter().filter_map(|c| c.setup_ms()).collect();
        let (calls, answered) = (client.calls.len(), times.len());
        let setup_ms = (answered > 0).then(|| median_p99_worst(&mut times));
        Self { calls, failed: calls - answered, refusals: client.refusals.clone(), setup_ms }
    }
}

fn wait_for_answers(client: &mut Client) {
    let until = Instant::now() + PATIENCE;
    while client.is_calling() && Instant::now() < until {
        client.work();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn hang_up(client: &mut Client) {
    let (until, mut oldest) = (Instant::now() + PATIENCE, 0);
    while oldest < client.calls.len() && Instant::now() < until {
        client.hang_up_after(Duration::ZERO, oldest, 5);
        for _ in 0..10 {
            client.work();
            std::thread::sleep(Duration::from_millis(1));
        }
        oldest = client.oldest(oldest);
    }
}
