//! What this process counts, for `/metrics`: gathered when somebody asks, from counters that are kept anyway.
//!
//! Counters of the signalling task are as of its last round, a second ago at most. Labels are names of ours; what
//! comes from the network is never one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::port::{Family, Metrics, count};
use call::{FrontStats, PeerStanding, PeerView};
use model::{RecordingState, Standing};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use sip::AgentStats;
use sip::auth::Judged;
use store::Handle;
use tokio::sync::watch;

use crate::anchoring::Relayed;
use crate::elsewhere::Elsewhere;
use crate::gathering::GatherFigures;
use crate::http::Refused;
use crate::net::{NetStats, SipTally, Unread};
use crate::recorder::Shared;
use crate::volumes::Volumes;
use crate::webhook::Board;

/// What the signalling task has counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signalled {
    pub(crate) front: FrontStats,
    /// How long a call that came would wait for its ports.
    pub(crate) opening_wait: Duration,
    pub(crate) agent: AgentStats,
    pub(crate) net: NetStats,
    pub(crate) messages: SipTally,
    /// Refused by their heads alone.
    pub(crate) unread: Unread,
    pub(crate) credentials: Judged,
    /// Connections, and UDP flows.
    pub(crate) flows: (usize, usize),
    pub(crate) queued: Queued,
    /// Record servers that calls are placed on, where there is a choice.
    pub(crate) servers: Vec<PeerView>,
    /// What goes through this proxy; none where nothing can.
    pub(crate) relayed: Option<Relayed>,
}

/// What waits for whom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queued {
    /// Calls that begin, for the signalling task to look at them.
    pub(crate) newcomers: usize,
    /// Reports of the recorder, for the signalling task.
    pub(crate) reports: usize,
    /// Orders of people, for it too.
    pub(crate) commands: usize,
    /// Segments that wait for a volume.
    pub(crate) placer: usize,
    /// Orders to the media threads.
    pub(crate) media: usize,
}

/// Where the numbers are.
pub(crate) struct Numbers {
    catalog: Handle,
    volumes: Volumes,
    webhooks: Board,
    /// What the page refused.
    refused: Arc<Refused>,
    /// None where no calls are taken, and until SIP is bound.
    signalled: OnceLock<watch::Receiver<Signalled>>,
    /// None where no media are recorded, and until the recorder runs.
    recorded: OnceLock<Arc<Shared>>,
    /// None on a node that keeps no service addresses.
    addresses: OnceLock<address::View>,
    /// None where nothing is gathered, and until that runs.
    gathering: OnceLock<Arc<GatherFigures>>,
    /// None where nothing is played from other nodes.
    elsewhere: OnceLock<Elsewhere>,
}

impl Numbers {
    pub(crate) fn new(catalog: Handle, volumes: Volumes, webhooks: Board) -> Self {
        Self {
            catalog,
            volumes,
            webhooks,
            refused: Arc::default(),
            signalled: OnceLock::new(),
            recorded: OnceLock::new(),
            addresses: OnceLock::new(),
            gathering: OnceLock::new(),
            elsewhere: OnceLock::new(),
        }
    }

    /// Where the page counts what it refuses.
    pub(crate) const fn refused(&self) -> &Arc<Refused> {
        &self.refused
    }

    /// The signalling task runs.
    pub(crate) fn signalling(&self, signalled: watch::Receiver<Signalled>) {
        // It is set once, at the start.
        let _ = self.signalled.set(signalled);
    }

    /// Service addresses are kept.
    pub(crate) fn keeping(&self, addresses: address::View) {
        // It is set once, at the start.
        let _ = self.addresses.set(addresses);
    }

    /// Segments are gathered.
    pub(crate) fn gathering(&self, figures: Arc<GatherFigures>) {
        // It is set once, at the start.
        let _ = self.gathering.set(figures);
    }

    /// Calls are played from other nodes too.
    pub(crate) fn lending(&self, elsewhere: Elsewhere) {
        // It is set once, at the start.
        let _ = self.elsewhere.set(elsewhere);
    }

    /// The recorder runs.
    pub(crate) fn recording(&self, shared: Arc<Shared>) {
        // It is set once, at the start.
        let _ = self.recorded.set(shared);
    }
}

impl Metrics for Numbers {
    fn families(&self) -> Vec<Family> {
        let mut all = vec![
            Family::gauge("callspool_build_info", "The version that runs; always 1")
                .with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0),
        ];
        if let Some(signalled) = self.signalled.get() {
            let signalled = signalled.borrow().clone();
            all.extend(calls(&signalled.front, signalled.opening_wait));
            all.extend(signalling(&signalled));
            all.extend(credentials(&signalled.credentials));
            all.extend(connections(&signalled));
            all.push(queues(&signalled.queued));
            all.extend(record_servers(&signalled.servers));
            all.extend(signalled.relayed.as_ref().map(relayed).unwrap_or_default());
        }
        if let Some(shared) = self.recorded.get() {
            all.extend(recorded(shared));
        }
        if let Some(addresses) = self.addresses.get() {
            all.extend(crate::addresses::families(&addresses.shown()));
        }
        if let Some(gathering) = self.gathering.get() {
            all.extend(gathering.families());
        }
        if let Some(elsewhere) = self.elsewhere.get() {
            all.extend(elsewhere.families());
        }
        all.extend(volumes(&self.volumes));
        all.extend(catalog(&self.catalog));
        all.push(page(&self.refused));
        all.extend(self.webhooks.families(crate::clock::wall()));
        all.extend(process());
        all
    }
}

fn record_servers(servers: &[PeerView]) -> Vec<Family> {
    let of = |family: Family, number: fn(&PeerView) -> f64| {
        servers.iter().fold(family, |family, server| {
            family.with(&[("record_server", server.name.as_str())], number(server))
        })
    };
    let takes = |server: &PeerView| {
        if server.standing == PeerStanding::Says(Standing::Taking) { 1.0 } else { 0.0 }
    };
    vec![
        of(
            Family::gauge(
                "callspool_record_server_takes_calls",
                "1 for a record server that calls are placed on; 0 where it is away, silent, full or drained",
            ),
            takes,
        ),
        of(
            Family::gauge(
                "callspool_record_server_segments",
                "Segments of this proxy that a record server has, or is to have",
            ),
            |server| count(server.segments),
        ),
    ]
}

fn relayed(relayed: &Relayed) -> Vec<Family> {
    vec![
        Family::gauge("callspool_relay_streams", "Streams whose media go through this proxy")
            .of(count(relayed.streams)),
        Family::counter("callspool_relay_datagrams_received", "Datagrams that came to ports of the relay")
            .of(count(relayed.received)),
        Family::counter("callspool_relay_copies_sent", "Copies that were sent to record servers")
            .of(count(relayed.copied)),
        Family::counter(
            "callspool_relay_datagrams_unsent",
            "Datagrams that the relay gave to the kernel and the kernel did not take",
        )
        .of(count(relayed.unsent)),
        Family::counter(
            "callspool_relay_datagrams_dropped",
            "Datagrams that came to ports of the relay and went nowhere, of streams that are over",
        )
        .of(count(relayed.dropped)),
        Family::counter(
            "callspool_relay_packets_replayed",
            "Packets that were sent a second time, to record servers that took over",
        )
        .of(count(relayed.replayed)),
    ]
}

fn calls(front: &FrontStats, opening_wait: Duration) -> Vec<Family> {
    let others = front.strangers.saturating_add(front.unauthenticated).saturating_add(front.crowded);
    let limited = front.refused.saturating_sub(others);
    vec![
        Family::gauge("callspool_calls_live", "Calls in progress, those that may still be resumed included")
            .of(count(front.calls)),
        Family::gauge("callspool_dialogs_live", "SIP dialogs of calls in progress").of(count(front.dialogs)),
        Family::counter("callspool_calls_begun", "Calls that began").of(count(front.begun)),
        Family::counter("callspool_calls_refused", "Calls that were not taken, by reason")
            .with(&[("reason", "stranger")], count(front.strangers))
            .with(&[("reason", "credentials")], count(front.unauthenticated))
            .with(&[("reason", "handed-over")], count(front.handed_over))
            .with(&[("reason", "not-recorded")], count(front.not_recorded))
            .with(&[("reason", "overload")], count(front.crowded))
            .with(&[("reason", "limit")], count(limited)),
        Family::gauge("callspool_segments_opening", "Segments that are being opened")
            .of(count(front.opening)),
        Family::gauge(
            "callspool_opening_wait_seconds",
            "How long a call that came now would wait for its ports, as far as can be foreseen",
        )
        .of(opening_wait.as_secs_f64()),
    ]
}

fn signalling(of: &Signalled) -> Vec<Family> {
    let agent = &of.agent;
    let requests = Family::counter("callspool_sip_requests_received", "SIP requests that came, by method");
    let responses = Family::counter("callspool_sip_responses_sent", "SIP responses that were sent, by class");
    vec![
        of.messages.requests().fold(requests, |f, (method, n)| f.with(&[("method", method)], count(n))),
        of.messages.responses().fold(responses, |f, (class, n)| f.with(&[("class", class)], count(n))),
        Family::counter("callspool_sip_messages_received", "SIP messages that came")
            .of(count(agent.received)),
        Family::counter("callspool_sip_messages_sent", "SIP messages that were sent").of(count(agent.sent)),
        Family::counter(
            "callspool_sip_retransmissions",
            "SIP messages that came or went again, by direction",
        )
        .with(&[("direction", "received")], count(agent.absorbed))
        .with(&[("direction", "sent")], count(agent.retransmitted)),
        Family::counter("callspool_sip_messages_bad", "SIP messages that led to nothing, by reason")
            .with(&[("reason", "malformed")], count(agent.malformed))
            .with(&[("reason", "stray")], count(agent.stray))
            .with(&[("reason", "refused")], count(agent.refused))
            .with(&[("reason", "limit")], count(agent.refused_at_limit)),
        Family::counter(
            "callspool_sip_requests_refused_unread",
            "SIP requests refused by their heads alone, by reason",
        )
        .with(&[("reason", "rate")], count(of.unread.too_many))
        .with(&[("reason", "full")], count(of.unread.shed))
        .with(&[("reason", "overload")], count(of.unread.crowded)),
        Family::counter("callspool_sip_timeouts", "SIP transactions that nobody answered in time")
            .of(count(agent.timeouts)),
        Family::gauge("callspool_sip_sessions", "INVITE sessions that there are").of(count(agent.sessions)),
        Family::gauge("callspool_sip_transactions", "SIP transactions that there are")
            .of(count(agent.transactions)),
    ]
}

fn credentials(of: &Judged) -> [Family; 2] {
    [
        Family::counter(
            "callspool_sip_credentials_accepted",
            "Credentials of users of trunks that were right",
        )
        .of(count(of.passed)),
        Family::counter(
            "callspool_sip_credentials_refused",
            "Requests that were refused for their credentials, by reason",
        )
        .with(&[("reason", "missing")], count(of.missing))
        .with(&[("reason", "stale")], count(of.stale))
        .with(&[("reason", "wrong")], count(of.wrong))
        .with(&[("reason", "locked")], count(of.locked)),
    ]
}

fn connections(of: &Signalled) -> Vec<Family> {
    let net = &of.net;
    vec![
        Family::gauge("callspool_sip_connections", "Connections for SIP that are open").of(count(of.flows.0)),
        Family::gauge("callspool_sip_udp_flows", "Pairs of addresses that SIP over UDP is remembered for")
            .of(count(of.flows.1)),
        Family::counter("callspool_sip_connections_opened", "Connections for SIP, by who opened them")
            .with(&[("by", "peer")], count(net.accepted))
            .with(&[("by", "callspool")], count(net.dialed)),
        Family::counter(
            "callspool_sip_connections_refused",
            "Connections for SIP that were not taken, by reason",
        )
        .with(&[("reason", "limit")], count(net.refused_total))
        .with(&[("reason", "source-limit")], count(net.refused_source))
        .with(&[("reason", "accept")], count(net.accept_failures))
        .with(&[("reason", "handshake")], count(net.handshake_failures))
        .with(&[("reason", "certificate")], count(net.certificates_refused)),
        Family::counter(
            "callspool_sip_connections_closed",
            "Connections for SIP that callspool closed, by reason",
        )
        .with(&[("reason", "bad")], count(net.closed_bad))
        .with(&[("reason", "idle")], count(net.closed_idle))
        .with(&[("reason", "not-reading")], count(net.closed_not_reading))
        .with(&[("reason", "flood")], count(net.closed_flood)),
        Family::counter("callspool_sip_datagrams_dropped", "Datagrams that could not be sent, by reason")
            .with(&[("reason", "queue-full")], count(net.datagrams_dropped))
            .with(&[("reason", "kernel")], count(net.datagrams_refused))
            .with(&[("reason", "unreachable")], count(net.unreachable)),
    ]
}

fn queues(of: &Queued) -> Family {
    Family::gauge("callspool_queue_length", "What waits, by whom it waits for")
        .with(&[("queue", "newcomers")], count(of.newcomers))
        .with(&[("queue", "reports")], count(of.reports))
        .with(&[("queue", "commands")], count(of.commands))
        .with(&[("queue", "placer")], count(of.placer))
        .with(&[("queue", "media")], count(of.media))
}

fn recorded(shared: &Shared) -> Vec<Family> {
    let of = |n: &AtomicU64| count(n.load(Ordering::Relaxed));
    let outcomes = &shared.outcomes;
    let ended =
        Family::counter("callspool_segments_ended", "Segments that ended, by the state they ended in");
    let concluded =
        Family::counter("callspool_calls_concluded", "Calls that ended, by the state of their recording");
    vec![
        Family::gauge("callspool_segments_live", "Segments that are being recorded or closed")
            .of(count(shared.segments.load(Ordering::Relaxed))),
        by_state(ended, outcomes.segments()),
        by_state(concluded, outcomes.calls()),
        Family::gauge("callspool_segments_descriptors", "Descriptors that segments take")
            .of(of(&shared.descriptors)),
        shared.source.get().into_iter().fold(
            Family::gauge("callspool_media_source", "1 for the way in which media are received"),
            |family, kind| family.with(&[("source", kind.name())], count(1)),
        ),
        Family::counter("callspool_media_datagrams_received", "Datagrams that came to media ports")
            .of(of(&shared.packets)),
        Family::counter(
            "callspool_media_datagrams_unclaimed",
            "Datagrams that came to ports that streams share, from where none of them is: recorded nowhere",
        )
        .of(of(&shared.unclaimed)),
        Family::histogram(
            "callspool_media_delay_seconds",
            "From the arrival of packets in the kernel until they are in their buffer, of a sample",
            shared.delays.distribution(),
        ),
        Family::counter("callspool_media_packets_dropped", "Packets that came and could not be written")
            .of(of(&shared.dropped)),
        outcomes.packets().fold(
            Family::counter(
                "callspool_rtp_packets",
                "RTP packets of segments that have ended, by what became of them",
            ),
            |family, (outcome, n)| family.with(&[("outcome", outcome)], count(n)),
        ),
        outcomes.gaps().fold(
            Family::counter(
                "callspool_stream_gaps",
                "Gaps in streams of segments that have ended, by reason",
            ),
            |family, (reason, n, _)| family.with(&[("reason", reason)], count(n)),
        ),
        outcomes.gaps().fold(
            Family::counter(
                "callspool_stream_gap_seconds",
                "How long the listed gaps of streams are together, by reason",
            ),
            |family, (reason, _, micros)| family.with(&[("reason", reason)], count(micros) / 1e6),
        ),
    ]
}

/// The states that there were: most never are.
fn by_state(family: Family, counts: impl Iterator<Item = (RecordingState, u64)>) -> Family {
    counts
        .filter(|(_, n)| *n > 0)
        .fold(family, |family, (state, n)| family.with(&[("state", state.name())], count(n)))
}

fn volumes(volumes: &Volumes) -> Vec<Family> {
    let each = |mut family: Family, of: &dyn Fn(&crate::volumes::Volume) -> f64| {
        for volume in volumes.iter() {
            family = family.with(&[("volume", volume.name.as_str())], of(volume));
        }
        family
    };
    vec![
        each(Family::gauge("callspool_volume_up", "Whether a volume is there and can be used"), &|v| {
            f64::from(u8::from(v.is_here() && !v.is_lost()))
        }),
        each(Family::gauge("callspool_volume_free_bytes", "Free space, as of the last look"), &|v| {
            count(v.free())
        }),
        each(Family::counter("callspool_volume_written_bytes", "Octets written"), &|v| {
            count(v.written.load(Ordering::Relaxed))
        }),
        each(Family::counter("callspool_volume_redo_bytes", "Octets written to the redo"), &|v| {
            count(v.redone.load(Ordering::Relaxed))
        }),
        each(
            Family::counter("callspool_volume_straight_bytes", "Octets of media that there was no redo for"),
            &|v| count(v.straight.load(Ordering::Relaxed)),
        ),
        each(Family::gauge("callspool_volume_backlog_bytes", "Octets that wait to be written"), &|v| {
            count(v.backlog.load(Ordering::Relaxed))
        }),
    ]
}

fn catalog(handle: &Handle) -> Vec<Family> {
    let status = handle.status();
    vec![
        Family::gauge("callspool_catalog_up", "Whether the catalog can be written")
            .of(f64::from(u8::from(status.away_for.is_none()))),
        Family::gauge("callspool_catalog_queued", "Changes in memory that the catalog has not taken")
            .of(count(status.queued)),
        Family::gauge(
            "callspool_catalog_journal_bytes",
            "Changes in the journal that the catalog has not taken",
        )
        .of(count(status.journal_bytes)),
        Family::counter("callspool_catalog_changes", "Changes told to the catalog, by what became of them")
            .with(&[("outcome", "written")], count(status.written))
            .with(&[("outcome", "lost")], count(status.lost))
            .with(&[("outcome", "refused")], count(status.refused)),
        Family::gauge(
            "callspool_catalog_reindex_wanted",
            "Whether the catalog lacks what only the repository has",
        )
        .of(f64::from(u8::from(status.reindex_wanted.is_some()))),
    ]
}

/// What Prometheus expects of every process, by the names that it expects.
fn page(refused: &Refused) -> Family {
    let what = "Connections and requests to the page that were refused, by reason";
    let family = Family::counter("callspool_http_refused", what);
    refused
        .by_reason()
        .into_iter()
        .fold(family, |family, (reason, n)| family.with(&[("reason", reason)], count(n)))
}

fn process() -> Vec<Family> {
    let mut all = Vec::new();
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        all.push(Family::gauge("process_open_fds", "Descriptors that are open").of(count(open.count())));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        all.push(Family::gauge("process_max_fds", "Descriptors that may be open").of(count(soft)));
    }
    if let Some(bytes) = resident() {
        all.push(Family::gauge("process_resident_memory_bytes", "Memory in use").of(bytes));
    }
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let seconds = Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
        all.push(Family::counter("process_cpu_seconds", "CPU time that was used").of(seconds));
    }
    if let Some(errors) = udp_receive_errors() {
        let help = "Datagrams that the kernel dropped for want of receive buffer, of all programs here";
        all.push(Family::counter("callspool_udp_receive_buffer_errors", help).of(count(errors)));
    }
    all
}

/// Octets of memory that the process has.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(count(kilobytes.saturating_mul(1_024)))
}

/// `RcvbufErrors` of UDP over IPv4 and IPv6.
fn udp_receive_errors() -> Option<u64> {
    let v4 = std::fs::read_to_string("/proc/net/snmp").ok()?;
    let mut udp = v4.lines().filter_map(|l| l.strip_prefix("Udp: "));
    let (names, values) = (udp.next()?, udp.next()?);
    let at = names.split(' ').position(|name| name == "RcvbufErrors")?;
    let of_v4: u64 = values.split(' ').nth(at)?.parse().ok()?;
    let v6 = std::fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
    let of_v6 =
        v6.lines().find_map(|l| l.strip_prefix("Udp6RcvbufErrors")).and_then(|n| n.trim().parse().ok());
    Some(of_v4.saturating_add(of_v6.unwrap_or(0)))
}
