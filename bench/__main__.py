"""`python -m bench [module …]`: measure, print one table, write var/bench.json."""

from __future__ import annotations

import os
import sys

from bench.support import RESULTS, Figures, measured, merge, modules, servers, table
from config.embedded import var_dir


def main(chosen: list[str]) -> None:
    """Measure the chosen modules, or all, on embedded servers in var/bench."""
    known = modules()
    if unknown := set(chosen) - set(known):
        sys.exit(f"no such module: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    folder = var_dir() / "bench"
    # Whatever a module starts or connects to finds these servers, never a running Scrip's.
    os.environ["SCRIP_VAR"] = str(folder)
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CACHE_URL"):
        os.environ.pop(name, None)
    figures: Figures = {}
    beside: dict[str, str] = {}
    with servers(folder) as embedded:
        for name in chosen or known:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            found, baselines = measured(name, embedded)
            merge(found)
            figures |= found
            beside |= baselines
    print(table(figures, beside))
    print(f"\nwritten to {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
