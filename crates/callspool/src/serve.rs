//! `callspool serve`: the roles of this node wired together, started in order and stopped in order.
//!
//! ```text
//!  find and lock the volumes ─► catalogue ─► list what a crash left ─► page ─► SIP sockets ─► recorder ─► front
//!                                                                       └─► beside it: repair what was listed
//!  stop: refuse new calls ─► let calls end ─► seal ─► close sockets ─► stop threads ─► flush the catalogue
//! ```
//!
//! Nothing here decides about calls; a failure to start is told in one line that says what to do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::port::{Joins, LiveCalls};
use call::{FrontConfig, Intake};
use faults::{Operation, before};
use model::alarm::AlarmRules;
use model::{IdGenerator, TenantId, VolumeName};
use sip::{AgentConfig, Transport};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::addresses::{self, Addresses, ProxyWatch};
use crate::alarms::{AlarmClock, NodeWatch, OurSockets, RecorderWatch};
use crate::catalog::{self, CatalogLink, Claim};
use crate::certificates::{Renewable, Renewables};
use crate::cli::{CliError, file_error};
use crate::cluster::Cluster;
use crate::config::{Config, Loaded, MediaSource, Role, Surroundings};
use crate::control;
use crate::descriptors::{Shares, divide, make_room, raise_limit};
use crate::desk::Cares;
use crate::dumps;
use crate::elsewhere::{AcrossLink, Elsewhere};
use crate::front::Tuning;
use crate::gathering::{self, GatherFigures, Prepared};
use crate::joins::JoinLink;
use crate::listen::{HeardSides, SidesLink};
use crate::live_calls;
use crate::logging::LogLevel;
use crate::metrics::Numbers;
use crate::net::{Certificates, NetConfig, NetLimits};
use crate::notes::notebook;
use crate::operate::{Operator, Signals};
use crate::page::{self, Behind};
use crate::privilege::{self, Powers};
use crate::pulse::Pulses;
use crate::readiness::Readiness;
use crate::recorder::{AlarmThresholds, Disk, Kind, PortConfig, QualityRules, RecorderConfig, Teller};
use crate::reload::Reloader;
use crate::startup::Mender;
use crate::supervise::{Phase, Supervisor};
use crate::trunks;
use crate::users::{self, TrunkUsers};
use crate::volumes::identity::{Memory, NotHere};
use crate::volumes::{self, Arrival, Volume, Volumes};
use crate::webhook::{self, Board, Webhooks};
use crate::wiring::{self, Recording, Tellers, Trust, Ways};

/// How long looking for the volumes may delay the start: a disk that hangs is waited for while it runs.
const ARRIVE: Duration = Duration::from_secs(3);

/// How long threads that still work may delay the end of the process, when all that was waited for is done.
const LEAVE: Duration = Duration::from_secs(2);

/// Runs until a signal says stop.
pub(crate) fn run(loaded: Loaded, named: Option<PathBuf>, log: LogLevel) -> Result<(), CliError> {
    let config = &loaded.config;
    // While there is one thread, this makes nobody wait.
    make_room(raise_limit());
    // Before any other thread: they have the user and the powers of the one that starts them.
    let powers = privilege::give_up(config)?;
    if config.node.core_dumps {
        tracing::warn!(
            "core dumps are allowed (node.core_dumps): one would hold keys of media and what is said"
        );
    } else {
        dumps::forbid();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed("cannot start", e, "check the limit of threads (ulimit -u)"))?;
    let users = users::load(config).map_err(CliError::of_problems)?;
    let webhooks = webhook::load(config).map_err(CliError::of_problems)?;
    let reloader = Reloader::new(named, Surroundings::of_process(), &loaded, users, webhooks);
    let served = runtime.block_on(serve(loaded.config, reloader, log, powers));
    // What still blocks is left behind: whatever it was doing is done again or repaired at the next start.
    runtime.shutdown_timeout(LEAVE);
    served
}

async fn serve(config: Config, reloader: Reloader, log: LogLevel, powers: Powers) -> Result<(), CliError> {
    let Powers { raw, hands } = powers;
    let pulses = Pulses::default();
    let supervisor = Supervisor::start(pulses.clone())
        .map_err(|e| CliError::failed("cannot start", e, "check the limit of threads (ulimit -u)"))?;
    make_private_dir(&config.node.data_dir)?;
    let memory = Memory::new(&config.node.data_dir);
    let volumes = find_volumes(&config, &memory)?;
    let repository = volumes.repository();
    let node = config.node.number;

    let place = catalog::place(&config)?;
    let claim = Claim::make(&config, &place).await?;
    let mut catalog = CatalogLink::start(&config, &place).await?;
    let ids = IdGenerator::new(node, catalog.highest_id);
    let teller = Teller::new(ids.clone(), alarm_rules(&config), catalog.handle.clone());
    // Webhooks that are new are told of all that this process tells.
    let first_event = teller.newest();
    let disk = |volume: &Arc<Volume>| Disk::with_reserve(&volume.root, config.recording.openers);
    let disks: Vec<Disk> = volumes.iter().map(disk).collect();
    let by_name = volumes.iter().map(|v| v.name.clone()).zip(disks.clone()).collect();
    let mender = Mender::new(&config, &repository, by_name, &catalog, &teller);
    // Before anything is recorded, so that nothing new is in the list.
    let left = mender.survey().await;
    let (stop, stopping) = watch::channel(false);
    let heard = HeardSides::default();
    let notes = notebook(&volumes, &teller, &heard);
    let has = |role| config.node.roles.contains(&role);
    let (gather, gather_commands) = gathering::channel();
    let (live, commands) = live_calls::channel(SidesLink::new(Arc::clone(&notes), heard));
    let way = has(Role::Proxy).then(|| live.commands());
    let joins: Arc<dyn Joins> = Arc::new(JoinLink::new(way, mender.clone()));
    let live: Option<Arc<dyn LiveCalls>> = has(Role::Proxy).then(|| Arc::new(live) as _);
    let (roles, told) = (config.node.roles.clone(), teller.told().clone());
    let readiness = Arc::new(Readiness::new(volumes.clone(), roles, stopping.clone(), told));
    // Before anything answers: whoever sees this process up may order it about; it acts when it is ready.
    let signals = Signals::new();
    let asked = control::start(&config.node.data_dir);
    let board = Board::default();
    let numbers = Arc::new(Numbers::new(catalog.handle.clone(), volumes.clone(), board.clone()));
    let elsewhere = Elsewhere::start(&config, &volumes, stopping.clone())?;
    let page = if has(Role::Api) {
        let behind = Behind {
            volumes: &volumes,
            catalog: &catalog,
            notes: Arc::clone(&notes),
            joins: Arc::clone(&joins),
            readiness: Arc::clone(&readiness),
            numbers: Arc::clone(&numbers),
            live: live.clone(),
            gather: Arc::new(gather.clone()),
            elsewhere: elsewhere.clone(),
        };
        Some(page::start(&config, behind, stopping.clone()).await?)
    } else {
        None
    };
    let certificates = crate::certificates::load(&config)?;
    let cluster = Cluster::of(&config)?;
    let shares = descriptors(&config);
    let tellers = Tellers { teller: teller.clone(), supervisor: supervisor.clone(), pulses: pulses.clone() };
    let trust = Trust { certificates: certificates.clone(), users: reloader.users().clone() };
    let sockets = has(Role::Proxy).then(|| wiring::bind(&config, shares, &trust)).transpose()?;
    let gathering = Prepared::of(&config, &cluster);
    let cares = Cares::new(config.cluster.adopt_after);
    let to_gather = gathering::Means {
        cares: cares.clone(),
        volumes: volumes.clone(),
        disks: volumes.iter().map(|v| v.name.clone()).zip(disks.clone()).collect(),
        teller: teller.clone(),
        commands: gather_commands,
        figures: Arc::new(GatherFigures::default()),
        elsewhere: elsewhere.clone(),
        stop: stopping.clone(),
    };
    let (desk, desk_link, local, watched) = if has(Role::Recorder) {
        let (returned, back) = mpsc::unbounded_channel();
        tokio::spawn(mend_returned(back, mender.clone(), stopping.clone()));
        let inquiries = gathering.as_ref().map(Prepared::inquiries);
        let place = Recording { volumes, disks, raw, memory, returned, inquiries };
        let started = wiring::start_recorder(&config, shares, &cluster, &tellers, place).await?;
        numbers.recording(started.recorder.shared());
        let sockets = OurSockets::of(&config, started.recorder.shared().source());
        let watched = RecorderWatch { figures: started.recorder.figures(), sockets };
        let (desk, link, local) = started.divide(&config, &cluster, stopping.clone(), &tellers, cares);
        (Some(desk), Some(link), local, Some(watched))
    } else {
        drop(raw);
        (None, None, None, None)
    };
    let (front, link) = if let Some(sockets) = sockets {
        let (servers, own_keys) = wiring::servers(&config, &cluster, local)?;
        let ways = Ways { sockets, servers, own_keys, commands, stop: stopping.clone() };
        let (task, link, signalled) = wiring::front_task(&config, ids, &tellers, &trust, ways)?;
        readiness.bound(link.load.clone());
        numbers.signalling(signalled);
        (Some(task), Some(link))
    } else {
        (None, None)
    };
    let load = link.as_ref().map(|link| link.load.clone());
    let proxy = load.clone().map(|load| ProxyWatch { load, pulses: pulses.clone(), stop: stopping.clone() });
    let renewables = renewables(certificates.as_ref(), &cluster);
    let watch = NodeWatch::new(&config, &catalog.handle, renewables.clone(), watched, load);
    let alarms = AlarmClock::start(&config, &catalog, &teller, watch)?;
    let gathering = match gathering {
        Some(prepared) => {
            numbers.gathering(Arc::clone(&to_gather.figures));
            Some(prepared.start(&config, to_gather)?)
        }
        None => {
            // Whoever asks is told at once that nobody gathers here.
            drop(to_gather);
            None
        }
    };
    if let Some(elsewhere) = &elsewhere {
        numbers.lending(elsewhere.clone());
        if gathering.is_none() {
            elsewhere.connect(&config, &cluster);
        }
    }
    // Nothing that asks the catalog runs before here: it would outlive a start that fails.
    catalog.watch(mender.clone(), stopping.clone());
    let mut webhooks = Webhooks::new(&config, &catalog, &teller, board);
    webhooks.apply(reloader.webhooks(), first_event).await;
    catalog::watch_events(
        &place,
        &catalog.reader,
        teller.clone(),
        config.recording.tenant.clone(),
        stopping.clone(),
    );
    let claimed = claim.map(|claim| tokio::spawn(claim.keep(teller.clone(), stopping.clone())));
    let front = front.map(|task| tokio::spawn(task.run()));
    let front_done = async move {
        let Some(front) = front else { return Instant::now() };
        front.await.unwrap_or_else(|e| {
            tracing::error!("the signalling task failed: {e}");
            Instant::now()
        })
    };
    // Both end when they are told to stop; the desk last, as long as there is one.
    let recording = tokio::spawn(async move {
        match desk {
            Some(desk) => desk.run(front_done).await,
            None => _ = front_done.await,
        }
    });
    for certificate in &renewables {
        tokio::spawn(crate::certificates::watch(Arc::clone(certificate), stopping.clone()));
    }
    let addresses = match (hands, proxy) {
        (Some(hands), Some(proxy)) => Some(Addresses::start(&config, hands, proxy, &teller)?),
        _ => None,
    };
    let kept = addresses.as_ref().map(Addresses::view).cloned();
    if let Some(view) = kept.clone() {
        numbers.keeping(view);
    }
    let mending = tokio::task::spawn_blocking(move || mender.mend(left, &stopping));
    tracing::info!("callspool {} is ready", env!("CARGO_PKG_VERSION"));
    supervisor.tell(Phase::Ready);
    let operator = Operator {
        signals,
        asked,
        reloader,
        log,
        certificates: renewables,
        supervisor: supervisor.clone(),
        front: link,
        desk: desk_link,
        live,
        notes,
        joins,
        gather,
        across: AcrossLink { repository, elsewhere },
        webhooks,
        teller,
        page,
        addresses: kept,
        when_idle: false,
    };
    let (signals, webhooks) = operator.until_stop().await;
    tracing::info!("stopping");
    supervisor.tell(Phase::Stopping);
    tokio::spawn(exit_at(signals));
    let _ = stop.send(true);
    // First of all: clients find another proxy before this one refuses them.
    if let Some(addresses) = addresses {
        addresses.stop().await;
    }
    if let Err(e) = recording.await {
        tracing::error!("the desk of the record server failed: {e}");
    }
    if let Some(gathering) = gathering
        && tokio::time::timeout(LEAVE, gathering.ended()).await.is_err()
    {
        tracing::warn!("gathering did not end in time; the next start goes on with it");
    }
    if tokio::time::timeout(LEAVE, mending).await.is_err() {
        tracing::warn!("a repair did not end in time; the next start does it again");
    }
    webhooks.stop().await;
    alarms.stop();
    if let Some(claimed) = claimed
        && tokio::time::timeout(LEAVE, claimed).await.is_err()
    {
        tracing::warn!("the number of this node was not given back in time");
    }
    catalog.close().await;
    let _ = std::fs::remove_file(control::path(&config.node.data_dir));
    Ok(())
}

/// Looks for the volumes and locks them. One that is not there is waited for while it runs; without any that can be
/// used there is no start, unless all that is missing is a disk.
fn find_volumes(config: &Config, memory: &Memory) -> Result<Volumes, CliError> {
    let volumes = Volumes::new(volumes::declared(config), config.recording.buffer_max.octets());
    let found = volumes.arrive(memory, &config.node.data_dir, ARRIVE);
    let one_is_here = found.values().any(Result::is_ok);
    for (name, arrived) in found {
        match arrived {
            Ok(()) => {}
            Err(Arrival::NotLocked(e)) => return Err(e),
            Err(Arrival::NotHere(NotHere::Unreachable(path, e))) if !one_is_here => {
                return Err(file_error(format!("cannot use {} for recordings", path.display()), &e));
            }
            Err(Arrival::NotHere(e)) => tracing::error!("volume {name} is not used: {e}"),
        }
    }
    Ok(volumes)
}

/// Repairs what an earlier process left on volumes that come back.
async fn mend_returned(
    mut back: mpsc::UnboundedReceiver<Arc<Volume>>,
    mender: Mender,
    stop: watch::Receiver<bool>,
) {
    // One volume may hang; the others do not wait for it, and each is repaired by one task at a time.
    let mut last: BTreeMap<VolumeName, JoinHandle<()>> = BTreeMap::new();
    while let Some(volume) = back.recv().await {
        let (mender, stop) = (mender.clone(), stop.clone());
        let (name, before) = (volume.name.clone(), last.remove(&volume.name));
        let mending = async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let mended = tokio::task::spawn_blocking(move || mender.mend_volume(&volume.name, &stop)).await;
            if let Err(e) = mended {
                tracing::error!("a volume that came back is not repaired: {e}; the next start does it");
            }
        };
        last.insert(name, tokio::spawn(mending));
    }
}

/// What can be changed while it runs, as the configuration wants it.
pub(crate) fn tuning(config: &Config, users: &TrunkUsers) -> Tuning {
    let closed = match config.node.handover.as_str() {
        "" => Intake::Refused,
        to => Intake::HandedOver(to.to_owned()),
    };
    Tuning {
        front: front_config(config, users),
        grace: config.node.shutdown_grace,
        closed,
        thresholds: thresholds(config),
    }
}

/// How the descriptors are divided; told when they do not reach.
fn descriptors(config: &Config) -> Shares {
    let (allowed, wanted) = (raise_limit(), config.sip.tcp_max_connections);
    let shares = divide(allowed, wanted);
    let Shares { connections, segments } = shares;
    if connections < wanted {
        tracing::warn!(
            "of the {allowed} descriptors that are allowed {connections} are left for SIP connections and {segments} \
             for calls; raise LimitNOFILE (ulimit -Hn), `callspool doctor` says how far"
        );
    }
    shares
}

/// The certificates of this process that may be renewed.
fn renewables(telephony: Option<&Arc<Certificates>>, cluster: &Cluster) -> Renewables {
    let telephony = telephony.map(|own| Arc::clone(own) as Arc<dyn Renewable>);
    let node = cluster.certificate().map(|own| Arc::clone(own) as Arc<dyn Renewable>);
    telephony.into_iter().chain(node).collect()
}

pub(crate) fn net_config(
    config: &Config,
    shares: Shares,
    certificates: Option<Arc<Certificates>>,
) -> NetConfig {
    NetConfig {
        udp: config.sip.udp.clone(),
        tcp: config.sip.tcp.clone(),
        tls: config.sip.tls.clone(),
        ws: config.sip.ws.clone(),
        wss: config.sip.wss.clone(),
        certificates,
        moving: addresses::all(config),
        limits: NetLimits {
            udp_receive_buffer: config.sip.recv_buffer.octets(),
            connections_max: shares.connections,
            connections_per_source_max: config.sip.tcp_max_connections_per_source,
            idle: config.sip.tcp_idle_timeout,
            ..NetLimits::default()
        },
    }
}

/// Dialogs of which requests wait until record servers have said whose they are: what comes within a moment when another
/// proxy with thousands of calls is gone.
const SOUGHT_MAX: usize = 2_048;

pub(crate) fn agent_config(config: &Config) -> AgentConfig {
    let sip = &config.sip;
    let transports = [
        (Transport::Udp, &sip.udp),
        (Transport::Tcp, &sip.tcp),
        (Transport::Tls, &sip.tls),
        (Transport::Ws, &sip.ws),
        (Transport::Wss, &sip.wss),
    ];
    let mut advertised = Vec::new();
    for host in [config.sip.advertised_v4.as_ref(), config.sip.advertised_v6.as_ref()].into_iter().flatten() {
        for (transport, list) in transports {
            // A port that is advertised is that of UDP and TCP, before a NAT.
            let port = list.first().map_or(transport.default_port(), |address| address.port());
            let is_plain = matches!(transport, Transport::Udp | Transport::Tcp);
            let named =
                if is_plain { host.with_port(port) } else { std::net::SocketAddr::new(host.ip, port) };
            advertised.push((transport, named));
        }
    }
    AgentConfig {
        user_agent: config.sip.user_agent.clone(),
        advertised,
        session_expires: config.sip.session_expires,
        min_se: config.sip.min_se,
        sessions_max: config.sip.max_sessions,
        transactions_max: config.sip.max_transactions,
        force_udp: config.sip.large_requests_over_udp,
        sought_max: if config.tables.peer.is_empty() { 0 } else { SOUGHT_MAX },
    }
}

fn front_config(config: &Config, users: &TrunkUsers) -> FrontConfig {
    let told = |advertised: Option<IpAddr>, listen: Option<IpAddr>| {
        advertised.or(listen.filter(|ip| !ip.is_unspecified()))
    };
    let m = &config.media;
    FrontConfig {
        node: config.node.number,
        tenant: config.recording.tenant.clone(),
        trunks: trunks::of(config, users),
        tenant_calls_max: tenant_limits(config),
        calls_max: config.recording.max_calls,
        linger: config.recording.linger,
        hold_timeout: config.media.hold_timeout,
        inactive: trunks::flowing(config.recording.inactive_means),
        pause_timeout: config.recording.pause_timeout,
        orders_by_header: config.recording.orders_by_header,
        dtmf: trunks::dtmf(config.recording.dtmf),
        video: config.recording.video,
        address_v4: told(m.advertised_v4.map(IpAddr::V4), m.listen_v4.map(IpAddr::V4)),
        address_v6: told(m.advertised_v6.map(IpAddr::V6), m.listen_v6.map(IpAddr::V6)),
    }
}

fn tenant_limits(config: &Config) -> BTreeMap<TenantId, usize> {
    let limited = config.tables.tenant.iter().filter(|(_, tenant)| tenant.max_calls > 0);
    limited.filter_map(|(name, tenant)| Some((name.parse().ok()?, tenant.max_calls))).collect()
}

/// The ports of media, and what is bound and told.
pub(crate) fn ports_of(config: &Config) -> PortConfig {
    PortConfig {
        listen_v4: config.media.listen_v4.map(IpAddr::V4),
        listen_v6: config.media.listen_v6.map(IpAddr::V6),
        advertised_v4: config.media.advertised_v4.map(IpAddr::V4),
        advertised_v6: config.media.advertised_v6.map(IpAddr::V6),
        min: config.media.port_min,
        max: config.media.port_max,
        receive_buffer: config.media.recv_buffer.octets(),
        is_held: false,
    }
}

/// What media are to be received by.
pub(crate) const fn source_of(config: &Config) -> Kind {
    match config.media.source {
        MediaSource::Sockets => Kind::Sockets,
        MediaSource::IoUring => Kind::IoUring,
        MediaSource::PacketRing => Kind::PacketRing,
    }
}

pub(crate) fn recorder_config(
    config: &Config,
    shares: Shares,
    pulses: Pulses,
    memory: Memory,
) -> RecorderConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    RecorderConfig {
        node: config.node.number,
        memory,
        data_dir: config.node.data_dir.clone(),
        tenant: config.recording.tenant.clone(),
        ports: ports_of(config),
        streams_per_port: config.media.streams_per_port,
        source: source_of(config),
        ring: config.media.ring.octets(),
        threads: match config.media.threads {
            0 => cores.saturating_sub(1).max(1),
            n => n,
        },
        openers: config.recording.openers,
        tick: config.media.tick,
        flush: config.recording.flush,
        sync: config.recording.sync,
        media_timeout: config.media.media_timeout,
        thresholds: thresholds(config),
        stall: config.recording.stall,
        // A call has one live segment, and perhaps one that is being sealed.
        segments_max: config.recording.max_calls.saturating_mul(2),
        descriptors_max: shares.segments,
        cname: format!("callspool@{}", config.node.name),
        pulses,
    }
}

fn thresholds(config: &Config) -> AlarmThresholds {
    let alarms = &config.alarms;
    AlarmThresholds {
        quality: QualityRules {
            no_media: alarms.no_media,
            one_way: alarms.one_way,
            silence: alarms.silence,
            loss: alarms.loss,
        },
        disk_full_within: alarms.disk_full_within,
    }
}

pub(crate) fn alarm_rules(config: &Config) -> AlarmRules {
    AlarmRules { pause: config.alarms.repeat, subjects_max: config.alarms.max_subjects }
}

/// A tag that nobody can guess (RFC 3261 section 19.3).
pub(crate) fn tag() -> Result<String, CliError> {
    Ok(seed()?.iter().take(8).map(|octet| format!("{octet:02x}")).collect())
}

/// 32 octets from the system, for tags and branches that nobody can guess.
pub(crate) fn seed() -> Result<[u8; 32], CliError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| CliError::failed("cannot get random numbers", e, "check the kernel's /dev/urandom"))?;
    Ok(seed)
}

pub(crate) fn make_private_dir(path: &Path) -> Result<(), CliError> {
    let make = |_| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    before(Operation::DataDir, path).and_then(make).map_err(|e| {
        CliError::failed(
            format!("cannot make the directory {}", path.display()),
            e,
            "choose another one, or let this user write there",
        )
    })
}

/// Whoever signals twice does not want to wait: it ends at once, and the next start repairs what was live.
async fn exit_at(mut again: Signals) {
    again.stop().await;
    tracing::error!("signaled again: callspool ends at once; the next start repairs what was live");
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use model::peer::Flowing;

    use super::*;

    #[test]
    fn the_default_configuration_becomes_a_recorder() {
        let around = crate::config::Surroundings::of_process();
        let config = Config::embedded(&around).expect("the embedded default");
        let memory = Memory::new(Path::new("/nonexistent"));
        let recorder = recorder_config(&config, descriptors(&config), Pulses::default(), memory);
        assert!(recorder.threads >= 1 && recorder.ports.min < recorder.ports.max);
        assert_eq!(front_config(&config, &TrunkUsers::new()).inactive, Flowing::Held);
        assert!(agent_config(&config).advertised.is_empty());
    }
}
