import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { resource, resources, templates } from './made.js';

const least = templates.least();
const full = templates.full();

describe('the dashboard', () => {
  /** Its body, with what is known only later as `<name>`. */
  const body = (of = least): string => {
    const parts = resource(of, 'AWS::CloudWatch::Dashboard').Properties.DashboardBody['Fn::Join'][1];
    return parts.map((part: unknown) => (typeof part === 'string' ? part : `<${refOf(part)}>`)).join('');
  };
  const refOf = (part: unknown): string => {
    const [value] = Object.values(part as object);
    return String(Array.isArray(value) ? value[0] : value).replace(/[0-9A-F]{8}$/, '');
  };
  type Widget = {
    x: number;
    y: number;
    width: number;
    height: number;
    type: string;
    properties: { title?: string; alarms?: string[] };
  };
  const widgets = (of = least): Widget[] => JSON.parse(body(of)).widgets;

  test('says from top to bottom what rings, what is live, which node, and what was complained of', () => {
    expect(resource(least, 'AWS::CloudWatch::Dashboard').Properties.DashboardName).toBe('nodeweir-dev');
    const titles = widgets().map(({ properties }) => properties.title);
    const order = [
      'Alarms',
      'What is live',
      'Which node is not healthy, since when, why',
      'ethereum: healthy nodes',
      'Proxy: requests per minute, 5xx in percent',
      'Proxy: a task refuses what is published, or cannot read it (1 = yes)',
      'Runs that went well',
      'Warnings and errors',
    ].map((title) => titles.indexOf(title));
    expect(order).not.toContain(-1);
    expect(order).toEqual([...order].sort((one, other) => one - other));
  });

  test('has a row for each network', () => {
    const titles = widgets(full).map(({ properties }) => properties.title ?? '');
    for (const network of ['ethereum', 'optimism']) {
      expect(titles.filter((title) => title.startsWith(`${network}: `))).toHaveLength(4);
    }
  });

  test('fits on the page, and nothing covers anything', () => {
    const cells = new Set<string>();
    for (const { x, y, width, height } of widgets(full)) {
      expect(x + width).toBeLessThanOrEqual(24);
      for (let column = x; column < x + width; column++) {
        for (let row = y; row < y + height; row++) {
          expect(cells).not.toContain(`${column},${row}`);
          cells.add(`${column},${row}`);
        }
      }
    }
  });

  test('shows every alarm', () => {
    const shown = widgets(full).find(({ type }) => type === 'alarm');
    expect(shown?.properties.alarms).toHaveLength(resources(full, 'AWS::CloudWatch::Alarm').length);
  });

  test('finds nodes by themselves, whichever they are', () => {
    expect(body()).toContain(
      'SEARCH(\'{Nodeweir,Stage,Network,Node} Stage=\\"dev\\" Network=\\"ethereum\\" MetricName=\\"Lag\\"\'',
    );
  });

  test('asks the log groups that there are', () => {
    const queries = widgets().filter(({ type }) => type === 'log');
    const groups = queries.flatMap(({ properties }) => [...JSON.stringify(properties).matchAll(/SOURCE '([^']+)'/g)]);
    expect(new Set(groups.map(([, group]) => group))).toEqual(
      new Set(['<FunctionsProbeLogs>', '<FunctionsPublishLogs>', '<FunctionsRolloutLogs>', '<ProxyLogs>']),
    );
  });
});

describe('the programs’ metrics, which are a contract with them', () => {
  const inAlarms = JSON.stringify(full.findResources('AWS::CloudWatch::Alarm'));
  const inDashboard = resource(full, 'AWS::CloudWatch::Dashboard').Properties.DashboardBody['Fn::Join'][1].join('');
  const found = [
    ...inAlarms.matchAll(/"MetricName":"(\w+)","Namespace":"Nodeweir"/g),
    ...inDashboard.matchAll(/"Nodeweir","(\w+)"/g),
    ...inDashboard.matchAll(/MetricName=\\"(\w+)\\"/g),
  ].map(([, name]) => name ?? '');
  const names = [...new Set(found)].sort();

  test('are these', () => {
    expect(names).toEqual([
      'Blind',
      'Failed',
      'FallbackActive',
      'GateRestarts',
      'Healthy',
      'HealthyNodes',
      'Lag',
      'LatencyMs',
      'LeaderAnswers',
      'LongestUnhealthySeconds',
      'Nodes',
      'Pinned',
      'ProxyRestarts',
      'Published',
      'ReferenceHead',
      'Refused',
      'RejectedItems',
      'RevisionAgeSeconds',
      'RevisionRefused',
      'RevisionUnread',
      'RolloutFailed',
      'RolloutStarted',
      'RosterShrank',
      'Succeeded',
    ]);
  });

  test('are told to operators, whose table has one more', () => {
    const docs = readFileSync(resolve(import.meta.dirname, '../../docs/operations.md'), 'utf8');
    const rows = docs.split('### What the functions and tasks measure\n')[1]?.split('\n## ')[0]?.split('\n') ?? [];
    // The head of a node is for those who make graphs of their own.
    const told = rows.flatMap((row) => [...(row.split('|')[2] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(told.sort()).toEqual([...names, 'Head'].sort());
  });
});
