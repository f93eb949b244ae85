"""Jobs: queued, picked up by each agent up to 30 s later, done after a while.

The agent polls every 30 s (facts 1.8). The job's own status says SUCCEEDED as soon as nothing is in progress, even
where an agent has not begun: only its rows tell.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.sim.iotistica.answers import iso, number, refused
from bridge.sim.iotistica.call import Call
from bridge.sim.iotistica.plant import Agent

PICKUP_S = 30
MAX_JOBS = 2000
TARGETS = ("device", "group", "all")


@dataclass(slots=True)
class Execution:
    """One agent's part in a job."""

    number: int
    agent: Agent
    queued: datetime
    status: str = "QUEUED"
    started: datetime | None = None
    completed: datetime | None = None
    exit_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Job:
    """One submission."""

    number: int
    id: str
    name: str
    document: Any
    asked: dict[str, Any]
    queued: datetime
    executions: list[Execution]
    duration_s: float
    outcome: str
    status: str = "QUEUED"
    started: datetime | None = None
    completed: datetime | None = None
    updated: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """As the vendor's row (recorded)."""
        states = [execution.status for execution in self.executions]
        return {
            "id": self.number, "job_id": self.id, "template_id": None, "job_name": self.name,
            "job_document": self.document, "target_type": self.asked["target_type"],
            "target_agents": [execution.agent.uuid for execution in self.executions],
            "target_filter": self.asked.get("target_filter"),
            "execution_type": self.asked.get("execution_type", "oneTime"), "schedule": self.asked.get("schedule"),
            "max_executions": self.asked.get("max_executions"),
            "timeout_minutes": self.asked.get("timeout_minutes", 60), "status": self.status,
            "queued_at": iso(self.queued), "started_at": iso(self.started), "completed_at": iso(self.completed),
            "total_agents": len(states), "succeeded_agents": states.count("SUCCEEDED"),
            "failed_agents": states.count("FAILED"), "in_progress_agents": states.count("IN_PROGRESS"),
            "created_by": self.asked.get("created_by", "admin"), "created_at": iso(self.queued),
            "updated_at": iso(self.updated or self.queued),
        }  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """What each agent made of it."""
        return [
            {
                "id": e.number, "job_id": self.id, "agent_uuid": e.agent.uuid, "status": e.status,
                "execution_number": 1, "version_number": 1, "queued_at": iso(e.queued), "started_at": iso(e.started),
                "last_updated_at": iso(e.completed or e.started), "completed_at": iso(e.completed),
                "exit_code": e.exit_code, "stdout": e.stdout, "stderr": e.stderr, "reason": e.reason,
                "executed_steps": None, "failed_step": None, "status_details": {}, "created_at": iso(e.queued),
                "updated_at": iso(e.completed or e.started or e.queued), "name": e.agent.name,
                "ip_address": "192.0.2.2",
            }
            for e in self.executions
        ]  # fmt: skip


@dataclass(slots=True)
class Jobs:
    """All of them, oldest first."""

    jobs: list[Job] = field(default_factory=list)
    duration_s: float = 5.0
    early_success: bool = True
    outcome: str = "SUCCEEDED"
    """Of jobs to come: SUCCEEDED, FAILED, TIMED_OUT or REJECTED."""
    _last: int = 0

    # -- routes

    def execute(self, call: Call, agents: Sequence[Agent], now: datetime) -> Any:
        """POST /jobs/execute. Raises Refused."""
        return self.submit(call.json(), agents, now)

    def submit(self, body: dict[str, Any], agents: Sequence[Agent], now: datetime) -> Any:
        """Queue a job for the agents it names. Raises Refused."""
        if not body.get("job_name"):
            raise refused(400, "job_name is required")
        if body.get("job_document") is None and not body.get("template_id"):
            raise refused(400, "Either job_document or template_id must be provided")
        if body.get("target_type") not in TARGETS:
            raise refused(400, "target_type must be one of: device, group, all")
        if body.get("template_id"):
            raise refused(404, "Job template not found")
        wanted = body.get("target_agents") or []
        targets = [agent for agent in agents if body["target_type"] == "all" or agent.uuid in wanted]
        if not targets:
            raise refused(400, "No target agents found")
        self._last += 1
        executions = [Execution(self._last * 1000 + index, agent, now) for index, agent in enumerate(targets)]
        job = Job(
            self._last, str(uuid.uuid4()), str(body["job_name"]), body["job_document"], body, now, executions,
            self.duration_s, self.outcome,
        )  # fmt: skip
        self.jobs = [*self.jobs[-MAX_JOBS + 1 :], job]
        return {"job": job.as_json(), "message": f"Job created and queued for {len(targets)} device(s)"}

    def get(self, job_id: str) -> Job | None:
        """One of them."""
        return next((job for job in self.jobs if job.id == job_id), None)

    def one(self, call: Call) -> Any:
        """GET /jobs/executions/:jobId. Raises Refused."""
        job = self.get(call.path["job"])
        if job is None:
            raise refused(404, "Job execution not found")
        return {"job": job.as_json(), "device_statuses": job.rows()}

    def list(self, call: Call) -> Any:
        """GET /jobs/executions, newest first; `total` counts this page only."""
        status = call.query.get("status")
        offset, limit = number(call.query.get("offset"), 0), number(call.query.get("limit"), 50)
        found = [job.as_json() for job in reversed(self.jobs) if status in (None, "", job.status)][
            offset : offset + limit
        ]
        return {"executions": found, "total": len(found), "limit": limit, "offset": offset}

    def of_agent(self, call: Call) -> Any:
        """GET /agents/:uuid/jobs, newest first."""
        uuid_, limit = call.path["uuid"], number(call.query.get("limit"), 20)
        offset = number(call.query.get("offset"), 0)
        rows = [
            {**row, "job_name": job.name, "job_document": job.document, "execution_type": "oneTime", "schedule": None}
            for job in reversed(self.jobs)
            for row in job.rows()
            if row["agent_uuid"] == uuid_
        ]
        pages = -(-len(rows) // limit) if limit else 0
        page = offset // limit + 1 if limit else 1
        return {
            "agent_uuid": uuid_, "jobs": rows[offset : offset + limit], "total": len(rows), "page": page,
            "pageSize": limit, "totalPages": pages,
        }  # fmt: skip

    def cancel(self, call: Call, now: datetime) -> Any:
        """POST .../cancel: one sentence for unknown and for over. Raises Refused."""
        job = self.get(call.path["job"])
        if job is None or job.status not in ("QUEUED", "IN_PROGRESS"):
            raise refused(404, "Job not found or already completed")
        job.status, job.completed, job.updated = "CANCELED", now, now
        for execution in job.executions:
            if execution.status in ("QUEUED", "IN_PROGRESS"):
                execution.status, execution.completed = "CANCELED", now
        return {"message": "Job canceled successfully", "job": job.as_json()}

    # -- what happens by itself

    def advance(self, now: datetime, agents: Sequence[Agent]) -> Iterator[tuple[str, Job, str]]:
        """Let agents pick up and finish. Gives what happened: word, job, agent."""
        for job in self.jobs:
            if job.status in ("CANCELED", "FAILED") or (job.status == "SUCCEEDED" and _is_over(job)):
                continue
            for execution in job.executions:
                yield from self._move(job, execution, now, list(agents).index(execution.agent))

    def _move(self, job: Job, execution: Execution, now: datetime, place: int) -> Iterator[tuple[str, Job, str]]:
        waited = (now - execution.queued).total_seconds()
        due = (place * 11 + 7) % PICKUP_S  # each agent polls at its own second of the half minute
        if execution.status == "QUEUED" and execution.agent.connected and waited >= due:
            execution.status, execution.started = "IN_PROGRESS", now
            job.status, job.started, job.updated = "IN_PROGRESS", job.started or now, now
            yield "started", job, execution.agent.uuid
        if execution.status == "IN_PROGRESS" and execution.started is not None:
            if (now - execution.started).total_seconds() < job.duration_s:
                return
            execution.status, execution.completed = job.outcome, now
            succeeded = job.outcome == "SUCCEEDED"
            execution.exit_code, execution.stdout = (0, "done\n") if succeeded else (1, "")
            execution.stderr, execution.reason = ("", None) if succeeded else ("failed\n", "Step failed")
            self._judge(job, now)
            yield ("completed" if succeeded else "failed"), job, execution.agent.uuid

    def _judge(self, job: Job, now: datetime) -> None:
        states = [execution.status for execution in job.executions]
        job.updated = now
        if "IN_PROGRESS" in states or ("QUEUED" in states and not self.early_success):
            return
        job.status = "SUCCEEDED" if all(state in ("SUCCEEDED", "QUEUED") for state in states) else "FAILED"
        job.completed = now


def _is_over(job: Job) -> bool:
    return all(execution.status not in ("QUEUED", "IN_PROGRESS") for execution in job.executions)
