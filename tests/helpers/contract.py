"""What clients of a served network rely on, written down once.

A change of anything here breaks clients: names, types and shapes are to stay from version
to version. What is new may be added beside it.
"""

N = -1  # Images, any number.
FIVE = 5  # The classes that are named, or all if there are fewer.

# Of the SavedModels: signature -> its inputs and outputs by name, type and shape. The
# classifier has 7 classes, images of 16x16 pixels and 16 features; the detector has room
# for 5 boxes.
ANSWER = {
    "classes": ("string", (N, FIVE)),
    "probabilities": ("float32", (N, FIVE)),
    "scores": ("float32", (N, 7)),
}
CLASSIFIER = {
    "serving_default": ({"image_bytes": ("string", (N,))}, ANSWER),
    "images": ({"images": ("uint8", (N, 16, 16, 3))}, ANSWER),
    "features": (
        {"images": ("uint8", (N, 16, 16, 3))},
        {"features": ("float32", (N, 16))},
    ),
}
FOUND = {
    "boxes": ("float32", (N, 5, 4)),
    "scores": ("float32", (N, 5)),
    "classes": ("int32", (N, 5)),
    "names": ("string", (N, 5)),
    "count": ("int32", (N,)),
}
DETECTOR = {
    "serving_default": ({"image_bytes": ("string", (N,))}, FOUND),
    "images": ({"images": ("uint8", (N, -1, -1, 3))}, FOUND),
}

# Of a classifier's other forms: what goes in and what comes out, with 5 classes and images
# of 16x16 pixels.
FORM = (
    {"images": ("uint8", (N, 16, 16, 3))},
    {"scores": ("float32", (N, 5))},
)

# What `keras-resnet serve` says at /v2/models/NAME of a classifier of 3 classes and images
# of 8x8 pixels, and of a detector.
METADATA = {
    "classifier": {
        "name": "net",
        "versions": ["1"],
        "platform": "keras_resnet",
        "inputs": [
            {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]},
            {"name": "images", "datatype": "UINT8", "shape": [-1, 8, 8, 3]},
        ],
        "outputs": [
            {"name": "classes", "datatype": "BYTES", "shape": [-1, 3]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, 3]},
        ],
    },
    "detector": {
        "name": "net",
        "versions": ["1"],
        "platform": "keras_resnet",
        "inputs": [
            {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]},
            {"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
        ],
        "outputs": [
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "classes", "datatype": "INT32", "shape": [-1, -1]},
            {"name": "names", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "count", "datatype": "INT32", "shape": [-1]},
        ],
    },
}

# What it answers to one red image at /v1/models/NAME:predict.
PREDICTIONS = {
    "classifier": {
        "classes": ["red", "grün", "blue"],
        "probabilities": [0.5, 0.25, 0.25],
        "scores": [0.5, 0.25, 0.25],
    },
    "detector": {
        "boxes": [[0.0, 0.0, 9.0, 9.0], [-1.0, -1.0, -1.0, -1.0]],
        "scores": [0.5, 0.0],
        "classes": [1, -1],
        "names": ["grün", ""],
        "count": 1,
    },
}

# The paths: method, path and what the answer must hold as JSON.
PATHS = [
    (
        "GET",
        "/v1/models/net",
        {
            "model_version_status": [
                {
                    "version": "1",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    ),
    ("GET", "/v2/health/live", {"live": True}),
    ("GET", "/v2/health/ready", {"ready": True}),
    ("GET", "/v2/models/net/ready", {"name": "net", "ready": True}),
    ("GET", "/v2/models/net/versions/1/ready", {"name": "net", "ready": True}),
]


def described(tensors):
    """The tensors of a signature of `tf.compat.v1`, as above."""
    import tensorflow as tf

    return {
        name: (
            tf.as_dtype(one.dtype).name,
            tuple(d.size for d in one.tensor_shape.dim),
        )
        for name, one in tensors.items()
    }
