"""Counters of a server in the text format of Prometheus, summed over its worker processes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STATUSES = (200, 400, 404, 405, 408, 413, 422, 500, 503)
"""Status codes with a counter of their own; there are no others."""

COUNTERS = {
    **{f'zlpr_requests_total{{status="{status}"}}': "counter" for status in STATUSES},
    "zlpr_texts_total": "counter",
    "zlpr_labels_total": "counter",
    "zlpr_queue_texts": "gauge",
}
HISTOGRAMS = {"zlpr_request_seconds": SECONDS, "zlpr_batch_texts": BATCH_TEXTS}
HELP = {
    "zlpr_requests_total": "Requests by status code.",
    "zlpr_texts_total": "Texts that were answered.",
    "zlpr_labels_total": "Labels that were predicted.",
    "zlpr_queue_texts": "Texts that wait or are computed.",
    "zlpr_request_seconds": "Seconds from a request for labels to its answer.",
    "zlpr_batch_texts": "Texts that the model computed together.",
}


class Metrics:
    """Counters and histograms of this process, beside those of other workers.

    Each worker has a file of its own in ``folder``, which outlives it, so that the sums never fall
    and a killed worker leaves no lock behind.

    Args:
        folder: Folder that the workers share; None for a single process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        names = list(COUNTERS)
        for name, bounds in HISTOGRAMS.items():
            names += [_bucket(name, bound) for bound in (*bounds, np.inf)]
            names += [f"{name}_sum", f"{name}_count"]
        self._places = {name: place for place, name in enumerate(names)}
        self._values: NDArray[np.float64] = np.zeros(len(names))
        if folder is not None:
            path = folder / str(os.getpid())
            self._values = np.memmap(path, np.float64, "w+", shape=(len(names),))

    def add(self, name: str, value: float = 1) -> None:
        """Add to a counter."""
        self._values[self._places[name]] += value

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._values[self._places[name]] = value

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        for bound in (*HISTOGRAMS[name], np.inf):
            if value <= bound:
                self.add(_bucket(name, bound))
        self.add(f"{name}_sum", value)
        self.add(f"{name}_count")

    def render(self) -> str:
        """Return the sums over all workers, in the text format of Prometheus."""
        totals = self._sum()
        lines, titled = [], set()
        for name, place in self._places.items():
            base = name.partition("{")[0]
            base = base if base in HELP else base.rpartition("_")[0]
            if base not in titled:
                titled.add(base)
                kind = "histogram" if base in HISTOGRAMS else COUNTERS.get(name, "counter")
                lines += [f"# HELP {base} {HELP[base]}", f"# TYPE {base} {kind}"]
            lines.append(f"{name} {totals[place]:.12g}")
        return "\n".join(lines) + "\n"

    def _sum(self) -> NDArray[np.float64]:
        if self._folder is None:
            return self._values
        totals = np.zeros(len(self._values))
        gauges = [self._places[name] for name, kind in COUNTERS.items() if kind == "gauge"]
        for path in self._folder.iterdir():
            values = np.fromfile(path, np.float64)
            if len(values) == len(totals):  # a worker that starts may not have filled its file
                if not _is_running(int(path.name)):
                    values[gauges] = 0
                totals += values
        return totals


def _bucket(name: str, bound: float) -> str:
    return f'{name}_bucket{{le="{"+Inf" if bound == np.inf else f"{bound:g}"}"}}'


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
