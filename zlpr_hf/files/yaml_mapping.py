"""Mappings in YAML files, read and written with the scalars of YAML 1.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from zlpr_hf.errors import InputError

MAX_NODES = 100_000
"""Values in a file with its aliases expanded; ten lines of aliases can stand for billions."""
TAG = "tag:yaml.org,2002:"
# YAML 1.1 reads "no" as false, "1e-5" as text and "007" as an octal number.
SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"0|[-+]?[1-9][0-9]*",
    "float": r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": "<<",
}


class _Loader(yaml.SafeLoader):
    """Loads the scalars of the core schema of YAML 1.2; the names of a mapping are always text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)  # values that are merged in with "<<"
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


class _Dumper(yaml.SafeDumper):
    """Quotes text that a reader of YAML 1.1 or 1.2 would take for something else."""


for _name, _pattern in SCALARS.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(TAG + _name, re.compile(f"(?:{_pattern})$"), None)


def read_yaml_mapping(path: Path, expected: str) -> dict[str, Any]:
    """Read the top-level mapping of a YAML file; messages name the ``expected`` content."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{path}: {expected}")
        _check(node, path)
        values: dict[str, Any] = loader.construct_document(node)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: {reason}; {expected}") from error
    except InputError:
        raise
    except Exception as error:  # !!timestamp and others raise more than YAMLError
        nested = isinstance(error, RecursionError)
        reason = "its values are nested too deep" if nested else " ".join(str(error).split())
        raise InputError(f"{path}: not a YAML file: {reason}") from error
    return values


def render_yaml(values: Mapping[str, Any]) -> str:
    """Return a mapping as YAML, sorted by name."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=True, allow_unicode=True)
    return text


def _check(root: yaml.Node, path: Path) -> None:
    """Refuse duplicate names, which YAML drops silently, and endless values."""
    pending, seen = [root], 0
    while pending:
        node = pending.pop()
        line = f"{path}, line {node.start_mark.line + 1}"
        seen += 1
        if seen > MAX_NODES:
            raise InputError(f"{line}: aliases that stand for more than {MAX_NODES:,} values")
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise InputError(f"{line}: expected lines of 'name: value', got a list as name")
                if key.value in names:
                    line = f"{path}, line {key.start_mark.line + 1}"
                    raise InputError(f'{line}: duplicate name "{key.value}"')
                names.add(key.value)
                pending.append(value)
