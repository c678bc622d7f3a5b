//! Who is not who he should be, and who speaks something else: each is told or counted, and disturbs nobody.

use peers::authority::{Pem, authority, node};
use peers::{FromServer, Heard};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use crate::bare;
use crate::nodes::{LOOPBACK, Nodes, greeted, heard, hello, linked, peer, refused};

fn expired(nodes: &Nodes, name: &str) -> Pem {
    let ca = KeyPair::from_pem(&nodes.ca.key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&nodes.ca.certificate, ca).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    Pem { certificate, key: Zeroizing::new(key.serialize_pem()) }
}

/// Somebody whose certificate is refused is told why, and a node of the cluster is linked all the same.
async fn check_refused_by_the_server(nodes: &Nodes, shown: &Pem, expected: &str) {
    let mut listener = nodes.listen("rec-1").await;
    let address = listener.local_addr();
    let own = nodes.credentials_of(shown);
    let mut stranger = peers::Dialer::start(own, vec![(peer("rec-1"), address.to_string())]);
    let why = refused(&mut stranger, expected).await;
    assert!(why.contains("does not take our certificate"), "{why}");
    drop(stranger);
    let mut dialer = nodes.dial("proxy-1", "rec-1", address);
    greeted(&mut listener, &mut dialer, "rec-1").await;
    let counts = listener.counts();
    assert!(counts.certificate >= 1, "{counts:?}");
}

/// Somebody who shows that certificate where `rec-1` should be gets no link and no order.
async fn check_refused_by_the_client(nodes: &Nodes, shown: &Pem, expected: &str) {
    let own = nodes.credentials_of(shown);
    let listener = peers::Listener::bind(LOOPBACK, own, peers::Limits::default()).await.unwrap();
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    refused(&mut dialer, expected).await;
    assert!(dialer.send(&peer("rec-1"), &peers::ToServer::Probe).is_err());
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused_on_both_sides() {
    let nodes = Nodes::new();
    let elsewhere = authority("elsewhere", 10).unwrap();
    let proxy = node(&elsewhere, &peer("proxy-1"), &[], 10).unwrap();
    check_refused_by_the_server(&nodes, &proxy, "authority that is not trusted there").await;
    let server = node(&elsewhere, &peer("rec-1"), &[], 10).unwrap();
    check_refused_by_the_client(&nodes, &server, "authority that is not trusted here").await;
}

/// As an authority that was made anew under its name.
#[tokio::test]
async fn an_authority_is_known_by_its_key_and_not_by_its_name() {
    let nodes = Nodes::new();
    let again = authority("a test", 10).unwrap();
    let server = node(&again, &peer("rec-1"), &[], 10).unwrap();
    check_refused_by_the_client(&nodes, &server, "authority that is not trusted here").await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_on_both_sides() {
    let nodes = Nodes::new();
    check_refused_by_the_server(&nodes, &expired(&nodes, "proxy-1"), "has expired").await;
    check_refused_by_the_client(&nodes, &expired(&nodes, "rec-1"), "has expired").await;
}

#[tokio::test]
async fn a_node_with_another_name_is_not_the_one_that_was_meant() {
    let nodes = Nodes::new();
    check_refused_by_the_client(&nodes, &nodes.pem("rec-2"), "is of another node").await;
}

/// Whoever says that first is refused for that reason.
async fn check_refused_for(said: FromServer, expected: &str) {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    tokio::spawn(async move {
        loop {
            let (_, _, link) = linked(&mut listener).await;
            let _ = link.send(&said);
        }
    });
    refused(&mut dialer, expected).await;
}

#[tokio::test]
async fn a_node_that_calls_itself_otherwise_is_refused() {
    check_refused_for(FromServer::Hello(hello("rec-7", 1)), "calls itself rec-7").await;
}

#[tokio::test]
async fn a_node_that_speaks_before_its_hello_is_refused() {
    check_refused_for(FromServer::Probed, "before it has said who it is").await;
}

#[tokio::test]
async fn whoever_shows_no_certificate_is_refused() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    // In TLS 1.3 the client is ready before the server has looked: the refusal comes with the first octets.
    let mut stream = bare::tls(&nodes, listener.local_addr(), None).await.unwrap();
    let error = stream.read(&mut [0; 1]).await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let counts = listener.counts();
    assert_eq!((counts.certificate, counts.handshake), (1, 0), "{counts:?}");
    assert!(counts.last.is_some_and(|last| last.contains("127.0.0.1: it shows no certificate")));
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut dialer, "rec-1").await;
}

#[tokio::test]
async fn garbage_at_the_port_is_counted_and_costs_nobody_a_link() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (_, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    let before = listener.counts().handshake;
    for garbage in [&b"GET / HTTP/1.1\r\nHost: rec-1\r\n\r\n"[..], &[0; 4_096], &[0xff; 100]] {
        let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // It is closed; whatever TLS says before that is no matter.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert_eq!(listener.counts().handshake - before, 3);
    link.send(&FromServer::Probed).unwrap();
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
}

#[tokio::test]
async fn somebody_who_speaks_no_tls_where_a_node_should_be_is_told_of() {
    let nodes = Nodes::new();
    let socket = TcpListener::bind(LOOPBACK).await.unwrap();
    let mut dialer = nodes.dial("proxy-1", "rec-1", socket.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
        }
    });
    refused(&mut dialer, "does not speak TLS").await;
}

#[tokio::test]
async fn somebody_who_takes_the_connection_and_says_nothing_is_given_up() {
    let nodes = Nodes::new();
    let socket = TcpListener::bind(LOOPBACK).await.unwrap();
    let mut dialer = nodes.dial("proxy-1", "rec-1", socket.local_addr().unwrap());
    let _held = socket.accept().await.unwrap();
    refused(&mut dialer, "did not say who it is").await;
    // And dialed again.
    socket.accept().await.unwrap();
}

#[tokio::test]
async fn a_node_that_takes_the_link_and_never_says_hello_is_given_up() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (first, _, _) = linked(&mut listener).await;
    refused(&mut dialer, "did not say who it is").await;
    assert!(linked(&mut listener).await.0 > first);
}

#[tokio::test]
async fn nobody_there_is_told_and_dialed_again() {
    let nodes = Nodes::new();
    let address = TcpListener::bind(LOOPBACK).await.unwrap().local_addr().unwrap();
    let mut dialer = nodes.dial("proxy-1", "rec-1", address);
    for _ in 0..2 {
        refused(&mut dialer, "refused").await;
    }
}
