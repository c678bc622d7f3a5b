//! What other nodes, or strangers on the same network, say of a service address.

use std::net::IpAddr;
use std::time::Duration;

use address::advert::{Advert, Interval};
use address::machine::{Action, Machine, Returning, Rules, Standing};
use model::Mono;

use crate::Input;

/// Advertisements that come to a node one after the other. Octet 0 says of which family; before each stand two octets, how
/// much time passes before it, in hundredths of a second, and how long it is.
///
/// What is read is written to the same octets, apart from the sum; and whatever comes, an address is held for no longer
/// than it was taken or renewed for, and no more is said than what came and time allow.
pub fn vrrp(data: &[u8]) {
    let mut input = Input(data);
    let is_v6 = input.octet() & 1 == 1;
    let v4 = ["192.0.2.1", "192.0.2.2", "224.0.0.18"];
    let named = if is_v6 { ["fe80::1", "fe80::2", "ff02::12"] } else { v4 };
    let [own, other, to] = named.map(|text| text.parse::<IpAddr>().unwrap());
    let Some(interval) = Interval::new(25) else { return };
    let mut machine = Machine::new(Rules { priority: 100, interval, returning: Returning::AtOnce }, own);
    let mut now = Mono::ZERO;
    machine.stand(now, Standing::Well, own);
    let mut is_held = false;
    while !input.0.is_empty() {
        now = now + Duration::from_millis(10) * u32::from(input.octet());
        let length = usize::from(input.octet());
        let octets = input.take(length);
        if let Ok(advert) = Advert::parse(octets, other, to) {
            let again = advert.octets(other, to);
            assert_eq!(Advert::parse(&again, other, to), Ok(advert.clone()));
            assert_eq!(again.len(), octets.len());
            machine.receive(now, other, advert.priority, advert.interval);
        }
        if machine.next_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
        }
        let mut said = 0;
        while let Some(action) = machine.poll_action() {
            said += 1;
            match action {
                Action::Take { .. } => assert!(!std::mem::replace(&mut is_held, true), "taken twice"),
                Action::LetGo { .. } => assert!(std::mem::replace(&mut is_held, false), "let go of twice"),
                Action::Renew => assert!(is_held, "renewed and not held"),
                Action::Announce | Action::Advertise(_) => {}
            }
        }
        assert!(said <= 6, "{said} for one packet");
        assert_eq!(is_held, machine.is_holding());
    }
}
