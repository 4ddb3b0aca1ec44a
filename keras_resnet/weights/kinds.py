"""Tells what kind of file a file of weights is, by its content and not by its suffix.

What isn't weights, or can't be read without running code, is named here with advice what
to do. Files that would unpack to much more than their size are refused before that.
"""

import pathlib
import re
import zipfile

# How a file begins that is read here: its kind.
HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# How a file begins that is no file of weights: what it is, and what to do.
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "It is compressed by gzip: unpack it first."),
    (b"BZh", "It is compressed by bzip2: unpack it first."),
    (b"\xfd7zXZ", "It is compressed by xz: unpack it first."),
    (b"7z\xbc\xaf", "It is a 7-Zip archive: unpack it first."),
    (
        b"version https://git-lfs",
        "It is Git LFS's pointer to a file: run `git lfs pull` where it is from.",
    ),
    (b"<", "It is a web page: the download has failed. Download the file itself."),
    (
        b"\x04\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00V 1",
        "It is a Lua Torch7 file: write its tensors as a .npz file.",
    ),
)
# Kinds without a sign, and the suffixes of those that have one, for damaged files.
UNSIGNED = {".weights": "darknet", ".caffemodel": "caffe"}
SUFFIXES = {
    ".keras": "keras",
    ".h5": "hdf5",
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".pth": "torch",
    ".pt": "torch",
    ".th": "torch",
}
# Darknet names what it cuts behind some layer so: darknet53.conv.74.
PARTIAL = re.compile(r"\.conv\.\d+")
# One of the files that Hugging Face's libraries divide a network's weights among, and the
# lists of such files that they and Keras write.
DIVIDED = re.compile(r".*-\d{5}-of-(?!00001\.)\d{5}\.\w+|.*(\.index|\.weights)\.json")
KINDS = (
    ".keras, .weights.h5, .h5, .safetensors, .pth, .pt, .th, .npz, .weights, .conv.74 or "
    ".caffemodel file"
)
# Trained weights hardly compress, so whole files unpack to about their own size. A new
# optimizer's zeros do, hence the factor; the bytes are those of a small network.
EXPANSION, ALWAYS = 20, 64 * 2**20


def kind_of(path: pathlib.Path) -> str:
    """Returns the kind of a file of weights.

    Args:
        path: Path of a file.

    Returns:
        ``"keras"``, ``"hdf5"``, ``"npz"``, ``"torch"``, ``"safetensors"``, ``"darknet"``
        or ``"caffe"``. The last two have no sign to know them by but their suffix.

    Raises:
        ValueError: If it is of another kind, one of several files that hold the weights
            together, or would unpack to much more than its size.
    """
    if DIVIDED.fullmatch(path.name):
        raise ValueError(
            "Weights must be in one file. Received: "
            f"{path}, which by its name is one of several files of a network, or the list "
            "of them. Join them: read each with safetensors.torch.load_file, or torch.load "
            "for .bin files, and save one dict of all their tensors with "
            "safetensors.torch.save_file. What Keras has divided, load with "
            "model.load_weights and save as one .weights.h5 file."
        )
    with open(path, "rb") as file:
        begins = file.read(512)
    if begins.startswith(ZIP):
        return _kind_of_archive(path)
    if begins.startswith(HDF5):
        return "hdf5"
    if begins.startswith(PICKLE) or begins[257:262] == b"ustar":
        return "torch"  # As PyTorch wrote before 1.6, and long before.
    if _is_safetensors(begins, path.stat().st_size):
        return "safetensors"
    for sign, what in OTHERS:
        if begins.lstrip().startswith(sign):
            raise ValueError(f"Weights must be a {KINDS}. Received: {path}. {what}")
    if path.suffix in UNSIGNED:
        return UNSIGNED[path.suffix]
    if PARTIAL.fullmatch("".join(path.suffixes[-2:])):
        return "darknet"
    if path.suffix in SUFFIXES and begins:  # Its reader says that it is damaged.
        return SUFFIXES[path.suffix]
    raise ValueError(
        f"Weights must be a {KINDS}. Received: {path}, whose content is of none of these "
        "kinds." + ("" if begins else " It is empty.")
    )


def _is_safetensors(begins, size):
    """Whether it begins with the length of a header within the file, which is JSON."""
    return 2 <= int.from_bytes(begins[:8], "little") <= size - 8 and begins[8:9] == b"{"


def _kind_of_archive(path):
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile:  # Cut short. The reader of its kind says so.
        return SUFFIXES.get(path.suffix, "torch")
    check_expansion(path, sum(member.file_size for member in members))
    names = {member.filename for member in members}
    parts = {part for name in names for part in name.split("/")}
    if "model.weights.h5" in names:
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if "constants.pkl" in parts:
        raise ValueError(
            f"{path} is a TorchScript program, which holds code. Its weights alone must "
            "be given: where you trust it, run `torch.save(torch.jit.load(file)"
            ".state_dict(), 'weights.pth')`."
        )
    if "data.pkl" in parts:
        return "torch"
    if "serialized_exported_program.json" in parts or "archive_format" in parts:
        raise ValueError(
            f"{path} is a program that torch.export wrote. Its weights alone must be "
            "given: where you trust it, run `torch.save(torch.export.load(file)"
            ".state_dict, 'weights.pth')`."
        )
    raise ValueError(
        f"Weights must be a {KINDS}. Received: {path}, a ZIP archive of other files, such "
        f"as {min(names, default='none')!r}: unpack it first."
    )


def check_expansion(path: pathlib.Path, needed: int) -> None:
    """Refuses a file that would need much more memory than its size lets expect.

    Args:
        path: Path of the file.
        needed: Bytes that its content would take.

    Raises:
        ValueError: If it is more than 20 times the file's size and 64 MiB beyond.
    """
    size = path.stat().st_size
    if needed > EXPANSION * size + ALWAYS:
        raise ValueError(
            f"{path} must hold trained weights, which take about as much memory as the "
            f"file. Received: a file of {size:,} bytes that would take {needed:,}. It is "
            "damaged, or made to fill the memory."
        )
