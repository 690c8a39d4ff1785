"""Holds infra/cluster.yaml to what infra/README.md says of it: cfn-lint finds nothing, and the stack is made, updated and
deleted at moto, a stand-in for AWS's control plane.

    python tests/infra/stack.py             checks; every finding is printed, and the exit code is 1 if there is one
    python tests/infra/stack.py --plant     plants mistakes in copies of the template, the units and the scripts, one at a time,
                                            and sees that the checks find each of them; exit code 1 if one is not found

Both want an mr-coordinator to read what the template writes for it, by `--coordinator PATH` another than that of target/release.

What moto does not do is checked in the template itself, with its functions resolved: `UNSHOWN` lists it. Nothing here shows what
AWS makes of the template beyond that.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from cloud import created, fresh, lived
from machine import started
from moto.server import ThreadedMotoServer
from program import takes
from tables import tables
from template import FIRST, INFRA, OTHER, ROOT, Findings, Template
from units import units
from written import lint, renewed, wide, written

UNSHOWN = """not shown here, since moto does not do it; looked at in the template where it can be:
  moto makes no policies of buckets and topics, alarms, SNS subscriptions or listeners of network balancers from a template, and of
    a bucket it leaves out public access, ownership and lifecycle
  moto gives each security group all ways out, whatever the template says
  moto knows neither UpdatePolicy nor lifecycle hooks nor metrics of groups; on an update it makes a group anew, so that a size
    that somebody set in the meantime is not seen to stay, and changes neither roles, policies nor endpoints
  moto deletes neither endpoints nor route tables with a stack: they are deleted here
  moto starts no machine: their user data is run in a folder here, with stand-ins for `aws` and `systemctl`
  whether roles, endpoints and ports are enough for the programs: that takes AWS itself
  that systemd tries again, gives up and powers off as the units say: their text is looked at here"""


def check(endpoint, path, systemd, program, only=None):
    find = Findings()
    parts = {
        "lint": lambda: lint(path, find),
        "written": lambda: [written(Template(path, parameters), find) for parameters in (FIRST, OTHER)],
        "tables": lambda: [tables(Template(path, parameters), find) for parameters in (FIRST, OTHER)],
        "iam": lambda: wide(find),
        "runbook": lambda: renewed(systemd.parent / "README.md", find),
        "units": lambda: units(systemd, find),
        "program": lambda: takes(path, program, endpoint, find),
        "started": lambda: started(Template(path, FIRST), systemd, find),
        "lived": lambda: lived(fresh(endpoint), path, find),
        # The first part of that alone, for what is planted.
        "made": lambda: created(fresh(endpoint), path, FIRST, find),
    }
    for name, part in parts.items():
        if name == only or (only is None and name != "made"):
            try:
                part()
            except Exception as error:  # One part that can't be looked at does not hide what others find.
                find.append(f"{find.part}: {type(error).__name__}: {error}")
    return find


# What is planted: where, what stands there, what stands there then, which part finds it, and words of the finding.
TEMPLATE, INSTALL, FETCH, README = "cluster.yaml", "mr-install", "mr-fetch-certs", "README.md"
COORDINATOR, WORKER, ON_EC2 = "mr-coordinator.service", "mr-worker.service", "mr-worker-on-ec2.conf"
PLANTS = [
    (TEMPLATE, "      Roles: [!Ref WorkerRole]", "      Roles: [!Ref NobodysRole]", "lint", "cfn-lint"),
    (TEMPLATE, "SourceSecurityGroupId: !Ref WorkerPorts, Description: Workers}\n        - {IpProtocol: tcp, FromPort: 7171",
     "CidrIp: 0.0.0.0/0, Description: All}\n        - {IpProtocol: tcp, FromPort: 7171", "made", "lets 0.0.0.0/0 in"),
    (TEMPLATE, "SourceSecurityGroupId: !Ref BalancerPorts,", "CidrIpv6: \"::/0\",", "written", "lets ::/0 in"),
    (TEMPLATE, "FromPort: 7171, ToPort: 7171, SourceSecurityGroupId: !Ref BalancerPorts",
     "FromPort: 22, ToPort: 22, SourceSecurityGroupId: !Ref BalancerPorts", "made", "open"),
    (TEMPLATE, "AllowedPattern: ^((10", "AllowedPattern: ^(0.0.0.0/0|(10", "written", "SubmitterCidr takes '0.0.0.0/0'"),
    (TEMPLATE, "HttpTokens: required", "HttpTokens: optional", "made", "IMDS of"),
    (TEMPLATE, "HttpPutResponseHopLimit: 1}", "HttpPutResponseHopLimit: 2}", "made", "IMDS of"),
    (TEMPLATE, "BlockPublicPolicy: true", "BlockPublicPolicy: false", "written", "public access block"),
    (TEMPLATE, "Prefix: state/work/", "Prefix: state/", "written", "removes more than work files"),
    (TEMPLATE, '"14": 90', '"14": 14', "written", "with KeepDays 14"),
    (TEMPLATE, "AbortIncompleteMultipartUpload: {DaysAfterInitiation: 1}",
     "ExpiredObjectDeleteMarker: true", "written", "forgotten uploads"),
    (TEMPLATE, "    DeletionPolicy: Retain\n    UpdateReplacePolicy: Retain\n    Properties:\n      # Without",
     "    Properties:\n      # Without", "written", "DeletionPolicy of Bucket"),
    (TEMPLATE, "aws:SecureTransport: \"false\"", "aws:SecureTransport: \"true\"", "written", "without TLS"),
    (TEMPLATE, "      MinSize: \"0\"",
     "      MinSize: \"0\"\n      DesiredCapacity: \"0\"", "written", "an update would set it again"),
    (TEMPLATE, "IgnoreUnmodifiedGroupSizeProperties: true",
     "IgnoreUnmodifiedGroupSizeProperties: false", "written", "UpdatePolicy of the workers"),
    (TEMPLATE, "NewInstancesProtectedFromScaleIn: false", "NewInstancesProtectedFromScaleIn: true", "made", "new workers are protected"),
    (TEMPLATE, "MaxSize: !Ref WorkersMax", "MaxSize: \"7\"", "made", "sizes of the workers' group"),
    (TEMPLATE, "      MaxSize: \"1\"", "      MaxSize: \"2\"", "made", "sizes of the coordinator's group"),
    (TEMPLATE, "lifecycle_hook = \"drain\"", "lifecycle_hook = \"drian\"", "written", "hooks of the group"),
    (TEMPLATE, "target_minutes = ", "target_minuets = ", "written", "no setting `target_minuets`"),
    (TEMPLATE, "MinInstancesInService: 0", "MinInstancesInService: 1", "written", "an update of the coordinator"),
    (TEMPLATE, "Scheme: internal", "Scheme: internet-facing", "made", "balancers is"),
    (TEMPLATE, "Action: [s3:PutObject, s3:AbortMultipartUpload]",
     "Action: [s3:PutObject, s3:DeleteObject]", "made", "not infra/iam/worker.json"),
    (TEMPLATE, "parameter/mr/${AWS::StackName}/worker", "parameter/mr/${AWS::StackName}/*", "made", "machine of the Worker is not"),
    (TEMPLATE, "      Roles: [!Ref CoordinatorRole, !Ref WorkerRole]",
     "      Roles: [!Ref CoordinatorRole]", "made", "policies of the Worker"),
    (TEMPLATE, "ssm:resourceTag/mr-role: coordinator", "ssm:resourceTag/mr-role: worker", "made", "not infra/iam/submitter-session.json"),
    (TEMPLATE, "PrivateDnsEnabled: true", "PrivateDnsEnabled: false", "made", "by the service's own name"),
    (TEMPLATE, "Metrics: [GroupInServiceInstances]}", "Metrics: [GroupMinSize]}", "written", "does not measure"),
    (TEMPLATE, "aws s3 cp --only-show-errors '${ReleaseUrl}'",
     "aws s3 cp --only-show-errors 's3://releases/mr-1.tar.gz'", "lived", "the release before"),
    (TEMPLATE, "| sha256sum --check --quiet", "| sha256sum --check --quiet || true", "started", "whose sum is another"),
    (TEMPLATE, "MR_CERTS_PARAMETER=/mr/${AWS::StackName}/coordinator",
     "MR_CERTS_PARAMETER=/mr/${AWS::StackName}/worker", "started", "ends with 1"),
    (TEMPLATE, "\"MR_METRICS=127.0.0.1:9464\"", "\"MR_METRICS=0.0.0.0:9464\"", "written", "metrics of a"),
    (TEMPLATE, "MR_KEEP_DAYS=", "MR_KEPT_DAYS=", "started", "settings of a coordinator"),
    (TEMPLATE, "Principal: {Service: ec2.amazonaws.com}", "Principal: {AWS: \"*\"}", "tables", "who may be the CoordinatorRole"),
    (TEMPLATE, "              - !GetAtt Bucket.Arn\n              - !Sub \"${Bucket.Arn}/*\"\n", "              - \"*\"\n",
     "tables", "what leaves by S3Endpoint"),
    (TEMPLATE, "              - !Sub\n                - arn:${AWS::Partition}:s3:::${Object}\n"
     "                - Object: !Select [1, !Split [\"s3://\", !Ref ReleaseUrl]]\n\n  # These", "\n  # These", "tables", "what leaves by S3Endpoint"),
    (TEMPLATE, "        - {IpProtocol: tcp, FromPort: 7171, ToPort: 7171, SourceSecurityGroupId: !Ref WorkerPorts, Description: Workers}\n",
     "", "tables", "['WorkerPorts > BalancerPorts 7171'] missing"),
    (TEMPLATE, "        - {IpProtocol: tcp, FromPort: 443, ToPort: 443, SourceSecurityGroupId: !Ref WorkerPorts, Description: Workers}\n",
     "", "tables", "['WorkerPorts > EndpointPorts 443'] missing"),
    (TEMPLATE, "        - {IpProtocol: tcp, FromPort: 7171, ToPort: 7171, SourceSecurityGroupId: !Ref BalancerPorts, Description: Its address}\n",
     "", "tables", "['BalancerPorts > CoordinatorPorts 7171'] missing"),
    (TEMPLATE, "        - {IpProtocol: tcp, FromPort: 9464, ToPort: 9464, SourceSecurityGroupId: !Ref BalancerPorts, Description: Its health}\n",
     "", "tables", "['BalancerPorts > CoordinatorPorts 9464'] missing"),
    (TEMPLATE, "        - {IpProtocol: tcp, FromPort: 7171, ToPort: 7171, CidrIp: !Sub \"${Network}.0.0/16\", Description: The coordinator}\n"
     "  BalancerPorts", "  BalancerPorts", "tables", "['WorkerPorts > VPC 7171'] missing"),
    (TEMPLATE, "CidrIp: !Sub \"${Network}.0.0/16\", Description: Its health}", "CidrIp: 0.0.0.0/0, Description: Its health}",
     "tables", "['BalancerPorts > 0.0.0.0/0 9464'] too much"),
    (TEMPLATE, "    Condition: MetricsInNetwork\n    Properties:\n      GroupId: !GetAtt CoordinatorPorts",
     "    Properties:\n      GroupId: !GetAtt CoordinatorPorts", "tables", "['SubmitterPorts > CoordinatorPorts 9464'] too much"),
    (TEMPLATE, "SecurityGroupIds: [!Ref WorkerPorts]", "SecurityGroupIds: [!Ref SubmitterPorts]", "tables", "security groups of WorkerTemplate"),
    (TEMPLATE, "            Action: ssm:GetParameter\n", "            Action: ssm:*\n", "tables", "what leaves by SsmEndpoint"),
    (TEMPLATE, "            Condition:\n              ArnEquals: {aws:PrincipalArn: !GetAtt CoordinatorRole.Arn}\n", "",
     "tables", "what leaves by AutoScalingEndpoint"),
    (TEMPLATE, "ArnEquals: {aws:PrincipalArn: [!GetAtt CoordinatorRole.Arn, !GetAtt WorkerRole.Arn]}",
     "StringLike: {aws:PrincipalArn: \"*\"}", "tables", "what leaves by SessionEndpoint"),
    (TEMPLATE, "      TargetType: instance\n      Port: 7171", "      TargetType: instance\n      Port: 7172", "tables", "the coordinator's target group"),
    (TEMPLATE, "      HealthCheckProtocol: HTTP\n      HealthCheckPort: \"9464\"\n      HealthCheckPath: /healthz\n"
     "      Matcher: {HttpCode: \"200\"}\n", "      HealthCheckProtocol: TCP\n", "tables", "the coordinator's target group"),
    (TEMPLATE, "HeartbeatTimeout: 180", "HeartbeatTimeout: 30", "tables", "the hook"),
    (TEMPLATE, "DefaultResult: CONTINUE", "DefaultResult: ABANDON", "tables", "the hook"),
    (TEMPLATE, "MetricName: HealthyHostCount", "MetricName: UnHealthyHostCount", "tables", "what NoCoordinator looks at"),
    (TEMPLATE, "Namespace: AWS/NetworkELB", "Namespace: AWS/ApplicationELB", "tables", "what NoCoordinator looks at"),
    (TEMPLATE, "        - {Name: TargetGroup, Value: !GetAtt CoordinatorTarget.TargetGroupFullName}\n", "", "tables", "what NoCoordinator looks at"),
    (TEMPLATE, "      Dimensions: [{Name: AutoScalingGroupName, Value: !Ref CoordinatorGroup}]",
     "      Dimensions: [{Name: AutoScalingGroupName, Value: !Ref WorkerGroup}]", "tables", "what NoCoordinatorMachine looks at"),
    (TEMPLATE, "ComparisonOperator: LessThanThreshold", "ComparisonOperator: GreaterThanThreshold", "tables", "what NoCoordinator looks at"),
    (TEMPLATE, "Threshold: 1\n", "Threshold: 1000\n", "tables", "what NoCoordinator looks at"),
    (TEMPLATE, "TreatMissingData: breaching", "TreatMissingData: notBreaching", "tables", "what NoCoordinator looks at"),
    (TEMPLATE, "Statistic: Minimum", "Statistic: Average", "tables", "what WorkersAllTheTime looks at"),
    (TEMPLATE, "Expression: minutes / 60", "Expression: minutes / 3600", "tables", "what ManyInstanceHours looks at"),
    (TEMPLATE, "policy-type: [NoChangeNotification]", "policy-type: [Expiration]", "tables", "what tells of certificates"),
    (TEMPLATE, "            Principal: {Service: events.amazonaws.com}\n", "            Principal: \"*\"\n", "tables", "who may tell of certificates"),
    (README, "\"After\":\"340\"", "\"After\":\"364\"", "runbook", "are told of after"),
    (TEMPLATE, "AllowedPattern: ^([1-9][0-9]*(\\.[0-9]+)?|0\\.[0-9]*[1-9][0-9]*)?$", "AllowedPattern: ^([0-9]+(\\.[0-9]+)?)?$",
     "written", "BudgetUsdPerHour takes '007'"),
    (TEMPLATE, "      - Assert: !Not [!Equals [!Ref UsdPerWorkerHour, \"0\"]]", "      - Assert: !Not [!Equals [!Ref UsdPerWorkerHour, \"\"]]",
     "written", "what is needed then"),
    (TEMPLATE, "!Sub \"usd_per_hour_waited = ${UsdPerHourWaited}\"", "!Sub \"usd_per_hour_waited = ${TargetMinutes}\"", "written", "`usd_per_hour_waited`"),
    (TEMPLATE, "kernel_families = [\\\"${Names}\\\"]", "kernel_families = \\\"${Names}\\\"", "program", "it does not take"),
    (TEMPLATE, "!Sub \"usd_per_hour_waited = ${UsdPerHourWaited}\"",
     "!Sub \"usd_per_hour_waited = ${UsdPerHourWaited}\\ntarget_minutes = ${TargetMinutes}\"", "program", "are two aims"),
    (TEMPLATE, "HealthCheckPath: /healthz", "HealthCheckPath: /health", "program", "the answer to the balancer"),
    (TEMPLATE, "              MR_METRICS_INSECURE=true\n", "", "program", "would answer anyone"),
    (COORDINATOR, "StartLimitIntervalSec=0", "StartLimitIntervalSec=10", "units", "StartLimitIntervalSec of mr-coordinator.service"),
    (WORKER, "RestartSec=5", "RestartSec=100ms", "units", "RestartSec of mr-worker.service"),
    (ON_EC2, "StartLimitAction=poweroff\n", "", "units", "StartLimitAction of mr-worker-on-ec2.conf"),
    (ON_EC2, "StartLimitAction=poweroff", "StartLimitAction=poweroff\nFailureAction=poweroff", "units", "does at each failure"),
    (ON_EC2, "TimeoutStopSec=120", "TimeoutStopSec=95", "units", "in the middle of handing back"),
    (ON_EC2, "!= success ] ||", "= success ] ||", "units", "ends with success"),
    (INSTALL, "enable --now mr-\"$role\".service", "enable mr-\"$role\".service", "started", "what systemd is told"),
    (INSTALL, "service.d/on-ec2.conf", "service.d/on-ec3.conf", "started", "what is installed on a worker"),
    (FETCH, "install -m 600", "install -m 644", "started", "certificates of a"),
    (FETCH, "-C \"$fresh\"", "-C \"$MR_CERTS\"", "started", "ends with"),
    (FETCH, "&& continue", "|| continue", "started", "what is installed on a"),
]


def plant(endpoint, program):
    """Whether each planted mistake is found, where and as it should be."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (file, there, instead, part, words) in enumerate(PLANTS):
            copy = Path(folder) / str(number)
            shutil.copytree(INFRA, copy)
            path = next(copy.rglob(file))
            text = path.read_text()
            if there not in text:
                print(f"MISSED: {file} has no {there!r} to plant a mistake in")
                missed += 1
                continue
            path.write_text(text.replace(there, instead))
            find = check(endpoint, copy / "cluster.yaml", copy / "systemd", program, part)
            found = [finding for finding in find if words in finding]
            missed += not found
            shown = " ".join((found or find or ["nothing was found"])[0].split())[:140]
            planted = (instead.strip() or f"without {there.strip()}").splitlines()[-1].strip()
            print(f"{'found' if found else 'MISSED'}: {planted!r}: {shown}")
    if f"; {len(PLANTS)} planted mistakes are found" not in (ROOT / "SECURITY.md").read_text():
        print(f"MISSED: SECURITY.md does not say that {len(PLANTS)} are planted")
        missed += 1
    print(f"{len(PLANTS) - missed} of {len(PLANTS)} planted mistakes are found")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plant", action="store_true", help="see that planted mistakes are found")
    parser.add_argument("--template", type=Path, default=INFRA / "cluster.yaml")
    parser.add_argument("--coordinator", type=Path, default=ROOT / "target/release/mr-coordinator", help="the program")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    # Nothing of this machine's own settings, and no proxy on the way to moto.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    began = time.monotonic()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        if args.plant:
            return 1 if plant(endpoint, args.coordinator) else 0
        find = check(endpoint, args.template, INFRA / "systemd", args.coordinator)
    finally:
        server.stop()
    for part, count in find.held.items():
        print(f"{part}: {count} things are as they should be")
    print("\n  ".join([UNSHOWN, *find.unseen]))
    for finding in find:
        print(f"WRONG: {finding}")
    print(f"{len(find)} findings, in {time.monotonic() - began:.1f} s")
    return 1 if find else 0


if __name__ == "__main__":
    sys.exit(main())
