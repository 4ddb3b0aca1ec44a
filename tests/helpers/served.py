"""A SavedModel in a graph and a session, as TF Serving runs it."""

import contextlib


class Served:
    """Runs the signatures of a SavedModel: ``served("images", images=pixels)``.

    `tf.saved_model.load` takes another path, and also loads what no session can run.
    """

    def __init__(self, path):
        import tensorflow as tf

        graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(
                self.session, ["serve"], str(path)
            )
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if signature.inputs
        }

    def __call__(self, signature, **inputs):
        definition = self.signatures[signature]
        if set(definition.inputs) != set(inputs):
            raise ValueError(
                f"{signature} takes {sorted(definition.inputs)}. "
                f"Received: {sorted(inputs)}."
            )
        feed = {definition.inputs[key].name: value for key, value in inputs.items()}
        fetch = {key: info.name for key, info in definition.outputs.items()}
        return self.session.run(fetch, feed)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(RuntimeError):
            self.session.close()
