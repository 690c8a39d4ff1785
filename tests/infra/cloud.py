"""The stack at moto, a stand-in for AWS: made, updated and deleted, and looked at by AWS's own calls."""

import ast
import base64
import contextlib
import io
import json
import re
import urllib.request
from ipaddress import ip_network

import boto3
from template import ACCOUNT, FIRST, INFRA, OTHER, REGION, STACK, UPGRADE, Failed, Template

# Made by moto's CloudFormation not at all; or the listener, since it makes every balancer one for HTTP.
UNMADE = {"AWS::S3::BucketPolicy", "AWS::CloudWatch::Alarm", "AWS::ElasticLoadBalancingV2::Listener", "AWS::SNS::TopicPolicy"}
# What moto can update. It leaves roles as they are, and takes managed policies and endpoints for gone.
UPDATED = {"AWS::EC2::LaunchTemplate", "AWS::AutoScaling::AutoScalingGroup"}


class Cloud:
    """Moto, empty at first."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.clients = {}
        for name in ("cloudformation", "autoscaling", "ec2", "elbv2", "iam", "s3"):
            self.clients[name] = boto3.client(
                name, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing"
            )

    def __getattr__(self, name):
        return self.clients[name]

    def apply(self, verb, template, parameters):
        body = json.loads(json.dumps(template.raw))
        body["Resources"] = {name: r for name, r in body["Resources"].items() if r["Type"] not in UNMADE}
        for resource in body["Resources"].values():
            if resource["Type"] in UPDATED:
                # Moto updates what differs, and does not look into functions for that.
                resource["Metadata"] = {"With": parameters}
            if "DependsOn" in resource:
                resource["DependsOn"] = [name for name in resource["DependsOn"] if name in body["Resources"]]
        call = getattr(self.cloudformation, f"{verb}_stack")
        pairs = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        # What moto prints and warns of is not ours.
        with contextlib.redirect_stderr(io.StringIO()):
            call(StackName=STACK, TemplateBody=json.dumps(body), Parameters=pairs, Capabilities=["CAPABILITY_IAM"])
        stack = self.cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        if stack["StackStatus"] != f"{verb.upper()}_COMPLETE":
            raise Failed(f"the stack is {stack['StackStatus']}: {stack.get('StackStatusReason')}")
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        self.ids = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources}

    def launch_data(self, name):
        versions = self.ec2.describe_launch_template_versions(LaunchTemplateId=self.ids[name], Versions=["$Latest"])
        return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]


def sizes(group):
    return group["MinSize"], group["MaxSize"], group["DesiredCapacity"], len(group["Instances"])


def made(cloud, template, find):
    """What is there, as AWS's own calls tell it."""
    wanted = {name for name, resource in template.resources.items() if resource["Type"] not in UNMADE}
    find.equal("resources that are missing", sorted(wanted - set(cloud.ids)), [])

    groups = {g["AutoScalingGroupName"]: g for g in cloud.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]}
    workers, coordinator = groups[f"{STACK}-workers"], groups[f"{STACK}-coordinator"]
    find.equal("sizes of the workers' group", sizes(workers), (0, int(template.parameters["WorkersMax"]), 0, 0))
    find.equal("sizes of the coordinator's group", sizes(coordinator), (1, 1, 1, 1))
    zones = int(template.parameters["Zones"])
    find.equal("zones of workers", len(workers["VPCZoneIdentifier"].split(",")), zones)
    find.hold(not workers["NewInstancesProtectedFromScaleIn"], "new workers are protected")
    find.equal("who the coordinator's group serves", coordinator["TargetGroupARNs"], [cloud.ids["CoordinatorTarget"]])

    for name in ("CoordinatorTemplate", "WorkerTemplate"):
        data = cloud.launch_data(name)
        options = data.get("MetadataOptions", {})
        there = (options.get("HttpTokens"), options.get("HttpPutResponseHopLimit"), options.get("HttpEndpoint"))
        find.equal(f"IMDS of {name}", there, ("required", 1, "enabled"))
        find.equal(f"a shutdown of {name}", data.get("InstanceInitiatedShutdownBehavior"), "terminate")
        disks = [disk["Ebs"] for disk in data.get("BlockDeviceMappings", [])]
        find.hold(disks and all(disk.get("Encrypted") for disk in disks), f"{name} has a disk that is not encrypted")
        find.hold("NetworkInterfaces" not in data, f"{name} makes network interfaces, which may have public addresses")

    vpc = cloud.ids["Vpc"]
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    ours = [g for g in cloud.ec2.describe_security_groups(Filters=here)["SecurityGroups"] if g["GroupName"] != "default"]
    find.equal("security groups", len(ours), 5)
    inside = ip_network(f"{template.parameters['Network']}.0.0/16")
    peers = {inside} | {ip_network(cidr) for cidr in [template.parameters["SubmitterCidr"]] if cidr}
    for group in ours:
        name = group["Description"]
        for rule in group["IpPermissions"]:
            ranges = [r["CidrIp"] for r in rule["IpRanges"]] + [r["CidrIpv6"] for r in rule.get("Ipv6Ranges", [])]
            for cidr in ranges:
                find.hold(ip_network(cidr) in peers, f"`{name}` lets {cidr} in")
            port = (rule.get("IpProtocol"), rule.get("FromPort"), rule.get("ToPort"))
            find.hold(port in {("tcp", p, p) for p in (443, 7171, 9464)}, f"`{name}` has {port} open")
    for table in cloud.ec2.describe_route_tables(Filters=here)["RouteTables"]:
        ways = [r for r in table["Routes"] if r.get("GatewayId") != "local" and not str(r.get("GatewayId")).startswith("vpce-")]
        find.equal("routes out of the network", ways, [])
    find.equal("internet gateways", cloud.ec2.describe_internet_gateways()["InternetGateways"], [])
    for subnet in cloud.ec2.describe_subnets(Filters=here)["Subnets"]:
        find.hold(not subnet["MapPublicIpOnLaunch"], f"{subnet['SubnetId']} gives out public addresses")
    endpoints = cloud.ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]
    services = {"s3": "Gateway", "ssm": "Interface", "autoscaling": "Interface"}
    if template.parameters["Sessions"] == "true":
        services["ssmmessages"] = "Interface"
    there = {e["ServiceName"].rsplit(".", 1)[1]: e["VpcEndpointType"] for e in endpoints if e.get("State", "").lower() != "deleted"}
    find.equal("endpoints", there, services)
    find.hold(
        all(e["PrivateDnsEnabled"] for e in endpoints if e["VpcEndpointType"] == "Interface"),
        "an endpoint is not found by the service's own name",
    )
    balancers = cloud.elbv2.describe_load_balancers()["LoadBalancers"]
    find.equal("balancers", [b["Scheme"] for b in balancers], ["internal"])

    encryption = cloud.s3.get_bucket_encryption(Bucket=cloud.ids["Bucket"])["ServerSideEncryptionConfiguration"]
    algorithm = encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    find.equal("encryption of the bucket", algorithm, "AES256")
    find.equal("where workers find the coordinator", cloud.outputs["Coordinator"] in user_data_at(cloud, "WorkerTemplate"), True)


def user_data_at(cloud, name):
    return base64.b64decode(cloud.launch_data(name)["UserData"]).decode()


def permitted(cloud, template, find):
    """The policies that are there are those of infra/iam with the names put in, no more and no others."""
    parameters = template.parameters
    output = parameters["OutputBucket"] or cloud.ids["Bucket"]
    names = {
        "INPUT_BUCKET": parameters["InputBucket"],
        "INPUT_PREFIX": parameters["InputPrefix"],
        "STATE_BUCKET": cloud.ids["Bucket"],
        "STATE_PREFIX": "state/",
        "OUTPUT_BUCKET": output,
        "OUTPUT_PREFIX": parameters["OutputPrefix"],
        "RELEASE_OBJECT": parameters["ReleaseUrl"].removeprefix("s3://"),
        "REGION": REGION,
        "ACCOUNT": ACCOUNT,
        "CLUSTER": STACK,
        "GROUP": f"{STACK}-workers",
    }
    sessions = ["machine-session"] if parameters["Sessions"] == "true" else []
    lists = ["coordinator-lists"] if parameters["CoordinatorReadsInput"] == "true" else []
    for role, policies in (
        ("Coordinator", ["coordinator", "coordinator-fleet", "machine", *lists, *sessions]),
        ("Worker", ["machine", "worker", *sessions]),
    ):
        name = cloud.ids[f"{role}Role"]
        find.equal(f"policies of the {role}", sorted(cloud.iam.list_role_policies(RoleName=name)["PolicyNames"]), sorted(policies))
        attached = cloud.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        find.equal(f"policies attached to the {role}", attached, [])
        for policy in policies:
            with contextlib.suppress(cloud.iam.exceptions.NoSuchEntityException):
                there = cloud.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                same(find, f"{policy} of the {role}", there, policy, names | {"ROLE": role.lower()})
    managed = {"SubmitterPolicy": "submitter"}
    if sessions:
        managed["SubmitterSessionPolicy"] = "submitter-session"
    for resource, policy in managed.items():
        arn = cloud.ids[resource]
        version = cloud.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        there = cloud.iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        same(find, policy, there, policy, names)


def same(find, what, there, name, names):
    text = (INFRA / "iam" / f"{name}.json").read_text()
    # Longer names first, as they may begin with shorter ones; and not within words.
    text = re.sub("|".join(sorted(names, key=len, reverse=True)), lambda match: names[match[0]], text)
    # A bucket that is state and output at once is named twice, which is no difference.
    find.hold(ordered(there) == ordered(json.loads(text)), f"{what} is not infra/iam/{name}.json: {json.dumps(there)}")


def ordered(policy):
    # Moto answers with Python's words for what came from a template.
    if isinstance(policy, str):
        policy = ast.literal_eval(policy)

    def values(node):
        if isinstance(node, dict):
            return {key: values(item) for key, item in node.items()}
        return sorted(node) if isinstance(node, list) else node

    return {statement["Sid"]: values(statement) for statement in policy["Statement"]}


def created(cloud, path, parameters, find):
    template = Template(path, parameters)
    find.part = "created"
    cloud.apply("create", template, parameters)
    made(cloud, template, find)
    find.part = "policies"
    permitted(cloud, template, find)


def lived(cloud, path, find):
    """Makes the stack, updates it, and deletes it; and makes another, with every choice taken otherwise."""
    created(cloud, path, FIRST, find)
    upgrade = Template(path, UPGRADE)
    before, bucket = dict(cloud.ids), cloud.ids["Bucket"]
    cloud.s3.put_object(Bucket=bucket, Key="state/journal/00000000000000000001", Body=b"kept")

    find.part = "updated"
    cloud.apply("update", upgrade, UPGRADE)
    for name in ("Bucket", "Balancer", "CoordinatorTarget", "Vpc", "CoordinatorRole", "WorkerRole", "WorkerGroup", "CoordinatorGroup"):
        find.equal(f"{name}", cloud.ids.get(name), before[name])
    for name in ("CoordinatorTemplate", "WorkerTemplate"):
        script = user_data_at(cloud, name)
        find.hold(UPGRADE["ReleaseSha256"] in script and UPGRADE["ReleaseUrl"] in script, f"{name} has the release before")
    for group in cloud.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]:
        mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
        find.equal(f"version of {group['AutoScalingGroupName']}", (mixed or group["LaunchTemplate"])["Version"], "2")
        find.equal("the most workers", group["MaxSize"], 20 if mixed else 1)

    find.part = "deleted"
    # Moto leaves these behind, and then would not delete the network that they are in.
    here = [{"Name": "vpc-id", "Values": [cloud.ids["Vpc"]]}]
    endpoints = cloud.ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]
    cloud.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"] for endpoint in endpoints])
    for association in cloud.ec2.describe_route_tables(RouteTableIds=[cloud.ids["Routes"]])["RouteTables"][0]["Associations"]:
        cloud.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    cloud.ec2.delete_route_table(RouteTableId=cloud.ids["Routes"])
    cloud.cloudformation.delete_stack(StackName=STACK)
    find.equal("groups", cloud.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"], [])
    find.equal("networks", [v["VpcId"] for v in cloud.ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]], [])
    find.equal("roles", cloud.iam.list_roles()["Roles"], [])
    find.equal("balancers", cloud.elbv2.describe_load_balancers()["LoadBalancers"], [])
    kept = [bucket["Name"] for bucket in cloud.s3.list_buckets()["Buckets"]]
    find.equal("buckets", kept, [bucket])
    if kept:
        objects = cloud.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        find.equal("what is in the bucket", [o["Key"] for o in objects], ["state/journal/00000000000000000001"])

    created(fresh(cloud.endpoint), path, OTHER, find)


def fresh(endpoint):
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
    return Cloud(endpoint)
