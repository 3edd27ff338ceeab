"""What a depth sensor measured of a frame."""

from __future__ import annotations

import numpy as np

from focusdepth_core.perception.window import Window

M_PER_MM = 1e-3  # of integers (REP-118)
MAX_POINTS = 1024  # that ``drawn`` gives: enough for two parameters; more would only cost time
SPARE = 1.5  # times as many are tried, as some turn out to be of no use
SEED = 0


class SensorDepth:
    """``values``: H,W, metres or, if integers, millimetres; 0, NaN or infinite where nothing was measured (REP-117).

    All that takes long is done here, where no network's answer is needed for it; the values are read one by one.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.measured = values > 0  # H,W bool
        if values.dtype.kind == "f":
            self.measured &= values < np.inf
        self._use = self.measured.copy()
        self._all, self._places = candidates(self.measured, MAX_POINTS, SPARE)

    def metres(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """float64, of single pixels."""
        values = self.values[rows, columns].astype(np.float64)
        return values * M_PER_MM if self.values.dtype.kind in "iu" else values

    def leave_out(self, window: Window, unless: np.ndarray) -> None:
        """From what is ``drawn``, where a bool map of ``window`` is false."""
        self._use[window] &= unless

    def drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns, at most ``MAX_POINTS``, where something was measured."""
        places = self._places[self._use.ravel()[self._places]]
        rows, columns = np.divmod(chosen(self._all, places, MAX_POINTS), self._use.shape[1])
        return rows, columns


def drawn(use: np.ndarray, most: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where ``use``, a bool map of ``window``, is true, at most ``most``."""
    rows, columns = np.divmod(chosen(*candidates(use, most), most), use.shape[1])
    return rows + window[0].start, columns + window[1].start


def candidates(use: np.ndarray, most: int, spare: float = 1.1) -> tuple[bool, np.ndarray]:
    """Whether they are all, and flat places where ``use`` is true: all of them, or ``spare`` times ``most`` that are
    drawn. Drawn, as a stride could fall in step with the sensor's own grid."""
    count = np.count_nonzero(use)
    if count <= max(most, use.size // 8):
        return True, np.flatnonzero(use)
    # Of so many it takes longer to list all than to try.
    tried = np.random.default_rng(SEED).integers(0, use.size, int(spare * most * use.size / count))
    return False, tried[use.ravel()[tried]]


def chosen(are_all: bool, places: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of ``candidates``."""
    if not are_all:
        return places[:most]
    if places.size <= most:
        return places
    return np.asarray(places[np.random.default_rng(SEED).integers(0, places.size, most)])
