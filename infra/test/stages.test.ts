import { join } from 'node:path';
import { Template } from 'aws-cdk-lib/assertions';
import { describe, expect, test } from 'vitest';
import { make, type Resource, template, templates, type Which } from './made.js';

/** Two stages of one account could not both have these. */
function physicalNames(of: Template): string[] {
  const names = ['FunctionName', 'LogGroupName', 'QueueName', 'AlarmName', 'DashboardName', 'TopicName', 'RoleName'];
  return Object.values(of.toJSON().Resources).flatMap((one) => {
    const { Type, Properties } = one as { Type: string; Properties: Record<string, unknown> };
    const keys = Type === 'AWS::Scheduler::Schedule' ? ['Name'] : names;
    // A function is named by others too, which is no name of theirs.
    if (Type === 'AWS::Lambda::Permission') return [];
    return keys.filter((key) => typeof Properties[key] === 'string').map((key) => `${Type} ${Properties[key]}`);
  });
}

describe('stages side by side', () => {
  const [dev, staging] = ['dev', 'staging'].map((stage) => make({ stage })) as [
    ReturnType<typeof make>,
    ReturnType<typeof make>,
  ];

  test('are stacks of their own', () => {
    expect([dev, staging].map(({ stack }) => stack.stackName)).toEqual(['nodeweir-dev', 'nodeweir-staging']);
  });

  test('share no name', () => {
    const [ofDev, ofStaging] = [dev, staging].map(({ stack }) => physicalNames(Template.fromStack(stack)));
    expect(ofDev).toContain('AWS::Lambda::Function nodeweir-dev-probe');
    expect(ofDev).toContain('AWS::Logs::LogGroup /nodeweir/dev/proxy');
    expect(new Set(ofDev).size).toBe(ofDev?.length);
    expect(ofStaging).toEqual(ofDev?.map((name) => name.replace('dev', 'staging')));
  });

  test('carry their tags', () => {
    const table = Object.values(Template.fromStack(staging.stack).findResources('AWS::DynamoDB::Table'))[0];
    expect(table?.Properties.Tags).toEqual([
      { Key: 'Project', Value: 'nodeweir' },
      { Key: 'Stage', Value: 'staging' },
    ]);
  });
});

describe('the stack', () => {
  test('asks AWS nothing before it is deployed', () => {
    // A construct that needs to know something of the account would be listed here, and need credentials.
    expect(make().app.synth().manifest.missing).toBeUndefined();
  });

  test('is protected against being removed', () => {
    expect(make().stack.terminationProtection).toBe(true);
  });

  test('goes where the configuration says', () => {
    const { stack } = make();
    expect([stack.account, stack.region]).toEqual(['123456789012', 'eu-central-1']);
  });

  test('tells by these names where everything is', () => {
    const outputs = templates.least().toJSON().Outputs;
    expect(Object.keys(outputs).sort()).toEqual([
      'Bucket',
      'Cluster',
      'CriticalTopic',
      'GateTable',
      'HealthTable',
      'HistoryTable',
      'NodesTable',
      'ProbeFunction',
      'PublishFunction',
      'RolloutFunction',
      'Service',
      'Url',
      'UsageTable',
      'WarningTopic',
    ]);
    expect(outputs).toMatchObject({
      Cluster: { Value: 'main' },
      Service: { Value: { 'Fn::GetAtt': [expect.stringMatching('^ProxyService'), 'Name'] } },
      Url: { Value: 'https://rpc.example.com' },
      ProbeFunction: { Value: { Ref: expect.stringMatching('^FunctionsProbeFunction') } },
    });
  });

  test('is the same from the same configuration', () => {
    expect(template().toJSON()).toEqual(templates.least().toJSON());
  });

  test('has addresses of leaders in the configuration of the tasks and nowhere else, and their secrets by name', () => {
    const template = templates.full().toJSON();
    const tasks = Object.values(template.Resources as Record<string, Resource>).find(
      ({ Type }) => Type === 'AWS::ECS::TaskDefinition',
    );
    const [container] = tasks?.Properties.ContainerDefinitions ?? [];
    const config = container.Environment.find(({ Name }: { Name: string }) => Name === 'NODEWEIR_CONFIG_TEXT');
    expect(config.Value).toContain('/v3/\\u0024{INFURA_KEY}');
    const rest = JSON.stringify(template).replace(JSON.stringify(config.Value), '');
    for (const word of ['infura.io', 'opt.example.com', '/v3/']) expect(rest).not.toContain(word);
  });
});

// Renew with `npm test -- --update`, and read the difference: it is what a deployment would change.
test.each(['least', 'full'] as Which[])('the whole template of the %s configuration', async (which) => {
  const text = JSON.stringify(templates[which]().toJSON(), null, 2).replaceAll(/\b[0-9a-f]{64}\.zip\b/g, 'PACKAGE.zip');
  await expect(`${text}\n`).toMatchFileSnapshot(join(import.meta.dirname, 'snapshots', `${which}.json`));
});
