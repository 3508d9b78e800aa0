//! What AWS does between the functions: streams, rules and schedules, as the deployed stack declares them.

use std::collections::BTreeMap;

use nodeweir_emulator::events::{Place, fits, stream_batch};
use nodeweir_emulator::{Function, FunctionError, Stream};
use serde_json::{Value, json};

use crate::world::World;

/// What was carried, by which function was called for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Carried {
    pub(crate) publishes: usize,
    pub(crate) rollouts: usize,
}

/// A table's stream that is carried to `publish`.
struct Mapping {
    stream: Stream,
    /// Which records are; all if there is no pattern.
    patterns: Vec<Value>,
    /// A batch that has to be sent again, before any later one.
    again: Vec<Value>,
}

/// Carries events, and remembers how far it came.
pub(crate) struct Carrier {
    mappings: Vec<Mapping>,
    /// Patterns of the rules that call `rollout`.
    rules: Vec<Value>,
    /// The object's version and the deployment that were told of.
    object: Option<String>,
    deployment: String,
    /// How often a batch had to be sent again.
    pub(crate) again: usize,
}

impl Carrier {
    pub(crate) async fn new(world: &World) -> Self {
        let told =
            world.client.send("lambda", "GET", "/2015-03-31/event-source-mappings/", &[], "").await.unwrap().json();
        let mut mappings = Vec::new();
        for mapping in told["EventSourceMappings"].as_array().unwrap() {
            let table = mapping["EventSourceArn"].as_str().unwrap().split('/').nth(1).unwrap();
            assert!(mapping["FunctionArn"].as_str().unwrap().contains(&world.outputs["PublishFunction"]), "{mapping}");
            assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
            let filters = mapping["FilterCriteria"]["Filters"].as_array().cloned().unwrap_or_default();
            let patterns =
                filters.iter().map(|filter| serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap());
            let patterns = patterns.collect();
            let stream = Stream::of_table(&world.client, table).await;
            mappings.push(Mapping { stream, patterns, again: Vec::new() });
        }
        assert_eq!(mappings.len(), 3, "the streams of three tables");
        let names = world.json("events", "AWSEvents.ListRules", &json!({})).await;
        let patterns = names["Rules"].as_array().unwrap().iter().filter_map(|rule| rule["EventPattern"].as_str());
        let rules: Vec<Value> = patterns.map(|pattern| serde_json::from_str(pattern).unwrap()).collect();
        assert_eq!(rules.len(), 2, "of the bucket and of the service");
        let deployment = world.deployment().await;
        Self { mappings, rules, object: None, deployment, again: 0 }
    }

    /// Carries what there is, and what follows from it, until all is quiet.
    pub(crate) async fn settle(&mut self, world: &World) -> Carried {
        let mut carried = Carried::default();
        for _ in 0..20 {
            let now = self.carry(world).await;
            if now == Carried::default() {
                return carried;
            }
            carried.publishes += now.publishes;
            carried.rollouts += now.rollouts;
        }
        panic!("it does not come to rest: {carried:?}");
    }

    async fn carry(&mut self, world: &World) -> Carried {
        let mut carried = Carried::default();
        for mapping in &mut self.mappings {
            let mut records = std::mem::take(&mut mapping.again);
            let chosen = |record: &Value| {
                mapping.patterns.is_empty() || mapping.patterns.iter().any(|pattern| fits(pattern, record))
            };
            records.extend(mapping.stream.new_records().await.into_iter().filter(chosen));
            if records.is_empty() {
                continue;
            }
            carried.publishes += 1;
            let answer = world.publish.invoke(stream_batch(mapping.stream.arn(), &records)).await;
            let failures = answer.as_ref().ok().and_then(|answer| answer["batchItemFailures"].as_array());
            if failures.is_none_or(|failures| !failures.is_empty()) {
                self.again += 1;
                mapping.again = records;
            }
        }
        let place = place(world);
        let object = world.published().await.map(|(etag, _)| etag);
        if object.is_some() && object != self.object {
            let etag = object.clone().unwrap_or_default();
            let event = place.object_created(&world.outputs["Bucket"], "revision.conf", &etag, 1);
            carried.rollouts += self.tell(world, &event).await;
            self.object = object;
        }
        let deployment = world.deployment().await;
        if deployment != self.deployment {
            let service = format!(
                "arn:aws:ecs:eu-central-1:{}:service/{}/{}",
                place.account, world.outputs["Cluster"], world.outputs["Service"]
            );
            let event = place.deployment_changed(&service, &deployment, "SERVICE_DEPLOYMENT_COMPLETED");
            carried.rollouts += self.tell(world, &event).await;
            self.deployment = deployment;
        }
        carried
    }

    /// Calls `rollout` if a rule wants this event; a failure is tried again by the next event or schedule.
    async fn tell(&self, world: &World, event: &Value) -> usize {
        assert!(self.rules.iter().any(|rule| fits(rule, event)), "no rule takes {event}: {:?}", self.rules);
        let _ = world.rollout.invoke(event.clone()).await;
        1
    }
}

fn place(world: &World) -> Place<'_> {
    Place { account: world.aws.account(), region: "eu-central-1", time: "2026-11-21T12:00:00Z" }
}

/// A run by the schedule.
pub(crate) async fn run(world: &World, function: &Function) -> Result<Value, FunctionError> {
    function.invoke(place(world).scheduled()).await
}

/// What a function printed as metrics since a line, by name and, where there are some, network and node.
pub(crate) fn metrics(function: &Function, from: usize) -> BTreeMap<String, u64> {
    told(function.json_lines().into_iter().skip(from))
}

/// The same of any program's lines.
pub(crate) fn told(lines: impl IntoIterator<Item = Value>) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in lines {
        let Some(directive) = line.pointer("/_aws/CloudWatchMetrics/0") else { continue };
        assert_eq!(directive["Namespace"], "Nodeweir");
        assert_eq!(line["Stage"], crate::template::STAGE);
        let about = ["Network", "Node", "Flow"].iter().filter_map(|name| line[*name].as_str());
        let about: String = about.flat_map(|about| [about, "/"]).collect();
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            found.insert(format!("{about}{name}"), line[name].as_u64().unwrap());
        }
    }
    found
}
