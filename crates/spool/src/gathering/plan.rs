//! What is to be done about a call, by what is known of it now. It changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    CallHoldings, Holding, LogMark, NodeNumber, Place, RecordingState, SegmentId, Transition, VolumeName,
};

use super::choice::{self, Candidate, Recorded};
use super::fetch::Fetch;
use super::job::{Aim, Check, Job, Stage as Work};
use super::known::{Known, Segment};
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

type Segments<'a> = BTreeMap<SegmentId, Segment<'a>>;

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
    if is_gathered_at(known, &segments, here) {
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
        Some(_) if lacks.iter().any(|lack| !matches!(lack, Lack::Differs(..) | Lack::Twice(..))) => {
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
fn is_gathered_at(known: &Known, segments: &Segments<'_>, node: NodeNumber) -> bool {
    let held = known.at(node);
    held.is_some_and(|held| held.gathered && held.state.is_some_and(RecordingState::is_gathered))
        && segments.values().all(|s| s.copies.contains_key(&node))
}

fn differing(segments: &Segments<'_>) -> impl Iterator<Item = Lack> {
    segments.iter().filter_map(|(id, s)| {
        let at = || s.copies.keys().copied().collect();
        match (s.differs(), s.is_recorded_twice()) {
            (true, _) => Some(Lack::Differs(*id, at())),
            (false, true) => Some(Lack::Twice(*id, at())),
            (false, false) => None,
        }
    })
}

/// Whether the call is gathered at another node, with other copies of all that is here: what is here stays, and nobody asks for
/// it.
fn is_settled_elsewhere(view: &View<'_>, segments: &Segments<'_>) -> bool {
    let (known, here) = (view.known, view.terms.node);
    let mut others = known.nodes.keys().filter(|node| **node != here && known.heard.contains(node));
    others.any(|node| {
        let stays = |s: &Segment<'_>| !s.copies.contains_key(&here) || s.stays_apart(here, *node);
        is_gathered_at(known, segments, *node) && segments.values().all(stays)
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
    for (id, segment) in segments {
        if let Some(node) = segment.live_at {
            lacks.push(Lack::Live(*id, node));
        } else if segment.copies.contains_key(&here) || source(view, *id, segment).is_some() {
            // It is here, or can be had.
        } else if known.at(here).is_some_and(|own| own.copy(*id).is_some()) {
            lacks.push(Lack::GivenUp(*id));
        } else {
            let at: Vec<_> = segment.copies.keys().copied().collect();
            let is_spoiled = at.iter().any(|node| known.spoiled.contains(&(*id, *node)));
            lacks.push(if is_spoiled { Lack::Spoiled(*id, at) } else { Lack::Away(*id, at) });
        }
    }
    lacks
}

/// Whom to have a segment of.
fn source<'a>(
    view: &View<'_>,
    id: SegmentId,
    segment: &Segment<'a>,
) -> Option<(NodeNumber, &'a Place, &'a Holding)> {
    let may = |node: &NodeNumber| view.up.contains_key(node) && !view.known.spoiled.contains(&(id, *node));
    // One that lies here is given up, and being removed.
    let is_here = view.known.at(view.terms.node).is_some_and(|own| own.copy(id).is_some());
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
    // A failure on the way is never forgotten, whoever noted it and why.
    let before = own.and_then(|own| own.state).filter(|s| s.is_gathered() || s.is_segment());
    outcome = outcome.max(before.and_then(RecordingState::outcome).unwrap_or(outcome));
    let state = RecordingState::gathered(outcome);
    let mut places: BTreeMap<Place, Vec<(Holding, Option<NodeNumber>)>> = BTreeMap::new();
    let mut stages = VecDeque::new();
    let mut by_number: Vec<_> = segments.iter().collect();
    by_number.sort_by_key(|(_, s)| s.recorded);
    for (id, segment) in by_number {
        if let Some((place, copy)) = segment.copies.get(&here) {
            places.entry((*place).clone()).or_default().push(((*copy).clone(), None));
            continue;
        }
        let (from, source, copy) = source(view, *id, segment).ok_or("a segment cannot be had")?;
        let copy = Holding { state: copy.ended_as.unwrap_or(copy.state), ..copy.clone() };
        let fetch =
            Fetch::new(from, source.clone(), volume_for(view, own, source), copy.clone(), view.terms.range);
        places.entry(fetch.to.clone()).or_default().push((copy, Some(from)));
        stages.push_back(Work::Fetch(Box::new(fetch)));
    }
    let passed = passed(own.and_then(|own| own.state), state, why)?;
    let of_call = places.keys().find(|place| place.of == known.key).cloned();
    let of_call = of_call.unwrap_or_else(|| {
        let place = Place { of: known.key.clone(), volume: view.terms.volume.clone() };
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

/// Where what is fetched goes: where its directory is already, or others of the call.
fn volume_for(view: &View<'_>, own: Option<&CallHoldings>, source: &Place) -> VolumeName {
    let mut places = own.into_iter().flat_map(|own| own.directories.iter().map(|d| &d.place));
    let same = places.clone().find(|place| place.of == source.of);
    same.or_else(|| places.next()).map_or_else(|| view.terms.volume.clone(), |place| place.volume.clone())
}

/// The states that the call's own copy passes through, by the table. One that was given up is no more: another comes to be.
fn passed(
    before: Option<RecordingState>,
    state: RecordingState,
    why: &'static str,
) -> Result<Vec<Passed>, String> {
    let outcome = state.outcome().ok_or("the call comes to nothing")?;
    let gathered = |from: RecordingState| {
        let to = from.apply(Transition::Gathered(outcome)).map_err(|e| e.to_string())?;
        Ok::<_, String>((Some(from), to, why))
    };
    match before {
        Some(from) if from.is_gathered() => {
            let partial = from.apply(Transition::Continued).map_err(|e| e.to_string())?;
            Ok(vec![(Some(from), partial, "continued"), gathered(partial)?])
        }
        Some(from) if from.is_segment() => Ok(vec![gathered(from)?]),
        _ => Ok(vec![(None, state, why)]),
    }
}

/// A job that has one directory of one node given up, when there is one. `apart`: copies that are others than those here. They
/// stay, like those that a node has said it keeps, so nobody waits for either.
fn give_up(view: &View<'_>, segments: &Segments<'_>, mut lacks: Vec<Lack>, apart: Vec<Lack>) -> Plan {
    let here = view.terms.node;
    let mut job = None;
    for (node, held) in view.known.nodes.iter().filter(|(node, _)| **node != here) {
        let stays = |id| segments.get(&id).is_some_and(|s| s.stays_apart(here, *node));
        let is_left = held.copies().any(|(_, copy)| copy.is_kept() && !stays(copy.segment));
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
    for (id, segment) in segments {
        let (Some((place, copy)), Some((own_place, own))) =
            (segment.copies.get(&at), segment.copies.get(&here))
        else {
            continue;
        };
        let (Some(there), Some(digest)) = (copy.digest(), own.digest()) else { continue };
        if *place != source || there != digest || known.spoiled.contains(&(*id, here)) {
            continue;
        }
        copies.push((*id, digest.to_owned()));
        places.insert((*own_place).clone());
        if !known.checked.contains(id) {
            let directory = logs::directory(&own_place.of);
            files.extend(own.files.iter().map(|file| {
                let sealed = LogMark { octets: file.octets, sha256: file.sha256.clone() };
                (*id, own_place.volume.clone(), format!("{directory}/{}", file.name), sealed)
            }));
        }
    }
    let first = places.first()?.clone();
    let volumes: BTreeSet<_> = places.into_iter().map(|place| place.volume).collect();
    let segments = copies.iter().map(|(id, _)| *id).collect();
    let leave = Leave {
        at,
        source: source.clone(),
        here: first,
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
    Some(Job { aim: Aim::GiveUp { at, segments }, stages, waits: None })
}
