"""Built-in corpora: small originals made here, and the real ones if they are available."""

import importlib.util
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from zlpr_hf import InputError
from zlpr_hf.data.corpora import read_cwe, read_frequent_cwe, read_reuters21578

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
