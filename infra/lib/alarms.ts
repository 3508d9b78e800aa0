/**
 * When people are told, and how urgently. Each alarm has a section of its name in docs/runbook.md, which its
 * description links to; a test holds the two together.
 */
import { Duration, Stack } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, type IMetric, MathExpression, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import type { Config } from './config.js';
import type { Metrics } from './metrics.js';
import { stackName } from './names.js';

/** `critical` wakes somebody: clients notice, or soon will, or nobody is watching. `warning` can wait until morning. */
export const SEVERITIES = ['critical', 'warning'] as const;
export type Severity = (typeof SEVERITIES)[number];

interface AlarmProps {
  /** The section in docs/runbook.md. */
  id: string;
  network?: string;
  severity: Severity;
  /** What has happened, in a sentence. */
  says: string;
  metric: IMetric;
  when: 'above' | 'below';
  threshold: number;
  /** Periods of the metric in a row that must be so. */
  periods: number;
  /** What no number means: that something is wrong, that nothing is, or that all is as it was. */
  silence: 'bad' | 'good' | 'unchanged';
}

export class Alarms extends Construct {
  /** Of all, as CloudWatch knows them. */
  readonly names: string[];
  readonly topics: Record<Severity, ITopic>;

  constructor(scope: Construct, id: string, config: Config, metrics: Metrics) {
    super(scope, id);
    this.topics = { critical: this.topic('critical', config), warning: this.topic('warning', config) };
    const runbook = config.aws.alarms.runbook ?? 'docs/runbook.md';
    const list = [
      ...config.networks.flatMap((network) => ofNetwork(network, metrics)),
      ...ofFlows(metrics),
      ...ofProxy(config, metrics),
      ...ofTasks(metrics),
    ];
    this.names = list.map((alarm) => {
      const name = alarm.network === undefined ? alarm.id : `${alarm.id}-${alarm.network}`;
      const alarmName = `${stackName(config.stage)}-${name}`;
      const made = new Alarm(this, name, {
        alarmName,
        alarmDescription: `${alarm.severity}: ${alarm.says} ${runbook}#${alarm.id}`,
        metric: alarm.metric,
        threshold: alarm.threshold,
        comparisonOperator: COMPARE[alarm.when],
        evaluationPeriods: alarm.periods,
        treatMissingData: SILENCE[alarm.silence],
      });
      const action = new SnsAction(this.topics[alarm.severity]);
      made.addAlarmAction(action);
      made.addOkAction(action);
      return alarmName;
    });
  }

  /** The topic that the configuration names, or one of the stack's own. */
  private topic(severity: Severity, config: Config): ITopic {
    const given = config.aws.alarms[severity];
    const id = severity === 'critical' ? 'Critical' : 'Warning';
    if (given !== null) return Topic.fromTopicArn(this, id, given);
    const topic = new Topic(this, id, {
      displayName: `Nodeweir ${config.stage} ${severity}`,
      enforceSSL: true,
    });
    const stack = Stack.of(this);
    // A topic with a policy of its own has lost the one by which alarms of its account may publish.
    topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'Alarms',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [topic.topicArn],
        conditions: {
          StringEquals: { 'aws:SourceAccount': stack.account },
          ArnLike: {
            'aws:SourceArn': `arn:${stack.partition}:cloudwatch:${stack.region}:${stack.account}:alarm:${stackName(config.stage)}-*`,
          },
        },
      }),
    );
    return topic;
  }
}

const COMPARE = {
  above: ComparisonOperator.GREATER_THAN_THRESHOLD,
  below: ComparisonOperator.LESS_THAN_THRESHOLD,
};

const SILENCE = {
  bad: TreatMissingData.BREACHING,
  good: TreatMissingData.NOT_BREACHING,
  unchanged: TreatMissingData.IGNORE,
};

/** Periods that last five minutes together, two at least: one late number is no alarm. */
const fiveMinutes = (period: Duration): number => Math.max(2, Math.ceil(300 / period.toSeconds()));

/** What `probe` says of a network. When it says nothing, that is another alarm, and these stay as they were. */
function ofNetwork(network: string, metrics: Metrics): AlarmProps[] {
  const common = { network, silence: 'unchanged' } as const;
  return [
    {
      ...common,
      id: 'no-healthy-node',
      severity: 'critical',
      says: `None of the nodes of ${network} is healthy: its requests go to the leader, or fail.`,
      // A network that has no nodes of its own yet is served by its leader on purpose.
      metric: new MathExpression({
        expression: 'IF(nodes > 0, healthy, 1)',
        usingMetrics: {
          healthy: metrics.network(network, 'HealthyNodes', 'Maximum'),
          nodes: metrics.network(network, 'Nodes', 'Maximum'),
        },
        period: metrics.tick,
        label: `healthy nodes of ${network}`,
      }),
      when: 'below',
      threshold: 1,
      periods: 1,
    },
    {
      ...common,
      id: 'node-unhealthy',
      severity: 'warning',
      says: `A node of ${network} has been unhealthy for more than 10 minutes.`,
      metric: metrics.network(network, 'LongestUnhealthySeconds', 'Maximum'),
      when: 'above',
      threshold: 600,
      periods: 1,
    },
    {
      ...common,
      id: 'leader-silent',
      severity: 'warning',
      says: `The leader of ${network} has not answered for 5 minutes: there is no fallback, and nothing to compare with.`,
      metric: metrics.network(network, 'LeaderAnswers', 'Maximum'),
      when: 'below',
      threshold: 1,
      periods: fiveMinutes(metrics.tick),
    },
  ];
}

function ofFlows(metrics: Metrics): AlarmProps[] {
  const five = Duration.minutes(5);
  const happened = (metricName: string) => ({
    metric: metrics.of(metricName, 'Sum', five),
    when: 'above' as const,
    threshold: 0,
    periods: 1,
    silence: 'good' as const,
  });
  return [
    {
      id: 'probe-not-running',
      severity: 'critical',
      says: 'No probe has gone well for 5 minutes, or for two ticks: nobody sees a node that dies.',
      metric: metrics.runs('probe', 'Succeeded', metrics.tick),
      when: 'below',
      threshold: 1,
      periods: fiveMinutes(metrics.tick),
      silence: 'bad',
    },
    {
      id: 'publish-not-running',
      severity: 'critical',
      says: 'Publishing has not gone well for 15 minutes: what is live stays as it was, whatever happens.',
      metric: metrics.runs('publish', 'Succeeded', five),
      when: 'below',
      threshold: 1,
      periods: 3,
      silence: 'bad',
    },
    {
      id: 'rollout-not-running',
      severity: 'critical',
      says: 'Rolling out has not gone well for 15 minutes: new tasks follow the bucket, but nothing makes it certain.',
      metric: metrics.runs('rollout', 'Succeeded', five),
      when: 'below',
      threshold: 1,
      periods: 3,
      silence: 'bad',
    },
    {
      id: 'publish-refused',
      severity: 'critical',
      says: 'A configuration was refused because it would be wrong; the last good one stays live.',
      ...happened('Refused'),
    },
    {
      id: 'rollout-failed',
      severity: 'critical',
      says: 'A deployment of the proxy failed, and was rolled back.',
      ...happened('RolloutFailed'),
    },
    {
      id: 'roster-shrank',
      severity: 'warning',
      says: 'A published configuration has lost more than half of the nodes of a network.',
      ...happened('RosterShrank'),
    },
    {
      id: 'pinned',
      severity: 'warning',
      says: 'An earlier configuration is pinned by a rollback: changes of health and of the node list wait.',
      metric: metrics.of('Pinned', 'Maximum', five),
      when: 'above',
      threshold: 0,
      periods: 1,
      silence: 'unchanged',
    },
    {
      id: 'items-rejected',
      severity: 'warning',
      says: 'An item of the node list cannot be used; the others are.',
      metric: metrics.of('RejectedItems', 'Maximum', metrics.tick),
      when: 'above',
      threshold: 0,
      // Somebody may be editing.
      periods: fiveMinutes(metrics.tick),
      silence: 'unchanged',
    },
    {
      id: 'prober-blind',
      severity: 'warning',
      says: 'No node of any network answered the prober, leaders included: it is cut off, and judges nobody.',
      metric: metrics.of('Blind', 'Maximum', metrics.tick),
      when: 'above',
      threshold: 0,
      periods: 2,
      silence: 'unchanged',
    },
    {
      id: 'dead-letters',
      severity: 'warning',
      says: 'An event could not be handled, and waits in a queue of dead letters.',
      metric: metrics.deadLetters(),
      when: 'above',
      threshold: 0,
      periods: 1,
      // A queue that nobody touches has no numbers after some hours.
      silence: 'unchanged',
    },
  ];
}

/** The proxy as the load balancer sees it. Nobody calling is no fault. */
function ofProxy(config: Config, metrics: Metrics): AlarmProps[] {
  const { min_tasks } = config.aws.service;
  const above = { when: 'above', silence: 'good' } as const;
  const slow = metrics.target('TargetResponseTime', 'p95');
  return [
    {
      ...above,
      id: 'proxy-5xx-critical',
      severity: 'critical',
      says: 'More than 5 % of requests failed with 5xx, for 5 minutes.',
      metric: metrics.failedPercent(),
      threshold: 5,
      periods: 5,
    },
    {
      ...above,
      id: 'proxy-5xx-warning',
      severity: 'warning',
      says: 'More than 1 % of requests failed with 5xx, for 10 minutes.',
      metric: metrics.failedPercent(),
      threshold: 1,
      periods: 10,
    },
    {
      ...above,
      id: 'proxy-slow-critical',
      severity: 'critical',
      says: 'One request of 20 took more than 1 s, for 5 minutes.',
      metric: slow,
      threshold: 1,
      periods: 5,
    },
    {
      ...above,
      id: 'proxy-slow-warning',
      severity: 'warning',
      says: 'One request of 20 took more than 0.5 s, for 10 minutes.',
      metric: slow,
      threshold: 0.5,
      periods: 10,
    },
    {
      id: 'tasks-below-desired',
      severity: 'critical',
      says: `Fewer tasks of the proxy than ${min_tasks} are healthy, or one of them is not, for 5 minutes.`,
      metric: metrics.missingTasks(min_tasks),
      when: 'above',
      threshold: 0,
      periods: 5,
      // Without any task the load balancer has nothing to say.
      silence: 'bad',
    },
  ];
}

/** What tasks say of themselves, each once a minute. When none says anything, that is `tasks-below-desired`. */
function ofTasks(metrics: Metrics): AlarmProps[] {
  const minute = Duration.minutes(1);
  const above = { when: 'above', threshold: 0, silence: 'good' } as const;
  return [
    {
      ...above,
      id: 'revision-refused',
      severity: 'critical',
      says: 'A task has refused what is published for 3 minutes: it goes on with what it ran before.',
      // The largest: one task is enough.
      metric: metrics.of('RevisionRefused', 'Maximum', minute),
      periods: 3,
    },
    {
      ...above,
      id: 'revision-unread',
      severity: 'warning',
      says: 'A task has not been able to read what is published for 10 minutes: it goes on with what it has.',
      metric: metrics.of('RevisionUnread', 'Maximum', minute),
      periods: 10,
    },
    {
      ...above,
      id: 'process-restarts',
      severity: 'warning',
      says: 'The proxy or the gate of a task ended unasked, and was started again.',
      metric: metrics.restarts(),
      periods: 1,
    },
  ];
}
