//! A deployment on AWS, checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Check;
use crate::config::aws::Aws;
use crate::config::written::aws::{AwsWritten, ServiceWritten};
use crate::fleet::node::{SecretName, SecretRules, parse_host};
use crate::name::shown;

const MINUTE: Duration = Duration::from_secs(60);

/// What CloudWatch can keep logs for, in days.
const RETENTIONS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

pub(super) fn aws(
    check: &mut Check,
    written: AwsWritten,
    secrets: &SecretRules,
    interval: Duration,
    listen: Option<SocketAddr>,
) -> Option<Aws> {
    for (key, count) in [
        ("aws.subnets", written.subnets.len()),
        ("aws.security_groups.probe", written.security_groups.probe.len()),
        ("aws.security_groups.proxy", written.security_groups.proxy.len()),
    ] {
        if count == 0 {
            check.fault(key, "at least one is needed");
        }
    }
    let host = parse_host(&written.load_balancer.host).map(|host| host.to_string()).filter(|host| host.contains('.'));
    if host.is_none() {
        let host = shown(&written.load_balancer.host);
        check.fault("aws.load_balancer.host", format!("{host:?} is not a host name such as rpc.example.com"));
    }
    within(check, "aws.load_balancer.priority", written.load_balancer.priority, 1, 50_000);
    let arns = self::secrets(check, &written, secrets);
    service(check, &written.service);
    one_of(check, "aws.functions.architecture", &written.functions.architecture, ["arm64", "x86_64"]);
    within(check, "aws.functions.memory_mb", written.functions.memory_mb, 128, 10_240);
    if let Some(count) = written.functions.reserved_concurrency {
        within(check, "aws.functions.reserved_concurrency", count, 1, 1_000);
    }
    if !RETENTIONS.contains(&written.logs.retention_days) {
        let days = RETENTIONS.map(|days| days.to_string()).join(", ");
        check.fault("aws.logs.retention_days", format!("one of {days} is expected"));
    }
    for (key, arn) in [
        ("aws.load_balancer.listener", Some(&written.load_balancer.listener.0)),
        ("aws.alarms.critical", written.alarms.critical.as_ref().map(|topic| &topic.0)),
        ("aws.alarms.warning", written.alarms.warning.as_ref().map(|topic| &topic.0)),
    ] {
        if let Some(arn) = arn {
            is_here(check, key, arn, &written);
        }
    }
    // Schedules go by whole minutes; within one, the probe function ticks several times.
    let divides =
        |part: Duration, whole: Duration| part.as_millis() > 0 && whole.as_millis().is_multiple_of(part.as_millis());
    if !divides(interval, MINUTE) && !divides(MINUTE, interval) {
        check.fault("health.interval", "with `aws`, whole minutes are expected, or what divides a minute, such as 15s");
    }
    if listen.is_some_and(|listen| !listen.ip().is_unspecified()) {
        check.fault(
            "proxy.listen",
            "with `aws`, the load balancer must reach it: listen on every address, such as 0.0.0.0:8080",
        );
    }
    Some(Aws { account: written.account.0, region: written.region.0, host: host?, secrets: arns })
}

fn secrets(check: &mut Check, written: &AwsWritten, rules: &SecretRules) -> BTreeMap<SecretName, String> {
    let mut arns = BTreeMap::new();
    for (name, arn) in &written.secrets.0 {
        let key = format!("aws.secrets.{name}");
        is_here(check, &key, &arn.0, written);
        match name.parse::<SecretName>().ok().filter(|name| rules.0.contains_key(name)) {
            Some(name) => drop(arns.insert(name, arn.0.clone())),
            None => check.fault(&key, "there is no such name under `secrets:`"),
        }
    }
    for name in rules.0.keys().filter(|name| !written.secrets.0.contains_key(name.as_str())) {
        check.fault("aws.secrets", format!("{name} is listed under `secrets:`; say here where its value is kept"));
    }
    arns
}

fn service(check: &mut Check, service: &ServiceWritten) {
    one_of(check, "aws.service.launch", &service.launch, ["fargate", "ec2"]);
    one_of(check, "aws.service.architecture", &service.architecture, ["arm64", "x86_64"]);
    within(check, "aws.service.cpu", service.cpu, 128, 16_384);
    within(check, "aws.service.memory_mb", service.memory_mb, 256, 122_880);
    within(check, "aws.service.min_tasks", service.min_tasks, 1, 1_000);
    within(check, "aws.service.max_tasks", service.max_tasks, 1, 1_000);
    within(check, "aws.service.target_cpu_percent", service.target_cpu_percent, 10, 95);
    if service.max_tasks < service.min_tasks {
        check.fault("aws.service.max_tasks", format!("`min_tasks` is {}; this must not be less", service.min_tasks));
    }
}

fn within(check: &mut Check, key: &str, value: u32, least: u32, most: u32) {
    if !(least..=most).contains(&value) {
        check.fault(key, format!("{least} to {most} is expected"));
    }
}

fn one_of(check: &mut Check, key: &str, value: &str, [one, other]: [&str; 2]) {
    if value != one && value != other {
        check.fault(key, format!("unknown value {:?}; expected {one} or {other}", shown(value)));
    }
}

/// Whether an ARN is of the account and region of the deployment.
fn is_here(check: &mut Check, key: &str, arn: &str, written: &AwsWritten) {
    let mut parts = arn.split(':').skip(3);
    let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if region != written.region.0 || account != written.account.0 {
        check.fault(
            key,
            format!(
                "this is in region {region} of account {account}; the deployment is in {} of {}",
                written.region.0, written.account.0
            ),
        );
    }
}
