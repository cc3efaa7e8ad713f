"""One employee as an A2A agent: messages start turns or go on with them, and tasks are read from the journal.

    Agent(office, slug)     what the SDK's routes call, for both bindings and both versions of the protocol

A message without a context starts a process for the caller's owner. One with a context goes on with that process: with
the turn that it is having, or with a new one. A question of the employee's is answered by the next message; what only a
person may decide (approvals, limits, doubts) is `auth-required` and answered elsewhere, for the caller may be an agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass

from a2a.helpers import get_message_text
from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.server.tasks.inmemory_task_store import InMemoryTaskStore
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    ExtendedAgentCardNotConfiguredError,
    InternalError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.task import apply_history_length, validate_history_length

from kernos.kernel.errors import BadInput, Forbidden, KernosError, NotFound
from kernos.kernel.office import Office
from kernos.kernel.ports import Caller
from kernos.kernel.types import Event as Happened
from kernos.kernel.types import Status
from kernos.surfaces.a2a.tasks import OVER, task_of, turns
from kernos.surfaces.http import may_speak, process_of, sees, tell

CALLER = "kernos.caller"
"""Where the context of a call holds whose key came with it."""
GONE = "kernos.gone"
"""Where it holds a function that says whether the client has gone."""
LOOK_SECONDS = 0.5
"""How often it is looked whether another worker has gone on with a process."""


@dataclass(frozen=True)
class Put:
    """What was put to a process: the task that it belongs to, and the row after which that will show."""

    pid: str
    number: int
    after: int
    message: Message | None = None

    @property
    def task(self) -> Task:
        """The task, while the process has taken no notice of it."""
        task = Task(id=f"{self.pid}.{self.number}", context_id=self.pid)
        task.status.CopyFrom(TaskStatus(state=TaskState.TASK_STATE_SUBMITTED))
        task.history.extend([self.message] if self.message else [])
        return task


class Agent(RequestHandler):
    """An employee, as other agents see it."""

    def __init__(self, office: Office, slug: str) -> None:
        self._office, self._kernel, self._ledger, self._slug = office, office.kernel, office.ledger, slug

    @validate_request_params
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Put a message to the employee, and wait until the task needs somebody or is over, or its process is
        paused."""
        validate_history_length(params.configuration)
        with _told():
            put = await self._put(params.message, _caller(context))
            task = put.task
            async with aclosing(self._watch(put, context)) as tasks:
                async for task in tasks:
                    if params.configuration.return_immediately or _rests(task):
                        return apply_history_length(task, params.configuration)
        if self._office.closing.is_set():
            raise _closing()
        return apply_history_length(task, params.configuration)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """The same, with all that happens until then."""
        validate_history_length(params.configuration)
        with _told():
            put = await self._put(params.message, _caller(context))
            async with aclosing(self._watch(put, context)) as tasks:
                async for event in _events(tasks):
                    yield event

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """What happens to a task from now on."""
        with _told():
            status, number = await self._named(params.id, _caller(context))
            task = await self._task(status, number)
            if task.status.state in OVER:
                raise UnsupportedOperationError(message=f"task {params.id} is over")
            async with aclosing(self._watch(Put(status.pid, number, -1), context, task)) as tasks:
                async for event in _events(tasks):
                    yield event

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        """A task as it stands."""
        validate_history_length(params)
        with _told():
            task = await self._task(*await self._named(params.id, _caller(context)))
        return apply_history_length(task, params)

    @validate_request_params
    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """The tasks that the caller may see; the SDK's own store filters, orders and pages them."""
        validate_history_length(params)
        caller, store = _caller(context), InMemoryTaskStore()
        with _told():
            seen = [status for status in await self._ledger.statuses() if sees(caller, status)]
            chosen = [status for status in seen if params.context_id in ("", status.pid)]
            tasks = [task for status in chosen if status.employee == self._slug for task in await self._tasks(status)]
        for task in tasks:
            if not params.include_artifacts:
                task.ClearField("artifacts")
            await store.save(apply_history_length(task, params), context)
        return await store.list(params, context)

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """Kill the process that has the task: its context ends with it."""
        caller = _caller(context)
        with _told():
            _speaks(caller, caller.owner)
            status, number = await self._named(params.id, caller)
            if (await self._task(status, number)).status.state in OVER:
                raise TaskNotCancelableError(message=f"task {params.id} is over")
            await self._kernel.signal(status.pid, "kill", caller.owner)
            self._office.dispatcher.hint(status.pid)
            async with aclosing(self._watch(Put(status.pid, number, status.seq), context)) as tasks:
                async for task in tasks:
                    if task.status.state in OVER:
                        return task
        raise _closing()

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Nothing is sent to addresses that a caller names (I10)."""
        raise PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """See `on_create_task_push_notification_config`."""
        raise PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """See `on_create_task_push_notification_config`."""
        raise PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """See `on_create_task_push_notification_config`."""
        raise PushNotificationNotSupportedError

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """There is one card, for everybody."""
        raise ExtendedAgentCardNotConfiguredError

    async def _put(self, message: Message, caller: Caller) -> Put:
        """Put a message where it belongs."""
        text = get_message_text(message)
        if not text.strip():
            raise ContentTypeNotSupportedError(message="no text in the message: employees read text")
        _speaks(caller, caller.owner)
        if message.task_id:
            status, number = await self._named(message.task_id, caller)
            if message.context_id not in ("", status.pid):
                raise InvalidParamsError(message=f"task {message.task_id} is not of context {message.context_id}")
            if (await self._task(status, number)).status.state in OVER:
                raise UnsupportedOperationError(message=f"task {message.task_id} is over: name its context instead")
            return await self._go_on(status, number, message, text, caller)
        if message.context_id or caller.pid:
            status = await self._process(message.context_id or caller.pid, caller)
            having = [task for task in await self._tasks(status) if task.status.state not in OVER]
            number = int(having[-1].id.rpartition(".")[2]) if having else status.seq + 1
            return await self._go_on(status, number, message, text, caller)
        if caller.employee not in ("", self._slug):
            raise Forbidden(f"the key {caller.key} is for the employee {caller.employee}")
        pid = await self._kernel.spawn(self._slug, caller.owner, text)
        self._office.dispatcher.hint(pid)
        return Put(pid, 1, 0, message)

    async def _go_on(self, status: Status, number: int, message: Message, text: str, caller: Caller) -> Put:
        """Say something to a process that is there."""
        _speaks(caller, status.owner)
        await tell(self._office, status, text)
        return Put(status.pid, number, status.seq, message)

    async def _named(self, name: str, caller: Caller) -> tuple[Status, int]:
        """The process and the row that the name of a task holds."""
        pid, _, number = name.rpartition(".")
        if not number.isdecimal() or len(number) > 18:
            raise NotFound("task", repr(name), "the id of a task of yours")
        return await self._process(pid, caller), int(number)

    async def _process(self, pid: str, caller: Caller) -> Status:
        status = await process_of(self._ledger, caller, pid)
        if status.employee != self._slug:
            raise NotFound("task", repr(pid), f"a process of {self._slug}")
        return status

    async def _task(self, status: Status, number: int) -> Task:
        """The task that began at a row, or at the next after it: others may have said something at the same time."""
        begun = turns(await self._ledger.records(status.pid, number - 1))
        if not begun:
            raise NotFound("task", f"'{status.pid}.{number}'", "the id of a task of yours")
        asked = None if begun[0].end else await self._kernel.question(status.pid)
        return task_of(status.pid, number, begun[0], asked)

    async def _tasks(self, status: Status) -> list[Task]:
        """All tasks of a process."""
        begun = turns(await self._ledger.records(status.pid))
        asked = await self._kernel.question(status.pid)
        return [task_of(status.pid, turn.number, turn, None if turn.end else asked) for turn in begun]

    async def _watch(self, put: Put, context: ServerCallContext, known: Task | None = None) -> AsyncGenerator[Task]:
        """A task, again whenever it has changed, until it needs somebody or is over; if that is how it was `known`
        already, until it is so again. No longer than its process runs and its client is there."""
        shown = None
        async with self._kernel.events(put.pid) as events:
            while not (self._office.closing.is_set() or await _gone(context)):
                status = await self._ledger.find(put.pid)
                task = await self._now(put, status)
                if task != shown:
                    yield task
                shown = task
                stands = status.seq > put.after and status.phase in ("paused", "exited")
                if stands or (_rests(task) and task != known):
                    return
                await _news(events)

    async def _now(self, put: Put, status: Status) -> Task:
        if status.seq > put.after:
            with suppress(NotFound):
                return await self._task(status, put.number)
        return put.task


async def _news(events: asyncio.Queue[Happened]) -> None:
    """Wait until there is another row; what is drafted is not said yet."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            while (await events.get()).kind != "record":
                pass


async def _events(tasks: AsyncIterator[Task]) -> AsyncIterator[Event]:
    """The task first, and then what changes about it."""
    before: Task | None = None
    async for task in tasks:
        if before is None:
            yield task
        else:
            known = {artifact.artifact_id for artifact in before.artifacts}
            for artifact in task.artifacts:
                if artifact.artifact_id not in known:
                    yield TaskArtifactUpdateEvent(
                        task_id=task.id, context_id=task.context_id, artifact=artifact, last_chunk=True
                    )  # fmt: skip
            if task.status.state != before.status.state or task.status.message != before.status.message:
                yield TaskStatusUpdateEvent(task_id=task.id, context_id=task.context_id, status=task.status)
        before = task


def _rests(task: Task) -> bool:
    """Whether nothing happens until somebody does something."""
    return task.status.state not in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)


def _speaks(caller: Caller, owner: str) -> None:
    """Raise Forbidden for an agent that is not its owner's voice, and for the words of one owner to another's process:
    a process takes what it is told for its own owner's words (I4)."""
    if not may_speak(caller) or caller.owner != owner:
        raise Forbidden(f"the key {caller.key} may not speak for {owner} (kernos key add --speaks)")


def _closing() -> InternalError:
    return InternalError(message="the server is about to end; the task goes on when it is back")


async def _gone(context: ServerCallContext) -> bool:
    gone: Callable[[], Awaitable[bool]] = context.state[GONE]
    return await gone()


def _caller(context: ServerCallContext) -> Caller:
    caller: Caller = context.state[CALLER]
    return caller


@contextmanager
def _told() -> Iterator[None]:
    """Kernos's errors as A2A's."""
    try:
        yield
    except NotFound as error:
        raise TaskNotFoundError(message=str(error)) from None
    except (BadInput, Forbidden) as error:
        raise InvalidParamsError(message=str(error)) from None
    except KernosError as error:
        raise InternalError(message=str(error)) from None
