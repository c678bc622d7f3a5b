//! What cannot work together, and values that are out of range: told at start, not in the middle of a call.

mod address;
mod cluster;
mod webhooks;

use std::net::SocketAddr;
use std::time::Duration;

use super::source::{Origins, Problem, place};
use super::values::duration_text;
use super::{Config, Role, TlsClients};
use crate::recorder::STREAMS_PER_PORT_MAX;
use crate::volumes::OPENERS_MAX;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Section, key, and how to get it.
type Place<T> = (&'static str, &'static str, fn(&Config) -> T);

/// Tick, flush and sync make the bounds on what can be lost; beyond these the promises of the design fail.
const RANGES: &[(Place<Duration>, Duration, Duration)] = &[
    (("node", "shutdown_grace", |c| c.node.shutdown_grace), Duration::ZERO, HOUR),
    (
        ("sip", "session_expires", |c| c.sip.session_expires),
        Duration::from_secs(90),
        Duration::from_secs(86_400),
    ),
    (("sip", "min_se", |c| c.sip.min_se), Duration::from_secs(90), Duration::from_secs(86_400)),
    (("sip", "tcp_idle_timeout", |c| c.sip.tcp_idle_timeout), SECOND, Duration::from_secs(7 * 86_400)),
    (("media", "tick", |c| c.media.tick), MS, Duration::from_millis(50)),
    (("recording", "flush", |c| c.recording.flush), Duration::from_millis(20), SECOND),
    (("recording", "sync", |c| c.recording.sync), Duration::from_millis(100), Duration::from_secs(60)),
    (("recording", "stall", |c| c.recording.stall), Duration::from_millis(500), Duration::from_secs(60)),
    (("recording", "linger", |c| c.recording.linger), Duration::ZERO, HOUR),
    (("alarms", "repeat", |c| c.alarms.repeat), SECOND, Duration::from_secs(86_400)),
];

/// Timeouts that can be switched off by 0s, with the least that makes sense.
const OPTIONAL_TIMEOUTS: &[Place<Duration>] = &[
    ("media", "media_timeout", |c| c.media.media_timeout),
    ("media", "hold_timeout", |c| c.media.hold_timeout),
    ("alarms", "disk_full_within", |c| c.alarms.disk_full_within),
    ("alarms", "no_media", |c| c.alarms.no_media),
    ("alarms", "one_way", |c| c.alarms.one_way),
    ("alarms", "silence", |c| c.alarms.silence),
];

/// Counts that must not be nothing.
const COUNTS: &[Place<u64>] = &[
    ("sip", "max_sessions", |c| c.sip.max_sessions as u64),
    ("sip", "max_transactions", |c| c.sip.max_transactions as u64),
    ("sip", "tcp_max_connections", |c| c.sip.tcp_max_connections as u64),
    ("sip", "tcp_max_connections_per_source", |c| c.sip.tcp_max_connections_per_source as u64),
    ("recording", "max_calls", |c| c.recording.max_calls as u64),
    ("alarms", "max_subjects", |c| c.alarms.max_subjects as u64),
];

/// Sizes with the least that works: a burst of SIP or media must fit.
const SIZES: &[(Place<u64>, u64)] = &[
    (("sip", "recv_buffer", |c| c.sip.recv_buffer.0), 64 << 10),
    (("media", "recv_buffer", |c| c.media.recv_buffer.0), 16 << 10),
    (("media", "ring", |c| c.media.ring.0), 1 << 20),
    (("recording", "buffer_max", |c| c.recording.buffer_max.0), 1 << 20),
    (("catalog", "journal_max", |c| c.catalog.journal_max.0), 1 << 20),
];

/// A call's data has 256 keys: vendors and people want some too.
const TAGS_MAX: usize = 32;

/// What is noted in the data of a call by the trunk it came by.
const OUR_KEYS: [&str; 3] = ["trunk", "user", "retention"];

/// It stands in each challenge.
const REALM_MAX: usize = 128;

/// More threads than this are a mistake: one reads some thousands of streams.
const MEDIA_THREADS_MAX: usize = 64;

/// All that is wrong with the settings taken together.
pub(super) fn check(config: &Config, origins: &Origins) -> Vec<Problem> {
    let mut findings = Findings { origins, problems: Vec::new() };
    ranges(config, &mut findings);
    listeners(config, &mut findings);
    threads(config, &mut findings);
    ports(config, &mut findings);
    rest(config, &mut findings);
    tenants(config, &mut findings);
    trunks(config, &mut findings);
    cluster::check(config, &mut findings);
    address::check(config, &mut findings);
    webhooks::check(config, &mut findings);
    findings.problems
}

struct Findings<'a> {
    origins: &'a Origins,
    problems: Vec<Problem>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        section: &'static str,
        key: &'static str,
        why: impl Into<String>,
        todo: impl Into<String>,
    ) {
        let origin = self.origins.get(section, key);
        self.problems.push(Problem::new(place(origin, section, key), why, todo));
    }

    fn add_to_table(
        &mut self,
        table: (&'static str, &str),
        key: &'static str,
        why: impl Into<String>,
        todo: impl Into<String>,
    ) {
        let place = self.origins.place_in_table(table.0, table.1, key);
        self.problems.push(Problem::new(place, why, todo));
    }
}

fn ranges(config: &Config, findings: &mut Findings<'_>) {
    for ((section, key, get), min, max) in RANGES {
        let value = get(config);
        if value < *min || value > *max {
            let todo = format!("give {} to {}", duration_text(*min), duration_text(*max));
            findings.add(section, key, format!("{} is out of range", duration_text(value)), todo);
        }
    }
    for (section, key, get) in OPTIONAL_TIMEOUTS {
        let value = get(config);
        if !value.is_zero() && value < SECOND {
            findings.add(
                section,
                key,
                format!("{} is too short", duration_text(value)),
                "give 1s or more, or 0s for never",
            );
        }
    }
    for (section, key, get) in COUNTS {
        if get(config) == 0 {
            findings.add(section, key, "0 would refuse everything", "give 1 or more");
        }
    }
    for ((section, key, get), min) in SIZES {
        let value = get(config);
        if value < *min {
            let (value, min) = (super::Size(value), super::Size(*min));
            findings.add(section, key, format!("{value} is too small"), format!("give {min} or more"));
        }
    }
}

fn listeners(config: &Config, findings: &mut Findings<'_>) {
    let sip = &config.sip;
    let lists = [("udp", &sip.udp), ("tcp", &sip.tcp), ("tls", &sip.tls), ("ws", &sip.ws), ("wss", &sip.wss)];
    for (key, list) in lists {
        for (i, address) in list.iter().enumerate() {
            if list.iter().take(i).any(|other| other == address) {
                findings.add("sip", key, format!("{address} is named twice"), "remove one");
            }
        }
    }
    // All but UDP are ports of TCP.
    let streams = lists.iter().skip(1);
    let mut taken: Vec<&SocketAddr> = Vec::new();
    for (key, list) in streams {
        if let Some(address) = list.iter().find(|address| taken.contains(address)) {
            let why = format!("{address} is the address of another transport too");
            findings.add("sip", key, why, "give each its own port");
        }
        taken.extend(list.iter());
    }
    if config.node.roles.contains(&Role::Proxy) && lists.iter().all(|(_, list)| list.is_empty()) {
        findings.add("sip", "udp", "a proxy that listens nowhere gets no calls", "give an address");
    }
    tls(config, findings);
    if config.sip.min_se > config.sip.session_expires {
        findings.add("sip", "min_se", "it is longer than session_expires", "give at most session_expires");
    }
    for (key, advertised, is_v4) in [
        ("advertised_v4", config.sip.advertised_v4, true),
        ("advertised_v6", config.sip.advertised_v6, false),
    ] {
        match advertised {
            Some(a) if a.ip.is_ipv4() != is_v4 => {
                findings.add("sip", key, format!("{} is of the other family", a.ip), "use the other key");
            }
            Some(a) if a.ip.is_unspecified() => {
                findings.add(
                    "sip",
                    key,
                    "peers cannot send to it",
                    "give the address by which they reach this machine",
                );
            }
            _ => {}
        }
    }
}

fn tls(config: &Config, findings: &mut Findings<'_>) {
    let is_empty = |path: &std::path::Path| path.as_os_str().is_empty();
    let tls = &config.tls;
    for (key, list) in [("tls", &config.sip.tls), ("wss", &config.sip.wss)] {
        if !list.is_empty() && is_empty(&tls.certificate) {
            findings.add("sip", key, "TLS needs a certificate", "give tls.certificate and tls.key");
        }
    }
    if is_empty(&tls.certificate) != is_empty(&tls.key) {
        let missing = if is_empty(&tls.key) { "key" } else { "certificate" };
        findings.add("tls", missing, "a certificate and its key go together", "give both, or none");
    }
    if tls.client_auth != TlsClients::None && is_empty(&tls.ca) {
        let todo = "give in tls.ca the authorities of the clients";
        findings.add("tls", "client_auth", "no client's certificate could be trusted", todo);
    }
}

fn threads(config: &Config, findings: &mut Findings<'_>) {
    let (media, openers) = (config.media.threads, config.recording.openers);
    if media > MEDIA_THREADS_MAX {
        let (why, todo) = (format!("{media} threads"), format!("give {MEDIA_THREADS_MAX} or less"));
        findings.add("media", "threads", why, todo);
    }
    if !(1..=OPENERS_MAX).contains(&openers) {
        let (why, todo) = (format!("{openers} threads"), format!("give 1 to {OPENERS_MAX}"));
        findings.add("recording", "openers", why, todo);
    }
}

fn ports(config: &Config, findings: &mut Findings<'_>) {
    let media = &config.media;
    if !(1..=STREAMS_PER_PORT_MAX).contains(&media.streams_per_port) {
        let (why, todo) =
            (format!("{} streams", media.streams_per_port), format!("give 1 to {STREAMS_PER_PORT_MAX}"));
        findings.add("media", "streams_per_port", why, todo);
    }
    if media.port_min < 1024 || !media.port_min.is_multiple_of(2) {
        findings.add(
            "media",
            "port_min",
            format!("{} cannot begin the range", media.port_min),
            "give an even port from 1024 on",
        );
    }
    if media.port_max.is_multiple_of(2) {
        findings.add(
            "media",
            "port_max",
            format!("{} cannot end the range", media.port_max),
            "give an odd port",
        );
    }
    if media.port_max <= media.port_min {
        findings.add("media", "port_max", "the range is empty", "give a port above port_min");
    }
    if media.listen_v4.is_none() && media.listen_v6.is_none() {
        findings.add(
            "media",
            "listen_v4",
            "no media can be received without an address",
            "give listen_v4 or listen_v6",
        );
    }
    if media.advertised_v4.is_some_and(|a| a.is_unspecified()) {
        findings.add(
            "media",
            "advertised_v4",
            "peers cannot send to it",
            "give the address by which they reach this machine",
        );
    }
    if media.advertised_v6.is_some_and(|a| a.is_unspecified()) {
        findings.add(
            "media",
            "advertised_v6",
            "peers cannot send to it",
            "give the address by which they reach this machine",
        );
    }
    let in_range = |a: &&SocketAddr| (media.port_min..=media.port_max).contains(&a.port());
    if let Some(address) = config.sip.udp.iter().find(in_range) {
        let why = format!("{address} lies within the media ports {} to {}", media.port_min, media.port_max);
        findings.add("sip", "udp", why, "choose another port, or another range");
    }
}

/// What may stand in `<>` in a Contact header and is a SIP URI (RFC 3261, 19.1.1).
fn is_sip_uri(text: &str) -> bool {
    let host = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
    host.is_some_and(|h| !h.is_empty())
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'?'))
}

fn rest(config: &Config, findings: &mut Findings<'_>) {
    let handover = &config.node.handover;
    if !handover.is_empty() && !is_sip_uri(handover) {
        findings.add(
            "node",
            "handover",
            format!("'{handover}' is no SIP URI"),
            "give one such as sip:recorder2.example.com:5060",
        );
    }
    if config.node.roles.is_empty() {
        findings.add(
            "node",
            "roles",
            "a node without a role does nothing",
            "name proxy, recorder, api, link-protector or several",
        );
    }
    if config.recording.tenant.as_str() == spool::layout::LIVE_DIR {
        findings.add("recording", "tenant", not_a_tenant(), "choose another name");
    }
    let volumes = &config.recording.volumes;
    for (i, volume) in volumes.iter().enumerate() {
        let twice = |v: &super::VolumeSetting| v.name == volume.name || v.path == volume.path;
        if volumes.iter().take(i).any(twice) {
            let why = format!("{} or its path is named twice", volume.name);
            findings.add("recording", "volumes", why, "give each volume a name and a directory of its own");
        }
    }
    if let Some(volume) = volumes.iter().find(|v| v.name.is_default()) {
        let why = format!("'{}' is the name of the volume in recording.repository", volume.name);
        findings.add("recording", "volumes", why, "choose another name");
    }
    if !volumes.is_empty() && volumes.iter().all(|v| v.weight == 0) {
        findings.add("recording", "volumes", "all of them are only read", "give one a weight");
    }
    if !config.api.listen.ip().is_loopback() && config.api.allowed_hosts.is_empty() {
        let why = format!("{} can be reached from other machines", config.api.listen);
        findings.add(
            "api",
            "listen",
            why,
            "listen on 127.0.0.1, or name in allowed_hosts the host names that may be used",
        );
    }
    for name in &config.api.allowed_hosts {
        if name.is_empty() || name.contains(|c: char| !(c.is_ascii_alphanumeric() || ".-_:[]".contains(c))) {
            findings.add(
                "api",
                "allowed_hosts",
                format!("'{name}' is no host name"),
                "give a name such as recorder.example.com, without http://",
            );
        }
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&config.log.level) {
        findings.add(
            "log",
            "level",
            format!("'{}' is no filter: {error}", config.log.level),
            "give error, warn, info, debug or trace",
        );
    }
}

fn not_a_tenant() -> String {
    format!("'{}' is the directory of what is being recorded", spool::layout::LIVE_DIR)
}

/// A misspelled owner would be a place where nobody looks for the calls.
fn tenants(config: &Config, findings: &mut Findings<'_>) {
    let own = config.recording.tenant.as_str();
    let declared = &config.tables.tenant;
    for name in declared.keys().filter(|name| *name == spool::layout::LIVE_DIR) {
        findings.add_to_table(("tenant", name), "max_calls", not_a_tenant(), "choose another name");
    }
    for (name, trunk) in &config.tables.trunk {
        let Some(tenant) = trunk.tenant.as_ref().map(model::TenantId::as_str) else { continue };
        if tenant != own && !declared.contains_key(tenant) {
            let names = declared.keys().cloned().chain([own.to_owned()]);
            let todo = match super::source::nearest(tenant, names) {
                Some(near) => format!("did you mean '{near}'? Else write [tenant.{tenant}]"),
                None => format!("write [tenant.{tenant}]"),
            };
            let why = format!("there is no tenant '{tenant}'");
            findings.add_to_table(("trunk", name), "tenant", why, todo);
        }
    }
}

/// A trunk that takes everybody is made on purpose, by its name; and two must be told apart.
fn trunks(config: &Config, findings: &mut Findings<'_>) {
    let trunks = &config.tables.trunk;
    for (name, trunk) in trunks {
        let says_who = !(trunk.from.is_empty() && trunk.tls_names.is_empty());
        if !says_who && name != call::Trunk::DEFAULT_NAME {
            let todo =
                "name the addresses that its calls come from, or tls_names; everybody is [trunk.default]";
            findings.add_to_table(("trunk", name), "from", "it says not who may send", todo);
        }
        let others = trunks.iter().take_while(|(other, _)| *other != name);
        for (other, theirs) in others {
            // Else they are told apart by more than addresses.
            let is_alike = (&trunk.tls_names, &trunk.transports, &trunk.domains)
                == (&theirs.tls_names, &theirs.transports, &theirs.domains);
            if let Some(range) = trunk.from.iter().find(|range| is_alike && theirs.from.contains(range)) {
                let why = format!("{} belongs to [trunk.{other}] too", range.0);
                findings.add_to_table(("trunk", name), "from", why, "leave it in one of them");
            }
        }
        if trunk.tags.len() > TAGS_MAX {
            let why = format!("{} are more than {TAGS_MAX}", trunk.tags.len());
            findings.add_to_table(("trunk", name), "tags", why, "leave some out");
        }
        if let Some(tag) = trunk.tags.iter().find(|tag| OUR_KEYS.contains(&tag.key.as_str())) {
            let why = format!("'{}' is what callspool itself notes in the data of calls", tag.key);
            findings.add_to_table(("trunk", name), "tags", why, "choose another key");
        }
        if !trunk.retention.is_empty() && trunk.retention.parse::<model::TenantId>().is_err() {
            let todo = "give 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit";
            findings.add_to_table(
                ("trunk", name),
                "retention",
                format!("'{}' is no name", trunk.retention),
                todo,
            );
        }
        let is_realm = !trunk.realm.is_empty() && !trunk.realm.contains([':', '"', '\\']);
        if !is_realm || trunk.realm.len() > REALM_MAX {
            let todo = format!("give 1 to {REALM_MAX} characters without ':', quotes and backslashes");
            findings.add_to_table(("trunk", name), "realm", format!("'{}' is no realm", trunk.realm), todo);
        }
    }
}
