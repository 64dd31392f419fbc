"""What a market tells: the numbered feed of its changes, and the tables that readers ask.

`feed.py` is the writer's part: it numbers each commit's change. `projector.py` follows the
outbox and keeps price levels, candles, changes and own events for readers, off the hot path.
`books.py`, `days.py`, `charts.py` and `owners.py` are the reads.
"""
