"""What ./run says on a machine that lacks something: one sentence, before anything is half done."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = (
    *("awk", "bash", "cat", "df", "dirname", "env", "find", "flock", "grep", "head"),
    *("mkdir", "rm", "sed", "sha256sum", "sort", "tail", "tee", "touch", "tput", "xargs"),
)

has_wheels = pytest.mark.skipif(
    sys.version_info[:2] not in ((3, 11), (3, 12)), reason="the ROS wheels are for Python 3.11 and 3.12"
)


class Machine:
    """A copy of the script and a PATH with the everyday tools and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(ROOT / "requirements", self.repository / "requirements")
        shutil.copy(ROOT / "run", self.repository)
        for name in TOOLS:
            self.link(name, shutil.which(name))

    def link(self, name: str, target: str | None) -> None:
        assert target, f"{name} is not on this machine"
        (self.bin / name).symlink_to(target)

    def script(self, name: str, text: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def refusal(self, *arguments: str, **environment: str) -> str:
        """The last line that the script says before it gives up."""
        done = subprocess.run(
            [str(self.repository / "run"), *arguments],
            env={"PATH": str(self.bin), "HOME": str(self.repository), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert done.stdout == ""
        return done.stderr.splitlines()[-1]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def with_python(machine: Machine) -> Machine:
    version = "python{}.{}".format(*sys.version_info)
    machine.link(version, os.path.realpath(sys._base_executable))
    return machine


@pytest.fixture
def with_compiler(with_python: Machine) -> Machine:
    for name in ("g++", "make"):
        with_python.script(name, "exit 1")
    return with_python


def test_unknown_command(machine: Machine) -> None:
    assert machine.refusal("dmeo") == "./run: there is no command 'dmeo'; './run --help' lists them"


@pytest.mark.parametrize(
    ("install", "found"),
    [
        (lambda machine: None, "no Python"),
        (lambda machine: machine.script("python3", '[ "$1" = --version ] && echo Python 3.13.1'), "Python 3.13.1"),
    ],
)
def test_wrong_python(machine: Machine, install: Callable[[Machine], None], found: str) -> None:
    install(machine)
    said = machine.refusal("demo")
    assert said.startswith(f"./run: Python 3.11 or 3.12 is needed and {found} was found; install ")
    assert not (machine.repository / ".venv").exists()


def test_a_sourced_distribution_without_rclpy(machine: Machine) -> None:
    said = machine.refusal("demo", ROS_DISTRO="lunar")
    assert said.startswith("./run: ROS_DISTRO is 'lunar' but no Python here imports rclpy; ")


@has_wheels
def test_missing_system_packages_where_they_cannot_be_installed(with_python: Machine) -> None:
    said = with_python.refusal("demo")
    assert said.startswith("./run: system packages are missing; type 'sudo apt-get install -y g++ make")
    assert not (with_python.repository / ".venv").exists()


@has_wheels
@pytest.mark.parametrize(("command", "needed_gb"), [("demo", 2), ("test", 5)])
def test_full_disk(with_compiler: Machine, command: str, needed_gb: int) -> None:
    with_compiler.script("df", "echo Filesystem blocks Used Available\necho /dev/disk 9000000 7500000 1500000 83% /")
    said = with_compiler.refusal(command)
    assert said.startswith(f"./run: the disk is full: set-up needs {needed_gb} GB and ")
    assert "has 1 GB left" in said
    assert not (with_compiler.repository / ".venv").exists()


@has_wheels
def test_no_network(with_compiler: Machine) -> None:
    nobody = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    said = with_compiler.refusal("demo", **nobody)
    assert said.startswith("./run: pip could not install the packages: no network; ")
    assert not (with_compiler.repository / ".venv" / ".demo").exists()
