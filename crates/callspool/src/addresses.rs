//! The role `link-protector`: which service addresses there are, whether the proxy of this process is well, and who is told
//! when one moves. Who holds an address decides the crate [`address`].
//!
//! Whether the proxy is well is looked up in what its task keeps up to date, so that a task that hangs is found out. It
//! never asks anybody who could let it wait.

use std::net::IpAddr;
use std::time::Duration;

use address::advert::Interval;
use address::machine::Standing;
use address::{Ended, Hands, Happened, Holder, Keeper, Service, Shown, View};
use api::port::{Family, count};
use call::Room;
use model::{Incident, Mono, TenantId};
use tokio::sync::{mpsc, watch};

use crate::cli::CliError;
use crate::clock::mono;
use crate::config::tables::AddressConfig;
use crate::config::{Config, Role};
use crate::front::Load;
use crate::pulse::Pulses;
use crate::recorder::Teller;
use crate::wiring::SIGNALLING;

/// How long the signalling task may stand still. It goes round each second, and may wait for another for one.
const STILL_MAX: Duration = Duration::from_secs(3);
/// What happened and was not told yet: more than 16 addresses can do within a second.
const TOLD_MAX: usize = 256;

/// By what the proxy of this process is judged.
pub(crate) struct ProxyWatch {
    pub(crate) load: watch::Receiver<Load>,
    pub(crate) pulses: Pulses,
    pub(crate) stop: watch::Receiver<bool>,
}

impl ProxyWatch {
    /// How it is, and why it is not well.
    fn standing(&self, now: Mono) -> (Standing, Option<String>) {
        // Whoever waits for the load to change is waited for: nobody here.
        let load = *self.load.borrow();
        let still = self.pulses.still(now, STILL_MAX);
        if *self.stop.borrow() {
            (Standing::Out, None)
        } else if self.load.has_changed().is_err() {
            (Standing::Out, Some("the signalling task is gone".to_owned()))
        } else if let Some((_, since)) = still.iter().find(|(name, _)| name == SIGNALLING) {
            (Standing::Out, Some(format!("the signalling task has stood still for {} s", since.as_secs())))
        } else if !load.taking {
            (Standing::Poor, Some("no new calls are taken".to_owned()))
        } else if load.room == Room::Unreachable {
            (Standing::Poor, Some("no record server can be reached that takes calls".to_owned()))
        } else {
            (Standing::Well, None)
        }
    }
}

/// The addresses that are kept.
pub(crate) struct Addresses {
    keeper: Keeper,
    view: View,
}

impl Addresses {
    /// Begins to keep them.
    pub(crate) fn start(
        config: &Config,
        hands: Hands,
        proxy: ProxyWatch,
        teller: &Teller,
    ) -> Result<Self, CliError> {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        tokio::spawn(tell_people(told, teller.clone(), config.recording.tenant.clone()));
        let asked = Box::new(move || proxy.standing(mono()));
        // Beyond what it holds somebody stands still, and is told of.
        let told = Box::new(move |happened| _ = tell.try_send(happened));
        let (keeper, view) = Keeper::start(services(config), hands, asked, told)
            .map_err(|e| CliError::failed("cannot hold service addresses", e, "check ulimit -n and -u"))?;
        Ok(Self { keeper, view })
    }

    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    /// Lets go of all of them.
    pub(crate) async fn stop(self) {
        let keeper = self.keeper;
        let ended = tokio::task::spawn_blocking(move || keeper.stop()).await;
        if ended.ok() != Some(Ended::Clean) {
            tracing::warn!("service addresses may be held here for some seconds more");
        }
    }
}

/// All service addresses; none where this node keeps none.
pub(crate) fn all(config: &Config) -> Vec<IpAddr> {
    services(config).iter().map(Service::ip).collect()
}

fn services(config: &Config) -> Vec<Service> {
    if !config.node.roles.contains(&Role::LinkProtector) {
        return Vec::new();
    }
    let service = |(name, address): (&String, &AddressConfig)| {
        // What is out of range was refused when the configuration was read.
        Some(Service {
            name: name.clone(),
            address: address.address?.0,
            interface: address.interface.clone(),
            router: u8::try_from(address.router_id).ok()?,
            priority: u8::try_from(address.priority).ok()?,
            interval: Interval::of(address.interval)?,
            returning: address.take_back.0,
            peers: address.peers.clone(),
        })
    };
    config.tables.address.iter().filter_map(service).collect()
}

async fn tell_people(mut told: mpsc::Receiver<Happened>, teller: Teller, tenant: TenantId) {
    while let Some(happened) = told.recv().await {
        match happened {
            Happened::Taken { name, from: None } => {
                tracing::info!("service address {name} is held here now");
            }
            Happened::Taken { name, from: Some(from) } => {
                let text = format!("service address {name} has moved here; before, {from} held it");
                teller.alarm(&tenant, Incident::AddressMoved, None, None, text);
            }
            Happened::LetGo { name, to, why } => {
                let to = to.map(|to| format!(", {to} holds it")).unwrap_or_default();
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                tracing::warn!("service address {name} is not held here any more{to}{why}");
            }
            Happened::Unwell { name, why } => {
                tracing::warn!("service address {name} is better held elsewhere: {why}");
            }
            Happened::Well { name } => tracing::info!("service address {name} can be held here again"),
        }
    }
}

/// How an address is, in a line.
pub(crate) fn line(shown: &Shown) -> String {
    let holder = match shown.holder {
        Holder::Here => "held here".to_owned(),
        Holder::Elsewhere(by) => format!("held by {by}"),
        Holder::Unknown => "nobody is heard to hold it".to_owned(),
    };
    let unwell = shown.unwell.as_ref().map(|why| format!("; here: {why}")).unwrap_or_default();
    format!("service address {} ({}): {holder}{unwell}", shown.name, shown.address)
}

/// What is counted of them.
pub(crate) fn families(all: &[Shown]) -> Vec<Family> {
    let each = |family: Family, value: fn(&Shown) -> f64| {
        all.iter().fold(family, |family, shown| family.with(&[("address", &shown.name)], value(shown)))
    };
    let held =
        Family::gauge("callspool_service_address_held", "1 for a service address that this node holds");
    let well = Family::gauge(
        "callspool_service_address_ready",
        "1 for a service address that this node holds or could hold: its proxy is well and the link is up",
    );
    let taken =
        Family::counter("callspool_service_address_taken", "How often this node took a service address");
    let adverts = Family::counter(
        "callspool_service_address_advertisements",
        "Advertisements of service addresses (VRRP), by what became of them",
    );
    let adverts = all.iter().fold(adverts, |family, shown| {
        let counts = &shown.counts;
        [
            ("sent", counts.sent),
            ("not-sent", counts.not_sent),
            ("received", counts.received),
            ("refused", counts.refused),
        ]
        .into_iter()
        .fold(family, |family, (outcome, n)| {
            family.with(&[("address", &shown.name), ("outcome", outcome)], count(n))
        })
    });
    vec![
        each(held, |shown| f64::from(u8::from(shown.holder == Holder::Here))),
        each(well, |shown| f64::from(u8::from(shown.unwell.is_none()))),
        each(taken, |shown| count(shown.counts.taken)),
        adverts,
    ]
}

#[cfg(test)]
mod tests {
    use address::Counts;

    use super::*;

    const FINE: Load =
        Load { taking: true, dialogs: 0, calls: 0, calls_max: 10, refused: 0, room: Room::Free };

    /// How a proxy is, a second after its task went round, or later.
    fn check(load: Load, seconds: u64, expected: &(Standing, Option<&str>)) {
        let (_load, load) = watch::channel(load);
        let (_stop, stop) = watch::channel(false);
        let pulses = Pulses::default();
        let pulse = pulses.take(SIGNALLING);
        pulse.goes_on_at(Mono(7));
        let proxy = ProxyWatch { load, pulses, stop };
        let (standing, why) = proxy.standing(Mono(7) + Duration::from_secs(seconds));
        assert_eq!(&(standing, why.as_deref()), expected);
    }

    #[test]
    fn a_proxy_is_well_poor_or_out() {
        check(FINE, 1, &(Standing::Well, None));
        // Others refuse a call then too.
        check(Load { room: Room::Full, ..FINE }, 1, &(Standing::Well, None));
        let drained = Some("no new calls are taken");
        check(Load { taking: false, ..FINE }, 1, &(Standing::Poor, drained));
        let alone = Some("no record server can be reached that takes calls");
        check(Load { room: Room::Unreachable, ..FINE }, 1, &(Standing::Poor, alone));
        let still = Some("the signalling task has stood still for 4 s");
        check(FINE, 4, &(Standing::Out, still));
    }

    #[test]
    fn a_proxy_that_stops_or_whose_task_is_gone_is_out() {
        let (load_in, load) = watch::channel(FINE);
        let (stop_in, stop) = watch::channel(false);
        let proxy = ProxyWatch { load, pulses: Pulses::default(), stop };
        assert_eq!(proxy.standing(Mono(7)), (Standing::Well, None));
        drop(load_in);
        let gone = Some("the signalling task is gone".to_owned());
        assert_eq!(proxy.standing(Mono(7)), (Standing::Out, gone));
        stop_in.send(true).unwrap();
        assert_eq!(proxy.standing(Mono(7)), (Standing::Out, None));
    }

    #[test]
    fn a_line_says_who_holds_an_address_and_what_is_wrong_here() {
        let shown = |holder, unwell: Option<&str>| Shown {
            name: "sip".to_owned(),
            address: [192, 0, 2, 10].into(),
            holder,
            unwell: unwell.map(str::to_owned),
            counts: Counts::default(),
        };
        assert_eq!(line(&shown(Holder::Here, None)), "service address sip (192.0.2.10): held here");
        assert_eq!(
            line(&shown(Holder::Elsewhere([192, 0, 2, 2].into()), Some("the link of eth0 is down"))),
            "service address sip (192.0.2.10): held by 192.0.2.2; here: the link of eth0 is down"
        );
        assert_eq!(
            line(&shown(Holder::Unknown, None)),
            "service address sip (192.0.2.10): nobody is heard to hold it"
        );
    }
}
