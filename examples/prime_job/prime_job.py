"""Counting primes by divide and conquer: a job that splits itself, waits for its parts, and sums them up."""

import pilotfish as pf


class PrimeJob(pf.JobClass):
    """Counts the primes from `start` to below `end`; with `chunk`, in parts of so many numbers."""

    defer_time = 0.2
    attempts = 2
    error_time = 1

    def execute(self, end: int, start: int = 0, chunk: int | None = None) -> int:
        """The count."""
        if chunk is None:
            return sum(map(is_prime, range(start, end)))
        children = self.children
        if not children and start < end:
            for lo in range(start, end, chunk):
                self.enqueue(start=lo, end=min(lo + chunk, end))
            self.defer("launched")
        if children.unfinished:
            self.progress(children.done_fraction)
            self.defer(f"waiting for {children.unfinished} of {len(children)}")
        return sum(children.results())


def is_prime(number: int) -> bool:
    """Whether it is one, by trial division."""
    if number < 4:
        return number > 1
    if number % 2 == 0 or number % 3 == 0:
        return False
    divisor = 5
    while divisor * divisor <= number:
        if number % divisor == 0 or number % (divisor + 2) == 0:
            return False
        divisor += 6
    return True
