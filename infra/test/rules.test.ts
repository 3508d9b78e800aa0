/** What others than these tests say of the stack: cdk-nag's AWS Solutions, and the CDK's own rules. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { describe, expect, test } from 'vitest';
import type { Made } from '../lib/app.js';
import { make, templates, type Which } from './made.js';

/** What is wrong with a stack, as `rule where`. */
function findings({ app }: Made): string[] {
  app.synth();
  const { pluginReports } = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  return pluginReports.flatMap(({ violations }: { violations: Violation[] }) =>
    violations.flatMap(({ ruleName, violatingConstructs }) =>
      violatingConstructs.map(({ constructPath }) => `${ruleName} ${constructPath}`),
    ),
  );
}

interface Violation {
  ruleName: string;
  violatingConstructs: { constructPath: string }[];
}

test.each(['least', 'full'] as Which[])(
  'nothing is wrong with the %s configuration, and nothing is warned of',
  (which) => {
    expect(findings(make({ which }))).toEqual([]);
  },
);

test('what is wrong is found', () => {
  const { app, stack } = make();
  new Bucket(stack, 'Careless');
  expect(() => app.synth()).toThrow('AwsSolutions-S10');
});

describe('what is overlooked', () => {
  const overlooked = Object.entries(templates.least().toJSON().Resources).flatMap(([name, resource]) => {
    const rules = (resource as { Metadata?: { cdk_nag?: { rules_to_suppress: Rule[] } } }).Metadata?.cdk_nag;
    return (rules?.rules_to_suppress ?? []).map((rule) => ({ name: name.replace(/[0-9A-F]{8}$/, ''), ...rule }));
  });

  test('is this', () => {
    expect(new Set(overlooked.map(({ id, name }) => `${id} ${name}`))).toEqual(
      new Set([
        'AwsSolutions-S1 StoreBucket',
        'AwsSolutions-ECS2 ProxyTask',
        'AwsSolutions-IAM5[Resource::*] ProxyTaskExecutionRoleDefaultPolicy',
        'AwsSolutions-IAM5[Resource::*] FunctionsProbeRoleDefaultPolicy',
        'AwsSolutions-SQS3 FunctionsProbeDeadLetters',
        'AwsSolutions-SQS3 FunctionsPublishDeadLetters',
        'AwsSolutions-SQS3 FunctionsRolloutDeadLetters',
      ]),
    );
  });

  test.each(overlooked)('has a reason: $id $name', ({ reason }) => expect(reason).toMatch(/^.{30,}\.$/));
});

interface Rule {
  id: string;
  reason: string;
}
