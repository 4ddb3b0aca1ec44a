"""Numbers and pictures of any `keras.Model`; of our other packages, `evaluation` alone.

Names are imported when they are first used: pictures need no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_resnet.lazy import names_from

if TYPE_CHECKING:  # What editors and type checkers see of the names below.
    from keras_resnet.analysis.asked import Attribution
    from keras_resnet.analysis.attribution import (
        class_activation_map,
        grad_cam,
        occlusion,
    )
    from keras_resnet.analysis.batch_norm import recompute_statistics
    from keras_resnet.analysis.blocks import Block
    from keras_resnet.analysis.curvature import (
        Curvature,
        top_hessian_eigenvalue,
    )
    from keras_resnet.analysis.directions import (
        cosine,
        direction_to,
        random_direction,
    )
    from keras_resnet.analysis.embeddings import (
        Embedding,
        embed,
    )
    from keras_resnet.analysis.features import (
        Similarity,
        cka_by_layer,
        linear_cka,
        network_features,
    )
    from keras_resnet.analysis.filters import (
        FirstFilters,
        first_filters,
    )
    from keras_resnet.analysis.gradients import (
        GradientNorms,
        GradientsAlong,
        gradient_norms,
        gradient_norms_along,
        initialized,
    )
    from keras_resnet.analysis.identity import (
        GradientIdentity,
        gradient_identity,
    )
    from keras_resnet.analysis.landscape import (
        Line,
        Surface,
        interpolate,
        line,
        surface,
    )
    from keras_resnet.analysis.lesions import (
        Deletions,
        RandomDeletions,
        delete_each,
        delete_random,
    )
    from keras_resnet.analysis.paths import (
        PathGradients,
        RouteGradient,
        gradient_by_path,
        gradient_by_route,
        path_lengths,
    )
    from keras_resnet.analysis.permutations import (
        Permutations,
        permute,
    )
    from keras_resnet.analysis.propagation import (
        SignalPropagation,
        signal_propagation,
    )
    from keras_resnet.analysis.receptive_field import (
        ReceptiveField,
        effective_receptive_field,
        theoretical_receptive_field,
    )
    from keras_resnet.analysis.responses import (
        Responses,
        layer_responses,
    )
    from keras_resnet.analysis.results import as_json
    from keras_resnet.analysis.routed_add import RoutedAdd
    from keras_resnet.analysis.routing import (
        Routed,
        route,
    )
    from keras_resnet.analysis.trajectory import (
        TrainingPath,
        Trajectory,
        project_trajectory,
    )
    from keras_resnet.analysis.walk import Point

__all__ = [
    "Attribution",
    "Block",
    "Curvature",
    "Deletions",
    "Embedding",
    "FirstFilters",
    "GradientIdentity",
    "GradientNorms",
    "GradientsAlong",
    "Line",
    "PathGradients",
    "Permutations",
    "Point",
    "RandomDeletions",
    "ReceptiveField",
    "Responses",
    "RouteGradient",
    "Routed",
    "RoutedAdd",
    "SignalPropagation",
    "Similarity",
    "Surface",
    "TrainingPath",
    "Trajectory",
    "as_json",
    "cka_by_layer",
    "class_activation_map",
    "cosine",
    "delete_each",
    "delete_random",
    "direction_to",
    "effective_receptive_field",
    "embed",
    "first_filters",
    "grad_cam",
    "gradient_by_path",
    "gradient_by_route",
    "gradient_identity",
    "gradient_norms",
    "gradient_norms_along",
    "initialized",
    "interpolate",
    "layer_responses",
    "line",
    "linear_cka",
    "network_features",
    "occlusion",
    "path_lengths",
    "permute",
    "project_trajectory",
    "random_direction",
    "recompute_statistics",
    "route",
    "signal_propagation",
    "surface",
    "theoretical_receptive_field",
    "top_hessian_eigenvalue",
]

_HOMES = {
    "Attribution": "asked",
    "Block": "blocks",
    "Curvature": "curvature",
    "Deletions": "lesions",
    "Embedding": "embeddings",
    "FirstFilters": "filters",
    "GradientIdentity": "identity",
    "GradientNorms": "gradients",
    "GradientsAlong": "gradients",
    "Line": "landscape",
    "PathGradients": "paths",
    "Permutations": "permutations",
    "Point": "walk",
    "RandomDeletions": "lesions",
    "ReceptiveField": "receptive_field",
    "Responses": "responses",
    "RouteGradient": "paths",
    "Routed": "routing",
    "RoutedAdd": "routed_add",
    "SignalPropagation": "propagation",
    "Similarity": "features",
    "Surface": "landscape",
    "TrainingPath": "trajectory",
    "Trajectory": "trajectory",
    "as_json": "results",
    "cka_by_layer": "features",
    "class_activation_map": "attribution",
    "cosine": "directions",
    "delete_each": "lesions",
    "delete_random": "lesions",
    "direction_to": "directions",
    "effective_receptive_field": "receptive_field",
    "embed": "embeddings",
    "first_filters": "filters",
    "grad_cam": "attribution",
    "gradient_by_path": "paths",
    "gradient_by_route": "paths",
    "gradient_identity": "identity",
    "gradient_norms": "gradients",
    "gradient_norms_along": "gradients",
    "initialized": "gradients",
    "interpolate": "landscape",
    "layer_responses": "responses",
    "line": "landscape",
    "linear_cka": "features",
    "network_features": "features",
    "occlusion": "attribution",
    "path_lengths": "paths",
    "permute": "permutations",
    "project_trajectory": "trajectory",
    "random_direction": "directions",
    "recompute_statistics": "batch_norm",
    "route": "routing",
    "signal_propagation": "propagation",
    "surface": "landscape",
    "theoretical_receptive_field": "receptive_field",
    "top_hessian_eigenvalue": "curvature",
}


if not TYPE_CHECKING:  # Checkers would take every other name for an `Any` of it.
    __getattr__ = names_from(_HOMES, __name__)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
