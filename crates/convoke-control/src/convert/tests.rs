use proptest::prelude::*;

use super::*;

const RETRY: Duration = Duration::from_secs(1);

fn code(error: CommandError) -> ErrorCode {
    refusal(&HandleError::Refused(error), RETRY).code
}

#[test]
fn every_error_of_the_core_has_its_code() {
    use CommandError as E;
    for (error, want) in [
        (E::NoSuchRoom, ErrorCode::NotInCall),
        (E::NoSuchParticipant, ErrorCode::NotInCall),
        (E::ParticipantExists, ErrorCode::Busy),
        (E::NoSuchTrack("mic".into()), ErrorCode::TrackNotFound),
        (E::Track { index: 0, reason: String::new() }, ErrorCode::TrackInvalid),
        (E::View { index: 0, reason: String::new() }, ErrorCode::ViewInvalid),
        (E::NotAllowed("camera"), ErrorCode::NotAllowed),
        (E::Limit("rooms"), ErrorCode::LimitExceeded),
        (E::Internal("secret detail".into()), ErrorCode::Internal),
    ] {
        assert_eq!(code(error), want);
    }
    assert_eq!(refusal(&HandleError::Busy, RETRY).code, ErrorCode::Busy);
    assert_eq!(refusal(&HandleError::Gone, RETRY).code, ErrorCode::Busy);
    let sdp = E::Sdp { role: core::TransportRole::Receive, reason: "no ufrag".into() };
    let message = refusal(&HandleError::Refused(sdp), RETRY).into_message(Some(3));
    let ServerMessage::Error(reply) = message else { panic!() };
    assert_eq!(reply.field.as_deref(), Some("receive.sdp"));
    assert_eq!((reply.code, reply.request_id), (ErrorCode::SdpInvalid, Some(3)));
    assert_eq!(reply.message, "no ufrag");
}

#[test]
fn an_internal_error_keeps_its_detail_from_the_client() {
    let error = HandleError::Refused(CommandError::Internal("secret detail".into()));
    let ServerMessage::Error(reply) = refusal(&error, RETRY).into_message(None) else { panic!() };
    assert!(!reply.message.contains("secret"));
}

#[test]
fn every_end_reason_of_the_core_goes_there_and_back() {
    for reason in [
        EndReason::left(),
        EndReason::removed(),
        EndReason::call_ended(),
        EndReason::token_expired(),
        EndReason::unreachable(),
        EndReason::media_lost(),
        EndReason::server_stopped(),
        EndReason::server_failed(),
    ] {
        assert_eq!(end_reason(read_end_reason(&reason)), reason);
    }
    // What only the control plane knows ends the core's room like any host's wish.
    for reason in [EndReason::ended_for_everyone(), EndReason::room_expired()] {
        assert_eq!(read_end_reason(&reason), LeaveReason::RoomClosed);
    }
}

#[test]
fn a_wish_has_exactly_one_aim() {
    let wish = |track_id: Option<&str>, follow| wire::SlotWish {
        mid: "3".into(),
        track_id: track_id.map(str::to_owned),
        follow,
        width: Some(640),
        height: None,
        max_framerate: None,
        priority: 2,
    };
    let read = |wish| read_wishes(vec![wish]).map(|wishes| wishes[0].show);
    assert_eq!(read(wish(Some("t1f"), None)), Ok(core::Show::Track(TrackId(31))));
    let follow = Some(wire::Follow::ScreenShare);
    assert_eq!(read(wish(None, follow)), Ok(core::Show::ScreenShare));
    for bad in [
        wish(None, None),
        wish(Some("t1"), follow),
        wish(Some("31"), None),
        wish(Some("t01"), None),
        wish(Some("t+1"), None),
        wish(Some("t123456789"), None),
        wire::SlotWish { mid: "a b".into(), ..wish(None, follow) },
    ] {
        assert_eq!(read(bad).map_err(|r| r.code), Err(ErrorCode::ViewInvalid));
    }
}

#[test]
fn a_declaration_names_its_bad_field() {
    let declare = |client_id: &str, mid: &str| {
        let source = wire::Source::Camera;
        let (client_id, mid) = (client_id.to_owned(), mid.to_owned());
        let track = wire::TrackDeclaration {
            client_id,
            source,
            mid,
            muted: false,
            encodings: Vec::new(),
            encrypted: false,
        };
        read_declaration(track, "tracks[2]")
    };
    assert!(declare("cam", "1").is_ok());
    let long = "x".repeat(65);
    for (client_id, mid, field) in [
        ("", "1", "tracks[2].clientId"),
        (long.as_str(), "1", "tracks[2].clientId"),
        ("cam", "", "tracks[2].mid"),
        ("cam", "12345678901234567", "tracks[2].mid"),
        ("cam", "a\r\nb", "tracks[2].mid"),
    ] {
        match declare(client_id, mid).unwrap_err().into_message(None) {
            ServerMessage::Error(reply) => assert_eq!(reply.field.as_deref(), Some(field)),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn track_ids_go_there_and_back(id: u32, text in ".{0,12}") {
        prop_assert_eq!(read_track_id(&track_id(TrackId(id))), Some(TrackId(id)));
        if let Some(read) = read_track_id(&text) {
            prop_assert_eq!(track_id(read), text);
        }
    }
}
