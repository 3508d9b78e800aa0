/** The three functions: what each may do, and what calls it. */
import { Duration } from 'aws-cdk-lib';
import type { Table } from 'aws-cdk-lib/aws-dynamodb';
import { type EventPattern, Rule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { AnyPrincipal, Effect, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { EventSourceMapping, FilterCriteria, FilterRule, StartingPosition } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import type { Config } from './config.js';
import { FlowFunction } from './flow.js';
import { type Flow, PUBLISHED_KEY, stackName } from './names.js';
import type { Network } from './network.js';
import type { Store } from './store.js';

interface Props {
  config: Config;
  /** Folder of the binaries. */
  binaries: string;
  network: Network;
  store: Store;
  /** The ECS service that is to run what is published. */
  service: { arn: string; name: string; cluster: string };
}

/** How often `publish` and `rollout` look by themselves: an event that is lost delays a change by this much. */
const EVERY_MINUTES = 5;

export class Functions extends Construct {
  readonly byFlow: Record<Flow, FlowFunction>;

  constructor(scope: Construct, id: string, props: Props) {
    super(scope, id);
    const { config, binaries, network, store, service } = props;
    const { nodes, health, history, gate, usage, bucket } = store;
    const tables = {
      NODEWEIR_NODES_TABLE: nodes.tableName,
      NODEWEIR_HEALTH_TABLE: health.tableName,
      NODEWEIR_HISTORY_TABLE: history.tableName,
      NODEWEIR_GATE_TABLE: gate.tableName,
      NODEWEIR_USAGE_TABLE: usage.tableName,
    };
    const object = bucket.arnForObjects(PUBLISHED_KEY);
    // Who may not list a bucket is told 403 for an object that is not there yet, as if it were denied.
    const list = { actions: ['s3:ListBucket'], resources: [bucket.bucketArn] };

    const { interval, timeout, confirmAfter } = config.health;
    // One round, the pause before the second, the second; the rest is for the store.
    const tick = 2 * timeout + confirmAfter + 15;
    const secrets = Object.values(config.aws.secrets);
    const probe = new FlowFunction(this, 'Probe', {
      flow: 'probe',
      description: 'Asks all nodes how they are, and judges their health.',
      config,
      binaries,
      network: { vpc: network.vpc, subnets: network.subnets, groups: network.probeGroups },
      environment: tables,
      allow: [
        { actions: dynamodb('Scan', 'PutItem'), resources: [nodes.tableArn] },
        { actions: dynamodb('Scan', 'GetItem', 'PutItem', 'DeleteItem'), resources: [health.tableArn] },
        { actions: dynamodb('BatchWriteItem'), resources: [history.tableArn] },
        ...(secrets.length === 0 ? [] : [{ actions: ['secretsmanager:GetSecretValue'], resources: secrets }]),
      ],
      // Of less than a minute, one run has them all: the last tick begins before the minute ends.
      timeout: Duration.seconds(Math.ceil(interval < 60 ? 60 + tick : tick)),
      everyMinutes: Math.max(1, interval / 60),
      // What a lost tick would have seen, the next one sees better.
      retries: { attempts: 0, maxAge: Duration.minutes(1) },
    });

    const publish = new FlowFunction(this, 'Publish', {
      flow: 'publish',
      description: 'Decides who shall receive traffic, and publishes the configuration for it.',
      config,
      binaries,
      environment: {
        ...tables,
        NODEWEIR_BUCKET: bucket.bucketName,
        NODEWEIR_PROBE_FUNCTION: probe.function.functionName,
      },
      allow: [
        { actions: dynamodb('Scan'), resources: [nodes.tableArn, health.tableArn] },
        {
          actions: dynamodb('GetItem', 'Query', 'PutItem', 'DeleteItem', 'BatchWriteItem'),
          resources: [history.tableArn],
        },
        {
          actions: dynamodb('DescribeStream', 'GetRecords', 'GetShardIterator', 'ListStreams'),
          resources: [nodes, health, history].map(streamOf),
        },
        { actions: ['s3:GetObject', 's3:PutObject'], resources: [object] },
        list,
        { actions: ['lambda:InvokeFunction'], resources: [probe.function.functionArn] },
      ],
      // It may wait for a probe of what was edited.
      timeout: Duration.seconds(Math.ceil(tick + 30)),
      everyMinutes: EVERY_MINUTES,
      retries: { attempts: 2, maxAge: Duration.minutes(EVERY_MINUTES) },
    });

    // What is in the object, tasks run, Lua included: whoever else in the account may write to all buckets may not to this.
    bucket.addToResourcePolicy(
      new PolicyStatement({
        sid: 'OnlyPublishWrites',
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        actions: ['s3:PutObject'],
        resources: [object],
        conditions: { ArnNotEquals: { 'aws:PrincipalArn': publish.role.roleArn } },
      }),
    );

    const rollout = new FlowFunction(this, 'Rollout', {
      flow: 'rollout',
      description: 'Has the proxy run what is published.',
      config,
      binaries,
      environment: {
        ...tables,
        NODEWEIR_BUCKET: bucket.bucketName,
        NODEWEIR_SERVICE: service.name,
        NODEWEIR_CLUSTER: service.cluster,
      },
      allow: [
        { actions: dynamodb('GetItem', 'PutItem', 'BatchWriteItem'), resources: [history.tableArn] },
        { actions: ['s3:GetObject'], resources: [object] },
        list,
        { actions: ['ecs:DescribeServices', 'ecs:UpdateService'], resources: [service.arn] },
      ],
      timeout: Duration.minutes(1),
      everyMinutes: EVERY_MINUTES,
      retries: { attempts: 2, maxAge: Duration.minutes(EVERY_MINUTES) },
    });
    this.byFlow = { probe, publish, rollout };

    follow(publish, 'Nodes', nodes);
    follow(publish, 'Health', health, { item: FilterRule.beginsWith('status#') });
    follow(publish, 'History', history, { kind: FilterRule.isEqual('pin') });
    const stack = stackName(config.stage);
    on(rollout, 'Published', `${stack}: a configuration was published.`, {
      source: ['aws.s3'],
      detailType: ['Object Created'],
      detail: { bucket: { name: [bucket.bucketName] }, object: { key: [PUBLISHED_KEY] } },
    });
    on(rollout, 'Deployed', `${stack}: a deployment of the proxy began, ended or failed.`, {
      source: ['aws.ecs'],
      detailType: ['ECS Deployment State Change'],
      resources: [service.arn],
    });
  }
}

const dynamodb = (...actions: string[]): string[] => actions.map((action) => `dynamodb:${action}`);

function streamOf(table: Table): string {
  if (table.tableStreamArn === undefined) throw new Error('this table has no stream');
  return table.tableStreamArn;
}

/** Runs a function for changes of a table; of those with `keys` only, if stated. */
function follow(flow: FlowFunction, id: string, table: Table, keys?: Record<string, string[] | object[]>): void {
  const mapping = new EventSourceMapping(flow, `${id}Stream`, {
    target: flow.function,
    eventSourceArn: streamOf(table),
    // A mapping that is made anew looks back: looking once more changes nothing, missing something would.
    startingPosition: StartingPosition.TRIM_HORIZON,
    // One edit of many nodes is one run. The window is what an edit waits for at most.
    batchSize: 100,
    maxBatchingWindow: Duration.seconds(1),
    reportBatchItemFailures: true,
    bisectBatchOnError: true,
    // Then the schedule does it: a bad record holds up the others no longer than that.
    retryAttempts: 3,
    maxRecordAge: Duration.minutes(EVERY_MINUTES),
    onFailure: flow.destination,
    ...(keys === undefined
      ? {}
      : {
          filters: [
            FilterCriteria.filter({
              dynamodb: { Keys: Object.fromEntries(Object.entries(keys).map(([key, S]) => [key, { S }])) },
            }),
          ],
        }),
  });
  // Lambda looks at the stream at once, with the function's role.
  mapping.node.addDependency(flow.role);
}

/** Runs a function on an event. */
function on(flow: FlowFunction, id: string, description: string, eventPattern: EventPattern): void {
  new Rule(flow, id, {
    description,
    eventPattern,
    targets: [
      new LambdaFunction(flow.function, {
        deadLetterQueue: flow.deadLetters,
        retryAttempts: 3,
        maxEventAge: Duration.minutes(EVERY_MINUTES),
      }),
    ],
  });
}
