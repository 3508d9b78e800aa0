/**
 * The stage's configuration: the one file that people edit, read by the schema that the programs generate, then checked
 * for what only a deployment can know. Whatever is wrong comes back at once, as `Faults`.
 *
 * `nodeweir check` tells the same faults and more (addresses, limits, prices); none of its rules about a running
 * program is repeated here.
 */
import { readFileSync } from 'node:fs';
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { crossCheck } from './checks.js';
import { applySchema } from './schema.js';

/** The section `aws:` as it is written, with its defaults. Its keys are explained in config.sample.yml. */
export interface Aws {
  account: string;
  region: string;
  vpc: string;
  subnets: string[];
  security_groups: { probe: string[]; proxy: string[] };
  cluster: string;
  load_balancer: { listener: string; host: string; priority: number };
  image: string;
  /** ARN in Secrets Manager by name. */
  secrets: Record<string, string>;
  service: {
    launch: 'fargate' | 'ec2';
    architecture: Architecture;
    cpu: number;
    memory_mb: number;
    min_tasks: number;
    max_tasks: number;
    target_cpu_percent: number;
  };
  functions: { architecture: Architecture; memory_mb: number; reserved_concurrency: number | null };
  logs: { retention_days: number };
  alarms: { critical: string | null; warning: string | null; runbook: string | null };
}

export type Architecture = 'arm64' | 'x86_64';

/** What the stack needs to know of a stage. Times are in seconds. */
export interface Config {
  stage: string;
  /** The file as it was written: the functions get it as it is. */
  text: string;
  /** The same in few bytes, which are YAML too. */
  compact: string;
  aws: Aws;
  networks: string[];
  /** The container's port. */
  port: number;
  health: { interval: number; timeout: number; confirmAfter: number };
  /** Whether requests are asked for a key. */
  gate: boolean;
  /** The longest request, and the longest stop after it. */
  proxy: { total: number; stop: number };
}

/** One thing that is wrong: the way to it from the top of the file, and what was found, expected, and is to do. */
export interface Fault {
  path: string[];
  problem: string;
}

/** Everything that is wrong with what was given; for people, without a stack trace. */
export class Faults extends Error {}

/** Checks a stage's name: it is part of the names of functions, alarms and log groups. */
export function checkStage(stage: unknown): string {
  if (typeof stage === 'string' && /^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$/.test(stage)) return stage;
  const found = stage === undefined ? 'none was given' : `found ${JSON.stringify(stage)}`;
  throw new Faults(
    `stage: ${found}, expected a name such as dev: at most 30 of a-z, 0-9 and -, beginning with a letter; ` +
      'write it as -c stage=dev',
  );
}

/** Reads and checks the file at `path`; `schema` is the parsed config.schema.json. Throws `Faults`. */
export function readConfig(stage: string, path: string, schema: object): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Faults(
      `${path}: it cannot be read (${(error as NodeJS.ErrnoException).code}), expected the configuration of the ` +
        `stage ${stage}; copy config.sample.yml there, or name another file with -c config=PATH`,
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    const all = document.errors.map((error) => `line ${error.linePos?.[0].line ?? 1}: ${error.message.split('\n')[0]}`);
    throw new Faults(`${path} is not YAML; correct it there:\n${all.join('\n')}`);
  }

  const written: unknown = document.toJS() ?? {};
  // Before defaults are put in, and without comments: it becomes part of a task, which holds 64 KB. A bare `${` would look
  // like CloudFormation's own.
  const compact = JSON.stringify(written).replaceAll('$', '\\u0024');
  const faults = applySchema(schema, written);
  const config = crossCheck(written, faults);
  if (config !== undefined) return { stage, text, compact, ...config };

  const placed = faults.map(({ path: keys, problem }) => ({
    line: lines.linePos(offsetOf(document.contents, keys)).line,
    text: `${showPath(keys)}${problem}`,
  }));
  placed.sort((one, other) => one.line - other.line);
  const count = placed.length === 1 ? 'a fault' : `${placed.length} faults`;
  throw new Faults([`${path} has ${count}:`, ...placed.map((fault) => `line ${fault.line}: ${fault.text}`)].join('\n'));
}

/** Where the way along `keys` ends in the file, or where it is lost. */
function offsetOf(top: unknown, keys: string[]): number {
  let node = top;
  let offset = 0;
  for (const key of keys) {
    if (isMap(node)) {
      const pair = node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
      if (!isScalar(pair?.key)) break;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else {
      node = isSeq(node) ? node.items[Number(key)] : undefined;
      offset = isScalar(node) ? (node.range?.[0] ?? offset) : offset;
    }
  }
  return offset;
}

/** `aws.subnets[0]: `, as `nodeweir check` writes it. */
function showPath(keys: string[]): string {
  const path = keys.map((key, i) => (/^[0-9]+$/.test(key) ? `[${key}]` : i === 0 ? key : `.${key}`)).join('');
  return path === '' ? '' : `${path}: `;
}
