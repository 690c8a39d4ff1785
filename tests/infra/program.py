"""A real mr-coordinator with what the user data writes for it: whether it takes all of that, and whether it answers the balancer."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from template import FIRST, OTHER, Template, heredoc, user_data

# Each takes it all, those at the bounds of what the template lets in too.
TAKEN = [
    FIRST,
    OTHER,
    FIRST | {"UsdPerWorkerHour": "1", "BudgetUsdPerHour": "1", "BudgetUsdPerJob": "0.01", "KernelFamilies": "f32/aarch64"},
    FIRST | {"UsdPerWorkerHour": "9999999.99", "BudgetUsdPerHour": "9999999999", "UsdPerHourWaited": "0"},
    FIRST | {"UsdPerWorkerHour": "0", "BudgetUsdPerHour": "", "WorkersMax": "1000", "WorkerSlots": "512"},
]
# What the template can't refuse, since CloudFormation does not compare numbers.
REFUSED = [(FIRST | {"BudgetUsdPerHour": "0.07"}, "`budget_usd_per_hour` does not pay for one worker")]
LIMIT_S = 30


def takes(path, program, endpoint, find):
    find.part = "coordinator"
    if not program.is_file():
        find.append(f"{find.part}: {program} is not there to read what the template writes: build it, or name one with --coordinator")
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "certs", "--dir", f"{folder}/certs", "init"], check=True, capture_output=True, timeout=LIMIT_S)
        for number, parameters in enumerate(TAKEN):
            template = Template(path, parameters)
            with Coordinator(Path(folder), number, template, program, endpoint) as coordinator:
                ready = coordinator.until_ready()
                find.hold(ready, f"it does not take {shown(parameters)}: {coordinator.said()}")
                if ready and number == 0:
                    health(coordinator, template, find)
                if ready:
                    find.equal("how it ends when it is told to", coordinator.stop(), 0)
        for number, (parameters, words) in enumerate(REFUSED, len(TAKEN)):
            with Coordinator(Path(folder), number, Template(path, parameters), program, endpoint) as coordinator:
                ready = coordinator.until_ready()
                find.hold(not ready and words in coordinator.said(), f"it takes {shown(parameters)}: {coordinator.said()}")


def health(coordinator, template, find):
    """What the balancer asks, of the program as it is configured; and of one that hangs, whose port still takes connections."""
    target = template.properties("CoordinatorTarget")
    path, limit = target.get("HealthCheckPath", "/"), target["HealthCheckTimeoutSeconds"]
    answer = coordinator.asked(path, limit)
    find.equal("the answer to the balancer", str(answer), target.get("Matcher", {}).get("HttpCode"))
    coordinator.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, coordinator.process.pid, os.WSTOPPED)
    with socket.create_connection(("127.0.0.1", coordinator.metrics_port()), timeout=limit):
        find.equal("the answer of one that hangs", coordinator.asked(path, 1), None)
    coordinator.process.send_signal(signal.SIGCONT)


def shown(parameters):
    return {name: value for name, value in parameters.items() if FIRST.get(name) != value} or "what is usual"


class Coordinator:
    def __init__(self, folder, number, template, program, endpoint):
        script = user_data(template.properties("CoordinatorTemplate"))
        here = folder / f"coordinator-{number}"
        here.mkdir()
        self.out, self.err = here / "stdout", here / "stderr"
        (here / "coordinator.toml").write_text(heredoc(script, "coordinator.toml"))
        settings = dict(line.split("=", 1) for line in heredoc(script, "coordinator.env").splitlines())
        # Ports that are free, and places of this machine; all else is as it was written.
        for name, value in (
            ("MR_STATE", here / "state"),
            ("MR_LISTEN", "0.0.0.0:0"),
            ("MR_METRICS", re.sub(r":\d+$", ":0", settings.get("MR_METRICS", ""))),
            ("MR_CERTS", folder / "certs/coordinator"),
            ("MR_CONFIG", here / "coordinator.toml"),
        ):
            if name in settings:
                settings[name] = str(value)
        settings |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        mine = {name: value for name, value in os.environ.items() if not name.startswith("MR_")}
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen([program], env=mine | settings, cwd=here, stdout=out, stderr=err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def said(self):
        return " ".join(self.err.read_text().split())[-600:]

    def until_ready(self):
        """Whether it says its address, before it ends or a long time has passed."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until and self.process.poll() is None and not self.out.read_text():
            time.sleep(0.02)
        return self.out.read_text().startswith("https://")

    def metrics_port(self):
        return int(re.search(r"metrics are at http://\S+:(\d+)/metrics", self.err.read_text())[1])

    def asked(self, path, limit):
        """The status of the answer; None where there is none in time."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port()}{path}", timeout=limit) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def stop(self):
        self.process.terminate()
        return self.process.wait(LIMIT_S)
