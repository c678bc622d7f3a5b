//! What is known of a call beside its media: read from requests and SIPREC metadata into [`CallData`].
//!
//! Who is who is a decision, not a label: metadata decide, then From, To and P-Asserted-Identity, then what the
//! trunk says; labels, ids and places that are crossed, missing or strange never hide a party. Metadata that cannot
//! be read are kept as they came, with the problem noted; they never refuse a call, and what they leave out stays
//! as it was known.

mod agent;
mod bodies;
mod correlation;
mod documents;
mod extras;
mod headers;
mod parties;
mod sides;

use model::call::CALL_IDS_MAX;
use model::{CallData, Metadata, Now};
use sip::RequestInfo;
use sip::siprec::{self, Lack};

pub use self::agent::AgentSide;
pub(crate) use self::documents::{Documents, spoken};
pub(crate) use self::parties::number;
pub(crate) use self::sides::{KnownSides, Place};

/// What a request said of a call, beside what is in its data now.
#[derive(Debug, Default)]
pub(crate) struct Absorbed {
    /// The metadata bodies that it carried.
    pub(crate) metadata: Vec<Metadata>,
    /// What the metadata say that the client knows and we do not.
    pub(crate) lack: Option<Lack>,
    /// Whether the metadata are all that the client knows.
    pub(crate) is_whole: bool,
    /// Whether the metadata say that the recording goes on or not.
    pub(crate) state: Option<siprec::SessionState>,
}

/// Takes what `request` says, with its metadata, into `data`, and into what its dialog knows.
pub(crate) fn absorb(
    data: &mut CallData,
    request: &RequestInfo,
    documents: Documents<'_>,
    now: Now,
    sides: &mut KnownSides,
) -> Absorbed {
    if !data.sip_call_ids.contains(&request.call_id) && data.sip_call_ids.len() < CALL_IDS_MAX {
        data.sip_call_ids.push(request.call_id.clone());
    }
    correlation::of_headers(data, request);
    extras::of_request(data, request);
    headers::absorb(data, request);
    let mut absorbed = Absorbed::default();
    for (part, read) in documents.all {
        let problem = match &read {
            Ok(read) if read.is_damaged => {
                Some("not well-formed: what could be read of it is used".to_owned())
            }
            Ok(_) => None,
            Err(e) => Some(e.to_string()),
        };
        absorbed.metadata.push(bodies::keep(now, &request.method, &part.content_type, &part.bytes, problem));
        match read {
            Ok(read) => {
                absorbed.state = read.state.or(absorbed.state);
                absorbed.is_whole = read.complete && !read.is_damaged;
                let before = sides.participants();
                absorbed.lack = sides.take(read).or(absorbed.lack);
                let known = sides.known();
                parties::leave(data, &before, known, now);
                correlation::of_metadata(data, known);
                let left_out = parties::update(data, known, request, now, sides.agent());
                extras::left_out(data, left_out);
                extras::of_metadata(data, known);
                sides.learn(data);
            }
            Err(_) => absorbed.lack = absorbed.lack.or(Some(Lack::Unreadable)),
        }
    }
    let placed = headers::participants(request);
    headers::seat(data, &placed, sides.agent());
    parties::presume(data, request);
    sides.agent().settle(&mut data.parties);
    sides.seat(&placed, data);
    absorbed
}
