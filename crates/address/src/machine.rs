//! Who holds an address: the state machine of VRRP version 3 (RFC 9568, section 6.4), for one address on one node.
//!
//! ```text
//!            able to                  nothing heard for three intervals and a bit,
//!            hold it                  or whoever holds it lets go
//!   Out ──────────────► Waiting ────────────────────────────────────► Holding
//!    ▲ ◄─────────────── (Backup) ◄──────────────────────────────────── (Active)
//!    │  not able to                   a better one is heard
//!    └─────────────────────────────────────────────────────────────────────┘
//!                not able to: it lets go, and says so
//! ```
//!
//! What is ours beside the RFC: a node that is there and not well holds at the least priority, so that whoever is well
//! takes over and there is no gap where nobody is; a node may wait with taking back what it lost; and an address is
//! held for a while at a time, so that it does not outlive whoever holds it.
//!
//! Time is an argument, nothing is sent here, and what strangers send changes three numbers at most.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use model::Mono;

use crate::advert::{Interval, RESIGNED};

/// For how long the kernel is given an address: what it stays on a node whose process is killed or hangs. It counts in
/// seconds, and two of the renewals may fail.
pub const LIFETIME: Duration = Duration::from_secs(3);
/// The longest time from one advertisement to the next: nobody of ours says less often that he is there, and whoever else
/// says so keeps nobody from taking the address for longer than three of these.
pub const INTERVAL_MAX: Duration = LIFETIME;
/// How often the kernel is given it again.
const RENEW: Duration = Duration::from_secs(1);
/// The priority of whoever holds an address because nobody does who is well.
pub const LAST: u8 = 1;
/// When it is announced after it was taken. A node that died goes on answering for it for [`LIFETIME`], so that whoever
/// asks anew in that time may hear the wrong one: it is told again until that is over.
const ANNOUNCE: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
    Duration::from_secs(5),
];
/// And as long as it is held: for whoever was not to be reached then.
const ANNOUNCE_LATER: Duration = Duration::from_secs(60);

/// Whether a node can hold the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its proxy takes calls, and the link is up.
    Well,
    /// Its proxy is there and takes no new calls: anybody who is well is better, and it is better than nobody.
    Poor,
    /// Nobody would be reached there.
    Out,
}

/// What a node does that could hold the address better than the one that does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returning {
    /// It takes it.
    AtOnce,
    /// It takes it when it has been well for so long without a break.
    After(Duration),
    /// It leaves it there until that one is worse than well.
    Never,
}

/// What does not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Of the nodes that are well the one with the most holds it. Above [`LAST`].
    pub priority: u8,
    /// How often it says that it holds it.
    pub interval: Interval,
    /// Whether it takes back what it lost.
    pub returning: Returning,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The address is ours: hold it for [`LIFETIME`].
    Take {
        /// Whoever was heard last.
        from: Option<IpAddr>,
    },
    /// Hold it for [`LIFETIME`] from now.
    Renew,
    /// Hold it no more.
    LetGo {
        /// Who is better.
        to: Option<IpAddr>,
    },
    /// Tell the network where it is.
    Announce,
    /// Tell the other nodes, at this priority.
    Advertise(u8),
}

/// Who was heard last to hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Its own address.
    pub from: IpAddr,
    /// And its priority.
    pub priority: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    /// By which others know us.
    own: IpAddr,
    standing: Standing,
    well_since: Option<Mono>,
    state: State,
    heard: Option<Heard>,
    /// Who was heard last, also when that one has let go since.
    before: Option<IpAddr>,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Out,
    Waiting {
        /// It is taken then, if nobody is heard who is better.
        until: Mono,
    },
    Holding {
        since: Mono,
        advertise_at: Mono,
        renewed: Mono,
        /// The next of [`ANNOUNCE`], or beyond.
        announcement: usize,
        announce_at: Mono,
        /// Whoever thinks it is theirs is told no sooner that it is not: what comes in a flood is not answered by one.
        assert_at: Mono,
    },
}

impl Machine {
    /// One that is out.
    #[must_use]
    pub fn new(rules: Rules, own: IpAddr) -> Self {
        Self {
            rules,
            own,
            standing: Standing::Out,
            well_since: None,
            state: State::Out,
            heard: None,
            before: None,
            actions: VecDeque::new(),
        }
    }

    /// How the node is, and by which address others know it.
    pub fn stand(&mut self, now: Mono, standing: Standing, own: IpAddr) {
        self.own = own;
        self.well_since = (standing == Standing::Well).then(|| self.well_since.unwrap_or(now));
        let before = std::mem::replace(&mut self.standing, standing);
        match (&mut self.state, standing) {
            (State::Out, Standing::Well | Standing::Poor) => {
                self.heard = None;
                self.wait(now, self.rules.interval.duration());
            }
            (State::Waiting { .. }, Standing::Out) => self.state = State::Out,
            (State::Holding { .. }, Standing::Out) => {
                self.actions.push_back(Action::LetGo { to: None });
                self.actions.push_back(Action::Advertise(RESIGNED));
                self.state = State::Out;
            }
            (State::Holding { advertise_at, .. }, _) if before != standing => *advertise_at = now,
            _ => {}
        }
    }

    /// Another node has said that it holds the address, or holds it no more.
    pub fn receive(&mut self, now: Mono, from: IpAddr, priority: u8, interval: Interval) {
        // What we said ourselves, come back.
        if from == self.own {
            return;
        }
        let heard = Heard { from, priority };
        let interval = interval.duration().min(INTERVAL_MAX);
        self.before = Some(from);
        match self.state {
            State::Holding { .. } if self.is_better(heard) => {
                self.heard = Some(heard);
                self.actions.push_back(Action::LetGo { to: Some(from) });
                self.wait(now, interval);
            }
            State::Holding { .. } => self.assert(now),
            State::Waiting { .. } | State::Out if priority == RESIGNED => {
                self.heard = None;
                self.hurry(now);
            }
            State::Waiting { .. } | State::Out => {
                self.heard = Some(heard);
                if priority == LAST && self.priority() > LAST {
                    self.hurry(now);
                } else if priority >= self.priority() || !self.may_return(now) {
                    self.wait_on(now, interval);
                }
            }
        }
    }

    /// What is due. What came until then must have been received before: it may say that nothing is.
    pub fn handle_timeout(&mut self, now: Mono) {
        match self.state {
            State::Waiting { until } if now >= until => self.take(now),
            // The process stood still, and the kernel has let go of it: somebody else may hold it.
            State::Holding { renewed, .. } if now >= renewed + LIFETIME => {
                self.actions.push_back(Action::LetGo { to: None });
                self.wait(now, self.rules.interval.duration());
            }
            State::Holding { .. } => self.hold(now),
            State::Out | State::Waiting { .. } => {}
        }
    }

    /// When something will be due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        match self.state {
            State::Out => None,
            State::Waiting { until } => Some(until),
            State::Holding { advertise_at, renewed, announce_at, .. } => {
                Some(advertise_at.min(renewed + RENEW).min(announce_at))
            }
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether the address is ours.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        matches!(self.state, State::Holding { .. })
    }

    /// Who was heard last to hold it; none when that one has let go.
    #[must_use]
    pub const fn heard(&self) -> Option<Heard> {
        self.heard
    }

    fn take(&mut self, now: Mono) {
        self.actions.push_back(Action::Take { from: self.before });
        self.actions.push_back(Action::Advertise(self.priority()));
        self.heard = None;
        self.state = State::Holding {
            since: now,
            advertise_at: now + self.rules.interval.duration(),
            renewed: now,
            announcement: 0,
            announce_at: now,
            assert_at: now,
        };
        self.hold(now);
    }

    /// What whoever holds it does from time to time.
    fn hold(&mut self, now: Mono) {
        let (priority, interval) = (self.priority(), self.rules.interval.duration());
        let State::Holding { since, advertise_at, renewed, announcement, announce_at, .. } = &mut self.state
        else {
            return;
        };
        if now >= *renewed + RENEW {
            *renewed = now;
            self.actions.push_back(Action::Renew);
        }
        if now >= *advertise_at {
            *advertise_at = now + interval;
            self.actions.push_back(Action::Advertise(priority));
        }
        if now >= *announce_at {
            *announcement += 1;
            *announce_at = match ANNOUNCE.get(*announcement) {
                Some(after) => (*since + *after).max(now),
                None => now + ANNOUNCE_LATER,
            };
            self.actions.push_back(Action::Announce);
        }
    }

    /// Tells whoever thinks that the address is theirs that it is ours, and the network where it is.
    fn assert(&mut self, now: Mono) {
        let (priority, interval) = (self.priority(), self.rules.interval.duration());
        if let State::Holding { advertise_at, assert_at, .. } = &mut self.state
            && now >= *assert_at
        {
            *assert_at = now + interval;
            *advertise_at = now + interval;
            self.actions.push_back(Action::Advertise(priority));
            self.actions.push_back(Action::Announce);
        }
    }

    /// As nothing is heard for so long: three advertisements of whoever holds it, and a bit more the less priority there is.
    fn wait(&mut self, now: Mono, interval: Duration) {
        let until = now + interval * 3 + self.skew(interval);
        self.state = State::Waiting { until };
    }

    /// The same, if it waits at all.
    fn wait_on(&mut self, now: Mono, interval: Duration) {
        if matches!(self.state, State::Waiting { .. }) {
            self.wait(now, interval);
        }
    }

    /// Nobody holds it, or nobody who is well: the best of the others comes first. What comes in a flood puts it off no
    /// further.
    fn hurry(&mut self, now: Mono) {
        let soon = now + self.skew(self.rules.interval.duration());
        if let State::Waiting { until } = &mut self.state {
            *until = soon.min(*until);
        }
    }

    fn skew(&self, interval: Duration) -> Duration {
        interval * (256 - u32::from(self.priority())) / 256
    }

    fn priority(&self) -> u8 {
        if self.standing == Standing::Well { self.rules.priority } else { LAST }
    }

    /// Of two with the same priority the higher address holds it.
    fn is_better(&self, heard: Heard) -> bool {
        (heard.priority, heard.from) > (self.priority(), self.own)
    }

    fn may_return(&self, now: Mono) -> bool {
        match (self.rules.returning, self.well_since) {
            (Returning::AtOnce, Some(_)) => true,
            (Returning::After(time), Some(since)) => now >= since + time,
            (Returning::Never, _) | (_, None) => false,
        }
    }
}
