//! What nodes say to each other of an address: the advertisement of VRRP version 3 (RFC 9568, section 5.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! | 3     | 1     | router        | priority      | addresses     |
//! +-------+-------+---------------+---------------+---------------+
//! | 0     | interval, 10 ms       | checksum                      |
//! +-------+-----------------------+-------------------------------+
//! | the addresses, 4 or 16 octets each                            |
//! ```
//!
//! Whatever comes is either an advertisement or an error; nothing panics, and no more is kept than 255 addresses.

use std::net::IpAddr;
use std::time::Duration;

use crate::announcement::{Sum, pseudo_header};

/// The number of VRRP among the protocols over IP.
pub const PROTOCOL: u8 = 112;
/// What a node says that lets go at once: it takes part no more.
pub const RESIGNED: u8 = 0;

const HEADER: usize = 8;
/// Version 3, type 1.
const VERSION_AND_TYPE: u8 = 0x31;
const CHECKSUM_AT: usize = 6;
const INTERVAL_BITS: u16 = 0x0FFF;

/// How often an address is advertised, in hundredths of a second: what fits into 12 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Interval(u16);

impl Interval {
    /// None for nothing, and for what does not fit.
    #[must_use]
    pub fn new(hundredths: u16) -> Option<Self> {
        (1..=INTERVAL_BITS).contains(&hundredths).then_some(Self(hundredths))
    }

    /// The nearest below; none for what does not fit.
    #[must_use]
    pub fn of(duration: Duration) -> Option<Self> {
        u16::try_from(duration.as_millis() / 10).ok().and_then(Self::new)
    }

    /// As a length of time.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * 10)
    }
}

/// An advertisement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advert {
    /// Which of the groups of nodes on this network it is about.
    pub router: u8,
    /// How good whoever says it is at holding the address; [`RESIGNED`]: it lets go.
    pub priority: u8,
    /// How often it will be heard.
    pub interval: Interval,
    /// What is held.
    pub addresses: Vec<IpAddr>,
}

/// Octets that are no advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAdvert {
    /// Another version or another type.
    #[error("it is not of VRRP version 3")]
    Version,
    /// It is shorter than it says, or longer.
    #[error("it has not the length that it says")]
    Length,
    /// On its way something has changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// No time at all.
    #[error("it would be heard without a break")]
    Interval,
}

impl Advert {
    /// Reads what came from one address to another. Over IPv4 the sum may be that of RFC 9568 or the one with a
    /// pseudo-header that RFC 5798 was read to mean.
    ///
    /// # Errors
    /// When it is no advertisement.
    pub fn parse(octets: &[u8], from: IpAddr, to: IpAddr) -> Result<Self, NoAdvert> {
        let Some((&[first, router, priority, count, interval_1, interval_2, _, _], rest)) =
            octets.split_first_chunk::<HEADER>()
        else {
            return Err(NoAdvert::Length);
        };
        if first != VERSION_AND_TYPE {
            return Err(NoAdvert::Version);
        }
        let size = if from.is_ipv4() { 4 } else { 16 };
        if rest.len() != usize::from(count) * size {
            return Err(NoAdvert::Length);
        }
        if !is_sound(octets, from, to) {
            return Err(NoAdvert::Checksum);
        }
        let interval = u16::from_be_bytes([interval_1, interval_2]) & INTERVAL_BITS;
        let interval = Interval::new(interval).ok_or(NoAdvert::Interval)?;
        let addresses = rest.chunks_exact(size).filter_map(address).collect();
        Ok(Self { router, priority, interval, addresses })
    }

    /// As it goes from one address to another. All its addresses must be of their family; of more than 255 the first.
    #[must_use]
    pub fn octets(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut octets = vec![VERSION_AND_TYPE, self.router, self.priority, count];
        octets.extend(self.interval.0.to_be_bytes());
        octets.extend([0, 0]);
        for address in self.addresses.iter().take(usize::from(count)) {
            match address {
                IpAddr::V4(v4) => octets.extend(v4.octets()),
                IpAddr::V6(v6) => octets.extend(v6.octets()),
            }
        }
        let mut sum = Sum::default();
        if from.is_ipv6() {
            pseudo_header(&mut sum, from, to, octets.len(), PROTOCOL);
        }
        sum.add(&octets);
        if let Some(place) = octets.get_mut(CHECKSUM_AT..HEADER) {
            place.copy_from_slice(&sum.checksum().to_be_bytes());
        }
        octets
    }
}

fn is_sound(octets: &[u8], from: IpAddr, to: IpAddr) -> bool {
    let mut alone = Sum::default();
    alone.add(octets);
    let mut whole = alone;
    pseudo_header(&mut whole, from, to, octets.len(), PROTOCOL);
    whole.checksum() == 0 || from.is_ipv4() && alone.checksum() == 0
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// As tcpdump would show it, octet by octet.
    #[test]
    fn an_advertisement_of_ipv4_is_what_the_rfc_draws() {
        let advert = Advert {
            router: 51,
            priority: 200,
            interval: Interval::new(25).unwrap(),
            addresses: vec![ip("192.0.2.10")],
        };
        let octets = advert.octets(ip("192.0.2.1"), ip("224.0.0.18"));
        assert_eq!(octets[..6], [0x31, 51, 200, 1, 0, 25]);
        assert_eq!(octets[8..], [192, 0, 2, 10]);
        // 0x3133 + 0xC801 + 0x0019 + 0xC000 + 0x020A = 0x1BB57, folded 0xBB58, complemented.
        assert_eq!(octets[6..8], (!0xBB58_u16).to_be_bytes());
    }

    #[test]
    fn the_sum_of_rfc_5798_is_taken_too() {
        let (from, to) = (ip("192.0.2.1"), ip("224.0.0.18"));
        let mut octets = vec![0x31, 51, 200, 1, 0, 25, 0, 0, 192, 0, 2, 10];
        let mut sum = Sum::default();
        pseudo_header(&mut sum, from, to, octets.len(), PROTOCOL);
        sum.add(&octets);
        octets[6..8].copy_from_slice(&sum.checksum().to_be_bytes());
        assert_eq!(Advert::parse(&octets, from, to).unwrap().priority, 200);
        octets[7] ^= 1;
        assert_eq!(Advert::parse(&octets, from, to), Err(NoAdvert::Checksum));
    }

    #[test]
    fn what_is_no_advertisement_is_told_apart() {
        let (from, to) = (ip("fe80::1"), ip("ff02::12"));
        let good = Advert {
            router: 1,
            priority: 1,
            interval: Interval::new(100).unwrap(),
            addresses: vec![ip("2001:db8::1")],
        }
        .octets(from, to);
        assert!(Advert::parse(&good, from, to).is_ok());
        assert_eq!(Advert::parse(&good[..7], from, to), Err(NoAdvert::Length));
        assert_eq!(Advert::parse(&good[..good.len() - 1], from, to), Err(NoAdvert::Length));
        assert_eq!(Advert::parse(&good, ip("fe80::2"), to), Err(NoAdvert::Checksum));
        let mut version_2 = good.clone();
        version_2[0] = 0x21;
        assert_eq!(Advert::parse(&version_2, from, to), Err(NoAdvert::Version));
        let mut hasty = vec![0x31, 1, 1, 0, 0xF0, 0, 0, 0];
        let mut sum = Sum::default();
        pseudo_header(&mut sum, from, to, hasty.len(), PROTOCOL);
        sum.add(&hasty);
        hasty[6..8].copy_from_slice(&sum.checksum().to_be_bytes());
        assert_eq!(Advert::parse(&hasty, from, to), Err(NoAdvert::Interval));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            router: u8, priority: u8, interval in 1_u16..=4_095,
            v4 in prop::collection::vec(any::<[u8; 4]>(), 0..20),
            v6 in prop::collection::vec(any::<[u8; 16]>(), 0..20),
        ) {
            let of = |addresses| Advert { router, priority, interval: Interval::new(interval).unwrap(), addresses };
            for (from, to, addresses) in [
                ("192.0.2.1", "224.0.0.18", v4.into_iter().map(IpAddr::from).collect::<Vec<_>>()),
                ("fe80::1", "ff02::12", v6.into_iter().map(IpAddr::from).collect()),
            ] {
                let advert = of(addresses);
                prop_assert_eq!(Advert::parse(&advert.octets(ip(from), ip(to)), ip(from), ip(to)), Ok(advert));
            }
        }

        #[test]
        fn any_octets_are_survived(octets: Vec<u8>, v6: bool) {
            let from = if v6 { ip("fe80::1") } else { ip("192.0.2.1") };
            if let Ok(advert) = Advert::parse(&octets, from, from) {
                prop_assert_eq!(advert.addresses.len() * if v6 { 16 } else { 4 } + HEADER, octets.len());
            }
        }
    }
}
