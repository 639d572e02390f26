#!/usr/bin/env python3
"""Counts the primes of one chunk: count_primes.py CHUNK SIZE looks from CHUNK * SIZE up to (CHUNK + 1) * SIZE."""

import sys
from math import isqrt


def count_primes(low: int, high: int) -> int:
    """How many primes p there are with low <= p < high, by a sieve of that segment alone."""
    low = max(low, 2)
    is_prime = bytearray([1]) * max(high - low, 0)
    for divisor in range(2, isqrt(max(high - 1, 0)) + 1):
        first = max(divisor * divisor, -(-low // divisor) * divisor)
        is_prime[first - low :: divisor] = bytes(len(range(first, high, divisor)))
    return sum(is_prime)


if __name__ == "__main__":
    chunk, size = int(sys.argv[1]), int(sys.argv[2])
    print(count_primes(chunk * size, (chunk + 1) * size))
