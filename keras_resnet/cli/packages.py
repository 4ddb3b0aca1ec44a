"""Says which package is missing, and how to install it."""

from keras_resnet.config.extras import install

# What the dynamic loader of Linux says where memory, or the limit on it, is exhausted.
NO_MEMORY = ("failed to map segment", "cannot allocate memory", "cannot map zero-fill")


def said_of(error: ImportError) -> str:
    """What an import that failed means, and what to do, in one line.

    Args:
        error: As Python raised it, or this package with a message of its own.
    """
    text = str(error)
    if any(words in text.lower() for words in NO_MEMORY):
        return (
            f"there is not enough memory to load a package ({text}). Free some, or raise "
            "the limit (`ulimit -v`, or that of the container), and run the same again."
        )
    module = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or module in ("", "keras_resnet"):
        return text
    return f"{module} is not installed: {install(module)}"
