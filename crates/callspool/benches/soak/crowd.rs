//! Calls at a time with media, which come and go: as soon as one has ended another begins, so that there are always as
//! many. It counts what it sent.
//!
//! ```text
//!  invited ──► answered: its streams are sent to ──► its time is over: nothing more is sent ──► 0.3 s later: BYE
//! ```
//!
//! How long a call is, is as with people: many short ones, few long ones, a minute in the mean. So as many end in each
//! second as in any other from the beginning on.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::calls::Calls;
use crate::figures::Figures;
use crate::node::{Node, SIP};
use crate::traffic::{Client, Kind, Lines, Offer, Senders, Sent};

/// How long a call is in the mean.
const MEAN: Duration = Duration::from_secs(60);
/// And at least, and at most.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);
/// New calls a second while there are too few: a thousand are there after twenty seconds.
const SET_UP_RATE: f64 = 50.0;
/// Octets of metadata, as session border controllers send them with what their phone systems add.
const METADATA: usize = 6_000;
/// For what is still on its way when nothing more is sent.
const ARRIVE: Duration = Duration::from_millis(300);
/// For the last answers, and for thousands of calls to be hung up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sleeps when nothing came and nothing is due.
const PAUSE: Duration = Duration::from_micros(300);
/// How often it is looked which calls are over.
const LOOK: Duration = Duration::from_millis(20);
/// Calls that are hung up at each look in the end.
const HANG_UP_MAX: usize = 20;

/// What is sent, for whoever looks.
#[derive(Default)]
pub(crate) struct Crowd {
    sent: Mutex<Sent>,
}

/// A call's end, or the time of its BYE: earliest first.
type Due = Reverse<(Instant, usize)>;

/// What goes on.
struct Site<'a> {
    crowd: &'a Crowd,
    calls: &'a Calls,
    client: Client,
    senders: Senders,
    /// When calls that are up are to end.
    ends: BinaryHeap<Due>,
    /// Calls that are not sent to any more, and when they are hung up.
    quiet: VecDeque<(Instant, usize)>,
    hung_up: usize,
    failed: u64,
    chance: Chance,
}

impl Crowd {
    /// Packets so far.
    pub(crate) fn sent(&self) -> Sent {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Holds so many calls until told to stop, then hangs up. What the recorder says of itself when nothing is sent any
    /// more, and all that was sent is counted.
    pub(crate) fn go_on(
        &self,
        at_once: usize,
        node: &Node,
        calls: &Calls,
        stop: &AtomicBool,
    ) -> Result<Figures, Failure> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let lines = Lines {
            local,
            remote: SIP.parse()?,
            uri: format!("sip:soak@{SIP}"),
            kind: Kind::Siprec { metadata: METADATA },
            offer: Offer::default(),
        };
        let mut site = Site {
            crowd: self,
            calls,
            client: Client::new(lines)?,
            senders: Senders::start(local, node.senders(), None)?,
            ends: BinaryHeap::new(),
            quiet: VecDeque::new(),
            hung_up: 0,
            failed: 0,
            chance: Chance(1),
        };
        site.hold(at_once, stop)?;
        site.senders.pause();
        site.work_until(Instant::now() + ARRIVE);
        site.count();
        let silent = node.figures();
        site.hang_up_all();
        silent
    }
}

impl Site<'_> {
    fn hold(&mut self, at_once: usize, stop: &AtomicBool) -> Result<(), Failure> {
        let mut next_invite = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.work_until(Instant::now() + LOOK);
            self.begin_media();
            self.end_calls();
            self.count();
            if let Some(e) = self.senders.failure() {
                return Err(format!("cannot send media: {e}").into());
            }
            let now = Instant::now();
            while next_invite <= now {
                next_invite += Duration::from_secs_f64(1.0 / SET_UP_RATE);
                if self.there_are() < at_once {
                    self.client.invite(self.senders.port(self.client.calls.len()));
                    self.calls.begun();
                }
            }
        }
        Ok(())
    }

    /// Calls that were begun and are neither hung up nor refused.
    fn there_are(&self) -> usize {
        let failed = usize::try_from(self.failed).unwrap_or(usize::MAX);
        self.client.calls.len().saturating_sub(self.hung_up).saturating_sub(failed)
    }

    fn begin_media(&mut self) {
        for number in self.client.answered() {
            let Some(call) = self.client.calls.get(number) else { continue };
            self.senders.add(number, &call.media);
            self.calls.answered(call.setup_ms());
            self.ends.push(Reverse((Instant::now() + self.chance.length(), number)));
        }
        let failed = self.client.refusals.values().sum();
        (self.failed..failed).for_each(|_| self.calls.failed());
        self.failed = failed;
    }

    fn end_calls(&mut self) {
        let now = Instant::now();
        let mut over = BTreeSet::new();
        while let Some(Reverse((_, number))) = self.ends.peek().filter(|due| due.0.0 <= now) {
            over.insert(*number);
            self.ends.pop();
        }
        if !over.is_empty() {
            self.senders.remove(&over);
        }
        self.quiet.extend(over.into_iter().map(|number| (now + ARRIVE, number)));
        while let Some((_, number)) = self.quiet.front().copied().filter(|(due, _)| *due <= now) {
            self.quiet.pop_front();
            self.client.hang_up(number);
            self.hung_up += 1;
        }
    }

    fn hang_up_all(&mut self) {
        let (until, mut oldest) = (Instant::now() + PATIENCE, 0);
        while oldest < self.client.calls.len() && Instant::now() < until {
            // Some at a time: thousands at once would be sent again.
            self.client.hang_up_after(Duration::ZERO, oldest, HANG_UP_MAX);
            self.work_until(Instant::now() + LOOK);
            oldest = self.client.oldest(oldest);
        }
    }

    fn work_until(&mut self, until: Instant) {
        while Instant::now() < until {
            if !self.client.work() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn count(&self) {
        *self.crowd.sent.lock().unwrap_or_else(PoisonError::into_inner) = self.senders.sent();
    }
}

/// The same numbers in each run (an LCG of Knuth's).
struct Chance(u64);

impl Chance {
    /// Exponential: whoever has talked for a while goes on for as long as somebody who begins.
    fn length(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Above 0, up to 1.
        let part = ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        MEAN.mul_f64(-part.ln()).clamp(SHORTEST, LONGEST)
    }
}
