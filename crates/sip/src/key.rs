//! Keys of transactions, as bytes with an order: maps that iterate in a random order would make runs differ.

use sipx_sip::{HeaderName, Request, TransactionKey};

use crate::head::Head;
use crate::message;
use crate::timers::TxId;

/// What finds a transaction (RFC 3261 sections 17.1.3, 17.2.3, 8.2.2.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Box<[u8]>);

impl Key {
    /// Client and server transactions never share a key, even when we call ourselves.
    pub(crate) fn of(side: u8, key: &TransactionKey) -> Self {
        match key {
            TransactionKey::Rfc3261 { branch, sent_by, method } => {
                Self::join(side, &[branch, sent_by, method])
            }
            TransactionKey::Legacy { request_uri, top_via, from_tag, to_tag, call_id, cseq, method } => {
                Self::join(
                    side,
                    &[b"2543", request_uri, top_via, from_tag, to_tag, call_id, &cseq.to_be_bytes(), method],
                )
            }
        }
    }

    /// For a message that passed validation this is never needed; a transaction of its own is always right.
    pub(crate) fn unique(tx: TxId) -> Self {
        Self::join(b'u', &[&tx.0.to_be_bytes()])
    }

    fn join(side: u8, parts: &[&[u8]]) -> Self {
        let mut key = vec![side];
        for part in parts {
            key.extend_from_slice(&(part.len() as u64).to_be_bytes());
            key.extend_from_slice(part);
        }
        Self(key.into())
    }
}

/// As `merge_key` of the INVITE that this is, repeats or cancels, from its lines.
pub(crate) fn invite_key(head: &Head<'_>) -> Option<Key> {
    let cseq = head.sequence()?.to_be_bytes();
    Some(Key::join(b'm', &[head.tag_of_from()?, head.call_id, &cseq, b"INVITE"]))
}

/// Call-ID, From-tag and CSeq of a request outside any dialog.
pub(crate) fn merge_key(request: &Request) -> Option<Key> {
    if message::header_tag(&request.headers, &HeaderName::To).is_some() {
        return None;
    }
    let from_tag = message::header_tag(&request.headers, &HeaderName::From)?;
    let call_id = message::own(&request.headers, &HeaderName::CallId);
    let cseq = message::cseq(&request.headers)?;
    Some(Key::join(b'm', &[&from_tag, &call_id, &cseq.to_be_bytes(), request.method.as_bytes()]))
}
