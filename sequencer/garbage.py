"""When Python looks for garbage: between batches, and little; never while one is decided.

A batch makes thousands of objects that die with it, by themselves. Python's collector does
not know that: it walked them again and again, for a sixth of the engine's time.
"""

from __future__ import annotations

import gc

YOUNG_EVERY = 8
MIDDLE_EVERY = 256
ALL_EVERY = 8192
"""Look through what is young, older, and all, after so many batches. `freeze` is left out."""


class Garbage:
    """Takes the collector over for this process. Call `freeze` when memory is rebuilt."""

    def __init__(self) -> None:
        self._batches = 0

    def freeze(self) -> None:
        """Set aside what was loaded: it lives for long, and is not to be walked again."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.disable()

    def after_batch(self) -> None:
        """Look for garbage if it is time to."""
        self._batches += 1
        if self._batches % ALL_EVERY == 0:
            gc.collect()
        elif self._batches % MIDDLE_EVERY == 0:
            gc.collect(1)
        elif self._batches % YOUNG_EVERY == 0:
            gc.collect(0)
