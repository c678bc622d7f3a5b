//! Whether the roles of a node, its peers and its certificate go together.

use std::path::Path;
use std::time::Duration;

use model::{NodeNumber, PeerName};

use super::{Findings, is_sip_uri};
use crate::config::{Config, GatherMode, Placement, RelayRule, Role};

/// 10 s: a proxy concludes a call some seconds after its last segment ended, and a link that broke is made anew by then.
const CONCLUDE_AFTER_MIN: Duration = Duration::from_secs(10);

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let has = |role| config.node.roles.contains(&role);
    let (cluster, peers) = (&config.cluster, &config.tables.peer);
    if has(Role::Proxy) && !has(Role::Recorder) && peers.is_empty() {
        let why = "a proxy without record servers refuses every call";
        findings.add("node", "roles", why, "name recorder too, or give [peer.NAME] for each record server");
    }
    if has(Role::Recorder) && !has(Role::Proxy) && cluster.listen.is_empty() {
        let why = "nobody could order this record server to record";
        findings.add("node", "roles", why, "name proxy too, or give cluster.listen and have proxies name it");
    }
    if !has(Role::Recorder) && !cluster.listen.is_empty() {
        findings.add("cluster", "listen", "this node is no record server", "name recorder in node.roles");
    }
    if !has(Role::Proxy) && !peers.is_empty() {
        if !has(Role::Recorder) && !has(Role::Api) {
            let why = "there are peers and nobody who places calls on them, gathers or plays from them";
            findings.add("node", "roles", why, "name proxy, recorder or api too");
        } else if has(Role::Recorder) && config.gathering.mode == GatherMode::Off {
            let why = "there are peers to gather from, and this record server does not gather";
            findings.add("gathering", "mode", why, "give gather or virtual, or remove [peer.NAME]");
        }
    }
    if config.elsewhere.rate.0 == 0 {
        let why = "nothing would ever be fetched to be played";
        findings.add("elsewhere", "rate", why, "give 1MiB or more; elsewhere.cache = \"0B\" fetches nothing");
    }
    if config.gathering.rate.0 == 0 || config.gathering.in_flight.0 == 0 {
        let key = if config.gathering.rate.0 == 0 { "rate" } else { "in_flight" };
        let why = "nothing would ever be fetched";
        findings.add(
            "gathering",
            key,
            why,
            "give 1MiB or more; gathering.mode = \"virtual\" fetches nothing",
        );
    }
    if config.gathering.conclude_after < CONCLUDE_AFTER_MIN {
        let why = "calls would be concluded before their proxies could";
        findings.add("gathering", "conclude_after", why, "give 10s or more");
    }
    if (!cluster.listen.is_empty() || !peers.is_empty()) && config.node.number == NodeNumber::SINGLE {
        let why = "0 is the number of a node that is alone";
        findings.add("node", "number", why, "give each node another one, from 1 on");
    }
    if !cluster.listen.is_empty() && config.media.media_timeout.is_zero() {
        let why = "nothing would end what a proxy has ordered that is gone";
        findings.add("media", "media_timeout", why, "give 1s or more on a node with cluster.listen");
    }
    certificate(config, findings);
    addresses(config, findings);
    relay(config, findings);
    for (name, peer) in peers {
        if let Err(e) = name.parse::<PeerName>() {
            findings.add_to_table(("peer", name), "address", e.to_string(), "choose another name");
        }
        if peer.address.is_none() {
            let why = "a record server that is nowhere cannot be reached";
            findings.add_to_table(("peer", name), "address", why, "give its cluster.listen");
        }
        let todo = "give where it takes calls, such as sip:10.0.0.11:5060";
        if cluster.placement == Placement::Redirect && peer.sip.is_empty() {
            findings.add_to_table(("peer", name), "sip", "calls cannot be redirected to nowhere", todo);
        } else if !peer.sip.is_empty() && !is_sip_uri(&peer.sip) {
            findings.add_to_table(("peer", name), "sip", format!("'{}' is no SIP URI", peer.sip), todo);
        }
    }
}

fn certificate(config: &Config, findings: &mut Findings<'_>) {
    let cluster = &config.cluster;
    let is_empty = |path: &Path| path.as_os_str().is_empty();
    let files = [("ca", &cluster.ca), ("certificate", &cluster.certificate), ("key", &cluster.key)];
    let is_wanted = !cluster.listen.is_empty() || !config.tables.peer.is_empty();
    for (key, path) in files {
        let others_are_given = files.iter().any(|(_, other)| !is_empty(other));
        if is_empty(path) && (is_wanted || others_are_given) {
            let why = "nodes prove to each other who they are, and this one could not";
            findings.add("cluster", key, why, "give what `callspool cert` made: ca, certificate and key");
        }
    }
}

/// A node that relays to itself too must know where that is.
fn relay(config: &Config, findings: &mut Findings<'_>) {
    let media = &config.media;
    if !(1..=RELAY_THREADS_MAX).contains(&media.relay_threads) {
        let why = format!("{} threads", media.relay_threads);
        findings.add("media", "relay_threads", why, format!("give 1 to {RELAY_THREADS_MAX}"));
    }
    if !(1..=2).contains(&media.copies) {
        findings.add("media", "copies", format!("{} copies", media.copies), "give 1 or 2");
    }
    let of_trunk = config.tables.trunk.values().filter_map(|trunk| trunk.relay);
    let is_wanted = of_trunk.chain([media.relay]).any(|rule| rule != RelayRule::No);
    if media.copies > 1 && !is_wanted {
        let why = "only what goes through this proxy can be recorded twice";
        findings.add("media", "copies", why, "give media.relay = \"yes\", or 1");
    }
    let is_here = config.node.roles.contains(&Role::Recorder) && !config.tables.peer.is_empty();
    let is_unknown = media.listen_v4.is_some_and(|a| a.is_unspecified()) && media.advertised_v4.is_none();
    if is_wanted && is_here && is_unknown {
        let why = "media that are relayed could not be sent to the record server of this node";
        findings.add("media", "listen_v4", why, "give an address of this node, or advertised_v4");
    }
}

/// More threads than this are a mistake: one relays some thousands of streams.
const RELAY_THREADS_MAX: usize = 64;

/// What proxies tell clients of its ports must lead to this node: they cannot know by which address.
fn addresses(config: &Config, findings: &mut Findings<'_>) {
    if config.cluster.listen.is_empty() {
        return;
    }
    let media = &config.media;
    let v4 = media.listen_v4.is_some_and(|a| a.is_unspecified()) && media.advertised_v4.is_none();
    let v6 = media.listen_v6.is_some_and(|a| a.is_unspecified()) && media.advertised_v6.is_none();
    for (key, is_unknown) in [("listen_v4", v4), ("listen_v6", v6)] {
        if is_unknown {
            let why = "proxies cannot tell clients where on this node to send media";
            let todo = format!("give an address of this node, or {}", key.replace("listen", "advertised"));
            findings.add("media", key, why, todo);
        }
    }
}
