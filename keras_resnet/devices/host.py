"""TensorFlow beside the backend: for images and exports, whichever backend trains."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

# A `tf.Tensor`, or what becomes one, and a `tf.data.Dataset`: TensorFlow has no types of
# its own.
Tensor: TypeAlias = Any
Dataset: TypeAlias = Any

# What TensorFlow says of its graph, which means nothing to whoever gave it a bad file:
# `{{function_node …}}`, `[[{{node …}}]]`, `[Op:…] name: `, and Keras's place of the call.
_OF_THE_GRAPH = re.compile(
    r"\s*\[\[(?:\{\{.*?\}\})+\]\]|\n\t \[\[\w+\]\]"
    r"|\{\{(?:function_node|node) .*?\}\} ?"
    r"|\s*\[Op:[^\]]*\](?: name: ?)?"
    r"|Error in user-defined function passed to .*?Iterator::\S+: "
    r"|Graph execution error:\n+|Detected at node .*\n(?:  .*\n|<stack traces.*\n)*"
)


@functools.cache
def tensorflow() -> ModuleType:
    """Imports TensorFlow, and keeps it off the GPUs on which JAX or PyTorch compute.

    TensorFlow takes nearly all of a GPU's memory with its first operation, so it must be
    told before that. `data`, `export` and `runs` use TensorFlow on every backend, and
    therefore take it from here instead of importing it: nobody has to remember to call
    something first.
    """
    # Not above: the server's process that reads requests needs neither.
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        # Where someone else's code has computed with it already, it is too late, and no
        # error: the memory may suffice for both.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf


def need_tensorflow() -> None:
    """Raises `ImportError` where TensorFlow was left out, and batches shall be made."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "To train by a recipe takes TensorFlow, which makes the batches on every "
            "backend: pip install tensorflow. Without it networks train by `fit` in a "
            "script of your own: docs/guides/your_own_loop.md."
        )


def as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Has `tf.data` trace a function as it is, without AutoGraph.

    AutoGraph parses and rewrites everything that is called, which takes longer than
    training's first update of a small network. What it is for, `if` and `for` over
    tensors, none of our pipelines has.
    """
    return tensorflow().autograph.experimental.do_not_convert(function)


def traced_once(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Has a function in TensorFlow operations traced once, for all graphs that call it.

    Each pipeline of `tf.data` traces what it maps. Of what decodes images, most is for
    formats other than JPEG, and tracing that anew would take as long as all the rest. In a
    graph the function is one operation, so that a JPEG doesn't pay for those it skips.

    Args:
        function: Of one tensor. It doesn't create variables.

    Returns:
        The function, which is called as it is where TensorFlow computes eagerly.
    """

    @functools.cache
    def traced():
        attributes = {"_noinline": True}
        return tensorflow().function(
            function, autograph=False, experimental_attributes=attributes
        )

    @functools.wraps(function)
    def called(tensor):
        eager = tensorflow().executing_eagerly()
        return function(tensor) if eager else traced()(tensor)

    return called


def plain_message(error: BaseException) -> str:
    """An error's message without what TensorFlow says of nodes and functions in it.

    Args:
        error: Of TensorFlow, or any other, whose message is left as it is.

    Returns:
        The message; the name of the error's class where it has none.
    """
    return _OF_THE_GRAPH.sub("", str(error)).strip() or type(error).__name__


def say(text: str) -> None:
    """Prints a line; letters that the output's encoding lacks become ``?``.

    Lines that name files, folders or classes go through here: a training doesn't end
    because a console lacks a letter.

    Args:
        text: The line.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))
