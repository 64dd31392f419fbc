"""How much CPU time the processes of a measurement took, so that shares can be told apart."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(root: int) -> float:
    """The CPU seconds that a process and its living descendants have taken so far.

    User and system time, to a hundredth of a second. What has ended counts no more, so
    measure between two moments of a steady set.
    """
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = int(fields[11]) + int(fields[12])
    return sum(ticks[pid] for pid in ticks if _descends(pid, root, parents)) / TICKS_PER_S


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid not in {root, 0}:
        pid = parents.get(pid, 0)
    return pid == root
