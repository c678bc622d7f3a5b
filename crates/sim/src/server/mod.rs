//! A record server: its desk (the real book of who ordered what), a recorder over a disk that fails, and the real machine
//! that gathers.
//!
//! ```text
//!  proxies ──orders──► desk ──► orders lie for a moment ──► recorder ──► disk
//!     ▲                 │                                      │
//!     └──beats, reports─┘◄─────────────────────────────────────┘      gathering ◄──► other record servers
//! ```

mod closing;
mod gathering;
mod keeping;
mod pausing;
mod recorder;

use std::collections::BTreeMap;
use std::time::Duration;

use call::{Book, Care, Keeper, PeerEvent, Whose, refusal};
use model::{
    Beat, EndReason, Failure, Hello, NodeNumber, Now, Order, PeerName, Report, Resource, Share, Standing,
};
use spool::memory::{CachedDisk, Mood};

use self::gathering::Gathering;
use self::recorder::Recorder;
use crate::core::{Core, FromProxy, Input};
use crate::network::Toward;
use crate::proxy::told;
use crate::scenario::{MS, Who};
use crate::world::{BEAT, server_name};

/// Octets that every disk has room for.
pub(crate) const CAPACITY: u64 = 1 << 30;
/// 64 KiB: with less left no new segment is taken.
const RESERVE: u64 = 64 << 10;
/// How long a proxy may be away before its calls are offered to others, as where nothing is set.
const ADOPT_AFTER: Duration = Duration::from_secs(5);
/// Recordings that one record server may have.
const RECORDINGS_MAX: u64 = 100;

/// See the module.
pub(crate) struct Server {
    pub(crate) index: usize,
    pub(crate) name: PeerName,
    pub(crate) number: NodeNumber,
    run: u64,
    book: Book,
    /// Who has which call.
    care: Care,
    keeper: Keeper,
    /// The number of the link with each proxy.
    links: BTreeMap<usize, u64>,
    /// Orders that have come by each.
    heard: BTreeMap<usize, u64>,
    pub(crate) recorder: Recorder,
    pub(crate) gathering: Gathering,
    /// What outlives the process.
    pub(crate) disk: Spindle,
    pub(crate) is_drained: bool,
    is_stopping: bool,
    beats: u64,
}

/// A disk, and how it is.
pub(crate) struct Spindle {
    pub(crate) disk: CachedDisk,
    pub(crate) is_failing: bool,
    pub(crate) is_slow: bool,
}

impl Spindle {
    pub(crate) const fn mood(&self) -> Mood {
        if self.is_failing { Mood::Failing } else { Mood::Well }
    }
}

impl Server {
    pub(crate) fn new(index: usize, servers: usize) -> Self {
        let number = u16::try_from(index + 1).ok().and_then(|n| NodeNumber::new(n).ok());
        let number = number.unwrap_or(NodeNumber::SINGLE);
        let disk = Spindle { disk: CachedDisk::new(CAPACITY), is_failing: false, is_slow: false };
        Self {
            index,
            name: server_name(index),
            number,
            run: 0,
            book: Book::default(),
            care: Care::default(),
            keeper: Keeper::new(ADOPT_AFTER),
            links: BTreeMap::new(),
            heard: BTreeMap::new(),
            recorder: Recorder::new(index, 0),
            gathering: Gathering::new(number, servers - 1, 0),
            disk,
            is_drained: false,
            is_stopping: false,
            beats: 0,
        }
    }

    /// Its process begins: nothing is left of the one before but its disk.
    pub(crate) fn begin(&mut self, core: &mut Core, now: Now, run: u64) {
        self.run = run;
        (self.book, self.care) = (Book::default(), Care::default());
        self.keeper = Keeper::new(ADOPT_AFTER);
        self.links.clear();
        self.recorder = Recorder::new(self.index, core.rng.between(5_000, 20_000));
        self.gathering = Gathering::new(self.number, self.gathering.others, run << 32);
        self.is_stopping = false;
        self.find_open(core);
        self.hand_in_room(core, now);
        self.close_open(core, now);
        let at = core.at + core.rng.below(BEAT);
        core.tell_at(at, Who::Server(self.index), Input::Tick);
    }

    pub(crate) fn take(&mut self, core: &mut Core, now: Now, input: Input) {
        match input {
            Input::Came(proxy, link, what) => self.came(core, now, proxy, link, what),
            Input::Tick => self.tick(core, now),
            Input::Work => self.work(core, now),
            Input::Media { port, from, packet } => self.media(core, now, port, from, &packet),
            Input::HandOver => self.hand_over(core),
            Input::Timer | Input::Local(..) | Input::Recall(_) | Input::Asked(..) | Input::Answered(..) => {
                self.gather(core, now, input);
            }
            Input::Met(_) | Input::Missed(_) => self.gather(core, now, input),
            Input::Sip(_) | Input::Heard(..) | Input::Kept(..) | Input::Ordered(..) => {}
        }
        self.hand_on_calls(core);
    }

    fn came(&mut self, core: &mut Core, now: Now, proxy: usize, link: u64, what: FromProxy) {
        let name = proxy_name(proxy);
        match what {
            FromProxy::Up => {
                self.heard.insert(proxy, 0);
                if self.links.insert(proxy, link).is_some() {
                    // An older link is over before a newer one is there.
                    self.left(core, now, &name);
                }
                self.care.arrived(&name);
                self.book.linked(&name);
                let segments = self.book.segments_of(&name);
                let hello = Hello { name: self.name.clone(), node: self.number, run: self.run, segments };
                self.tell(core, proxy, PeerEvent::Up(hello));
            }
            // What an older link of a proxy says is of before.
            _ if self.links.get(&proxy) != Some(&link) => {}
            FromProxy::Order(order) => {
                *self.heard.entry(proxy).or_default() += 1;
                self.ordered(core, proxy, *order);
            }
            FromProxy::Custody(said) => self.keep(core, now, proxy, said),
            FromProxy::Probe => self.tell(core, proxy, PeerEvent::Alive),
            FromProxy::Closed => {
                self.links.remove(&proxy);
                self.left(core, now, &name);
            }
        }
    }

    fn left(&mut self, core: &mut Core, now: Now, name: &PeerName) {
        self.keeper.left(now.mono, name);
        self.care.left(name);
        for (segment, reason) in self.book.left(name) {
            self.end(core, segment, reason);
        }
    }

    fn ordered(&mut self, core: &mut Core, proxy: usize, order: Order) {
        self.care.ordered(&proxy_name(proxy), &order);
        if let Order::Open(open) = &order
            && let Some(why) = refusal(&self.standing(), open)
        {
            let report = Report::Refused { segment: open.segment, why };
            return self.tell(core, proxy, PeerEvent::Report(report));
        }
        if let Order::Conclude(conclusion) = &order {
            core.truth.heard(conclusion.call);
        }
        if self.book.ordered(&proxy_name(proxy), &order) {
            self.lie(core, order);
        }
    }

    fn end(&mut self, core: &mut Core, segment: model::SegmentId, reason: EndReason) {
        let at = core.now(0).wall;
        self.lie(core, Order::End { segment, at, reason, by: None });
    }

    /// The recorder reports: whoever ordered the segment hears of it. What is opened when all were handed over cannot stay
    /// either.
    fn report(&mut self, core: &mut Core, report: Report) {
        let is_late = matches!(report, Report::Opened { .. }) && self.is_stopping;
        let segment = report.segment();
        self.hand_on(core, report);
        if is_late {
            self.hand_on(core, Report::Failing { segment, why: Failure::Process });
        }
    }

    fn hand_on(&mut self, core: &mut Core, report: Report) {
        if core.log.keeps {
            core.say(format_args!("{}: {}", self.name, told(&report)));
        }
        match self.book.whose(report) {
            Whose::Of(name, report) => {
                let proxy = name.to_string().trim_start_matches('p').parse().unwrap_or(usize::MAX);
                self.tell(core, proxy, PeerEvent::Report(report));
            }
            Whose::End(segment, reason) => self.end(core, segment, reason),
            Whose::Kept | Whose::Own(_) => {}
        }
    }

    fn tell(&self, core: &mut Core, proxy: usize, what: PeerEvent) {
        let Some(number) = self.links.get(&proxy).copied() else { return };
        let link = core.network.link(proxy, self.index);
        if link.is_up && link.number == number {
            let at = link.arrives(core.at, Toward::Proxy, &mut core.rng);
            core.tell_at(at, Who::Proxy(proxy), Input::Heard(self.index, number, what));
        }
    }

    fn standing(&self) -> Standing {
        if self.is_drained || self.is_stopping {
            Standing::Draining
        } else if self.disk.disk.room() < RESERVE || self.recorder.has_failed() {
            Standing::Over(vec![Resource::DiskSpace])
        } else {
            Standing::Taking
        }
    }

    fn tick(&mut self, core: &mut Core, now: Now) {
        self.offer(now);
        self.beats += 1;
        let recordings = u32::try_from(self.recorder.live()).unwrap_or(u32::MAX);
        let loads = vec![(Resource::Recordings, Share::of(recordings.into(), RECORDINGS_MAX))];
        let standing = self.standing();
        let beat = Beat { number: self.beats, at: now.wall, recordings, loads, standing, heard: None };
        for proxy in self.links.keys().copied().collect::<Vec<_>>() {
            let heard = self.heard.get(&proxy).copied();
            self.tell(core, proxy, PeerEvent::Beat(Beat { heard, ..beat.clone() }));
        }
        if self.beats.is_multiple_of(2) {
            self.flush(core, now);
        } else {
            self.sync(core, now);
        }
        core.tell_at(core.at + core.ticks, Who::Server(self.index), Input::Tick);
    }

    /// It is to stop: proxies have others take over.
    fn hand_over(&mut self, core: &mut Core) {
        self.is_stopping = true;
        for segment in self.book.opened() {
            self.report(core, Report::Failing { segment, why: Failure::Process });
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<u64> {
        self.gathering.next_timeout()
    }

    /// What it still has to do for proxies, if anything.
    pub(crate) fn holds(&self) -> Option<String> {
        let (live, open) = (self.recorder.live(), self.recorder.open());
        let (ordered, kept) = (self.book.len(), self.keeper.len());
        ((live, open, ordered, kept) != (0, 0, 0, 0)).then(|| {
            format!(
                "{} has {live} live, {open} to close, {ordered} of proxies, keeps {kept} calls",
                self.name
            )
        })
    }
}

fn proxy_name(index: usize) -> PeerName {
    // A letter and a number are a name.
    format!("p{index}").parse().unwrap_or_else(|_| server_name(index))
}

/// How long an operation on a disk takes.
pub(crate) const fn quick() -> (u64, u64) {
    (MS / 5, 12 * MS)
}
