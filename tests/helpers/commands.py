"""Commands one after the other in a process: ``python -m tests.helpers.commands JSON``.

The argument is a list of lists of words. Before what each command prints stands a line
with its words, after it one with its exit code.
"""

import json
import sys

from keras_resnet.__main__ import main

if __name__ == "__main__":
    for words in json.loads(sys.argv[1]):
        print("$", *words, flush=True)
        print("=", main(words), flush=True)
