/** The data plane: tasks of the proxy's image in the cluster, behind the load balancer, as many as it takes. */
import { Annotations, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import {
  AwsLogDriverMode,
  Capability,
  Cluster,
  Compatibility,
  ContainerImage,
  CpuArchitecture,
  Ec2Service,
  FargateService,
  LinuxParameters,
  LogDrivers,
  NetworkMode,
  OperatingSystemFamily,
  PlacementConstraint,
  PlacementStrategy,
  PropagatedTagSource,
  Secret,
  TaskDefinition,
  UlimitName,
} from 'aws-cdk-lib/aws-ecs';
import {
  ApplicationProtocol,
  ApplicationTargetGroup,
  CfnListenerRule,
  TargetGroupLoadBalancingAlgorithmType,
  TargetType,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Secret as ManagedSecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import type { Config } from './config.js';
import { gateStatements } from './gate.js';
import { logGroupName, PUBLISHED_KEY } from './names.js';
import type { Network } from './network.js';
import { overlook } from './rules.js';
import type { Store } from './store.js';

interface Props {
  config: Config;
  network: Network;
  /** Where the published configuration is, and what the gate works on. */
  store: Store;
}

/** Where the proxy may write; all else of its image is read-only. The image says in VOLUMEs who owns them. */
const WRITABLE = { state: '/var/lib/nodeweir', tmp: '/tmp' };

export class Service extends Construct {
  readonly service: FargateService | Ec2Service;
  readonly targets: ApplicationTargetGroup;
  readonly logs: LogGroup;

  constructor(scope: Construct, id: string, props: Props) {
    super(scope, id);
    const { config, network } = props;
    const { aws, stage } = config;

    this.logs = new LogGroup(this, 'Logs', {
      logGroupName: logGroupName(stage, 'proxy'),
      retention: aws.logs.retention_days,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.targets = new ApplicationTargetGroup(this, 'Targets', {
      vpc: network.vpc,
      targetType: TargetType.IP,
      protocol: ApplicationProtocol.HTTP,
      port: config.port,
      // Calls differ a thousandfold in what they take: who has few open has room.
      loadBalancingAlgorithmType: TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
      // As long as the longest request.
      deregistrationDelay: Duration.seconds(Math.ceil(config.proxy.total)),
      healthCheck: {
        path: '/readyz',
        interval: Duration.seconds(10),
        timeout: Duration.seconds(5),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 2,
      },
    });
    const rule = new CfnListenerRule(this, 'Rule', {
      listenerArn: aws.load_balancer.listener,
      priority: aws.load_balancer.priority,
      conditions: [{ field: 'host-header', hostHeaderConfig: { values: [aws.load_balancer.host] } }],
      actions: [{ type: 'forward', targetGroupArn: this.targets.targetGroupArn }],
    });

    const task = this.task(props);
    // Neither states how many tasks: the count is autoscaling's, or an operator's, and a deployment leaves it.
    const common = {
      cluster: Cluster.fromClusterAttributes(this, 'Cluster', { clusterName: aws.cluster, vpc: network.vpc }),
      taskDefinition: task,
      vpcSubnets: { subnets: network.subnets },
      securityGroups: network.proxyGroups,
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { enable: true, rollback: true },
      healthCheckGracePeriod: Duration.minutes(1),
      propagateTags: PropagatedTagSource.SERVICE,
      enableECSManagedTags: true,
    };
    this.service =
      aws.service.launch === 'fargate'
        ? new FargateService(this, 'Service', { ...common, assignPublicIp: false })
        : new Ec2Service(this, 'Service', {
            ...common,
            placementConstraints: [
              PlacementConstraint.memberOf(`attribute:ecs.cpu-architecture == ${aws.service.architecture}`),
            ],
            placementStrategies: [
              PlacementStrategy.spreadAcross('attribute:ecs.availability-zone'),
              PlacementStrategy.spreadAcrossInstances(),
            ],
          });
    this.targets.addTarget(this.service);
    // A service cannot be made for a target group without a load balancer, nor start a task without permissions.
    this.service.node.addDependency(rule, task.obtainExecutionRole());

    this.service
      .autoScaleTaskCount({ minCapacity: aws.service.min_tasks, maxCapacity: aws.service.max_tasks })
      .scaleOnCpuUtilization('Cpu', {
        targetUtilizationPercent: aws.service.target_cpu_percent,
        scaleOutCooldown: Duration.minutes(1),
        // Each task that leaves ends WebSockets.
        scaleInCooldown: Duration.minutes(5),
      });
  }

  private task({ config, store }: Props): TaskDefinition {
    const { aws, stage } = config;
    const { service } = aws;
    const { bucket, gate, usage } = store;
    const architecture = service.architecture === 'arm64' ? CpuArchitecture.ARM64 : CpuArchitecture.X86_64;
    const task = new TaskDefinition(this, 'Task', {
      cpu: String(service.cpu),
      memoryMiB: String(service.memory_mb),
      networkMode: NetworkMode.AWS_VPC,
      volumes: Object.keys(WRITABLE).map((name) => ({ name })),
      ...(service.launch === 'fargate'
        ? {
            compatibility: Compatibility.FARGATE,
            runtimePlatform: {
              cpuArchitecture: architecture,
              operatingSystemFamily: OperatingSystemFamily.LINUX,
            },
          }
        : { compatibility: Compatibility.EC2 }),
    });
    const secrets = Object.entries(aws.secrets).map(([name, arn]) => {
      const secret = ManagedSecret.fromSecretCompleteArn(this, `Secret-${name}`, arn);
      return [name, Secret.fromSecretsManager(secret)] as const;
    });
    const linux = new LinuxParameters(this, 'Linux');
    // It runs as nobody special and needs none; without them, a program of the image that is root's gains nothing either.
    linux.dropCapabilities(Capability.ALL);
    const container = task.addContainer('proxy', {
      image: ContainerImage.fromRegistry(aws.image),
      portMappings: [{ containerPort: config.port }],
      environment: {
        NODEWEIR_STAGE: stage,
        // Here and not in the bucket, so that a task can serve by the leaders while S3 is away.
        NODEWEIR_CONFIG_TEXT: config.compact,
        NODEWEIR_BUCKET: bucket.bucketName,
        ...(config.gate ? { NODEWEIR_GATE_TABLE: gate.tableName, NODEWEIR_USAGE_TABLE: usage.tableName } : {}),
        // Which Fargate would tell, and instances would not.
        AWS_REGION: aws.region,
      },
      secrets: Object.fromEntries(secrets),
      readonlyRootFilesystem: true,
      linuxParameters: linux,
      stopTimeout: Duration.seconds(Math.ceil(config.proxy.stop)),
      // Each request takes two; some instances' default is 1024.
      ulimits: [{ name: UlimitName.NOFILE, softLimit: 65_536, hardLimit: 65_536 }],
      logging: LogDrivers.awsLogs({
        streamPrefix: 'proxy',
        logGroup: this.logs,
        // Requests matter more than their log: it drops lines when CloudWatch is slow, and holds nothing up.
        mode: AwsLogDriverMode.NON_BLOCKING,
      }),
    });
    for (const [sourceVolume, containerPath] of Object.entries(WRITABLE)) {
      container.addMountPoints({ sourceVolume, containerPath, readOnly: false });
    }
    overlook(task, 'AwsSolutions-ECS2', 'These say where things are; secrets are references.');

    // Who may not list a bucket is told 403 for an object that is not there yet, as if it were denied.
    for (const [action, resource] of [
      ['s3:GetObject', bucket.arnForObjects(PUBLISHED_KEY)],
      ['s3:ListBucket', bucket.bucketArn],
    ] as const) {
      task.addToTaskRolePolicy(new PolicyStatement({ actions: [action], resources: [resource] }));
    }
    if (config.gate) {
      for (const statement of gateStatements(gate, usage)) task.addToTaskRolePolicy(statement);
    }
    this.allowPull(task, aws.image);
    Annotations.of(container).acknowledgeWarning(
      '@aws-cdk/aws-ecs:ecrImageRequiresPolicy',
      'allowPull has seen to it.',
    );
    return task;
  }

  /** Lets ECS pull the image, if it is in a registry of AWS that asks who pulls. */
  private allowPull(task: TaskDefinition, image: string): void {
    const [, account, region, name] = ECR_IMAGE.exec(image) ?? [];
    if (account === undefined || region === undefined || name === undefined) return;
    const repositoryArn = Stack.of(this).formatArn({
      service: 'ecr',
      account,
      region,
      resource: 'repository',
      resourceName: name,
    });
    const repository = Repository.fromRepositoryAttributes(this, 'Repository', { repositoryArn, repositoryName: name });
    const role = task.obtainExecutionRole();
    repository.grantPull(role);
    overlook(
      role.node.findChild('DefaultPolicy'),
      'AwsSolutions-IAM5[Resource::*]',
      'This is ecr:GetAuthorizationToken, which is for all repositories or none.',
    );
  }
}

/** `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME` with a tag or digest. */
const ECR_IMAGE = /^([0-9]{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\/([a-z0-9._/-]+)[:@]/;
