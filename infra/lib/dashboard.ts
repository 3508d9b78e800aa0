/**
 * One page for whoever is on call: which node, since when, why, and what is live. From top to bottom: what rings, what
 * is live, each network, the proxy, the functions, and what they last complained of.
 */
import { Duration } from 'aws-cdk-lib';
import {
  Alarm,
  AlarmStatusWidget,
  Dashboard,
  GraphWidget,
  type GraphWidgetProps,
  type IMetric,
  LogQueryWidget,
  PeriodOverride,
  SingleValueWidget,
  TextWidget,
} from 'aws-cdk-lib/aws-cloudwatch';
import type { ILogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { Alarms } from './alarms.js';
import type { Config } from './config.js';
import type { Metrics } from './metrics.js';
import { FLOWS, type Flow, stackName } from './names.js';

interface Props {
  config: Config;
  metrics: Metrics;
  alarms: Alarms;
  logs: Record<Flow | 'proxy', ILogGroup>;
}

/** The whole page is 24 wide. */
const WIDTH = 24;
const HEIGHT = 6;

export class Overview extends Construct {
  readonly dashboard: Dashboard;

  constructor(scope: Construct, id: string, props: Props) {
    super(scope, id);
    const { config, metrics, alarms, logs } = props;
    this.dashboard = new Dashboard(this, 'Dashboard', {
      dashboardName: stackName(config.stage),
      defaultInterval: Duration.hours(3),
      // Numbers of five minutes stay so, or a run every five minutes would look like one that fails.
      periodOverride: PeriodOverride.INHERIT,
    });
    this.dashboard.addWidgets(heading(config));
    this.dashboard.addWidgets(
      new AlarmStatusWidget({
        title: 'Alarms',
        // By name: the page can be made before they are.
        alarms: alarms.names.map((name) => Alarm.fromAlarmName(this, name, name)),
        width: WIDTH,
        // Four stand in a row.
        height: 1 + Math.ceil(alarms.names.length / 4),
      }),
    );
    this.dashboard.addWidgets(...live(metrics, logs));
    this.dashboard.addWidgets(
      table('Which node is not healthy, since when, why', [logs.probe], NODES, WIDTH / 2),
      table('What changed', [logs.probe, logs.publish, logs.rollout], CHANGES, WIDTH / 2),
    );
    for (const network of config.networks) this.dashboard.addWidgets(...ofNetwork(network, metrics));
    this.dashboard.addWidgets(...ofProxy(config, metrics));
    this.dashboard.addWidgets(...ofTasks(metrics));
    this.dashboard.addWidgets(...ofFunctions(metrics));
    this.dashboard.addWidgets(
      table('Requests that failed with 5xx', [logs.proxy], FAILURES, WIDTH / 2),
      table('Warnings and errors', Object.values(logs), COMPLAINTS, WIDTH / 2),
    );
  }
}

/**
 * Questions to the log, where each line is a JSON object. `probe` has a line for each node and tick, with its name in
 * `Node`, also for those without metrics; it has `since` and `why` for a node that is not healthy. It logs a `flip` of a
 * node's state. `publish` and `rollout` name what they speak of in `revision`. The proxy has a line for each request.
 */
const NODES = [
  'filter ispresent(Node)',
  'stats latest(Healthy) as healthy, latest(since) as since_when, latest(why) as because, latest(Lag) as lag, ' +
    'latest(LatencyMs) as ms by Network, Node',
  'filter healthy = 0',
  'sort Network, Node',
];
const CHANGES = [
  'fields @timestamp, message, network, node, from, to, why, revision, reason',
  'filter ispresent(message) and (message = "flip" or ispresent(revision))',
  'sort @timestamp desc',
  'limit 50',
];
const LIVE = [
  'filter ispresent(revision)',
  'stats latest(revision) as the_revision, latest(message) as what, latest(reason) as because, ' +
    'latest(@timestamp) as at by @log',
];
const FAILURES = [
  'filter status >= 500',
  'stats count(*) as failed, latest(@timestamp) as last by network, node, status',
  'sort failed desc',
  'limit 20',
];
const COMPLAINTS = [
  'fields @timestamp, @log, level, message, kind, network, node, why, error',
  'filter level in ["WARN", "ERROR"]',
  'sort @timestamp desc',
  'limit 50',
];

function heading({ stage, aws, networks }: Config): TextWidget {
  const runbook = aws.alarms.runbook === null ? '`docs/runbook.md`' : `[the runbook](${aws.alarms.runbook})`;
  const markdown =
    `# Nodeweir ${stage}\n\n\`https://${aws.load_balancer.host}\` serves ${networks.join(', ')}. What an alarm means ` +
    `and what to do says ${runbook}; all details say \`nodeweir --stage ${stage} status\` and \`history\`.`;
  return new TextWidget({ markdown, width: WIDTH, height: 2 });
}

function live(metrics: Metrics, logs: Props['logs']): (SingleValueWidget | LogQueryWidget)[] {
  const five = Duration.minutes(5);
  const now = (label: string, metric: IMetric): SingleValueWidget =>
    new SingleValueWidget({ title: label, metrics: [metric], width: 4, height: 4, setPeriodToTimeRange: false });
  return [
    table('What is live', [logs.publish, logs.rollout], LIVE, 12, 4),
    now('Age of what is live, seconds', metrics.of('RevisionAgeSeconds', 'Maximum', five)),
    now('Pinned by a rollback (1 = yes)', metrics.of('Pinned', 'Maximum', five)),
    now('Prober blind (1 = yes)', metrics.of('Blind', 'Maximum', metrics.tick)),
  ];
}

function ofNetwork(network: string, metrics: Metrics): GraphWidget[] {
  const of = (name: string, statistic: string) => metrics.network(network, name, statistic);
  return [
    graph(`${network}: healthy nodes`, [of('HealthyNodes', 'Minimum'), of('Nodes', 'Maximum')], {
      right: [of('LeaderAnswers', 'Minimum'), of('FallbackActive', 'Maximum')],
    }),
    graph(`${network}: which node is healthy (1 = yes)`, [metrics.nodes(network, 'Healthy')]),
    graph(`${network}: blocks behind`, [metrics.nodes(network, 'Lag')]),
    graph(`${network}: latency, ms; reference head`, [metrics.nodes(network, 'LatencyMs')], {
      right: [of('ReferenceHead', 'Maximum')],
      rightYAxis: { showUnits: false },
    }),
  ];
}

function ofProxy({ aws }: Config, metrics: Metrics): GraphWidget[] {
  const target = (name: string, statistic: string) => metrics.target(name, statistic);
  return [
    graph('Proxy: requests per minute, 5xx in percent', [target('RequestCount', 'Sum')], {
      right: [metrics.failedPercent()],
      rightAnnotations: [
        { value: 1, color: '#ff7f0e' },
        { value: 5, color: '#d62728' },
      ],
    }),
    graph(
      'Proxy: time to answer, s',
      ['p50', 'p95', 'p99'].map((p) => target('TargetResponseTime', p)),
      {
        leftAnnotations: [
          { value: 0.5, color: '#ff7f0e' },
          { value: 1, color: '#d62728' },
        ],
      },
    ),
    graph('Proxy: tasks', [target('HealthyHostCount', 'Minimum'), target('UnHealthyHostCount', 'Maximum')], {
      leftAnnotations: [
        { value: aws.service.min_tasks, label: 'min_tasks' },
        { value: aws.service.max_tasks, label: 'max_tasks' },
      ],
    }),
    graph('Proxy: CPU and memory, percent', [metrics.cpu(), metrics.memory()], {
      leftAnnotations: [{ value: aws.service.target_cpu_percent, label: 'a task is added above' }],
    }),
  ];
}

/** What tasks say of themselves. */
function ofTasks(metrics: Metrics): GraphWidget[] {
  const half = { width: WIDTH / 2 };
  const is = (name: string) => metrics.of(name, 'Maximum', Duration.minutes(1));
  const times = (name: string) => metrics.of(name, 'Sum', Duration.minutes(5));
  return [
    graph(
      'Proxy: a task refuses what is published, or cannot read it (1 = yes)',
      ['RevisionRefused', 'RevisionUnread'].map(is),
      half,
    ),
    graph('Proxy: processes that ended unasked', ['ProxyRestarts', 'GateRestarts'].map(times), half),
  ];
}

function ofFunctions(metrics: Metrics): GraphWidget[] {
  const five = Duration.minutes(5);
  const count = (name: string) => metrics.of(name, 'Sum', five);
  return [
    graph(
      'Runs that went well',
      FLOWS.map((flow) => metrics.runs(flow, 'Succeeded', five)),
    ),
    graph(
      'Runs that failed, dead letters',
      FLOWS.map((flow) => metrics.runs(flow, 'Failed', five)),
      {
        right: [metrics.deadLetters()],
      },
    ),
    graph('Published, refused, rolled out', ['Published', 'Refused', 'RolloutStarted', 'RolloutFailed'].map(count)),
    graph(
      'Duration of the functions, ms',
      FLOWS.map((flow) => metrics.duration(flow)),
    ),
  ];
}

/** A quarter of the page, if not told otherwise. */
function graph(title: string, left: IMetric[], more: Partial<GraphWidgetProps> = {}): GraphWidget {
  return new GraphWidget({
    title,
    left,
    leftYAxis: { min: 0, showUnits: false },
    width: WIDTH / 4,
    height: HEIGHT,
    ...more,
  });
}

function table(title: string, of: ILogGroup[], queryLines: string[], width: number, height = HEIGHT): LogQueryWidget {
  const logGroupNames = of.map((group) => group.logGroupName);
  return new LogQueryWidget({ title, logGroupNames, queryLines, width, height });
}
