"""The HTTP API: route, limits, who may, answer.

    HttpDoor -> route -> limits (before who, so that users of one address share them) -> who -> answer

Source: facts 1.2 to 1.4; tests/recorded/iotistica/rest.
"""

from __future__ import annotations

import hashlib
from typing import Any

from aiohttp import hdrs, web

from bridge.sim.iotistica import answers
from bridge.sim.iotistica.accounts import Accounts, BadToken, User
from bridge.sim.iotistica.answers import Refused, iso, refused
from bridge.sim.iotistica.call import Call
from bridge.sim.iotistica.limits import Count, Scope, duration
from bridge.sim.iotistica.readings import Readings
from bridge.sim.iotistica.routes import ADMIN, DEVICE, EITHER, OPEN, Route, actual, documented
from bridge.sim.iotistica.state import State
from bridge.sim.iotistica.tenant import Tenant

ACTUAL_LIMITS = {"global": 300, "auth": 10, "device": 1000}
DOCUMENTED_LIMITS = {"global": 1000, "auth": 10, "device": 10_000}
MESSAGES = {
    "global": "Rate limit exceeded. Please try again later.",
    "auth": "Too many authentication attempts. Please wait before retrying.",
    "device": "Device data rate limit exceeded.",
}


class Api:
    """One server."""

    def __init__(self, tenant: Tenant, accounts: Accounts, seed: int, limits: dict[str, int] | None = None) -> None:
        self.tenant = tenant
        self.accounts = accounts
        self.state = State(tenant, seed)
        self.readings = Readings(tenant)
        self.jobs, self.incidents, self.audit = tenant.jobs, tenant.incidents, tenant.audit
        chosen = {**(DOCUMENTED_LIMITS if tenant.behaviour.documented else ACTUAL_LIMITS), **(limits or {})}
        self.scopes = {name: Scope(limit, MESSAGES[name]) for name, limit in chosen.items()}
        table = documented(self) if tenant.behaviour.documented else actual(self)
        self._routes = [(route.pattern, route) for route in table]

    # -- requests

    def serve(self, request: web.Request, body: bytes) -> web.Response:
        """The answer to one request."""
        self.tenant.tick()
        found = self._route(request)
        if found is None:
            return _absent(request)
        route, path = found
        counts: list[Count] = []
        try:
            counts = self._count(route, request)
            call = Call(request, body, path, self.tenant.now)
            call.user = self._allowed(route, call)
            answer = route.answer(call)
            response = self._answered(route, answer)
        except Refused as refusal:
            response = _refusal(refusal)
        if counts:
            _label(response, counts[-1])
        return response

    def account(self, request: web.Request) -> str:
        """Whose credentials a request carries."""
        try:
            return str(self.accounts.claims(_bearer(request))["username"])
        except BadToken:
            return ""

    def spend(self, requests: int, scope: str, caller: str = "ip:127.0.0.1") -> None:
        """Count requests of somebody else at the same address. Raises ValueError."""
        if scope not in self.scopes:
            raise ValueError(f"there is no limit {scope!r}: expected one of {', '.join(self.scopes)}")
        self.scopes[scope].take(caller, self.tenant.clock.monotonic(), requests)

    def _route(self, request: web.Request) -> tuple[Route, dict[str, str]] | None:
        for pattern, route in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None and route.method == request.method:
                return route, match.groupdict()
        return None

    def _count(self, route: Route, request: web.Request) -> list[Count]:
        if not route.scope:
            return []
        key = request.headers.get("X-Device-API-Key")
        # Users are not known yet when the vendor counts: all of one address share a bucket (facts 1.4).
        caller = f"device:{hashlib.sha256(key.encode()).hexdigest()}" if key else f"ip:{request.remote}"
        names = ["global"] if route.scope == "global" else ["global", route.scope]
        counts = []
        for name in names:
            scope = self.scopes[name]
            count = scope.take(caller, self.tenant.clock.monotonic())
            if count.exceeded:
                raise self._throttled(scope, count)
            counts.append(count)
        return counts

    def _throttled(self, scope: Scope, count: Count) -> Refused:
        status = 429 if self.tenant.behaviour.documented else 500  # not 429: the error builder has no status (recorded)
        headers = {
            "x-ratelimit-limit": str(count.limit), "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(count.reset_s),
        }  # fmt: skip
        if self.tenant.behaviour.retry_after == "on":
            headers["retry-after"] = str(count.reset_s)
        body = {"error": "Too many requests", "message": scope.message, "retryAfter": duration(count.reset_s)}
        return Refused(status, body, headers)

    def _answered(self, route: Route, answer: Any) -> web.Response:
        if isinstance(answer, str):
            return web.Response(text=answer, content_type="text/plain")
        return answers.json(answer, route.status)

    # -- who

    def _allowed(self, route: Route, call: Call) -> User | None:
        if route.who == OPEN:
            return None
        if route.who == DEVICE or (route.who == EITHER and "X-Device-API-Key" in call.request.headers):
            self._require_key(call)
            return None
        user = self._user(call.request)
        if route.who == ADMIN and user.role != "admin":
            raise refused(403, "Forbidden", "Insufficient permissions. Required role: admin")
        return user

    def _user(self, request: web.Request) -> User:
        token = _bearer(request)
        if not token:
            raise refused(401, "Unauthorized", "JWT token required. Send in Authorization: Bearer <token> header.")
        try:
            return self.accounts.user_of(token, "access", self.tenant.now)
        except BadToken as fault:
            more = {} if fault.details is None else {"details": fault.details}
            raise refused(401, "Unauthorized", fault.message, **more) from None

    def _require_key(self, call: Call) -> None:
        given = call.request.headers.get("X-Device-API-Key") or _bearer(call.request)
        if not given:
            message = "Device API key required. Send in X-Device-API-Key header or Authorization: Bearer header."
            raise refused(401, "Unauthorized", message)
        agent = self.tenant.agent(call.path.get("uuid") or call.path.get("agent_uuid") or "")
        if agent is None:
            raise refused(404, "Not Found", "Device not found")
        if not agent.is_active:
            raise refused(403, "Forbidden", "Device is inactive. Contact administrator.")
        if not agent.device_key or given != agent.device_key:
            raise refused(401, "Unauthorized", "Invalid device API key")

    # -- answers of its own

    def root(self, call: Call) -> Any:
        """GET /."""
        return {
            "status": "ok", "service": "Iotistica API", "version": "2.0.0", "apiVersion": "v1", "apiBase": "/api/v1",
        }  # fmt: skip

    def health(self, call: Call) -> Any:
        """GET /health."""
        return {"status": "healthy", "timestamp": iso(call.now), "uptime": self.tenant.clock.monotonic()}

    def log_in(self, call: Call) -> Any:
        """POST /auth/login. Raises Refused."""
        given = call.json()
        name = given.get("email" if self.tenant.behaviour.documented else "username")
        password = given.get("password")
        if not isinstance(name, str) or not isinstance(password, str) or not name or not password:
            what = "Email" if self.tenant.behaviour.documented else "Username"
            raise refused(400, "Bad Request", f"{what} and password are required")
        user = self.accounts.by_name(name)
        if user is None or user.password != password:
            raise refused(401, "Unauthorized", "Invalid username or password")
        tokens = self._pair(user)
        if self.tenant.behaviour.documented:
            return {**tokens, "expiresIn": self.accounts.access_s}
        data = {**tokens, "mustChangePassword": user.must_change_password, "user": user.as_json()}
        return {"message": "Login successful", "data": data}

    def refresh(self, call: Call) -> Any:
        """POST /auth/refresh: the code gives no new refresh token, the page a new pair. Raises Refused."""
        token = call.json().get("refreshToken")
        if not isinstance(token, str) or not token:
            raise refused(400, "Bad Request", "Refresh token is required")
        try:
            user = self.accounts.user_of(token, "refresh", call.now)
        except BadToken as fault:
            reason = fault.details or fault.message
            raise refused(401, "Unauthorized", f"Failed to refresh token: {reason}") from None
        if self.tenant.behaviour.documented:
            user.revoked = user.issued
            return {**self._pair(user), "expiresIn": self.accounts.access_s}
        token = self.accounts.issue(user, "access", call.now)
        return {"message": "Token refreshed successfully", "data": {"accessToken": token}}

    def log_out(self, call: Call) -> Any:
        """POST /auth/logout: every refresh token of the user is gone, whichever was sent."""
        assert call.user is not None  # noqa: S101 - the route is for users
        call.user.revoked = call.user.issued
        return {"message": "Logout successful"}

    def resolve(self, call: Call) -> Any:
        """PATCH /anomaly-incidents/:id/resolve. Raises Refused."""
        return self.incidents.resolve(call, self.tenant.clock.now())

    def alerts(self, call: Call) -> Any:
        """GET /anomaly-alerts. Raises Refused."""
        self._require_columns()
        return self.incidents.fired(call)

    def alert(self, call: Call) -> Any:
        """GET /anomaly-alerts/:id. Raises Refused."""
        self._require_columns()
        return self.incidents.alert(call)

    def execute(self, call: Call) -> Any:
        """POST /jobs/execute. Raises Refused."""
        return self._execute(call.json())

    def execute_for(self, call: Call) -> Any:
        """POST /agents/:uuid/jobs of the page: the agent is the path's. Raises Refused."""
        return self._execute({**call.json(), "target_type": "device", "target_agents": [call.path["uuid"]]})

    def cancel(self, call: Call) -> Any:
        """Cancel a job. Raises Refused."""
        answer = self.jobs.cancel(call, self.tenant.clock.now())
        self.audit.write("job.cancelled", "", self.tenant.clock.now(), {"job_id": call.path["job"]})
        return answer

    def _execute(self, body: dict[str, Any]) -> Any:
        if self.tenant.behaviour.jobs == "fails" and body.get("job_name"):
            message = 'column "target_agents" of relation "job_executions" does not exist'
            raise refused(500, "Failed to create job execution", message)
        self.jobs.early_success = self.tenant.behaviour.early_success == "yes"
        answer = self.jobs.submit(body, self.tenant.agents, self.tenant.clock.now())
        for agent in answer["job"]["target_agents"]:
            data = {"job_id": answer["job"]["job_id"], "job_name": answer["job"]["job_name"]}
            self.audit.write("job.queued", agent, self.tenant.clock.now(), data)
        return answer

    def _pair(self, user: User) -> dict[str, str]:
        tokens = {"accessToken": self.accounts.issue(user, "access", self.tenant.now)}
        if not user.must_change_password:
            tokens["refreshToken"] = self.accounts.issue(user, "refresh", self.tenant.now)
        return tokens

    def _require_columns(self) -> None:
        if self.tenant.behaviour.alerts == "fails":
            raise Refused(500, {"success": False, "error": "Failed to retrieve anomaly alerts"})


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token if scheme == "Bearer" else ""


def _absent(request: web.Request) -> web.Response:
    """The 404 of an unknown route, which has no rate limit headers: that tells it from an unknown resource."""
    message = f"Route {request.method} {request.path_qs} not found"
    body = {"error": "Not found", "message": message, "hint": "See /api/docs for available endpoints"}
    return answers.json(body, 404)


def _refusal(refusal: Refused) -> web.Response:
    if refusal.body is None:
        return web.Response(status=refusal.status, headers=refusal.headers)
    return answers.json(refusal.body, refusal.status, refusal.headers)


def _label(response: web.Response, count: Count) -> None:
    response.headers["x-ratelimit-limit"] = str(count.limit)
    response.headers["x-ratelimit-remaining"] = str(count.remaining)
    response.headers["x-ratelimit-reset"] = str(count.reset_s)
