"""The commands: parse, call, print; one file per family. What must not stand here: decisions, formats, storage."""
