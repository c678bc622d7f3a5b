//! Anything that an order or a report may say, for properties.

use std::net::SocketAddr;

use model::call::{CallData, Direction, Metadata, Party, PartyRole};
use model::join::{CallKey, Join, JoinReason};
use model::peer::{Family, FileNames, Flowing};
use model::protection::{CertificateHash, Fingerprint, Handshake, HandshakeRole, Ice};
use model::segment::{PartMark, PartTrack, SidecarRecord};
use model::state::{RecordingState, Respondent};
use model::stream::CodecUse;
use model::{
    Accounting, Anchor, Beat, CallId, Codec, Conclusion, Dtmf, EndReason, Failure, Gap, GapReason, Hello,
    Keys, Mark, MasterKey, MediaKind, NodeNumber, OpenPause, OpenSegment, OpenStream, Order, PartRecord,
    Pause, PauseSource, PeerName, Protection, Report, Resource, Route, Secret, SegmentId, SegmentRecord,
    Share, Side, Sighting, Sign, Standing, StartTrigger, StreamId, StreamPorts, StreamRecord, Suite,
    TakeOver, TenantId, WallTime,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub(super) fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        open().prop_map(|open| Order::Open(Box::new(open))),
        (segment(), vec(stream(), 0..4)).prop_map(|(segment, streams)| Order::Change { segment, streams }),
        (segment(), data(), vec(metadata(), 0..2)).prop_map(|(segment, data, metadata)| Order::Annotate {
            segment,
            data,
            metadata
        }),
        (segment(), time(), reason(), of(text())).prop_map(|(segment, at, reason, by)| Order::End {
            segment,
            at,
            reason,
            by
        }),
        segment().prop_map(|segment| Order::Withdraw { segment }),
        (segment(), any::<u64>(), source()).prop_map(|(segment, order, by)| Order::Pause {
            segment,
            order,
            by
        }),
        (segment(), any::<u64>(), source()).prop_map(|(segment, order, by)| Order::Resume {
            segment,
            order,
            by
        }),
        (segment(), any::<u64>(), any::<u64>(), protection()).prop_map(
            |(segment, order, stream, protection)| {
                Order::Keys { segment, order, stream: StreamId::from_u64(stream), protection }
            }
        ),
        conclusion().prop_map(Order::Conclude),
        join().prop_map(Order::Join),
    ]
}

pub(super) fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        (segment(), vec(ports(), 0..4)).prop_map(|(segment, ports)| Report::Opened { segment, ports }),
        (segment(), failure()).prop_map(|(segment, why)| Report::Refused { segment, why }),
        segment().prop_map(|segment| Report::Withdrawn { segment }),
        (segment(), any::<u64>()).prop_map(|(segment, order)| Report::CarriedOut { segment, order }),
        segment().prop_map(|segment| Report::MediaTimedOut { segment }),
        (segment(), failure()).prop_map(|(segment, why)| Report::Failing { segment, why }),
        record().prop_map(|record| Report::Ended { record: Box::new(record) }),
    ]
}

pub(super) fn hello() -> impl Strategy<Value = Hello> {
    (name(), node(), any::<u64>(), vec(segment(), 0..4)).prop_map(|(name, node, run, segments)| Hello {
        name,
        node,
        run,
        segments,
    })
}

pub(super) fn beat() -> impl Strategy<Value = Beat> {
    let load = (select(&Resource::ALL[..]), 0u64..3_000).prop_map(|(r, used)| (r, Share::of(used, 1_000)));
    let standing = prop_oneof![
        Just(Standing::Taking),
        vec(select(&Resource::ALL[..]), 0..3).prop_map(Standing::Over),
        Just(Standing::Draining),
        text().prop_map(Standing::Failing),
    ];
    (any::<u64>(), time(), any::<u32>(), vec(load, 0..6), standing).prop_map(
        |(number, at, recordings, loads, standing)| Beat {
            number,
            at,
            recordings,
            loads,
            standing,
            heard: Some(number),
        },
    )
}

/// Any text, also such as JSON escapes.
fn text() -> impl Strategy<Value = String> {
    "(\\PC|[\"\\\\\n\u{1}]){0,12}"
}

fn name() -> impl Strategy<Value = PeerName> {
    "[a-z0-9][a-z0-9-]{0,31}".prop_map(|name| name.parse().unwrap())
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[a-z0-9][a-z0-9-]{0,8}".prop_map(|name| name.parse().unwrap())
}

fn node() -> impl Strategy<Value = NodeNumber> {
    (0u16..1_024).prop_map(|n| NodeNumber::new(n).unwrap())
}

fn segment() -> impl Strategy<Value = SegmentId> {
    any::<u64>().prop_map(SegmentId::from_u64)
}

fn call() -> impl Strategy<Value = CallId> {
    any::<u64>().prop_map(CallId::from_u64)
}

/// To the microsecond, as times are written.
fn time() -> impl Strategy<Value = WallTime> {
    (0i64..4_000_000_000_000_000).prop_map(|micros| WallTime(micros * 1_000))
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Agent, Side::External, Side::Mixed, Side::Unknown])
}

fn kind() -> impl Strategy<Value = MediaKind> {
    select(vec![MediaKind::Audio, MediaKind::Video, MediaKind::Other])
}

fn codec() -> impl Strategy<Value = Codec> {
    (text(), any::<u32>(), any::<u8>(), of(text())).prop_map(|(name, clock_rate, channels, fmtp)| Codec {
        name,
        clock_rate,
        channels,
        fmtp,
    })
}

fn source() -> impl Strategy<Value = PauseSource> {
    prop_oneof![
        text().prop_map(PauseSource::Api),
        text().prop_map(PauseSource::Info),
        text().prop_map(PauseSource::Sip),
        Just(PauseSource::Sdp),
        Just(PauseSource::Timeout),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        select(vec![Failure::MediaTimeout, Failure::SessionExpired, Failure::Process, Failure::DiskFull]),
        text().prop_map(Failure::Dialog),
        text().prop_map(Failure::ByeReason),
        text().prop_map(Failure::Storage),
        text().prop_map(Failure::Resources),
    ]
}

fn reason() -> impl Strategy<Value = EndReason> {
    prop_oneof![
        select(vec![EndReason::Hold, EndReason::Transfer, EndReason::HangUp, EndReason::Stop]),
        failure().prop_map(EndReason::Upstream),
        failure().prop_map(EndReason::Internal),
    ]
}

fn trigger() -> impl Strategy<Value = StartTrigger> {
    prop_oneof![
        Just(StartTrigger::Manager),
        text().prop_map(StartTrigger::Rule),
        text().prop_map(StartTrigger::AgentPhone),
        text().prop_map(StartTrigger::Station),
        text().prop_map(StartTrigger::Api),
    ]
}

fn party() -> impl Strategy<Value = Party> {
    let role = select(vec![PartyRole::Caller, PartyRole::Called, PartyRole::Participant]);
    let texts = (of(text()), of(text()), of(text()), of(text()));
    (role, side(), texts, of(time()), of(time())).prop_map(
        |(role, side, (uri, number, name, participant), joined, left)| Party {
            role,
            side,
            uri,
            number,
            name,
            participant,
            joined,
            left,
        },
    )
}

fn data() -> impl Strategy<Value = CallData> {
    let direction = select(vec![Direction::Incoming, Direction::Outgoing, Direction::Unknown]);
    let maps = (btree_map(text(), text(), 0..3), btree_map(text(), text(), 0..3));
    (direction, vec(party(), 0..3), of(text()), of(text()), vec(text(), 0..3), maps).prop_map(
        |(direction, parties, dn, device, sip_call_ids, (correlation, extra))| CallData {
            direction,
            parties,
            dn,
            device,
            sip_call_ids,
            correlation,
            extra,
        },
    )
}

fn metadata() -> impl Strategy<Value = Metadata> {
    (time(), text(), text(), text(), of(text()), of(text())).prop_map(
        |(at, method, content_type, text, base64, problem)| Metadata {
            at,
            method,
            content_type,
            text,
            base64,
            problem,
        },
    )
}

fn keys() -> impl Strategy<Value = Keys> {
    let of_suite = |suite: Suite| {
        let secret = move || vec(any::<u8>(), suite.secret_len()).prop_map(Secret::new);
        let plain = secret().prop_map(|secret| vec![MasterKey { secret, mki: Vec::new() }]);
        let named = (1usize..5).prop_flat_map(move |octets| {
            let master = (secret(), vec(any::<u8>(), octets));
            vec(master.prop_map(|(secret, mki)| MasterKey { secret, mki }), 1..=4)
        });
        (prop_oneof![plain, named], any::<bool>(), any::<bool>(), of(any::<u32>())).prop_map(
            move |(masters, plain_rtp, plain_rtcp, rollovers)| Keys {
                suite,
                masters,
                plain_rtp,
                plain_rtcp,
                rollovers,
            },
        )
    };
    select(&Suite::ALL[..]).prop_flat_map(of_suite)
}

fn handshake() -> impl Strategy<Value = Handshake> {
    let fingerprint = select(&CertificateHash::ALL[..]).prop_flat_map(|hash| {
        vec(any::<u8>(), hash.octets()).prop_map(move |digest| Fingerprint { hash, digest })
    });
    let role = select(vec![HandshakeRole::Server, HandshakeRole::Client]);
    (role, vec(fingerprint, 0..3), of(text())).prop_map(|(role, peer, id)| Handshake { role, peer, id })
}

fn protection() -> impl Strategy<Value = Protection> {
    prop_oneof![
        Just(Protection::None),
        (keys(), keys()).prop_map(|(inbound, outbound)| Protection::Srtp { inbound, outbound }),
        handshake().prop_map(Protection::Dtls),
        Just(Protection::Awaited),
        keys().prop_map(Protection::Given),
    ]
}

fn ice() -> impl Strategy<Value = Ice> {
    (text(), vec(any::<u8>(), 0..30))
        .prop_map(|(user, password)| Ice { user, password: Secret::new(password) })
}

fn route() -> impl Strategy<Value = Route> {
    let relayed = any::<[u8; 8]>().prop_map(|octets| Route::Relayed(Mark::new(octets)));
    prop_oneof![Just(Route::Direct), Just(Route::Anchored), relayed]
}

fn stream() -> impl Strategy<Value = OpenStream> {
    let flowing = select(vec![Flowing::Active, Flowing::Held, Flowing::Paused]);
    let codecs = vec((any::<u8>(), codec()), 0..3);
    let places = (select(vec![Family::V4, Family::V6]), of(address()), of(address()));
    let secret = (protection(), of(ice()));
    let flags = (any::<bool>(), any::<bool>(), route());
    (any::<u64>(), any::<u16>(), of(text()), kind(), side(), codecs, places, flowing, secret, flags).prop_map(
        |(stream, slot, label, kind, side, codecs, places, flowing, (protection, ice), flags)| OpenStream {
            stream: StreamId::from_u64(stream),
            slot,
            label,
            kind,
            side,
            codecs,
            family: places.0,
            remote: places.1,
            remote_rtcp: places.2,
            may_share: flags.0,
            rtcp_mux: flags.1,
            route: flags.2,
            flowing,
            protection,
            ice,
        },
    )
}

fn open() -> impl Strategy<Value = OpenSegment> {
    let ids = (segment(), call(), tenant(), any::<u16>(), any::<u16>());
    let role = (any::<bool>(), of((segment(), reason())), any::<bool>());
    let known = (data(), vec(metadata(), 0..2), trigger());
    let pause = of((time(), source()).prop_map(|(since, by)| OpenPause { since, by }));
    (ids, time(), time(), role, known, vec(stream(), 0..4), pause).prop_map(
        |(ids, call_started, started, role, (data, metadata, trigger), streams, pause)| OpenSegment {
            segment: ids.0,
            call: ids.1,
            call_started,
            tenant: ids.2,
            number: ids.3,
            total: ids.4,
            respondent: if role.0 { Respondent::Yes } else { Respondent::No },
            takes_over: role.1.map(|(segment, reason)| TakeOver { segment, reason }),
            started,
            trigger,
            data,
            metadata,
            streams,
            pause,
            dtmf: if role.2 { Dtmf::Mask } else { Dtmf::Keep },
            files: if role.2 { FileNames::ById } else { FileNames::ByNumber },
        },
    )
}

fn conclusion() -> impl Strategy<Value = Conclusion> {
    let state = || select(&RecordingState::ALL[..]);
    (call(), time(), tenant(), any::<u16>(), of(state()), of(state())).prop_map(
        |(call, call_started, tenant, total, from, state)| Conclusion {
            call,
            call_started,
            tenant,
            total,
            from,
            state,
        },
    )
}

/// What a proxy tells of a call.
pub(super) fn sighting() -> impl Strategy<Value = Sighting> {
    let sign = any::<[u8; 16]>().prop_map(|octets| Sign::of_digest(&octets));
    (key(), any::<u16>(), btree_set(sign, 0..4), btree_set(side(), 0..3), btree_set(name(), 0..3))
        .prop_map(|(call, total, signs, bridged, on)| Sighting { call, total, signs, bridged, on })
}

fn key() -> impl Strategy<Value = CallKey> {
    (call(), time(), tenant()).prop_map(|(call, call_started, tenant)| CallKey { call, call_started, tenant })
}

fn join() -> impl Strategy<Value = Join> {
    let why = prop_oneof![
        select(vec![JoinReason::Dialog, JoinReason::SessionId, JoinReason::Line]),
        text().prop_map(JoinReason::Vendor),
        text().prop_map(JoinReason::Person),
    ];
    (key(), key(), vec((segment(), any::<u16>()), 0..4), any::<u16>(), time(), why)
        .prop_map(|(into, from, numbers, total, at, why)| Join { into, from, numbers, total, at, why })
}

fn ports() -> impl Strategy<Value = StreamPorts> {
    (any::<u64>(), address(), address(), any::<bool>()).prop_map(|(stream, rtp, rtcp, is_stuck)| {
        StreamPorts { stream: StreamId::from_u64(stream), rtp, rtcp, is_stuck }
    })
}

fn stream_record() -> impl Strategy<Value = StreamRecord> {
    let used = (any::<u8>(), of(codec()), time()).prop_map(|(payload_type, codec, from)| CodecUse {
        payload_type,
        codec,
        from,
    });
    let anchor =
        (any::<u32>(), any::<u32>(), time(), any::<i64>()).prop_map(|(ssrc, rtp, at, position_us)| Anchor {
            ssrc,
            rtp,
            at,
            position_us,
            frame_us: ssrc.try_into().ok(),
        });
    let gap = (any::<i64>(), any::<i64>(), any::<u32>()).prop_map(|(from_us, until_us, packets)| Gap {
        from_us,
        until_us,
        reason: if packets % 2 == 0 { GapReason::Loss } else { GapReason::Silence },
        packets,
    });
    let lists = (vec(any::<u32>(), 0..3), vec(used, 0..3), vec(anchor, 0..3), vec(gap, 0..3));
    let counts = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>());
    (any::<u64>(), any::<u16>(), of(text()), kind(), side(), of(address()), lists, counts).prop_map(
        |(id, slot, label, kind, side, source, (ssrcs, codecs, anchors, gaps), counts)| StreamRecord {
            id: StreamId::from_u64(id),
            slot,
            label,
            kind,
            side,
            port: slot,
            source,
            ssrcs,
            codecs,
            accounting: Accounting {
                received: counts.0,
                masked: counts.1,
                codec_changes: counts.2,
                ..Accounting::default()
            },
            anchors,
            gaps,
            gaps_unlisted: counts.3,
        },
    )
}

fn part() -> impl Strategy<Value = PartRecord> {
    let track = (any::<u8>(), any::<u64>(), codec()).prop_map(|(track, stream, codec)| PartTrack {
        track,
        stream: StreamId::from_u64(stream),
        codec,
    });
    let mark = (any::<i64>(), any::<u64>()).prop_map(|(reached_us, at)| PartMark { reached_us, at });
    (any::<u16>(), text(), vec(track, 0..3), any::<i64>(), any::<u64>(), of(text()), vec(mark, 0..3))
        .prop_map(|(number, file, tracks, offset_us, bytes, sha256, marks)| PartRecord {
            number,
            file,
            tracks,
            offset_us,
            duration_us: offset_us,
            bytes,
            sha256,
            marks,
        })
}

fn pause() -> impl Strategy<Value = Pause> {
    (time(), any::<i64>(), source(), of((time(), any::<i64>(), source()))).prop_map(
        |(from, from_us, by, until)| Pause {
            from,
            from_us,
            by,
            until: until.as_ref().map(|u| u.0),
            until_us: until.as_ref().map(|u| u.1),
            resumed_by: until.map(|u| u.2),
        },
    )
}

fn record() -> impl Strategy<Value = SegmentRecord> {
    let sidecar = (text(), any::<u64>(), any::<u64>(), of(text()))
        .prop_map(|(file, packets, bytes, sha256)| SidecarRecord { file, packets, bytes, sha256 });
    let lists = (vec(pause(), 0..2), vec(metadata(), 0..2), vec(stream_record(), 0..3), vec(part(), 0..3));
    let how = (select(&RecordingState::ALL[..]), of(time()), of(reason()), of(text()), node(), "[a-z]{1,9}");
    (open(), how, lists, of(sidecar), any::<u64>()).prop_map(
        |(of, (state, ended, end, stopped_by, node, volume), lists, sidecar, pauses_unlisted)| {
            SegmentRecord {
                id: of.segment,
                call: of.call,
                tenant: of.tenant,
                number: of.number,
                total: of.total,
                node,
                volume: volume.parse().unwrap(),
                state,
                respondent: of.respondent,
                started: of.started,
                ended,
                trigger: of.trigger,
                end,
                stopped_by,
                pauses: lists.0,
                pauses_unlisted,
                dtmf: of.dtmf,
                encryption: model::segment::Encryption::None,
                data: of.data,
                metadata: lists.1,
                streams: lists.2,
                parts: lists.3,
                sidecar,
            }
        },
    )
}
