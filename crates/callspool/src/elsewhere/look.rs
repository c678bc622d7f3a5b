//! Looking for a call at other nodes: what each has, which manifests and logs there are, and what is missing and why.
//!
//! What was found is good for some seconds, as players ask for range after range, and only as long as no node comes or goes.
//! Whoever wants the same call meanwhile waits for the same look. What a node said is remembered for a while longer, to say
//! where a segment is when that node is away; it is not played by that: it may have been deleted there since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use model::{
    Answer, CallHoldings, CallId, CallKey, Declined, HeldFile, NodeNumber, PeerName, Place, Request,
    TenantId, WallTime,
};
use peers::PeerStands;
use spool::gathering::LOG_MAX;
use spool::gathering::across::{self, Absent, Across, Borrowed, Here};
use spool::layout;
use tokio::time::{sleep, timeout};

use super::{AT_ONCE, Found, FoundLog, FoundSegment, Missing, Shared, Silent, Wanted};

/// How long what was found is good: players ask for the next range sooner.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// How long a node may take to say what it has: it looks for the call on its disks.
const SAYS_WITHIN: Duration = Duration::from_secs(4);
/// How long a look may take with all manifests and logs.
const LOOK_WITHIN: Duration = Duration::from_secs(60);
/// A node that is busy is asked so often.
const TRIES: u32 = 4;
/// Calls that are remembered, with some kilobytes for each.
const CALLS_MAX: usize = 256;
/// Copies of a call that are remembered of a node: of one with more it is not known where they were.
const COPIES_MAX: usize = 256;
/// A manifest, at most: what a reader of manifests reads.
const MANIFEST_MAX: u64 = 64 << 20;
/// Octets of a log that are asked for at once: most have fewer.
const LOG_RANGE: u64 = 64 << 10;
/// Logs that are read for a call, of 4 MiB each at most: it has one in each of its directories at each node.
const LOGS_MAX: usize = 32;

/// See the module.
#[derive(Default)]
pub(super) struct Looks(Mutex<BTreeMap<(TenantId, CallId), OneLook>>);

/// Whoever wants the same call waits for it.
type OneLook = Arc<Mutex<Look>>;

#[derive(Default)]
struct Look {
    /// When it was looked at, at which state of the nodes, and what was found.
    found: Option<(Instant, u64, Arc<Found>)>,
    /// What nodes said when they were asked last.
    said: BTreeMap<NodeNumber, CallHoldings>,
}

impl Looks {
    fn of(&self, tenant: &TenantId, call: CallId) -> OneLook {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), call);
        if looks.len() >= CALLS_MAX && !looks.contains_key(&key) {
            // One that nobody waits for; what is forgotten is looked for anew.
            let idle =
                looks.iter().find(|(_, look)| Arc::strong_count(look) == 1).map(|(key, _)| key.clone());
            idle.and_then(|idle| looks.remove(&idle));
        }
        Arc::clone(looks.entry(key).or_default())
    }
}

impl Shared {
    /// What other nodes have of a call. It blocks.
    pub(super) fn look(self: &Arc<Self>, keys: Vec<CallKey>, here: Here) -> Arc<Found> {
        let Some((key, questions)) = keys.first().zip(self.questions.get()) else {
            return Arc::new(unanswered(&here, "other nodes cannot be asked yet"));
        };
        let look = self.looks.of(&key.tenant, key.call);
        let mut look = look.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = questions.changes();
        if let Some((at, then, found)) = &look.found
            && at.elapsed() < GOOD_FOR
            && *then == changes
        {
            return Arc::clone(found);
        }
        let (tell, told) = mpsc::sync_channel(1);
        let (shared, before, own) = (Arc::clone(self), look.said.clone(), here.clone());
        self.runtime.spawn(async move {
            // Nobody may wait any more.
            let _ = tell.send(shared.look_for(&keys, &own, before).await);
        });
        let Ok((found, said)) = told.recv_timeout(LOOK_WITHIN) else {
            return Arc::new(unanswered(&here, "other nodes do not say in time what they have"));
        };
        let found = Arc::new(found);
        look.said = said;
        look.found = Some((Instant::now(), changes, Arc::clone(&found)));
        found
    }

    async fn look_for(
        &self,
        keys: &[CallKey],
        here: &Here,
        before: BTreeMap<NodeNumber, CallHoldings>,
    ) -> (Found, BTreeMap<NodeNumber, CallHoldings>) {
        let peers = self.questions.get().map(peers::Questions::peers).unwrap_or_default();
        let asked: Vec<_> =
            peers.iter().map(|peer| async move { (peer, self.held_at(peer, keys).await) }).collect();
        let (mut said, mut silent) = (BTreeMap::new(), Vec::new());
        for (peer, held) in join_all(asked).await {
            match (held, peer.node) {
                (Ok(held), Some(node)) => _ = said.insert(node, held),
                (Ok(_), None) => {}
                (Err(why), node) => {
                    let since = peer.away.as_ref().map(|away| wall(away.since));
                    silent.push(Silent { name: peer.name.clone(), node, why, since });
                }
            }
        }
        let before = before.into_iter().filter(|(node, _)| !said.contains_key(node)).collect();
        let plan = across::across(here, &said, &before);
        let names = Names { peers: &peers, silent: &silent };
        let mut found = self.found(plan, &names).await;
        found.logs = self.logs(&said, &names).await;
        let with_something = said.values().find(|held| !held.directories.is_empty());
        found.directory = with_something.map(|held| across::directory_of(&held.call));
        if found.missing.is_empty() {
            found.missing.extend(silent.iter().map(Silent::may_have_more));
        }
        found.silent = silent;
        let remembered =
            before.into_iter().chain(said).filter(|(_, held)| held.copies().count() <= COPIES_MAX);
        (found, remembered.collect())
    }

    /// What a node has, under the first of these keys by which it knows anything.
    async fn held_at(&self, peer: &PeerStands, keys: &[CallKey]) -> Result<CallHoldings, String> {
        if let Some(away) = &peer.away {
            return Err(away.why.clone());
        }
        let mut last = Err("there is nothing to ask for".to_owned());
        for key in keys {
            let said = timeout(SAYS_WITHIN, self.ask_for(&peer.name, key)).await;
            last = said.unwrap_or_else(|_| Err("it does not say what it has".to_owned()));
            if !last.as_ref().is_ok_and(|held| held.directories.is_empty()) {
                break;
            }
        }
        last
    }

    async fn ask_for(&self, peer: &PeerName, key: &CallKey) -> Result<CallHoldings, String> {
        let questions = self.questions.get().ok_or("other nodes cannot be asked yet")?;
        let mut tries = 0;
        loop {
            tries += 1;
            match questions.ask(peer, Request::List { call: key.clone() }).await? {
                Answer::Held { held, .. } if across::is_believed(key, &held) => return Ok(held),
                Answer::Declined(Declined::Busy) if tries < TRIES => sleep(Duration::from_millis(200)).await,
                Answer::Declined(Declined::Busy) => return Err("it is busy".to_owned()),
                Answer::Declined(Declined::Disk(why)) => return Err(format!("it cannot read it: {why}")),
                Answer::Declined(_) => return Ok(CallHoldings::nothing(key.clone())),
                Answer::Held { .. } | Answer::Octets { .. } | Answer::Deleted => {
                    return Err("what it says that it has cannot be".to_owned());
                }
            }
        }
    }

    /// Has the manifests of what is played from other nodes; of copies that differ, of the first that can be had.
    async fn found(&self, plan: Across, names: &Names<'_>) -> Found {
        let missing = plan.absent.iter().map(|absent| names.missing(absent)).collect();
        let mut found = Found { missing, ..Found::default() };
        let each: Vec<_> = plan.borrowed.into_iter().map(|copies| self.first_of(copies, names)).collect();
        let mut each = iter(each).buffered(AT_ONCE);
        while let Some(one) = each.next().await {
            match one {
                Ok(segment) => found.segments.push(segment),
                Err(missing) => found.missing.push(missing),
            }
        }
        found.missing.sort_by_key(|missing| missing.number);
        found
    }

    async fn first_of(&self, copies: Vec<Borrowed>, names: &Names<'_>) -> Result<FoundSegment, Missing> {
        let mut last = Missing { number: None, segment: None, text: String::new(), since: None };
        for one in copies {
            // Who said what it has was asked by its name.
            let Some(name) = names.peer(one.from).cloned() else { continue };
            let segment = FoundSegment {
                segment: one.copy.segment,
                number: one.copy.number,
                node: one.from,
                name,
                directory: across::directory_of(&one.place.of),
                place: one.place.clone(),
                files: one.copy.files.clone(),
            };
            match self.check_manifest(&segment, &one).await {
                Ok(()) => return Ok(segment),
                Err(why) => last = segment.missing(&why),
            }
        }
        Err(last)
    }

    async fn check_manifest(&self, segment: &FoundSegment, one: &Borrowed) -> Result<(), String> {
        let manifest = one.manifest().filter(|manifest| manifest.octets <= MANIFEST_MAX);
        let manifest = manifest.ok_or("its manifest is longer than any")?;
        self.bring(&segment.wanted(manifest), |_| ()).await?;
        let file = self.shelf.open(&manifest.sha256).ok_or("elsewhere.cache is too small")?;
        let octets = read_whole(file).map_err(|e| format!("its manifest cannot be read here: {e}"))?;
        one.read_manifest(&octets).map(drop)
    }

    /// The logs of all directories of the call at all nodes. One that cannot be had is told of in the log of this process
    /// alone: what is heard does not depend on it but for who is on which side.
    async fn logs(&self, said: &BTreeMap<NodeNumber, CallHoldings>, names: &Names<'_>) -> Vec<FoundLog> {
        let of = |(node, held): (&NodeNumber, &'_ CallHoldings)| {
            held.directories.iter().map(|d| (*node, d.place.clone())).collect::<Vec<_>>()
        };
        let places: Vec<(NodeNumber, Place)> = said.iter().flat_map(of).take(LOGS_MAX).collect();
        let mut logs = Vec::new();
        for (node, place) in &places {
            let Some(name) = names.peer(*node) else { continue };
            match self.log(name, place).await {
                Ok(file) => logs.push(FoundLog { directory: across::directory_of(&place.of), file }),
                Err(why) => {
                    tracing::warn!(record_server = %name, "the log of a call there is not read: {why}")
                }
            }
        }
        logs
    }

    async fn log(&self, from: &PeerName, place: &Place) -> Result<HeldFile, String> {
        let name = layout::LOG_NAME.to_owned();
        let file = HeldFile { name: name.clone(), octets: 0, sha256: String::new() };
        let wanted = Wanted { from: from.clone(), place: place.clone(), file };
        let mut octets = Vec::new();
        loop {
            let (more, is_end) = self.range_of(&wanted, octets.len() as u64, LOG_RANGE).await?;
            // One that says that there is more, and has none, is asked no more.
            let is_end = is_end || more.is_empty();
            octets.extend(more);
            if octets.len() > LOG_MAX as usize {
                return Err("it is longer than any".to_owned());
            }
            if is_end {
                return self.shelf.put(&name, &octets);
            }
        }
    }
}

/// What nodes are called.
struct Names<'a> {
    peers: &'a [PeerStands],
    silent: &'a [Silent],
}

impl Names<'_> {
    fn peer(&self, node: NodeNumber) -> Option<&PeerName> {
        self.peers.iter().find(|peer| peer.node == Some(node)).map(|peer| &peer.name)
    }

    /// For people.
    fn name(&self, node: NodeNumber) -> String {
        self.peer(node).map_or_else(|| format!("node {}", node.get()), ToString::to_string)
    }

    fn missing(&self, absent: &Absent) -> Missing {
        let number = absent.number();
        let (text, since) = match absent {
            Absent::Live(_, _, node) => (format!("is being recorded at {}", self.name(*node)), None),
            Absent::GivenUp(_, _, node) => {
                let name = self.name(*node);
                (
                    format!("is given up or deleted at {name}, and nobody who can be asked has another copy"),
                    None,
                )
            }
            Absent::At(_, _, node) => {
                let silent = self.silent.iter().find(|silent| silent.node == Some(*node));
                let why = silent.map_or("it cannot be asked", |silent| silent.why.as_str());
                (format!("is at {}: {why}", self.name(*node)), silent.and_then(|silent| silent.since))
            }
            Absent::Nowhere(_) if self.silent.is_empty() => {
                ("is not at any node that is known".to_owned(), None)
            }
            Absent::Nowhere(_) => {
                let silent: Vec<String> = self.silent.iter().map(Silent::describe).collect();
                let since = self.silent.iter().filter_map(|silent| silent.since).min();
                (format!("is at no node that can be asked; {}", silent.join("; ")), since)
            }
        };
        let text = format!("segment {number} {text}");
        Missing { number: Some(number), segment: absent.segment(), text, since }
    }
}

/// Where nobody was asked: what is known here to be missing is, and whether there is more is not known.
fn unanswered(here: &Here, why: &str) -> Found {
    let plan = across::across(here, &BTreeMap::new(), &BTreeMap::new());
    let numbers: Vec<u16> = plan.absent.iter().map(Absent::number).collect();
    let lacking = |number: &u16| Missing {
        number: Some(*number),
        segment: None,
        text: format!("segment {number} is not here: {why}"),
        since: None,
    };
    let more =
        Missing { number: None, segment: None, text: format!("there may be more: {why}"), since: None };
    let missing = if numbers.is_empty() { vec![more] } else { numbers.iter().map(lacking).collect() };
    Found { missing, ..Found::default() }
}

fn wall(at: SystemTime) -> WallTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A manifest or log: whoever keeps the shelf has made sure how long it is.
pub(super) fn read_whole(mut file: std::fs::File) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut octets)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use model::SegmentId;

    use super::*;

    #[test]
    fn where_nobody_answers_nothing_is_said_to_be_whole() {
        let numbers = |segments: &[u16], total| {
            let segments = segments.iter().map(|n| (SegmentId::from_u64((*n).into()), *n)).collect();
            let found = unanswered(&Here { segments, total }, "why");
            found.missing.iter().map(|missing| missing.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&[2], 3), [Some(1), Some(3)]);
        assert_eq!(numbers(&[1], 1), [None]);
        assert_eq!(numbers(&[], 0), [None]);
    }

    #[test]
    fn what_is_missing_is_said_with_where_and_since_when() {
        let node = |n| NodeNumber::new(n).unwrap();
        let (name, away): (PeerName, _) = ("rec2".parse().unwrap(), WallTime(5_000));
        let stands = PeerStands { name: name.clone(), node: Some(node(2)), away: None };
        let why = "connection refused".to_owned();
        let silent = [Silent { name, node: Some(node(2)), why, since: Some(away) }];
        let segment = SegmentId::from_u64(7);
        let peers = [stands];
        let said = |silent: &[Silent], absent| {
            let missing = Names { peers: &peers, silent }.missing(&absent);
            (missing.text, missing.since)
        };
        assert_eq!(
            said(&silent, Absent::At(1, segment, node(2))),
            ("segment 1 is at rec2: connection refused".to_owned(), Some(away))
        );
        assert_eq!(said(&[], Absent::Live(2, segment, node(3))).0, "segment 2 is being recorded at node 3");
        let nowhere = said(&silent, Absent::Nowhere(3));
        assert!(nowhere.0.contains("no node that can be asked; rec2 cannot be asked: connection refused"));
        assert_eq!(nowhere.1, Some(away));
        assert_eq!(said(&[], Absent::Nowhere(3)).0, "segment 3 is not at any node that is known");
        assert_eq!(silent[0].may_have_more().number, None);
    }
}
