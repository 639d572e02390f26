"""Every figure, each beside its peer or its limit, in one table."""

from benchmarks import (
    array_cost,
    arrays_by_reference,
    busy,
    calls,
    calls_memory,
    chain,
    decisions,
    look,
    makespan,
    million,
    startup,
    submit,
    throughput,
    wide,
)
from benchmarks.pairs import finish, options

if __name__ == "__main__":
    rounds = options(__doc__).parse_args().rounds
    commands = (startup, look, throughput, chain, busy, makespan, array_cost, million, submit, decisions, wide)
    functions = (calls, arrays_by_reference, calls_memory)
    finish(figure for script in (*commands, *functions) for figure in script.figures(rounds))
