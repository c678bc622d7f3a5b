//! What two nodes that mean each other well say by a link.

use model::{
    Codec, Keys, OpenSegment, OpenStream, Order, Protection, Report, SegmentId, Side, Suite, WallTime,
};
use peers::{Came, Dialer, FromServer, Heard, Listener, NotSent, ToServer};

use crate::nodes::{
    Nodes, beat, came, greeted, greeted_by, heard, hello, patient, peer, withdraw, withdrawn,
};

#[tokio::test]
async fn what_each_side_says_comes_to_the_other_in_order() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    assert_eq!(dialer.send(&peer("rec-1"), &ToServer::Probe), Err(NotSent::Down));

    let (id, link) = greeted_by(&mut listener, &mut dialer, hello("rec-1", 5)).await;

    dialer.send(&peer("rec-1"), &ToServer::Order(withdraw(1))).unwrap();
    dialer.send(&peer("rec-1"), &ToServer::Probe).unwrap();
    dialer.send(&peer("rec-1"), &ToServer::Order(withdraw(2))).unwrap();
    for expected in [Some(1), None, Some(2)] {
        match (came(&mut listener).await, expected) {
            ((of, who, Came::Order(order)), Some(segment)) => {
                assert_eq!((of, who, order), (id, peer("proxy-1"), withdraw(segment)));
            }
            ((of, _, Came::Probe), None) => assert_eq!(of, id),
            (other, _) => panic!("{other:?}"),
        }
    }

    link.send(&FromServer::Beat(beat(1))).unwrap();
    link.send(&FromServer::Report(withdrawn(1))).unwrap();
    link.send(&FromServer::Probed).unwrap();
    link.send(&FromServer::Beat(beat(2))).unwrap();
    for expected in [Heard::Beat(beat(1)), Heard::Report(withdrawn(1)), Heard::Alive, Heard::Beat(beat(2))] {
        assert_eq!(heard(&mut dialer).await, expected);
    }
}

#[tokio::test]
async fn keys_go_along_with_their_order() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut dialer, "rec-1").await;

    let mut stream = OpenStream::audio(1, Side::Agent, &[(8, Codec::new("PCMA", 8_000, 1))]);
    let keys = Keys::single(Suite::AesCm128HmacSha1Tag80, (0..30).collect()).unwrap();
    stream.protection = Protection::Srtp { inbound: keys.clone(), outbound: keys };
    let (segment, call) = (SegmentId::from_u64(7), model::CallId::from_u64(5));
    let open = OpenSegment::first(segment, call, WallTime::from_millis(1_800_000_000_000), vec![stream]);
    let order = Order::Open(Box::new(open));
    dialer.send(&peer("rec-1"), &ToServer::Order(order.clone())).unwrap();
    match came(&mut listener).await.2 {
        Came::Order(came) => assert_eq!(came, order),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ten_thousand_orders_come_in_order() {
    const ORDERS: u64 = 10_000;
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (_, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    for segment in 0..ORDERS {
        dialer.send(&peer("rec-1"), &ToServer::Order(withdraw(segment))).unwrap();
    }
    for segment in 0..ORDERS {
        match came(&mut listener).await.2 {
            Came::Order(order) => assert_eq!(order, withdraw(segment)),
            other => panic!("{other:?}"),
        }
        link.send(&FromServer::Report(withdrawn(segment))).unwrap();
    }
    for segment in 0..ORDERS {
        assert_eq!(heard(&mut dialer).await, Heard::Report(withdrawn(segment)));
    }
}

#[tokio::test]
async fn the_longest_message_passes_and_a_longer_one_leaves_the_link_as_it_was() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (_, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    let report = |octets: usize| {
        let why = model::Failure::Storage("x".repeat(octets));
        FromServer::Report(Report::Refused { segment: SegmentId::from_u64(1), why })
    };
    let rest = 100;
    assert_eq!(link.send(&report(peers::MESSAGE_MAX)), Err(NotSent::TooLarge));
    link.send(&report(peers::MESSAGE_MAX - rest)).unwrap();
    link.send(&FromServer::Beat(beat(1))).unwrap();
    assert_eq!(FromServer::Report(report_of(heard(&mut dialer).await)), report(peers::MESSAGE_MAX - rest));
    assert_eq!(heard(&mut dialer).await, Heard::Beat(beat(1)));
}

fn report_of(heard: Heard) -> Report {
    match heard {
        Heard::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_was_started_again_is_linked_again_and_has_another_run() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let address = listener.local_addr();
    let mut dialer = nodes.dial("proxy-1", "rec-1", address);
    let (_, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    drop(listener);
    assert!(matches!(heard(&mut dialer).await, Heard::Closed(_)));
    assert_eq!(dialer.send(&peer("rec-1"), &ToServer::Probe), Err(NotSent::Down));
    assert!(link.send(&FromServer::Probed).is_err());

    let mut listener = Listener::bind(address, nodes.credentials("rec-1"), patient()).await.unwrap();
    greeted_by(&mut listener, &mut dialer, hello("rec-1", 2)).await;
}

#[tokio::test]
async fn an_end_that_closes_a_link_has_it_made_again_and_hears_nothing_of_the_old_one() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (first, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    for number in 0..100 {
        link.send(&FromServer::Beat(beat(number))).unwrap();
    }
    assert_eq!(heard(&mut dialer).await, Heard::Beat(beat(0)));
    dialer.close(&peer("rec-1"));
    assert!(matches!(heard(&mut dialer).await, Heard::Closed(_)));
    let (second, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    assert!(second > first);

    link.close("enough");
    match came(&mut listener).await {
        (id, _, Came::Closed(why)) => assert_eq!((id, why.as_str()), (second, "enough")),
        other => panic!("{other:?}"),
    }
    assert_eq!(link.send(&FromServer::Probed), Err(NotSent::Down));
    assert!(matches!(heard(&mut dialer).await, Heard::Closed(_)));
    greeted(&mut listener, &mut dialer, "rec-1").await;
}

#[tokio::test]
async fn a_newer_link_of_a_node_takes_the_place_of_the_older() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut one = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (first, _) = greeted(&mut listener, &mut one, "rec-1").await;
    let _other = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    match came(&mut listener).await {
        (id, who, Came::Closed(why)) => {
            assert_eq!((id, who), (first, peer("proxy-1")));
            assert!(why.contains("two nodes have one name"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    match came(&mut listener).await {
        (id, who, Came::Up(_)) => assert!(id > first && who == peer("proxy-1")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(heard(&mut one).await, Heard::Closed(_)));
}

#[tokio::test]
async fn peers_are_apart_and_each_is_found_by_name_or_address() {
    let nodes = Nodes::new();
    let mut first = nodes.listen("rec-1").await;
    let six = "[::1]:0".parse().unwrap();
    let mut second = Listener::bind(six, nodes.credentials("rec-2"), patient()).await.unwrap();
    let peers = vec![
        (peer("rec-1"), format!("localhost:{}", first.local_addr().port())),
        (peer("rec-2"), second.local_addr().to_string()),
    ];
    let mut dialer = Dialer::start(nodes.credentials("proxy-1"), peers);
    greeted(&mut first, &mut dialer, "rec-1").await;
    greeted(&mut second, &mut dialer, "rec-2").await;
    dialer.send(&peer("rec-2"), &ToServer::Order(withdraw(2))).unwrap();
    assert!(matches!(came(&mut second).await.2, Came::Order(order) if order == withdraw(2)));
    assert_eq!(dialer.send(&peer("rec-3"), &ToServer::Probe), Err(NotSent::Down));
}
