import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Resource, resources, template, templates } from './made.js';

const least = templates.least();
const full = templates.full();
const alarms = (of = least): Resource['Properties'][] =>
  resources(of, 'AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties);
const alarm = (name: string, of = least): Resource['Properties'] => {
  const found = alarms(of).find(({ AlarmName }) => AlarmName === `nodeweir-dev-${name}`);
  if (found === undefined) throw new Error(`no alarm ${name}`);
  return found;
};

const CRITICAL = [
  'no-healthy-node-ethereum',
  'probe-not-running',
  'proxy-5xx-critical',
  'proxy-slow-critical',
  'publish-not-running',
  'publish-refused',
  'revision-refused',
  'rollout-failed',
  'rollout-not-running',
  'tasks-below-desired',
];
const WARNING = [
  'dead-letters',
  'items-rejected',
  'leader-silent-ethereum',
  'node-unhealthy-ethereum',
  'pinned',
  'prober-blind',
  'process-restarts',
  'proxy-5xx-warning',
  'proxy-slow-warning',
  'revision-unread',
  'roster-shrank',
];

const names = (of = least) => alarms(of).map(({ AlarmName }) => AlarmName.replace('nodeweir-dev-', ''));

test('there are these, and for each network its own', () => {
  expect(names().sort()).toEqual([...CRITICAL, ...WARNING].sort());
  const ofNetworks = ['leader-silent', 'no-healthy-node', 'node-unhealthy'];
  expect(
    names(full)
      .filter((name) => name.endsWith('-optimism'))
      .sort(),
  ).toEqual(ofNetworks.map((id) => `${id}-optimism`));
  expect(names(full)).toHaveLength(CRITICAL.length + WARNING.length + ofNetworks.length);
});

describe('who is told', () => {
  test.each([
    ['critical', CRITICAL],
    ['warning', WARNING],
  ])('of what is %s', (severity, ids) => {
    for (const id of ids) {
      const { AlarmDescription, AlarmActions, OKActions } = alarm(id);
      expect(AlarmDescription.split(': ')[0]).toBe(severity);
      const topic = [{ Ref: expect.stringMatching(severity === 'critical' ? '^AlarmsCritical' : '^AlarmsWarning') }];
      expect(AlarmActions, id).toEqual(topic);
      expect(OKActions, id).toEqual(topic);
    }
  });

  test('through the topics that were named, and none is made', () => {
    expect(alarm('probe-not-running', full).AlarmActions).toEqual(['arn:aws:sns:eu-central-1:123456789012:on-call']);
    expect(alarm('pinned', full).AlarmActions).toEqual(['arn:aws:sns:eu-central-1:123456789012:mornings']);
    expect(resources(full, 'AWS::SNS::Topic')).toEqual([]);
  });

  test('through topics of its own, to which alarms of this stage may publish', () => {
    expect(resources(least, 'AWS::SNS::Topic')).toHaveLength(2);
    for (const [, { Properties }] of resources(least, 'AWS::SNS::TopicPolicy')) {
      expect(Properties.PolicyDocument.Statement).toEqual([
        expect.objectContaining({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
        {
          Sid: 'Alarms',
          Effect: 'Allow',
          Principal: { Service: 'cloudwatch.amazonaws.com' },
          Action: 'sns:Publish',
          Resource: { Ref: expect.any(String) },
          Condition: {
            StringEquals: { 'aws:SourceAccount': '123456789012' },
            ArnLike: { 'aws:SourceArn': 'arn:aws:cloudwatch:eu-central-1:123456789012:alarm:nodeweir-dev-*' },
          },
        },
      ]);
    }
  });
});

describe('the runbook', () => {
  const runbook = readFileSync(resolve(import.meta.dirname, '../../docs/runbook.md'), 'utf8');
  const sections = [...runbook.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);

  test('has a section for each alarm, and no other', () => {
    const ids = new Set(names(full).map((name) => name.replace(/-(ethereum|optimism)$/, '')));
    expect(sections.sort()).toEqual([...ids].sort());
  });

  test.each(alarms(full).map(({ AlarmName, AlarmDescription }) => [AlarmName, AlarmDescription]))(
    '%s links to its section, and says what has happened',
    (name, description) => {
      const [, says, anchor] =
        /^(?:critical|warning): (.{20,}\.) https:\/\/git\.example\.com\/nodeweir\/docs\/runbook\.md#(.+)$/.exec(
          description,
        ) ?? [];
      expect(says).toBeDefined();
      expect(sections).toContain(anchor);
      expect(name.replace('nodeweir-dev-', '').replace(/-(ethereum|optimism)$/, '')).toBe(anchor);
    },
  );

  test('is named as a file where no link was given', () => {
    expect(alarm('pinned').AlarmDescription).toMatch(/ docs\/runbook\.md#pinned$/);
  });

  test.each(sections)('%s says how urgent it is as its alarm does, where to look or what to do', (id) => {
    const section = runbook.split(`\n## ${id}\n`)[1]?.split('\n## ')[0] ?? '';
    const severity = CRITICAL.some((name) => name === id || name === `${id}-ethereum`) ? 'Critical' : 'Warning';
    expect(section.trimStart().split(' ')[0]).toBe(`**${severity}.**`);
    const refersTo = /\[([a-z0-9-]+)\]\(#\1\)/.exec(section)?.[1];
    if (!section.includes('**Do.**')) expect(sections).toContain(refersTo);
  });
});

/** The one number that an alarm looks at, or those of its expression. */
function metricsOf(properties: Resource['Properties']): string[] {
  const of = (one: Resource['Properties']) => `${one.Namespace} ${one.MetricName}`;
  if (properties.Metrics === undefined) return [of(properties)];
  return properties.Metrics.flatMap((query: Resource['Properties']) =>
    query.MetricStat === undefined ? [] : [of(query.MetricStat.Metric)],
  );
}

const expression = (name: string): string =>
  alarm(name).Metrics.find((query: Resource['Properties']) => query.ReturnData !== false).Expression;

describe('when', () => {
  const GREATER = 'GreaterThanThreshold';
  const LESS = 'LessThanThreshold';

  test.each([
    ['no-healthy-node-ethereum', LESS, 1, 1, 'ignore', ['Nodeweir HealthyNodes', 'Nodeweir Nodes']],
    ['node-unhealthy-ethereum', GREATER, 600, 1, 'ignore', ['Nodeweir LongestUnhealthySeconds']],
    ['leader-silent-ethereum', LESS, 1, 5, 'ignore', ['Nodeweir LeaderAnswers']],
    ['probe-not-running', LESS, 1, 5, 'breaching', ['Nodeweir Succeeded']],
    ['publish-not-running', LESS, 1, 3, 'breaching', ['Nodeweir Succeeded']],
    ['rollout-not-running', LESS, 1, 3, 'breaching', ['Nodeweir Succeeded']],
    ['publish-refused', GREATER, 0, 1, 'notBreaching', ['Nodeweir Refused']],
    ['rollout-failed', GREATER, 0, 1, 'notBreaching', ['Nodeweir RolloutFailed']],
    ['roster-shrank', GREATER, 0, 1, 'notBreaching', ['Nodeweir RosterShrank']],
    ['pinned', GREATER, 0, 1, 'ignore', ['Nodeweir Pinned']],
    ['items-rejected', GREATER, 0, 5, 'ignore', ['Nodeweir RejectedItems']],
    ['prober-blind', GREATER, 0, 2, 'ignore', ['Nodeweir Blind']],
    [
      'proxy-5xx-critical',
      GREATER,
      5,
      5,
      'notBreaching',
      ['AWS/ApplicationELB HTTPCode_Target_5XX_Count', 'AWS/ApplicationELB RequestCount'],
    ],
    [
      'proxy-5xx-warning',
      GREATER,
      1,
      10,
      'notBreaching',
      ['AWS/ApplicationELB HTTPCode_Target_5XX_Count', 'AWS/ApplicationELB RequestCount'],
    ],
    ['proxy-slow-critical', GREATER, 1, 5, 'notBreaching', ['AWS/ApplicationELB TargetResponseTime']],
    ['proxy-slow-warning', GREATER, 0.5, 10, 'notBreaching', ['AWS/ApplicationELB TargetResponseTime']],
    [
      'tasks-below-desired',
      GREATER,
      0,
      5,
      'breaching',
      ['AWS/ApplicationELB HealthyHostCount', 'AWS/ApplicationELB UnHealthyHostCount'],
    ],
    ['revision-refused', GREATER, 0, 3, 'notBreaching', ['Nodeweir RevisionRefused']],
    ['revision-unread', GREATER, 0, 10, 'notBreaching', ['Nodeweir RevisionUnread']],
    ['process-restarts', GREATER, 0, 1, 'notBreaching', ['Nodeweir ProxyRestarts', 'Nodeweir GateRestarts']],
    ['dead-letters', GREATER, 0, 1, 'ignore', Array(3).fill('AWS/SQS ApproximateNumberOfMessagesVisible')],
  ] as const)('%s: %s %d, %d times; no number is %s', (name, comparison, threshold, periods, missing, metrics) => {
    expect(alarm(name)).toMatchObject({
      ComparisonOperator: comparison,
      Threshold: threshold,
      EvaluationPeriods: periods,
      TreatMissingData: missing,
    });
    expect(metricsOf(alarm(name))).toEqual(metrics);
  });

  test('expressions', () => {
    expect(expression('no-healthy-node-ethereum')).toBe('IF(nodes > 0, healthy, 1)');
    expect(expression('proxy-5xx-critical')).toBe('IF(requests > 0, 100 * FILL(failed, 0) / requests, 0)');
    expect(expression('tasks-below-desired')).toBe('MAX([2 - FILL(healthy, 0), FILL(unhealthy, 0)])');
    expect(expression('dead-letters')).toBe('FILL(probe, 0) + FILL(publish, 0) + FILL(rollout, 0)');
    expect(expression('process-restarts')).toBe('FILL(proxy, 0) + FILL(gate, 0)');
  });

  test.each([
    ['15s', 60, 5],
    ['60s', 60, 5],
    ['2m', 120, 3],
    ['5m', 300, 2],
    ['1h', 3600, 2],
  ])('with a probe every %s, that one is missed after %i s, %i times', (interval, period, periods) => {
    const made = template({ edits: [['proxy:\n', `health: {interval: ${interval}}\nproxy:\n`]] });
    const running = alarm('probe-not-running', made);
    expect(running).toMatchObject({ Period: period, EvaluationPeriods: periods });
    expect(running.Dimensions).toEqual([
      { Name: 'Flow', Value: 'probe' },
      { Name: 'Stage', Value: 'dev' },
    ]);
  });

  test('one task is enough, and all restarts count', () => {
    const of = { Dimensions: [{ Name: 'Stage', Value: 'dev' }] };
    for (const name of ['revision-refused', 'revision-unread']) {
      expect(alarm(name)).toMatchObject({ ...of, Statistic: 'Maximum', Period: 60 });
    }
    const stats = alarm('process-restarts').Metrics.flatMap(
      ({ MetricStat }: Resource['Properties']) => MetricStat ?? [],
    );
    expect(stats).toHaveLength(2);
    for (const stat of stats) expect(stat).toMatchObject({ Metric: of, Stat: 'Sum', Period: 300 });
  });

  test('the proxy is the target group behind the load balancer', () => {
    expect(alarm('proxy-slow-critical')).toMatchObject({
      ExtendedStatistic: 'p95',
      Period: 60,
      Dimensions: [
        { Name: 'LoadBalancer', Value: 'app/main/0123456789abcdef' },
        {
          Name: 'TargetGroup',
          Value: { 'Fn::Select': [5, { 'Fn::Split': [':', { Ref: expect.stringMatching('^ProxyTargets') }] }] },
        },
      ],
    });
  });
});

test('docs/deploy.md counts them, and what they look at', () => {
  const deploy = readFileSync(resolve(import.meta.dirname, '../../docs/deploy.md'), 'utf8');
  const row = /^\| CloudWatch alarms \| (\d+) alarms that look at (\d+) metrics, 2 of autoscaling .* ([\d.]+) \|$/m;
  const [, count, looked, price] = row.exec(deploy) ?? [];
  const metrics = alarms().flatMap(metricsOf).length;
  expect([count, looked].map(Number)).toEqual([alarms().length, metrics]);
  expect(price).toBe(((metrics + 2) * 0.1).toFixed(2));
});
