"""A run with workers on two hosts, one of which is cut off from everything for a while and joins again.

PostgreSQL, Valkey and the receiver are elsewhere on the network, and stay well.
"""

from __future__ import annotations

import math
import shlex
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from commands_platform.local.postgres import PostgresServer
from commands_platform.local.servers import EmbeddedServers
from harness.chaos.hosts import CENTRE, NETWORK, Host, running_hosts
from harness.chaos.judge import ChaosVerdict, Disturbance, judge
from harness.chaos.load import ledger, make_load
from harness.chaos.plan import MARGIN_SECONDS, TIMEOUT_SECONDS
from harness.chaos.platform import SHORT_WAITS, ChaosPlatform
from harness.chaos.receiver import Arrival, running_receiver

CUTS = ("packets lost", "cable pulled", "card off")

# Short enough for one deliverer to send everything to one receiver.
_ANSWERS_AFTER = 0.1
_IN_FULL_SWING_SECONDS = 0.04
_LATE_SECONDS = 2.0
_MAX_SETTLE_SECONDS = 60.0
# All that a host held must be sent again this soon after it was cut off. Five seconds are promised.
_MAX_TAKE_OVER_SECONDS = 6.0
# After this time, the statements that were on their way when the host was cut off have ended.
_LAST_STATEMENTS_SECONDS = 0.3

_ATTEMPTS = """
SELECT line::jsonb->>2, count(*)
FROM deliveries_delivery, string_to_table(rtrim(attempts, E'\\n'), E'\\n') line GROUP BY 1
"""

# A lease begins with the first half of the id of the deliverer that holds it.
_HELD = """
SELECT d.id FROM deliveries_delivery d JOIN processes_process p ON left(p.id::text, 18) = left(d.lease::text, 18)
WHERE d.state = 'pending' AND p.role = 'deliverer' AND p.pid = %s
"""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """A load of `rate` slots a second. One host is cut off for `seconds`, in each of the ways in `cuts` in turn.

    Leases are as long as in production, so that they do not end before others take over.
    """

    rate: int = 200
    seconds: int = 60
    pause: int = 25
    lease: int = 60
    cuts: tuple[str, ...] = CUTS


@dataclass(slots=True)
class Cut:
    """One time for which a host was cut off, in seconds of this machine's clock, and the deliveries it held then."""

    how: str
    host: str
    began: float
    ended: float
    held: frozenset[UUID]


@dataclass(slots=True)
class NetworkReport:
    """The verdict, how late the slots of each cut were, and how all attempts ended."""

    verdict: ChaosVerdict
    cuts: list[dict[str, Any]]
    attempts: dict[str, int]
    ended_by_themselves: list[str]
    log: str

    @property
    def blamed(self) -> int:
        """The attempts that count as failures of the receiver, which was always well."""
        return sum(count for result, count in self.attempts.items() if result not in ("204", "interrupted"))

    @property
    def is_good(self) -> bool:
        is_taken_over = all(cut["taken_over_in"] <= _MAX_TAKE_OVER_SECONDS for cut in self.cuts)
        return self.verdict.is_good and is_taken_over and not self.blamed and not self.ended_by_themselves

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.as_json(),
            "cuts": self.cuts,
            "attempts": self.attempts,
            "blamed": self.blamed,
            "ended_by_themselves": self.ended_by_themselves,
            "good": self.is_good,
        }


class _HostsPlatform(ChaosPlatform):
    """Workers on hosts. The first worker of each kind is on the first host, and so on."""

    def __init__(
        self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str], hosts: Sequence[Host]
    ) -> None:
        assert servers.valkey is not None
        # The password is that of the server's usual address.
        broker = servers.valkey.url.replace("@127.0.0.1:", f"@{CENTRE}:")
        database = f"postgresql://postgres@{CENTRE}:5432/commands_platform"
        super().__init__(directory, servers, {"DATABASE_URL": database, "REDIS_URL": broker, **environment})
        self.hosts = hosts

    def command_of(self, name: str) -> str:
        host = self.hosts[int(name.partition(".")[2]) - 1]
        return f"exec {shlex.join(host.prefix)} /bin/sh -c {shlex.quote(super().command_of(name))}"


class _OpenPostgres(PostgresServer):
    """A PostgreSQL that the hosts can reach."""

    def _options(self) -> list[str]:
        # The last value of an option counts.
        return [*super()._options(), "-c", f"listen_addresses={CENTRE}"]

    def let_hosts_in(self) -> None:
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK} trust\n")


def run_network_chaos(plan: NetworkPlan, report: Callable[[dict[str, Any]], None] = lambda _: None) -> NetworkReport:
    """Runs the plan. The process must be in a private network, see `enter_private_network`."""
    with running_hosts("a", "b") as hosts, _platform(plan, list(hosts.values())) as platform:
        log = platform.servers.directory / "receiver.log"
        with running_receiver(log, answers_after=_ANSWERS_AFTER, address=CENTRE) as receiver:
            platform.prepare(receiver.url)
            for kind in ("dispatcher", "deliverer", "beat"):
                for number in range(1, len(hosts) + 1):
                    platform.start(f"{kind}.{number}")
            span = len(plan.cuts) * (plan.seconds + plan.pause) + plan.pause
            loads = make_load(platform, rate=plan.rate, span=timedelta(seconds=span))
            # Slots are due at whole seconds, so a moment later there is work in hand.
            at = loads[0].first.timestamp() + _IN_FULL_SWING_SECONDS
            cuts = []
            for number, how in enumerate(plan.cuts):
                at += plan.pause
                cuts.append(_cut(platform, number % len(hosts), how, at=at, seconds=plan.seconds))
                at += plan.seconds
                report({"event": "cut", "how": how, "host": cuts[-1].host})
            _settle(platform, until=loads[0].end.timestamp())
            arrivals = receiver.arrivals()
            verdict = judge(loads, ledger(platform), arrivals, [_disturbance(cut) for cut in cuts])
            attempts = {str(result): count for result, count in platform.query(_ATTEMPTS)}
        return NetworkReport(
            verdict=verdict,
            cuts=[_lateness(cut, arrivals, plan.pause) for cut in cuts],
            attempts=attempts,
            ended_by_themselves=platform.ended(),
            log=platform.log.read_text(errors="replace"),
        )


@contextmanager
def _platform(plan: NetworkPlan, hosts: Sequence[Host]) -> Iterator[_HostsPlatform]:
    directory = Path(tempfile.mkdtemp(prefix="commands-chaos-"))
    servers = EmbeddedServers(directory, durable=True, shared_buffers="64MB")
    home = servers.directory
    servers.postgres = postgres = _OpenPostgres(home / "postgres", log=home / "postgres.log", shared_buffers="64MB")
    environment = {**SHORT_WAITS, "DELIVERY_LEASE_SECONDS": str(plan.lease), "CALLBACK_ALLOWED_NETWORKS": NETWORK}
    try:
        with servers:
            postgres.let_hosts_in()
            platform = _HostsPlatform(directory, servers, environment, hosts)
            platform.query("SELECT pg_reload_conf()")
            with platform.redis() as client:
                client.config_set("bind", f"127.0.0.1 {CENTRE}")
            try:
                yield platform
            finally:
                platform.stop_all()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _cut(platform: _HostsPlatform, number: int, how: str, *, at: float, seconds: float) -> Cut:
    host, pid = platform.hosts[number], platform.pids("deliverer")[f"deliverer.{number + 1}"]
    time.sleep(max(0.0, at - time.time()))
    began = time.time()
    join = {"packets lost": host.lose_packets, "cable pulled": host.pull_cable, "card off": host.switch_card_off}[how]()
    time.sleep(_LAST_STATEMENTS_SECONDS)
    held = frozenset(id_ for (id_,) in platform.query(_HELD, [pid]))
    time.sleep(max(0.0, at + seconds - time.time()))
    join()
    return Cut(how, host.name, began, time.time(), held)


def _disturbance(cut: Cut) -> Disturbance:
    # Answers to the last requests before it did not arrive. Requests of that time may arrive when it is over.
    return Disturbance(
        "cut off",
        cut.began - TIMEOUT_SECONDS - MARGIN_SECONDS,
        cut.began + MARGIN_SECONDS,
        cut.ended,
        cut.ended + TIMEOUT_SECONDS + MARGIN_SECONDS,
    )


def _settle(platform: ChaosPlatform, *, until: float) -> None:
    give_up_at = until + _MAX_SETTLE_SECONDS
    while time.time() < give_up_at:
        time.sleep(0.3)
        if time.time() > until and not platform.count_unfinished():
            # The receiver writes its log a few times a second.
            time.sleep(0.5)
            return


def _lateness(cut: Cut, arrivals: Sequence[Arrival], after: float) -> dict[str, Any]:
    """Returns how late first requests arrived: those of the cut, and those of the time after it.

    From the beginning of the cut, `late_for` is the time to the last slot that was late, and `taken_over_in` the time
    until all that the host held was sent again.
    """
    first: dict[Any, Arrival] = {}
    for arrival in arrivals:
        first.setdefault(arrival.webhook_id, arrival)
    during = _lags(first.values(), cut.began - MARGIN_SECONDS, cut.ended)
    back = _lags(first.values(), cut.ended, cut.ended + after)
    late = [due_at for due_at, lags in during.items() if max(lags) > _LATE_SECONDS]
    return {
        "how": cut.how,
        "host": cut.host,
        "seconds": round(cut.ended - cut.began, 1),
        "held": len(cut.held),
        "taken_over_in": _taken_over_in(cut, arrivals),
        "slots": sum(map(len, during.values())),
        "late": sum(lag > _LATE_SECONDS for lags in during.values() for lag in lags),
        "latest": round(max(map(max, during.values()), default=0.0), 2),
        "late_for": round(max(late, default=cut.began) - cut.began, 2),
        "late_after": sum(lag > _LATE_SECONDS for lags in back.values() for lag in lags),
        "latest_after": round(max(map(max, back.values()), default=0.0), 2),
    }


def _taken_over_in(cut: Cut, arrivals: Iterable[Arrival]) -> float:
    again: dict[UUID, float] = {}
    for arrival in arrivals:
        if arrival.webhook_id in cut.held and arrival.at > cut.began + _LAST_STATEMENTS_SECONDS:
            again.setdefault(arrival.webhook_id, arrival.at - cut.began)
    # Without another request, it was never taken over.
    return round(max((again.get(each, math.inf) for each in cut.held), default=0.0), 2)


def _lags(arrivals: Iterable[Arrival], begin: float, end: float) -> dict[float, list[float]]:
    """Returns how late the slots of each instant between `begin` and `end` arrived, in seconds."""
    lags: dict[float, list[float]] = defaultdict(list)
    for arrival in arrivals:
        due_at = arrival.due_at.timestamp()
        if begin <= due_at < end:
            lags[due_at].append(arrival.at - due_at)
    return lags
