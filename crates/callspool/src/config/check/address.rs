//! Whether service addresses can be kept, and whether somebody answers at them.

use std::net::IpAddr;
use std::time::Duration;

use address::{INTERVAL_MAX, INTERVAL_MIN, PRIORITY_MAX, PRIORITY_MIN};

use super::Findings;
use crate::config::tables::AddressConfig;
use crate::config::values::duration_text;
use crate::config::{Config, Role};

/// What the kernel takes as the name of an interface (IFNAMSIZ).
const INTERFACE_MAX: usize = 15;
/// Each is sent every advertisement by itself.
const PEERS_MAX: usize = 16;
/// What an interval is told in.
const HUNDREDTH: Duration = Duration::from_millis(10);

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let has = |role| config.node.roles.contains(&role);
    let addresses = &config.tables.address;
    if has(Role::LinkProtector) && addresses.is_empty() {
        let todo = "give [address.NAME] for each service address";
        findings.add("node", "roles", "a link-protector without addresses protects nothing", todo);
    }
    if has(Role::LinkProtector) && !has(Role::Proxy) {
        let why = "a link-protector brings clients to the proxy of its own node, and there is none";
        findings.add("node", "roles", why, "name proxy too");
    }
    if !has(Role::LinkProtector)
        && let Some(name) = addresses.keys().next()
    {
        let why = format!("nobody keeps [address.{name}]");
        findings.add("node", "roles", why, "name link-protector too");
    }
    for (i, (name, address)) in addresses.iter().enumerate() {
        one(name, address, findings);
        listened(config, name, address, findings);
        for (other, before) in addresses.iter().take(i) {
            twice(name, address, (other, before), findings);
        }
    }
}

fn one(name: &str, address: &AddressConfig, findings: &mut Findings<'_>) {
    let mut add = |key, why: String, todo: &str| findings.add_to_table(("address", name), key, why, todo);
    let Some(ip) = ip(address) else {
        return add("address", "there is no address".to_owned(), "give one such as \"192.0.2.10/24\"");
    };
    let interface = &address.interface;
    let is_name = (1..=INTERFACE_MAX).contains(&interface.len())
        && interface.bytes().all(|c| c.is_ascii_graphic() && c != b'/');
    if !is_name {
        add("interface", format!("'{interface}' is no interface"), "give one that `ip link` shows");
    }
    if !(1..=255).contains(&address.router_id) {
        let why = format!("{} is no number of a group", address.router_id);
        add("router_id", why, "give 1 to 255, the same on each node");
    }
    if !(u16::from(PRIORITY_MIN)..=u16::from(PRIORITY_MAX)).contains(&address.priority) {
        let why = format!("{} is out of range", address.priority);
        add("priority", why, &format!("give {PRIORITY_MIN} to {PRIORITY_MAX}"));
    }
    let interval = address.interval;
    if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval)
        || !interval.as_millis().is_multiple_of(HUNDREDTH.as_millis())
    {
        let why = format!("{} is out of range", duration_text(interval));
        let (min, max) = (duration_text(INTERVAL_MIN), duration_text(INTERVAL_MAX));
        add("interval", why, &format!("give {min} to {max}, in steps of 10ms"));
    }
    if address.peers.len() > PEERS_MAX {
        let why = format!("{} nodes", address.peers.len());
        add("peers", why, &format!("give {PEERS_MAX} or less"));
    }
    if let Some(peer) = address.peers.iter().find(|peer| peer.is_ipv4() != ip.is_ipv4() || **peer == ip) {
        let why = format!("{peer} is no own address of another node, of the same family");
        add("peers", why, "give those by which the nodes are known without the service address");
    }
}

/// Whether the proxy answers there, by that address.
fn listened(config: &Config, name: &str, address: &AddressConfig, findings: &mut Findings<'_>) {
    let sip = &config.sip;
    let Some(ip) = ip(address) else { return };
    let lists = [&sip.udp, &sip.tcp, &sip.tls, &sip.ws, &sip.wss];
    if !lists.iter().any(|list| list.iter().any(|at| at.ip() == ip)) {
        let why = format!("nobody answers at {ip}");
        let todo = format!("name it with a port in sip.udp, sip.tcp or another list, instead of {}", any(ip));
        findings.add_to_table(("address", name), "address", why, todo);
    }
}

const fn any(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "0.0.0.0" } else { "[::]" }
}

fn twice(
    name: &str,
    address: &AddressConfig,
    (other, before): (&str, &AddressConfig),
    findings: &mut Findings<'_>,
) {
    let (Some(ip), Some(ip_before)) = (ip(address), ip(before)) else { return };
    if ip == ip_before {
        let why = format!("{ip} is that of [address.{other}] too");
        findings.add_to_table(("address", name), "address", why, "remove one");
    } else if address.router_id == before.router_id
        && address.interface == before.interface
        && ip.is_ipv4() == ip_before.is_ipv4()
    {
        let why = format!("{} is that of [address.{other}] too", address.router_id);
        findings.add_to_table(("address", name), "router_id", why, "give each address its own");
    }
}

fn ip(address: &AddressConfig) -> Option<IpAddr> {
    address.address.map(|address| address.0.addr())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::config::tests::{load_text, refused};

    const SIP: &str = "[sip]\nudp = [\"192.0.2.10:5060\", \"[2001:db8::10]:5060\"]\n";

    #[test]
    fn an_address_that_can_be_kept_and_answered_at_is_taken() {
        let both = format!(
            "[node]\nroles = [\"proxy\", \"recorder\", \"link-protector\"]\n{SIP}\
             [address.v4]\naddress = \"192.0.2.10/24\"\ninterface = \"eth0\"\nrouter_id = 51\n\
             peers = [\"192.0.2.2\"]\ntake_back = \"never\"\n\
             [address.v6]\naddress = \"2001:db8::10/64\"\ninterface = \"eth0\"\nrouter_id = 51\n"
        );
        let loaded = load_text(&both, &[]).unwrap();
        assert_eq!(loaded.config.tables.address.len(), 2);
    }

    #[test]
    fn roles_and_addresses_go_together() {
        refused(
            "[node]\nroles = [\"recorder\", \"link-protector\"]\n",
            &[],
            expect![[r#"
            c.toml:2 node.roles: nobody could order this record server to record; name proxy too, or give cluster.listen and have proxies name it
            c.toml:2 node.roles: a link-protector without addresses protects nothing; give [address.NAME] for each service address
            c.toml:2 node.roles: a link-protector brings clients to the proxy of its own node, and there is none; name proxy too
        "#]],
        );
        let alone = "[address.v4]\naddress = \"192.0.2.10/24\"\ninterface = \"eth0\"\nrouter_id = 51\n";
        refused(
            &format!("{SIP}{alone}"),
            &[],
            expect![[r#"
            node.roles: nobody keeps [address.v4]; name link-protector too
        "#]],
        );
    }

    #[test]
    fn what_cannot_be_kept_or_is_answered_by_nobody_is_refused() {
        let node = "[node]\nroles = [\"proxy\", \"recorder\", \"link-protector\"]\n";
        refused(
            &format!(
                "{node}[address.a]\n[address.b]\naddress = \"192.0.2.10/24\"\ninterface = \"a/b\"\nrouter_id = 256\n\
                 priority = 255\ninterval = \"15ms\"\npeers = [\"::1\"]\n"
            ),
            &[],
            expect![[r#"
                c.toml:3 address.a.address: there is no address; give one such as "192.0.2.10/24"
                c.toml:6 address.b.interface: 'a/b' is no interface; give one that `ip link` shows
                c.toml:7 address.b.router_id: 256 is no number of a group; give 1 to 255, the same on each node
                c.toml:8 address.b.priority: 255 is out of range; give 2 to 254
                c.toml:9 address.b.interval: 15ms is out of range; give 50ms to 3s, in steps of 10ms
                c.toml:10 address.b.peers: ::1 is no own address of another node, of the same family; give those by which the nodes are known without the service address
                c.toml:5 address.b.address: nobody answers at 192.0.2.10; name it with a port in sip.udp, sip.tcp or another list, instead of 0.0.0.0
            "#]],
        );
        let one = |name: &str, ip: &str| {
            format!("[address.{name}]\naddress = \"{ip}/24\"\ninterface = \"eth0\"\nrouter_id = 51\n")
        };
        let sip = "[sip]\nudp = [\"192.0.2.10:5060\", \"192.0.2.11:5060\"]\n";
        let (a, b, c) = (one("a", "192.0.2.10"), one("b", "192.0.2.11"), one("c", "192.0.2.10"));
        refused(
            &format!("{node}{sip}{a}{b}{c}"),
            &[],
            expect![[r#"
            c.toml:12 address.b.router_id: 51 is that of [address.a] too; give each address its own
            c.toml:14 address.c.address: 192.0.2.10 is that of [address.a] too; remove one
            c.toml:16 address.c.router_id: 51 is that of [address.b] too; give each address its own
        "#]],
        );
    }
}
