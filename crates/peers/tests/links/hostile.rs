//! Nodes that have proved who they are and say what is no message: their link ends, and nothing else does.

use peers::{Came, FromServer, Heard};

use crate::bare::{BareClient, BareServer, HELLO, end, framed};
use crate::nodes::{Nodes, came, greeted, heard, linked, refused, withdraw};

/// What a proxy says ends its link, for that reason; another one's goes on.
async fn check_ended(said: &[u8], expected: &str) {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (_, well) = greeted(&mut listener, &mut dialer, "rec-1").await;
    let mut bare = BareClient::connect(&nodes, "proxy-2", listener.local_addr()).await;
    let (say, answer) = bare.link().await;
    let (id, _, _) = linked(&mut listener).await;
    say.send(said.to_vec().into()).unwrap();
    drop(say);
    match came(&mut listener).await {
        (of, _, Came::Closed(why)) => {
            assert_eq!(of, id);
            assert!(why.contains(expected), "{why}");
        }
        other => panic!("{other:?}"),
    }
    end(answer).await;
    well.send(&FromServer::Probed).unwrap();
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
}

#[tokio::test]
async fn lengths_that_cannot_be_end_a_link() {
    check_ended(&[0, 0, 0, 0], "a message of 0 octets").await;
    check_ended(&[0xff; 64], "a message of 4294967295 octets").await;
}

#[tokio::test]
async fn what_is_no_json_ends_a_link() {
    check_ended(&framed("order?"), "no JSON").await;
    check_ended(&framed(&"[".repeat(100_000)), "no JSON").await;
}

#[tokio::test]
async fn a_message_that_is_cut_off_ends_a_link() {
    let probe = framed(r#"{"probe":{}}"#);
    check_ended(&probe[..7], "in the middle of a message").await;
    check_ended(&probe[..2], "in the middle of a message").await;
}

#[tokio::test]
async fn the_end_of_what_a_node_says_is_the_end_of_its_link() {
    check_ended(&[], "it ended the link").await;
}

#[tokio::test]
async fn a_message_in_single_octets_is_a_message() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut bare = BareClient::connect(&nodes, "proxy-1", listener.local_addr()).await;
    let (say, _answer) = bare.link().await;
    linked(&mut listener).await;
    for octet in framed(r#"{"order":{"withdraw":{"segment":"0000000000007"}},"secrets":[]}"#) {
        say.send(vec![octet].into()).unwrap();
    }
    assert!(matches!(came(&mut listener).await.2, Came::Order(order) if order == withdraw(7)));
}

#[tokio::test]
async fn a_connection_carries_one_link() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut bare = BareClient::connect(&nodes, "proxy-1", listener.local_addr()).await;
    let (say, _answer) = bare.link().await;
    let (id, _, _) = linked(&mut listener).await;
    say.send(framed(r#"{"probe":{}}"#)).unwrap();
    // It is refused, or waits until there may be another exchange.
    let next = tokio::select! {
        refused = bare.ask("/peer/v1/link", Some("1-1")) => {
            assert!(refused.is_err());
            came(&mut listener).await
        }
        next = came(&mut listener) => next,
    };
    assert!(matches!(next, (of, _, Came::Probe) if of == id));
}

#[tokio::test]
async fn a_server_that_says_what_is_no_message_is_left_and_dialed_again() {
    let nodes = Nodes::new();
    let mut server = BareServer::start(&nodes, "1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", server.address);
    for (said, expected) in [(framed("beat!"), "no JSON"), (vec![0; 8].into(), "a message of 0 octets")] {
        let (_asked, say) = server.greeted(&mut dialer, &[HELLO]).await;
        say.send(said).unwrap();
        refused(&mut dialer, expected).await;
    }
}

#[tokio::test]
async fn a_second_hello_changes_nothing() {
    let nodes = Nodes::new();
    let mut server = BareServer::start(&nodes, "1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", server.address);
    let (_asked, say) = server.greeted(&mut dialer, &[HELLO]).await;
    say.send(framed(HELLO)).unwrap();
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
}
