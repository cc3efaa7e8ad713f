"""Turns for processes of many machines: Procrastinate on PostgreSQL carries `tick(pid)` to one of several workers.

    dispatcher = ProcrastinateDispatcher("postgresql://...", clock)    # the journal's database, or another one
    await dispatcher.serve(kernel)                                     # until cancelled: this worker takes part
    dispatcher.hint(pid)                                               # in other programs too, without `serve`

The engine has a job for each process that should have a turn: waiting, or held by a worker. Its lock is the process's
name, so that only one is held at a time. Three loops run beside its worker's own:

- `_sweep` asks the store what is due and sees to it that there is a job. Sleepers and lost hints need no more.
- `_watch` ends the jobs of workers that no longer say that they live; the next sweep makes new ones.
- the worker gives the turns, and says every `BEAT` that it lives, for as long as an effect may take.

Who has the process is not for the engine to say: the journal's claims do. A worker that was given up too early cannot
write. Why this engine, and what it is not trusted with: docs/explanation/dispatch.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from procrastinate import App, JobContext
from procrastinate.app import WorkerOptions
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job, Status
from psycopg import Error

from kernos.drivers.dispatch.queue import Failure, Jobs, Patient, prepare
from kernos.drivers.dispatch.turns import PAUSE, Troubled, Turns, quiet, stopped, together
from kernos.kernel.errors import KernosError, StoreError
from kernos.kernel.ports import Clock, Worker

SWEEP = 0.25
"""How many seconds pass, at the most, before the store is asked what is due; hints and timers do not wait for it."""
FETCH = 0.25
"""How often, in seconds, a worker looks for jobs of whose coming it was not told."""
GAP = 0.02
"""How many seconds pass between two sweeps at least."""
BEAT = 1.0
"""How often, in seconds, a worker says that it lives."""
LEASE = 5.0
"""After how many seconds of silence a worker counts as dead."""
FORGET = 86_400.0
"""After how many seconds of silence a worker's name is deleted; a frozen one would come back to a foreign key."""

LAST = 1.0
"""How many seconds the last hints have to get through when a program closes."""

QUEUE = "kernos"
TICK = "tick"


class ProcrastinateDispatcher:
    """See `ports.Dispatcher`. With a root, `serve` takes part in the turns of that tree only, beside other workers.

    Args:
        url: `postgresql://…`; everything is kept in a schema of its own.
        clock: the kernel's.
        troubled: told of every failure; it is tried again all the same.
        at_once: how many processes have their turns at the same time at this worker.
    """

    def __init__(self, url: str, clock: Clock, troubled: Troubled = quiet, at_once: int = 32) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._clock = clock
        self._at_once = at_once
        self._turns = Turns(troubled)
        self._look = asyncio.Event()
        self._connector = Patient(self._url, self._trouble)
        self._app = App(connector=self._connector)
        self._app.job_manager = self._jobs = Jobs(self._connector, self._look.set)
        self._app.task(name=TICK, pass_context=True)(self._tick)
        self._opening, self._opened = asyncio.Lock(), False
        self._kernel: Worker | None = None
        self._root = ""
        self._hinted: set[str] = set()
        self._telling: asyncio.Task[None] | None = None

    async def serve(self, kernel: Worker, root: str = "") -> None:
        """Raises StoreError when the database does not let Procrastinate's tables be made."""
        self._kernel, self._root = kernel, root
        try:
            await together(self._reach())
            await together(self._work(), self._sweep(kernel), self._watch(), ending=self._connector.hurry)
        finally:
            self._kernel, self._connector.closing = None, False

    def hint(self, pid: str) -> None:
        self._turns.hint(pid)
        self._look.set()
        if self._kernel is not None:
            return
        self._hinted.add(pid)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def close(self) -> None:
        self._connector.hurry()
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=LAST)
            await stopped([self._telling])
        await self._app.close_async()
        self._opened = False

    async def _reach(self) -> None:
        """Open the database, however long that takes."""
        while True:
            try:
                return await self._open()
            except Failure as error:
                self._trouble(error)
            except Error as error:
                raise StoreError(f"the tables of the dispatcher cannot be made: {error}") from None
            await asyncio.sleep(PAUSE)

    async def _open(self) -> None:
        async with self._opening:
            if self._opened:
                return
            await asyncio.to_thread(prepare, self._url)
            try:
                await self._app.open_async()
            except BaseException:
                await self._app.close_async()
                raise
            self._opened = True

    async def _tell(self) -> None:
        """Make jobs of hints in a program that does not serve. If that fails, others find what is due."""
        with suppress(Error, *Failure):
            await self._open()
            while self._hinted:
                pids, self._hinted = self._hinted, set()
                await self._offer(pids, await self._jobs.list_jobs_async())

    async def _tick(self, context: JobContext, pid: str) -> None:
        assert self._kernel is not None
        await self._turns.give(self._kernel, pid, partial(self._still, context.job))

    async def _still(self, job: Job) -> bool:
        """Whether this worker has the process still; from now on nobody takes it for dead, so it may go on."""
        if self._jobs.worker is None:
            return False
        await self._jobs.update_heartbeat(self._jobs.worker)
        return bool(list(await self._jobs.list_jobs_async(id=job.id, status=Status.DOING.value)))

    async def _work(self) -> None:
        """Be a worker of the engine's. It ends by itself only when something is wrong that waiting does not mend."""
        options: WorkerOptions = {
            "concurrency": self._at_once, "fetch_job_polling_interval": FETCH, "update_heartbeat_interval": BEAT,
            "stalled_worker_timeout": FORGET, "delete_jobs": "always", "shutdown_graceful_timeout": 0,
            "install_signal_handlers": False,
        }  # fmt: skip
        if self._root:
            options["queues"] = [self._root]
        while True:
            try:
                await self._app.run_worker_async(**options)
            except Failure as error:
                self._trouble(error)
            await asyncio.sleep(PAUSE)

    async def _sweep(self, kernel: Worker) -> None:
        """See to it that there is a job for whatever is due."""
        while True:
            self._look.clear()
            try:
                pause = await self._round(kernel)
            except (KernosError, *Failure) as error:
                self._trouble(error)
                pause = PAUSE
            await asyncio.sleep(GAP)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause - GAP):
                    await self._look.wait()

    async def _round(self, kernel: Worker) -> float:
        """One sweep; how many seconds to wait before the next."""
        # In this order, a turn that ends meanwhile is not given again.
        jobs = await self._jobs.list_jobs_async()
        due = await kernel.due(self._root)
        await self._offer(self._turns.ready(kernel, due.pids), jobs)
        return SWEEP if due.next is None else min(SWEEP, max(GAP, due.next - self._clock.now()))

    async def _offer(self, pids: Iterable[str], there: Iterable[Job]) -> None:
        """Make jobs for processes that have none there, neither waiting nor held."""
        wanted = {pid: self._job(pid) for pid in pids}
        for job in there:
            if job.lock in wanted and not await self._moved(job):
                del wanted[job.lock]
        jobs = list(wanted.values())
        if not jobs:
            return
        try:
            await self._jobs.batch_defer_jobs_async(jobs)
        except AlreadyEnqueued:  # another worker was quicker with one of them
            for job in jobs:
                with suppress(AlreadyEnqueued):
                    await self._jobs.defer_job_async(job)

    def _job(self, pid: str) -> Job:
        queue = self._root or QUEUE
        return Job(queue=queue, lock=pid, queueing_lock=pid, task_name=TICK, task_kwargs={"pid": pid})

    async def _moved(self, job: Job) -> bool:
        """Whether a job that waits for the workers of all trees was withdrawn, for there may be none of these."""
        if not self._root or job.queue == self._root or job.status != Status.TODO.value or job.id is None:
            return False
        return await self._jobs.cancel_job_by_id_async(job.id, delete_job=True)

    async def _watch(self) -> None:
        """End the jobs of workers that are silent, and those that were fetched here by a query whose answer got lost.

        Whoever was cut off or asleep itself knows nothing of the others' silence: first it has to have been listening
        for a whole lease.
        """
        since = heard = asyncio.get_running_loop().time()
        suspects: set[int] = set()
        while True:
            await asyncio.sleep(BEAT)
            try:
                stalled = {job.id for job in await self._jobs.get_stalled_jobs(seconds_since_heartbeat=LEASE) if job.id}
                unknown = await self._unknown()
            except Failure as error:
                self._trouble(error)
                continue
            before, heard = heard, asyncio.get_running_loop().time()
            if heard - before > 3 * BEAT:
                since = heard
            await self._end((stalled if heard - since >= LEASE else set()) | (suspects & unknown))
            suspects = unknown

    async def _unknown(self) -> set[int]:
        """Jobs that this worker holds without having begun a turn; it is about to, or never will."""
        if self._jobs.worker is None:
            return set()
        held = await self._jobs.list_jobs_async(status=Status.DOING.value, worker_id=self._jobs.worker)
        return {job.id for job in held if job.id is not None and job.lock not in self._turns.running}

    async def _end(self, jobs: Iterable[int]) -> None:
        for job in jobs:
            with suppress(*Failure):  # another worker was quicker
                await self._jobs.finish_job_by_id_async(job, Status.FAILED, delete_job=True)
            self._look.set()

    def _trouble(self, error: Exception) -> None:
        if not isinstance(error, KernosError):
            first = str(error.__cause__ or error).strip().partition("\n")[0]
            error = StoreError(f"the dispatcher's database: {first or 'no answer'}")
        self._turns.troubled("", error)
