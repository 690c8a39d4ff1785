"""Who may be whom, who reaches whom at which port, what leaves by the endpoints, and what is watched: the template against tables
that are written down here, so that whoever changes one has to change the other as well."""

from template import ACCOUNT, REGION, STACK

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}

# `from > to port`, each as the security group of one of them has it: what comes in, and what goes out. VPC: every address of the
# network. No group is in both, since answers need no rule.
IN = {
    "WorkerPorts > BalancerPorts 7171",
    "SubmitterPorts > BalancerPorts 7171",
    "BalancerPorts > CoordinatorPorts 7171",
    "BalancerPorts > CoordinatorPorts 9464",
    "CoordinatorPorts > EndpointPorts 443",
    "WorkerPorts > EndpointPorts 443",
    "SubmitterPorts > EndpointPorts 443",
}
IN_FOR_A_PEER = {"10.9.0.0/16 > BalancerPorts 7171"}
IN_FOR_METRICS = {"SubmitterPorts > WorkerPorts 9464", "SubmitterPorts > CoordinatorPorts 9464"}
OUT = {
    "SubmitterPorts > 0.0.0.0/0 443",
    "SubmitterPorts > VPC 7171",
    "SubmitterPorts > VPC 9464",
    "WorkerPorts > 0.0.0.0/0 443",
    "WorkerPorts > VPC 7171",
    "BalancerPorts > VPC 7171",
    "BalancerPorts > VPC 9464",
    "CoordinatorPorts > 0.0.0.0/0 443",
    # A group that says nothing may send anything. Endpoints call nobody.
    "EndpointPorts > anywhere",
}
WEARS = {
    "Balancer": ["<BalancerPorts>"],
    "CoordinatorTemplate": ["<CoordinatorPorts>"],
    "WorkerTemplate": ["<WorkerPorts>"],
    "AutoScalingEndpoint": ["<EndpointPorts>"],
    "SsmEndpoint": ["<EndpointPorts>"],
    "SessionEndpoint": ["<EndpointPorts>"],
}

BOTH_ROLES = {"ArnEquals": {"aws:PrincipalArn": ["<CoordinatorRole.Arn>", "<WorkerRole.Arn>"]}}
LEAVES = {
    "AutoScalingEndpoint": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": [
                "autoscaling:CompleteLifecycleAction",
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:PutScheduledUpdateGroupAction",
                "autoscaling:SetDesiredCapacity",
                "autoscaling:SetInstanceProtection",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
            ],
            "Resource": "*",
            "Condition": {"ArnEquals": {"aws:PrincipalArn": "<CoordinatorRole.Arn>"}},
        }
    ],
    "SsmEndpoint": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "ssm:GetParameter",
            "Resource": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/mr/{STACK}/*",
            "Condition": {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
        },
        {"Effect": "Allow", "Principal": "*", "Action": "ssm:UpdateInstanceInformation", "Resource": "*", "Condition": BOTH_ROLES},
    ],
    "SessionEndpoint": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
            "Condition": BOTH_ROLES,
        }
    ],
}

TARGET = {
    "VpcId": "<Vpc>",
    "TargetType": "instance",
    "Port": 7171,
    "Protocol": "TCP",
    "HealthCheckProtocol": "HTTP",
    "HealthCheckPort": "9464",
    "HealthCheckPath": "/healthz",
    "Matcher": {"HttpCode": "200"},
    "HealthCheckIntervalSeconds": 10,
    "HealthCheckTimeoutSeconds": 5,
    "HealthyThresholdCount": 3,
    "UnhealthyThresholdCount": 3,
    "TargetGroupAttributes": [
        {"Key": "deregistration_delay.timeout_seconds", "Value": "10"},
        {"Key": "deregistration_delay.connection_termination.enabled", "Value": "true"},
    ],
}
LISTENER = {
    "LoadBalancerArn": "<Balancer>",
    "Port": 7171,
    "Protocol": "TCP",
    "DefaultActions": [{"Type": "forward", "TargetGroupArn": "<CoordinatorTarget>"}],
}
HOOK = {
    "LifecycleHookName": "drain",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "HeartbeatTimeout": 180,
    "DefaultResult": "CONTINUE",
}

MACHINES_OF = {"Namespace": "AWS/AutoScaling", "MetricName": "GroupInServiceInstances"}
ALARMS = {
    "NoCoordinatorMachine": {
        **MACHINES_OF,
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "<CoordinatorGroup>"}],
        "Statistic": "Maximum",
        "Period": 300,
        "EvaluationPeriods": 3,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    },
    "NoCoordinator": {
        "Namespace": "AWS/NetworkELB",
        "MetricName": "HealthyHostCount",
        "Dimensions": [
            {"Name": "LoadBalancer", "Value": "<Balancer.LoadBalancerFullName>"},
            {"Name": "TargetGroup", "Value": "<CoordinatorTarget.TargetGroupFullName>"},
        ],
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 10,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    },
    "WorkersAllTheTime": {
        **MACHINES_OF,
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "<WorkerGroup>"}],
        "Statistic": "Minimum",
        "Period": 3600,
        "EvaluationPeriods": "24",
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    },
    "ManyInstanceHours": {
        "Metrics": [
            {
                "Id": "minutes",
                "ReturnData": False,
                "MetricStat": {
                    "Metric": {**MACHINES_OF, "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "<WorkerGroup>"}]},
                    "Period": 86400,
                    "Stat": "Sum",
                },
            },
            {"Id": "hours", "Label": "Instance hours in a day", "Expression": "minutes / 60", "ReturnData": True},
        ],
        "EvaluationPeriods": 1,
        "Threshold": "200",
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    },
}
# What the runbook puts on the coordinator's parameter has Parameter Store say this.
NOT_RENEWED = {
    "source": ["aws.ssm"],
    "detail-type": ["Parameter Store Policy Action"],
    "detail": {"parameter-name": [f"/mr/{STACK}/coordinator"], "policy-type": ["NoChangeNotification"]},
}
NOTICES = [
    {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": "<CertificateNotices>",
    }
]


def tables(template, find):
    find.part = "tables"
    parameters = template.parameters
    roles = template.of_type("AWS::IAM::Role")
    find.equal("roles", sorted(roles), ["CoordinatorRole", "WorkerRole"])
    for name, role in roles.items():
        find.equal(f"who may be the {name}", role.get("AssumeRolePolicyDocument"), TRUST)

    comes, goes = ports(template)
    peer = IN_FOR_A_PEER if parameters["SubmitterCidr"] else set()
    metrics = IN_FOR_METRICS if parameters["Metrics"] == "network" else set()
    same(find, "let in", comes, IN | peer | metrics)
    same(find, "let out", goes, OUT)
    for name, groups in WEARS.items():
        if name in template.resources:
            there = template.properties(name)
            there = there.get("LaunchTemplateData", there)
            worn = there.get("SecurityGroups") or there.get("SecurityGroupIds")
            find.equal(f"security groups of {name}", worn, groups)

    endpoints = template.of_type("AWS::EC2::VPCEndpoint")
    for name, endpoint in endpoints.items():
        expected = by_s3(parameters) if name == "S3Endpoint" else LEAVES.get(name)
        document = endpoint.get("PolicyDocument", {})
        find.equal(f"what leaves by {name}", document.get("Statement"), expected)

    find.equal("the coordinator's target group", template.properties("CoordinatorTarget"), TARGET)
    find.equal("the balancer's listener", template.properties("BalancerListener"), LISTENER)
    find.equal("the hook", template.properties("WorkerGroup").get("LifecycleHookSpecificationList"), [HOOK])

    alarms = template.of_type("AWS::CloudWatch::Alarm")
    find.equal("alarms", sorted(alarms), sorted(ALARMS))
    for name, alarm in alarms.items():
        looks_at = {key: value for key, value in alarm.items() if key not in ("AlarmDescription", "AlarmActions", "OKActions")}
        find.equal(f"what {name} looks at", looks_at, ALARMS.get(name))
    if parameters["AlarmEmail"]:
        rule, policy = template.properties("CertificatesNotRenewed"), template.properties("CertificateNoticesPolicy")
        find.equal("what tells of certificates", rule.get("EventPattern"), NOT_RENEWED)
        find.equal("whom it tells", rule.get("Targets"), [{"Id": "email", "Arn": "<CertificateNotices>"}])
        find.equal("who may tell of certificates", policy.get("PolicyDocument", {}).get("Statement"), NOTICES)
        find.equal("where", policy.get("Topics"), ["<CertificateNotices>"])


def same(find, what, there, expected):
    find.hold(there == expected, f"{what}: {sorted(there - expected)} too much, {sorted(expected - there)} missing")


def ports(template):
    """What security groups let in and out, as the tables have it."""
    comes, goes = set(), set()
    inside = f"{template.parameters['Network']}.0.0/16"

    def other(rule):
        """The far end, and what else a rule says."""
        known = {"IpProtocol", "FromPort", "ToPort", "Description", "GroupId"}
        ends = [str(value).strip("<>").removesuffix(".GroupId") for key, value in sorted(rule.items()) if key not in known]
        port = f"{rule.get('FromPort')}" if rule.get("FromPort") == rule.get("ToPort") else f"{rule.get('FromPort')}-{rule.get('ToPort')}"
        protocol = "" if rule.get("IpProtocol") == "tcp" else f" {rule.get('IpProtocol')}"
        return "VPC" if ends == [inside] else " and ".join(ends), port + protocol

    def rule_in(group, rule):
        end, port = other(rule)
        comes.add(f"{end} > {group} {port}")

    def rule_out(group, rule):
        end, port = other(rule)
        goes.add(f"{group} > {end} {port}")

    for name, group in template.of_type("AWS::EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupIngress", []):
            rule_in(name, rule)
        for rule in group.get("SecurityGroupEgress", []):
            rule_out(name, rule)
        if "SecurityGroupEgress" not in group:
            goes.add(f"{name} > anywhere")
    for kind, take in (("Ingress", rule_in), ("Egress", rule_out)):
        for rule in template.of_type(f"AWS::EC2::SecurityGroup{kind}").values():
            take(rule["GroupId"].strip("<>").removesuffix(".GroupId"), rule)
    return comes, goes


def by_s3(parameters):
    """Buckets of the cluster, and the release."""
    output = parameters["OutputBucket"] or "<Bucket>"
    places = ["<Bucket.Arn>", "<Bucket.Arn>/*"]
    places += [f"arn:aws:s3:::{name}{rest}" for name in (parameters["InputBucket"], output) for rest in ("", "/*")]
    places.append(f"arn:aws:s3:::{parameters['ReleaseUrl'].removeprefix('s3://')}")
    return [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": places}]
