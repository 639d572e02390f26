"""Every figure, each beside its peer or its limit, in one table."""

from benchmarks import array_cost, busy, chain, decisions, look, makespan, million, startup, submit, throughput, wide
from benchmarks.pairs import finish, options

if __name__ == "__main__":
    rounds = options(__doc__).parse_args().rounds
    scripts = (startup, look, throughput, chain, busy, makespan, array_cost, million, submit, decisions, wide)
    finish(figure for script in scripts for figure in script.figures(rounds))
