//! INVITE to 200 at a steady rate of new calls, each of which stays for a second.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::machine::Cores;
use crate::report::median_p99_worst;
use crate::server::{Place, Server};
use crate::traffic::{Client, Kind, Lines, Offer};
use crate::{Failure, procfs};

/// How long a call is up: files are opened for new calls, and sealed of old ones, at once.
const STAYS: Duration = Duration::from_secs(1);
/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sleeps when nothing came and nothing is due.
const PAUSE: Duration = Duration::from_micros(100);

/// Octets of metadata, as session border controllers send them with what their phone systems add.
pub(crate) const METADATA: usize = 6_000;
/// Where the media of calls come from that have none: discard (RFC 863).
pub(crate) const NO_MEDIA: u16 = 9;

/// Where calls have RTCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rtcp {
    /// At a port of its own.
    Own,
    /// At the port of RTP (RFC 5761).
    Mux,
}

impl Rtcp {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Mux => "mux",
        }
    }

    /// What an offer says of it.
    pub(crate) fn offer(self) -> Offer {
        let more = if self == Self::Mux { "a=rtcp-mux\r\n" } else { "" };
        Offer { more, protection: None }
    }
}

impl FromStr for Rtcp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::Own, Self::Mux].into_iter().find(|rtcp| rtcp.name() == text);
        found.ok_or_else(|| format!("RTCP is not at {text}: own or mux"))
    }
}

/// SIPREC calls to the server that is measured.
pub(crate) fn client(metadata: usize, offer: Offer) -> Result<Client, Failure> {
    client_of(Place::FIRST.sip.parse()?, metadata, offer)
}

/// The same to another one.
pub(crate) fn client_of(remote: SocketAddr, metadata: usize, offer: Offer) -> Result<Client, Failure> {
    let uri = format!("sip:bench@{remote}");
    let (local, kind) = ([127, 0, 0, 1].into(), Kind::Siprec { metadata });
    Ok(Client::new(Lines { local, remote, uri, kind, offer })?)
}

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
    let mut client = client(METADATA, Offer::default())?;
    let before = procfs::cpu(server.pid())?;
    let took = place(&mut client, NO_MEDIA, rate, (rate * seconds) as usize, STAYS);
    wait_until_over(&mut client, STAYS);
    let cpu = procfs::cpu(server.pid())?.since(&before);
    server.stop()?;
    let each = client.calls.len() as f64;
    let mut threads_us: Vec<_> = cpu.threads_us.iter().map(|(n, us)| (n.clone(), us / each)).collect();
    threads_us.retain(|(_, us)| *us >= 1.0);
    threads_us.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut setups: Vec<f64> = client.calls.iter().filter_map(|c| c.setup_ms()).collect();
    Ok(Invites {
        rate,
        reached: each / took.as_secs_f64(),
        calls: client.calls.len(),
        failed: client.calls.len() - setups.len(),
        resent: client.resent,
        setup_ms: median_p99_worst(&mut setups),
        cpu_us: cpu.exact_us() / each,
        threads_us,
    })
}

/// Hangs up those that have been up for so long, until all are over.
pub(crate) fn wait_until_over(client: &mut Client, stays: Duration) {
    let until = Instant::now() + PATIENCE;
    let mut oldest = 0;
    while Instant::now() < until && oldest < client.calls.len() {
        client.work();
        client.hang_up_after(stays, oldest, usize::MAX);
        oldest = client.oldest(oldest);
        std::thread::sleep(PAUSE);
    }
}

/// Begins so many calls at that rate, hangs up after `stays`; how long the beginning took.
pub(crate) fn place(
    client: &mut Client,
    media_port: u16,
    rate: u32,
    calls: usize,
    stays: Duration,
) -> Duration {
    let began = Instant::now();
    let (mut oldest, mut looked) = (0, began);
    for number in 0..calls {
        let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
        while began.elapsed() < due {
            if !client.work() {
                std::thread::sleep(PAUSE.min(due.saturating_sub(began.elapsed())));
            }
            // Looking through the calls costs time: each 10 ms is enough.
            if looked.elapsed() > Duration::from_millis(10) {
                looked = Instant::now();
                oldest = client.oldest(oldest);
                client.hang_up_after(stays, oldest, usize::MAX);
            }
        }
        client.invite(media_port);
    }
    began.elapsed()
}
