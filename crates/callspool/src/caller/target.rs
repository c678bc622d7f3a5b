//! Where calls go: a SIP URI as a person writes it, and the address that it leads to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use sip::Transport;

use super::plan::Target;
use crate::net::local_towards;

/// A target that cannot be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// It is not of the form of a SIP URI.
    #[error(
        "'{0}' is no SIP URI such as sip:callspool@192.0.2.1:5060 or sip:rec@[2001:db8::1];transport=tcp"
    )]
    Form(String),
    /// Its transport is none that is spoken here.
    #[error("'{0}' is no transport that can be used for calling: udp, tcp, tls, ws, wss")]
    Transport(String),
    /// Its name leads nowhere.
    #[error("{host} has no address: {why}")]
    Name {
        /// The name.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// No route leads to it.
    #[error("no route to {0}")]
    Route(SocketAddr),
}

/// Reads the URI and looks its host up; `transport` outranks the URI's parameter.
pub(crate) fn resolve(uri: &str, transport: Option<Transport>) -> Result<Target, TargetError> {
    let form = || TargetError::Form(uri.to_owned());
    let (scheme, rest) = uri.split_once(':').ok_or_else(form)?;
    let is_sips = scheme.eq_ignore_ascii_case("sips");
    if !is_sips && !scheme.eq_ignore_ascii_case("sip") {
        return Err(form());
    }
    let mut parts = rest.split(['?', ';']);
    let address = parts.next().unwrap_or_default();
    let host_port = address.rsplit_once('@').map_or(address, |(_user, host)| host);
    let (host, port) = split_port(host_port).ok_or_else(form)?;
    let named = parts.find_map(|p| p.split_once('=').filter(|(n, _)| n.eq_ignore_ascii_case("transport")));
    let transport = match (transport, named.map(|(_, value)| value)) {
        (Some(transport), _) => transport,
        (None, None) if is_sips => Transport::Tls,
        (None, None) => Transport::Udp,
        (None, Some(value)) => match (value.to_ascii_lowercase().as_str(), is_sips) {
            ("udp", false) => Transport::Udp,
            ("tcp", false) => Transport::Tcp,
            ("tls", _) | ("tcp", true) => Transport::Tls,
            ("ws", false) => Transport::Ws,
            ("wss", _) | ("ws", true) => Transport::Wss,
            _ => return Err(TargetError::Transport(value.to_owned())),
        },
    };
    let port = port.unwrap_or(transport.default_port());
    let failed = |why: String| TargetError::Name { host: host.to_owned(), why };
    let mut found = (host, port).to_socket_addrs().map_err(|e| failed(e.to_string()))?;
    let remote = found.next().ok_or_else(|| failed("nothing was found".into()))?;
    Ok(Target { uri: uri.to_owned(), transport, remote, host: host.to_owned() })
}

/// Our address, as the target sees it.
pub(crate) fn local_address(remote: SocketAddr) -> Result<std::net::IpAddr, TargetError> {
    let any: SocketAddr =
        if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let local = local_towards(any, remote).ip();
    if local.is_unspecified() { Err(TargetError::Route(remote)) } else { Ok(local) }
}

/// The host, without the brackets of an IPv6 address, and the port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_lead_to_addresses() {
        for (uri, transport, remote) in [
            ("sip:rec@127.0.0.1", Transport::Udp, "127.0.0.1:5060"),
            ("SIP:127.0.0.1:5080", Transport::Udp, "127.0.0.1:5080"),
            ("sip:a:b@127.0.0.1;lr;transport=TCP", Transport::Tcp, "127.0.0.1:5060"),
            ("sip:rec@[::1]:5070;transport=udp", Transport::Udp, "[::1]:5070"),
            ("sip:[::1]?x=y", Transport::Udp, "[::1]:5060"),
            ("sip:rec@127.0.0.1;transport=tls", Transport::Tls, "127.0.0.1:5061"),
            ("sips:rec@127.0.0.1", Transport::Tls, "127.0.0.1:5061"),
            ("sips:rec@127.0.0.1:7443;transport=ws", Transport::Wss, "127.0.0.1:7443"),
            ("sip:rec@127.0.0.1;transport=ws", Transport::Ws, "127.0.0.1:80"),
        ] {
            let target = resolve(uri, None).unwrap();
            assert_eq!((target.transport, target.remote.to_string().as_str()), (transport, remote), "{uri}");
            assert_eq!(resolve(uri, Some(Transport::Tcp)).unwrap().transport, Transport::Tcp);
            assert_eq!(local_address(target.remote).unwrap(), target.remote.ip());
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_an_example() {
        for uri in
            ["", "sip:", "tel:1", "sip:a@", "sip:a@h:0", "sip:a@h:x", "sip:a@[::1", "sip:a@[::1]x", "1001"]
        {
            let error = resolve(uri, None).unwrap_err().to_string();
            assert!(error.contains("such as sip:"), "{uri}: {error}");
        }
        let error = resolve("sip:a@127.0.0.1;transport=sctp", None).unwrap_err().to_string();
        assert!(error.contains("'sctp'") && error.contains("udp, tcp"), "{error}");
    }
}
