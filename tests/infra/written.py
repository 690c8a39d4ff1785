"""What the template and the policies say, above all where moto does not look."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from template import INFRA, ROOT, heredoc, user_data


def lint(path, find):
    find.part = "cfn-lint"
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", "us-east-1", "eu-central-1", "--template", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    find.hold(done.returncode == 0, f"ends with {done.returncode}: {done.stdout}{done.stderr}")
    size = path.stat().st_size
    find.hold(size <= 51_200, f"the template has {size} bytes, and a request takes 51,200")


def written(template, find):
    """What the template says, above all where moto does not look."""
    find.part = "template"
    raw = template.raw["Resources"]
    kinds = {resource["Type"] for resource in raw.values()}
    for kind in ("InternetGateway", "NatGateway", "EgressOnlyInternetGateway", "EIP", "Route"):
        find.hold(f"AWS::EC2::{kind}" not in kinds, f"there is a {kind}, and the network is to have no way out")
    for kind in ("ScalingPolicy", "ScheduledAction"):
        # The coordinator's own scheduled action ends a group that has no coordinator: nobody else sets sizes.
        find.hold(f"AWS::AutoScaling::{kind}" not in kinds, f"there is a {kind}, and the size is the coordinator's to set")

    parameters = template.raw["Parameters"]
    for name, good, bad in (
        ("SubmitterCidr", ["", "10.9.0.0/16", "192.168.7.0/24"], ["0.0.0.0/0", "::/0", "10.0.0.0/8", "54.1.0.0/16"]),
        ("Network", ["10.71", "172.16", "192.168"], ["0.0", "54.1", "172.32", "10"]),
        ("OutputPrefix", ["results/", "a/b/"], ["", "state/", "state/work/", "results"]),
        ("ReleaseSha256", ["0" * 64], ["", "0" * 63]),
        ("ReleaseUrl", ["s3://b/k.tar.gz"], ["https://b/k.tar.gz", "s3://b"]),
    ):
        pattern = re.compile(parameters[name]["AllowedPattern"])
        for value in good:
            find.hold(pattern.search(value), f"{name} refuses {value!r}")
        for value in bad:
            find.hold(not pattern.search(value), f"{name} takes {value!r}")

    bucket = template.properties("Bucket")
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        for name in ("Bucket", "BucketPolicy"):
            find.equal(f"{policy} of {name}", raw.get(name, {}).get(policy), "Retain")
    block = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    find.equal("the bucket's public access block", bucket.get("PublicAccessBlockConfiguration"), dict.fromkeys(block, True))
    rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
    aborts = [r for r in rules if r.get("AbortIncompleteMultipartUpload") and not r.get("Prefix")]
    find.hold(aborts and aborts[0]["Status"] == "Enabled", "forgotten uploads stay in the bucket")
    for rule in rules:
        removes = {key for key in rule if key.startswith(("Expir", "Noncurrent", "Transition"))}
        find.hold(
            not removes or (removes == {"ExpirationInDays"} and rule.get("Prefix") == "state/work/"),
            f"the rule {rule.get('Id')} removes more than work files: the journal and listings of jobs can't be made again",
        )
    for keep in parameters["KeepDays"]["AllowedValues"]:
        days = template.raw["Mappings"]["WorkFiles"]["ExpireAfter"].get(keep, 0)
        find.hold(days >= max(30, 3 * int(keep)), f"with KeepDays {keep} the bucket removes work files after {days} days")
    statements = template.properties("BucketPolicy").get("PolicyDocument", {}).get("Statement", [])
    clear = {"Bool": {"aws:SecureTransport": "false"}}
    find.hold(
        any(s["Effect"] == "Deny" and s["Principal"] == "*" and s["Action"] == "s3:*" and s.get("Condition") == clear
            and s["Resource"] == ["<Bucket.Arn>", "<Bucket.Arn>/*"] for s in statements),
        "the bucket may be spoken to without TLS",
    )

    workers, coordinator = template.properties("WorkerGroup"), template.properties("CoordinatorGroup")
    policy = raw["WorkerGroup"].get("UpdatePolicy", {})
    find.equal("UpdatePolicy of the workers", policy, {"AutoScalingScheduledAction": {"IgnoreUnmodifiedGroupSizeProperties": True}})
    find.hold("DesiredCapacity" not in workers, "the template sets how many workers there are, and an update would set it again")
    find.hold(not workers.get("NewInstancesProtectedFromScaleIn"), "new workers are protected, so that the group can't end")
    find.hold("WorkerGroup" in raw["CoordinatorGroup"].get("DependsOn", []), "the workers' group may go before the coordinator")
    rolling = raw["CoordinatorGroup"].get("UpdatePolicy", {}).get("AutoScalingRollingUpdate", {})
    find.equal("an update of the coordinator", rolling, {"MinInstancesInService": 0, "MaxBatchSize": 1})
    find.equal("the coordinator's health", coordinator.get("HealthCheckType"), "ELB")
    distribution = workers["MixedInstancesPolicy"]["InstancesDistribution"]
    find.equal("how spot pools are chosen", distribution.get("SpotAllocationStrategy"), "capacity-optimized")
    types = [override["InstanceType"] for override in workers["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]]
    find.hold(len(set(types)) == 4, f"there are not four types of workers: {types}")
    hooks = workers.get("LifecycleHookSpecificationList", [])
    settings = tomllib.loads(heredoc(user_data(template.properties("CoordinatorTemplate")), "coordinator.toml"))["fleet"]
    find.equal("hooks of the group", [hook["LifecycleHookName"] for hook in hooks], [settings.get("lifecycle_hook")])
    find.hold(all(hook["DefaultResult"] == "CONTINUE" for hook in hooks), "a worker that does not answer would be waited for")
    find.equal("the coordinator's group of workers", settings.get("group"), workers["AutoScalingGroupName"])
    find.equal("workers_max", settings.get("workers_max"), int(workers["MaxSize"]))
    page = (ROOT / "docs/fleet.md").read_text()
    for setting in settings:
        find.hold(f"`{setting}`" in page, f"docs/fleet.md knows no setting `{setting}` of [fleet]")

    for name, group in template.of_type("AWS::EC2::SecurityGroup").items():
        # Endpoints call nobody.
        ports = {(r["FromPort"], r["ToPort"]) for r in group.get("SecurityGroupEgress", [{"FromPort": 0, "ToPort": 65535}])}
        for rule in group.get("SecurityGroupIngress", []):
            # Moto does not see them all.
            find.hold("SourceSecurityGroupId" in rule, f"{name} lets {rule.get('CidrIp') or rule.get('CidrIpv6')} in")
        find.hold(name == "EndpointPorts" or ports <= {(p, p) for p in (443, 7171, 9464)}, f"{name} may send to {sorted(ports)}")
    balancer, listener = template.properties("Balancer"), template.properties("BalancerListener")
    find.equal("the balancer", (balancer.get("Type"), balancer.get("Scheme")), ("network", "internal"))
    find.equal("its port", (listener.get("Protocol"), listener.get("Port")), ("TCP", 7171))
    for role in ("coordinator", "worker"):
        data = template.properties(f"{role.capitalize()}Template")
        find.hold("KeyName" not in data["LaunchTemplateData"], f"a {role} has a key for ssh")
        settings = heredoc(user_data(data), f"{role}.env").splitlines()
        far = template.parameters["Metrics"] == "network"
        find.equal(f"metrics of a {role}", f"MR_METRICS={'0.0.0.0' if far else '127.0.0.1'}:9464" in settings, True)
        find.equal(f"plain text of a {role}", "MR_METRICS_INSECURE=true" in settings, far)
        find.equal(f"plain text of a {role}'s own port", "MR_INSECURE=true" in settings, False)

    alarms = template.of_type("AWS::CloudWatch::Alarm")
    find.equal("alarms", sorted(alarms), ["ManyInstanceHours", "NoCoordinator", "NoCoordinatorMachine", "WorkersAllTheTime"])
    for name, alarm in alarms.items():
        wants = ["<Alarms>"] if template.parameters["AlarmEmail"] else []
        find.equal(f"whom {name} tells", alarm["AlarmActions"], wants)
        metrics = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m] or [alarm]
        for metric in (m for m in metrics if m["Namespace"] == "AWS/AutoScaling"):
            group = metric["Dimensions"][0]["Value"].strip("<>")
            measured = [m for c in template.properties(group).get("MetricsCollection", []) for m in c["Metrics"]]
            find.hold(metric["MetricName"] in measured, f"{name} looks at {metric['MetricName']}, which {group} does not measure")


def wide(find):
    """What the policies of infra/iam must never hold."""
    find.part = "infra/iam"
    # Calls that AWS knows no narrower resource for.
    everywhere = {"LookAtTheGroup", "FindTheCoordinator", "BeReachedBySessionManager"}
    for path in sorted((INFRA / "iam").glob("*.json")):
        for statement in json.loads(path.read_text())["Statement"]:
            sid, actions = statement["Sid"], statement["Action"]
            find.hold(not any("*" in action for action in actions), f"{path.name} grants by wildcard: {actions}")
            find.hold(statement["Resource"] != "*" or sid in everywhere, f"{path.name}: {sid} is for everything")
    worker = json.loads((INFRA / "iam/worker.json").read_text())["Statement"]
    places = {place for s in worker if "s3:PutObject" in s["Action"] for place in s["Resource"]}
    find.equal("where a worker writes", places, {"arn:aws:s3:::STATE_BUCKET/STATE_PREFIXwork/*"})
