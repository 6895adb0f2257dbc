//! One JSON shape: the proto3 mapping, with every field without presence written out.

use quorate_proto::pb::v1::{
    Budget, Decision, DecisionState, ListProposalsResponse, Proposal, ReadState, Refusal,
    WatchLogResponse, watch_log_response,
};
use serde_json::json;

#[test]
fn numbers_bytes_times_and_names_follow_the_mapping() {
    let decision = Decision {
        cluster: "prod".to_owned(),
        number: 7,
        token: "1.7".to_owned(),
        state: DecisionState::Certified.into(),
        time: Some("2026-01-31T05:06:51.250Z".parse().unwrap()),
        leaf: vec![0xfb, 0xff],
        ..Decision::default()
    };
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!(json["number"], json!("7"), "64-bit integers are strings");
    assert_eq!(json["leafIndex"], json!("0"), "lowerCamelCase, and zero is written");
    assert_eq!(json["state"], json!("DECISION_STATE_CERTIFIED"));
    assert_eq!(json["time"], json!("2026-01-31T05:06:51.25Z"));
    assert_eq!(json["leaf"], json!("+/8="));
    assert_eq!(json["executions"], json!([]), "a script never meets a missing list");
    assert_eq!(json["acknowledged"], json!(false));
    assert!(json.get("notBefore").is_none(), "an unset message is absent");
    assert_eq!(serde_json::from_value::<Decision>(json).unwrap(), decision);
}

#[test]
fn nested_messages_maps_spans_and_oneofs_come_back() {
    let refusal = Refusal {
        reason: "BUDGET_EXHAUSTED".to_owned(),
        metadata: [("key".to_owned(), "global".to_owned())].into(),
        next_allowed: Some("2026-01-31T01:21:00Z".parse().unwrap()),
        ..Refusal::default()
    };
    let proposal = Proposal { waiting_for: vec![refusal], ..Proposal::default() };
    let read = ReadState { age: Some("2.1s".parse().unwrap()), ..ReadState::default() };
    let list = ListProposalsResponse {
        proposals: vec![proposal],
        read: Some(read),
        ..ListProposalsResponse::default()
    };
    let text = serde_json::to_string(&list).unwrap();
    assert!(text.contains(r#""age":"2.1s""#) && text.contains(r#""metadata":{"key":"global"}"#));
    assert_eq!(serde_json::from_str::<ListProposalsResponse>(&text).unwrap(), list);

    let event = watch_log_response::Event::Heartbeat(quorate_proto::pb::v1::Heartbeat::default());
    let watched = WatchLogResponse { event: Some(event) };
    let json = serde_json::to_value(&watched).unwrap();
    assert_eq!(json["heartbeat"]["certifiedSize"], json!("0"));
    assert_eq!(serde_json::from_value::<WatchLogResponse>(json).unwrap(), watched);
}

#[test]
fn an_older_program_reads_what_a_newer_one_wrote() {
    let newer = json!({"key": "global", "limit": 3, "addedLater": true});
    assert_eq!(serde_json::from_value::<Budget>(newer).unwrap().limit, 3);
    assert!(serde_json::from_value::<Budget>(json!({"limit": "three"})).is_err());
}
