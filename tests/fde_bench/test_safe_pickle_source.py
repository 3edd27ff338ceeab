import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.fde_bench.source import SourceError
from focusdepth_core.fde_bench.sources.safe_pickle import MAX_BYTES, Record, load
from tests.fde_bench.rlbench_demo import misc, pickled

CLASSES = (("rlbench.demo", "Demo"), ("rlbench.backend.observation", "Observation"))


class Call:
    """Pickles to a call of ``function``."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def load_bytes(tmp_path: Path, data: bytes):
    path = tmp_path / "low_dim_obs.pkl"
    path.write_bytes(data)
    return load(path, CLASSES)


def refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        load_bytes(tmp_path, data)
    assert "low_dim_obs.pkl" in str(caught.value)


# Protocol 3 writes names as text, so that the name of before numpy 2 can be put in.
@pytest.mark.parametrize(("protocol", "module"), [(3, b"numpy.core.multiarray"), (4, None)])
def test_demo_with_its_arrays(tmp_path, protocol, module):
    data = pickled([misc(), misc(near=0.02)], protocol)
    if module:
        data = data.replace(b"cnumpy._core.multiarray\n", b"c" + module + b"\n")
        assert module in data
    demo = load_bytes(tmp_path, data)
    first, second = demo.fields["_observations"]
    assert isinstance(first, Record)
    k = first.fields["misc"]["front_camera_intrinsics"].value
    np.testing.assert_array_equal(k, [[-175.84, 0, 12], [0, -175.84, 8], [0, 0, 1]])
    assert second.fields["misc"]["front_camera_near"] == 0.02
    assert first.fields["ignore_collisions"].value.shape == ()


@pytest.mark.parametrize(
    "array", [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(4, dtype=">i2"), np.empty(0), np.array([True])]
)
def test_arrays_of_any_order(tmp_path, array):
    read = load_bytes(tmp_path, pickle.dumps(array, 4)).value
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_the_bomb_is_live_and_does_not_go_off(tmp_path):
    marker = tmp_path / "executed"
    bomb = pickle.dumps(Call(os.system, f"touch {marker}"), 4)
    refused(tmp_path, bomb, r"(posix|nt)\.system, which is not on the list")
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists()


def text_bomb(module: str, name: str, argument: str) -> bytes:
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("os", "system"),
        ("subprocess", "Popen"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "scalar"),
        ("_codecs", "encode"),
        ("copyreg", "_reconstructor"),
        ("rlbench.demo", "os"),
        ("rlbench.demo", "Demo.__init__"),
    ],
)
def test_other_names_are_refused(tmp_path, module, name):
    refused(tmp_path, text_bomb(module, name, "1"), f"asks for {module}.{name}, which is not on the list")


def test_dotted_names_reach_nothing(tmp_path):
    path = "Demo.__init__.__globals__"
    data = b"\x80\x04\x8c\x0crlbench.demo\x8c" + bytes([len(path)]) + path.encode() + b"\x93."
    refused(tmp_path, data, f"asks for rlbench.demo.{path}")


def test_call_hidden_in_the_state_of_a_demo(tmp_path):
    marker = tmp_path / "executed"
    steps = [misc() | {"task": Call(os.system, f"touch {marker}")}]
    refused(tmp_path, pickled(steps), r"\.system, which is not on the list")
    assert not marker.exists()


def test_call_hidden_in_an_array_of_objects(tmp_path):
    array = np.array([Call(os.system, "true"), None], dtype=object)
    refused(tmp_path, pickle.dumps(array, 4), "refused or damaged")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", "not callable"),  # numpy.ndarray(2**31 - 1)
        (b"\x80\x02cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.", "an array of 'O'"),
        (b"\x80\x02crlbench.demo\nDemo\n)\x81N}X\x09\x00\x00\x00__class__Ns\x86b.", "state is a tuple"),
        (b"\x80\x04Nr\xff\xff\xff\x7f.", "memo entry 2147483647"),  # would make a table of 32 GB
        (b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"x.", "refused or damaged"),
        (b"\x80\x04" + b"(" * 100, "refused or damaged"),
        (b"", "refused or damaged"),
        (b"\x80\x63.", "refused or damaged"),
    ],
)
def test_streams_that_ask_for_too_much(tmp_path, data, reason):
    refused(tmp_path, data, reason)


STATE = b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b."  # BUILD with (None, {"__defaults__": (1,)})


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [
        ("numpy.core.multiarray", "_reconstruct", "a function with a state"),
        ("numpy._core.multiarray", "_reconstruct", "a function with a state"),
        ("numpy", "ndarray", "__defaults__"),
        ("numpy", "dtype", "__setstate__"),
        ("rlbench.demo", "Demo", "__setstate__"),
    ],
)
def test_what_stands_for_a_name_cannot_be_changed(tmp_path, module, name, reason):
    refused(tmp_path, f"\x80\x02c{module}\n{name}\n".encode("latin-1") + STATE, reason)
    assert load_bytes(tmp_path, pickled([misc()])).fields  # a good one after that


def test_object_without_a_state_has_no_fields(tmp_path):
    assert load_bytes(tmp_path, b"\x80\x02crlbench.demo\nDemo\n)\x81.").fields == {}


def test_array_that_claims_more_than_it_has(tmp_path):
    data = pickle.dumps(np.zeros(7), 4)
    claims = data.replace(b"K\x07\x85", b"K\xff\x85")
    assert claims != data
    refused(tmp_path, claims, r"shape \(255,\) with 56 bytes")


def test_truncated_demo(tmp_path):
    data = pickled([misc()])
    assert any(op.name == "STOP" for op, _, _ in pickletools.genops(data))
    refused(tmp_path, data[:-40], "refused or damaged")


def test_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "low_dim_obs.pkl"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SourceError, match=f"{MAX_BYTES + 1} bytes"):
        load(path, CLASSES)
