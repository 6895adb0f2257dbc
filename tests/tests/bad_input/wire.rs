//! Bytes that are no message, methods that do not exist, callers that ask too often.

use std::time::Duration;

use prost::bytes::{Buf, BufMut};
use quorate_proto::identity::Role;
use quorate_proto::pb::v1::GetStatusRequest;
use quorate_proto::pb::v1::status_client::StatusClient;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::site::{Site, refusal};

/// Sends and receives any bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        Ok(Some(bytes.to_vec()))
    }
}

/// How a call of any path with any bytes ends; an admitted stream that stays open is a success.
pub(crate) async fn call(
    channel: Channel,
    path: &str,
    message: Vec<u8>,
    encoding: Option<CompressionEncoding>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    if let Some(encoding) = encoding {
        grpc = grpc.send_compressed(encoding);
    }
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = path.parse::<PathAndQuery>().expect("a path");
    let stream = grpc.server_streaming(Request::new(message), path, Raw).await?;
    let mut stream = stream.into_inner();
    match tokio::time::timeout(Duration::from_secs(2), stream.message()).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_refused_by_the_transport() {
    let mut site = Site::begin().await;
    let before = site.status().await;
    let vote = "/quorate.v1.Votes/SubmitVote";
    let bytes_field = |length: u8, content: &[u8]| [&[0x0a, length][..], content].concat();
    let rows: Vec<(&str, &str, Vec<u8>, Code)> = vec![
        ("a truncated field", vote, bytes_field(20, b"short"), Code::Internal),
        ("a tag that does not exist", vote, vec![0x07, 1], Code::Internal),
        ("text that is not UTF-8", vote, vec![0x1a, 2, 0xc0, 0x80], Code::Internal),
        ("an endless number", vote, vec![0xff; 12], Code::Internal),
        ("a message over the limit", vote, vec![0; 70_000], Code::OutOfRange),
        ("no such method", "/quorate.v1.Votes/StuffVotes", Vec::new(), Code::Unimplemented),
        ("no such service", "/quorate.v1.Nothing/Get", Vec::new(), Code::Unimplemented),
        ("no such package", "/etcdserverpb.KV/Range", Vec::new(), Code::Unimplemented),
        ("a path of another kind", "/quorate.v1.Votes", Vec::new(), Code::Unimplemented),
    ];
    for (what, path, message, code) in rows {
        let status = call(site.operator(0), path, message, None).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
    }
    site.left("bytes", crate::site::After::Untouched, &before).await;
    // Unknown fields within the limits are for later versions: read over.
    let later =
        call(site.operator(0), "/quorate.v1.Status/GetStatus", vec![0xf8, 0x07, 1], None).await;
    assert!(later.is_ok(), "{later:?}");
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_waits_and_nobody_else_does() {
    let mut site = Site::begin().await;
    let hurried = site.connect(&site.issue(Role::Reader, "hurried"), site.leader);
    let calm = site.connect(&site.issue(Role::Reader, "calm"), site.leader);
    let ask = |channel: &Channel| {
        let mut client = StatusClient::new(channel.clone());
        let consistency = quorate_proto::pb::v1::Consistency::Stale.into();
        async move { client.get_status(GetStatusRequest { consistency, with_hashes: false }).await }
    };
    // The connection stands, so that the client knows how many streams it may open at once.
    ask(&hurried).await.expect("a first answer");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1_200 {
        tasks.spawn(ask(&hurried));
    }
    let mut limited = Vec::new();
    let mut answered = 0;
    while let Some(joined) = tasks.join_next().await {
        match joined.expect("a task") {
            Ok(_) => answered += 1,
            Err(status) if status.code() == Code::ResourceExhausted => limited.push(status),
            Err(status) => panic!("{status:?}"),
        }
    }
    assert!(answered >= 400, "the burst of the configuration: {answered}");
    assert!(!limited.is_empty(), "1,200 calls at once are more than anybody may ask");
    let expected = refusal("CALLER_LIMITED", Code::ResourceExhausted, 5, &["limit"]).timed();
    for status in &limited {
        expected.check("too many calls", status);
    }
    ask(&calm).await.expect("another caller is served");
    site.is_well().await;
}
