import { describe, expect, test } from 'vitest';
import { type Resource, resource, resources, template, templates } from './made.js';

const least = templates.least();
const full = templates.full();
const lambda = (of: typeof least, flow: string) => resource(of, 'AWS::Lambda::Function', `Functions${flow}Function`);
const FLOWS = ['Probe', 'Publish', 'Rollout'];

const queueOf = (flow: string) => ({
  'Fn::GetAtt': [expect.stringMatching(`^Functions${flow}DeadLetters`), 'Arn'],
});
const functionArn = (flow: string) => ({ 'Fn::GetAtt': [expect.stringMatching(`^Functions${flow}Function`), 'Arn'] });

describe('every function', () => {
  test.each(FLOWS)('%s runs the binary with the defaults', (flow) => {
    expect(lambda(least, flow).Properties).toMatchObject({
      FunctionName: `nodeweir-dev-${flow.toLowerCase()}`,
      Runtime: 'provided.al2023',
      Handler: 'bootstrap',
      Architectures: ['arm64'],
      MemorySize: 512,
      Environment: { Variables: { NODEWEIR_STAGE: 'dev', RUST_LOG: 'info' } },
    });
    expect(lambda(least, flow).Properties.ReservedConcurrentExecutions).toBeUndefined();
  });

  test.each(FLOWS)('%s runs as it was told', (flow) => {
    expect(lambda(full, flow).Properties).toMatchObject({
      Architectures: ['x86_64'],
      MemorySize: 1024,
      ReservedConcurrentExecutions: 3,
    });
  });

  test.each(FLOWS)('%s logs into a group that ends', (flow) => {
    const name = lambda(least, flow).Properties.LoggingConfig.LogGroup.Ref;
    const group = (of: typeof least) => resource(of, 'AWS::Logs::LogGroup', `Functions${flow}Logs`);
    expect(name).toMatch(`Functions${flow}Logs`);
    expect(group(least).Properties).toMatchObject({
      LogGroupName: `/nodeweir/dev/${flow.toLowerCase()}`,
      RetentionInDays: 30,
    });
    expect(group(full).Properties.RetentionInDays).toBe(90);
  });

  test.each([
    ['Probe', 0, 60],
    ['Publish', 2, 300],
    ['Rollout', 2, 300],
  ])('%s repeats what failed %i times, for %i s, then keeps the event', (flow, attempts, age) => {
    expect(resource(least, 'AWS::Lambda::EventInvokeConfig', `Functions${flow}`).Properties).toMatchObject({
      MaximumRetryAttempts: attempts,
      MaximumEventAgeInSeconds: age,
      DestinationConfig: { OnFailure: { Destination: queueOf(flow) } },
    });
    expect(resource(least, 'AWS::SQS::Queue', `Functions${flow}DeadLetters`).Properties).toMatchObject({
      MessageRetentionPeriod: 14 * 24 * 3600,
      SqsManagedSseEnabled: true,
    });
  });
});

describe('environment', () => {
  const names = (flow: string) => Object.keys(lambda(least, flow).Properties.Environment.Variables).sort();
  const TABLES = ['GATE', 'HEALTH', 'HISTORY', 'NODES', 'USAGE'].map((table) => `NODEWEIR_${table}_TABLE`);
  const ALL = [...TABLES, 'NODEWEIR_STAGE', 'RUST_LOG'].sort();

  test('says where things are, and nothing else', () => {
    expect(names('Probe')).toEqual(ALL);
    expect(names('Publish')).toEqual([...ALL, 'NODEWEIR_BUCKET', 'NODEWEIR_PROBE_FUNCTION'].sort());
    expect(names('Rollout')).toEqual([...ALL, 'NODEWEIR_BUCKET', 'NODEWEIR_CLUSTER', 'NODEWEIR_SERVICE'].sort());
  });

  test('names what there is', () => {
    expect(lambda(least, 'Publish').Properties.Environment.Variables).toMatchObject({
      NODEWEIR_NODES_TABLE: { Ref: expect.stringMatching('^StoreNodes') },
      NODEWEIR_HEALTH_TABLE: { Ref: expect.stringMatching('^StoreHealth') },
      NODEWEIR_HISTORY_TABLE: { Ref: expect.stringMatching('^StoreHistory') },
      NODEWEIR_GATE_TABLE: { Ref: expect.stringMatching('^StoreGate') },
      NODEWEIR_USAGE_TABLE: { Ref: expect.stringMatching('^StoreUsage') },
      NODEWEIR_BUCKET: { Ref: expect.stringMatching('^StoreBucket') },
      NODEWEIR_PROBE_FUNCTION: { Ref: expect.stringMatching('^FunctionsProbeFunction') },
    });
    expect(lambda(least, 'Rollout').Properties.Environment.Variables).toMatchObject({
      NODEWEIR_CLUSTER: 'main',
      NODEWEIR_SERVICE: { 'Fn::GetAtt': [expect.stringMatching('^ProxyService'), 'Name'] },
    });
  });
});

test('only probe is in the VPC', () => {
  expect(lambda(least, 'Probe').Properties.VpcConfig).toEqual({
    SubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
    SecurityGroupIds: ['sg-0123456789abcdef0'],
  });
  expect(lambda(least, 'Publish').Properties.VpcConfig).toBeUndefined();
  expect(lambda(least, 'Rollout').Properties.VpcConfig).toBeUndefined();
});

describe('schedules', () => {
  test.each([
    ['Probe', 'rate(1 minute)'],
    ['Publish', 'rate(5 minutes)'],
    ['Rollout', 'rate(5 minutes)'],
  ])('%s: %s', (flow, rate) => {
    expect(resource(least, 'AWS::Scheduler::Schedule', `Functions${flow}`).Properties).toMatchObject({
      ScheduleExpression: rate,
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: functionArn(flow),
        Input: '{}',
        RetryPolicy: { MaximumRetryAttempts: 2, MaximumEventAgeInSeconds: 60 },
        DeadLetterConfig: { Arn: queueOf(flow) },
      },
    });
  });

  // One tick takes two rounds, the pause between them, and 15 s for the store.
  test.each([
    ['60s', 'rate(1 minute)', 29],
    ['15s', 'rate(1 minute)', 60 + 29],
    ['500ms', 'rate(1 minute)', 60 + 29],
    ['5m', 'rate(5 minutes)', 29],
    ['1h', 'rate(60 minutes)', 29],
  ])('an interval of %s is %s with %i s for a run', (interval, rate, timeout) => {
    const made = template({ edits: [['proxy:\n', `health:\n  interval: ${interval}\nproxy:\n`]] });
    expect(resource(made, 'AWS::Scheduler::Schedule', 'FunctionsProbe').Properties.ScheduleExpression).toBe(rate);
    expect(lambda(made, 'Probe').Properties.Timeout).toBe(timeout);
    expect(lambda(made, 'Publish').Properties.Timeout).toBe(29 + 30);
  });

  test('the slowest probe that can be configured fits into a function', () => {
    const slow = 'health: {interval: 30s, timeout: 30s, confirm_after: 5m}';
    const made = template({ edits: [['proxy:\n', `${slow}\nproxy:\n`]] });
    expect(lambda(made, 'Probe').Properties.Timeout).toBe(435);
    expect(lambda(made, 'Publish').Properties.Timeout).toBeLessThanOrEqual(900);
  });
});

describe('streams', () => {
  const mapping = (table: string) =>
    resource(least, 'AWS::Lambda::EventSourceMapping', `FunctionsPublish${table}Stream`).Properties;

  test.each(['Nodes', 'Health', 'History'])('%s runs publish, with bounds on what a bad record costs', (table) => {
    expect(mapping(table)).toMatchObject({
      FunctionName: { Ref: expect.stringMatching('^FunctionsPublishFunction') },
      EventSourceArn: { 'Fn::GetAtt': [expect.stringMatching(`^Store${table}`), 'StreamArn'] },
      StartingPosition: 'TRIM_HORIZON',
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 1,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      BisectBatchOnFunctionError: true,
      MaximumRetryAttempts: 3,
      MaximumRecordAgeInSeconds: 300,
      DestinationConfig: { OnFailure: { Destination: queueOf('Publish') } },
    });
  });

  test('a tick that changes nothing, or what happened in history, runs nobody', () => {
    const patterns = (table: string) =>
      mapping(table).FilterCriteria?.Filters.map(({ Pattern }: { Pattern: string }) => JSON.parse(Pattern));
    expect(patterns('Nodes')).toBeUndefined();
    expect(patterns('Health')).toEqual([{ dynamodb: { Keys: { item: { S: [{ prefix: 'status#' }] } } } }]);
    expect(patterns('History')).toEqual([{ dynamodb: { Keys: { kind: { S: ['pin'] } } } }]);
  });
});

describe('events', () => {
  const rules = resources(least, 'AWS::Events::Rule') as [string, Resource][];

  test('a published object and deployments of this service run rollout', () => {
    expect(rules.map(([, { Properties }]) => Properties.EventPattern)).toEqual([
      {
        source: ['aws.s3'],
        'detail-type': ['Object Created'],
        detail: {
          bucket: { name: [{ Ref: expect.stringMatching('^StoreBucket') }] },
          object: { key: ['revision.conf'] },
        },
      },
      {
        source: ['aws.ecs'],
        'detail-type': ['ECS Deployment State Change'],
        resources: [{ Ref: expect.stringMatching('^ProxyService') }],
      },
    ]);
  });

  test.each(rules)('%s is repeated within bounds, then kept', (name, { Properties }) => {
    expect(Properties.Targets).toEqual([
      {
        Id: 'Target0',
        Arn: functionArn('Rollout'),
        RetryPolicy: { MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 300 },
        DeadLetterConfig: { Arn: queueOf('Rollout') },
      },
    ]);
    const allowed = resources(least, 'AWS::Lambda::Permission').filter(
      ([, permission]) => permission.Properties.SourceArn['Fn::GetAtt'][0] === name,
    );
    expect(allowed).toHaveLength(1);
  });
});
