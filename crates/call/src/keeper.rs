//! What a record server keeps of the calls of proxies, and to whom it gives them.
//!
//! ```text
//!  kept for its owner ──owner is gone, or going─► orphan ──asked for, or offered and taken──► kept for another
//!        ▲                                        │
//!        └────owner is back, the same process─────┘
//! ```
//!
//! It is the arbiter: of several that want a call one gets it, who has the next epoch; whoever had it before is told when
//! it is there. A call that a client's request asks for is given at once, whether its owner is there or not: the client has
//! chosen. Without such a request it is offered, to one proxy after the other, when its owner has been away for a while, or
//! at once when its owner says that it stops: that one goes on with each call until it hears that it is another's.
//!
//! An offer that nobody takes is made again, each round of all proxies after twice the time; a call that stays without an owner
//! is dropped in the end, whyever nobody takes it. Who was given a call and does not carry it on gives it back: it has no owner
//! again.
//!
//! Beside that it has [what proxies tell of their calls](crate::sightings), so that calls of one conversation find each other.
//!
//! Snapshots are octets to it, and stay in memory. It reads no clock and knows no links but by what it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::custody::{FromKeeper, OwnerIs, SNAPSHOT_MAX, Stand, TAGS_MAX, ToKeeper, Whom};
use model::{CallId, Mono, PeerName, Secret};

use crate::sightings::Board;

/// Calls that are kept: those of several proxies at their limits. One more is not kept.
const CALLS_MAX: usize = 65_536;
/// Octets of all of them: a call takes some 8 kB.
const OCTETS_MAX: usize = 512 << 20;
/// Calls that an owner is to be told it has lost, for each proxy. Beyond it the oldest are not told of, and it finds out by
/// its segments.
const LOST_MAX: usize = 65_536;
/// Proxies that are remembered: as many as may be linked.
const PROXIES_MAX: usize = 64;
/// How long a proxy has to take a call that is offered, before another is offered it.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
/// How often that doubles: in the end a call is offered each minute.
const ROUNDS_MAX: u32 = 5;
/// Offers at a time, and how long until the next: a thousand calls a second are as many as one proxy takes at its ease.
const OFFERS: usize = 100;
const OFFERS_EACH: Duration = Duration::from_millis(100);
/// How long a call without an owner is kept, whyever it has none: as long as a hold lasts at most where nothing is set.
const ORPHANS_FOR: Duration = Duration::from_secs(2 * 3_600);

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum KeeperStep {
    /// Tell a proxy.
    Tell(PeerName, FromKeeper),
    /// What is recorded of a call is this proxy's from now on: it is to be told so by [`FromKeeper::Adopted`].
    Move {
        /// The call.
        call: CallId,
        /// Whose.
        to: PeerName,
        /// Its owner's number.
        epoch: u64,
    },
}

/// A proxy, as a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    name: PeerName,
    run: u64,
}

/// A call that is kept.
#[derive(Debug)]
struct Kept {
    /// None: it was given back.
    owner: Option<Owner>,
    stand: Stand,
    tags: Vec<String>,
    snapshot: Arc<Secret>,
    /// Since when its owner is not there.
    orphan: Option<Mono>,
    /// Since an owner told this state.
    offered: Option<Offered>,
}

/// How a call was offered.
#[derive(Debug)]
struct Offered {
    /// To whom last, and when.
    to: PeerName,
    at: Mono,
    /// How often, since a proxy was linked.
    times: u32,
}

#[derive(Debug, Default)]
struct Proxy {
    /// The process that is linked; none: no link, or one that did not say.
    here: Option<u64>,
    /// Since when it is away.
    away: Option<Mono>,
    /// It stops, or stopped: its calls are for others.
    is_leaving: bool,
    /// What is to be told the process that lost it.
    lost: VecDeque<(u64, CallId, u64)>,
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    /// How long an owner may be away before its calls are offered.
    offer_after: Duration,
    calls: BTreeMap<CallId, Kept>,
    by_tag: BTreeMap<String, CallId>,
    octets: usize,
    proxies: BTreeMap<PeerName, Proxy>,
    /// Calls to offer; each is of an owner that was away for long.
    orphans: BTreeSet<CallId>,
    /// The last of them that was offered.
    offered_last: Option<CallId>,
    next: Option<Mono>,
    board: Board,
    /// States for which there was no room, since somebody asked.
    unkept: u64,
    steps: VecDeque<KeeperStep>,
}

impl Keeper {
    /// Keeps nothing yet.
    #[must_use]
    pub const fn new(offer_after: Duration) -> Self {
        Self {
            offer_after,
            calls: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            octets: 0,
            proxies: BTreeMap::new(),
            orphans: BTreeSet::new(),
            offered_last: None,
            next: None,
            board: Board::new(),
            unkept: 0,
            steps: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<KeeperStep> {
        self.steps.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Mono> {
        self.next
    }

    /// How many states were not kept for want of room since this was asked last: nobody carries on those calls, or as they
    /// were before.
    pub const fn take_unkept(&mut self) -> u64 {
        std::mem::replace(&mut self.unkept, 0)
    }

    /// Calls that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether a call is kept: somebody has it, or may get it from here.
    #[must_use]
    pub fn has(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// A proxy says something.
    pub fn handle(&mut self, now: Mono, from: &PeerName, said: ToKeeper) {
        match said {
            ToKeeper::Present { run } => self.present(now, from, run),
            ToKeeper::Keep { call, stand, tags, snapshot: Some(snapshot) } => {
                self.keep(now, from, call, stand, tags, snapshot);
            }
            ToKeeper::Keep { .. } => {}
            ToKeeper::Release { call, epoch } => {
                if self.calls.get(&call).is_some_and(|kept| kept.stand.epoch <= epoch) {
                    let _ = self.forget(call);
                }
            }
            ToKeeper::Seek { number, whom } => self.seek(from, number, &whom),
            ToKeeper::Adopt { call, epoch } => self.adopt(from, call, epoch),
            ToKeeper::Return { call, epoch } => self.give_back(now, from, call, epoch),
            ToKeeper::Sighted(sighting) => {
                for found in self.board.told(from, *sighting) {
                    let said =
                        FromKeeper::SightedElsewhere { call: found.call, other: Box::new(found.other) };
                    self.steps.push_back(KeeperStep::Tell(found.to, said));
                }
            }
            ToKeeper::Unsighted { call } => self.board.untold(from, call),
            ToKeeper::Leaving {} => self.leaving(now, from),
        }
    }

    /// The link of a proxy is gone.
    pub fn left(&mut self, now: Mono, name: &PeerName) {
        let Some(proxy) = self.proxies.get_mut(name) else { return };
        (proxy.here, proxy.away) = (None, Some(now));
        self.board.left(name);
        self.wake(now + self.offer_after);
    }

    /// Time passed: calls whose owner is away for long are offered.
    pub fn handle_timeout(&mut self, now: Mono) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = None;
        self.find_orphans(now);
        self.offer(now);
    }

    fn present(&mut self, now: Mono, name: &PeerName, run: u64) {
        if !self.proxies.contains_key(name) && self.proxies.len() >= PROXIES_MAX {
            return;
        }
        // It tells all of it by this link.
        self.board.left(name);
        let proxy = self.proxies.entry(name.clone()).or_default();
        (proxy.here, proxy.away, proxy.is_leaving) = (Some(run), None, false);
        for (of, call, epoch) in std::mem::take(&mut proxy.lost) {
            // Another process has nothing to lose.
            if of == run {
                self.steps.push_back(KeeperStep::Tell(name.clone(), FromKeeper::Lost { call, epoch }));
            }
        }
        // Calls of the process before are nobody's, and somebody may be here to take others.
        self.calls
            .values_mut()
            .filter_map(|kept| kept.offered.as_mut())
            .for_each(|offered| offered.times = 1);
        self.wake(now + OFFERS_EACH);
    }

    /// A proxy stops: its calls are offered from now on, at the pace of offers.
    fn leaving(&mut self, now: Mono, name: &PeerName) {
        let Some(proxy) = self.proxies.get_mut(name).filter(|proxy| proxy.here.is_some()) else { return };
        proxy.is_leaving = true;
        self.wake(now + OFFERS_EACH);
    }

    fn keep(
        &mut self,
        now: Mono,
        from: &PeerName,
        call: CallId,
        stand: Stand,
        mut tags: Vec<String>,
        snapshot: Arc<Secret>,
    ) {
        let Some(run) = self.proxies.get(from).and_then(|proxy| proxy.here) else { return };
        let owner = Owner { name: from.clone(), run };
        let before = self.calls.get(&call);
        if let Some(kept) = before.filter(|kept| kept.stand.epoch > stand.epoch) {
            if kept.owner.as_ref() != Some(&owner) {
                let lost = FromKeeper::Lost { call, epoch: kept.stand.epoch };
                self.steps.push_back(KeeperStep::Tell(from.clone(), lost));
            }
            return;
        }
        if before.is_some_and(|kept| {
            let is_owner = kept.owner.as_ref() == Some(&owner);
            kept.stand >= stand || (kept.stand.epoch == stand.epoch && !is_owner)
        }) {
            return;
        }
        let (taken, freed) = (snapshot.expose().len(), before.map_or(0, |kept| kept.snapshot.expose().len()));
        let is_leaving = self.proxies.get(from).is_some_and(|proxy| proxy.is_leaving);
        let is_full = before.is_none() && self.calls.len() >= CALLS_MAX;
        if is_full || taken > SNAPSHOT_MAX || self.octets - freed + taken > OCTETS_MAX {
            self.unkept += 1;
            return;
        }
        // One that changes while it is offered is offered at its old pace.
        let offered = self.forget(call).and_then(|kept| kept.offered).filter(|_| is_leaving);
        tags.truncate(TAGS_MAX);
        for tag in &tags {
            self.by_tag.insert(tag.clone(), call);
        }
        self.octets += taken;
        if is_leaving {
            // It has it only until somebody takes it.
            self.wake(now + OFFERS_EACH);
        }
        let (owner, orphan) = (Some(owner), None);
        self.calls.insert(call, Kept { owner, stand, tags, snapshot, orphan, offered });
    }

    fn seek(&mut self, from: &PeerName, number: u64, whom: &Whom) {
        let call = match whom {
            Whom::Tag(tag) => self.by_tag.get(tag).copied(),
            Whom::Call(call) => Some(*call),
        };
        let answer = match call.and_then(|call| Some((call, self.calls.get(&call)?))) {
            Some((call, kept)) => FromKeeper::Found {
                number,
                call,
                stand: kept.stand,
                owner: kept.owner.as_ref().map_or(OwnerIs::Away, |owner| self.whether_here(owner)),
                snapshot: Some(Arc::clone(&kept.snapshot)),
            },
            None => FromKeeper::Unknown { number },
        };
        self.steps.push_back(KeeperStep::Tell(from.clone(), answer));
    }

    fn adopt(&mut self, from: &PeerName, call: CallId, epoch: u64) {
        let Some(run) = self.proxies.get(from).and_then(|proxy| proxy.here) else { return };
        let owner = Owner { name: from.clone(), run };
        if let Some(kept) = self.calls.get_mut(&call) {
            if kept.stand.epoch >= epoch && kept.owner.as_ref() != Some(&owner) {
                let denied = FromKeeper::Denied { call, epoch };
                return self.steps.push_back(KeeperStep::Tell(from.clone(), denied));
            }
            kept.stand = kept.stand.max(Stand { epoch, version: 0 });
            let before = kept.owner.replace(owner.clone());
            kept.orphan = None;
            self.orphans.remove(&call);
            if let Some(before) = before.filter(|before| *before != owner) {
                self.lose(before, call, epoch);
            }
        }
        self.steps.push_back(KeeperStep::Move { call, to: from.clone(), epoch });
    }

    /// Who was given a call does not carry it on: it is offered when its turn comes.
    fn give_back(&mut self, now: Mono, from: &PeerName, call: CallId, epoch: u64) {
        let Some(kept) = self.calls.get_mut(&call).filter(|kept| kept.stand.epoch == epoch) else { return };
        if kept.owner.take_if(|owner| owner.name == *from).is_some() {
            kept.orphan = Some(now);
            self.wake(now + OFFERS_EACH);
        }
    }

    /// Whoever had a call is told that it is another's: now, or when it is back.
    fn lose(&mut self, owner: Owner, call: CallId, epoch: u64) {
        if self.is_linked(&owner) {
            let lost = FromKeeper::Lost { call, epoch };
            self.steps.push_back(KeeperStep::Tell(owner.name, lost));
        } else if let Some(proxy) = self.proxies.get_mut(&owner.name) {
            proxy.lost.push_back((owner.run, call, epoch));
            if proxy.lost.len() > LOST_MAX {
                proxy.lost.pop_front();
            }
        }
    }

    fn is_linked(&self, owner: &Owner) -> bool {
        self.proxies.get(&owner.name).and_then(|proxy| proxy.here) == Some(owner.run)
    }

    /// Whether a call is to stay with its owner where no client asks for it.
    fn whether_here(&self, owner: &Owner) -> OwnerIs {
        let is_leaving = self.proxies.get(&owner.name).is_some_and(|proxy| proxy.is_leaving);
        if self.is_linked(owner) && !is_leaving { OwnerIs::Here } else { OwnerIs::Away }
    }

    /// Calls whose owner is away for long, or is another process by now, or stops, or that have none; those that are back go
    /// on.
    fn find_orphans(&mut self, now: Mono) {
        let mut later: Option<Mono> = None;
        let mut over = Vec::new();
        self.orphans.clear();
        for (call, kept) in &mut self.calls {
            let owner = kept.owner.as_ref().and_then(|owner| Some((owner, self.proxies.get(&owner.name)?)));
            let away = match owner {
                Some((_, proxy)) if proxy.is_leaving => None,
                Some((owner, proxy)) if proxy.here == Some(owner.run) => {
                    kept.orphan = None;
                    continue;
                }
                Some((_, proxy)) if proxy.here.is_none() => proxy.away,
                _ => None,
            };
            let kept_until = *kept.orphan.get_or_insert(away.unwrap_or(now)) + ORPHANS_FOR;
            let offered_from = away.map_or(now, |away| away + self.offer_after);
            if now >= kept_until {
                over.push(*call);
                continue;
            }
            if now >= offered_from {
                self.orphans.insert(*call);
            }
            let due = if now < offered_from { offered_from.min(kept_until) } else { kept_until };
            later = Some(later.map_or(due, |later| later.min(due)));
        }
        over.into_iter().for_each(|call| _ = self.forget(call));
        if let Some(later) = later {
            self.wake(later);
        }
    }

    /// Offers some of those whose turn it is, each to the proxy that is next.
    fn offer(&mut self, now: Mono) {
        let may_take = |proxy: &Proxy| proxy.here.is_some() && !proxy.is_leaving;
        let here: Vec<PeerName> =
            self.proxies.iter().filter(|(_, p)| may_take(p)).map(|(name, _)| name.clone()).collect();
        if here.is_empty() {
            return;
        }
        let after = self.offered_last;
        let later = self.orphans.iter().filter(|call| after.is_none_or(|last| **call > last));
        let again = self.orphans.iter().filter(|call| after.is_some_and(|last| **call <= last));
        let is_due = |call: &&CallId| self.offered_again(**call, here.len()).is_none_or(|due| due <= now);
        let turn: Vec<CallId> = later.chain(again).filter(is_due).take(OFFERS).copied().collect();
        for call in turn {
            self.offered_last = Some(call);
            let Some(kept) = self.calls.get_mut(&call) else { continue };
            let to = next_of(&here, kept.offered.as_ref().map(|offered| &offered.to), call);
            let Some(to) = to.cloned() else { continue };
            let times = kept.offered.as_ref().map_or(0, |offered| offered.times).saturating_add(1);
            kept.offered = Some(Offered { to: to.clone(), at: now, times });
            self.steps.push_back(KeeperStep::Tell(to, FromKeeper::Offer { call }));
        }
        let due = self.orphans.iter().map(|call| self.offered_again(*call, here.len()).unwrap_or(now));
        if let Some(next) = due.min() {
            self.wake(next.max(now + OFFERS_EACH));
        }
    }

    fn offered_again(&self, call: CallId, proxies: usize) -> Option<Mono> {
        Some(self.calls.get(&call)?.offered.as_ref()?.again(proxies))
    }

    fn forget(&mut self, call: CallId) -> Option<Kept> {
        let kept = self.calls.remove(&call)?;
        self.octets -= kept.snapshot.expose().len();
        self.orphans.remove(&call);
        for tag in &kept.tags {
            if self.by_tag.get(tag) == Some(&call) {
                self.by_tag.remove(tag);
            }
        }
        Some(kept)
    }

    fn wake(&mut self, at: Mono) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Offered {
    /// When it is offered to the next of so many proxies, if this one does not take it.
    fn again(&self, proxies: usize) -> Mono {
        let proxies = u32::try_from(proxies).unwrap_or(u32::MAX).max(1);
        let rounds = self.times.saturating_sub(1) / proxies;
        self.at + TAKEN_WITHIN * (1 << rounds.min(ROUNDS_MAX))
    }
}

/// The proxy after the last one that was asked; first one by the call, so that calls are spread.
fn next_of<'a>(here: &'a [PeerName], last: Option<&PeerName>, call: CallId) -> Option<&'a PeerName> {
    let count = here.len();
    let at = match last {
        Some(last) => here.iter().position(|name| name > last).unwrap_or(0),
        None => usize::try_from(call.as_u64() % u64::try_from(count.max(1)).unwrap_or(1)).unwrap_or(0),
    };
    here.get(at)
}
