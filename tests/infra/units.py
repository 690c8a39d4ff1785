"""The units of systemd: when they are started again, when they give up, and what happens then."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tables import HOOK
from template import ROOT

# What a worker needs to hand back what it has not finished.
HAND_BACK_S = 10
UNITS = {
    "mr-coordinator.service": {
        "Unit": {"StartLimitIntervalSec": "0"},
        "Service": {"Restart": "on-failure", "RestartSec": "5", "TimeoutStopSec": "15"},
    },
    "mr-worker.service": {
        "Unit": {"StartLimitIntervalSec": "0"},
        "Service": {"Restart": "on-failure", "RestartSec": "5", "TimeoutStopSec": "15"},
    },
    # Lies over that of a worker.
    "mr-worker-on-ec2.conf": {
        "Unit": {"StartLimitIntervalSec": "1h", "StartLimitBurst": "30", "StartLimitAction": "poweroff"},
        "Service": {"RestartSec": "10", "TimeoutStopSec": "120", "Environment": "MR_EC2=true"},
    },
}
# What systemd takes at each failure, also at one after which it starts the unit again.
AT_EACH_FAILURE = {"SuccessAction", "FailureAction", "OnSuccess", "OnFailure"}


def units(folder, find):
    find.part = "units"
    for name, expected in UNITS.items():
        there = read(folder / name)
        for section, settings in expected.items():
            for key, value in settings.items():
                find.equal(f"{key} of {name}", there.get(section, {}).get(key), [value])
        for section in there.values():
            find.equal(f"what {name} does at each failure", sorted(AT_EACH_FAILURE & set(section)), [])
    on_ec2 = read(folder / "mr-worker-on-ec2.conf").get("Service", {})
    stop = int(on_ec2.get("TimeoutStopSec", ["0"])[0])
    # For how long it finishes what it can there, unless it is told otherwise.
    drain = re.search(r"DRAIN_ON_EC2: Duration = Duration::from_secs\((\d+)\)", (ROOT / "mr/src/worker.rs").read_text())
    find.hold(drain, "mr/src/worker.rs does not say for how long a worker on EC2 finishes what it can")
    find.hold(drain and stop > int(drain[1]) + HAND_BACK_S, f"a worker on EC2 is killed after {stop} s, in the middle of handing back")
    find.hold(HOOK["HeartbeatTimeout"] > stop, f"a machine goes {HOOK['HeartbeatTimeout']} s after it is told to, and its worker takes {stop}")
    for result, told in (("success", "poweroff --no-block\n"), ("exit-code", ""), ("signal", ""), ("start-limit-hit", "")):
        find.equal(f"what a machine on EC2 is told when its worker ends with {result}", stopped(on_ec2, result), told)
    analyzed(folder, find)


def read(path):
    """By section and key, as often as a key is there."""
    there, section = {}, None
    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            section = there.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            section.setdefault(key, []).append(value)
    return there


def stopped(service, result):
    """What `systemctl` is told by ExecStopPost, which is run here as systemd would."""
    with tempfile.TemporaryDirectory() as folder:
        systemctl = Path(folder) / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$*" >>{folder}/told\n')
        systemctl.chmod(0o755)
        for command in service.get("ExecStopPost", []):
            shell = command.removeprefix("+/bin/sh -c ")
            if not (shell[:1] == shell[-1:] == "'"):
                return f"not run: {command}"
            environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SERVICE_RESULT": result}
            subprocess.run(["/bin/sh", "-c", shell[1:-1]], env=environment, check=True, timeout=10)
        told = Path(folder) / "told"
        return told.read_text() if told.exists() else ""


def analyzed(folder, find):
    """What systemd makes of them, where it is there. The programs need not be."""
    if shutil.which("systemd-analyze") is None:
        find.unseen.append("systemd-analyze is not on this machine: whether systemd knows each setting of the units was not looked at")
        return
    with tempfile.TemporaryDirectory() as there:
        copies = [Path(there) / path.name for path in (*folder.glob("*.service"), *folder.glob("*.timer"))]
        for copy in copies:
            copy.write_text((folder / copy.name).read_text().replace("=/usr/local/bin/", f"={there}/"))
        for name in ("mr-coordinator", "mr-worker", "mr-fetch-certs"):
            (Path(there) / name).symlink_to("/bin/true")
        drop_in = Path(there) / "mr-worker.service.d/on-ec2.conf"
        drop_in.parent.mkdir()
        shutil.copy(folder / "mr-worker-on-ec2.conf", drop_in)
        command = ["systemd-analyze", "verify", *map(str, copies)]
        # A colon at the end: and the system's own, such as network-online.target.
        environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{there}:"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        find.hold(done.returncode == 0 and not done.stderr, f"systemd-analyze says {done.stderr or done.returncode}")
