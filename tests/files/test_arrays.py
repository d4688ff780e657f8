"""Arrays of a file: what was written comes back, and any damage is one line."""

from pathlib import Path

import numpy as np
import pytest

from zlpr_hf.errors import InputError
from zlpr_hf.files.arrays import read_arrays


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, logits=np.eye(3), key=np.array("a"))
    found = read_arrays(path, remedy="remove it")
    assert sorted(found) == ["key", "logits"]
    assert np.array_equal(found["logits"], np.eye(3))
    assert str(found["key"]) == "a"


@pytest.mark.parametrize("compressed", [True, False])
def test_every_damage_is_one_line(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "rows.npz"
    save = np.savez_compressed if compressed else np.savez
    save(path, logits=np.random.default_rng(0).normal(size=(50, 4)))
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    header = whole.rindex(b"PK\x01\x02")  # of the only member, in the list at the end
    encrypted, unknown = (bytearray(whole) for _ in range(2))
    encrypted[header + 8] |= 1
    unknown[header + 10] = 99  # method of compression
    broken = (b"", b"text", whole[:middle], whole[middle:], flipped, encrypted, unknown)
    for content in map(bytes, broken):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"rows\.npz: cannot be read \(.*\); remove it") as got:
            read_arrays(path, remedy="remove it")
        assert "\n" not in str(got.value)
    path.unlink()
    with pytest.raises(InputError, match="remove it"):
        read_arrays(path, remedy="remove it")


def test_a_lone_array_and_a_pickle_are_refused(tmp_path: Path) -> None:
    for name, value in (("lone.npz", np.eye(2)), ("pickle.npz", np.array([{}]))):
        with (tmp_path / name).open("wb") as stream:
            np.save(stream, value, allow_pickle=True)
        with pytest.raises(InputError, match="cannot be read"):
            read_arrays(tmp_path / name, remedy="remove it")
