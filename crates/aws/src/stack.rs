//! A deployed stack, found by its name through the outputs of `CloudFormation`.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use nodeweir_control::edges::EdgeError;

use crate::connect::{is_code, why};
use crate::store::Tables;

/// What a deployed stack consists of, as far as commands need it.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The account that it is in.
    pub account: String,
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
        let none = || {
            let region = sdk.region().map_or("this region", |region| region.as_ref());
            failed(&format!(
                "there is none in {region} for your credentials; deploy it, or name in AWS_PROFILE a profile of the \
                 account that it is in"
            ))
        };
        let told = match asked {
            Ok(told) => told,
            // The code for whatever is wrong with a call; with this one nothing else can be.
            Err(error) if is_code(&error, "ValidationError") => return Err(none()),
            Err(error) => return Err(failed(&why(&error))),
        };
        let stack = told.stacks().first().ok_or_else(none)?;
        // arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID
        let account = stack.stack_id().and_then(|id| id.split(':').nth(4)).unwrap_or_default().to_owned();
        let pairs = stack.outputs().iter().filter_map(|output| Some((output.output_key()?, output.output_value()?)));
        let outputs: BTreeMap<&str, &str> = pairs.collect();
        let output = |key: &str| {
            let value = outputs.get(key).map(|value| (*value).to_owned());
            value.ok_or_else(|| failed(&format!("it has no output {key}; was it deployed by this version?")))
        };
        Ok(Self {
            account,
            tables: Tables {
                nodes: output("NodesTable")?,
                health: output("HealthTable")?,
                history: output("HistoryTable")?,
                gate: output("GateTable")?,
                usage: output("UsageTable")?,
            },
            bucket: output("Bucket")?,
            cluster: output("Cluster")?,
            service: output("Service")?,
        })
    }
}
