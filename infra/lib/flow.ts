/** One function with everything that is always around it: a role of its own, logs, bounded retries, dead letters, a schedule. */
import { Arn, ArnFormat, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import type { ISecurityGroup, ISubnet, IVpc } from 'aws-cdk-lib/aws-ec2';
import { Effect, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, EventInvokeConfig, Function as LambdaFunction, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { CfnSchedule } from 'aws-cdk-lib/aws-scheduler';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { codeOf } from './code.js';
import type { Config } from './config.js';
import { type Flow, logGroupName, stackName } from './names.js';
import { overlook } from './rules.js';

export interface FlowProps {
  flow: Flow;
  description: string;
  config: Config;
  /** Folder of the binaries. */
  binaries: string;
  /** Environment beyond what all functions have. */
  environment: Record<string, string>;
  /** What it may do: exactly these actions on these resources. */
  allow: { actions: string[]; resources: string[] }[];
  timeout: Duration;
  /** How often it runs by itself, in whole minutes. */
  everyMinutes: number;
  /** For events that nobody waits for: how often a failed run is repeated, and for how long one may wait. */
  retries: { attempts: 0 | 1 | 2; maxAge: Duration };
  network?: { vpc: IVpc; subnets: ISubnet[]; groups: ISecurityGroup[] };
}

/** What Lambda needs for a function in a VPC; AWS knows no narrower resource for most of these. */
const NETWORK_ACTIONS = [
  'ec2:AssignPrivateIpAddresses',
  'ec2:CreateNetworkInterface',
  'ec2:DeleteNetworkInterface',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeSubnets',
  'ec2:UnassignPrivateIpAddresses',
];

export class FlowFunction extends Construct {
  readonly function: LambdaFunction;
  readonly role: Role;
  readonly logs: LogGroup;
  /** Where events end that could not be handled, whoever carried them. */
  readonly deadLetters: Queue;

  constructor(scope: Construct, id: string, props: FlowProps) {
    super(scope, id);
    const { flow, config, network } = props;
    const { aws, stage } = config;
    const name = `${stackName(stage)}-${flow}`;

    this.logs = new LogGroup(this, 'Logs', {
      logGroupName: logGroupName(stage, flow),
      retention: aws.logs.retention_days,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.deadLetters = new Queue(this, 'DeadLetters', {
      queueName: `${name}-dead-letters`,
      retentionPeriod: Duration.days(14),
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
    });
    overlook(
      this.deadLetters,
      'AwsSolutions-SQS3',
      'It is a queue of dead letters itself: Lambda, EventBridge and Scheduler put them here.',
    );

    this.role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    const { queueArn } = this.deadLetters;
    for (const statement of [
      { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [this.logs.logGroupArn] },
      { actions: ['sqs:SendMessage'], resources: [queueArn] },
      ...props.allow,
    ]) {
      this.role.addToPolicy(new PolicyStatement(statement));
    }
    if (network !== undefined) this.allowNetwork(name);

    this.function = new LambdaFunction(this, 'Function', {
      functionName: name,
      description: props.description,
      runtime: Runtime.PROVIDED_AL2023,
      handler: 'bootstrap',
      architecture: aws.functions.architecture === 'arm64' ? Architecture.ARM_64 : Architecture.X86_64,
      code: codeOf(flow, props.binaries, config),
      memorySize: aws.functions.memory_mb,
      timeout: props.timeout,
      role: this.role,
      logGroup: this.logs,
      environment: { NODEWEIR_STAGE: stage, RUST_LOG: 'info', ...props.environment },
      ...(aws.functions.reserved_concurrency === null
        ? {}
        : { reservedConcurrentExecutions: aws.functions.reserved_concurrency }),
      ...(network === undefined
        ? {}
        : { vpc: network.vpc, vpcSubnets: { subnets: network.subnets }, securityGroups: network.groups }),
    });
    new EventInvokeConfig(this, 'Retries', {
      function: this.function,
      retryAttempts: props.retries.attempts,
      maxEventAge: props.retries.maxAge,
      onFailure: this.destination,
    });
    this.schedule(name, props.everyMinutes);
  }

  /** The queue of dead letters as a destination. The constructs' own would allow more than is needed. */
  get destination(): { bind(): { destination: string } } {
    return { bind: () => ({ destination: this.deadLetters.queueArn }) };
  }

  /** Lets Lambda connect it to the VPC, and keeps the function's own code from doing the same. */
  private allowNetwork(functionName: string): void {
    const self = Arn.format(
      { service: 'lambda', resource: 'function', resourceName: functionName, arnFormat: ArnFormat.COLON_RESOURCE_NAME },
      Stack.of(this),
    );
    this.role.addToPolicy(new PolicyStatement({ actions: NETWORK_ACTIONS, resources: ['*'] }));
    this.role.addToPolicy(
      new PolicyStatement({
        effect: Effect.DENY,
        actions: NETWORK_ACTIONS,
        resources: ['*'],
        conditions: { ArnEquals: { 'lambda:SourceFunctionArn': self } },
      }),
    );
    overlook(
      this.role.node.findChild('DefaultPolicy'),
      'AwsSolutions-IAM5[Resource::*]',
      'Lambda makes network interfaces, whose names nobody knows before; the function itself is denied it.',
    );
  }

  private schedule(name: string, minutes: number): void {
    const stack = Stack.of(this);
    const role = new Role(this, 'ScheduleRole', {
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: {
          StringEquals: {
            'aws:SourceAccount': stack.account,
            'aws:SourceArn': stack.formatArn({
              service: 'scheduler',
              resource: 'schedule-group',
              resourceName: 'default',
            }),
          },
        },
      }),
    });
    role.addToPolicy(
      new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [this.function.functionArn] }),
    );
    role.addToPolicy(new PolicyStatement({ actions: ['sqs:SendMessage'], resources: [this.deadLetters.queueArn] }));
    const schedule = new CfnSchedule(this, 'Schedule', {
      name,
      description: `Runs ${name}, whatever has happened or not.`,
      scheduleExpression: minutes === 1 ? 'rate(1 minute)' : `rate(${minutes} minutes)`,
      flexibleTimeWindow: { mode: 'OFF' },
      target: {
        arn: this.function.functionArn,
        roleArn: role.roleArn,
        input: '{}',
        // The next one comes soon enough.
        retryPolicy: { maximumRetryAttempts: 2, maximumEventAgeInSeconds: 60 },
        deadLetterConfig: { arn: this.deadLetters.queueArn },
      },
    });
    // Without its policy the role could not run what the schedule asks for at once.
    schedule.node.addDependency(role);
  }
}
