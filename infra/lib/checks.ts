/** What a schema cannot say of a configuration: how its values fit together, and to AWS. */
import type { Aws, Config, Fault } from './config.js';
import { parseSeconds, Reading } from './reading.js';
import { orList } from './schema.js';

/** A whole configuration as it is written, as far as it matters here, with its defaults. */
interface Written {
  aws: Aws;
  gate: { enabled: boolean };
  health: { interval: string; timeout: string; confirm_after: string };
  networks: Record<string, unknown>;
  proxy: { listen: string; timeouts: { total: string; drain: string; shutdown: string } };
}

/**
 * Adds to `faults`, which are those of the shape of `written`, whatever else is wrong with it. Returns what the stack
 * needs if there is no fault at all.
 */
export function crossCheck(written: unknown, faults: Fault[]): Omit<Config, 'stage' | 'text' | 'compact'> | undefined {
  const reading = new Reading(written, faults);
  what(reading);
  size(reading);
  places(reading);
  secrets(reading);
  times(reading);
  if (faults.length > 0) return undefined;

  const { aws, gate, health, networks, proxy } = written as Written;
  const seconds = (text: string) => parseSeconds(text) ?? 0;
  return {
    aws,
    networks: Object.keys(networks).sort(),
    port: portOf(proxy.listen) ?? 0,
    health: {
      interval: seconds(health.interval),
      timeout: seconds(health.timeout),
      confirmAfter: seconds(health.confirm_after),
    },
    gate: gate.enabled,
    proxy: {
      total: seconds(proxy.timeouts.total),
      stop: seconds(proxy.timeouts.drain) + seconds(proxy.timeouts.shutdown) + STOP_MARGIN,
    },
  };
}

/** What is re-used, and what is watched. */
function what(reading: Reading): void {
  for (const path of ['aws.subnets', 'aws.security_groups.probe', 'aws.security_groups.proxy']) {
    reading.check(() => {
      const ids = reading.at<string[]>(path);
      if (ids.length === 0) reading.fault(path, 'at least one', 'name an existing one');
      const twice = ids.find((id, i) => ids.indexOf(id) !== i);
      if (twice !== undefined) reading.fault(path, 'each once', 'remove one of them', `${twice} twice`);
    });
  }
  reading.check(() => {
    const count = Object.keys(reading.at<object>('networks')).length;
    if (count === 0) reading.fault('networks', 'at least one', 'add the chain that your nodes are on', 'none');
  });
  reading.check(() => {
    const path = 'aws.load_balancer.host';
    if (HOST.test(reading.at(path))) return;
    reading.fault(path, 'a host name, such as rpc.example.com', 'write the name alone');
  });
  reading.check(() => {
    const path = 'aws.load_balancer.listener';
    if (LISTENER.test(reading.at(path))) return;
    reading.fault(path, 'an ARN that ends in listener/app/NAME/ID/ID', 'copy it whole from the load balancer');
  });
  reading.within('aws.load_balancer.priority', 1, 50_000);
  reading.oneOf('aws.logs.retention_days', RETENTION_DAYS);
  reading.check(() => {
    const path = 'proxy.listen';
    if (portOf(reading.at(path)) !== undefined) return;
    reading.fault(path, '0.0.0.0 and a port', 'write 0.0.0.0:8080: the load balancer must reach it');
  });
}

/** Of tasks and functions. */
function size(reading: Reading): void {
  reading.oneOf('aws.service.launch', ['fargate', 'ec2']);
  reading.oneOf('aws.service.architecture', ['arm64', 'x86_64']);
  reading.within('aws.service.cpu', 128, 16_384);
  reading.within('aws.service.memory_mb', 256, 122_880);
  reading.within('aws.service.min_tasks', 1, 1_000);
  reading.within('aws.service.max_tasks', 1, 1_000);
  reading.within('aws.service.target_cpu_percent', 10, 95);
  reading.oneOf('aws.functions.architecture', ['arm64', 'x86_64']);
  reading.within('aws.functions.memory_mb', 128, 10_240);
  reading.check(() => {
    const least = reading.at<number>('aws.service.min_tasks');
    if (reading.at<number>('aws.service.max_tasks') >= least) return;
    reading.fault('aws.service.max_tasks', `at least min_tasks, which is ${least}`, 'change one of the two');
  });
  reading.check(() => {
    if (reading.at('aws.service.launch') !== 'fargate') return;
    const [cpu, memory] = [reading.at<number>('aws.service.cpu'), reading.at<number>('aws.service.memory_mb')];
    const sizes = FARGATE[cpu];
    if (sizes === undefined) {
      const known = orList(Object.keys(FARGATE));
      reading.fault('aws.service.cpu', `${known}, which are what Fargate has`, 'write one of them');
    } else if (!sizes.includes(memory)) {
      const known = `one of ${orList(sizes)}, which Fargate has for cpu: ${cpu}`;
      reading.fault('aws.service.memory_mb', known, 'change one of the two');
    }
  });
  reading.check(() => {
    const path = 'aws.functions.reserved_concurrency';
    const reserved = reading.at<number | null>(path);
    if (reserved === null || (reserved >= 2 && reserved <= 1_000)) return;
    const why = 'publish asks probe, which its schedule may be running at that moment';
    reading.fault(path, '2 to 1000', `leave it out, or write 2: ${why}`);
  });
}

/** Whether all is where the deployment is. */
function places(reading: Reading): void {
  const paths = ['aws.load_balancer.listener', 'aws.alarms.critical', 'aws.alarms.warning'];
  reading.check(() => {
    paths.push(...Object.keys(reading.at<object>('aws.secrets')).map((name) => `aws.secrets.${name}`));
  });
  for (const path of paths) {
    reading.check(() => {
      const arn = reading.at<string | null>(path);
      if (arn === null) return;
      const [, , , region, account] = arn.split(':');
      const [hereRegion, hereAccount] = [reading.at<string>('aws.region'), reading.at<string>('aws.account')];
      if (region === hereRegion && account === hereAccount) return;
      const here = `one in ${hereRegion} of ${hereAccount}, as aws.region and aws.account say`;
      reading.fault(path, here, 'name another one, or correct those two', `an ARN in ${region} of ${account}`);
    });
  }
}

/** Whether each secret has a value, and each value a secret. */
function secrets(reading: Reading): void {
  reading.check(() => {
    const used = reading.at<object | undefined>('secrets') ?? {};
    const kept = reading.at<Record<string, string>>('aws.secrets');
    for (const name of Object.keys(used).filter((used) => !(used in kept))) {
      const remedy = `write where in Secrets Manager the value of ${name} is, which stands under \`secrets\``;
      reading.fault(`aws.secrets.${name}`, 'an ARN', remedy);
    }
    for (const [name, arn] of Object.entries(kept)) {
      const path = `aws.secrets.${name}`;
      if (!(name in used)) {
        reading.fault(
          path,
          'a name that stands under `secrets`',
          'list it there with its hosts, or remove it',
          'another',
        );
      }
      if (!/-[A-Za-z0-9]{6}$/.test(arn)) {
        reading.fault(path, 'an ARN with six random characters at its end', 'copy it whole from Secrets Manager');
      }
    }
  });
}

function times(reading: Reading): void {
  reading.check(() => {
    const path = 'health.interval';
    const interval = reading.seconds(path);
    const divides = (part: number, whole: number) => Number.isInteger(whole / part);
    if (interval < 0.5 || interval > 3_600) {
      reading.fault(path, '500ms to 1h', 'write a duration in between');
    } else if (!divides(interval, 60) && !divides(60, interval)) {
      // Schedules go by whole minutes; within one, the function probes several times.
      reading.fault(path, 'whole minutes, or what divides a minute', 'write 15s, 30s, 60s, 2m or the like');
    }
  });
  for (const path of ['health.timeout', 'health.confirm_after', 'proxy.timeouts.total']) {
    reading.check(() => reading.seconds(path));
  }
  reading.check(() => {
    const stop = reading.seconds('proxy.timeouts.drain') + reading.seconds('proxy.timeouts.shutdown');
    if (reading.at('aws.service.launch') !== 'fargate' || stop + STOP_MARGIN <= FARGATE_STOP) return;
    const most = `at most ${FARGATE_STOP - STOP_MARGIN}s together with drain, because Fargate does not wait longer`;
    reading.fault('proxy.timeouts.shutdown', most, 'shorten one of the two');
  });
}

const HOST = /^(?=.{4,128}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*$/i;

/** A listener's ARN, and in it what metrics call its load balancer. */
export const LISTENER = /:listener\/(app\/[^/]+\/[^/]+)\/[^/]+$/;

/** What a stop needs beyond its stated times, in seconds: a signal's way, and ten for the gate to settle. */
const STOP_MARGIN = 15;

/** Seconds after which Fargate kills what was told to stop, at most. */
const FARGATE_STOP = 120;

const steps = (least: number, most: number, step: number): number[] =>
  Array.from({ length: (most - least) / step + 1 }, (_, i) => least + i * step);

/** What Fargate has: memory in MiB by CPU units. */
const FARGATE: Record<number, number[]> = {
  256: [512, 1_024, 2_048],
  512: steps(1_024, 4_096, 1_024),
  1024: steps(2_048, 8_192, 1_024),
  2048: steps(4_096, 16_384, 1_024),
  4096: steps(8_192, 30_720, 1_024),
  8192: steps(16_384, 61_440, 4_096),
  16384: steps(32_768, 122_880, 8_192),
};

/** What CloudWatch can keep logs for, in days. */
const RETENTION_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/** Only IPv4's "every address": the load balancer asks by IPv4. */
function portOf(listen: string): number | undefined {
  const port = Number(/^0\.0\.0\.0:([0-9]{1,5})$/.exec(listen)?.[1]);
  return port >= 1 && port <= 65_535 ? port : undefined;
}
