"""GitHub's expressions, as far as the workflows here use them.

https://docs.github.com/actions/learn-github-actions/expressions
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

INSIDE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][\w-]*)|(?P<sign>&&|\|\||==|!=|[!().,\[\]]))"
)
_LITERALS: dict[str, Any] = {"true": True, "false": False, "null": None}

Functions = Mapping[str, Callable[..., Any]]


class UnknownExpression(Exception):
    """The workflows use something that is not understood here."""


def filled(text: str, contexts: Mapping[str, Any], functions: Functions) -> str:
    """A text with every ``${{ … }}`` in it evaluated."""
    return INSIDE.sub(lambda match: as_text(evaluate(match[1], contexts, functions)), text)


def value(text: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """What a key of a workflow is: the value itself where it is one expression and no more."""
    whole = INSIDE.fullmatch(text.strip())
    return evaluate(whole[1], contexts, functions) if whole else filled(text, contexts, functions)


def as_text(found: Any) -> str:
    """As GitHub puts a value into a text."""
    match found:
        case None:
            return ""
        case bool():
            return str(found).lower()
        case dict() | list():
            raise UnknownExpression(f"a text of {found!r}")
        case _:
            return str(found)


def evaluate(expression: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """The value of what stands between the braces."""
    return _Reader(expression, contexts, functions).whole()


class _Reader:
    def __init__(self, expression: str, contexts: Mapping[str, Any], functions: Functions) -> None:
        self._expression = expression
        self._tokens = [*_tokens(expression), ""]
        self._contexts = contexts
        self._functions = functions

    def whole(self) -> Any:
        found = self._either()
        if self._tokens != [""]:
            raise UnknownExpression(self._expression)
        return found

    def _take(self, *wanted: str) -> str:
        if self._tokens[0] in wanted:
            return self._tokens.pop(0)
        return ""

    def _either(self) -> Any:
        found = self._both()
        while self._take("||"):
            other = self._both()
            found = found or other
        return found

    def _both(self) -> Any:
        found = self._equality()
        while self._take("&&"):
            other = self._equality()
            found = other if found else found
        return found

    def _equality(self) -> Any:
        found = self._single()
        while sign := self._take("==", "!="):
            same = _equal(found, self._single())
            found = same if sign == "==" else not same
        return found

    def _single(self) -> Any:
        if self._take("!"):
            return not self._single()
        if self._take("("):
            found = self._either()
            if not self._take(")"):
                raise UnknownExpression(self._expression)
            return found
        token = self._tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token in _LITERALS:
            return _LITERALS[token]
        if re.fullmatch(r"-?\d+(\.\d+)?", token):
            return float(token) if "." in token else int(token)
        if self._take("("):
            return self._path(self._call(token))
        if token not in self._contexts:
            raise UnknownExpression(f"{token} in {self._expression}")
        return self._path(self._contexts[token])

    def _call(self, name: str) -> Any:
        arguments = []
        while not self._take(")"):
            arguments.append(self._either())
            self._take(",")
        if name == "fromJSON":
            return json.loads(arguments[0])
        if name not in self._functions:
            raise UnknownExpression(f"{name}() in {self._expression}")
        return self._functions[name](*arguments)

    def _path(self, found: Any) -> Any:
        while self._take("."):
            name = self._tokens.pop(0)
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def _equal(one: Any, other: Any) -> bool:
    """As GitHub compares: of two kinds both as numbers, so that nothing equals an empty text."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    if type(one) is type(other):
        return bool(one == other)
    return _number(one) == _number(other)


def _number(found: Any) -> float:
    match found:
        case None | "":
            return 0
        case bool() | int() | float():
            return float(found)
        case str():
            try:
                return float(found)
            except ValueError:
                return math.nan
        case _:
            return math.nan


def _tokens(expression: str) -> Iterator[str]:
    place = 0
    text = expression.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise UnknownExpression(expression)
        yield match[0].strip()
        place = match.end()
