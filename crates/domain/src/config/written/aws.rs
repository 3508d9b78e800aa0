//! The keys of a deployment on AWS. What must have a shape has it by type, and the schema says the same.

use std::collections::BTreeMap;

use deserr::Deserr;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::name::shown;
use crate::read::{Faults, Keyed};

/// Texts of a shape, which [`Shape`] checks and whose pattern editors and the deployment check.
macro_rules! shaped {
    ($($(#[$doc:meta])* $name:ident = $shape:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserr)]
        #[deserr(error = Faults, try_from(&String) = $name::read -> String)]
        pub(in crate::config) struct $name(pub(in crate::config) String);

        impl $name {
            const SHAPE: Shape = $shape;

            #[expect(clippy::ptr_arg, reason = "deserr hands over a String")]
            fn read(text: &String) -> Result<Self, String> {
                Self::SHAPE.check(text).map(|()| Self(text.clone()))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let Shape { pattern, expected, .. } = Self::SHAPE;
                json_schema!({"type": "string", "description": expected, "pattern": pattern})
            }
        }
    )*};
}

/// How a text must look. The function decides; the pattern says the same to other programs.
struct Shape {
    fits: fn(&str) -> bool,
    pattern: &'static str,
    /// In words, with an example.
    expected: &'static str,
}

impl Shape {
    fn check(&self, text: &str) -> Result<(), String> {
        let Self { fits, expected, .. } = self;
        if fits(text) { Ok(()) } else { Err(format!("{:?} is not {expected}", shown(text))) }
    }
}

fn is_id(text: &str, prefix: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix(prefix).is_some_and(|id| (8..=17).contains(&id.len()) && id.bytes().all(hex))
}

/// Letters, digits and `marks` only, and at least one of them.
fn is_word(text: &str, marks: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

/// `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`.
fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, of, region, account, rest] = parts.as_slice() else { return false };
    *arn == "arn"
        && matches!(*partition, "aws" | "aws-cn" | "aws-us-gov")
        && *of == service
        && is_region(region)
        && is_account(account)
        && rest.strip_prefix(resource).is_some_and(|name| is_word(name, "/_+=.@-"))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lower = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] => {
            (2..=3).contains(&words.len())
                && words.iter().all(lower)
                && number.len() == 1
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        [] => false,
    }
}

shaped! {
    /// An account.
    Account = Shape {
        fits: is_account,
        pattern: "^[0-9]{12}$",
        expected: "an account's 12 digits, as text, such as \"123456789012\"",
    };
    /// A region.
    Region = Shape {
        fits: is_region,
        pattern: "^[a-z]+(-[a-z]+){1,2}-[0-9]$",
        expected: "a region, such as eu-central-1",
    };
    /// A VPC.
    Vpc = Shape {
        fits: |text| is_id(text, "vpc-"),
        pattern: "^vpc-[0-9a-f]{8,17}$",
        expected: "a VPC's id, such as vpc-0123456789abcdef0",
    };
    /// A subnet.
    Subnet = Shape {
        fits: |text| is_id(text, "subnet-"),
        pattern: "^subnet-[0-9a-f]{8,17}$",
        expected: "a subnet's id, such as subnet-0123456789abcdef0",
    };
    /// A security group.
    SecurityGroup = Shape {
        fits: |text| is_id(text, "sg-"),
        pattern: "^sg-[0-9a-f]{8,17}$",
        expected: "a security group's id, such as sg-0123456789abcdef0",
    };
    /// A cluster.
    Cluster = Shape {
        fits: |text| is_word(text, "_-") && text.len() <= 255,
        pattern: "^[A-Za-z0-9_-]{1,255}$",
        expected: "the name of an ECS cluster, such as main",
    };
    /// A load balancer's listener.
    Listener = Shape {
        fits: |text| is_arn(text, "elasticloadbalancing", "listener/app/"),
        pattern: "^arn:aws(-cn|-us-gov)?:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:listener/app/[A-Za-z0-9/_+=.@-]+$",
        expected: "the ARN of a listener of an application load balancer, such as \
                   arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/main/0123456789abcdef/0123456789abcdef",
    };
    /// A secret.
    SecretArn = Shape {
        fits: |text| is_arn(text, "secretsmanager", "secret:"),
        pattern: "^arn:aws(-cn|-us-gov)?:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$",
        expected: "the ARN of a secret of Secrets Manager, such as \
                   arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf",
    };
    /// A topic.
    Topic = Shape {
        fits: |text| is_arn(text, "sns", ""),
        pattern: "^arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9/_+=.@-]+$",
        expected: "the ARN of an SNS topic, such as arn:aws:sns:eu-central-1:123456789012:on-call",
    };
    /// A container image.
    Image = Shape {
        fits: |text| {
            let name = text.split(['@', ':']).next().unwrap_or_default();
            is_word(text, "/_.:@-") && !name.is_empty() && name.len() < text.len()
        },
        pattern: "^[A-Za-z0-9/_.-]+[@:][A-Za-z0-9/_.:@-]+$",
        expected: "a container image with its tag or digest, such as \
                   123456789012.dkr.ecr.eu-central-1.amazonaws.com/jsonrpc-proxy:0.1.0",
    };
    /// A link.
    Link = Shape {
        fits: |text| text.strip_prefix("https://").is_some_and(|rest| is_word(rest, "/_.:@%~+=?&-")),
        pattern: "^https://[A-Za-z0-9/_.:@%~+=?&-]+$",
        expected: "an https:// address, such as https://github.com/OWNER/REPOSITORY/blob/main/docs/runbook.md",
    };
}

/// Where it runs on AWS. What is named here exists already and is used; everything else is made.
#[derive(Debug, Serialize, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct AwsWritten {
    /// The account.
    pub(in crate::config) account: Account,
    /// The region.
    pub(in crate::config) region: Region,
    /// The VPC of the subnets.
    pub(in crate::config) vpc: Vpc,
    /// Where the probe function and the proxy's tasks run: private, with a way to the internet.
    pub(in crate::config) subnets: Vec<Subnet>,
    /// What they may reach, and who may reach them.
    pub(in crate::config) security_groups: SecurityGroupsWritten,
    /// The ECS cluster's name.
    pub(in crate::config) cluster: Cluster,
    /// The load balancer in front of the proxy.
    pub(in crate::config) load_balancer: LoadBalancerWritten,
    /// The proxy's image.
    pub(in crate::config) image: Image,
    /// Where the value of each of the `secrets` above is kept.
    #[deserr(default)]
    #[schemars(with = "BTreeMap<String, SecretArn>", default)]
    pub(in crate::config) secrets: Keyed<SecretArn>,
    /// The proxy's tasks.
    #[deserr(default)]
    #[schemars(default)]
    pub(in crate::config) service: ServiceWritten,
    /// The functions.
    #[deserr(default)]
    #[schemars(default)]
    pub(in crate::config) functions: FunctionsWritten,
    /// Logs.
    #[deserr(default)]
    #[schemars(default)]
    pub(in crate::config) logs: LogsWritten,
    /// Who is told.
    #[deserr(default)]
    #[schemars(default)]
    pub(in crate::config) alarms: AlarmsWritten,
}

/// Security groups.
#[derive(Debug, Serialize, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SecurityGroupsWritten {
    /// Of the probe function: it must reach the nodes and the internet.
    pub(in crate::config) probe: Vec<SecurityGroup>,
    /// Of the proxy's tasks: the load balancer must reach them, and they the nodes and the internet.
    pub(in crate::config) proxy: Vec<SecurityGroup>,
}

/// The load balancer in front of the proxy.
#[derive(Debug, Serialize, Deserr, JsonSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LoadBalancerWritten {
    /// The listener, which must speak HTTPS for keys to stay secret.
    pub(in crate::config) listener: Listener,
    /// The host name whose requests go to the proxy.
    pub(in crate::config) host: String,
    /// The priority of the listener's rule, 1 to 50000; each rule has its own.
    #[deserr(default = default_priority())]
    #[schemars(default = "default_priority")]
    pub(in crate::config) priority: u32,
}

const fn default_priority() -> u32 {
    100
}

written! {
    /// The proxy's tasks.
    ServiceWritten {
        /// `fargate`, or `ec2` where the cluster has instances of its own.
        launch: String = "fargate".to_owned(),
        /// `arm64` or `x86_64`: what the image was built for.
        architecture: String = "arm64".to_owned(),
        /// CPU units of a task; 1024 are one core.
        cpu: u32 = 1024,
        /// Memory of a task in MiB.
        memory_mb: u32 = 2048,
        /// The least number of tasks.
        min_tasks: u32 = 2,
        /// The largest number of tasks.
        max_tasks: u32 = 10,
        /// Tasks are added above this much CPU on average, in percent.
        target_cpu_percent: u32 = 60,
    }
}

written! {
    /// The functions.
    FunctionsWritten {
        /// `arm64` or `x86_64`: what `cargo lambda build` built for.
        architecture: String = "arm64".to_owned(),
        /// Memory in MiB; the CPU's share goes with it.
        memory_mb: u32 = 512,
        /// How many of each may run at once. No limit of their own if left out.
        reserved_concurrency: Option<u32> = None,
    }
}

written! {
    /// Logs.
    LogsWritten {
        /// Days that CloudWatch keeps them.
        retention_days: u32 = 30,
    }
}

written! {
    /// Who is told of alarms.
    AlarmsWritten {
        /// The SNS topic for what must wake somebody. The stack makes one if left out.
        critical: Option<Topic> = None,
        /// The SNS topic for what can wait until morning. The stack makes one if left out.
        warning: Option<Topic> = None,
        /// Where the runbook can be read; each alarm links to its section.
        runbook: Option<Link> = None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_told_apart() {
        for (shape, good, bad) in [
            (Account::SHAPE, ["123456789012"].as_slice(), ["", "12345678901", "12345678901a"].as_slice()),
            (Region::SHAPE, &["eu-central-1", "us-gov-west-1"], &["eu", "eu-central", "EU-central-1", "eu--1", "1"]),
            (Vpc::SHAPE, &["vpc-0a1b2c3d", "vpc-0123456789abcdef0"], &["vpc-", "vpc-0123456", "subnet-0a1b2c3d"]),
            (Cluster::SHAPE, &["main"], &["", "a b", "arn:aws:ecs:eu-central-1:123456789012:cluster/main"]),
            (
                Listener::SHAPE,
                &["arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/main/0a/1b"],
                &["arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/net/main/0a/1b", "arn", ""],
            ),
            (
                SecretArn::SHAPE,
                &["arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf"],
                &["arn:aws:ssm:eu-central-1:123456789012:parameter/infura", "infura"],
            ),
            (
                Topic::SHAPE,
                &["arn:aws:sns:eu-central-1:123456789012:on-call"],
                &["arn:aws:sns:eu-central-1:123456789012:", "on-call"],
            ),
            (
                Image::SHAPE,
                &["123456789012.dkr.ecr.eu-central-1.amazonaws.com/jsonrpc-proxy:0.1.0", "proxy@sha256:00"],
                &["proxy", ":1", "pro xy:1"],
            ),
            (Link::SHAPE, &["https://example.com/runbook.md"], &["http://example.com", "https://", "https://a b"]),
        ] {
            for text in good {
                assert_eq!(shape.check(text), Ok(()));
            }
            for text in bad {
                assert!(shape.check(text).is_err(), "{text:?} is taken for {}", shape.expected);
            }
        }
    }
}
