#!/usr/bin/env python3
"""Adds up what the chunks found: reduce.py FOLDER CHUNKS reads FOLDER/0.txt and so on."""

import sys
from pathlib import Path

if __name__ == "__main__":
    folder, chunks = Path(sys.argv[1]), int(sys.argv[2])
    print(sum(int((folder / f"{chunk}.txt").read_text()) for chunk in range(chunks)))
