//! Giving up root: a process that reads what comes from the network should own nothing but its recordings.
//!
//! A service unit or a container starts callspool as a user of its own, and there is nothing to do here. Who starts
//! it as root names that user in `node.user`: the limit of descriptors is raised and the directories are made and
//! given away, then the process becomes that user, for good, before its first thread and its first socket. Of
//! root's powers it keeps one, to bind ports below 1024.
//!
//! Where packets are read from rings, one thread keeps the power to [open](RawSockets) them until it has; where service
//! addresses are kept, [another one](address::Hands) keeps the power to change them for good. No thread that reads what
//! comes from the network ever has either.

use std::io;
use std::path::Path;

use address::Hands;
use crossbeam_channel::{Sender, bounded};
use nix::unistd::{Gid, Uid, User, chown, geteuid, initgroups, setgid, setuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};

use crate::cli::CliError;
use crate::config::{Config, MediaSource, Role};
use crate::descriptors::raise_limit;
use crate::patience::{ANSWER, within};
use crate::serve::make_private_dir;

/// What is to be done by the thread that has the power to.
type Work = Box<dyn FnOnce() + Send>;

/// The power to read packets of all (`CAP_NET_RAW`), as long as rings are to be opened. Powers are each thread's own: one
/// that waits for nothing else has it.
#[derive(Debug)]
pub(crate) struct RawSockets(Option<Sender<Work>>);

impl RawSockets {
    /// Nobody had the power, or everybody keeps it.
    const NONE: Self = Self(None);

    /// Leaves the power to a thread of its own, and takes it from the calling one and all that it starts.
    fn leave() -> io::Result<Self> {
        let (way, works) = bounded::<Work>(1);
        let wait = move || {
            if let Ok(work) = works.recv() {
                work();
            }
        };
        std::thread::Builder::new().name("raw-sockets".to_owned()).spawn(wait)?;
        drop_powers(CapabilitySet::NET_RAW);
        Ok(Self(Some(way)))
    }

    /// Does something with the power, for the last time.
    ///
    /// # Errors
    /// When the thread that had it is gone.
    pub(crate) fn use_up<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some(way) = self.0 else { return Ok(work()) };
        let (tell, told) = bounded(1);
        let gone = || io::Error::other("the thread that opens rings of packets is gone");
        way.send(Box::new(move || _ = tell.send(work()))).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())
    }
}

/// What holding service addresses takes: to give them to the kernel, and to send what announces them.
const OF_HANDS: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// What threads with powers do for those without.
#[derive(Debug)]
pub(crate) struct Powers {
    pub(crate) raw: RawSockets,
    /// On a node that keeps service addresses.
    pub(crate) hands: Option<Hands>,
}

/// Leaves the powers to hold service addresses to a thread of its own, where there are any to be held.
fn leave_hands(config: &Config) -> Result<Option<Hands>, CliError> {
    if !config.node.roles.contains(&Role::LinkProtector) {
        return Ok(None);
    }
    let may = |e: io::Error| CliError::failed("cannot hold service addresses", e, MAY_NOT_TODO);
    let has = capabilities(None).map_err(|e| may(e.into()))?.effective;
    if !has.contains(OF_HANDS) {
        return Err(may(io::Error::other("it may not: CAP_NET_ADMIN and CAP_NET_RAW are missing")));
    }
    let (hands, worker) = address::hands();
    let work = move || {
        // Root keeps all that it is, as everywhere in a process that runs as root.
        if !geteuid().is_root() {
            drop_powers(!OF_HANDS);
        }
        worker.run();
    };
    std::thread::Builder::new().name("address-hands".to_owned()).spawn(work).map_err(|e| {
        CliError::failed("cannot hold service addresses", e, "check the limit of threads (ulimit -u)")
    })?;
    Ok(Some(hands))
}

const MAY_NOT_TODO: &str = "start it with them (AmbientCapabilities in a service unit: cluster.md), or leave \
     link-protector out of node.roles";

/// The calling thread, and those that it starts, have these powers no more.
fn drop_powers(powers: CapabilitySet) {
    let without = |set: CapabilitySet| set & !powers;
    let dropped = capabilities(None).and_then(|has| {
        let sets = CapabilitySets {
            effective: without(has.effective),
            permitted: without(has.permitted),
            inheritable: without(has.inheritable),
        };
        if sets == has { Ok(()) } else { set_capabilities(None, sets) }
    });
    if let Err(e) = dropped {
        tracing::warn!(
            "powers are kept that nobody needs ({powers:?}): {e}; allow the system call capset (SystemCallFilter in a service unit)"
        );
    }
}

/// Becomes the user of `node.user`, if that is another. Must be called while the process has one thread.
pub(crate) fn give_up(config: &Config) -> Result<Powers, CliError> {
    become_named(config)?;
    let hands = leave_hands(config)?;
    if geteuid().is_root() {
        return Ok(Powers { raw: RawSockets::NONE, hands });
    }
    if hands.is_some() {
        drop_powers(CapabilitySet::NET_ADMIN);
    }
    if config.media.source != MediaSource::PacketRing {
        drop_powers(CapabilitySet::NET_RAW);
        return Ok(Powers { raw: RawSockets::NONE, hands });
    }
    let raw = RawSockets::leave()
        .map_err(|e| CliError::failed("cannot start", e, "check the limit of threads (ulimit -u)"))?;
    Ok(Powers { raw, hands })
}

fn become_named(config: &Config) -> Result<(), CliError> {
    let name = &config.node.user;
    if name.is_empty() {
        if geteuid().is_root() {
            tracing::info!("callspool runs as root; name a user for it in node.user, or in its service unit");
        }
        return Ok(());
    }
    let user = User::from_name(name)
        .map_err(|e| {
            CliError::failed(format!("cannot look up the user {name}"), e, "check the user database")
        })?
        .ok_or_else(|| {
            CliError::usage("node.user", format!("there is no user {name}"), "make it, or name another")
        })?;
    if user.uid == geteuid() {
        return Ok(());
    }
    if !geteuid().is_root() {
        let todo = format!("start it as {name} or as root, or leave node.user empty");
        return Err(CliError::usage("node.user", format!("only root can become {name}"), todo));
    }
    raise_limit();
    let volumes = crate::volumes::declared(config).into_iter().map(|v| v.path);
    for directory in std::iter::once(config.node.data_dir.clone()).chain(volumes) {
        hand_over(&directory, user.uid, user.gid)?;
    }
    // For rings of packets, which are opened later.
    let raw = config.media.source == MediaSource::PacketRing;
    let mut kept = if raw { CapabilitySet::NET_RAW } else { CapabilitySet::empty() };
    if config.node.roles.contains(&Role::LinkProtector) {
        kept |= OF_HANDS;
    }
    become_user(&user, kept).map_err(|e| {
        CliError::failed(format!("cannot become {name}"), e, "allow it, or start callspool as that user")
    })?;
    tracing::info!("callspool runs as {name}");
    Ok(())
}

/// A directory that is new is made for that user. One that is there is theirs already, or somebody has reasons.
fn hand_over(directory: &Path, uid: Uid, gid: Gid) -> Result<(), CliError> {
    let place = directory.to_owned();
    // One that does not answer is there.
    if within(ANSWER, move || place.exists()).unwrap_or(true) {
        return Ok(());
    }
    make_private_dir(directory)?;
    chown(directory, Some(uid), Some(gid)).map_err(|e| {
        let what = format!("cannot give {} to its user", directory.display());
        CliError::failed(what, e, "make it yourself, or choose another place")
    })
}

/// Groups first, since only root may change them; the user last.
fn become_user(user: &User, kept: CapabilitySet) -> Result<(), std::io::Error> {
    set_keep_capabilities(true)?;
    let name = std::ffi::CString::new(user.name.as_str())?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    let ports = CapabilitySet::NET_BIND_SERVICE | kept;
    set_capabilities(
        None,
        CapabilitySets { effective: ports, permitted: ports, inheritable: CapabilitySet::empty() },
    )?;
    set_keep_capabilities(false)?;
    Ok(())
}
