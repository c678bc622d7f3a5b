//! New calls at a rate while others go on with media: what the new ones get, and what the running ones lose.
//!
//! ```text
//!  setup      5,000 calls in 10 s, which stay
//!  catalog    500 calls a second that end after a second
//!  sustained  a rate that grows by half each 3 s, until calls fail or wait too long
//!  overload   twice the last that held; then a rate that is easy, at once
//! ```
//!
//! The running calls are fed by threads of their own all the time, so that a pause of this program is none of theirs.
//! What they lost is what was sent to them less what their manifests have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::invites::{Rtcp, client, place};
use crate::machine::Cores;
use crate::options::Options;
use crate::report::{Report, median_p99_worst};
use crate::server::{Place, Server};
use crate::traffic::{Client, Offer, Senders};
use crate::{Failure, procfs, recordings};

/// New calls per second while they are placed.
const SET_UP_RATE: u32 = 100;
/// How long a call of `catalog` and `overload` stays.
const STAYS: Duration = Duration::from_secs(1);
/// How long the running calls are looked at alone first.
const ALONE: Duration = Duration::from_secs(5);
/// For what is still on its way.
const SETTLE: Duration = Duration::from_millis(500);
/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the catalog to take what waits.
const CATALOG: Duration = Duration::from_secs(60);
/// The rates that are tried, up to what the client of this program can hardly place.
const FIRST_RATE: u32 = 100;
const LAST_RATE: u32 = 5_000;
/// How long each is.
const STEP_SECONDS: u32 = 3;
/// T1 of RFC 3261: whoever waits longer is asked again, which is a second load.
const SUSTAINED_MS: f64 = 500.0;
/// Part of a rate that this program must reach for it to count.
const REACHED: f64 = 0.95;
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
    /// Calls that went on meanwhile.
    pub(crate) running: usize,
    /// Descriptors of callspool when all were answered that are.
    pub(crate) descriptors: usize,
    pub(crate) new: Answers,
    /// With the easy rate afterwards.
    pub(crate) after: Option<Answers>,
    /// Packets to the running calls, and those of them that no manifest has.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Packets that this process left out, for it was late.
    pub(crate) left_out: u64,
    /// From the kernel to the buffer, 99 of 100; and what it was before, without new calls.
    pub(crate) delay_p99_ms: Option<f64>,
    pub(crate) alone_p99_ms: Option<f64>,
    /// New calls that were answered per second: as many end, where they do not stay.
    pub(crate) answered_per_s: f64,
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
    /// INVITE to refusal.
    pub(crate) refusal_ms: Option<[f64; 3]>,
}

/// A server with calls that go on.
struct Site {
    server: Server,
    senders: Senders,
    running: Client,
    rtcp: Rtcp,
}

impl Site {
    fn begin(options: &Options) -> Result<Self, Failure> {
        let source = options.sources.first().copied().ok_or("no source")?;
        let server = Server::start_over(Place::FIRST, Cores::All, source)?;
        let senders = Senders::start([127, 0, 0, 1].into(), 1, None)?;
        let mut running = client(0, options.rtcp.offer())?;
        place(&mut running, senders.port(0), SET_UP_RATE, options.running, Duration::MAX);
        wait_for_answers(&mut running);
        for (number, call) in running.calls.iter().enumerate() {
            senders.add(number, &call.media);
        }
        std::thread::sleep(SETTLE);
        Ok(Self { server, senders, running, rtcp: options.rtcp })
    }

    /// Places calls at a rate; how long that took.
    fn press(&self, rate: u32, seconds: u32, stays: Duration) -> Result<(Client, Duration), Failure> {
        let mut new = client(METADATA, self.rtcp.offer())?;
        let number = usize::try_from(rate * seconds)?;
        let took = place(&mut new, self.senders.port(0), rate, number, stays);
        Ok((new, took))
    }

    /// Ends it; packets that were sent to the running calls, those that were left out for being late, and those that the
    /// manifests have.
    fn end(mut self) -> Result<(u64, u64, u64), Failure> {
        self.senders.pause();
        std::thread::sleep(SETTLE);
        hang_up(&mut self.running);
        let (sent, recorded) = (self.senders.sent(), recordings::sum_when_sealed(&self.server.repository())?);
        self.server.stop()?;
        Ok((sent.packets, sent.late, recorded.received))
    }
}

/// The highest rate of new calls beside running ones at which all are answered before they are asked for again.
pub(crate) fn sustained(report: &mut Report, options: &Options) -> Result<u32, Failure> {
    let site = Site::begin(options)?;
    let (mut rate, mut held) = (FIRST_RATE, None);
    while rate <= LAST_RATE {
        let (mut new, took) = site.press(rate, STEP_SECONDS, STAYS)?;
        wait_for_answers(&mut new);
        let (answers, reached) = (Answers::of(&new), new.calls.len() as f64 / took.as_secs_f64());
        hang_up(&mut new);
        let holds = answers.are_in_time() && reached >= REACHED * f64::from(rate);
        report.step(rate, reached, &answers, holds)?;
        if !holds {
            break;
        }
        held = Some(rate);
        rate += rate / 2;
    }
    site.end()?;
    held.ok_or_else(|| format!("not even {FIRST_RATE} calls a second are answered in time").into())
}

pub(crate) fn measure(of: Pressure, options: &Options) -> Result<Pressed, Failure> {
    let site = Site::begin(options)?;
    let alone = site.server.figures()?;
    std::thread::sleep(ALONE);
    let before = site.server.figures()?;
    let (mut new, took) = site.press(of.rate, of.seconds, of.stays)?;
    let loaded = site.server.figures()?;
    let written = loaded.catalog_written - before.catalog_written;
    let rest = Instant::now();
    // At once: it is to be over with the load.
    let after = of.recovers.then(|| recover(&site.senders)).transpose()?;
    wait_for_answers(&mut new);
    let answers = Answers::of(&new);
    let answered_per_s = (answers.calls - answers.failed) as f64 / took.as_secs_f64();
    let p99_ms = |from: &Figures, until: &Figures| {
        let delay = until.delay.as_ref().zip(from.delay.as_ref()).map(|(until, from)| until.since(from));
        delay.and_then(|d| d.quantile_ms(0.99))
    };
    let descriptors = procfs::descriptors(site.server.pid())?;
    hang_up(&mut new);
    while site.server.figures()?.catalog_queued > 0 && rest.elapsed() < CATALOG {
        std::thread::sleep(Duration::from_millis(50));
    }
    let catalog_rest_s = rest.elapsed().as_secs_f64();
    let (sent, left_out, received) = site.end()?;
    Ok(Pressed {
        of,
        running: options.running,
        descriptors,
        new: answers,
        after,
        sent,
        lost: sent.saturating_sub(received),
        left_out,
        delay_p99_ms: p99_ms(&before, &loaded),
        alone_p99_ms: p99_ms(&alone, &before),
        answered_per_s,
        catalog_per_s: written as f64 / took.as_secs_f64(),
        catalog_rest_s,
    })
}

/// Whether it is all over when less comes.
fn recover(senders: &Senders) -> Result<Answers, Failure> {
    let mut easy = client(METADATA, Offer::default())?;
    place(&mut easy, senders.port(0), EASY_RATE, usize::try_from(EASY_RATE * EASY_SECONDS)?, STAYS);
    wait_for_answers(&mut easy);
    let answers = Answers::of(&easy);
    hang_up(&mut easy);
    Ok(answers)
}

impl Answers {
    fn of(client: &Client) -> Self {
        let mut times: Vec<f64> = client.calls.iter().filter_map(|c| c.setup_ms()).collect();
        let (calls, answered) = (client.calls.len(), times.len());
        let setup_ms = (answered > 0).then(|| median_p99_worst(&mut times));
        let mut times: Vec<f64> = client.calls.iter().filter_map(|c| c.refusal_ms()).collect();
        let refusal_ms = (!times.is_empty()).then(|| median_p99_worst(&mut times));
        Self { calls, failed: calls - answered, refusals: client.refusals.clone(), setup_ms, refusal_ms }
    }

    /// Whether all were answered before they were asked for again.
    fn are_in_time(&self) -> bool {
        self.failed == 0 && self.setup_ms.is_some_and(|[_, p99, _]| p99 < SUSTAINED_MS)
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
