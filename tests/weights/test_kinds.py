"""What kind of file a file is, and files that aren't weights or would fill the memory."""

import gzip
import pathlib
import zipfile

import numpy as np
import pytest

from keras_resnet.weights.kinds import kind_of
from keras_resnet.weights.read import read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"weights", mtime=0), "compressed by gzip: unpack it first"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "is a web page: the download has failed"),
        (
            b"\x04\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00V 1\x0d\x00\x00\x00",
            "a Lua Torch7 file",
        ),
        (b"", "It is empty"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.npz", "w.keras", "w.h5", "w.bin"])
def test_what_is_no_file_of_weights(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        read(tmp_path / name, "resnet20")


def test_an_archive_of_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("folder/resnet.pth", b"weights")
    with pytest.raises(ValueError, match="other files, such as 'folder/resnet.pth'"):
        kind_of(tmp_path / "w.zip")


@pytest.mark.parametrize(
    "name",
    [
        "model-00001-of-00002.safetensors",
        "pytorch_model-00002-of-00003.bin",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
        "model.weights.json",
    ],
)
def test_one_of_several_files_of_a_network(tmp_path, name):
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ValueError, match=f"{name}.* one of several files .* Join them"):
        read(tmp_path / name, "resnet20")


def test_the_only_file_is_read_whatever_its_name(tmp_path):
    path = tmp_path / "model-00001-of-00001.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    assert kind_of(path) == "safetensors"


@pytest.fixture(scope="module")
def zeros(tmp_path_factory):
    """An array of 1 GB in a file of 5 MB."""
    folder = tmp_path_factory.mktemp("bombs")
    with (
        zipfile.ZipFile(
            folder / "w.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as archive,
        archive.open("conv1.weight.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (2**28,)}
        )
        block = bytes(2**24)
        for _ in range(2**30 // len(block)):
            file.write(block)
    return folder / "w.npz"


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("w.npz", "conv1.weight.npy"),
        ("w.keras", "model.weights.h5"),
        ("w.pth", "w/data.pkl"),
    ],
)
def test_bombs_are_refused_before_they_are_read(
    zeros, tmp_path, monkeypatch, name, member
):
    path = tmp_path / name
    packed = zeros.read_bytes()
    path.write_bytes(
        packed.replace(b"conv1.weight.npy", member.encode()[:16].ljust(16))
    )
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(ValueError, match="would take 1,073,.* made to fill the memory"):
        read(path, "resnet20")


def test_trained_weights_are_no_bomb(tmp_path):
    """With an optimizer's zeros beside, and compressed."""
    weights = np.random.default_rng(0).normal(size=2**18).astype("float32")
    np.savez_compressed(tmp_path / "w.npz", weights=weights, zeros=np.zeros(2**20))
    assert kind_of(tmp_path / "w.npz") == "npz"


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".keras"])
def test_an_archive_cut_short(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    np.savez(tmp_path / "whole.npz", weights=np.zeros(1000))
    path = pathlib.Path(tmp_path, f"w{suffix}")
    path.write_bytes((tmp_path / "whole.npz").read_bytes()[:-100])
    with pytest.raises(ValueError, match="must hold a state dict|whole .keras file"):
        read(path, "resnet20")
