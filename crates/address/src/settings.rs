//! What is to be known of a service address.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::advert::Interval;
use crate::machine::{LAST, Returning, Rules};

/// The least that a priority can be: below it is what is held because nobody is well.
pub const PRIORITY_MIN: u8 = LAST + 1;
/// And the most: 255 is for a router whose own address it is, and none of these are anybody's own.
pub const PRIORITY_MAX: u8 = 254;
/// More often costs more than it gives: a thread that is not scheduled for so long is no node that is gone.
pub const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// An address, and how it is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// What it is called.
    pub name: String,
    /// The address, with the length of its network.
    pub address: IpNet,
    /// Where it is held.
    pub interface: String,
    /// The same on all nodes that may hold it, and nobody else's on this network.
    pub router: u8,
    /// [`PRIORITY_MIN`] to [`PRIORITY_MAX`].
    pub priority: u8,
    /// How often it is advertised.
    pub interval: Interval,
    /// Whether it is taken back.
    pub returning: Returning,
    /// The other nodes, by their own addresses; none: whoever is on the network, by multicast.
    pub peers: Vec<IpAddr>,
}

impl Service {
    /// The address alone.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.addr()
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules { priority: self.priority, interval: self.interval, returning: self.returning }
    }
}
