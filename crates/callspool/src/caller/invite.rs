//! The INVITE: plain with SDP, or SIPREC with SDP and metadata (RFC 7866 section 6.1.1).

use model::WallTime;
use sip::siprec::{
    Association, CommunicationSession, Group, Participant, RecordingMetadata, StreamAssociation, StreamInfo,
};
use sip::{Body, Destination, Outgoing};

use super::plan::CallPlan;

/// Who the second stream of a SIPREC call belongs to: the party that called the agent.
const FAR_END: (&str, &str) = ("sip:+12025550123@callspool.invalid", "Caller");

/// The INVITE of call `number`; without an offer it has no body (a delayed offer).
pub(super) fn outgoing(
    plan: &CallPlan,
    number: u32,
    offer: Option<String>,
    streams: usize,
    destination: Destination,
    now: WallTime,
) -> Outgoing {
    let mut bodies = Vec::new();
    if let Some(offer) = offer {
        bodies.push(Body { content_type: "application/sdp".into(), bytes: offer.into() });
        if plan.siprec {
            let xml = sip::siprec::write(&metadata(plan, number, streams, now));
            bodies.push(Body { content_type: "application/rs-metadata+xml".into(), bytes: xml.into() });
        }
    }
    let require = plan.siprec.then(|| ("Require".to_owned(), "siprec".to_owned()));
    Outgoing {
        to_uri: plan.target.uri.clone(),
        from_uri: plan.from_uri.clone(),
        display: plan.display.clone(),
        destination,
        bodies,
        extra_headers: require.into_iter().collect(),
        contact_params: if plan.siprec { ";+sip.src".into() } else { String::new() },
        login: plan.login.clone(),
    }
}

/// The agent speaks in stream 1, the far end in stream 2; a single stream is both, mixed.
fn metadata(plan: &CallPlan, number: u32, streams: usize, now: WallTime) -> RecordingMetadata {
    let session = format!("session-{:x}-{number}", now.millis());
    let agent = (plan.from_uri.clone(), plan.display.clone());
    let far_end = (FAR_END.0.to_owned(), Some(FAR_END.1.to_owned()));
    let participant =
        |id: &str, aor| Participant { id: id.into(), aors: vec![aor], ..Participant::default() };
    let label = |n: usize| (n + 1).to_string();
    let stream = |n: usize| StreamInfo {
        id: format!("stream-{}", n + 1),
        label: Some(label(n)),
        session: Some(session.clone()),
        mode: None,
    };
    let association = |id: &str| Association {
        participant: id.into(),
        session: Some(session.clone()),
        associated: Some(now),
        disassociated: None,
    };
    let part = |participant: &str, sends: usize, receives: Option<usize>| StreamAssociation {
        participant: participant.to_owned(),
        sends: vec![format!("stream-{sends}")],
        receives: receives.map(|n| format!("stream-{n}")).into_iter().collect(),
        associated: Some(now),
        disassociated: None,
    };
    let stream_associations = if streams > 1 {
        vec![part("agent", 1, Some(2)), part("far-end", 2, Some(1))]
    } else {
        vec![part("agent", 1, None), part("far-end", 1, None)]
    };
    let group = format!("group-{session}");
    RecordingMetadata {
        complete: true,
        groups: vec![Group { id: group.clone(), associated: Some(now), disassociated: None }],
        sessions: vec![CommunicationSession {
            id: session.clone(),
            group: Some(group),
            start_time: Some(now),
            ..CommunicationSession::default()
        }],
        participants: vec![participant("agent", agent), participant("far-end", far_end)],
        streams: (0..streams).map(stream).collect(),
        stream_associations,
        associations: vec![association("agent"), association("far-end")],
        ..RecordingMetadata::default()
    }
}
