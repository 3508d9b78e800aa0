//! A deployed stack, found by its name through the outputs of `CloudFormation`.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use nodeweir_control::edges::EdgeError;

use crate::connect::why;
use crate::store::Tables;

/// What a deployed stack consists of, as far as commands need it.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its tables.
    pub tables: Tables,
    /// The bucket of the published object.
    pub bucket: String,
    /// The ECS cluster.
    pub cluster: String,
    /// The ECS service in it.
    pub service: String,
}

/// The name of a stage's stack.
pub fn stack_name(stage: &str) -> String {
    format!("nodeweir-{stage}")
}

impl Stack {
    /// Finds the stack of a stage.
    pub async fn find(sdk: &SdkConfig, stage: &str) -> Result<Self, EdgeError> {
        let name = stack_name(stage);
        let failed = |why: &dyn ToString| EdgeError::new(format!("looking for the stack {name}"), &why.to_string());
        let asked = Client::new(sdk).describe_stacks().stack_name(&name).send().await;
        let told = asked.map_err(|error| failed(&why(&error)))?;
        let stack = told.stacks().first().ok_or_else(|| failed(&"there is none"))?;
        let pairs = stack.outputs().iter().filter_map(|output| Some((output.output_key()?, output.output_value()?)));
        let outputs: BTreeMap<&str, &str> = pairs.collect();
        let output = |key: &str| {
            let value = outputs.get(key).map(|value| (*value).to_owned());
            value.ok_or_else(|| failed(&format!("it has no output {key}; was it deployed by this version?")))
        };
        Ok(Self {
            tables: Tables {
                nodes: output("NodesTable")?,
                health: output("HealthTable")?,
                history: output("HistoryTable")?,
            },
            bucket: output("Bucket")?,
            cluster: output("Cluster")?,
            service: output("Service")?,
        })
    }
}
