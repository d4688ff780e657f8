"""SeenTexts: fingerprints of the texts that a model was trained and validated on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.files.arrays import read_arrays
from zlpr_hf.files.atomic import whole_file

if TYPE_CHECKING:
    from zlpr_hf.data.dataset import LabelledData

SEEN_FILE = "seen_texts.npz"
DRAWING = "drawing"
Fingerprints = NDArray[np.uint64]


@dataclass(frozen=True)
class SeenTexts:
    """Fingerprints of the texts of a run, from which the texts cannot be restored.

    Args:
        splits: Sorted fingerprints of the texts of ``train``, ``validation`` and ``test``; of
            ``unused`` training rows (``max_train_samples``); and of other texts that the weights
            were trained on in ``earlier`` runs. Texts without content count as new.
        drawing: Shares and random seed of the splits; two runs that agree in them draw alike.
    """

    splits: Mapping[str, Fingerprints]
    drawing: tuple[float, ...] = ()

    @classmethod
    def from_data(
        cls, data: LabelledData, drawing: Sequence[float], earlier: SeenTexts | None = None
    ) -> SeenTexts:
        """Return the fingerprints of a data set; ``earlier`` ones are of the initial weights."""
        splits = {name: np.unique(hash_texts(data.texts(name))) for name in data.splits}
        splits["unused"] = np.unique(hash_texts(data.unused))
        trained = hash_texts([]) if earlier is None else earlier.trained
        splits["earlier"] = np.setdiff1d(trained, splits["train"])
        return cls(splits, tuple(map(float, drawing)))

    @classmethod
    def find(cls, model: str | Path) -> SeenTexts | None:
        """Read the fingerprints in the folder of a model or a checkpoint, if there are any.

        Raises:
            InputError: If the file is damaged.
        """
        folder = Path(model).expanduser()
        if re.fullmatch(r"checkpoint-\d+", folder.name):
            folder = folder.parent
        path = folder / SEEN_FILE
        if not path.is_file():
            return None
        remedy = "remove it to go on without the record of the texts that this model was trained on"
        splits = read_arrays(path, remedy=remedy)
        if DRAWING not in splits:
            raise InputError(f"{path}: no record of seen texts; {remedy}")
        return cls(splits, tuple(splits.pop(DRAWING).tolist()))

    def save(self, folder: Path) -> None:
        """Write the fingerprints into a folder, completely or not at all."""
        with whole_file(folder / SEEN_FILE) as part:
            np.savez(part, **self.splits, **{DRAWING: np.asarray(self.drawing)})  # type: ignore[arg-type]

    @property
    def trained(self) -> Fingerprints:
        """Fingerprints of all texts that the weights were trained on."""
        return np.union1d(self._of("train"), self._of("earlier"))

    def find_trained(self, texts: Iterable[Sequence[str]]) -> NDArray[np.bool_]:
        """Return which texts the weights were trained on."""
        return np.isin(hash_texts(texts), self.trained)

    def count(self, texts: Iterable[Sequence[str]]) -> dict[str, int]:
        """Count texts that the weights were trained on, and others that chose epoch or offsets."""
        found = hash_texts(texts)
        trained = np.isin(found, self.trained)
        return {
            "train": int(trained.sum()),
            "validation": int((~trained & np.isin(found, self._of("validation"))).sum()),
        }

    def places(self, texts: Iterable[Sequence[str]]) -> list[str | None]:
        """Return the split of each text, None for new texts; texts trained on are in ``train``."""
        found = hash_texts(texts)
        places = np.full(len(found), None, dtype=object)
        for split in ("test", "validation"):
            places[np.isin(found, self._of(split))] = split
        places[np.isin(found, np.union1d(self.trained, self._of("unused")))] = "train"
        return list(places)

    def with_validation(self, texts: Iterable[Sequence[str]]) -> SeenTexts:
        """Return a record in which the texts also chose the offsets."""
        both = np.union1d(self._of("validation"), hash_texts(texts))
        return replace(self, splits={**self.splits, "validation": both})

    def _of(self, split: str) -> Fingerprints:
        return np.setdiff1d(self.splits.get(split, np.zeros(0, dtype=np.uint64)), _BLANK)


def text_key(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of a row in a form in which equal texts are equal."""
    return tuple(" ".join(text.split()) for text in texts)


def hash_texts(texts: Iterable[Sequence[str]]) -> Fingerprints:
    """Return a 64-bit fingerprint per row of one or two texts; white space does not count.

    Example:
        >>> first, second, third = hash_texts([("a b",), (" a  b",), ("a", "b")])
        >>> first == second, first == third
        (np.True_, np.False_)
    """
    digests = [
        # White space is single blanks now, so that a line break keeps the texts of a pair apart.
        blake2b("\n".join(text_key(row)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for row in texts
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


_BLANK = hash_texts([("",), ("", "")])
"""Fingerprints of texts without content: two rows that have one need not be of one text."""
