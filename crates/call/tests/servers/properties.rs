//! Whatever record servers and clients do in whatever order: calls go on where they can, nothing is live twice or nowhere,
//! and nothing stays.
//!
//! What must hold at every moment stands in [`crate::ledger`]; here are the lives, and what must hold at their end.

use std::collections::BTreeMap;

use call::Anchoring;
use model::Route;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use proptest::{collection, sample};
use sip::SessionId;

use crate::cluster::{Cluster, REMEMBERED};
use crate::ledger::Dialog;
use crate::node::Node;

/// What record servers do.
const NODES: [&str; 19] = [
    "up",
    "up",
    "up",
    "die",
    "start",
    "start",
    "cut",
    "refuse",
    "slow",
    "mute",
    "quiet",
    "hang",
    "well",
    "well",
    "well",
    "fail",
    "seal",
    "over 1000",
    "drain",
];
/// What clients do, and time.
const CLIENTS: [&str; 13] = [
    "invite",
    "invite",
    "invite",
    "hold",
    "resume",
    "bye",
    "cancel",
    "answer",
    "refuse",
    "take",
    "wait 30ms",
    "wait 400ms",
    "wait 2s",
];

/// One thing that happens: which of the two lists, what of it, at whom.
type Event = (bool, sample::Index, sample::Index);

fn live(cluster: &mut Cluster, (of_nodes, what, whose): Event) {
    if of_nodes {
        let names: Vec<_> = cluster.nodes.keys().cloned().collect();
        let (name, does) = (whose.get(&names).clone(), what.get(&NODES));
        return cluster.play(&format!("{name} {does}"));
    }
    let sessions: Vec<SessionId> = open(cluster).map(|(session, _)| session).collect();
    match *what.get(&CLIENTS) {
        "invite" => {
            let session = SessionId(cluster.ledger.dialogs.len() as u64 + 1);
            cluster.ledger.dialogs.insert(session, Dialog { is_pending: true, ..Dialog::default() });
            cluster.session = session;
            cluster.play("invite sendonly");
        }
        "take" => {
            let names: Vec<_> = cluster.nodes.keys().cloned().collect();
            cluster.play(&format!("{} take", whose.get(&names)));
        }
        wait if wait.starts_with("wait") => cluster.play(wait),
        _ if sessions.is_empty() => {}
        what => {
            cluster.session = *whose.get(&sessions);
            client(cluster, what);
        }
    }
}

/// The dialogs that are not over.
fn open(cluster: &Cluster) -> impl Iterator<Item = (SessionId, Dialog)> {
    cluster.ledger.dialogs.iter().filter(|(_, dialog)| !dialog.is_over).map(|(s, d)| (*s, *d))
}

/// A client does what it may now.
fn client(cluster: &mut Cluster, what: &str) {
    let session = cluster.session;
    let Some(dialog) = cluster.ledger.dialogs.get_mut(&session) else { return };
    let is_idle = dialog.is_answered && !dialog.is_pending && !dialog.is_offered;
    match what {
        "hold" | "resume" if is_idle => {
            dialog.is_pending = true;
            cluster.play(if what == "hold" { "reinvite inactive" } else { "reinvite sendonly" });
        }
        "bye" if dialog.is_answered => {
            dialog.is_over = true;
            cluster.play("bye");
        }
        "cancel" if !dialog.is_answered => {
            dialog.is_over = true;
            cluster.play("cancel");
        }
        "answer" | "refuse" if dialog.is_offered => {
            dialog.is_offered = false;
            cluster.play(if what == "answer" { "accepted sendonly" } else { "not-accepted" });
        }
        _ => {}
    }
}

/// Everybody is well again, and all calls end.
fn heal(cluster: &mut Cluster) {
    let names: Vec<_> = cluster.nodes.keys().cloned().collect();
    for name in &names {
        for does in ["well", "take", "start"] {
            cluster.play(&format!("{name} {does}"));
        }
    }
    cluster.play("wait 6s");
    // Whom it gave up meanwhile it dials again.
    for name in &names {
        cluster.play(&format!("{name} start"));
    }
    let left: Vec<_> = open(cluster).collect();
    for (session, dialog) in left {
        cluster.session = session;
        client(cluster, if dialog.is_answered { "bye" } else { "cancel" });
    }
    cluster.play("wait 20s");
}

fn is_over(cluster: &mut Cluster) -> Result<(), TestCaseError> {
    let stats = cluster.front.stats();
    prop_assert_eq!((stats.dialogs, stats.calls), (0, 0), "something stays:\n{}", cluster.out);
    prop_assert!(cluster.ledger.is_settled(), "a segment has no end:\n{}", cluster.out);
    for node in cluster.nodes.values() {
        prop_assert!(node.live.is_empty(), "{} records on:\n{}", node.name, cluster.out);
    }
    cluster.wait(REMEMBERED);
    prop_assert_eq!(cluster.servers.remembered(), 0, "something is remembered:\n{}", cluster.out);
    // As the shell does each round: what nobody answered waits for the next order, or for that.
    cluster.anchors.close_again();
    prop_assert_eq!(cluster.anchors.remembered(), (0, 0), "something is anchored:\n{}", cluster.out);
    prop_assert!(cluster.anchors.relay().lines.is_empty(), "a port stays open:\n{}", cluster.out);
    prop_assert_eq!(cluster.front.next_timeout(), None, "a timer stays:\n{}", cluster.out);
    Ok(())
}

/// Of each segment that `Front` takes to be live the record server that has it gets copies, with the mark that it knows.
fn copies_arrive(cluster: &mut Cluster) -> Result<(), TestCaseError> {
    let live = cluster.ledger.live();
    for node in cluster.nodes.values() {
        for (segment, ports) in node.streams().filter(|(segment, _)| live.contains(segment)) {
            for (stream, at, route) in ports {
                let to = cluster.anchors.relay().lines.get(&stream).and_then(|line| line.to);
                let is_there = to.is_some_and(|(to, mark)| to == at && Route::Relayed(mark) == route);
                prop_assert!(is_there, "no copies of {segment} to {at}:\n{}", cluster.out);
            }
        }
    }
    Ok(())
}

/// Of each segment that `Front` takes to be live somebody who is reached gets copies, and nobody gets the same twice.
fn lines_are_fed(cluster: &mut Cluster) -> Result<(), TestCaseError> {
    let live = cluster.ledger.live();
    let places: Vec<_> =
        cluster.nodes.values().filter(|node| node.is_linked).flat_map(Node::streams).collect();
    for segment in live {
        let here = places.iter().filter(|(of, _)| *of == segment).flat_map(|(_, streams)| streams);
        let mut fed = BTreeMap::new();
        for (stream, at, _) in here {
            let line = cluster.anchors.relay().lines.get(stream);
            let to =
                line.map(|line| [line.to, line.second].map(|to| to.map(|(to, _)| to))).unwrap_or_default();
            prop_assert!(to[0].is_none() || to[0] != to[1], "twice to {at}:\n{}", cluster.out);
            *fed.entry(*stream).or_insert(false) |= to.contains(&Some(*at));
        }
        prop_assert!(fed.values().all(|fed| *fed), "nobody gets {segment}:\n{}", cluster.out);
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_fails_each_segment_is_in_one_place_and_nothing_stays(
        servers in 1_usize..4,
        lives in collection::vec((any::<bool>(), any::<sample::Index>(), any::<sample::Index>()), 1..80),
    ) {
        let mut cluster = Cluster::new(servers);
        for name in cluster.nodes.keys().cloned().collect::<Vec<_>>() {
            cluster.play(&format!("{name} up"));
        }
        for event in &lives {
            live(&mut cluster, *event);
        }
        heal(&mut cluster);
        is_over(&mut cluster)?;
    }

    /// The same where media go through the proxy: nobody is ever told of other ports, and copies of each stream go to where
    /// its segment is live.
    #[test]
    fn whatever_fails_ports_of_an_anchored_call_stay_and_copies_go_where_it_is_recorded(
        servers in 1_usize..4,
        lives in collection::vec((any::<bool>(), any::<sample::Index>(), any::<sample::Index>()), 1..80),
    ) {
        let mut cluster = Cluster::anchored(servers, Anchoring::Always);
        for name in cluster.nodes.keys().cloned().collect::<Vec<_>>() {
            cluster.play(&format!("{name} up"));
        }
        for event in &lives {
            live(&mut cluster, *event);
            copies_arrive(&mut cluster)?;
        }
        heal(&mut cluster);
        is_over(&mut cluster)?;
        prop_assert!(!cluster.out.contains("    INVITE"), "told of other ports:\n{}", cluster.out);
    }

    /// The same with two copies of each segment.
    #[test]
    fn whatever_fails_nothing_stays_of_two_copies(
        servers in 1_usize..5,
        lives in collection::vec((any::<bool>(), any::<sample::Index>(), any::<sample::Index>()), 1..80),
    ) {
        let mut cluster = Cluster::doubled(servers);
        for name in cluster.nodes.keys().cloned().collect::<Vec<_>>() {
            cluster.play(&format!("{name} up"));
        }
        for event in &lives {
            live(&mut cluster, *event);
            lines_are_fed(&mut cluster)?;
        }
        heal(&mut cluster);
        is_over(&mut cluster)?;
        prop_assert!(!cluster.out.contains("    INVITE"), "told of other ports:\n{}", cluster.out);
    }

    /// Where each record server answers and one at least is left, a call that goes on is recorded.
    #[test]
    fn a_call_goes_on_as_long_as_there_is_a_record_server(
        deaths in collection::vec((any::<sample::Index>(), 2_500_u64..6_000), 1..12),
    ) {
        let mut cluster = Cluster::new(2);
        for name in ["a", "b"] {
            cluster.play(&format!("{name} up"));
        }
        for session in 1..=4 {
            cluster.session = SessionId(session);
            cluster.play("invite sendonly");
        }
        for (who, after) in deaths {
            let name = who.get(&["a", "b"]);
            cluster.play(&format!("{name} die"));
            for session in 1..=4 {
                cluster.session = SessionId(session);
                client(&mut cluster, "answer");
            }
            let live: usize = cluster.nodes.values().map(|node| node.live.len()).sum();
            prop_assert_eq!(live, 4, "a call is not recorded:\n{}", cluster.out);
            cluster.play(&format!("{name} start"));
            cluster.play(&format!("wait {after}ms"));
        }
        prop_assert!(!cluster.out.contains("not-recorded"), "{}", cluster.out);
        heal(&mut cluster);
        is_over(&mut cluster)?;
        prop_assert_eq!(cluster.ledger.concluded.len(), 4);
    }
}
