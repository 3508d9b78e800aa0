//! The ECS service. moto completes deployments at once; what others look like is tested beside `Deploying`, and simulated.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::ContainerDefinition;
use nodeweir_aws::EcsService;
use nodeweir_control::deploying::Deploying;
use nodeweir_control::edges::{Service as _, ServiceState, Started};

use crate::emulator::{name, sdk};
use crate::samples::revision;
use crate::store::Fresh;

/// A service without tasks in a cluster of its own.
async fn service() -> (Client, String, String) {
    let client = Client::new(&sdk().await);
    let (cluster, service, family) = (name("cluster"), name("service"), name("family"));
    client.create_cluster().cluster_name(&cluster).send().await.unwrap();
    let container = ContainerDefinition::builder().name("proxy").image("proxy:1").memory(64).build();
    client.register_task_definition().family(&family).container_definitions(container).send().await.unwrap();
    let create = client.create_service().cluster(&cluster).service_name(&service).task_definition(&family);
    create.desired_count(0).send().await.unwrap();
    (client, cluster, service)
}

#[tokio::test]
async fn of_two_who_saw_the_same_one_starts() {
    let fresh = Fresh::new().await;
    let (client, cluster, name) = service().await;
    let ecs = || Deploying(EcsService::new(fresh.sdk(), cluster.clone(), name.clone(), fresh.store()));
    let (one, other) = (ecs(), ecs());
    let seen = one.state().await.unwrap();
    assert_eq!(seen.tasks.map(|tasks| tasks.wanted), Some(0));
    let unknown = ServiceState { tasks: seen.tasks, ..ServiceState::default() };
    assert_eq!(seen, unknown, "nothing is known of the deployment that came with the service");
    assert_eq!(one.start(&seen, &revision(1), "").await.unwrap(), Started::Yes);
    assert_eq!(other.start(&seen, &revision(2), "").await.unwrap(), Started::Overtaken);
    let seen = other.state().await.unwrap();
    assert_eq!((seen.starts, seen.running.as_ref()), (1, Some(&revision(1).name())));
    assert!(!seen.in_progress && seen.last_start.is_some() && seen.rejected.is_none(), "{seen:?}");
    assert_eq!(other.start(&seen, &revision(2), "").await.unwrap(), Started::Yes);
    assert_eq!(one.state().await.unwrap().running, Some(revision(2).name()));

    // Somebody deploys by hand: what those tasks read at their start is not known here.
    client.update_service().cluster(&cluster).service(&name).force_new_deployment(true).send().await.unwrap();
    let seen = one.state().await.unwrap();
    assert_eq!((seen.starts, seen.running), (2, None));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let fresh = Fresh::new().await;
    let (_, cluster, _) = service().await;
    let ecs = Deploying(EcsService::new(fresh.sdk(), cluster.clone(), "none".to_owned(), fresh.store()));
    let error = ecs.state().await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("asking for service none of ECS cluster {cluster}: ")), "{error}");
    let ecs = Deploying(EcsService::new(fresh.sdk(), "none".to_owned(), "none".to_owned(), fresh.store()));
    let error = ecs.state().await.unwrap_err().to_string();
    assert!(error.contains("ClusterNotFoundException"), "{error}");
}
