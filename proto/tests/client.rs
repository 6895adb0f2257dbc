//! The client against real servers on loopback: leader, backoff, request ids, watches, TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod fake;

use std::time::Duration;

use fake::{Cluster, Reply};
use quorate_attest::id::NetworkName;
use quorate_proto::authority::Authority;
use quorate_proto::client::{CallError, Client, ClientOptions, Endpoint, Transport};
use quorate_proto::error_code::ErrorCode;
use quorate_proto::exit_code::ExitCode;
use quorate_proto::identity::{Identity, Role};
use quorate_proto::pb::v1::watch_log_response::Event;
use quorate_proto::pb::v1::{
    Consistency, GetStatusRequest, ObserveRequest, SubmitVoteRequest, WatchLogRequest,
};
use quorate_proto::problem::Problem;

fn options() -> ClientOptions {
    ClientOptions {
        deadline: Duration::from_secs(5),
        attempt_timeout: Duration::from_millis(500),
        attempt_min: Duration::from_millis(20),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        ..ClientOptions::default()
    }
}

/// Never begins an attempt that a busy machine could not finish, so that no answer is in doubt.
fn patient_client(cluster: &Cluster) -> Client {
    let times = ClientOptions {
        deadline: Duration::from_millis(5_300),
        attempt_timeout: Duration::from_secs(5),
        attempt_min: Duration::from_secs(5),
        ..options()
    };
    Client::new(cluster.endpoints(), &Transport::PlainText, times).unwrap()
}

fn client(cluster: &Cluster, deadline: Duration) -> Client {
    Client::new(cluster.endpoints(), &Transport::PlainText, options())
        .unwrap()
        .with_deadline(deadline)
}

fn vote() -> SubmitVoteRequest {
    SubmitVoteRequest { note: b"a vote".to_vec(), ..SubmitVoteRequest::default() }
}

fn not_leader(id: u64) -> Reply {
    Reply::Refuse(Problem::new(ErrorCode::NotLeader, "not the leader").with("leader_id", id))
}

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_named_leader_is_asked_next_and_remembered() {
    let cluster = Cluster::start(3).await;
    cluster.node(1).votes_always(not_leader(3));
    cluster.node(2).votes_always(not_leader(3));
    let client = client(&cluster, LONG);
    client.submit_vote(vote()).await.unwrap();
    client.status_of(1, false).await.unwrap();
    client.observe_everywhere(ObserveRequest::default()).await;
    client.submit_vote(vote()).await.unwrap();
    let asked: Vec<usize> = (1..=3).map(|id| cluster.node(id).request_ids().len()).collect();
    assert_eq!(asked, [1, 0, 2], "one redirection, then straight to the leader");
}

#[tokio::test]
async fn a_coordinator_that_is_behind_is_left_for_the_next_stale_read() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster, LONG);
    let mut asked = Vec::new();
    for behind in [1, 3, 2] {
        let request =
            GetStatusRequest { consistency: Consistency::Stale.into(), ..Default::default() };
        asked.push(client.get_status(request).await.unwrap().coordinator_id);
        client.avoid(behind);
    }
    assert_eq!(asked, [1, 2, 2], "only the one that answered is left");
}

#[tokio::test]
async fn one_that_hangs_is_not_asked_first_again_though_it_used_up_the_deadline() {
    let cluster = Cluster::start(2).await;
    cluster.node(1).votes_always(Reply::Hang);
    let client = client(&cluster, SHORT);
    let hung = client.submit_vote(vote()).await;
    assert!(hung.is_err(), "one attempt took all the time there was");
    client.submit_vote(vote()).await.unwrap();
    assert_eq!(cluster.node(2).request_ids().len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_repeated_elsewhere_with_the_same_request_id() {
    let cluster = Cluster::start(2).await;
    cluster.node(1).votes_once(Reply::Hang);
    cluster.node(2).votes_once(Reply::Refuse(Problem::new(ErrorCode::OutcomeUnknown, "lost")));
    client(&cluster, LONG).submit_vote(vote()).await.unwrap();
    let ids = cluster.all_request_ids();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]) && ids[0].len() == 36, "{ids:?}");
}

#[tokio::test]
async fn two_calls_have_two_request_ids_and_a_given_one_is_kept() {
    let cluster = Cluster::start(1).await;
    let client = client(&cluster, LONG);
    client.submit_vote(vote()).await.unwrap();
    client.submit_vote(vote()).await.unwrap();
    let given = SubmitVoteRequest { request_id: "mine".to_owned(), ..vote() };
    client.submit_vote(given).await.unwrap();
    let ids = cluster.all_request_ids();
    assert!(ids[0] != ids[1] && ids[2] == "mine", "{ids:?}");
}

#[tokio::test]
async fn a_refusal_for_a_reason_is_returned_at_once() {
    let cluster = Cluster::start(3).await;
    for code in [ErrorCode::SignatureInvalid, ErrorCode::BudgetExhausted, ErrorCode::Overloaded] {
        let before = cluster.all_request_ids().len();
        cluster.node(1).votes_once(Reply::Refuse(Problem::new(code, "no")));
        let error = client(&cluster, LONG).submit_vote(vote()).await.unwrap_err();
        assert_eq!(error.problem().unwrap().code(), code);
        assert_eq!(error.exit_code(), code.exit());
        assert_eq!(cluster.all_request_ids().len(), before + 1, "{code}");
    }
}

#[tokio::test]
async fn a_dead_coordinator_is_passed_over() {
    let mut cluster = Cluster::start(3).await;
    cluster.stop(1).await;
    let client = client(&cluster, LONG);
    client.submit_vote(vote()).await.unwrap();
    assert_eq!(cluster.node(2).request_ids().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_names_everybody() {
    let mut cluster = Cluster::start(2).await;
    cluster.stop(1).await;
    cluster.stop(2).await;
    let error = client(&cluster, SHORT).submit_vote(vote()).await.unwrap_err();
    let CallError::Unreachable { attempts } = &error else { panic!("nothing was sent: {error}") };
    assert_eq!(attempts.0.len(), 2);
    assert!(error.to_string().contains("cannot connect to 127.0.0.1:"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::NoQuorum);
}

#[tokio::test]
async fn silence_after_sending_is_an_unknown_outcome() {
    let cluster = Cluster::start(1).await;
    cluster.node(1).votes_always(Reply::Hang);
    let error = client(&cluster, SHORT).submit_vote(vote()).await.unwrap_err();
    let CallError::OutcomeUnknown { request_id, .. } = &error else { panic!("{error}") };
    assert_eq!(*request_id, cluster.all_request_ids()[0], "what to repeat it with");
    assert_eq!(error.exit_code(), ExitCode::NoQuorum);
}

#[tokio::test]
async fn without_a_quorum_it_backs_off_until_the_deadline() {
    let cluster = Cluster::start(1).await;
    let no_quorum = Problem::new(ErrorCode::NoQuorum, "1 of 2").retry_after(Duration::ZERO);
    cluster.node(1).votes_always(Reply::Refuse(no_quorum));
    let error = patient_client(&cluster).submit_vote(vote()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "not appended: {error}");
    let asked = cluster.all_request_ids().len();
    assert!((2..=40).contains(&asked), "neither once nor in a hot loop: {asked}");
}

#[tokio::test]
async fn two_that_name_each_other_do_not_make_a_hot_loop() {
    let cluster = Cluster::start(2).await;
    cluster.node(1).votes_always(not_leader(2));
    cluster.node(2).votes_always(not_leader(1));
    let error = patient_client(&cluster).submit_vote(vote()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    let asked = cluster.all_request_ids().len();
    assert!(asked <= 60, "{asked}");
}

#[tokio::test]
async fn a_stale_read_is_answered_by_whoever_is_there() {
    let mut cluster = Cluster::start(3).await;
    cluster.stop(1).await;
    let request =
        GetStatusRequest { consistency: Consistency::Stale.into(), ..GetStatusRequest::default() };
    let client = client(&cluster, LONG);
    assert_eq!(client.get_status(request).await.unwrap().coordinator_id, 2);
    assert_eq!(client.status_of(3, false).await.unwrap().coordinator_id, 3);
    assert!(client.with_deadline(SHORT).status_of(1, false).await.is_err(), "that one alone");
}

#[tokio::test]
async fn a_fact_goes_to_every_coordinator_and_each_answers_for_itself() {
    let mut cluster = Cluster::start(3).await;
    cluster.stop(2).await;
    let answers = client(&cluster, SHORT).observe_everywhere(ObserveRequest::default()).await;
    let ids: Vec<(u64, bool)> = answers.iter().map(|(id, answer)| (*id, answer.is_ok())).collect();
    assert_eq!(ids, [(1, true), (2, false), (3, true)]);
}

#[tokio::test]
async fn a_broken_watch_resumes_behind_the_last_leaf_at_another_coordinator() {
    let cluster = Cluster::start(2).await;
    cluster.node(1).breaks_watch_after(3);
    let mut watch = client(&cluster, LONG)
        .watch(WatchLogRequest { from_index: 5, ..WatchLogRequest::default() });
    let mut indexes = Vec::new();
    while indexes.len() < 8 {
        if let Some(Event::Leaf(leaf)) = watch.next().await.unwrap().event {
            indexes.push(leaf.index);
        }
    }
    assert_eq!(indexes, (5..13).collect::<Vec<u64>>(), "gapless, in order, nothing twice");
    assert_eq!(cluster.node(2).watches_from()[0], 8);
    assert_eq!(watch.position().from_index, 13);
}

#[tokio::test]
async fn a_watch_beyond_the_end_is_refused_and_not_retried() {
    let cluster = Cluster::start(1).await;
    let from_index = fake::LOG_SIZE + 1;
    let mut watch =
        client(&cluster, LONG).watch(WatchLogRequest { from_index, ..WatchLogRequest::default() });
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.problem().unwrap().code(), ErrorCode::IndexOutOfRange);
    assert_eq!(cluster.node(1).watches_from(), [from_index]);
}

#[tokio::test]
async fn over_tls_only_the_dialed_coordinator_is_spoken_to() {
    let network = NetworkName::new("quorate.example/testnet").unwrap();
    let authority = Authority::new(&network).unwrap();
    let cluster = Cluster::start(1).await;
    let server = Identity::coordinator(network.clone(), 1).unwrap();
    let address = cluster.behind_tls(1, &authority.material(&server).unwrap()).await;
    let me = Identity::new(network.clone(), Role::Operator, "alice").unwrap();
    let transport = Transport::tls(&authority.material(&me).unwrap()).unwrap();
    let dial = |id| {
        let endpoint = Endpoint { id, address: address.clone() };
        Client::new([endpoint], &transport, options()).unwrap()
    };
    dial(1).submit_vote(vote()).await.unwrap();

    let error = dial(2).with_deadline(SHORT).submit_vote(vote()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("2.coordinator.quorate.internal"), "{error}");
    assert_eq!(cluster.all_request_ids().len(), 1, "nothing was said to the wrong one");

    let stranger = Authority::new(&network).unwrap();
    let transport = Transport::tls(&stranger.material(&me).unwrap()).unwrap();
    let endpoint = Endpoint { id: 1, address: address.clone() };
    let foreign = Client::new([endpoint], &transport, options()).unwrap().with_deadline(SHORT);
    let error = foreign.submit_vote(vote()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
}

#[test]
fn an_address_without_a_port_is_refused_by_name() {
    for address in ["", "localhost", "127.0.0.1:", "a b:1", ":7700", "localhost:70000"] {
        let endpoint = Endpoint { id: 1, address: address.to_owned() };
        let refused = Client::new([endpoint], &Transport::PlainText, options()).err().unwrap();
        assert_eq!(refused.address, address);
    }
    assert!(Client::new([], &Transport::PlainText, options()).is_err());
}
