"""HyperQueue's own local cluster, from its start to its stop. Run by the Python of the peers' environment.

Usage: peer_hyperqueue.py TASKS CORES
"""

import sys
import tempfile
from pathlib import Path

from hyperqueue import Job, LocalCluster  # type: ignore[import-not-found]  # lives in the peers' environment only
from hyperqueue.cluster import WorkerConfig  # type: ignore[import-not-found]  # likewise

tasks, cores = int(sys.argv[1]), int(sys.argv[2])
with LocalCluster(server_dir=tempfile.mkdtemp(dir=Path.cwd()), worker_config=WorkerConfig(cores=cores)) as cluster:
    client = cluster.client()
    job = Job()
    for _ in range(tasks):
        job.program(["/bin/true"])
    client.wait_for_jobs([client.submit(job)])
