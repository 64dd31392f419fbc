"""Claims of a crowd: many at once, through the sequencer, by the rules that decide each."""
