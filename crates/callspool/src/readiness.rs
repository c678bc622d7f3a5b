//! Whether this node may be sent calls: what `/readyz` tells. And what is wrong, by its own memory.
//!
//! A proxy may when SIP is bound, new calls are taken and a record server takes them; a record server when some volume
//! can be written. All of that is looked up in what
//! threads keep up to date anyway; nothing is tried here.

use std::sync::OnceLock;

use api::port::{Lack, Node, Standing};
use call::Room;
use spool::placement::Fitness;
use store::AlarmRow;
use tokio::sync::watch;

use crate::alarms::Told;
use crate::clock::mono;
use crate::config::Role;
use crate::front::Load;
use crate::volumes::Volumes;

/// What the node's readiness depends on.
pub(crate) struct Readiness {
    volumes: Volumes,
    /// Whether the signalling task takes calls; set when SIP is bound.
    load: OnceLock<watch::Receiver<Load>>,
    /// What the node does.
    roles: Vec<Role>,
    stop: watch::Receiver<bool>,
    told: Told,
}

impl Readiness {
    pub(crate) fn new(volumes: Volumes, roles: Vec<Role>, stop: watch::Receiver<bool>, told: Told) -> Self {
        Self { volumes, load: OnceLock::new(), roles, stop, told }
    }

    /// SIP is bound, and so the signalling task stands.
    pub(crate) fn bound(&self, load: watch::Receiver<Load>) {
        // It is set once, at the start.
        let _ = self.load.set(load);
    }

    fn unready(&self) -> Vec<Lack> {
        let mut lacks = Vec::new();
        if *self.stop.borrow() {
            lacks.push(lack("draining", "callspool stops"));
        }
        match self.load.get() {
            _ if !self.roles.contains(&Role::Proxy) => {}
            None => lacks.push(lack("sip", "SIP is not bound yet")),
            Some(load) if !load.borrow().taking => {
                lacks.push(lack(
                    "draining",
                    "no new calls are taken; `callspool drain --off` takes them again",
                ));
            }
            Some(load) if load.borrow().room == Room::Unreachable => {
                lacks.push(lack("record-servers", "no record server can be reached that takes calls"));
            }
            Some(_) => {}
        }
        let writable = self.volumes.candidates(mono()).iter().any(|c| c.fitness != Fitness::Unfit);
        if self.roles.contains(&Role::Recorder) && !writable {
            lacks.push(lack("repository", "no volume can be written: see the log"));
        }
        lacks
    }
}

impl Node for Readiness {
    fn standing(&self) -> Standing {
        let lost = self.volumes.iter().filter(|v| v.is_lost());
        let degraded = lost.map(|v| lack("repository", &format!("volume {} cannot be used", v.name)));
        Standing { unready: self.unready(), degraded: degraded.collect() }
    }

    fn lasting(&self) -> Vec<AlarmRow> {
        self.told.lasting()
    }
}

fn lack(what: &'static str, text: &str) -> Lack {
    Lack { what, text: text.to_owned() }
}
