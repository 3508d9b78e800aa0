/** Exceptions from the rules that a synthesis is checked by (cdk-nag's AWS Solutions). */
import { CfnResource, Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/**
 * Has one rule overlook one resource, or one finding of it, such as `AwsSolutions-IAM5[Resource::*]`. The reason stands
 * in the template too. What is made beside that resource is not meant.
 */
export function overlook(construct: IConstruct, rule: string, reason: string): void {
  const resource = construct.node.defaultChild;
  if (!CfnResource.isCfnResource(resource)) throw new Error(`${construct.node.path} is not one resource`);
  Validations.of(resource).acknowledge({ id: rule, reason });
}
