"""Lets torchvision's compiled operators be loaded beside a PyTorch for CPUs.

Wheels of torchvision may be linked against CUDA's libraries. Without these, none of the
operators can be loaded, those for CPUs neither. Here a C compiler makes libraries that have
the missing names, and nothing behind them: what is computed on CPUs asks for none.
"""

import ctypes
import importlib.util
import pathlib
import shutil
import subprocess
import sys

LIBRARIES = ("libcudart.so.13", "libc10_cuda.so", "libtorch_cuda.so")


def stand_in_for_cuda(folder):
    """Loads libraries with the names of CUDA's where torchvision's needs them.

    It does nothing where there is CUDA, or no compiler: networks and transforms need no
    operators.

    Args:
        folder: Where the libraries are written.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    compiled = pathlib.Path(spec.origin).with_name("_C.so")
    tools = all(map(shutil.which, ("gcc", "nm")))
    if torch.version.cuda or not compiled.exists() or not tools:
        return
    undefined = subprocess.run(
        ["nm", "-D", "--undefined-only", compiled], capture_output=True, text=True
    ).stdout
    names = {line.split()[-1].partition("@")[0] for line in undefined.splitlines()}
    names = sorted(name for name in names if "cuda" in name.lower())
    if not names:
        return
    code = folder / "stubs.c"
    code.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in names))
    for library in LIBRARIES:
        script = folder / f"{library}.map"
        script.write_text(f"{library} {{ global: *; }};\n")
        options = [f"-Wl,-soname,{library}", f"-Wl,--version-script,{script}"]
        command = ["gcc", "-w", "-shared", "-fPIC", *options, code]
        subprocess.run([*command, "-o", folder / library], check=True)
        ctypes.CDLL(str(folder / library))
    if "torchvision" not in sys.modules:  # What an earlier try has left.
        for name in [name for name in sys.modules if name.startswith("torchvision.")]:
            del sys.modules[name]
