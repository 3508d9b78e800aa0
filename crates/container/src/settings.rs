//! What the environment says.
//!
//! | variable | is |
//! |---|---|
//! | `NODEWEIR_CONFIG_TEXT` | the configuration itself, as text |
//! | `NODEWEIR_CONFIG` | or a file with it; `/etc/nodeweir/config.yml` unless named |
//! | `NODEWEIR_BUCKET` | the bucket whose object is published |
//! | `NODEWEIR_FOLDER` | or a folder with it |
//! | `NODEWEIR_GATE_TABLE`, `NODEWEIR_USAGE_TABLE` | with a bucket, where the gate finds projects, keys and credits |
//! | `NODEWEIR_STATE` | what may be written to; `/var/lib/nodeweir` unless named |
//! | `NODEWEIR_LOOK` | between two looks at what is published, about; `3s` unless named |
//! | `NODEWEIR_STAGE` | prints metrics for CloudWatch once a minute, under this stage's name |
//! | names of secrets | their values |

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nodeweir_aws::Tables;
use nodeweir_domain::config::Config;
use nodeweir_domain::text::parse_duration;

const CONFIG_FILE: &str = "/etc/nodeweir/config.yml";
const STATE: &str = "/var/lib/nodeweir";
const LOOK: &str = "3s";

/// Where the published revision is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Published {
    Bucket(String),
    Folder(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) published: Published,
    /// What the gate works on; without, it is the state's own store.
    pub(crate) tables: Option<Tables>,
    pub(crate) state: PathBuf,
    pub(crate) look: Duration,
    pub(crate) stage: Option<String>,
}

impl Settings {
    pub(crate) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (place, text) = match variable("NODEWEIR_CONFIG_TEXT") {
            Some(text) => ("NODEWEIR_CONFIG_TEXT".to_owned(), text),
            None => {
                let file = variable("NODEWEIR_CONFIG").unwrap_or_else(|| CONFIG_FILE.to_owned());
                let text = std::fs::read_to_string(&file).with_context(|| {
                    format!("cannot read the configuration {file}; give its text in NODEWEIR_CONFIG_TEXT, or another file in NODEWEIR_CONFIG")
                })?;
                (file, text)
            }
        };
        let config = Config::read(&text).with_context(|| format!("{place} has faults"))?;
        let published = match (variable("NODEWEIR_BUCKET"), variable("NODEWEIR_FOLDER")) {
            (Some(bucket), None) => Published::Bucket(bucket),
            (None, Some(folder)) => Published::Folder(folder.into()),
            (None, None) => bail!("set NODEWEIR_BUCKET or NODEWEIR_FOLDER: where the published revision is"),
            (Some(_), Some(_)) => bail!("NODEWEIR_BUCKET and NODEWEIR_FOLDER are set: leave one out"),
        };
        let tables = match (variable("NODEWEIR_GATE_TABLE"), variable("NODEWEIR_USAGE_TABLE")) {
            (Some(gate), Some(usage)) => Some(Tables { gate, usage, ..Tables::default() }),
            (None, None) => None,
            _ => bail!("of NODEWEIR_GATE_TABLE and NODEWEIR_USAGE_TABLE one is set: the gate needs both, or none"),
        };
        if config.gate.enabled && tables.is_none() && matches!(published, Published::Bucket(_)) {
            bail!(
                "{place} has the gate switched on, and there is no store for it: set NODEWEIR_GATE_TABLE and \
                 NODEWEIR_USAGE_TABLE, as the stack does, or write `gate.enabled: false`"
            );
        }
        let state = variable("NODEWEIR_STATE").unwrap_or_else(|| STATE.to_owned()).into();
        let look = variable("NODEWEIR_LOOK").unwrap_or_else(|| LOOK.to_owned());
        let look = parse_duration(&look).map_err(|error| anyhow!("NODEWEIR_LOOK: {error}"))?;
        if look.is_zero() {
            bail!("NODEWEIR_LOOK is no time at all: without a pause S3 would be asked all the time");
        }
        Ok(Self { config, published, tables, state, look, stage: variable("NODEWEIR_STAGE") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "networks: {ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}}
gate: {enabled: false}";

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(&|name| variables.iter().find(|(its, _)| its == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn the_environment_says_all() {
        let settings = read(&[("NODEWEIR_CONFIG_TEXT", CONFIG), ("NODEWEIR_BUCKET", "b")]).unwrap();
        assert_eq!((settings.published, settings.state), (Published::Bucket("b".to_owned()), PathBuf::from(STATE)));
        assert_eq!(settings.look, Duration::from_secs(3));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        std::fs::write(&file, CONFIG).unwrap();
        let named = [("NODEWEIR_CONFIG", file.to_str().unwrap()), ("NODEWEIR_FOLDER", "/published")];
        assert_eq!(read(&named).unwrap().published, Published::Folder("/published".into()));
        let text = CONFIG.trim_end_matches("gate: {enabled: false}");
        let gated =
            read(&[("NODEWEIR_CONFIG_TEXT", text), ("NODEWEIR_FOLDER", "f"), ("NODEWEIR_STAGE", "dev")]).unwrap();
        assert_eq!((gated.config.gate.enabled, gated.stage.as_deref(), gated.tables), (true, Some("dev"), None));
        let tables = [("NODEWEIR_GATE_TABLE", "g"), ("NODEWEIR_USAGE_TABLE", "u")];
        let shared =
            read(&[&[("NODEWEIR_CONFIG_TEXT", text), ("NODEWEIR_BUCKET", "b")], &tables[..]].concat()).unwrap();
        let expected = Tables { gate: "g".to_owned(), usage: "u".to_owned(), ..Tables::default() };
        assert_eq!(shared.tables, Some(expected));
    }

    /// As a task of a stack has it, where a bare `${` would be the template's.
    #[test]
    fn the_configuration_may_be_json_with_escapes() {
        let text = r#"{"networks":{"ethereum":{"chain_id":1,"block_time":"12s","leader":{"url":"https://a.example.com/\u0024{KEY}"}}},
            "secrets":{"KEY":{"hosts":["a.example.com"]}},"gate":{"enabled":false}}"#;
        let settings = read(&[("NODEWEIR_CONFIG_TEXT", text), ("NODEWEIR_BUCKET", "b")]).unwrap();
        let leader = &settings.config.networks.values().next().unwrap().leader;
        assert_eq!(leader.address.url.to_string(), "https://a.example.com/${KEY}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let bucket = ("NODEWEIR_BUCKET", "b");
        for (variables, said) in [
            (&[("NODEWEIR_CONFIG_TEXT", CONFIG)][..], "set NODEWEIR_BUCKET or NODEWEIR_FOLDER"),
            (&[("NODEWEIR_CONFIG_TEXT", CONFIG), bucket, ("NODEWEIR_FOLDER", "f")], "leave one out"),
            (
                &[("NODEWEIR_CONFIG", "/nowhere/config.yml"), bucket],
                "cannot read the configuration /nowhere/config.yml",
            ),
            (
                &[("NODEWEIR_CONFIG_TEXT", CONFIG.trim_end_matches("gate: {enabled: false}")), bucket],
                "there is no store for it",
            ),
            (&[("NODEWEIR_CONFIG_TEXT", CONFIG), bucket, ("NODEWEIR_GATE_TABLE", "g")], "the gate needs both"),
            (&[("NODEWEIR_CONFIG_TEXT", "networks: 7"), bucket], "NODEWEIR_CONFIG_TEXT has faults"),
            (
                &[("NODEWEIR_CONFIG_TEXT", CONFIG), bucket, ("NODEWEIR_LOOK", "3")],
                "NODEWEIR_LOOK: \"3\" is not a duration",
            ),
            (&[("NODEWEIR_CONFIG_TEXT", CONFIG), bucket, ("NODEWEIR_LOOK", "0s")], "NODEWEIR_LOOK is no time at all"),
        ] {
            let error = format!("{:#}", read(variables).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
