//! What a function is told by its environment and its configuration file, once per cold start.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use nodeweir_aws::Tables;
use nodeweir_domain::config::{Aws, Config};

/// The configuration beside the program, a copy of `config.<stage>.yml`.
const CONFIG: &str = "config.yml";

/// What all functions share.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) stage: String,
    pub(crate) config: Config,
    pub(crate) aws: Aws,
    pub(crate) tables: Tables,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self> {
        let file = Path::new(&variable("LAMBDA_TASK_ROOT")?).join(CONFIG);
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let config = Config::read(&text).with_context(|| format!("{} has faults", file.display()))?;
        let aws = config.aws.clone().ok_or_else(|| anyhow!("{} has no section `aws`", file.display()))?;
        let tables = Tables {
            nodes: variable("NODEWEIR_NODES_TABLE")?,
            health: variable("NODEWEIR_HEALTH_TABLE")?,
            history: variable("NODEWEIR_HISTORY_TABLE")?,
            gate: variable("NODEWEIR_GATE_TABLE")?,
            usage: variable("NODEWEIR_USAGE_TABLE")?,
        };
        Ok(Self { stage: variable("NODEWEIR_STAGE")?, config, aws, tables })
    }
}

/// A variable that the stack sets.
pub(crate) fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| anyhow!("the environment variable {name} is not set; the stack sets it"))
}
