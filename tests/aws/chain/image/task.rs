//! What ECS does between a task definition and a container.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::container::Run;
use crate::permissions::enforce;
use crate::world::{World, good, listen};

/// Who calls AWS with the task's role, and who with the role by which ECS starts it.
pub(super) const ROLE: &str = "task";
const EXECUTION_ROLE: &str = "execution";

/// The task definition of the deployed service, with its one container.
pub(super) struct Task(Value);

impl Task {
    pub(super) async fn of(world: &World) -> Self {
        let body = json!({"taskDefinition": world.service().await["taskDefinition"]});
        let told = world.json("ecs", "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition", &body).await;
        let task = Self(told["taskDefinition"].clone());
        assert_eq!(task.0["containerDefinitions"].as_array().unwrap().len(), 1, "{told}");
        task
    }

    fn container(&self) -> &Value {
        &self.0["containerDefinitions"][0]
    }

    pub(super) fn image(&self) -> &str {
        self.container()["image"].as_str().unwrap()
    }

    /// How long ECS waits before it kills what it has told to stop.
    pub(super) fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.container()["stopTimeout"].as_u64().unwrap())
    }

    /// How its container is run: whatever it says, and what ECS adds.
    pub(super) async fn run(&self, world: &World) -> Run {
        let container = self.container();
        assert_eq!(container["readonlyRootFilesystem"], true, "{container}");
        let mut environment: Vec<_> =
            list(&container["environment"]).iter().map(|one| (text(&one["name"]), text(&one["value"]))).collect();
        environment.extend(self.secrets(world).await);
        environment.extend(self.credentials(world).await);
        environment.push(("AWS_ENDPOINT_URL".to_owned(), world.aws.url()));

        let declared: BTreeSet<_> = list(&self.0["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
        let volume = |mount: &Value| {
            assert!(declared.contains(&text(&mount["sourceVolume"])) && mount["readOnly"] != true, "{mount}");
            text(&mount["containerPath"])
        };
        let volumes = list(&container["mountPoints"]).iter().map(volume).collect();
        let files = list(&container["ulimits"]).iter().find(|limit| limit["name"] == "nofile").unwrap();
        Run { environment, volumes, open_files: files["softLimit"].as_u64().unwrap() }
    }

    /// The secrets that it names, read by the role that ECS has for this.
    async fn secrets(&self, world: &World) -> Vec<(String, String)> {
        let role = self.0["executionRoleArn"].as_str().unwrap();
        enforce(&world.client, &world.aws, EXECUTION_ROLE, role).await;
        let client = world.client.as_caller(EXECUTION_ROLE);
        let mut secrets = Vec::new();
        for secret in list(&self.container()["secrets"]) {
            let body = json!({"SecretId": secret["valueFrom"]});
            let told = good(client.json("secretsmanager", "secretsmanager.GetSecretValue", &body).await).json();
            secrets.push((text(&secret["name"]), text(&told["SecretString"])));
        }
        secrets
    }

    /// Where the container finds credentials of the task's role. ECS has them at an address of its own, which nobody has
    /// here, and names only the path at it.
    async fn credentials(&self, world: &World) -> [(String, String); 2] {
        enforce(&world.client, &world.aws, ROLE, self.0["taskRoleArn"].as_str().unwrap()).await;
        let told = json!({"AccessKeyId": ROLE, "SecretAccessKey": "nothing", "Token": "nothing",
            "Expiration": "2099-01-01T00:00:00Z"});
        let port = listen(Router::new().route("/credentials", get(async move || Json(told)))).await;
        [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("http://127.0.0.1:{port}/credentials")),
            // Else an SDK asks the instance, if it does not find them here.
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ]
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
