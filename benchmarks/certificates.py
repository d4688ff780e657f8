"""Certificates of real models beside each other: the table of docs/certify.md.

Texts of the models are left out. Models that are not named keep their stored certificates.

Run: zlpr certify out/cwe --servers ... ; zlpr certify out/reuters --servers ...
     python -m benchmarks.certificates CWE=out/cwe Reuters=out/reuters
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf.reports.certificate import CERTIFICATE_FILE

FIELDS = (
    "backend", "cut", "required", "not_run", "texts", "equal_texts", "hard_cases",
    "equal_hard_cases", "largest_difference", "tolerance", "causes",
)  # fmt: skip


def read_certificate(folder: Path) -> dict[str, Any]:
    """Return a certificate without its texts and paths."""
    stored = json.loads((folder / CERTIFICATE_FILE).read_text(encoding="utf-8"))
    return {
        "texts": stored["texts"],
        "labels": stored["labels"],
        "versions": stored["versions"],
        "backends": [{name: each[name] for name in FIELDS} for each in stored["backends"]],
    }


def render_table() -> str:
    """Return the backends that ran, with the share of equal label sets per model."""
    models = json.loads((RESULTS / "certificates.json").read_text(encoding="utf-8"))["models"]
    names = dict.fromkeys(each["backend"] for run in models.values() for each in run["backends"])
    rows = []
    for name in names:
        cells = [name]
        for run in models.values():
            found = {each["backend"]: each for each in run["backends"]}.get(name)
            cells.append("" if found is None or found["not_run"] else _cell(found))
        if any(cells[1:]):
            rows.append(cells)
    return markdown_table(["backend", *models], rows)


def _cell(found: dict[str, Any]) -> str:
    """Return equal label sets of texts and hard cases, and the largest difference of a logit."""
    parts = [
        f"{found['equal_texts']} of {found['texts']}",
        f"{found['equal_hard_cases']} of {found['hard_cases']}",
    ]
    if found["largest_difference"] is not None:
        parts.append(f"{found['largest_difference']:.1g}")
    return "; ".join(parts)


BLOCKS = {"certificates": render_table}


def main(argv: list[str]) -> None:
    if not argv:
        raise SystemExit(__doc__)
    models = json.loads((RESULTS / "certificates.json").read_text(encoding="utf-8"))["models"]
    for given in argv:
        name, _, folder = given.rpartition("=")
        models[name or Path(folder).name] = read_certificate(Path(folder))
    save("certificates", {"models": models})


if __name__ == "__main__":
    main(sys.argv[1:])
