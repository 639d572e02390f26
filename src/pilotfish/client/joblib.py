"""joblib, and so scikit-learn, on our workers: ``with joblib.parallel_config("pilotfish"): …``.

Importing this module registers the backend. Large arrays lie in shared memory, once however many calls get them, and
arrive read-only, as joblib's own do.

What belongs here: joblib's words. What must not: how calls are made.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import joblib  # type: ignore[import-untyped]
from joblib._parallel_backends import (  # type: ignore[import-untyped]
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from pilotfish.client.executor import Executor

__all__ = ["PilotfishBackend", "register_joblib", "release_workers"]


_OF_JOBLIB = {"context", "max_nbytes", "mmap_mode", "temp_folder", "verbose"}
"""What joblib tells every backend, most of it of how large arrays travel: ours do as they do."""


class PilotfishBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc] # bases without types
    """Runs the calls of ``joblib.Parallel`` with an `Executor`, which is kept for the next ones of the same kind.

    Options of ``parallel_config`` are those of the executor: ``cores=2, memory="2GiB", initializer=…``. With them each
    call gets its own, and of the `n_jobs` at once as many run as fit.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - joblib's, and the executor's
        """Nothing starts before the first call."""
        super().__init__(**options)
        self.parallel: Any = None
        self._executor: Executor | None = None
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls run at once; negative numbers count from all cores down."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,  # noqa: ANN401 - a joblib.Parallel
        prefer: str | None = None,
        require: str | None = None,
        **options: Any,  # noqa: ANN401 - as in `__init__`
    ) -> int:
        """Get ready for the calls of a ``Parallel``; how many run at once."""
        del prefer, require  # joblib has chosen us
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        own = {key: value for key, value in options.items() if key not in _OF_JOBLIB}
        options = {**self.backend_kwargs, **own}
        threads = {} if "cores" in options else self._prepare_worker_env(n_jobs)
        self._executor = _kept.get(n_jobs, options).options(env=threads)
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None) -> Future[Any]:
        """Let a batch of calls be made."""
        if self._executor is None:
            raise RuntimeError("this backend was not configured")
        future = self._executor.submit(_call, func)  # large arrays in arguments are shared, those in functions copied
        self._futures.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:  # noqa: ANN401 - whatever the calls returned
        """What the calls returned; raises what one of them raised."""
        return out.result()

    def terminate(self) -> None:
        """The calls of this ``Parallel`` have ended; workers stay for the next."""
        self._executor = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 - joblib's
        """End all calls, those that run too; nothing else was touched, so that all is ready again."""
        del ensure_ready
        for future in list(self._futures):
            future.cancel()


def _call(batch: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the calls returned
    return batch()


class _Kept:
    """The executor that was used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: Executor | None = None
        self._kind: tuple[int, dict[str, Any]] | None = None

    def release(self) -> None:
        """End it."""
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown()
            self._executor = None

    def get(self, n_jobs: int, options: dict[str, Any]) -> Executor:
        """One of this kind: the one that is there, or a new one in its place."""
        with self._lock:
            if self._executor is None or self._kind != (n_jobs, options) or not self._executor.usable:
                if self._executor is not None:
                    self._executor.shutdown(wait=False)
                self._executor, self._kind = Executor(n_jobs, **options), (n_jobs, options)
            return self._executor


_kept = _Kept()


def release_workers() -> None:
    """End the workers that are kept for the next run; that starts new ones."""
    _kept.release()


def register_joblib() -> None:
    """Let joblib know the backend ``"pilotfish"``."""
    joblib.register_parallel_backend("pilotfish", PilotfishBackend)


register_joblib()
