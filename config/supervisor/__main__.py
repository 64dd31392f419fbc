"""The command `python -m config.supervisor`."""

from __future__ import annotations

import argparse
import sys

from config.embedded import var_dir
from config.supervisor.instance import FolderNotOurs, RunsAlready, take_turn


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m config.supervisor")
    parser.add_argument("--reset", action="store_true", help="remove all data first")
    parser.add_argument("--check-stopped", action="store_true", help="only say whether it runs")
    parser.add_argument("--without", default="", help="names to leave out: simulator,seed_demo")
    chosen = parser.parse_args(arguments)
    try:
        turn = take_turn(var_dir())
    except (RunsAlready, FolderNotOurs) as error:
        print(error, file=sys.stderr)
        return 1
    with turn:
        if chosen.check_stopped:
            return 0
        from config.supervisor.run import run

        without = frozenset(filter(None, chosen.without.split(",")))
        return run(turn, has_to_reset=chosen.reset, without=without)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
