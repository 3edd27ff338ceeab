from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import huggingface_hub.constants as hub
import torch
from safetensors.torch import save_file
from torch import nn

from focusdepth_core.model.weights import fetch, load_strict, read_json, read_safetensors

NAMES = ("config.json", "model.safetensors")
ERRORS = {"gated": (403, "GatedRepo"), "unknown": (404, "RepoNotFound"), "forbidden": (403, "")}


class Hub(SimpleHTTPRequestHandler):
    """Enough of the hub's interface to download from: /owner/name/resolve/main/file."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner, name, _, _, file = self.path.strip("/").split("/")
        path = Path(self.directory, owner, name, file)
        status, code = ERRORS.get(name, (200, "") if path.is_file() else (404, "EntryNotFound"))
        if name == "broken" and self.command == "GET":
            status = 400
        body = path.read_bytes() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{name}-{file}"')
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a model that is on the hub too, as owner/name."""
    path = tmp_path / "owner" / "name"
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    save_file({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}, path / "model.safetensors")
    shutil.copytree(path, path.with_name("broken"))
    return path


@pytest.fixture
def online(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(tmp_path)))
    Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "ENDPOINT", address)
    monkeypatch.setattr(hub, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_folder_is_used_where_it_is(folder, offline):
    assert fetch(folder) == folder
    assert fetch(str(folder), ["config.json"]) == folder


def test_a_repository_is_downloaded_once(folder, online, monkeypatch):
    copy = fetch("owner/name")
    assert copy != folder and all((copy / name).read_bytes() == (folder / name).read_bytes() for name in NAMES)
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    assert fetch("owner/name") == copy


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("owner/gated", "owner/gated is gated: accept its licence at https://huggingface.co/owner/gated, then log in"),
        ("owner/unknown", "owner/unknown is neither a folder nor a repository .* check the name, or log in"),
        ("owner/forbidden", r"owner/forbidden .*does not answer \(.*403 Forbidden.*\): check the network"),
        (
            "owner/broken",
            r"owner/broken has a config.json that could not be downloaded \(.*400 Bad Request.*; try again",
        ),
        ("not an id", "not an id is neither a folder nor the id of a repository"),
        ("/nowhere/at/all", "/nowhere/at/all is neither a folder nor the id"),
    ],
)
def test_what_cannot_be_had_is_one_sentence_with_a_remedy(online, source, message):
    with pytest.raises(OSError, match=message) as error:
        fetch(source)
    assert "\n" not in str(error.value)


def test_without_a_network_the_remedy_is_another_one(offline):
    with pytest.raises(OSError, match=r"owner/name is no folder, its config.json is not in the cache.*HF_HUB_OFFLINE"):
        fetch("owner/name")


@pytest.mark.parametrize("place", ["here", "on the hub"])
def test_pickles_are_not_a_substitute(folder, online, place):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"has no model.safetensors.*; pickled .bin and .pth files are never read"):
        fetch(folder if place == "here" else "owner/name")


@pytest.mark.parametrize("size", [0, 4, 60, -1], ids=["empty", "no header", "half a header", "no tail"])
def test_a_truncated_file_is_named(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged \(.+\); delete it"):
        read_safetensors(path)


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", r"holds \[1\]")])
def test_a_configuration_must_be_an_object(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(folder / "config.json")


def test_tensors_are_copied_by_name_behind_a_prefix(folder):
    state = read_safetensors(folder / "model.safetensors")
    linear = nn.Linear(3, 2)
    weight = linear.weight
    load_strict(
        linear, {f"net.{k}": v.half() for k, v in state.items()} | {"old.x": state["bias"]}, "x", "net.", ("old.",)
    )
    assert linear.weight is weight and weight.dtype == torch.float32 and weight.requires_grad
    assert torch.equal(weight, state["weight"]) and torch.equal(linear.bias, state["bias"])


def test_of_many_faults_the_first_ten_are_listed():
    given = {f"t{i:02}": torch.zeros(1) for i in range(12)}
    with pytest.raises(ValueError, match="12 extra: t00, .*t09, and 2 more$"):
        load_strict(nn.Module(), given, "x")


def test_half_a_pair_of_weights_changes_nothing(folder):
    linear = nn.Linear(3, 2)
    before = json.dumps(linear.weight.tolist())
    with pytest.raises(ValueError, match="x does not fit this net. 1 missing: bias"):
        load_strict(linear, {"weight": torch.zeros(2, 3)}, "x")
    assert json.dumps(linear.weight.tolist()) == before
