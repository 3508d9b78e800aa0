/** Nodeweir on AWS: one stack for each stage. */
import { type App, CfnOutput, DefaultStackSynthesizer, Stack, Tags } from 'aws-cdk-lib';
import { Alarms } from './alarms.js';
import type { Config } from './config.js';
import { Overview } from './dashboard.js';
import { Functions } from './functions.js';
import { Metrics } from './metrics.js';
import { stackName } from './names.js';
import { Network } from './network.js';
import { Service } from './service.js';
import { Store } from './store.js';

export class NodeweirStack extends Stack {
  /** `binaries` is the folder with probe/bootstrap, publish/bootstrap and rollout/bootstrap. */
  constructor(app: App, config: Config, binaries: string) {
    const { account, region, cluster, load_balancer } = config.aws;
    super(app, stackName(config.stage), {
      env: { account, region },
      description: `Nodeweir, stage ${config.stage}: probes Ethereum nodes and keeps a proxy in front of those that work.`,
      // It serves: `cdk destroy` must be meant.
      terminationProtection: true,
      // The CDK's own check of its bootstrap before a deployment remains.
      synthesizer: new DefaultStackSynthesizer({ generateBootstrapVersionRule: false }),
    });
    Tags.of(this).add('Project', 'nodeweir');
    Tags.of(this).add('Stage', config.stage);

    const network = new Network(this, 'Network', config.aws);
    const store = new Store(this, 'Store');
    const proxy = new Service(this, 'Proxy', { config, network, store });
    const service = { arn: proxy.service.serviceArn, name: proxy.service.serviceName, cluster };
    const { byFlow } = new Functions(this, 'Functions', { config, binaries, network, store, service });
    const metrics = new Metrics(config, proxy, byFlow);
    const alarms = new Alarms(this, 'Alarms', config, metrics);
    new Overview(this, 'Overview', {
      config,
      metrics,
      alarms,
      logs: { probe: byFlow.probe.logs, publish: byFlow.publish.logs, rollout: byFlow.rollout.logs, proxy: proxy.logs },
    });

    // By these names the command line finds everything.
    this.output('NodesTable', store.nodes.tableName);
    this.output('HealthTable', store.health.tableName);
    this.output('HistoryTable', store.history.tableName);
    this.output('GateTable', store.gate.tableName);
    this.output('UsageTable', store.usage.tableName);
    this.output('Bucket', store.bucket.bucketName);
    this.output('Cluster', cluster);
    this.output('Service', service.name);
    this.output('ProbeFunction', byFlow.probe.function.functionName);
    this.output('PublishFunction', byFlow.publish.function.functionName);
    this.output('RolloutFunction', byFlow.rollout.function.functionName);
    this.output('Url', `https://${load_balancer.host}`);
    // To subscribe to.
    this.output('CriticalTopic', alarms.topics.critical.topicArn);
    this.output('WarningTopic', alarms.topics.warning.topicArn);
  }

  private output(name: string, value: string): void {
    new CfnOutput(this, name, { value });
  }
}
