//! What every gRPC tool expects to find at a coordinator beside its own services: health and reflection.

use mr_tests::{Coordinator, Scratch};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn health_and_reflection_answer() {
    let scratch = Scratch::enter("services: health and reflection");
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let channel = Channel::from_shared(coordinator.url().to_owned()).expect("it said a URL").connect().await;
    let channel = channel.expect("it listens");

    let mut health = HealthClient::new(channel.clone());
    for service in ["", "mr.v1.Jobs", "mr.v1.Workers"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.expect("it is known");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "mr.v1.Nothing".into() }).await;
    assert_eq!(unknown.map(|_| ()).map_err(|status| status.code()), Err(Code::NotFound));

    let services = reflect(&channel, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(services)) = services else { panic!("{services:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["mr.v1.Jobs", "mr.v1.Workers", "grpc.health.v1.Health"] {
        assert!(names.contains(&service), "{service}: {names:?}");
    }
    let file = reflect(&channel, MessageRequest::FileContainingSymbol("mr.v1.Jobs".into())).await;
    assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
    drop((health, channel));
    coordinator.terminate();
}

async fn reflect(channel: &Channel, request: MessageRequest) -> Option<MessageResponse> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = tokio_stream::once(request);
    let answers = ServerReflectionClient::new(channel.clone()).server_reflection_info(requests).await;
    answers.expect("it answers").into_inner().message().await.expect("it answers")?.message_response
}
