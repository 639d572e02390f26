"""Every figure, each beside its peer or its limit, in one table."""

from benchmarks import (
    allocation,
    array_cost,
    arrays_by_reference,
    beside_dask,
    busy,
    calls,
    calls_memory,
    chain,
    decisions,
    look,
    makespan,
    many_agents,
    million,
    scaling,
    startup,
    submit,
    throughput,
    transport,
    wide,
)
from benchmarks.pairs import finish, options

if __name__ == "__main__":
    rounds = options(__doc__).parse_args().rounds
    commands = (startup, look, throughput, chain, busy, makespan, array_cost, million, submit, decisions, wide)
    functions = (calls, arrays_by_reference, calls_memory)
    machines = (transport, many_agents, allocation, scaling, beside_dask)
    finish(figure for script in (*commands, *functions, *machines) for figure in script.figures(rounds))
