//! Against a name server of the test's own, on loopback, with a zone of a few lines.

use tokio::net::UdpSocket;

use super::*;

const A: u16 = 1;
const SRV: u16 = 33;
const NAPTR: u16 = 35;

/// Name, type and data of each record.
type Zone = Vec<(&'static str, u16, Vec<u8>)>;

fn name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn srv_record(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    [&priority.to_be_bytes()[..], &weight.to_be_bytes(), &port.to_be_bytes(), &name(target)].concat()
}

fn naptr_record(order: u16, service: &str, replacement: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [&order.to_be_bytes()[..], &[0, 0], &text("s"), &text(service), &text(""), &name(replacement)].concat()
}

/// Answers each question from the zone; NXDOMAIN where a name has nothing.
async fn serve(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = &buffer[..length];
            let end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 1;
            let asked = query[12..end].to_ascii_lowercase();
            let kind = u16::from_be_bytes([query[end], query[end + 1]]);
            let of_name: Vec<_> = zone.iter().filter(|(n, ..)| name(n) == asked).collect();
            let found: Vec<_> = of_name.iter().filter(|(_, k, _)| *k == kind).collect();
            let code = if of_name.is_empty() { 3 } else { 0 };
            let count = u16::try_from(found.len()).unwrap().to_be_bytes();
            let mut answer = [&query[..2], &[0x85, 0x80 | code, 0, 1], &count, &[0, 0, 0, 0]].concat();
            answer.extend_from_slice(&query[12..end + 4]);
            for (_, kind, data) in found {
                answer.extend_from_slice(&[0xc0, 12]);
                answer.extend_from_slice(&kind.to_be_bytes());
                answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
                answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
                answer.extend_from_slice(data);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

async fn find(zone: Zone, host: &str, port: Option<u16>, transport: Option<Transport>) -> String {
    let mut resolver = Resolver::start(&[serve(zone).await]);
    assert!(resolver.ask(Query::new(host, port, transport).unwrap()));
    let answer = tokio::time::timeout(2 * DEADLINE, resolver.next()).await.expect("an answer");
    assert_eq!(answer.query.host, host);
    let shown = answer.found.iter().map(|(transport, to)| format!("{} {to}", transport.parameter()));
    shown.collect::<Vec<_>>().join(", ")
}

fn zone() -> Zone {
    vec![
        ("pbx.test", NAPTR, naptr_record(20, "SIP+D2U", "_sip._udp.pbx.test")),
        ("pbx.test", NAPTR, naptr_record(10, "SIPS+D2T", "_sips._tcp.pbx.test")),
        ("pbx.test", A, vec![192, 0, 2, 99]),
        ("_sips._tcp.pbx.test", SRV, srv_record(10, 1, 5071, "one.test")),
        ("_sips._tcp.pbx.test", SRV, srv_record(20, 1, 5072, "two.test")),
        ("_sip._udp.pbx.test", SRV, srv_record(0, 0, 5060, "two.test")),
        ("_sip._tcp.plain.test", SRV, srv_record(0, 0, 5080, "one.test")),
        ("one.test", A, vec![192, 0, 2, 1]),
        ("two.test", A, vec![192, 0, 2, 2]),
        ("two.test", A, vec![192, 0, 2, 3]),
    ]
}

#[tokio::test]
async fn naptr_then_srv_then_addresses_in_their_order() {
    let found = find(zone(), "pbx.test", None, None).await;
    let (tls, udp) = found.split_once(", udp").unwrap();
    assert!(tls.starts_with("tls 192.0.2.1:5071, tls 192.0.2."), "{found}");
    assert!(tls.contains("tls 192.0.2.2:5072") && tls.contains("tls 192.0.2.3:5072"), "{found}");
    assert!(udp.contains("192.0.2.2:5060"), "{found}");
}

#[tokio::test]
async fn what_a_uri_decides_is_not_asked_for() {
    assert_eq!(find(zone(), "pbx.test", Some(5090), None).await, "udp 192.0.2.99:5090", "a port: no SRV");
    assert_eq!(find(zone(), "plain.test", None, Some(Transport::Tcp)).await, "tcp 192.0.2.1:5080");
    assert_eq!(find(zone(), "plain.test", None, None).await, "tcp 192.0.2.1:5080", "SRV without NAPTR");
    assert_eq!(find(zone(), "one.test", None, Some(Transport::Tls)).await, "tls 192.0.2.1:5061", "no SRV");
    assert_eq!(find(zone(), "nobody.test", None, None).await, "");
}

#[tokio::test]
async fn a_name_server_that_is_silent_costs_the_deadline_and_no_more() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut resolver = Resolver::start(&[silent.local_addr().unwrap()]);
    assert!(resolver.ask(Query::new("pbx.test", None, None).unwrap()));
    let answer = tokio::time::timeout(3 * DEADLINE, resolver.next()).await.expect("an answer");
    assert!(answer.found.is_empty());
}
