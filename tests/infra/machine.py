"""What a machine does when it starts: its user data, run in a folder in place of the root, with stand-ins for `aws` and systemd."""

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from template import ROOT, STACK, user_data

AWS = """#!/bin/bash
# Stands in for `aws`: a release in S3, and a parameter.
case "$1 $2" in
  "s3 cp") [ "$4" = "$MR_TEST_URL" ] && cp "$MR_TEST_RELEASE" "$5" ;;
  "ssm get-parameter") [ "$5" = "$MR_TEST_PARAMETER" ] && cat "$MR_TEST_CERTS" ;;
  *) exit 9 ;;
esac
"""
SYSTEMCTL = """#!/bin/bash
# Stands in for systemd: it writes down what it is told, and fetches certificates.
echo "$*" >>"$MR_TEST_TOLD"
[ "$*" != "start mr-certs.service" ] || { set -a; . "$DESTDIR/etc/mr/certs.env"; exec "$DESTDIR/usr/local/bin/mr-fetch-certs"; }
"""


def started(template, units, find):
    """Runs the user data of both kinds of machines, in a folder in place of the root."""
    find.part = "user data"
    for role, other in (("coordinator", "worker"), ("worker", "coordinator")):
        script = user_data(template.properties(f"{role.capitalize()}Template"))
        find.hold(len(script.encode()) <= 16_384, f"the {role}'s is longer than EC2 takes")
        with tempfile.TemporaryDirectory() as folder:
            machine = Machine(Path(folder), template, script, role, units)
            done = machine.start()
            find.hold(done.returncode == 0, f"the {role}'s ends with {done.returncode}: {done.stdout}{done.stderr}")
            if done.returncode != 0:
                continue
            installed = {str(p.relative_to(machine.root)) for p in machine.root.rglob("*") if p.is_file() and "opt" not in p.parts}
            units_there = {f"etc/systemd/system/{name}" for name in (f"mr-{role}.service", "mr-certs.service", "mr-certs.timer")}
            expected = {f"usr/local/bin/{name}" for name in ("mr-coordinator", "mr-worker", "mr-submit", "mr-fetch-certs")} | units_there
            expected |= {f"etc/mr/certs/{name}.pem" for name in ("ca", "cert", "key")} | {f"etc/mr/{role}.env", "etc/mr/certs.env"}
            expected |= {"etc/mr/coordinator.toml"} if role == "coordinator" else {"etc/systemd/system/mr-worker.service.d/on-ec2.conf"}
            find.equal(f"what is installed on a {role}", sorted(installed), sorted(expected))
            told = machine.told.read_text().splitlines()
            find.equal(
                f"what systemd is told on a {role}",
                told,
                ["daemon-reload", "start mr-certs.service", "enable --now mr-certs.timer", f"enable --now mr-{role}.service"],
            )
            modes = {p.name: oct(p.stat().st_mode & 0o777) for p in (machine.root / "etc/mr/certs").iterdir()}
            find.equal(f"certificates of a {role}", modes, dict.fromkeys(("ca.pem", "cert.pem", "key.pem"), "0o600"))
            settings = dict(line.split("=", 1) for line in (machine.root / f"etc/mr/{role}.env").read_text().splitlines())
            needed = {"AWS_REGION", "MR_CERTS", "MR_METRICS"}
            of_coordinator = {"MR_STATE", "MR_LISTEN", "MR_CONFIG", "MR_KEEP_DAYS", "MR_METRICS_INSECURE"}
            needed |= of_coordinator if role == "coordinator" else {"MR_COORDINATOR"}
            find.equal(f"settings of a {role}", set(settings), needed)
            program = (ROOT / f"mr/src/{role}.rs").read_text()
            for name in needed - {"AWS_REGION"}:
                find.hold(f'"{name}"' in program, f"mr-{role} does not read {name}")
            # Certificates that come later take their places; a parameter that can't be read changes nothing.
            machine.certificates("newer")
            find.hold(machine.fetch() == 0 and "newer" in machine.cert(), f"a {role} does not take new certificates")
            machine.parameter.write_text("AAAA")
            find.hold(machine.fetch() != 0 and "newer" in machine.cert(), f"a {role} loses its certificates")
        with tempfile.TemporaryDirectory() as folder:
            machine = Machine(Path(folder), template, script, role, units)
            machine.pack("#!/bin/false\n")
            done = machine.start()
            there = (machine.root / "usr/local/bin").exists()
            find.hold(done.returncode != 0 and not there, f"a {role} starts a release whose sum is another")


class Machine:
    def __init__(self, folder, template, script, role, units):
        self.folder, self.root, self.told = folder, folder / "root", folder / "told"
        self.parameter, self.release, self.units = folder / "parameter", folder / "release.tar.gz", units
        self.pack("#!/bin/true\n")
        for name, text in (("aws", AWS), ("systemctl", SYSTEMCTL)):
            write(folder / "bin" / name, text)
        # What only root may do.
        for name in ("useradd", "chown"):
            write(folder / "bin" / name, "#!/bin/sh\n")
        self.certificates("first")
        script = script.replace(template.parameters["ReleaseSha256"], hashlib.sha256(self.release.read_bytes()).hexdigest())
        self.script = re.sub(r"(?<![\w.])/(etc/mr|opt/mr)", rf"{self.root}/\1", script).replace("sleep ", "sleep 0 # ")
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "DESTDIR": str(self.root),
            "MR_INSTALL_PAUSE_S": "0",
            "MR_TEST_URL": template.parameters["ReleaseUrl"],
            "MR_TEST_RELEASE": str(self.release),
            "MR_TEST_PARAMETER": f"/mr/{STACK}/{role}",
            "MR_TEST_CERTS": str(self.parameter),
            "MR_TEST_TOLD": str(self.told),
        }

    def pack(self, program):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("mr-coordinator", "mr-worker", "mr-submit"):
                write(Path(folder) / "bin" / name, program)
            shutil.copytree(self.units, Path(folder) / "infra/systemd")
            with tarfile.open(self.release, "w:gz") as archive:
                archive.add(folder, "mr-1-x86_64-unknown-linux-gnu")

    def start(self):
        return self.run(["bash", "-c", self.script])

    def fetch(self):
        settings = dict(line.split("=", 1) for line in (self.root / "etc/mr/certs.env").read_text().splitlines())
        return self.run([str(self.root / "usr/local/bin/mr-fetch-certs")], settings).returncode

    def run(self, command, more=None):
        return subprocess.run(command, capture_output=True, text=True, env=self.environment | (more or {}), timeout=30)

    def cert(self):
        return (self.root / "etc/mr/certs/cert.pem").read_text()

    def certificates(self, which):
        """As infra/README.md puts them into the parameter."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name in ("ca", "cert", "key"):
                text = f"{name} {which}\n".encode()
                entry = tarfile.TarInfo(f"{name}.pem")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
        self.parameter.write_text(base64.b64encode(packed.getvalue()).decode())


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
