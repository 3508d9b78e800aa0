/** A configuration while it is checked: its values by path, and the faults found so far. */
import type { Fault } from './config.js';
import { orList, show } from './schema.js';

/** Thrown by a look at what already has a fault: the check that looks is left out. */
const unreadable = Symbol('unreadable');

export class Reading {
  /** What the schema found. Checks look only at what has no fault there. */
  private readonly shape: Fault[];

  constructor(
    private readonly written: unknown,
    readonly faults: Fault[],
  ) {
    this.shape = [...faults];
  }

  /** Runs a check, which calls `fault` where something is wrong. */
  check(look: () => void): void {
    try {
      look();
    } catch (error) {
      if (error !== unreadable) throw error;
    }
  }

  /** The value at `path`, such as `aws.region`; for use in a check. */
  at<T>(path: string): T {
    const keys = path.split('.');
    // A fault above, at or below.
    const isBad = this.shape.some((fault) => keys.every((key, i) => i >= fault.path.length || fault.path[i] === key));
    if (isBad) throw unreadable;
    return keys.reduce<unknown>(
      (value, key) => (value as Record<string, unknown> | undefined)?.[key],
      this.written,
    ) as T;
  }

  /** The duration at `path` in seconds; for use in a check. */
  seconds(path: string): number {
    const value = parseSeconds(this.at(path));
    if (value !== undefined) return value;
    this.fault(path, 'a duration', 'write a number with a unit, such as 500ms, 2s, 10m or 1h');
    throw unreadable;
  }

  /** Notes that `path` is wrong: what was expected, and what is to do. */
  fault(path: string, expected: string, remedy: string, found = show(this.at(path))): void {
    this.faults.push({ path: path.split('.'), problem: `found ${found}, expected ${expected}; ${remedy}` });
  }

  within(path: string, least: number, most: number): void {
    this.check(() => {
      const value = this.at<number>(path);
      if (value < least || value > most) this.fault(path, `${least} to ${most}`, 'write a number in between');
    });
  }

  oneOf(path: string, values: readonly (string | number)[]): void {
    this.check(() => {
      if (!values.includes(this.at(path))) this.fault(path, orList(values), 'write one of them');
    });
  }
}

/** Seconds per unit; the programs take the long names too. */
const UNITS: [RegExp, number][] = [
  [/^(ms|msecs?|millis?|milliseconds?)$/, 0.001],
  [/^(s|secs?|seconds?)$/, 1],
  [/^(m|mins?|minutes?)$/, 60],
  [/^(h|hrs?|hours?)$/, 3_600],
];

/** `2s`, `1h30m`, `500ms` in seconds. */
export function parseSeconds(text: string): number | undefined {
  let rest = text.trim();
  let total: number | undefined;
  while (rest !== '') {
    const [whole, number, unit] = /^([0-9]+(?:\.[0-9]+)?) ?([a-z]+),? */.exec(rest) ?? [];
    const size = UNITS.find(([names]) => unit !== undefined && names.test(unit))?.[1];
    if (whole === undefined || size === undefined) return undefined;
    total = (total ?? 0) + Number(number) * size;
    rest = rest.slice(whole.length);
  }
  // 0.1 and 0.2 are exact enough.
  return total === undefined ? undefined : Number(total.toFixed(6));
}
