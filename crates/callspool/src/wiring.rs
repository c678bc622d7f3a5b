//! The roles of a node wired together: the record server with its desk, the signalling task with its record servers.
//!
//! ```text
//!                  role proxy                              role recorder
//!  SIP ──► FrontTask ── Servers ──────────────► Recorder ──► Desk ──► FrontTask, and proxies on other nodes
//!                         └── links to record servers          ▲
//!                             on other nodes                   └── links of proxies on other nodes
//! ```
//!
//! Nothing here runs: it makes what `serve` starts and stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use call::{Copies, Front, OwnKeys, ServersConfig, TrunkGate};
use media::srtp::Entropy;
use model::{IdGenerator, PeerName, Report};
use peers::{Dialer, Inquiries, Listener};
use sip::{Agent, Transport};
use tokio::sync::{mpsc, watch};

use crate::anchoring::Anchoring;
use crate::cli::CliError;
use crate::clock::now;
use crate::cluster::Cluster;
use crate::config::{Config, Role};
use crate::descriptors::Shares;
use crate::desk::{self, Cares, Desk, DeskLink, Loads};
use crate::dtls::{Clients, Identity};
use crate::front::{Alarms, FrontOrder, FrontTask, Load, Tuning};
use crate::live_calls::{Awaited, LiveCommand};
use crate::metrics::Signalled;
use crate::net::{Certificates, Rates, Resolver, SipDriver, SipSockets};
use crate::operate::FrontLink;
use crate::privilege::RawSockets;
use crate::pulse::Pulses;
use crate::recorder::{Disk, Means, Recorder, Teller};
use crate::serve::{agent_config, net_config, ports_of, recorder_config, seed, tag, tuning};
use crate::servers::{Local, Servers};
use crate::supervise::Supervisor;
use crate::users::TrunkUsers;
use crate::volumes::identity::Memory;
use crate::volumes::{Volume, Volumes};

/// Beats of the record server here that wait for the signalling task: each says more than the one before.
const BEATS_MAX: usize = 4;

/// What the signalling task and the desk of one process tell each other of calls and waits: more is told later, or waited
/// with.
const SAID_MAX: usize = 1_024;

/// Reports that may wait for the front: some seconds' worth at the highest call rate. Threads that may wait wait
/// then, media threads keep theirs.
const REPORTS_MAX: usize = 8_192;

/// By which the pulse of the signalling task is known.
pub(crate) const SIGNALLING: &str = "signalling";

/// What an operator wants of the signalling task; one thing at a time.
const ORDERS_MAX: usize = 16;

/// What the recorder writes to.
pub(crate) struct Recording {
    pub(crate) volumes: Volumes,
    pub(crate) disks: Vec<Disk>,
    pub(crate) raw: RawSockets,
    pub(crate) memory: Memory,
    /// Told when a volume that was away is there.
    pub(crate) returned: mpsc::UnboundedSender<Arc<Volume>>,
    /// Who answers what other record servers ask for, if anybody does.
    pub(crate) inquiries: Option<Inquiries>,
}

/// Who is to be believed.
pub(crate) struct Trust {
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) users: TrunkUsers,
}

/// Whom the signalling task and the recorder tell what.
#[derive(Clone)]
pub(crate) struct Tellers {
    pub(crate) teller: Teller,
    pub(crate) supervisor: Supervisor,
    pub(crate) pulses: Pulses,
}

/// A record server that runs, and what it says.
pub(crate) struct Started {
    pub(crate) recorder: Arc<Recorder>,
    reports: mpsc::Receiver<Report>,
    /// Where proxies come in.
    doors: Vec<Listener>,
    loads: Loads,
    own_keys: OwnKeys,
}

/// Starts the threads of the record server, and lets proxies in.
pub(crate) async fn start_recorder(
    config: &Config,
    shares: Shares,
    cluster: &Cluster,
    tellers: &Tellers,
    place: Recording,
) -> Result<Started, CliError> {
    let (reports_in, reports) = mpsc::channel::<Report>(REPORTS_MAX);
    let Recording { volumes, disks, raw, memory, returned, inquiries } = place;
    let settings = recorder_config(config, shares, tellers.pulses.clone(), memory);
    let (identity, own_keys) = own_keys(config)?;
    let means = Means { disks, raw, identity };
    let teller = tellers.teller.clone();
    let recorder =
        Recorder::start(&settings, &volumes, means, teller, reports_in, returned).map_err(|e| {
            CliError::failed("cannot start recording", e, "check the limit of threads (ulimit -u)")
        })?;
    let doors = cluster.listen(config, inquiries.as_ref()).await?;
    let loads = Loads::new(recorder.figures(), settings.segments_max);
    Ok(Started { recorder: Arc::new(recorder), reports, doors, loads, own_keys })
}

impl Started {
    /// The desk before it, and, where this process takes calls, the record server as its front has it.
    pub(crate) fn divide(
        self,
        config: &Config,
        cluster: &Cluster,
        stop: watch::Receiver<bool>,
        tellers: &Tellers,
        cares: Cares,
    ) -> (Desk, DeskLink, Option<(Local, OwnKeys)>) {
        let Self { recorder, reports, doors, loads, own_keys } = self;
        let (to_front, of_front) = mpsc::channel(REPORTS_MAX);
        let (beats_in, beats) = mpsc::channel(BEATS_MAX);
        let (tell, told) = mpsc::channel(SAID_MAX);
        let (answer, answers) = mpsc::channel(SAID_MAX);
        let introduction = cluster.introduction(config);
        let takes_calls = config.node.roles.contains(&Role::Proxy);
        let local = takes_calls.then(|| {
            let (name, recorder) = (introduction.name.clone(), Arc::clone(&recorder));
            (Local { name, recorder, reports: of_front, beats, tell, answers }, own_keys)
        });
        let (drain, drained) = watch::channel(false);
        let (busy, busy_out) = watch::channel(0);
        let link = DeskLink { drained: drain, busy: busy_out };
        let desk = Desk {
            recorder,
            reports,
            front: takes_calls.then_some(to_front),
            beats: (takes_calls && !config.tables.peer.is_empty()).then_some(beats_in),
            told,
            answer,
            introduction,
            cares,
            teller: tellers.teller.clone(),
            tenant: config.recording.tenant.clone(),
            loads,
            doors,
            grace: config.node.shutdown_grace,
            stop,
            drained,
            busy,
            pulse: tellers.pulses.take("desk"),
        };
        (desk, link, local)
    }
}

/// Binds where calls come in.
pub(crate) fn bind(config: &Config, shares: Shares, trust: &Trust) -> Result<SipSockets, CliError> {
    let net = net_config(config, shares, trust.certificates.clone());
    let sockets = SipSockets::bind(&net).map_err(|e| {
        let (what, why) =
            (format!("cannot receive SIP on {} {}", e.transport, e.address), e.source.to_string());
        CliError::failed(what, why, "stop what uses the address, or choose another in [sip]")
    })?;
    if let Some(got) = sockets.receive_buffer_shortfall() {
        tracing::warn!("the kernel grants {got} octets of SIP receive buffer; raise net.core.rmem_max");
    }
    for address in sockets.udp_addresses() {
        tracing::info!("SIP udp {address}");
    }
    for (transport, name) in
        [(Transport::Tcp, "tcp"), (Transport::Tls, "tls"), (Transport::Ws, "ws"), (Transport::Wss, "wss")]
    {
        for address in sockets.addresses(transport) {
            tracing::info!("SIP {name} {address}");
        }
    }
    Ok(sockets)
}

/// The record servers that calls are placed on.
pub(crate) fn servers(
    config: &Config,
    cluster: &Cluster,
    local: Option<(Local, OwnKeys)>,
) -> Result<(Servers, OwnKeys), CliError> {
    let peers = cluster.peers(config);
    match (local, cluster.credentials()) {
        (Some((local, keys)), _) if peers.is_empty() => Ok((Servers::alone(local), keys)),
        (local, Some(credentials)) => {
            let local = local.map(|(local, _)| (local, cluster.introduction(config).hello(Vec::new())));
            let settings = ServersConfig {
                tenant: config.recording.tenant.clone(),
                beat: desk::BEAT,
                remembered: remembered(config.media.hold_timeout),
            };
            let names: Vec<PeerName> = peers.keys().cloned().collect();
            let anchoring = anchoring(config)?;
            let dialer = Dialer::start(credentials.clone(), peers.into_iter().collect());
            // Handshakes are made where media come in, by certificates of there: no description of ours can name one.
            let keys = OwnKeys { entropy: Entropy::new(seed()?), certificate: None };
            let run = cluster.introduction(config).run;
            let servers = Servers::several(settings, names, dialer, local, run, anchoring, now());
            Ok((servers.redirecting(cluster.redirects(config)), keys))
        }
        (_, None) => Err(CliError::failed(
            "cannot place calls",
            "there is no record server",
            "name recorder in node.roles, or give [peer.NAME] for each record server",
        )),
    }
}

/// The threads that relay media, which sleep as long as no trunk wants that.
fn anchoring(config: &Config) -> Result<Anchoring, CliError> {
    let (threads, tenant) = (config.media.relay_threads, config.recording.tenant.clone());
    let copies = if config.media.copies == 2 { Copies::Two } else { Copies::One };
    Anchoring::start(ports_of(config), (threads, copies), tenant, Entropy::new(seed()?)).map_err(|e| {
        let todo = "check the limits of threads and descriptors (ulimit -u, ulimit -n)";
        CliError::failed("cannot start relaying media", e, todo)
    })
}

/// How long a call that is concluded may go on: as long as one on hold.
fn remembered(hold_timeout: Duration) -> Duration {
    /// As long as a hold lasts at most where nothing is set.
    const HOLD: Duration = Duration::from_secs(2 * 3_600);
    if hold_timeout.is_zero() { HOLD } else { hold_timeout }
}

/// What the signalling task works with.
pub(crate) struct Ways {
    pub(crate) sockets: SipSockets,
    pub(crate) servers: Servers,
    pub(crate) own_keys: OwnKeys,
    pub(crate) commands: mpsc::Receiver<LiveCommand>,
    pub(crate) stop: watch::Receiver<bool>,
}

pub(crate) fn front_task(
    config: &Config,
    ids: IdGenerator,
    tellers: &Tellers,
    trust: &Trust,
    ways: Ways,
) -> Result<(FrontTask, FrontLink, watch::Receiver<Signalled>), CliError> {
    let Tellers { teller, supervisor, pulses } = tellers.clone();
    let Ways { sockets, servers, own_keys, commands, stop } = ways;
    let pulse = pulses.take(SIGNALLING);
    let Tuning { front, grace, closed, .. } = tuning(config, &trust.users);
    let gate = TrunkGate::new(front.trunks.clone(), seed()?);
    let agent = Agent::with_gate(agent_config(config), seed()?, gate);
    let (orders_in, orders) = mpsc::channel(ORDERS_MAX);
    let front = servers.fit(Front::new(front, ids).with_keys(own_keys));
    let (load, load_out) = watch::channel(Load::of(&front.stats(), true, servers.room()));
    let (signalled, signalled_out) = watch::channel(Signalled::default());
    let link = FrontLink {
        orders: orders_in,
        load: load_out,
        tuning: |config, users| FrontOrder::Tune(Box::new(tuning(config, users))),
    };
    let task = FrontTask {
        driver: SipDriver::new(agent, sockets)
            .resolving(Resolver::start(&config.sip.name_servers))
            .limited(Rates::new(config.sip.max_requests_per_source, Instant::now()), tag()?),
        front,
        servers,
        commands,
        awaited: Awaited::default(),
        teller,
        stop,
        grace,
        closed,
        orders,
        load,
        signalled,
        pulse,
        supervisor,
        round: Instant::now(),
        alarms: Alarms::default(),
        is_leaving: false,
        in_a_row: 0,
    };
    Ok((task, link, signalled_out))
}

/// What is shown in handshakes, and what keys of media are made of.
fn own_keys(config: &Config) -> Result<(Arc<Identity>, OwnKeys), CliError> {
    let clients = if config.media.dtls_verify { Clients::Verified } else { Clients::Any };
    let identity = Identity::make(clients).map_err(|e| {
        CliError::failed(
            "cannot make a certificate for encrypted media",
            e,
            "check the kernel's /dev/urandom",
        )
    })?;
    let own = OwnKeys { entropy: Entropy::new(seed()?), certificate: Some(identity.fingerprint()) };
    Ok((Arc::new(identity), own))
}
