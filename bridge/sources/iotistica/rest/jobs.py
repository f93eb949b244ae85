"""Jobs: what was sent to agents to be done, how far it is, and an event for each step. Pure.

A job's own status says SUCCEEDED as soon as nothing of it is in progress, even where agents have not begun (facts 1.8):
what counts is each agent's. A page without them (the published one) tells of one agent's job as such.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.model.event import Event
from bridge.sources.iotistica.rest.rows import iso, milliseconds, text, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST: Final = 1000
"""Jobs that are known; beyond it the oldest go."""

OVER: Final = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "CANCELED", "CANCELLED", "COMPLETED"})
WELL: Final = frozenset({"SUCCEEDED", "COMPLETED"})


class Listed(NamedTuple):
    """One job of a list."""

    id: str
    name: str
    status: str
    created: int | None
    agents: tuple[str, ...]


class Progress(NamedTuple):
    """How far an agent is with a job; times in ms."""

    job: str
    name: str
    agent: str
    status: str
    created: int | None
    exit_code: int | None = None
    stdout: str | None = None
    reason: str | None = None
    started: int | None = None
    completed: int | None = None

    @property
    def is_over(self) -> bool:
        """Nothing more will come."""
        return self.status in OVER

    def shown(self) -> dict[str, Any]:
        """The channel `jobs`."""
        told: dict[str, Any] = {
            "job_id": self.job, "name": self.name, "status": self.status, "exit_code": self.exit_code,
            "stdout": self.stdout, "reason": self.reason,
            "queued_at": None if self.created is None else iso(self.created),
            "started_at": None if self.started is None else iso(self.started),
            "completed_at": None if self.completed is None else iso(self.completed),
        }  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}


def listed_of(row: Mapping[str, Any], agent: str = "") -> Listed | None:
    """A job of a list; `agent` is whose list it is. None where it has no id."""
    identifier = text(row.get("job_id")) or text(row.get("id")) or text(row.get("jobId"))
    if identifier is None:
        return None
    targets = row.get("target_agents") or row.get("target_devices")
    named = tuple(each.lower() for each in targets if isinstance(each, str)) if isinstance(targets, list) else ()
    created = next((at for key in ("queued_at", "created_at") if (at := milliseconds(row.get(key))) is not None), None)
    name = text(row.get("job_name")) or text(row.get("name")) or ""
    return Listed(identifier, name, status_of(row), created, (agent,) if agent else named)


def progress_of(job: Listed, row: Mapping[str, Any], agent: str = "") -> Progress | None:
    """How far an agent is, by a row of the job; None where it does not say whose."""
    whose = agent or (text(row.get("agent_uuid")) or text(row.get("device_uuid")) or "").lower()
    if not whose:
        return None
    return Progress(
        job.id, job.name, whose, status_of(row), job.created, whole(row.get("exit_code")), text(row.get("stdout")),
        text(row.get("reason")), milliseconds(row.get("started_at")), milliseconds(row.get("completed_at")),
    )  # fmt: skip


def status_of(row: Mapping[str, Any]) -> str:
    """QUEUED, IN_PROGRESS, SUCCEEDED, FAILED, TIMED_OUT, REJECTED, CANCELED."""
    return (text(row.get("status")) or "QUEUED").upper()


class Jobs:
    """Jobs of a source's agents. `since`: what was over before we first listened is not news."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._since: int | None = None
        self._known: dict[str, dict[str, str]] = {}
        """Each job's agents' statuses, as they were told."""
        self._last: dict[str, Progress] = {}
        """Of each agent the newest: what is over is not asked for again, so it is kept over a restart."""

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave."""
        self._since = whole(page.get("since"))
        known = page.get("known")
        for job, agents in known.items() if isinstance(known, dict) else ():
            if isinstance(agents, dict):
                self._known[str(job)] = {str(agent): str(status) for agent, status in agents.items()}
        for row in page.get("last") or ():
            try:
                progress = Progress(*row)
            except TypeError:
                continue
            self._last[progress.agent] = progress

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {"since": self._since, "known": self._known, "last": [list(one) for one in self._last.values()]}

    def begin(self, now: int) -> None:
        """We listen from now on, if we did not before."""
        if self._since is None:
            self._since = now

    def must_look(self, job: Listed) -> bool:
        """More than the list tells is to be known of this job."""
        known = self._known.get(job.id)
        if known is None:
            return True
        return any(status not in OVER for status in known.values()) or not set(job.agents) <= known.keys()

    def reaches_back(self, jobs: Iterable[Listed]) -> bool:
        """This page of a list, newest first, ends with what is known to be over, or older than us: enough is read."""
        last = next(reversed(list(jobs)), None)
        if last is None or (last.created is not None and last.created < (self._since or 0)):
            return True
        return last.id in self._known and not self.must_look(last)

    def see(self, progress: Progress, now: datetime) -> list[Event]:
        """How far an agent is now."""
        newest = self._last.get(progress.agent)
        if newest is None or newest.job == progress.job or (progress.created or 0) >= (newest.created or 0):
            self._last[progress.agent] = progress
        agents = self._known.setdefault(progress.job, {})
        before = agents.get(progress.agent)
        agents[progress.agent] = progress.status
        self._forget()
        if before == progress.status:
            return []
        is_old = before is None and progress.created is not None and progress.created < (self._since or 0)
        return [] if is_old and progress.is_over else [self._event(progress, now)]

    def of(self, agent: str) -> dict[str, Any]:
        """The channel `jobs` of an agent; empty where it never had one."""
        last = self._last.get(agent)
        return {} if last is None else last.shown()

    def _forget(self) -> None:
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def _event(self, progress: Progress, now: datetime) -> Event:
        status = progress.status.lower()
        words = f"Job {progress.name or progress.job}: {status.replace('_', ' ')}"
        severity = 100 if progress.status in WELL or not progress.is_over else 500
        data = {"job": progress.job, "name": progress.name, "status": progress.status, "exit_code": progress.exit_code}
        identifier = f"{self._source}:job:{progress.job}:{progress.agent}:{status}"
        return Event(identifier, f"job_{status}", now, words, severity, self._source, progress.agent, data)
