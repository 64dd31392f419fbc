"""Work on many codes at once, in steps that a killed worker's successor goes on with."""
