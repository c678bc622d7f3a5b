//! What is to be done about a call, by what is known of it now. It changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    CallHoldings, Holding, LogMark, NodeNumber, Place, Rank, RecordingState, SegmentId, Transition,
    VolumeName, copy,
};

use super::choice::{self, Candidate, Recorded};
use super::fetch::Fetch;
use super::job::{Aim, Check, Job, Stage as Work};
use super::known::{Known, Recording, Segment};
use super::noting::{Leave, Note, NoteAt, Passed, Phase};
use super::{Lack, Mode, Stage, Terms, Windows, left, logs};

/// What a plan is made by.
pub(super) struct View<'a> {
    pub(super) terms: &'a Terms,
    pub(super) windows: Windows,
    /// Octets that may be written here for gathering.
    pub(super) room: u64,
    /// Nodes that can be spoken to, with the room that they said they have.
    pub(super) up: &'a BTreeMap<NodeNumber, Option<u64>>,
    pub(super) known: &'a Known,
}

/// What is to be done, and what is missing.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) stage: Stage,
    pub(super) lacks: Vec<Lack>,
    pub(super) job: Option<Job>,
    /// Why there is none although there should be.
    pub(super) trouble: Option<String>,
    /// Whether it looks as if nobody would say how it came out; none: not all have been heard, or somebody else leads.
    pub(super) is_left: Option<bool>,
}

type Segments<'a> = BTreeMap<Recording, Segment<'a>>;

pub(super) fn plan(view: &View<'_>) -> Plan {
    let (known, here) = (view.known, view.terms.node);
    let segments = known.segments();
    let plan = |stage, lacks| Plan { stage, lacks, job: None, trouble: None, is_left: None };
    if view.terms.mode == Mode::Virtual {
        return plan(Stage::Virtual, Vec::new());
    }
    let mut lacks: Vec<_> =
        view.up.keys().filter(|n| !known.heard.contains(n)).map(|n| Lack::Unheard(*n)).collect();
    let has_heard_all = lacks.is_empty();
    let apart: Vec<_> = differing(&segments).collect();
    if is_gathered_at(view, &segments, here) {
        return give_up(view, &segments, lacks, apart);
    }
    if !segments.values().any(|s| s.copies.contains_key(&here)) {
        // Nothing of it is here: others see to it.
        return plan(Stage::Done, Vec::new());
    }
    if has_heard_all && is_settled_elsewhere(view, &segments) {
        return plan(Stage::Done, apart);
    }
    lacks.extend(apart);
    lacks.extend(missing(view, &segments));
    let leader = choice::leader(&candidates(view, &segments), &recorded(&segments));
    match leader {
        _ if !has_heard_all => plan(Stage::Waiting, lacks),
        None => {
            lacks.push(Lack::NoRoom);
            plan(Stage::Waiting, lacks)
        }
        Some(node) if node != here => plan(Stage::LedBy(node), lacks),
        Some(_) if lacks.iter().any(|lack| !matches!(lack, Lack::Differs(..))) => {
            let is_left = Some(left::is_left(view, &lacks));
            Plan { is_left, ..plan(Stage::Waiting, lacks) }
        }
        Some(_) if !is_open(view) => plan(Stage::Window, lacks),
        Some(_) => match gather(view, &segments) {
            Ok(job) => Plan { job: Some(job), ..plan(Stage::Gathering, lacks) },
            Err(why) => Plan { trouble: Some(why), ..plan(Stage::Waiting, lacks) },
        },
    }
}

fn is_open(view: &View<'_>) -> bool {
    view.windows.gather || view.known.is_wanted
}

/// Whether the call's own copy is at a node and nothing has come to it since.
fn is_gathered_at(view: &View<'_>, segments: &Segments<'_>, node: NodeNumber) -> bool {
    let held = view.known.at(node);
    held.is_some_and(|held| held.gathered && held.state.is_some_and(RecordingState::is_gathered))
        && segments.iter().all(|(of, s)| s.copies.contains_key(&node) || is_spare(view, segments, *of, node))
}

/// Whether a recording that cannot be had now need not be waited for: a node has another of the same segment, and none is known
/// that ended better. When it can be had it is brought to the other.
fn is_spare(view: &View<'_>, segments: &Segments<'_>, of: Recording, at: NodeNumber) -> bool {
    let Some(segment) = segments.get(&of) else { return false };
    let can_be_had = match segment.live_at {
        Some(node) => view.up.contains_key(&node) || node == view.terms.node,
        // One that was given up there is being removed.
        None => {
            view.known.at(at).is_some_and(|held| held.copy(of.0, of.1).is_some())
                || source(view, of, segment).is_some()
        }
    };
    let of_same = || segments.iter().filter(|((id, _), _)| *id == of.0).map(|(_, s)| s);
    let there = copy::ended_best(of_same().filter(|s| s.copies.contains_key(&at)).filter_map(|s| s.ended_as));
    !can_be_had && there.is_some() && there == copy::ended_best(of_same().filter_map(|s| s.ended_as))
}

fn differing(segments: &Segments<'_>) -> impl Iterator<Item = Lack> {
    let differ = segments.iter().filter(|(_, s)| s.differs());
    differ.map(|((id, _), s)| Lack::Differs(*id, s.copies.keys().copied().collect()))
}

/// Whether the call is gathered at another node, with other copies of all that is here: what is here stays, and nobody asks for
/// it.
fn is_settled_elsewhere(view: &View<'_>, segments: &Segments<'_>) -> bool {
    let (known, here) = (view.known, view.terms.node);
    let mut others = known.nodes.keys().filter(|node| **node != here && known.heard.contains(node));
    others.any(|node| {
        let stays = |s: &Segment<'_>| !s.copies.contains_key(&here) || s.stays_apart(here, *node);
        is_gathered_at(view, segments, *node) && segments.values().all(stays)
    })
}

fn missing(view: &View<'_>, segments: &Segments<'_>) -> Vec<Lack> {
    let (known, here) = (view.known, view.terms.node);
    let mut lacks = match (left::verdict(view, segments), known.total(segments)) {
        (Some(_), _) => Vec::new(),
        (None, Some(total)) => Known::missing(segments, total).into_iter().map(Lack::Number).collect(),
        (None, None) => vec![Lack::NotEnded],
    };
    let away = left::away(view);
    if !lacks.is_empty() && away > 0 {
        // They may have it, or have heard how it came out.
        lacks.push(Lack::Servers(away));
    }
    let waits_for = segments.iter().filter(|(of, _)| !is_spare(view, segments, **of, here));
    lacks.extend(waits_for.filter_map(|(of, segment)| lack(view, *of, segment)));
    lacks
}

/// Why what was recorded of a segment is neither here nor can be had.
fn lack(view: &View<'_>, of: Recording, segment: &Segment<'_>) -> Option<Lack> {
    let (known, here, (id, by)) = (view.known, view.terms.node, of);
    if let Some(node) = segment.live_at {
        Some(Lack::Live(id, node))
    } else if segment.copies.contains_key(&here) || source(view, of, segment).is_some() {
        None
    } else if known.at(here).is_some_and(|own| own.copy(id, by).is_some()) {
        Some(Lack::GivenUp(id))
    } else {
        let at: Vec<_> = segment.copies.keys().copied().collect();
        let is_spoiled = at.iter().any(|node| known.spoiled.contains(&(of, *node)));
        Some(if is_spoiled { Lack::Spoiled(id, at) } else { Lack::Away(id, at) })
    }
}

/// Whom to have a copy of.
fn source<'a>(
    view: &View<'_>,
    of: Recording,
    segment: &Segment<'a>,
) -> Option<(NodeNumber, &'a Place, &'a Holding)> {
    let may = |node: &NodeNumber| view.up.contains_key(node) && !view.known.spoiled.contains(&(of, *node));
    // One that lies here is given up, and being removed.
    let is_here = view.known.at(view.terms.node).is_some_and(|own| own.copy(of.0, of.1).is_some());
    let found = segment.copies.iter().find(|(node, _)| may(node)).filter(|_| !is_here);
    found.map(|(node, (place, copy))| (*node, *place, *copy))
}

fn recorded(segments: &Segments<'_>) -> Vec<Recorded> {
    segments.values().map(|s| s.recorded).collect()
}

fn candidates(view: &View<'_>, segments: &Segments<'_>) -> Vec<Candidate> {
    let whole = segments.values().fold(0_u64, |sum, s| sum.saturating_add(s.octets()));
    let of = |node: NodeNumber, room: u64| {
        let held = segments.values().filter_map(|s| s.copies.get(&node));
        let octets = held.fold(0_u64, |sum, (_, copy)| sum.saturating_add(copy.octets()));
        let gathered = view.known.at(node).is_some_and(|held| held.gathered);
        Candidate { node, gathered, octets, lacks: whole.saturating_sub(octets), room }
    };
    let here = view.room.saturating_add(view.known.fetched);
    let others = view.up.iter().map(|(node, room)| of(*node, room.unwrap_or(0)));
    let all = std::iter::once(of(view.terms.node, here)).chain(others);
    all.filter(|c| segments.values().any(|s| s.copies.contains_key(&c.node))).collect()
}

/// A job that brings here what is missing, and notes it.
fn gather(view: &View<'_>, segments: &Segments<'_>) -> Result<Job, String> {
    let (known, here) = (view.known, view.terms.node);
    let mut outcome = Known::outcome(segments).ok_or("not all segments say how they ended")?;
    let (total, told, why) = match left::verdict(view, segments) {
        Some(verdict) => {
            outcome = outcome.max(verdict.least);
            (verdict.total, verdict.told, "gathered; nobody said how it came out")
        }
        None => (known.total(segments).ok_or("the call is not known to have ended")?, None, "gathered"),
    };
    let own = known.at(here);
    // A failure on the way is never forgotten, whoever noted it and why, unless another copy of what failed did not.
    let before = own.and_then(|own| own.state).filter(|s| s.is_gathered() || s.is_segment());
    let before = before.filter(|_| !has_twins(segments));
    outcome = outcome.max(before.and_then(RecordingState::outcome).unwrap_or(outcome));
    let state = RecordingState::gathered(outcome);
    let mut places: BTreeMap<Place, Vec<(Holding, Option<NodeNumber>)>> = BTreeMap::new();
    let mut stages = VecDeque::new();
    let mut has_first = with_first(own);
    let mut by_number: Vec<_> =
        segments.iter().filter(|(of, _)| !is_spare(view, segments, **of, here)).collect();
    by_number.sort_by_key(|(_, s)| s.recorded);
    for (of, segment) in by_number {
        if let Some((place, copy)) = segment.copies.get(&here) {
            places.entry((*place).clone()).or_default().push(((*copy).clone(), None));
            continue;
        }
        let (from, source, copy) = source(view, *of, segment).ok_or("a segment cannot be had")?;
        let copy = Holding { state: copy.ended_as.unwrap_or(copy.state), ..copy.clone() };
        let rank = if has_first.insert(of.0) { Rank::First } else { Rank::Twin };
        let to = (volume_for(view, own, source), rank);
        let fetch = Fetch::new(from, source.clone(), to, copy.clone(), view.terms.range);
        places.entry(fetch.to.clone()).or_default().push((copy, Some(from)));
        stages.push_back(Work::Fetch(Box::new(fetch)));
    }
    let passed = passed(own.and_then(|own| own.state), state, why)?;
    let of_call = places.keys().find(|place| place.of == known.key && place.rank.is_first()).cloned();
    let of_call = of_call.unwrap_or_else(|| {
        let volume = view.terms.volume.clone();
        let place = Place { of: known.key.clone(), volume, rank: Rank::First };
        Place { volume: volume_for(view, own, &place), ..place }
    });
    places.entry(of_call.clone()).or_default();
    let volumes: BTreeSet<VolumeName> = places.keys().map(|place| place.volume.clone()).collect();
    let volumes: Vec<_> = volumes.into_iter().collect();
    stages.push_back(Work::Sync(volumes.clone()));
    for (place, copies) in places {
        let call = (place == of_call).then(|| (known.key.call, total, passed.clone()));
        let note = Note { node: here, place, copies, call, at: NoteAt::default() };
        stages.push_back(Work::Note(Box::new(note)));
    }
    stages.push_back(Work::Sync(volumes));
    Ok(Job { aim: Aim::Gather { state, told }, stages, waits: None })
}

/// Whether two nodes recorded the same segment.
fn has_twins(segments: &Segments<'_>) -> bool {
    let ids: BTreeSet<SegmentId> = segments.keys().map(|(id, _)| *id).collect();
    ids.len() < segments.len()
}

/// The segments of which a copy lies here in the directory of its call. The next one would have the same names: it lies beside.
fn with_first(own: Option<&CallHoldings>) -> BTreeSet<SegmentId> {
    let all = own.into_iter().flat_map(CallHoldings::copies);
    all.filter(|(place, _)| place.rank.is_first()).map(|(_, copy)| copy.segment).collect()
}

/// Where what is fetched goes: where its directory is already, or others of the call.
fn volume_for(view: &View<'_>, own: Option<&CallHoldings>, source: &Place) -> VolumeName {
    let mut places = own.into_iter().flat_map(|own| own.directories.iter().map(|d| &d.place));
    let same = places.clone().find(|place| place.of == source.of);
    same.or_else(|| places.next()).map_or_else(|| view.terms.volume.clone(), |place| place.volume.clone())
}

/// The states that the call's own copy passes through, by the table. One that was given up is no more: another comes to be. So it
/// is where a second copy came of a segment that had failed, and it had not: what failed is given up for what did not.
fn passed(
    before: Option<RecordingState>,
    state: RecordingState,
    why: &'static str,
) -> Result<Vec<Passed>, String> {
    let outcome = state.outcome().ok_or("the call comes to nothing")?;
    let gathered = |from: RecordingState| {
        Ok(match from.apply(Transition::Gathered(outcome)) {
            Ok(to) => vec![(Some(from), to, why)],
            Err(_) => {
                let gone = choice::given_up(from, state).map_err(|e| e.to_string())?;
                vec![(Some(from), gone, "a copy came that did not fail"), (None, state, why)]
            }
        })
    };
    match before {
        Some(from) if from.is_gathered() => {
            let partial = from.apply(Transition::Continued).map_err(|e| e.to_string())?;
            let continued = (Some(from), partial, "continued");
            Ok(std::iter::once(continued).chain(gathered(partial)?).collect())
        }
        Some(from) if from.is_segment() => gathered(from),
        _ => Ok(vec![(None, state, why)]),
    }
}

/// A job that has one directory of one node given up, when there is one. `apart`: copies that are others than those here. They
/// stay, like those that a node has said it keeps, so nobody waits for either.
fn give_up(view: &View<'_>, segments: &Segments<'_>, mut lacks: Vec<Lack>, apart: Vec<Lack>) -> Plan {
    let here = view.terms.node;
    let mut job = None;
    let away = left::away(view);
    if view.known.was_left && away > 0 {
        // What they have may have been concluded there, and is in nobody's mind any more.
        lacks.push(Lack::Servers(away));
    }
    for (node, held) in view.known.nodes.iter().filter(|(node, _)| **node != here) {
        let stays = |of| segments.get(&of).is_some_and(|s| s.stays_apart(here, *node));
        let is_left = held.copies().any(|(_, copy)| copy.is_kept() && !stays((copy.segment, copy.node)));
        if !is_left || view.known.keepers.contains(node) {
            continue;
        }
        lacks.push(Lack::Copies(*node));
        let may = view.up.contains_key(node) && is_open(view);
        if may && job.is_none() {
            job = held.directories.iter().find_map(|d| leave(view, segments, *node, &d.place));
        }
    }
    let stage = if lacks.is_empty() { Stage::Done } else { Stage::Gathered };
    lacks.extend(apart);
    Plan { stage, lacks, job, trouble: None, is_left: None }
}

fn leave(view: &View<'_>, segments: &Segments<'_>, at: NodeNumber, source: &Place) -> Option<Job> {
    let (known, here) = (view.known, view.terms.node);
    let state = known.at(here)?.state?;
    let (mut copies, mut files, mut places) = (Vec::new(), Vec::new(), BTreeSet::new());
    let (mut recordings, mut twins) = (Vec::new(), BTreeSet::new());
    for (of, segment) in segments {
        let (Some((place, copy)), Some((own_place, own))) =
            (segment.copies.get(&at), segment.copies.get(&here))
        else {
            continue;
        };
        let (Some(there), Some(digest)) = (copy.digest(), own.digest()) else { continue };
        if *place != source || there != digest || known.spoiled.contains(&(*of, here)) {
            continue;
        }
        copies.push((of.0, digest.to_owned()));
        recordings.push(*of);
        places.insert((*own_place).clone());
        if !own_place.rank.is_first() {
            twins.insert(of.0);
        }
        if !known.checked.contains(of) {
            let directory = logs::directory(own_place);
            files.extend(own.files.iter().map(|file| {
                let sealed = LogMark { octets: file.octets, sha256: file.sha256.clone() };
                (*of, own_place.volume.clone(), format!("{directory}/{}", file.name), sealed)
            }));
        }
    }
    let logs = logs_here(known.at(here)?, &places)?;
    let volumes: BTreeSet<_> = places.into_iter().map(|place| place.volume).collect();
    let leave = Leave {
        at,
        source: source.clone(),
        here: logs,
        twins,
        copies,
        state,
        phase: Phase::default(),
        log: Vec::new(),
    };
    let stages = VecDeque::from([
        Work::Check(Check { node: here, files }),
        // Whoever was killed may have left what only the kernel's memory has.
        Work::Sync(volumes.into_iter().collect()),
        Work::Leave(Box::new(leave)),
    ]);
    Some(Job { aim: Aim::GiveUp { at, recordings }, stages, waits: None })
}

/// The directories here in whose logs that is to stand which the log of such copies says: that of second copies, if some of them
/// lie there, and that of the call.
fn logs_here(own: &CallHoldings, of_copies: &BTreeSet<Place>) -> Option<Vec<Place>> {
    let one = of_copies.first()?;
    let is_of_call = |place: &&Place| place.rank.is_first() && place.of == one.of;
    let here = || own.directories.iter().map(|directory| &directory.place);
    let of_call = of_copies.iter().find(is_of_call).or_else(|| here().find(is_of_call)).cloned();
    let of_call = of_call.unwrap_or_else(|| Place { rank: Rank::First, ..one.clone() });
    let twin = of_copies.iter().find(|place| !place.rank.is_first()).cloned();
    Some(std::iter::once(of_call).chain(twin).collect())
}
