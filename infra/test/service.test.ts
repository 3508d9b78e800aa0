import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configText, resource, resources, template, templates } from './made.js';

const least = templates.least();
const full = templates.full();
const service = (of = least) => resource(of, 'AWS::ECS::Service').Properties;
const task = (of = least) => resource(of, 'AWS::ECS::TaskDefinition').Properties;

describe('a deployment', () => {
  test('keeps what serves until the new tasks do, and goes back if they never do', () => {
    expect(service().DeploymentConfiguration).toEqual({
      MinimumHealthyPercent: 100,
      MaximumPercent: 200,
      DeploymentCircuitBreaker: { Enable: true, Rollback: true },
    });
  });

  test.each([least, full])('never says how many tasks there are', (of) => {
    // With a count, each `cdk deploy` would undo what autoscaling or an operator has set, 0 included.
    expect(service(of)).not.toHaveProperty('DesiredCount');
  });

  test('waits for the rule and the permissions that tasks need at once', () => {
    const after: string[] = resource(least, 'AWS::ECS::Service').DependsOn ?? [];
    const names = after.map((name) => name.replace(/[0-9A-F]{8}$/, ''));
    expect(names).toEqual(
      expect.arrayContaining(['ProxyRule', 'ProxyTaskExecutionRoleDefaultPolicy', 'ProxyTaskTaskRoleDefaultPolicy']),
    );
  });
});

describe('where tasks run', () => {
  test('on Fargate, in private', () => {
    expect(service()).toMatchObject({
      Cluster: 'main',
      LaunchType: 'FARGATE',
      NetworkConfiguration: {
        AwsvpcConfiguration: {
          AssignPublicIp: 'DISABLED',
          Subnets: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
          SecurityGroups: ['sg-0123456789abcdef1'],
        },
      },
    });
    expect(task()).toMatchObject({
      RequiresCompatibilities: ['FARGATE'],
      Cpu: '1024',
      Memory: '2048',
      RuntimePlatform: { CpuArchitecture: 'ARM64', OperatingSystemFamily: 'LINUX' },
    });
  });

  test('on instances of the right architecture, apart from each other', () => {
    expect(service(full)).toMatchObject({
      LaunchType: 'EC2',
      PlacementConstraints: [{ Type: 'memberOf', Expression: 'attribute:ecs.cpu-architecture == x86_64' }],
      PlacementStrategies: [
        { Type: 'spread', Field: 'attribute:ecs.availability-zone' },
        { Type: 'spread', Field: 'instanceId' },
      ],
      NetworkConfiguration: {
        AwsvpcConfiguration: { SecurityGroups: ['sg-0123456789abcdef0', 'sg-0123456789abcdef1'] },
      },
    });
    expect(task(full)).toMatchObject({ RequiresCompatibilities: ['EC2'], NetworkMode: 'awsvpc', Memory: '3000' });
    expect(task(full).RuntimePlatform).toBeUndefined();
  });

  test('as many as it takes', () => {
    const scaling = (of: typeof least) => [
      resource(of, 'AWS::ApplicationAutoScaling::ScalableTarget').Properties,
      resource(of, 'AWS::ApplicationAutoScaling::ScalingPolicy').Properties.TargetTrackingScalingPolicyConfiguration,
    ];
    expect(scaling(least)).toMatchObject([{ MinCapacity: 2, MaxCapacity: 10 }, { TargetValue: 60 }]);
    expect(scaling(full)).toMatchObject([
      { MinCapacity: 3, MaxCapacity: 20 },
      {
        TargetValue: 70,
        PredefinedMetricSpecification: { PredefinedMetricType: 'ECSServiceAverageCPUUtilization' },
      },
    ]);
  });
});

describe('the container', () => {
  const container = (of = least) => {
    const { ContainerDefinitions } = task(of);
    expect(ContainerDefinitions).toHaveLength(1);
    return ContainerDefinitions[0];
  };

  test('is the image that was named, word by word', () => {
    expect(container().Image).toBe('123456789012.dkr.ecr.eu-central-1.amazonaws.com/jsonrpc-proxy:0.1.0');
    expect(container(full).Image).toBe('210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/jsonrpc-proxy:0.1.0');
    const image = 'jsonrpc-proxy@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef';
    const pinned = template({ edits: [['jsonrpc-proxy:0.1.0', image]] });
    expect(container(pinned).Image).toBe(`123456789012.dkr.ecr.eu-central-1.amazonaws.com/${image}`);
  });

  test('is told its configuration and where to look', () => {
    const environment = container().Environment;
    expect(environment).toEqual([
      { Name: 'NODEWEIR_STAGE', Value: 'dev' },
      { Name: 'NODEWEIR_CONFIG_TEXT', Value: expect.any(String) },
      { Name: 'NODEWEIR_BUCKET', Value: { Ref: expect.stringMatching('^StoreBucket') } },
      { Name: 'NODEWEIR_GATE_TABLE', Value: { Ref: expect.stringMatching('^StoreGate') } },
      { Name: 'NODEWEIR_USAGE_TABLE', Value: { Ref: expect.stringMatching('^StoreUsage') } },
      { Name: 'AWS_REGION', Value: 'eu-central-1' },
    ]);
    expect(JSON.parse(environment[1].Value)).toEqual(parse(configText('least')));
  });

  test('is told of no tables if it has no gate', () => {
    const ungated = template({ edits: [['networks:', 'gate: { enabled: false }\nnetworks:']] });
    const names = container(ungated).Environment.map(({ Name }: { Name: string }) => Name);
    expect(names).toEqual(['NODEWEIR_STAGE', 'NODEWEIR_CONFIG_TEXT', 'NODEWEIR_BUCKET', 'AWS_REGION']);
  });

  test('gets secrets as references', () => {
    expect(container(full).Secrets).toEqual([
      { Name: 'INFURA_KEY', ValueFrom: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:infura-AbCdEf' },
      { Name: 'OTHER_KEY', ValueFrom: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:rpc/other-GhIjKl' },
    ]);
  });

  test('writes only where it is let', () => {
    expect(container().ReadonlyRootFilesystem).toBe(true);
    expect(container().MountPoints).toEqual([
      { SourceVolume: 'state', ContainerPath: '/var/lib/nodeweir', ReadOnly: false },
      { SourceVolume: 'tmp', ContainerPath: '/tmp', ReadOnly: false },
    ]);
    expect(task().Volumes).toEqual([{ Name: 'state' }, { Name: 'tmp' }]);
  });

  test('has none of the powers of root', () => {
    expect(container().LinuxParameters.Capabilities).toEqual({ Drop: ['ALL'] });
    expect(container().Privileged).toBeUndefined();
  });

  test('logs without being held up', () => {
    expect(container().LogConfiguration).toMatchObject({ LogDriver: 'awslogs', Options: { mode: 'non-blocking' } });
    expect(resource(full, 'AWS::Logs::LogGroup', 'Proxy').Properties).toMatchObject({
      LogGroupName: '/nodeweir/dev/proxy',
      RetentionInDays: 90,
    });
  });

  test('has time to stop', () => {
    expect(container().StopTimeout).toBe(60 + 15);
    expect(container(full).StopTimeout).toBe(10 + 90 + 15);
  });
});

describe('the way to it', () => {
  const targets = (of = least) => resource(of, 'AWS::ElasticLoadBalancingV2::TargetGroup').Properties;

  test('is the listener’s rule for the host', () => {
    const rule = (of: typeof least) => resource(of, 'AWS::ElasticLoadBalancingV2::ListenerRule').Properties;
    expect(rule(least)).toMatchObject({
      ListenerArn:
        'arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/main/0123456789abcdef/fedcba9876543210',
      Priority: 100,
      Conditions: [{ Field: 'host-header', HostHeaderConfig: { Values: ['rpc.example.com'] } }],
      Actions: [{ Type: 'forward', TargetGroupArn: { Ref: expect.stringMatching('^ProxyTargets') } }],
    });
    expect(rule(full).Priority).toBe(7);
  });

  test('leads to the proxy’s port, where it is ready', () => {
    expect(targets()).toMatchObject({
      Port: 8080,
      Protocol: 'HTTP',
      TargetType: 'ip',
      VpcId: 'vpc-0123456789abcdef0',
      HealthCheckPath: '/readyz',
    });
    expect(targets(full).Port).toBe(8545);
    expect(task(full).ContainerDefinitions[0].PortMappings).toEqual([{ ContainerPort: 8545, Protocol: 'tcp' }]);
    expect(service(full).LoadBalancers).toMatchObject([{ ContainerName: 'proxy', ContainerPort: 8545 }]);
  });

  test('stays open for the longest request', () => {
    const delay = (of: typeof least) =>
      targets(of).TargetGroupAttributes.find(
        (one: { Key: string }) => one.Key === 'deregistration_delay.timeout_seconds',
      ).Value;
    expect(delay(least)).toBe('30');
    expect(delay(full)).toBe('45');
  });
});

test('what exists already is neither made nor changed', () => {
  for (const type of [
    'AWS::EC2',
    'AWS::ECS::Cluster',
    'AWS::ElasticLoadBalancingV2::L',
    'AWS::SecretsManager',
    'AWS::ECR',
  ]) {
    const made = Object.values(full.toJSON().Resources)
      .map((one) => (one as { Type: string }).Type)
      .filter((one) => one.startsWith(type) && one !== 'AWS::ElasticLoadBalancingV2::ListenerRule');
    expect(made).toEqual([]);
  }
  expect(resources(full, 'AWS::SNS::Topic')).toEqual([]);
});
