"""Near-duplicates: rows with almost the same words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

MIN_SIMILARITY = 0.8
"""Jaccard similarity of the pairs of words from which two texts are near-duplicates."""
BANDS, BAND_HASHES = 12, 4
"""Texts are compared if all hashes of a band agree: of pairs with similarity 0.8, 99.8 % are."""
MAX_BUCKET = 50
"""Texts with equal hashes that are compared with one another; more are compared with neighbours."""
PRIME = np.uint64((1 << 31) - 1)
Shingles = NDArray[np.uint64]


def find_near_duplicates(texts: Sequence[tuple[str, ...]]) -> list[tuple[int, int, float]]:
    """Return pairs of rows with almost the same words, and their similarity from 0.8 to 1.

    Candidates come from MinHash signatures, so that the time grows with the number of texts. Blank
    texts have no duplicates.

    Example:
        >>> same = ("The parcel came late and the box was wet",)
        >>> near = ("the parcel came late, and the box was wet!",)
        >>> find_near_duplicates([same, ("Fine",), near])
        [(0, 2, 1.0)]

    References:
        Broder: On the resemblance and containment of documents, 1997.
    """
    shingles = [_shingle(text) for text in texts]
    pairs = sorted(set(_candidates(shingles)))
    found = [
        (first, second, _jaccard(shingles[first], shingles[second])) for first, second in pairs
    ]
    return [pair for pair in found if pair[2] >= MIN_SIMILARITY]


def _shingle(text: tuple[str, ...]) -> Shingles:
    """Return hashes of the words in pairs; a text of one word has that word alone."""
    words = re.findall(r"\w+", " ".join(text).lower())
    pairs = [" ".join(pair) for pair in pairwise(words)] or words
    return np.unique(np.array([zlib.crc32(pair.encode()) for pair in pairs], dtype=np.uint64))


def _candidates(shingles: Sequence[Shingles]) -> Iterator[tuple[int, int]]:
    generator = np.random.default_rng(0)
    count = BANDS * BAND_HASHES
    factors = generator.integers(1, int(PRIME), count, dtype=np.uint64)[:, None]
    shifts = generator.integers(0, int(PRIME), count, dtype=np.uint64)[:, None]
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for row, each in enumerate(shingles):
        if not len(each):
            continue
        hashes = ((factors * (each % PRIME) + shifts) % PRIME).min(1).reshape(BANDS, BAND_HASHES)
        for band, values in enumerate(hashes):
            buckets.setdefault((band, values.tobytes()), []).append(row)
    for rows in buckets.values():
        if len(rows) <= MAX_BUCKET:
            yield from combinations(rows, 2)
        else:
            yield from pairwise(rows)


def _jaccard(first: Shingles, second: Shingles) -> float:
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)
