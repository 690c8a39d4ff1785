"""infra/cluster.yaml as it is for some parameters, without AWS; and what was found wrong."""

import base64
import json
import re
from collections import Counter
from pathlib import Path

from cfnlint import decode

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
REGION, ACCOUNT, STACK = "us-east-1", "123456789012", "mr"
FIRST = {
    "ReleaseUrl": "s3://releases/mr-1.tar.gz",
    "ReleaseSha256": "1" * 64,
    "InputBucket": "photos",
    "InputPrefix": "2026/",
    "WorkersMax": "16",
    "SubmitterCidr": "10.9.0.0/16",
    "CoordinatorReadsInput": "true",
    "UsdPerWorkerHour": "0.08",
    "BudgetUsdPerHour": "3.2",
    "AlarmEmail": "someone@example.com",
}
# What the runbook's upgrade changes.
UPGRADE = FIRST | {"ReleaseUrl": "s3://releases/mr-2.tar.gz", "ReleaseSha256": "2" * 64, "WorkersMax": "20"}
# Every choice taken otherwise, and the fleet as cheap as can be.
OTHER = FIRST | {
    "OutputBucket": "tables",
    "OutputPrefix": "embedded/",
    "SubmitterCidr": "",
    "Zones": "2",
    "Metrics": "network",
    "Sessions": "false",
    "CoordinatorReadsInput": "false",
    "BudgetUsdPerHour": "",
    "BudgetUsdPerJob": "12.50",
    "UsdPerHourWaited": "1.5",
    "KernelFamilies": "f32/x86-64-v3,bf16x3/x86-64-v3",
    "AlarmEmail": "",
}


class Failed(Exception):
    """A step that the others need did not go well."""


class Findings(list):
    """What is wrong, and how many things were found right."""

    def __init__(self):
        super().__init__()
        self.held = Counter()
        self.part = ""
        # What was not looked at for want of a program that this machine need not have.
        self.unseen = []

    def hold(self, right, wrong):
        if right:
            self.held[self.part] += 1
        else:
            self.append(f"{self.part}: {wrong}")

    def equal(self, what, there, expected):
        self.hold(there == expected, f"{what} is {there!r}, where it should be {expected!r}")


class Template:
    """With its functions resolved for some parameters. What only AWS knows stands in angle brackets."""

    def __init__(self, path, parameters):
        text, problems = decode.decode(str(path))
        if text is None:
            raise Failed(f"{path} can't be read: {problems}")
        # Without the marks of lines that cfn-lint puts into it.
        self.raw = json.loads(json.dumps(text))
        self.parameters = {name: str(p.get("Default", "")) for name, p in self.raw["Parameters"].items()} | parameters
        for name, parameter in self.raw["Parameters"].items():
            if parameter["Type"] == "CommaDelimitedList":
                self.parameters[name] = self.parameters[name].split(",")
        self.conditions = {name: self.value(c) for name, c in self.raw["Conditions"].items()}
        wanted = {name: r for name, r in self.raw["Resources"].items() if self.conditions.get(r.get("Condition"), True)}
        self.resources = {name: self.value(resource) for name, resource in wanted.items()}

    def of_type(self, kind):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}

    def properties(self, name):
        return self.resources.get(name, {}).get("Properties", {})

    def value(self, node):
        if isinstance(node, list):
            resolved = [self.value(item) for item in node]
            return [item for item in resolved if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and (name := next(iter(node))) in FUNCTIONS:
            return FUNCTIONS[name](self, node[name])
        resolved = {key: self.value(item) for key, item in node.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def ref(self, name):
        pseudo = {
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::StackName": STACK,
            "AWS::NoValue": NO_VALUE,
        }
        return pseudo.get(name, self.parameters.get(name, f"<{name}>"))

    def sub(self, node):
        text, values = (node, {}) if isinstance(node, str) else (node[0], self.value(node[1]))

        def replaced(match):
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            return str(values.get(name, f"<{name}>" if "." in name else self.ref(name)))

        return re.sub(r"\$\{([^}]+)\}", replaced, text)


NO_VALUE = object()
FUNCTIONS = {
    "Ref": lambda t, node: t.ref(node),
    "Fn::GetAtt": lambda t, node: f"<{'.'.join(node) if isinstance(node, list) else node}>",
    "Fn::Sub": lambda t, node: t.sub(node),
    "Fn::If": lambda t, node: t.value(node[1] if t.conditions[node[0]] else node[2]),
    "Fn::And": lambda t, node: all(t.value(item) for item in node),
    "Fn::Equals": lambda t, node: t.value(node[0]) == t.value(node[1]),
    "Fn::Not": lambda t, node: not t.value(node[0]),
    "Fn::Select": lambda t, node: t.value(node[1])[int(node[0])],
    "Fn::Join": lambda t, node: node[0].join(t.value(node[1])),
    "Fn::Split": lambda t, node: t.value(node[1]).split(node[0]),
    "Fn::FindInMap": lambda t, node: t.raw["Mappings"][node[0]][node[1]][t.value(node[2])],
    "Fn::GetAZs": lambda t, node: [f"{REGION}{zone}" for zone in "abc"],
    "Fn::Base64": lambda t, node: base64.b64encode(t.value(node).encode()).decode(),
}


def user_data(template_properties):
    return base64.b64decode(template_properties["LaunchTemplateData"]["UserData"]).decode()


def heredoc(script, name):
    """What a script writes to the file of that name."""
    found = re.search(rf"cat >\S*{re.escape(name)} <<'END'\n(.*?)^END$", script, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""
