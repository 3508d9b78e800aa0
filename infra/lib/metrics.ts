/**
 * What alarms and the dashboard look at. Functions and tasks print their metrics in embedded metric format;
 * `HealthyNodes` and `Nodes` count a network's own nodes, without the leader. A test has the list of all their names.
 */
import { Duration, Fn } from 'aws-cdk-lib';
import { type IMetric, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { LISTENER } from './checks.js';
import type { Config } from './config.js';
import type { FlowFunction } from './flow.js';
import { type Flow, METRICS } from './names.js';
import type { Service } from './service.js';

export class Metrics {
  /** Time between two numbers of `probe`; at least a minute, which is the finest that CloudWatch keeps of them. */
  readonly tick: Duration;
  private readonly stage: string;
  private readonly targetDimensions: Record<string, string>;

  constructor(
    config: Config,
    private readonly proxy: Service,
    private readonly flows: Record<Flow, FlowFunction>,
  ) {
    this.stage = config.stage;
    this.tick = Duration.seconds(Math.max(60, config.health.interval));
    this.targetDimensions = {
      LoadBalancer: LISTENER.exec(config.aws.load_balancer.listener)?.[1] ?? '',
      // The end of its ARN, because the emulator that tests deploy to has no attribute for it.
      TargetGroup: Fn.select(5, Fn.split(':', proxy.targets.targetGroupArn)),
    };
  }

  /** Of the whole stage. */
  of(metricName: string, statistic: string, period: Duration): Metric {
    return this.own(metricName, statistic, period, {});
  }

  /** Of one network, once per tick: `HealthyNodes`, `Nodes` and others. */
  network(network: string, metricName: string, statistic: string): Metric {
    return this.own(metricName, statistic, this.tick, { Network: network });
  }

  /** Of all nodes of a network, one line for each, whichever they are. */
  nodes(network: string, metricName: string): IMetric {
    const schema = `{${METRICS},Stage,Network,Node}`;
    const terms = `Stage="${this.stage}" Network="${network}" MetricName="${metricName}"`;
    return new MathExpression({
      expression: `SEARCH('${schema} ${terms}', 'Maximum', ${this.tick.toSeconds()})`,
      label: "${PROP('Dim.Node')}",
      period: this.tick,
    });
  }

  /** Runs of a flow: how many `Succeeded` or `Failed`. */
  runs(flow: Flow, metricName: 'Succeeded' | 'Failed', period: Duration): Metric {
    return this.own(metricName, 'Sum', period, { Flow: flow });
  }

  /** Of the proxy, as the load balancer sees it. */
  target(metricName: string, statistic: string): Metric {
    return new Metric({
      namespace: 'AWS/ApplicationELB',
      metricName,
      statistic,
      period: Duration.minutes(1),
      dimensionsMap: this.targetDimensions,
    });
  }

  /** Answers of the proxy with 5xx, in percent of its requests. */
  failedPercent(): MathExpression {
    return new MathExpression({
      expression: 'IF(requests > 0, 100 * FILL(failed, 0) / requests, 0)',
      usingMetrics: {
        failed: this.target('HTTPCode_Target_5XX_Count', 'Sum'),
        requests: this.target('RequestCount', 'Sum'),
      },
      period: Duration.minutes(1),
      label: '5xx, percent',
    });
  }

  /**
   * How many tasks are missing: of `least`, or of those that run, whichever is more. How many ECS wants at the moment
   * no metric says, unless Container Insights is switched on for the cluster, which is not this stack's.
   */
  missingTasks(least: number): MathExpression {
    return new MathExpression({
      expression: `MAX([${least} - FILL(healthy, 0), FILL(unhealthy, 0)])`,
      usingMetrics: {
        healthy: this.target('HealthyHostCount', 'Minimum'),
        unhealthy: this.target('UnHealthyHostCount', 'Maximum'),
      },
      period: Duration.minutes(1),
      label: 'missing tasks',
    });
  }

  /** How often processes of tasks ended unasked and were started again: the proxy, and the gate beside it. */
  restarts(): MathExpression {
    const five = Duration.minutes(5);
    return new MathExpression({
      expression: 'FILL(proxy, 0) + FILL(gate, 0)',
      usingMetrics: {
        proxy: this.of('ProxyRestarts', 'Sum', five),
        gate: this.of('GateRestarts', 'Sum', five),
      },
      period: five,
      label: 'restarts',
    });
  }

  /** Messages in all queues of dead letters. */
  deadLetters(): MathExpression {
    const metrics = Object.entries(this.flows).map(([flow, { deadLetters }]) => {
      const visible = deadLetters.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', label: flow });
      return [flow, visible] as const;
    });
    return new MathExpression({
      expression: metrics.map(([flow]) => `FILL(${flow}, 0)`).join(' + '),
      usingMetrics: Object.fromEntries(metrics),
      period: Duration.minutes(5),
      label: 'dead letters',
    });
  }

  /** How long a flow's function ran, in milliseconds. */
  duration(flow: Flow): IMetric {
    const options = { statistic: 'Maximum', period: Duration.minutes(5), label: flow };
    return this.flows[flow].function.metricDuration(options);
  }

  cpu(): IMetric {
    return this.proxy.service.metricCpuUtilization({ period: Duration.minutes(1) });
  }

  memory(): IMetric {
    return this.proxy.service.metricMemoryUtilization({ period: Duration.minutes(1) });
  }

  private own(metricName: string, statistic: string, period: Duration, more: Record<string, string>): Metric {
    const dimensionsMap = { Stage: this.stage, ...more };
    return new Metric({ namespace: METRICS, metricName, statistic, period, dimensionsMap });
  }
}
