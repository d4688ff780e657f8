from types import SimpleNamespace

import pytest

from zlpr_hf import InputError, LabelSpace


def test_ids_names_and_vectors_agree() -> None:
    space = LabelSpace.fit([["sea"], [], ["dog", "sea"], ["cat"]])
    assert space.names == ("cat", "dog", "sea")
    assert space.num_labels == 3
    assert space.encode(["sea", "cat"]) == [1.0, 0.0, 1.0]
    assert space.decode([space.encode(["sea", "cat"]), [0, 0, 0]]) == [["cat", "sea"], []]
    assert {space.label2id[name]: name for name in space.names} == space.id2label


def test_config_with_string_keys() -> None:
    assert LabelSpace.from_config(SimpleNamespace(id2label={"1": "b", "0": "a"})).names == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "a"), "duplicate label 'a'"),
        (("a",), "at least two labels, got 1"),
        ((), "at least two labels, got 0"),
        (("a", " "), "label 1: expected a non-empty name"),
        (("a", 3), "label 1: expected a non-empty name"),
    ],
)
def test_wrong_names(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelSpace(names)


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="unknown label 'z'; known: a, b"):
        LabelSpace(("a", "b")).encode(["z"])


def test_single_text_is_refused_as_label_names() -> None:
    with pytest.raises(InputError, match="expected label names, got one text: 'red'"):
        LabelSpace("red")  # type: ignore[arg-type]
