"""Modules and functions stay small enough to be read at once."""

import ast

import pytest

from tests.test_imports import PACKAGE

MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES_OF_A_MODULE = 300
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 9
REASON = "longer than other"  # A longer module says why, in its docstring.
MANY_PARAMETERS = {"reproduce.py: train"}  # One for each option.


def functions(module):
    """The functions of a module and of its classes, with their names."""
    return [
        (f"{module.relative_to(PACKAGE)}: {node.name}", node)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def lines(function):
    """Number of a function's lines without those of its docstring."""
    docstring = 0
    if ast.get_docstring(function) is not None:
        docstring = function.body[0].end_lineno - function.body[0].lineno + 1
    return function.end_lineno - function.lineno + 1 - docstring


def parameters(function):
    """Number of a function's parameters without `self` and `cls`."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [arguments.vararg, arguments.kwarg]
    return sum(one.arg not in ("self", "cls") for one in named + starred if one)


@pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_modules_are_short_or_say_why_not(module):
    text = module.read_text(encoding="utf-8")
    if len(text.splitlines()) > MOST_LINES_OF_A_MODULE:
        docstring = " ".join(ast.get_docstring(ast.parse(text)).split())
        assert REASON in docstring.lower()


def test_functions_are_short():
    long = {
        name: lines(function)
        for module in MODULES
        for name, function in functions(module)
        if lines(function) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long.keys() - MANY_PARAMETERS, long


def test_functions_have_few_parameters():
    many = {
        name: parameters(function)
        for module in MODULES
        for name, function in functions(module)
        if parameters(function) > MOST_PARAMETERS
    }
    assert many.keys() == MANY_PARAMETERS, many


def test_a_functions_size_is_counted_without_its_docstring():
    source = '''
def f(self, a, /, b, *args, c, **options):
    """One.

    Two.
    """
    return a
'''
    (function,) = ast.parse(source).body
    assert (lines(function), parameters(function)) == (2, 5)
