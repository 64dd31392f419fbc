"""Does several steps in one process: loading Django is most of what each would cost.

python -m config.supervisor.steps migrate seed_demo
"""

from __future__ import annotations

import os
import sys
import time

from config.supervisor.table import STEPS


def main(names: list[str]) -> None:
    """Do the named steps, in order. One that fails ends the process with its traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django
    from django.core.management import call_command

    django.setup()
    for step in STEPS:
        if step.name in names:
            started = time.monotonic()
            call_command(step.name, *step.options)
            print(f"{step.name} done in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
