//! What a seed draws: how large a cluster, who calls and how, and what goes wrong when.
//!
//! It draws everything before anything happens, so that what is done about a fault does not change which faults there are.

use crate::rng::Rng;

/// A millisecond of virtual time, in nanoseconds.
pub(crate) const MS: u64 = 1_000_000;
/// A second.
pub(crate) const S: u64 = 1_000 * MS;

/// When nothing goes wrong any more.
pub(crate) const HEALED: u64 = 75 * S;
/// By when whoever still calls has hung up.
pub(crate) const HUNG_UP: u64 = 85 * S;

/// By when those hang up too who said nothing any more: their calls are over by then where anybody knows them.
pub(crate) const FORGOTTEN: u64 = 170 * S;

/// One process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    /// One that takes calls.
    Proxy(usize),
    /// One that records.
    Server(usize),
}

/// A cluster and what becomes of it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) proxies: usize,
    pub(crate) servers: usize,
    pub(crate) callers: Vec<Caller>,
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Datagrams of SIP that are lost, of a thousand.
    pub(crate) sip_lost: u64,
    /// Those that come twice.
    pub(crate) sip_doubled: u64,
    /// Packets of media that are lost.
    pub(crate) media_lost: u64,
    /// Seconds after which dialogs are refreshed.
    pub(crate) session_expires: u64,
}

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) proxy: usize,
    pub(crate) lines: usize,
    pub(crate) begins: u64,
    /// Changes of mind, each after the one before.
    pub(crate) does: Vec<(u64, Does)>,
    pub(crate) answers: Answers,
    pub(crate) turns: Turns,
}

/// What a caller does of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Does {
    Hold,
    Resume,
    /// Somebody orders that nothing of it is kept for a while.
    Pause,
    /// And that it is kept again.
    Keep,
    HangUp,
    /// It sends no media any more and does not say so.
    Vanish,
}

/// Where requests of a caller within its dialog go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turns {
    /// To the proxy that it knows.
    Never,
    /// To the next one where a closed port says that nobody is there.
    WhenRefused,
    /// To any of them: a name has several addresses.
    Always,
}

/// What a caller makes of an offer of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answers {
    Accepts,
    Refuses,
    Never,
}

/// Which way does not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Both,
    ToServer,
    ToProxy,
}

/// What goes wrong, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A process ends.
    Crash(Who, u64),
    /// A machine loses its power, and its disk what was not synced.
    Power(Who, u64),
    /// A process stands still.
    Hang(Who, u64),
    /// Nothing passes between a proxy and a record server.
    Cut(usize, usize, Way, u64),
    /// What passes takes long.
    Slow(usize, usize, u64),
    /// Nothing passes between two record servers.
    Apart(usize, usize, u64),
    /// Nobody's media reach a record server.
    Deaf(usize, u64),
    /// Operations on a disk fail.
    DiskErrors(usize, u64),
    /// A disk is full.
    DiskFull(usize, u64),
    /// Segments take long to open.
    DiskSlow(usize, u64),
    /// A wall clock steps by so many milliseconds.
    Clock(Who, i64),
    /// A record server takes nothing new.
    Drain(usize, u64),
    /// Record servers are stopped and started one after the other.
    Rolling(u64),
}

impl Fault {
    /// The kind, for counting.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Crash(Who::Proxy(_), _) => "crash of a proxy",
            Self::Crash(Who::Server(_), _) => "crash of a record server",
            Self::Power(Who::Proxy(_), _) => "loss of power of a proxy",
            Self::Power(Who::Server(_), _) => "loss of power of a record server",
            Self::Hang(..) => "hang",
            Self::Cut(_, _, Way::Both, _) => "partition",
            Self::Cut(..) => "partition in one direction",
            Self::Slow(..) => "slow link",
            Self::Apart(..) => "partition of record servers",
            Self::Deaf(..) => "media that do not arrive",
            Self::DiskErrors(..) => "disk errors",
            Self::DiskFull(..) => "disk full",
            Self::DiskSlow(..) => "slow disk",
            Self::Clock(..) => "clock step",
            Self::Drain(..) => "drain",
            Self::Rolling(..) => "rolling restart",
        }
    }
}

impl Scenario {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let (proxies, servers) = (1 + rng.index(3), 2 + rng.index(3));
        let callers = (0..rng.between(1, 8)).map(|_| Caller::draw(rng, proxies)).collect();
        // In every fifth nothing goes wrong: then everything must be perfect.
        let is_calm = rng.chance(200);
        let count = if is_calm { 0 } else { rng.between(1, 8) };
        let faults = (0..count).map(|_| (rng.between(S, 60 * S), fault(rng, proxies, servers))).collect();
        let some = |rng: &mut Rng, most: u64| if is_calm || rng.chance(500) { 0 } else { rng.below(most) };
        Self {
            proxies,
            servers,
            callers,
            faults,
            sip_lost: some(rng, 150),
            sip_doubled: some(rng, 100),
            media_lost: some(rng, 50),
            session_expires: if rng.chance(300) { 90 } else { 1_800 },
        }
    }
}

impl Caller {
    fn draw(rng: &mut Rng, proxies: usize) -> Self {
        let mut does = Vec::new();
        for _ in 0..rng.below(3) {
            let after = |rng: &mut Rng| rng.between(500 * MS, 12 * S);
            let (first, then) =
                if rng.chance(350) { (Does::Pause, Does::Keep) } else { (Does::Hold, Does::Resume) };
            does.push((after(rng), first));
            does.push((after(rng), then));
        }
        let end = match rng.below(10) {
            0 => Does::Vanish,
            1 => Does::Hold,
            _ => Does::HangUp,
        };
        does.push((rng.between(500 * MS, 30 * S), end));
        Self {
            proxy: rng.index(proxies),
            lines: 1 + rng.index(2),
            begins: rng.between(2 * S, 40 * S),
            does,
            answers: match rng.below(10) {
                0 => Answers::Refuses,
                1 => Answers::Never,
                _ => Answers::Accepts,
            },
            turns: match rng.below(10) {
                0..4 => Turns::Never,
                4..8 => Turns::WhenRefused,
                _ => Turns::Always,
            },
        }
    }
}

fn fault(rng: &mut Rng, proxies: usize, servers: usize) -> Fault {
    let (proxy, server) = (rng.index(proxies), rng.index(servers));
    let who = if rng.chance(400) { Who::Proxy(proxy) } else { Who::Server(server) };
    // Most things are over soon, some last.
    let lasts = if rng.chance(700) { rng.between(50 * MS, 6 * S) } else { rng.between(6 * S, 40 * S) };
    match rng.below(16) {
        0..=2 => Fault::Crash(who, lasts),
        3 => Fault::Power(who, lasts),
        4 => Fault::Hang(who, lasts.min(15 * S)),
        5 => Fault::Cut(proxy, server, Way::Both, lasts),
        6 => Fault::Cut(proxy, server, if rng.chance(500) { Way::ToServer } else { Way::ToProxy }, lasts),
        7 => Fault::Slow(proxy, server, lasts),
        8 => Fault::Apart(server, (server + 1 + rng.index(servers - 1)) % servers, lasts),
        9 => Fault::Deaf(server, lasts),
        10 => Fault::DiskErrors(server, lasts),
        11 => Fault::DiskFull(server, lasts),
        12 => Fault::DiskSlow(server, lasts),
        13 => Fault::Clock(who, i64::try_from(rng.between(0, 1_200_000)).unwrap_or(0) - 600_000),
        14 => Fault::Drain(server, lasts),
        _ => Fault::Rolling(rng.between(2 * S, 8 * S)),
    }
}
