"""Which extra of this package brings a package that need not be installed."""

# Importable module -> the extra of this package that brings it.
EXTRAS = {
    "ai_edge_litert": "export",
    "fastapi": "serve",
    "importlib_resources": "data",
    "jax": "jax",
    "jaxlib": "jax",
    "keras_hub": "kerashub",
    "litserve": "serve",
    "nncf": "export",
    "onnx": "export",
    "onnxruntime": "export",
    "openvino": "export",
    "PIL": "serve",
    "pyarrow": "parquet",
    "prometheus_client": "serve",
    "ray": "ray",
    "safetensors": "safetensors",
    "sklearn": "analysis",
    "starlette": "serve",
    "tensorboard": "tensorboard",
    "tensorflow_datasets": "data",
    "tf2onnx": "export",
    "timm": "timm",
    "torchvision": "torchvision",
    "umap": "analysis",
    "uvicorn": "serve",
}


def install(module: str) -> str:
    """Returns the command that installs a package which isn't there.

    Args:
        module: The name that the package is imported by.
    """
    if module in EXTRAS:
        return f"pip install '.[{EXTRAS[module]}]' in the checkout"
    return f"pip install {module}"
