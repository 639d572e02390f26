#!/usr/bin/env python3
"""Six calls, each on a core of its own, and their sum: 0 + 1 + … + 5.

The sum is written down before any call has ended, and evaluated when it is wanted.
"""

import asyncio

import pilotfish as pf


@pf.delayed
async def identity(number: int) -> int:
    """Stands for a calculation that takes long."""
    return number


async def main() -> None:
    """Use six places, on however many cores there are."""
    async with pf.AsyncSession(cores=6):
        total = pf.delayedval(0)
        for number in range(6):
            total += (identity @ pf.Cores(1))(number)
        print(await total)


if __name__ == "__main__":
    asyncio.run(main())
