"""What moto's CloudFormation needs to take the template of a real stack, from a real `cdk deploy`.

`serve.py` imports this with the first call of CloudFormation, because moto then loads every service that a stack may have.
"""

import ipaddress
from urllib.parse import urlsplit

from moto.awslambda.models import LambdaBackend
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import ChangeSet
from moto.cloudformation.parsing import get_model_map, get_name_type_map
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores, pascal_to_camelcase, remap_nested_keys
from moto.ecs.models import TaskDefinition, ecs_backends
from moto.elbv2.models import FakeTargetGroup

# moto has no such resources in CloudFormation: it leaves them out, and the whole stack fails if anything asks for an
# attribute of one. Here they are part of the stack, with attributes that are made up, and nothing else is done.
STAND_INS = [
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::CDK::Metadata",
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::Scheduler::ScheduleGroup",
]


class StandIn:
    """What moto takes for the class of a resource type."""

    def __init__(self, resource_type):
        self.type = resource_type

    def has_cfn_attr(self, attribute):
        return True

    def create_from_cloudformation_json(self, name, resource, account, region, **kwargs):
        return Made(self.type, name, account, region)

    def update_from_cloudformation_json(self, original_resource, **kwargs):
        return original_resource

    def delete_from_cloudformation_json(self, name, resource, account, region):
        pass


class Made:
    """One such resource of a stack."""

    def __init__(self, resource_type, name, account, region):
        self.type = resource_type
        self.physical_resource_id = name
        self.account = account
        self.region = region

    def get_cfn_attribute(self, attribute):
        if attribute.endswith("Arn"):
            _, service, kind = self.type.lower().split("::")
            return f"arn:aws:{service}:{self.region}:{self.account}:{kind}:{self.physical_resource_id}"
        return f"{self.physical_resource_id}-{attribute}"

    def is_created(self):
        return True


def target_group_attribute(group, attribute):
    """moto forgot it for target groups; dashboards need it."""
    return {
        "TargetGroupArn": group.arn,
        "TargetGroupName": group.name,
        "TargetGroupFullName": group.arn.split(":")[-1],
    }[attribute]


def task_definition(resource_name, resource, account, region, **kwargs):
    """moto kept the containers and forgot the roles, the network and the platform."""
    told = {
        camelcase_to_underscores(name): remap_nested_keys(value, pascal_to_camelcase)
        for name, value in resource["Properties"].items()
    }
    return ecs_backends[account][region].register_task_definition(**told)


def next_task_definition(original_resource, new_resource_name, cloudformation_json, account_id, region_name):
    """The same; what was before it is not to be used any more."""
    ecs_backends[account_id][region_name].deregister_task_definition(original_resource.arn)
    return task_definition(new_resource_name, cloudformation_json, account_id, region_name)


def template_at(original):
    """moto takes the first part of a host for a bucket's name; of an address it is the first number."""

    def fetch(self, template_url):
        url = urlsplit(template_url)
        try:
            ipaddress.ip_address(url.hostname or "")
        except ValueError:
            return original(self, template_url)
        return original(self, f"https://s3.amazonaws.com{url.path}")

    return fetch


def update_termination_protection(self):
    """moto has the property, but no call that changes it; the CDK makes that call."""
    stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
    stack.enable_termination_protection = self._get_bool_param("EnableTerminationProtection")
    return ActionResult({"StackId": stack.stack_id})


def unless_protected(original):
    def delete_stack(self):
        name = self._get_param("StackName")
        for stack in self.cloudformation_backend.stacks.values():
            if name in (stack.name, stack.stack_id) and stack.enable_termination_protection:
                message = f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
                raise ValidationError(message=message)
        return original(self)

    return delete_stack


def with_outputs(original):
    """moto makes the resources of a change set and forgets the outputs."""

    def apply(self):
        original(self)
        self.stack.template = self.template
        self.stack._parse_template()
        self.stack.output_map = self.stack._create_output_map()

    return apply


# moto makes both maps once and looks into them ever after.
for name in STAND_INS:
    get_model_map()[name] = StandIn(name)
get_name_type_map()["AWS::CloudWatch::Alarm"] = "AlarmName"
ChangeSet.apply = with_outputs(ChangeSet.apply)
TaskDefinition.create_from_cloudformation_json = staticmethod(task_definition)
TaskDefinition.update_from_cloudformation_json = staticmethod(next_task_definition)
FakeTargetGroup.get_cfn_attribute = target_group_attribute
CloudFormationResponse._get_stack_from_s3_url = template_at(CloudFormationResponse._get_stack_from_s3_url)
CloudFormationResponse.update_termination_protection = update_termination_protection
CloudFormationResponse.delete_stack = unless_protected(CloudFormationResponse.delete_stack)


def carried_by_the_tests(self, function_arn, items, event_source_arn):
    """Streams call nobody by themselves: moto would start a container for each change."""
    return False


LambdaBackend.send_dynamodb_items = carried_by_the_tests
