"""Features in the plane: t-SNE by scikit-learn and UMAP by umap-learn."""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np

from keras_resnet.config.extras import install


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Points in the plane, near to each other where features are.

    Distances between groups of points, and the sizes of groups, mean nothing.

    Attributes:
        points: ``(n, 2)``, float32.
        method: ``"tsne"`` or ``"umap"``.
        neighbors: The perplexity of t-SNE, the number of neighbours of UMAP.
        seed: Of the random numbers.
        library: That computed it, with its version.
    """

    points: np.ndarray
    method: str
    neighbors: int
    seed: int
    library: str


def embed(
    features: np.ndarray,
    method: Literal["tsne", "umap"] = "tsne",
    *,
    neighbors: int | None = None,
    seed: int = 0,
) -> Embedding:
    """Lays features out in the plane, by t-SNE or UMAP.

    Van der Maaten & Hinton 2008; McInnes et al. 2018. Both need the extra ``analysis``.

    Args:
        features: ``(n, features)``, as of `network_features`, of at least 4 images.
        method: ``"tsne"`` of scikit-learn, or ``"umap"`` of umap-learn.
        neighbors: The perplexity of t-SNE, 30 by default, or the number of neighbours of
            UMAP, 15 by default; in either case less than a third of the images where there
            are few.
        seed: Of the random numbers.

    Raises:
        ValueError: If the method is neither, if features are not finite numbers of 4 images
            or more, or if ``neighbors`` is not from 2 to one less than the images.
        ImportError: If the library is not installed.
    """
    if method not in ("tsne", "umap"):
        raise ValueError(
            f"`method` must be 'tsne' or 'umap'. Received: method={method!r}."
        )
    features = np.asarray(features, "float32")
    n = len(features) if features.ndim == 2 else 0
    if n < 4 or not np.isfinite(features).all():
        raise ValueError(
            "`features` must be finite numbers of shape (images, features), of 4 images at "
            f"least. Received: shape {features.shape}."
        )
    if (features == features[0]).all():
        # scikit-learn's t-SNE ends the process there.
        raise ValueError(
            "`features` must not be the same for all images. Received: equal features of "
            f"{n} images. Has the network learned nothing, or died?"
        )
    if neighbors is None:
        neighbors = max(2, min(30 if method == "tsne" else 15, (n - 1) // 3))
    if not 2 <= neighbors < n:
        raise ValueError(
            f"`neighbors` must be from 2 to {n - 1}, one less than the images. "
            f"Received: neighbors={neighbors!r}."
        )
    points, library = (_tsne if method == "tsne" else _umap)(features, neighbors, seed)
    return Embedding(
        points=np.asarray(points, "float32"),
        method=method,
        neighbors=neighbors,
        seed=seed,
        library=library,
    )


def _tsne(features: np.ndarray, neighbors: int, seed: int) -> tuple[np.ndarray, str]:
    version = _imported("sklearn", "t-SNE").__version__
    tsne = importlib.import_module("sklearn.manifold").TSNE
    # From the principal components, so that the picture hardly depends on the seed.
    init = "pca" if features.shape[1] > 1 else "random"
    made = tsne(perplexity=neighbors, init=init, random_state=seed)
    return made.fit_transform(features), f"scikit-learn {version}"


def _umap(features: np.ndarray, neighbors: int, seed: int) -> tuple[np.ndarray, str]:
    umap = _imported("umap", "UMAP")
    # With a seed it computes on one core, and warns unless it is told to.
    made = umap.UMAP(n_neighbors=neighbors, random_state=seed, n_jobs=1)
    return made.fit_transform(features), f"umap-learn {umap.__version__}"


def _imported(module: str, what: str) -> ModuleType:
    """A library of the extra `analysis`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ImportError(
            f"{what} needs {module}, which is not installed: {install(module)}",
            name=module,
        ) from error
