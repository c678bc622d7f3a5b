//! What record servers ask each other, each question by an exchange of its own.

use std::net::SocketAddr;

use model::{
    Answer, CallHoldings, CallId, CallKey, Declined, NodeNumber, PeerName, Place, Rank, Request, TenantId,
    VolumeName, WallTime,
};
use peers::{Asker, Inquiries, Inquiry, Listener, Roster, Told};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::bare::{BareClient, framed, text};
use crate::nodes::{LOOPBACK, Nodes, PATIENCE, greeted, patient, peer};

fn number(n: u16) -> NodeNumber {
    NodeNumber::new(n).unwrap()
}

fn key(call: u64) -> CallKey {
    CallKey { call: CallId::from_u64(call), call_started: WallTime(0), tenant: TenantId::default() }
}

fn list(call: u64) -> Request {
    Request::List { call: key(call) }
}

/// A record server that is asked.
struct Asked {
    listener: Listener,
    inquiries: mpsc::Receiver<Inquiry>,
}

impl Asked {
    async fn start(nodes: &Nodes, name: &str, n: u16) -> Self {
        Self::start_at(nodes, name, n, LOOPBACK).await
    }

    async fn start_at(nodes: &Nodes, name: &str, n: u16, at: SocketAddr) -> Self {
        let (tell, inquiries) = mpsc::channel(64);
        let serving = Inquiries::new(Roster::new(&peer(name), number(n)), tell);
        let bound = Listener::bind_with(at, nodes.credentials(name), patient(), Some(serving)).await;
        Self { listener: bound.unwrap(), inquiries }
    }

    async fn next(&mut self) -> Inquiry {
        timeout(PATIENCE, self.inquiries.recv()).await.expect("nobody asks").unwrap()
    }
}

fn asker(nodes: &Nodes, own: &str, n: u16, peers: &[(&str, SocketAddr)]) -> Asker {
    let peers: Vec<(PeerName, String)> =
        peers.iter().map(|(name, at)| (peer(name), at.to_string())).collect();
    Asker::start(nodes.credentials(own), Roster::new(&peer(own), number(n)), peers)
}

async fn told(asker: &mut Asker) -> Told {
    timeout(PATIENCE, asker.told()).await.expect("nothing is told")
}

/// Waits until a peer can be asked: a machine that is busy may cost an attempt its deadline before.
async fn up(asker: &mut Asker) -> (PeerName, NodeNumber) {
    loop {
        match told(asker).await {
            Told::Up { name, node } => return (name, node),
            Told::Down { .. } => {}
            other => panic!("nothing was asked yet: {other:?}"),
        }
    }
}

/// Why a peer cannot be asked, once it is for that.
async fn down(asker: &mut Asker, expected: &str) -> Option<NodeNumber> {
    loop {
        match told(asker).await {
            Told::Down { node, why, .. } if why.contains(expected) => return node,
            Told::Down { .. } => {}
            other => panic!("it was to be refused: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_asked_is_answered_to_whoever_asked_whatever_comes_first() {
    let nodes = Nodes::new();
    let mut rec1 = Asked::start(&nodes, "rec-1", 1).await;
    let mut rec2 = asker(&nodes, "rec-2", 2, &[("rec-1", rec1.listener.local_addr())]);
    assert_eq!(up(&mut rec2).await, (peer("rec-1"), number(1)));
    let place = Place { of: key(7), volume: VolumeName::default(), rank: Rank::First };
    let read = Request::Read { place, file: "001-1.mka".to_owned(), offset: 5, length: 1 << 20 };
    rec2.ask(number(1), 70, list(7));
    rec2.ask(number(1), 71, read.clone());
    let (one, other) = (rec1.next().await, rec1.next().await);
    let (listed, ranged) = if one.request == read { (other, one) } else { (one, other) };
    assert_eq!((&listed.request, &ranged.request), (&list(7), &read));
    assert_eq!((listed.from, listed.name), (number(2), peer("rec-2")));
    let octets: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let range = Answer::Octets { octets, is_end: false };
    ranged.answer.send(range.clone()).unwrap();
    assert_eq!(told(&mut rec2).await, Told::Answered { from: number(1), ticket: 71, answer: range });
    let held = Answer::Held { room: 9, held: CallHoldings::nothing(key(7)) };
    listed.answer.send(held.clone()).unwrap();
    assert_eq!(told(&mut rec2).await, Told::Answered { from: number(1), ticket: 70, answer: held });
}

#[tokio::test]
async fn hundreds_of_questions_are_all_answered() {
    const QUESTIONS: u64 = 500;
    let nodes = Nodes::new();
    let Asked { listener, mut inquiries } = Asked::start(&nodes, "rec-1", 1).await;
    let mut rec2 = asker(&nodes, "rec-2", 2, &[("rec-1", listener.local_addr())]);
    up(&mut rec2).await;
    let answering = tokio::spawn(async move {
        while let Some(Inquiry { answer, .. }) = inquiries.recv().await {
            let _ = answer.send(Answer::Declined(Declined::Busy));
        }
    });
    (0..QUESTIONS).for_each(|ticket| rec2.ask(number(1), ticket, list(ticket)));
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < usize::try_from(QUESTIONS).unwrap() {
        match told(&mut rec2).await {
            Told::Answered { ticket, .. } => assert!(answered.insert(ticket), "{ticket} twice"),
            other => panic!("{other:?}"),
        }
    }
    answering.abort();
}

#[tokio::test]
async fn two_that_ask_each_other_do_so_beside_their_links() {
    let nodes = Nodes::new();
    let (mut rec1, mut rec2) =
        (Asked::start(&nodes, "rec-1", 1).await, Asked::start(&nodes, "rec-2", 2).await);
    let mut one = asker(&nodes, "rec-1", 1, &[("rec-2", rec2.listener.local_addr())]);
    let mut two = asker(&nodes, "rec-2", 2, &[("rec-1", rec1.listener.local_addr())]);
    let mut dialer = nodes.dial("rec-2", "rec-1", rec1.listener.local_addr());
    assert_eq!((up(&mut one).await.1, up(&mut two).await.1), (number(2), number(1)));
    greeted(&mut rec1.listener, &mut dialer, "rec-1").await;
    one.ask(number(2), 1, list(1));
    two.ask(number(1), 2, list(2));
    for (asked, from) in [(rec1.next().await, 2), (rec2.next().await, 1)] {
        assert_eq!(asked.from, number(from));
        asked.answer.send(Answer::Deleted).unwrap();
    }
    for (asker, from, ticket) in [(&mut one, 2, 1), (&mut two, 1, 2)] {
        let answer = Answer::Deleted;
        assert_eq!(told(asker).await, Told::Answered { from: number(from), ticket, answer });
    }
}

#[tokio::test]
async fn a_peer_that_goes_is_told_of_and_asked_again_when_it_is_back() {
    let nodes = Nodes::new();
    let rec1 = Asked::start(&nodes, "rec-1", 1).await;
    let at = rec1.listener.local_addr();
    let mut rec2 = asker(&nodes, "rec-2", 2, &[("rec-1", at)]);
    up(&mut rec2).await;
    drop(rec1);
    assert_eq!(down(&mut rec2, "").await, Some(number(1)));
    // Who is away is not asked.
    rec2.ask(number(1), 5, list(5));
    let mut rec1 = Asked::start_at(&nodes, "rec-1", 1, at).await;
    assert_eq!(up(&mut rec2).await, (peer("rec-1"), number(1)));
    rec2.ask(number(1), 6, list(6));
    assert_eq!(rec1.next().await.request, list(6));
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_told_of_and_the_others_are_answered() {
    let nodes = Nodes::new();
    let mut rec1 = Asked::start(&nodes, "rec-1", 1).await;
    let mut rec2 = asker(&nodes, "rec-2", 2, &[("rec-1", rec1.listener.local_addr())]);
    up(&mut rec2).await;
    rec2.ask(number(1), 1, list(1));
    drop(rec1.next().await.answer);
    assert!(matches!(told(&mut rec2).await, Told::Unanswered { ticket: 1, .. }));
    rec2.ask(number(1), 2, list(2));
    rec1.next().await.answer.send(Answer::Deleted).unwrap();
    assert!(matches!(told(&mut rec2).await, Told::Answered { ticket: 2, .. }));
}

#[tokio::test]
async fn a_number_that_another_node_has_is_not_believed_on_either_side() {
    let nodes = Nodes::new();
    let rec1 = Asked::start(&nodes, "rec-1", 1).await;
    let mut first = asker(&nodes, "rec-2", 2, &[("rec-1", rec1.listener.local_addr())]);
    up(&mut first).await;
    let mut second = asker(&nodes, "rec-3", 2, &[("rec-1", rec1.listener.local_addr())]);
    assert_eq!(down(&mut second, "both say that they are node 2").await, None);
    // And whoever asks looks too.
    let rec4 = Asked::start(&nodes, "rec-4", 1).await;
    let peers = [("rec-1", rec1.listener.local_addr()), ("rec-4", rec4.listener.local_addr())];
    let mut third = asker(&nodes, "rec-5", 5, &peers);
    let (mut is_up, mut is_refused) = (false, false);
    while !(is_up && is_refused) {
        match told(&mut third).await {
            Told::Up { node, .. } => {
                assert_eq!(node, number(1));
                is_up = true;
            }
            Told::Down { why, .. } => is_refused |= why.contains("both say that they are node 1"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn where_nobody_answers_questions_a_sentence_says_so_and_links_are_as_before() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut rec2 = asker(&nodes, "rec-2", 2, &[("rec-1", listener.local_addr())]);
    assert_eq!(down(&mut rec2, "this node answers no questions").await, None);
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    greeted(&mut listener, &mut dialer, "rec-1").await;
}

#[tokio::test]
async fn a_connection_is_for_a_link_or_for_questions_and_what_is_no_question_is_refused() {
    let nodes = Nodes::new();
    let rec1 = Asked::start(&nodes, "rec-1", 1).await;
    let mut bare = BareClient::connect(&nodes, "rec-2", rec1.listener.local_addr()).await;
    let refused = bare.ask("/peer/v1/copies", Some("1-1")).await.unwrap().1;
    assert_eq!(refused.status(), 400);
    assert!(text(refused.into_body()).await.contains("callspool-node"));
    let mut bare = BareClient::connect(&nodes, "rec-2", rec1.listener.local_addr()).await;
    for (said, status) in [("{", 400), ("{\"steal\":{}}", 400)] {
        let (say, answer) = bare.ask_as("/peer/v1/copies", 2, said).await;
        drop(say);
        assert_eq!(answer.await.unwrap().status(), status, "{said}");
    }
    let linked = bare.ask("/peer/v1/link", Some("1-1")).await.unwrap().1;
    assert_eq!(linked.status(), 409);
    let mut bare = BareClient::connect(&nodes, "rec-3", rec1.listener.local_addr()).await;
    let (say, _) = bare.link().await;
    say.send(framed("{\"probe\":{}}")).unwrap();
    let (_say, answer) = bare.ask_as("/peer/v1/copies", 3, "{}").await;
    assert_eq!(answer.await.unwrap().status(), 409);
}

#[tokio::test]
async fn others_ask_by_the_same_connection_and_are_told_why_a_node_cannot_be_asked() {
    let nodes = Nodes::new();
    let mut rec1 = Asked::start(&nodes, "rec-1", 1).await;
    let mut rec2 = asker(&nodes, "rec-2", 2, &[("rec-1", rec1.listener.local_addr())]);
    let questions = rec2.questions();
    assert!(questions.peers()[0].away.is_some());
    up(&mut rec2).await;
    let stands = questions.peers().remove(0);
    assert_eq!((stands.name, stands.node, stands.away), (peer("rec-1"), Some(number(1)), None));
    // The owner of the asker hears nothing of it, and one that was asked by it is answered all the same.
    rec2.ask(number(1), 70, list(7));
    let asking = tokio::spawn({
        let questions = questions.clone();
        async move { questions.ask(&peer("rec-1"), list(8)).await }
    });
    for _ in 0..2 {
        let Inquiry { request, answer, .. } = rec1.next().await;
        let held = if request == list(8) { Declined::Live } else { Declined::Busy };
        answer.send(Answer::Declined(held)).unwrap();
    }
    assert_eq!(asking.await.unwrap(), Ok(Answer::Declined(Declined::Live)));
    let answer = Answer::Declined(Declined::Busy);
    assert_eq!(told(&mut rec2).await, Told::Answered { from: number(1), ticket: 70, answer });
    let changes = questions.changes();
    drop(rec1);
    down(&mut rec2, "").await;
    assert!(questions.changes() > changes);
    assert!(questions.peers()[0].away.is_some());
    assert!(questions.ask(&peer("rec-9"), list(7)).await.unwrap_err().contains("not known"));
}
