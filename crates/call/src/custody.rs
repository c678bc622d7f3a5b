//! Which calls are this proxy's, what of them is kept by record servers, and how it comes to calls of others.
//!
//! ```text
//!  a call of ours changes ──► Keep at the record server that records it, where it is another's process
//!  sought by a request, or offered ──► Seek at all ──► the newest state ──► Adopt at all ──► ours
//!                                        └── nobody has it, or its owner is there and nobody asked for it: not found
//! ```
//!
//! A call is ours when the record server whose state of it we take says so, and not before: that is the arbiter. It is waited
//! for as long as there is a link to it, since it may have made us the owner already. What it may have given us and we do
//! not have is given back, at once or when it is linked again, so that it is offered to somebody.
//!
//! A call that is over is released everywhere: a record server that was cut off may have a state of an owner before, and would
//! offer it. Those that were cut off then are told when they are linked again.
//!
//! It tells record servers too [by what calls of ours are recognized](crate::sightings), and passes on what they answer.
//!
//! What a state says is read elsewhere ([`crate::Snapshot`]).
//!
//! A proxy that stops says so: its calls are offered to others, and are its own until it hears that they are another's. It takes
//! none that it is offered.
//!
//! Reports of segments that come while their call is being adopted are set aside: until then nobody here knows them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use model::custody::{FromKeeper, OwnerIs, SNAPSHOT_MAX, Stand, ToKeeper, Whom};
use model::{CallId, Mono, PeerName, Report, Secret, SegmentId, Sighting};

use crate::sightings::Telling;
use crate::timers::Timers;

/// How long record servers may take to answer, each of the two times: some round trips. A client sends its request again
/// after half a second, and waits for half a minute.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);
/// Questions at a time: what comes when a proxy with thousands of calls is gone, and is asked for within a second. What is
/// offered beyond is offered again.
const ASKS_MAX: usize = 4_096;
/// Calls that are over and are released where a record server is linked again: those of a minute where seventy end each
/// second. Each takes 256 octets of a new link.
const OVER_MAX: usize = 4_096;
/// Calls that record servers which are not linked may have given to us: those that were asked for when links broke.
const UNHEARD_MAX: usize = 4_096;
/// States that are told in one go: of the longest (`SNAPSHOT_MAX`) half of what may wait for a link.
const TOLD_AT_ONCE: usize = 8;
/// How long a record server for which too much waits is left alone.
const ROOM_IN: Duration = Duration::from_millis(10);
/// Reports that are set aside for a call that is being adopted.
const ASIDE_MAX: usize = 256;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum CustodyStep {
    /// Tell a record server.
    Tell(PeerName, ToKeeper),
    /// A call is ours from now on.
    Carry(Box<Carried>),
    /// A dialog that a request asked for is nobody's.
    NotFound {
        /// The tag of our side.
        tag: String,
    },
    /// A call is another's: it is forgotten here, and nobody is told.
    Forget {
        /// The call.
        call: CallId,
        /// Where what is recorded of it is the other's too.
        at: PeerName,
    },
}

/// A call that was another's.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// The call.
    pub call: CallId,
    /// Its state.
    pub snapshot: Arc<Secret>,
    /// What is live of it, at each record server that answered.
    pub live: BTreeMap<PeerName, BTreeSet<SegmentId>>,
    /// What nobody has heard yet, in order.
    pub missed: Vec<(PeerName, Report)>,
    /// The tags that requests asked for.
    pub tags: Vec<String>,
}

/// A call of ours.
#[derive(Debug, Default)]
struct Own {
    stand: Stand,
    /// Which state was told last.
    told: u64,
    /// Where it is kept now.
    home: Option<PeerName>,
    /// Where it was told of.
    copies: BTreeSet<PeerName>,
}

/// What is being looked for.
#[derive(Debug)]
struct Ask {
    whom: Whom,
    /// Who has yet to answer.
    open: BTreeSet<PeerName>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Seeking { best: Option<Best>, is_owned: bool },
    Adopting(Box<Adopting>),
}

/// The newest state so far.
#[derive(Debug, Clone)]
struct Best {
    at: PeerName,
    call: CallId,
    stand: Stand,
    snapshot: Arc<Secret>,
}

#[derive(Debug)]
struct Adopting {
    best: Best,
    epoch: u64,
    /// The record server whose state it is has said that it is ours.
    is_ours: bool,
    segments: BTreeSet<SegmentId>,
    live: BTreeMap<PeerName, BTreeSet<SegmentId>>,
    missed: Vec<(PeerName, Report)>,
    /// What else asks for the same call.
    others: Vec<Whom>,
}

/// See the module.
#[derive(Debug)]
pub struct Custody {
    run: u64,
    /// Record servers on other nodes that are linked.
    linked: BTreeSet<PeerName>,
    /// Those of which nothing is known yet since this process began.
    awaited: BTreeSet<PeerName>,
    calls: BTreeMap<CallId, Own>,
    /// Calls that were ours and are over, by the number of their owner.
    over: BTreeMap<CallId, u64>,
    /// Calls that record servers may have given to us, by that number: the link broke before they said so.
    unheard: BTreeSet<(PeerName, CallId, u64)>,
    asks: BTreeMap<u64, Ask>,
    number: u64,
    timers: Timers<u64>,
    /// Calls whose state is to be told anew, and which of them was taken last: they take turns.
    stale: BTreeSet<CallId>,
    taken_last: Option<CallId>,
    /// When it is looked again whether there is room for them.
    room_at: Option<Mono>,
    telling: Telling,
    /// Calls of ours that others have signs of, with theirs; they are taken before anything else is heard.
    elsewhere: VecDeque<(CallId, Sighting)>,
    /// This process stops.
    is_leaving: bool,
    steps: VecDeque<CustodyStep>,
}

/// What a state tells of the segments of its call; none where it cannot be carried on here.
pub type Judge<'a> = dyn Fn(&[u8]) -> Option<BTreeSet<SegmentId>> + 'a;

impl Custody {
    /// Of a proxy that is this process.
    #[must_use]
    pub fn new(run: u64) -> Self {
        Self {
            run,
            linked: BTreeSet::new(),
            awaited: BTreeSet::new(),
            over: BTreeMap::new(),
            unheard: BTreeSet::new(),
            calls: BTreeMap::new(),
            asks: BTreeMap::new(),
            number: 0,
            timers: Timers::new(),
            stale: BTreeSet::new(),
            taken_last: None,
            room_at: None,
            telling: Telling::new(),
            elsewhere: VecDeque::new(),
            is_leaving: false,
            steps: VecDeque::new(),
        }
    }

    /// The same, where these record servers are being linked: what is asked before they are, or are known to be away, waits
    /// for them.
    #[must_use]
    pub fn awaiting(mut self, names: impl IntoIterator<Item = PeerName>) -> Self {
        self.awaited.extend(names);
        self
    }

    /// The same, where this process is a record server too: it keeps no calls of ours, as it dies with us, and proxies on
    /// other nodes tell it of theirs.
    #[must_use]
    pub fn beside(mut self, own: &PeerName) -> Self {
        self.telling.linked(own);
        self
    }

    /// The record server of this process did not take what it was told: it is told all of it again, in a while.
    pub fn was_not_told(&mut self, now: Mono, own: &PeerName) {
        self.telling.again(now, own);
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<CustodyStep> {
        self.steps.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        [self.timers.next(), self.room_at, self.telling.next()].into_iter().flatten().min()
    }

    /// The calls that are this proxy's.
    pub fn owned(&self) -> impl Iterator<Item = CallId> {
        self.calls.keys().copied()
    }

    /// Questions to which there is no answer yet.
    #[must_use]
    pub fn asks(&self) -> usize {
        self.asks.len()
    }

    /// Something of these calls of ours has changed: their states are to be told.
    pub fn changed(&mut self, calls: impl IntoIterator<Item = CallId>) {
        self.stale.extend(calls);
    }

    /// Some of the calls whose state is to be told, by [`Self::keep`]: those for whose record server not too much waits
    /// already. A record server that is linked again is to hear of thousands at once, and whoever says more than fits closes
    /// the link.
    pub fn take_stale(&mut self, now: Mono, has_room: impl Fn(&PeerName) -> bool) -> Vec<CallId> {
        let full: BTreeSet<&PeerName> = self.linked.iter().filter(|name| !has_room(name)).collect();
        let home = |call: &CallId| self.calls.get(call).and_then(|own| own.home.as_ref());
        let has_room = |call: &&CallId| home(call).is_none_or(|home| !full.contains(home));
        let last = self.taken_last;
        let later = self.stale.iter().filter(|call| last.is_none_or(|last| **call > last));
        let again = self.stale.iter().filter(|call| last.is_some_and(|last| **call <= last));
        let turn: Vec<CallId> = later.chain(again).filter(has_room).take(TOLD_AT_ONCE).copied().collect();
        self.taken_last = turn.last().copied().or(last);
        self.stale.retain(|call| !turn.contains(call));
        self.room_at = (!self.stale.is_empty()).then(|| now + ROOM_IN);
        turn
    }

    /// This process stops: others are to carry on its calls.
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.tell_all(&ToKeeper::Leaving {});
    }

    /// A record server on another node is linked.
    pub fn linked(&mut self, name: &PeerName) {
        self.linked.insert(name.clone());
        self.telling.linked(name);
        self.tell(name, ToKeeper::Present { run: self.run });
        if self.is_leaving {
            self.tell(name, ToKeeper::Leaving {});
        }
        self.awaited.remove(name);
        let mut told: Vec<ToKeeper> = self.over.iter().map(|(call, epoch)| released(*call, *epoch)).collect();
        for (call, own) in &mut self.calls {
            if own.home.as_ref().is_none_or(|home| home == name) {
                // It may have begun anew, and it may be the first that can keep it.
                own.told = 0;
                self.stale.insert(*call);
            } else if own.copies.remove(name) || own.stand.epoch > 0 {
                // It may have a state of an owner before.
                told.push(released(*call, own.stand.epoch));
            }
        }
        let (unheard, rest) = std::mem::take(&mut self.unheard).into_iter().partition(|(at, ..)| at == name);
        self.unheard = rest;
        let unheard: BTreeSet<(PeerName, CallId, u64)> = unheard;
        for (_, call, epoch) in unheard {
            if !self.calls.contains_key(&call) && !self.over.contains_key(&call) {
                told.push(ToKeeper::Return { call, epoch });
            }
        }
        told.into_iter().for_each(|said| self.tell(name, said));
        for (number, ask) in &self.asks {
            if matches!(ask.stage, Stage::Seeking { .. }) && ask.open.contains(name) {
                let seek = ToKeeper::Seek { number: *number, whom: ask.whom.clone() };
                self.steps.push_back(CustodyStep::Tell(name.clone(), seek));
            }
        }
    }

    /// Its link is gone, or there is none: it is not waited for.
    pub fn unlinked(&mut self, now: Mono, name: &PeerName, judge: &Judge<'_>) {
        if !self.linked.remove(name) && !self.awaited.remove(name) {
            return;
        }
        self.telling.unlinked(name);
        for ask in self.asks.values().filter(|ask| ask.open.contains(name)) {
            if let Stage::Adopting(adopting) = &ask.stage {
                self.unheard.insert((name.clone(), adopting.best.call, adopting.epoch));
            }
        }
        while self.unheard.len() > UNHEARD_MAX {
            self.unheard.pop_first();
        }
        let asks: Vec<u64> = self.asks.keys().copied().collect();
        for number in asks {
            self.answered(now, number, name, judge);
        }
        let home = |own: &Own| own.home.as_ref() == Some(name);
        self.stale.extend(self.calls.iter().filter(|(_, own)| home(own)).map(|(call, _)| *call));
    }

    /// The state of a call of ours is this: it is told where it is to be kept, if that is news there. `at` records it; where
    /// that is no other node, any other will do.
    pub fn keep(&mut self, call: CallId, at: Option<&PeerName>, tags: Vec<String>, snapshot: Secret) {
        self.stale.remove(&call);
        let own = self.calls.entry(call).or_insert_with(|| {
            // One that was over and goes on is as it was.
            let epoch = self.over.remove(&call).unwrap_or_default();
            Own { stand: Stand { epoch, version: 0 }, ..Own::default() }
        });
        let home = at.or(own.home.as_ref()).filter(|name| self.linked.contains(*name)).cloned();
        let home = home.or_else(|| any_of(&self.linked, call));
        let mut hasher = DefaultHasher::new();
        hasher.write(snapshot.expose());
        let told = hasher.finish() | 1;
        let Some(home) = home else { return };
        if own.home.as_ref() == Some(&home) && own.told == told {
            return;
        }
        own.stand.version += 1;
        (own.told, own.home) = (told, Some(home.clone()));
        let stand = own.stand;
        let is_former = |name: &PeerName| *name != home && self.linked.contains(name);
        let former: Vec<PeerName> = own.copies.iter().filter(|name| is_former(name)).cloned().collect();
        own.copies.retain(|name| !former.contains(name));
        own.copies.insert(home.clone());
        if snapshot.expose().len() <= SNAPSHOT_MAX {
            let snapshot = Some(Arc::new(snapshot));
            self.tell(&home, ToKeeper::Keep { call, stand, tags, snapshot });
        }
        for name in former {
            self.tell(&name, ToKeeper::Release { call, epoch: stand.epoch });
        }
    }

    /// A call of ours is over.
    pub fn over(&mut self, call: CallId) {
        self.stale.remove(&call);
        let Some(own) = self.calls.remove(&call) else { return };
        self.over.insert(call, own.stand.epoch);
        if self.over.len() > OVER_MAX {
            self.over.pop_first();
        }
        self.tell_all(&released(call, own.stand.epoch));
    }

    /// A call that became ours could not be carried on: another proxy may be able to.
    pub fn failed(&mut self, call: CallId) {
        self.stale.remove(&call);
        if let Some(own) = self.calls.remove(&call) {
            self.tell_all(&ToKeeper::Return { call, epoch: own.stand.epoch });
        }
    }

    /// A request came within a dialog that nobody here knows.
    pub fn sought(&mut self, now: Mono, tag: String) {
        self.ask(now, Whom::Tag(tag));
    }

    /// Whether a segment is of a call that is being adopted: then what is reported of it is set aside.
    pub fn set_aside(&mut self, from: &PeerName, report: &Report) -> bool {
        let segment = report.segment();
        let adopting = self.asks.values_mut().find_map(|ask| match &mut ask.stage {
            Stage::Adopting(adopting) if adopting.segments.contains(&segment) => Some(adopting),
            _ => None,
        });
        let Some(adopting) = adopting.filter(|adopting| adopting.missed.len() < ASIDE_MAX) else {
            return false;
        };
        adopting.missed.push((from.clone(), report.clone()));
        true
    }

    /// A record server says something.
    pub fn handle(&mut self, now: Mono, from: &PeerName, said: FromKeeper, judge: &Judge<'_>) {
        match said {
            FromKeeper::Found { number, call, stand, owner, snapshot: Some(snapshot) } => {
                self.found(number, Best { at: from.clone(), call, stand, snapshot }, owner);
                self.answered(now, number, from, judge);
            }
            FromKeeper::Found { number, .. } | FromKeeper::Unknown { number } => {
                self.answered(now, number, from, judge);
            }
            FromKeeper::Adopted { call, epoch, segments, missed } => {
                let Some((number, adopting)) = self.adopting(call, epoch) else { return };
                adopting.is_ours |= adopting.best.at == *from;
                adopting.live.insert(from.clone(), segments.into_iter().collect());
                adopting.missed.extend(missed.into_iter().map(|report| (from.clone(), report)));
                self.answered(now, number, from, judge);
            }
            FromKeeper::Denied { call, epoch } => {
                if let Some((number, _)) = self.adopting(call, epoch) {
                    self.answered(now, number, from, judge);
                }
            }
            FromKeeper::Lost { call, epoch } => {
                if self.calls.get(&call).is_some_and(|own| own.stand.epoch < epoch) {
                    self.calls.remove(&call);
                    self.stale.remove(&call);
                    self.steps.push_back(CustodyStep::Forget { call, at: from.clone() });
                }
            }
            FromKeeper::Offer { call } => {
                if !self.calls.contains_key(&call) && !self.is_leaving {
                    self.ask(now, Whom::Call(call));
                }
            }
            FromKeeper::SightedElsewhere { call, other } => self.elsewhere.push_back((call, *other)),
            // Of ports, which are known elsewhere.
            FromKeeper::Over { .. } => {}
        }
    }

    /// By what a call of ours is recognized, if anything is recognized as it: told where that is news.
    pub fn sighted(&mut self, call: CallId, sighting: Option<Sighting>) {
        self.telling.sighted(call, sighting);
    }

    /// A call of ours, and one of another proxy that has signs of it: for [`crate::Front::heard_of`].
    pub fn poll_elsewhere(&mut self) -> Option<(CallId, Sighting)> {
        self.elsewhere.pop_front()
    }

    /// Time passed: who did not answer is not waited for, and what waited to be told is told.
    pub fn handle_timeout(&mut self, now: Mono, judge: &Judge<'_>) {
        let said = self.telling.poll(now).into_iter();
        self.steps.extend(said.map(|(to, said)| CustodyStep::Tell(to, said)));
        while let Some(number) = self.timers.pop_due(now) {
            self.decide(now, number, judge);
        }
    }

    fn ask(&mut self, now: Mono, whom: Whom) {
        if self.asks.values().any(|ask| ask.whom == whom) {
            return;
        }
        let open: BTreeSet<PeerName> = self.linked.union(&self.awaited).cloned().collect();
        if self.asks.len() >= ASKS_MAX || open.is_empty() {
            return self.not_found(whom);
        }
        self.number += 1;
        let number = self.number;
        self.tell_all(&ToKeeper::Seek { number, whom: whom.clone() });
        let stage = Stage::Seeking { best: None, is_owned: false };
        self.asks.insert(number, Ask { whom, open, stage });
        self.timers.set(number, now + ANSWERED_WITHIN);
    }

    fn not_found(&mut self, whom: Whom) {
        if let Whom::Tag(tag) = whom {
            self.steps.push_back(CustodyStep::NotFound { tag });
        }
    }

    fn found(&mut self, number: u64, found: Best, owner: OwnerIs) {
        let Some(Stage::Seeking { best, is_owned }) = self.asks.get_mut(&number).map(|ask| &mut ask.stage)
        else {
            return;
        };
        if best.as_ref().is_none_or(|best| best.stand < found.stand) {
            *is_owned = owner == OwnerIs::Here;
            *best = Some(found);
        }
    }

    fn adopting(&mut self, call: CallId, epoch: u64) -> Option<(u64, &mut Adopting)> {
        self.asks.iter_mut().find_map(|(number, ask)| match &mut ask.stage {
            Stage::Adopting(adopting) if adopting.best.call == call && adopting.epoch == epoch => {
                Some((*number, &mut **adopting))
            }
            _ => None,
        })
    }

    /// A record server has answered, or will not.
    fn answered(&mut self, now: Mono, number: u64, from: &PeerName, judge: &Judge<'_>) {
        let Some(ask) = self.asks.get_mut(&number) else { return };
        let is_news = ask.open.remove(from);
        let is_late = is_news && !self.timers.is_set(number);
        if ask.open.is_empty() || is_late {
            self.decide(now, number, judge);
        }
    }

    /// All that will answer in time have.
    fn decide(&mut self, now: Mono, number: u64, judge: &Judge<'_>) {
        self.timers.clear(number);
        let Some(Ask { whom, open, stage }) = self.asks.remove(&number) else { return };
        match stage {
            Stage::Seeking { best: Some(best), .. } if self.is_over(&best) => {
                self.tell_all(&released(best.call, self.over.get(&best.call).copied().unwrap_or_default()));
                self.not_found(whom);
            }
            Stage::Seeking { best: Some(best), is_owned } => {
                let is_asked_for = matches!(whom, Whom::Tag(_));
                let same = self.asks.values_mut().find_map(|ask| match &mut ask.stage {
                    Stage::Adopting(adopting) if adopting.best.call == best.call => Some(adopting),
                    _ => None,
                });
                if let Some(adopting) = same {
                    // No more than the dialogs of a call: their tags tell them apart.
                    if !adopting.others.contains(&whom) {
                        adopting.others.push(whom);
                    }
                    return;
                }
                let segments = judge(best.snapshot.expose());
                // What is ours already needs nobody's word.
                let is_own = self.calls.contains_key(&best.call);
                match segments.filter(|_| (is_asked_for || !is_owned) && !is_own) {
                    Some(segments) => self.adopt(now, number, whom, best, segments),
                    None => self.not_found(whom),
                }
            }
            Stage::Seeking { best: None, .. } => self.not_found(whom),
            Stage::Adopting(adopting) if adopting.is_ours => self.carry(whom, &open, *adopting),
            stage @ Stage::Adopting(_) if stage.waits_for_arbiter(&open) => {
                // It may have given it to us: to nobody else then, before its link is gone.
                self.asks.insert(number, Ask { whom, open, stage });
            }
            Stage::Adopting(adopting) => {
                let Adopting { best: Best { call, .. }, epoch, live, .. } = &*adopting;
                for name in live.keys().chain(&open).filter(|name| self.linked.contains(*name)) {
                    let given_back = ToKeeper::Return { call: *call, epoch: *epoch };
                    self.steps.push_back(CustodyStep::Tell(name.clone(), given_back));
                }
                adopting.others.into_iter().for_each(|other| self.not_found(other));
                self.not_found(whom);
            }
        }
    }

    fn adopt(&mut self, now: Mono, number: u64, whom: Whom, best: Best, segments: BTreeSet<SegmentId>) {
        let (call, epoch) = (best.call, best.stand.epoch + 1);
        let open = self.linked.clone();
        self.tell_all(&ToKeeper::Adopt { call, epoch });
        let (live, missed) = (BTreeMap::new(), Vec::new());
        let adopting = Adopting { best, epoch, is_ours: false, segments, live, missed, others: Vec::new() };
        self.asks.insert(number, Ask { whom, open, stage: Stage::Adopting(Box::new(adopting)) });
        self.timers.set(number, now + ANSWERED_WITHIN);
    }

    /// It is ours. Those that are `late` may have older states of it.
    fn carry(&mut self, whom: Whom, late: &BTreeSet<PeerName>, adopting: Adopting) {
        let Adopting { best, epoch, live, missed, others, .. } = adopting;
        late.iter().for_each(|name| self.tell(name, released(best.call, epoch)));
        let copies = live.keys().cloned().collect();
        let own = Own { stand: Stand { epoch, version: 0 }, told: 0, home: Some(best.at), copies };
        self.calls.insert(best.call, own);
        self.stale.insert(best.call);
        let tag_of = |whom| match whom {
            Whom::Tag(tag) => Some(tag),
            Whom::Call(_) => None,
        };
        let tags = others.into_iter().chain([whom]).filter_map(tag_of).collect();
        let carried = Carried { call: best.call, snapshot: best.snapshot, live, missed, tags };
        self.steps.push_back(CustodyStep::Carry(Box::new(carried)));
    }

    /// Whether a state that was found is of a call that was ours, and is over.
    fn is_over(&self, found: &Best) -> bool {
        self.over.get(&found.call).is_some_and(|epoch| found.stand.epoch <= *epoch)
    }

    fn tell_all(&mut self, said: &ToKeeper) {
        let steps = self.linked.iter().map(|name| CustodyStep::Tell(name.clone(), said.clone()));
        self.steps.extend(steps);
    }

    fn tell(&mut self, to: &PeerName, said: ToKeeper) {
        self.steps.push_back(CustodyStep::Tell(to.clone(), said));
    }
}

impl Stage {
    /// Whether who says whose the call is has not answered yet.
    fn waits_for_arbiter(&self, open: &BTreeSet<PeerName>) -> bool {
        matches!(self, Self::Adopting(adopting) if open.contains(&adopting.best.at))
    }
}

const fn released(call: CallId, epoch: u64) -> ToKeeper {
    ToKeeper::Release { call, epoch }
}

/// One of them, by the call: so calls are spread.
fn any_of(linked: &BTreeSet<PeerName>, call: CallId) -> Option<PeerName> {
    let count = u64::try_from(linked.len()).ok().filter(|count| *count > 0)?;
    linked.iter().nth(usize::try_from(call.as_u64() % count).ok()?).cloned()
}
