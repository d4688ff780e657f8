"""Labels outside a label space: refuse them, or drop them from the rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

from zlpr_hf.choices import UnseenLabels
from zlpr_hf.data.split_rows import SplitRows
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.labels import LabelSpace

logger = logging.getLogger(__name__)


def handle_unseen(
    splits: Mapping[str, SplitRows],
    space: LabelSpace,
    action: UnseenLabels,
    origins: Mapping[str, str],
) -> dict[str, int]:
    """Refuse labels that no training row has, or drop them from the rows of all splits.

    Returns:
        The dropped labels, and from how many rows.
    """
    dropped: Counter[str] = Counter()
    for split, rows in splits.items():
        origin, absence = origins.get(split, split), "does not occur in the training rows"
        dropped += drop_unknown(rows, space, action, origin, absence)
    for name, count in dropped.items():
        logger.warning("label %r is not in the training rows: dropped from %d rows", name, count)
    return dict(dropped)


def drop_unknown(
    rows: SplitRows, space: LabelSpace, action: UnseenLabels, origin: str, absence: str
) -> Counter[str]:
    """Refuse labels outside a label space (action ``error``), or drop them (action ``drop``).

    Args:
        rows: The rows; dropped labels are removed from them.
        space: The known labels.
        action: ``error`` or ``drop``.
        origin: Name of the rows, for messages.
        absence: End of the sentence "label x ...", for messages.

    Returns:
        The dropped labels, and from how many rows.

    Raises:
        InputError: At the first unknown label, with its row.
    """
    dropped: Counter[str] = Counter()
    for number, row in zip(rows.numbers, rows.labels, strict=True):
        unknown = [name for name in row if name not in space.label2id]
        if unknown and action == "error":
            raise InputError(
                f"{origin}, row {number}: label {unknown[0]!r} {absence}; correct it, or set "
                f"unseen_labels drop{suggest(unknown[0], space.names)}"
            )
        for name in unknown:
            del row[name]
        dropped.update(unknown)
    return dropped
