"""YamlFile: a mapping that somebody wrote, as YAML understands it and as it was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zlpr_hf.errors import InputError

MAX_NODES = 100_000
"""Values of a file with its aliases followed: ten short lines of them can stand for billions."""
NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class YamlFile:
    """The top-level mapping of a file.

    Args:
        values: Name to value as YAML understands it: numbers, truth values, nothing.
        written: Name to value as it was written: text, lists and mappings of it, and None for
            nothing. To YAML the ``no`` of a label is a truth value.
    """

    values: dict[str, Any]
    written: dict[str, Any]

    @classmethod
    def read(cls, path: Path, expected: str) -> YamlFile:
        """Read a file.

        Args:
            path: The file.
            expected: What it should hold, for messages.

        Returns:
            Its mapping.

        Raises:
            InputError: If there is no such file, or it holds no mapping, the same name twice, or
                something that contains itself.
        """
        try:
            loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            raise InputError(f"{path}: {reason}; {expected}") from error
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{path}: not a YAML file: {_reason(error)}") from error
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise InputError(f"{path}: {expected}")
            _check(node, path)
            loader.flatten_mapping(node)
            values = {
                key.value: loader.construct_object(value, deep=True) for key, value in node.value
            }
        except InputError:
            raise
        # Dates that do not exist and the like are no YAMLError.
        except Exception as error:
            raise InputError(f"{path}: not a YAML file: {_reason(error)}") from error
        return cls(values, _as_written(node))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its values are nested too deep"
    return " ".join(str(error).split())


def _check(node: yaml.Node, path: Path) -> None:
    """Refuse what would be lost, never end, or fill the memory."""
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(node: yaml.Node) -> int:
        line = f"{path}, line {node.start_mark.line + 1}"
        if id(node) in above:
            raise InputError(f"{line}: a value that contains itself")
        if id(node) not in sizes:
            above.add(id(node))
            children = [] if isinstance(node, yaml.ScalarNode) else node.value
            if isinstance(node, yaml.MappingNode):
                _check_names(node, line)
                children = [value for _, value in node.value]
            sizes[id(node)] = 1 + sum(map(size, children))
            above.remove(id(node))
            if sizes[id(node)] > MAX_NODES:
                raise InputError(f"{line}: aliases that stand for more than {MAX_NODES:,} values")
        return sizes[id(node)]

    size(node)


def _check_names(node: yaml.MappingNode, line: str) -> None:
    names: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{line}: expected lines of 'name: value', got a list as a name")
        if key.value in names:
            raise InputError(f"{line}: {key.value!r} stands twice")
        names.add(key.value)


def _as_written(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        # What is merged in with << comes first, so that what replaces it wins.
        return {key.value: _as_written(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_as_written(each) for each in node.value]
    return None if node.tag == NULL else node.value
