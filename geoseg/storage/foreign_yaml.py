"""Safe reading of YAML from untrusted files, within limits of depth and size.

A few hundred bytes of YAML can expand to gigabytes (aliases of aliases), contain themselves, or hold a number with
millions of digits. Only plain, finite values of limited size are accepted; anything else is refused in one line.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from geoseg.errors import plural
from geoseg.storage.foreign_text import DEEPEST, LONGEST_NUMBER, TOO_DEEP, checked
from geoseg.storage.printable import shown

YAML_SUFFIXES: Final = (".yaml", ".yml")
"""Endings of YAML files, in lower case."""
_MOST_VALUES: Final = 100_000
"""Most values after expansion of aliases; configurations of known data sets have fewer than a thousand."""


def read_yaml(text: str) -> Any:
    """Parse YAML from an untrusted source: plain values only, no code.

    Aliases work as long as the expanded document has at most 100,000 values.

    Parameters
    ----------
    text : str
        YAML text of one document.

    Returns
    -------
    object
        Values as `geoseg.storage.foreign_text.read_json` returns them, and YAML's dates, sets and infinity.

    Raises
    ------
    ValueError
        If the text is not acceptable; the message is one line that says why and where.
    """
    try:
        value = _load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = " ".join(filter(None, (error.context, error.problem, error.note)))
        raise ValueError(" ".join(f"{what}{where}".split())) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    return checked(value)


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _weigh(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses oversized values before they take memory, with their line and column."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth == DEEPEST:
            raise ValueError(TOO_DEEP)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        kind = node.tag.rpartition(":")[2]
        plain = node.value if isinstance(node, yaml.ScalarNode) else ""
        if kind in ("int", "float") and len(plain) > LONGEST_NUMBER:
            raise _refused(
                node, f"a number of {plural(len(plain), 'character')}, expected {LONGEST_NUMBER} at most"
            )
        try:
            return super().construct_object(node, deep=deep)
        # Each type's parser raises its own kind of error for text that it cannot parse.
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            raise _refused(node, f"{shown(plain)} is not a valid {kind}") from error


def _refused(node: yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _weigh(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Count the values of a node with its aliases expanded, and their depth."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise _refused(node, "it contains itself (an alias, *name, inside what it names)")
        return found
    known[id(node)] = None
    count, depth = 1, 1
    for part in _parts(node):
        more, deep = _weigh(part, known)
        count, depth = count + more, max(depth, deep + 1)
    if count > _MOST_VALUES:
        raise _refused(node, f"its aliases (*name) expand to more than {_MOST_VALUES:,} values")
    if depth > DEEPEST:
        raise _refused(node, TOO_DEEP)
    known[id(node)] = count, depth
    return count, depth


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
