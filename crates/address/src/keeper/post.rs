//! One service address as the keeper has it: its machine, where it is to be held, by what its nodes hear each other, and
//! what keeps it from being held here. It is told what time it is, and waits for nothing.

use std::net::IpAddr;
use std::time::Duration;

use model::Mono;

use crate::advert::Advert;
use crate::ears::{Ears, GROUP_V4, GROUP_V6};
use crate::interface::Interface;
use crate::machine::Machine;
use crate::settings::Service;
use crate::view::{Counts, Holder, Shown};

/// After how long is tried again what failed.
const RETRY: Duration = Duration::from_secs(5);
/// What is said until it is known whether an address can be held.
pub(super) const BEGINS: &str = "it begins";

/// What is said when the kernel, or the thread that asks it, stands still.
pub(super) const BUSY: &str = "the kernel does not answer";

/// One address, and what belongs to it.
pub(super) struct Post {
    pub(super) service: Service,
    pub(super) machine: Machine,
    pub(super) interface: Option<Interface>,
    pub(super) ears: Option<Ears>,
    /// On an interface of this number it was begun, or is being.
    pub(super) begun: Option<u32>,
    pub(super) trouble: Option<(String, Mono)>,
    /// Since when the kernel owes an answer.
    pub(super) owed: Option<Mono>,
    pub(super) unwell: Option<String>,
    pub(super) counts: Counts,
}

impl Post {
    pub(super) fn new(service: Service) -> Self {
        let machine = Machine::new(service.rules(), service.ip());
        Self {
            service,
            machine,
            interface: None,
            ears: None,
            begun: None,
            trouble: None,
            owed: None,
            unwell: None,
            counts: Counts::default(),
        }
    }

    /// To whom it speaks.
    fn others(&self) -> Vec<IpAddr> {
        match (self.service.peers.is_empty(), self.service.ip()) {
            (false, _) => self.service.peers.clone(),
            (true, IpAddr::V4(_)) => vec![GROUP_V4.into()],
            (true, IpAddr::V6(_)) => vec![GROUP_V6.into()],
        }
    }

    pub(super) fn own(&self, moving: &[IpAddr]) -> Option<IpAddr> {
        self.interface.as_ref()?.own(self.others().first().copied()?, moving)
    }

    /// What keeps the address from being held here, whatever the proxy says.
    pub(super) fn obstacle(&self, own: Option<IpAddr>) -> Option<String> {
        let name = &self.service.interface;
        let family = if self.service.ip().is_ipv4() { "IPv4" } else { "IPv6" };
        match &self.interface {
            _ if self.trouble.is_some() => self.trouble.as_ref().map(|(why, _)| why.clone()),
            None => Some(format!("there is no interface {name}")),
            Some(interface) if !interface.is_up => Some(format!("the link of {name} is down")),
            Some(interface) if interface.mac.is_none() => {
                Some(format!("{name} is no Ethernet, and nobody could be told that an address is there"))
            }
            Some(_) if own.is_none() => Some(format!("{name} has no {family} address of its own")),
            Some(_) if self.ears.is_none() => Some(BEGINS.to_owned()),
            Some(_) => None,
        }
    }

    pub(super) fn fails(&mut self, now: Mono, why: String) {
        self.trouble = Some((why, now + RETRY));
        self.owed = None;
    }

    pub(super) fn shown(&self) -> Shown {
        let holder = match self.machine.heard() {
            _ if self.machine.is_holding() => Holder::Here,
            Some(heard) => Holder::Elsewhere(heard.from),
            None => Holder::Unknown,
        };
        let (name, address) = (self.service.name.clone(), self.service.ip());
        Shown { name, address, holder, unwell: self.unwell.clone(), counts: self.counts }
    }

    /// Tells the other nodes, at this priority.
    pub(super) fn advertise(&mut self, priority: u8, moving: &[IpAddr]) {
        let service = &self.service;
        let advert = Advert {
            router: service.router,
            priority,
            interval: service.interval,
            addresses: vec![service.ip()],
        };
        for to in self.others() {
            let own = self.interface.as_ref().and_then(|interface| interface.own(to, moving));
            let sent = match (own, &self.ears) {
                (Some(own), Some(ears)) => ears.say(own, to, &advert.octets(own, to)).is_ok(),
                _ => false,
            };
            *(if sent { &mut self.counts.sent } else { &mut self.counts.not_sent }) += 1;
        }
    }
}
