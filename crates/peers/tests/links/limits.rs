//! As many as may be, and what becomes of the next one; ends that do not read.

use std::time::Duration;

use model::{Failure, Report, SegmentId};
use peers::{Came, FromServer, Heard, Limits, NotSent, ToServer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bare::{BareClient, BareServer, HELLO};
use crate::nodes::{Nodes, PATIENCE, beat, came, greeted, heard, linked, patient, peer, refused, withdraw};

#[tokio::test]
async fn beyond_the_limit_a_node_is_told_so_and_linked_when_there_is_room() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen_with("rec-1", Limits { links: 1, ..patient() }).await;
    let mut first = BareClient::connect(&nodes, "proxy-1", listener.local_addr()).await;
    let (_say, _answer) = first.link().await;
    linked(&mut listener).await;
    let mut second = nodes.dial("proxy-2", "rec-1", listener.local_addr());
    let why = refused(&mut second, "(503)").await;
    assert!(why.contains("1 nodes have a link here"), "{why}");
    assert!(listener.counts().limits >= 1);
    drop(second);

    // The node that has the place may link anew all the same.
    let mut again = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut again, "rec-1").await;
    drop(again);
    let mut second = nodes.dial("proxy-2", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut second, "rec-1").await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_has_its_place_until_the_deadline_only() {
    let nodes = Nodes::new();
    let limits = Limits { handshakes: 1, greeting: Duration::from_secs(4), ..Limits::default() };
    let mut listener = nodes.listen_with("rec-1", limits).await;
    let mut silent = TcpStream::connect(listener.local_addr()).await.unwrap();
    let mut next = TcpStream::connect(listener.local_addr()).await.unwrap();
    assert_eq!(next.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(listener.counts().limits, 1);
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(listener.counts().handshake, 1);
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut dialer, "rec-1").await;
}

#[tokio::test]
async fn a_link_has_no_place_among_the_handshakes() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen_with("rec-1", Limits { handshakes: 1, ..patient() }).await;
    let mut first = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut first, "rec-1").await;
    let mut second = nodes.dial("proxy-2", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut second, "rec-1").await;
}

/// Some 64 KB, so that a queue is full soon.
fn large() -> Report {
    Report::Refused { segment: SegmentId::from_u64(1), why: Failure::Storage("x".repeat(64 << 10)) }
}

#[tokio::test]
async fn a_proxy_that_never_reads_is_closed_and_the_others_go_on() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (_, well) = greeted(&mut listener, &mut dialer, "rec-1").await;
    let mut bare = BareClient::connect(&nodes, "proxy-2", listener.local_addr()).await;
    let (_say, _never_read) = bare.link().await;
    let (slow_id, _, slow) = linked(&mut listener).await;

    let mut number = 0;
    let not_sent = loop {
        if let Err(not_sent) = slow.send(&FromServer::Report(large())) {
            break not_sent;
        }
        number += 1;
        well.send(&FromServer::Beat(beat(number))).unwrap();
        assert_eq!(heard(&mut dialer).await, Heard::Beat(beat(number)));
    };
    assert_eq!(not_sent, NotSent::Full);
    assert_eq!(slow.send(&FromServer::Probed), Err(NotSent::Down));
    match came(&mut listener).await {
        (id, who, Came::Closed(why)) => {
            assert_eq!((id, who), (slow_id, peer("proxy-2")));
            assert!(why.contains("too slowly"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    well.send(&FromServer::Probed).unwrap();
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
}

#[tokio::test]
async fn a_server_that_never_reads_is_closed() {
    let nodes = Nodes::new();
    let mut server = BareServer::start(&nodes, "1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", server.address);
    let (_never_read, _say) = server.greeted(&mut dialer, &[HELLO]).await;
    let order = ToServer::Order(withdraw(1));
    let not_sent = loop {
        if let Err(not_sent) = dialer.send(&peer("rec-1"), &order) {
            break not_sent;
        }
    };
    assert_eq!(not_sent, NotSent::Full);
    refused(&mut dialer, "too slowly").await;
}

/// Its owner does not take out what comes: the sender's queue fills, and nothing is lost before that is told.
#[tokio::test]
async fn an_owner_that_does_not_listen_holds_up_its_links_and_loses_nothing() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut dialer, "rec-1").await;
    let mut sent = 0;
    for _ in 0..20_000 {
        dialer.send(&peer("rec-1"), &ToServer::Order(withdraw(sent))).unwrap();
        sent += 1;
    }
    for segment in 0..sent {
        match timeout(PATIENCE, listener.came()).await.unwrap().2 {
            Came::Order(order) => assert_eq!(order, withdraw(segment)),
            other => panic!("{other:?}"),
        }
    }
}
