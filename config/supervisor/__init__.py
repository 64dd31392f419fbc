"""One command that runs everything: `python -m config.supervisor`, or `make run`."""
