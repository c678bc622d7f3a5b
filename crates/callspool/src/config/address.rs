//! The types of values that service addresses have.

use std::net::IpAddr;

use address::machine::Returning;
use ipnet::IpNet;

use super::declare::{Setting, quoted};
use super::values::{duration_text, parse_duration};

/// An address of one host, with the length of the network that it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServiceAddress(pub(crate) IpNet);

impl Setting for Option<ServiceAddress> {
    const EXPECTED: &'static str =
        "an address with the length of its network, such as \"192.0.2.10/24\" or \"2001:db8::10/64\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let net: IpNet = text.trim().parse().map_err(|_| format!("'{text}' is no address with a length"))?;
        let ip = net.addr();
        let of_link = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || of_link {
            return Err(format!("{ip} can be no address of a service"));
        }
        // Only IPv4 has an address of all, and networks of two or one have none (RFC 3021).
        let is_edge = ip == net.network() || ip == net.broadcast();
        if ip.is_ipv4() && net.prefix_len() < 31 && is_edge {
            return Err(format!("{ip} is no host of {}", net.trunc()));
        }
        Ok(Some(ServiceAddress(net)))
    }

    fn to_toml(&self) -> String {
        quoted(&self.map(|address| address.0.to_string()).unwrap_or_default())
    }
}

/// When a node takes back what it lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TakeBack(pub(crate) Returning);

impl Setting for TakeBack {
    const EXPECTED: &'static str = "at-once, never, or a time such as \"5m\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "at-once" => Ok(Self(Returning::AtOnce)),
            "never" => Ok(Self(Returning::Never)),
            time => parse_duration(time).map(Returning::After).map(Self),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&match self.0 {
            Returning::AtOnce => "at-once".to_owned(),
            Returning::Never => "never".to_owned(),
            Returning::After(time) => duration_text(time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_a_host() {
        let read = |text: &str| Option::<ServiceAddress>::from_text(text);
        for good in ["192.0.2.10/24", "192.0.2.0/31", "192.0.2.7/32", "2001:db8::10/64", "2001:db8::/128"] {
            assert_eq!(read(good).unwrap().to_toml(), format!("\"{good}\""));
        }
        for bad in [
            "192.0.2.10",
            "192.0.2.0/24",
            "192.0.2.255/24",
            "127.0.0.1/8",
            "::/0",
            "224.0.0.18/24",
            "fe80::1/64",
            "ff02::12/16",
            "192.0.2.10/33",
            "proxy/24",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_may_be_none_at_all_and_for_ever() {
        for text in ["at-once", "never", "5m", "1h30m"] {
            assert_eq!(TakeBack::from_text(text).unwrap().to_toml(), format!("\"{text}\""));
        }
        assert!(TakeBack::from_text("soon").is_err());
    }
}
