/** What exists already and is only named: nothing here is made, asked for, or changed. */
import { Annotations } from 'aws-cdk-lib';
import { type ISecurityGroup, type ISubnet, type IVpc, SecurityGroup, Subnet, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';
import type { Aws } from './config.js';

export class Network extends Construct {
  readonly vpc: IVpc;
  readonly subnets: ISubnet[];
  readonly probeGroups: ISecurityGroup[];
  readonly proxyGroups: ISecurityGroup[];

  constructor(scope: Construct, id: string, aws: Aws) {
    super(scope, id);
    // Its zones cannot be known without asking AWS, and nothing needs them, because subnets are always named; but the
    // construct wants one.
    this.vpc = Vpc.fromVpcAttributes(this, 'Vpc', { vpcId: aws.vpc, availabilityZones: ['unknown'] });
    this.subnets = aws.subnets.map((name) => Subnet.fromSubnetId(this, name, name));
    Annotations.of(this).acknowledgeWarning('@aws-cdk/aws-ec2:noSubnetRouteTableId', 'No route is changed here.');
    // Not mutable: their rules stay as their owner wrote them.
    const groups = (use: string, names: string[]) =>
      names.map((name) => SecurityGroup.fromSecurityGroupId(this, `${use}-${name}`, name, { mutable: false }));
    this.probeGroups = groups('probe', aws.security_groups.probe);
    this.proxyGroups = groups('proxy', aws.security_groups.proxy);
  }
}
