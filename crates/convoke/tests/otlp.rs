//! Traces reach a collector: the real binary, a native client, and a collector that takes OTLP over HTTP.

#![cfg(feature = "otlp")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::call::{DevServer, GROUP, connect};
use convoke_client::JoinOptions;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// Takes requests until the test is over; their spans come out.
fn collector() -> (String, mpsc::Receiver<Vec<Span>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (to, from) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a head") > 0);
            }
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            });
            let mut body = vec![0; length.expect("a length")];
            reader.read_exact(&mut body).expect("a body");
            let request = ExportTraceServiceRequest::decode(&*body).expect("protobuf");
            let scopes = request.resource_spans.into_iter().flat_map(|one| one.scope_spans);
            let spans = scopes.flat_map(|one| one.spans).collect();
            let reply = ExportTraceServiceResponse::default().encode_to_vec();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                reply.len()
            );
            let mut stream = reader.into_inner();
            stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&reply))
                .expect("sent");
            if to.send(spans).is_err() {
                return;
            }
        }
    });
    (url, from)
}

fn field<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let field = span.attributes.iter().find(|one| one.key == name)?;
    match field.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ob_otlp_a_collector_gets_the_spans_of_a_call() {
    let (url, spans) = collector();
    let server = DevServer::start(&[("CONVOKE__TELEMETRY__OTLP_ENDPOINT", &url)]);
    let alice = connect(&server.url, &server.token("alice")).await;
    let call = alice.join(GROUP, JoinOptions::default()).await.expect("joins");
    let id = call.state().call_id.clone();
    call.leave().await.expect("leaves");

    // The exporter sends what it has every five seconds.
    let (mut got, names) = (Vec::new(), ["call", "participant", "join"]);
    while !names.iter().all(|name| got.iter().any(|span: &Span| span.name == *name)) {
        got.extend(spans.recv_timeout(Duration::from_secs(20)).expect("spans"));
    }
    let find = |name: &str| got.iter().find(|span| span.name == name).expect("a span");
    let [call, participant, join] = names.map(find);
    assert_eq!(field(call, "call"), Some(&*id));
    assert_eq!(field(participant, "call"), Some(&*id));
    assert!(field(participant, "participant").is_some(), "{participant:?}");
    assert_eq!(field(join, "via"), Some("agent"));
    assert_eq!(participant.parent_span_id, call.span_id);
    assert_eq!(join.parent_span_id, participant.span_id);
    assert!(got.iter().all(|span| span.trace_id == call.trace_id), "one call, one trace");
    assert!(participant.end_time_unix_nano >= join.end_time_unix_nano);
    let text = format!("{got:?}");
    assert!(!text.contains("alice") && !text.contains("127.0.0.1"), "nobody is named: {text}");
}
